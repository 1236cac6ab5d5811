"""All cores on one thread in rule order: what backtest and `replay --set` drive.

Rule order: an event of `market_ticks` or `control` goes to strategy, execution and risk; then
what follows from it is delivered until nothing is left, results and fills first, then signals,
then intents, then what risk decided. Nothing here decides: ids and causes come with the messages,
the same that `cores.finalize` gives to their drafts in a night.

In a night the roles run beside each other, so a tick may overtake a signal; there the order logs
say what was taken when. Here nothing overtakes: the next market event waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from minibot.cores.event_id import of_line
from minibot.cores.input_order import Core
from minibot.cores.messages import QUEUES, Message
from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.engine.lockstep_ports import EventPort, OwnPorts, Port, Table, own_ports
from minibot.engine.role_replay import core_of
from minibot.events.model import Event, JsonObject
from minibot.events.names import TICKS
from minibot.events.roles import Roles
from minibot.strategies.bars import ClosedBar
from minibot.strategies.decision import Decision
from minibot.strategies.tick import Tick

Take = Callable[[str, int, Event], None]
OnMessage = Callable[[Message], None]

NOT_OURS: Final = "another core than one of the three stands in its place"


class Lockstep:
    """Strategy, risk and execution in one process without a queue.

    Args:
        cores: By role, freshly made or restored.
        roles: Who reads which queue, to whom a market event goes first, and which derived queue is
            emptied first. A message goes to its readers in the order of the market.
        run_id: Stands in every derived event and its id.
        cmdline_hashes: By role.
        take: Called with queue, number and event of everything that is derived, in its order.
        delay_ms: By role, how much later than its own `ts` a role takes an event at the earliest.
        on_message: Called with each message before its readers are told, for who needs no text yet
            and gives no `take`: `event_of` writes one out whenever it is asked for.
    """

    __slots__ = (
        *("_by_place", "_emptied", "_hashes", "_is_heard", "_on_message", "_own", "_seqs"),
        *("_table", "_take", "_world", "cores", "run_id"),
    )

    def __init__(
        self,
        cores: Mapping[str, Core],
        roles: Roles,
        *,
        run_id: str,
        cmdline_hashes: Mapping[str, str],
        take: Take | None = None,
        delay_ms: Mapping[str, int] | None = None,
        on_message: OnMessage | None = None,
    ) -> None:
        self.cores = dict(cores)
        self.run_id: str = run_id
        self._take: Take | None = take
        self._on_message: OnMessage | None = on_message
        self._hashes: dict[str, str] = dict(cmdline_hashes)
        delays = delay_ms or {}
        table = self._table = Table(self._hashes)
        self._own: OwnPorts | None = own_ports(self.cores, delays, table)
        seats: dict[str, Port] = {}
        if self._own is not None:
            seats.update(self._own.by_role())
        else:
            for name, core in self.cores.items():
                seats[name] = EventPort(core, delays.get(name, 0), table)
        for name in roles.cores:
            _check_inputs(name, roles, seats[name])
        self._world: list[Port] = [seats[name] for name in roles.market_order]
        if self._own is not None:
            _check_order(self._own, self._world)
        # Whether anybody wants to know the line of each message: who takes events has to.
        self._is_heard: bool = take is not None or on_message is not None or self._own is None
        self._seqs: list[int] = [0 for _ in QUEUES]
        # Told and not yet taken: by place, and with their readers in the order of emptying.
        self._by_place: list[list[Message]] = [[] for _ in QUEUES]
        self._emptied: list[tuple[list[Message], list[Port]]] = [
            (
                self._by_place[QUEUES.index(queue)],
                [seats[name] for name in roles.market_order if queue in roles.roles[name].inputs],
            )
            for queue in roles.derived_order
        ]

    @property
    def own(self) -> OwnPorts:
        """The seats of the three cores.

        Raises:
            ValueError: Another core than one of the three has to be told in events.
        """
        if self._own is None:
            raise ValueError(NOT_OURS)
        return self._own

    def strategy_tick(self, symbol: str) -> Tick | None:
        """Return the tick of a symbol that `feed_tick` wants filled; None: feed events instead."""
        return None if self._own is None else self._own.strategy.core.tick(symbol)

    def feed(self, queue: str, seq: int, event: Event) -> None:
        """Take one event of `market_ticks` or `control`, and all that follows from it."""
        ts = event.ts
        said: list[Message] = []
        for seat in self._world:
            said += seat.hear(queue, seq, event, seat.at(ts))
        if said:
            self._deliver(said)

    def feed_tick(self, tick: Tick, exact: ScaledTick, seq: int) -> None:
        """Take one tick that is no event, line `seq` of `market_ticks`, and all that follows.

        Args:
            tick: The strategy's, filled; see `strategy_tick`.
            exact: The same tick as risk and execution read it.
            seq: Its line, were it written.

        The same methods of the same cores as `feed` reaches, in the same order; the event is made
        only where something follows from it.
        """
        if self._own is None:
            self.feed(TICKS, seq, exact.event(seq))
            return
        strategy = self._own.strategy
        decision = strategy.core.on_tick(tick, strategy.at(tick.ts))
        self.tell_tick(exact, seq, decision)

    def tell_tick(self, exact: ScaledTick, seq: int, decision: Decision | None) -> None:
        """Take one tick of which the strategy knows already, and all that follows.

        Args:
            exact: The tick.
            seq: Its line, were it written.
            decision: What the strategy decided at it.

        Raises:
            ValueError: Another core than one of the three has to be told in events.
        """
        own, ts, table = self._own, exact.ts, self._table
        if own is None:
            raise ValueError(NOT_OURS)
        execution, risk = own.execution, own.risk
        if ts > table.ts:
            table.ts = ts
        said: list[Message] = []
        if decision is not None:
            core, cause = own.strategy.core, exact.ref(seq)
            said.append(core.signal(exact.symbol, decision, ts, cause, seq))
        met = execution.core.on_tick(exact, seq, table.ts + execution.delay_ms)
        if met is not None:
            said += met
        judged = risk.core.on_tick(exact, seq, table.ts + risk.delay_ms)
        if judged is not None:
            said += judged
        if said:
            self._deliver(said)

    def feed_bar(self, symbol: str, bar: ClosedBar, units: int, ts: int, seq: int) -> None:
        """Take one closed bar that is no event, as `feed_tick` takes a tick.

        Args:
            symbol: The market.
            bar: As the strategy takes it.
            units: Its close in hundred-millionths.
            ts: When it is told.
            seq: Its line, were it written.

        Raises:
            ValueError: Another core than one of the three has to be told in events.
        """
        strategy = self.own.strategy
        decision = strategy.core.on_bar(symbol, bar, strategy.at(ts))
        self.pass_bar(symbol, bar, units, ts)
        if decision is not None:
            self.decided_on_bar(symbol, ts, seq, decision)

    def pass_bar(self, symbol: str, bar: ClosedBar, units: int, ts: int) -> None:
        """Tell risk of a bar that the strategy has taken; nothing follows from it there."""
        risk = self.own.risk
        risk.core.on_bar(
            symbol,
            bar.interval,
            bar.open_ts,
            bar.high,
            bar.low,
            bar.close,
            units,
            risk.at(ts),
        )

    def decided_on_bar(self, symbol: str, ts: int, seq: int, decision: Decision) -> None:
        """Take what the strategy decided at a bar of which risk was told last."""
        own, cause = self.own, of_line(seq, self.run_id)
        self._deliver([own.strategy.core.signal(symbol, decision, ts, cause, seq)])

    def feed_beat(self, ts: int, seq: int) -> None:
        """Take that market time has come to `ts`, as a beat of this line would say it."""
        own, cause = self.own, of_line(seq, self.run_id)
        execution, risk = own.execution, own.risk
        said = execution.core.on_beat(seq, ts, cause, execution.at(ts))
        risk.core.on_beat(risk.at(ts))
        if said:
            self._deliver(said)

    # --- ticks that nothing but a signal follows from -----------------------------------------

    def follows(self, symbol: str) -> bool:
        """Return whether the strategy of a symbol can be handed prices instead of ticks."""
        return self._own is not None and self._own.strategy.core.follows(symbol)

    def calm(self, symbol: str) -> QuietRange | None:
        """Return within which touches only the strategy has to see the ticks of a symbol.

        None is: hand each to `feed_tick`. Of ticks in a row that are within, the strategy takes
        each, and `pass_calm` tells the others of the last. `until` is a tick's `ts` here.
        """
        own = self._own
        if own is None or own.execution.core.orders:
            return None
        risk = own.risk
        calm = risk.core.calm(symbol, self._table.ts + risk.delay_ms)
        if calm is not None and risk.delay_ms:
            calm.until -= risk.delay_ms
        return calm

    def pass_calm(
        self,
        exact: ScaledTick,
        seq: int,
        is_bid_new: bool,
        is_ask_new: bool,
        decision: Decision | None = None,
    ) -> None:
        """Tell risk and execution of the last of ticks in a row that nothing follows from.

        Args:
            exact: The last one.
            seq: Its line, were it written.
            is_bid_new: Whether price or size of the bid changed in the row.
            is_ask_new: The same of the ask.
            decision: What the strategy decided at the last one, and then all that follows is taken.
        """
        own = self._own
        if own is None:
            raise ValueError(NOT_OURS)
        ts, table, risk = exact.ts, self._table, own.risk
        if ts > table.ts:
            table.ts = ts
        own.execution.core.on_calm(exact, seq, is_bid_new, is_ask_new)
        risk_now = table.ts + risk.delay_ms
        risk.core.on_tick(exact, seq, risk_now)
        if decision is not None:
            cause = of_line(seq, self.run_id)
            signal = own.strategy.core.signal(exact.symbol, decision, ts, cause, seq)
            if self._is_heard:
                self._show([signal])
            # Nothing else waits, so that it is taken at once.
            self._deliver(risk.core.on_signal(signal, risk_now))

    def event_of(self, message: Message) -> Event:
        """Return the event of a message that was told."""
        return message.event(self._hashes[message.role])

    def _deliver(self, said: list[Message] | None) -> None:
        """Give what cores said just now, and all that follows from it, to its readers."""
        emptied, queues = self._emptied, self._by_place
        while True:
            if said:
                if self._is_heard:
                    self._show(said)
                for message in said:
                    queues[message.place].append(message)
            said = None
            for waiting, readers in emptied:
                if waiting:
                    message = waiting.pop(0)
                    for seat in readers:
                        answer = seat.take(message)
                        if answer:
                            said = answer if said is None else said + answer
                    break
            else:
                return

    def _show(self, messages: list[Message]) -> None:
        """Say which lines messages are, and hand them on to who listens to all of them."""
        for message in messages:
            self._seqs[message.place] += 1
            message.number = self._seqs[message.place]
            if self._on_message is not None:
                self._on_message(message)
            if self._take is not None:
                self._take(QUEUES[message.place], message.number, self.event_of(message))


def _check_inputs(name: str, roles: Roles, seat: Port) -> None:
    """Refuse a role that reads other queues than a lockstep hands it.

    Raises:
        ValueError: It does.
    """
    queues = set(roles.roles[name].inputs)
    said = queues & set(roles.derived_order)
    if seat.TAKES is not None:
        said = {QUEUES[place] for place in seat.TAKES}
    handed = said | set(roles.world)
    if queues != handed:
        raise ValueError(f"{name} reads {sorted(queues)}: a lockstep hands it {sorted(handed)}")


def _check_order(own: OwnPorts, world: list[Port]) -> None:
    """Refuse an order of the market that ticks which are no events are not shown in.

    Raises:
        ValueError: It is another one.
    """
    expected: list[Port] = [own.strategy, own.execution, own.risk]
    if world != expected:
        found = [seat.ROLE for seat in world]
        raise ValueError(f"market_order {found}: ticks go to {[seat.ROLE for seat in expected]}")


def fresh_cores(config: JsonObject) -> dict[str, Core]:
    """Return the three cores of a resolved config, before their first event."""
    return {name: core_of(name, config) for name in Roles.of_project().cores}
