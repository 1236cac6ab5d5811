"""All cores on one thread in rule order, for backtests and `replay --set`.

Rule order: a root event goes to strategy, execution and risk; then the messages that follow are
delivered until none is left: results and fills first, then signals, then intents, then actions of
risk. `roles.v1.json` defines these orders. The lockstep decides nothing: ids and causes come with
the messages, the same that `cores.finalize` gives to their drafts in a night.

In a night the roles run in parallel, so a tick may overtake a signal, and the input logs record
what was taken when. Here the next market event always waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minibot.cores.closed_bar import BarInput
from minibot.cores.messages import QUEUES, WRITERS, Message, stop_in
from minibot.cores.protocol import Core, ShownTick
from minibot.cores.scaled_tick import ANY_TOUCH, NO_BOUND, QuietRange, ScaledTick
from minibot.engine.lockstep_ports import Port, Table
from minibot.engine.role_replay import core_of
from minibot.events.model import Event, JsonObject
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.events.roles import Roles
from minibot.events.unit_sizes import NEVER
from minibot.kernel.errors import InvariantError

Take = Callable[[str, int, Event], None]
OnMessage = Callable[[Message], None]


class Lockstep:
    """Strategy, risk and execution in one process without a queue.

    Args:
        cores: Fresh or restored cores by role.
        roles: The readers of each queue, and the orders of roles at a market event and of derived
            queues. A message goes to its readers in the order of roles at a market event.
        cmdline_hashes: Hashes by role.
        take: Called with queue, number and event of each derived event, in order.
        delay_ms: By role, the least time from an event's `ts` until the role takes it.
        on_message: Called with each message before `take` and before its readers; for a caller that
            needs few events, as `event_of` makes one at any time.

    Raises:
        ValueError: The strategy is not the first at a market event, or a role reads a queue that a
            lockstep does not deliver.
    """

    __slots__ = (
        "_bar_takers",
        "_hashes",
        "_is_heard",
        "_mark_takers",
        "_on_message",
        "_others",
        "_ranks",
        "_readers",
        "_seqs",
        "_table",
        "_take",
        "cores",
        "strategy",
    )

    def __init__(
        self,
        cores: Mapping[str, Core],
        roles: Roles,
        *,
        cmdline_hashes: Mapping[str, str],
        take: Take | None = None,
        delay_ms: Mapping[str, int] | None = None,
        on_message: OnMessage | None = None,
    ) -> None:
        self.cores = dict(cores)
        self._take: Take | None = take
        self._on_message: OnMessage | None = on_message
        self._hashes: dict[str, str] = dict(cmdline_hashes)
        delays = delay_ms or {}
        table = self._table = Table()
        world = [
            Port(name, self.cores[name], delays.get(name, 0), table) for name in roles.market_order
        ]
        for port in world:
            _check_inputs(port, roles)
        if world[0].role != STRATEGY_ROLE:
            # It may get ticks of which the others only get the last one.
            raise ValueError(f"market_order {list(roles.market_order)}: the strategy comes first")
        self.strategy: Port = world[0]
        self._others: list[Port] = world[1:]
        self._bar_takers: list[Port] = [port for port in world[1:] if port.core.TAKES_BARS]
        self._mark_takers: list[Port] = [port for port in world[1:] if port.core.TAKES_MARKS]
        # Whether a listener needs the line of each message.
        self._is_heard: bool = take is not None or on_message is not None
        self._seqs: list[int] = [0 for _ in QUEUES]
        # By place of a message: its readers, and the rank of its queue, lowest first.
        self._readers: list[list[Port]] = [
            [port for port in world if queue in roles.roles[port.role].inputs] for queue in QUEUES
        ]
        self._ranks: list[int] = [roles.derived_order.index(queue) for queue in QUEUES]

    def process(self, item: Event | ShownTick | BarInput, seq: int) -> None:
        """Process one root event and all messages that follow from it.

        Market time is the highest `ts` of all root events so far; an event with a lower `ts`, which
        `control` may have, is taken at that time.

        Args:
            item: An event of `market_ticks` or `control`, or a tick or closed bar without one.
            seq: The number of its line, were it written.
        """
        messages = self.answer(item, seq)
        self.pass_on(item.scaled if isinstance(item, ShownTick) else item, seq, messages)

    def answer(self, item: Event | ShownTick | BarInput, seq: int) -> list[Message] | None:
        """Pass a root event to the strategy; return its messages. `pass_on` serves the others.

        Args:
            item: The input, as in `process`.
            seq: The number of its line, were it written.
        """
        table, ts, strategy = self._table, item.ts, self.strategy
        if ts > table.ts:
            table.ts = ts
        return strategy.core.process(item, seq, table.ts + strategy.delay_ms)

    def pass_on(
        self, item: Event | ScaledTick | BarInput, seq: int, messages: list[Message] | None
    ) -> None:
        """Pass a root event to all cores but the strategy, then deliver all that follows.

        Args:
            item: The event, or a tick or closed bar without one.
            seq: The number of its line, were it written.
            messages: The strategy's messages about it.
        """
        table, ts = self._table, item.ts
        if ts > table.ts:
            table.ts = ts
        now = table.ts
        for port in self._bar_takers if isinstance(item, BarInput) else self._others:
            answer = port.core.process(item, seq, now + port.delay_ms)
            if answer:
                messages = messages + answer if messages else answer
        if messages:
            self._deliver(messages)

    def quiet_range(self, symbol: str, delivers_bars: bool = False) -> QuietRange | None:
        """Return the range of touches in which only the strategy needs each tick of a symbol.

        For None, pass each tick to `process`. Of several ticks in a row within the range, pass each
        to the strategy and only the last to the others, by `skip_to`. The next call may return the
        same object with other bounds.

        Args:
            symbol: The market.
            delivers_bars: Whether bars and beats come at their time; see `Core.quiet_ticks`.
        """
        quiet: QuietRange | None = None
        now = self._table.ts
        for port in self._others:
            at = now + port.delay_ms
            core = port.core
            found = core.quiet_ticks(symbol, at) if delivers_bars else core.quiet_range(symbol, at)
            if found is None:
                return None
            if found is ANY_TOUCH:
                continue
            if quiet is not None:
                return None  # Two cores have bounds of their own: nothing is skipped.
            if port.delay_ms:
                found.until -= port.delay_ms  # As `ts` of a tick, not as the role's market time.
            quiet = found
        return ANY_TOUCH if quiet is None else quiet

    def quiet_until(self, symbol: str) -> int:
        """Return the time until which only the strategy needs ticks of a symbol; 0 for never.

        The caller has to deliver each bar and each beat, and to call again after an order of the
        symbol was sent.
        """
        until, now = NEVER, self._table.ts
        for port in self._others:
            found = port.core.quiet_ticks(symbol, now + port.delay_ms)
            # Ticks matter if a position is held (`qty`) or the range bounds the touch.
            if found is None or found.qty or found.above > 0 or found.below < NO_BOUND:
                return 0
            if found.least > 0 or found.most < NO_BOUND:
                return 0
            until = min(until, found.until - port.delay_ms)
        return until

    def skip_to(
        self,
        tick: ScaledTick,
        seq: int,
        is_bid_new: bool,
        is_ask_new: bool,
        messages: list[Message] | None = None,
    ) -> None:
        """Pass the last of several ticks in a row within the quiet range to all but the strategy.

        Args:
            tick: The last tick.
            seq: The number of its line, were it written.
            is_bid_new: Whether price or size of the bid changed among these ticks.
            is_ask_new: The same for the ask.
            messages: The strategy's messages at the last tick, which are delivered afterwards.
        """
        table, ts = self._table, tick.ts
        if ts > table.ts:
            table.ts = ts
        for port in self._others:
            now = table.ts + port.delay_ms
            port.core.skip_to(tick, seq, now, is_bid_new, is_ask_new)
        if messages:
            self._deliver(messages)

    def mark(self, tick: ScaledTick, seq: int) -> None:
        """Pass a tick within the quiet range of its symbol to the cores that value positions.

        The last of such ticks goes to all cores by `skip_to`.

        Args:
            tick: The tick.
            seq: The number of its line, were it written.

        Raises:
            InvariantError: A message other than a STOP followed from it.
        """
        table, ts = self._table, tick.ts
        if ts > table.ts:
            table.ts = ts
        for port in self._mark_takers:
            messages = port.core.process(tick, seq, table.ts + port.delay_ms)
            if messages:
                if not stop_in(messages[0]):
                    detail = f"market_ticks:{seq} had to change no more than equity"
                    raise InvariantError(port.role, INVARIANT_BROKEN, detail)
                self._deliver(messages)

    def event_of(self, message: Message) -> Event:
        """Return the event of a delivered message."""
        return message.event(self._hashes[WRITERS[message.place]])

    def _deliver(self, messages: list[Message] | None) -> None:
        """Deliver new messages of the cores, and all that follow from them, to their readers."""
        readers, ranks, ts = self._readers, self._ranks, self._table.ts
        waiting: list[Message] = []  # The next one is the last.
        while True:
            if messages:
                if self._is_heard:
                    self._show(messages)
                for message in messages:  # Each after all of its rank or a lower one.
                    rank, place = ranks[message.place], len(waiting)
                    while place and ranks[waiting[place - 1].place] <= rank:
                        place -= 1
                    waiting.insert(place, message)
                messages = None
            if not waiting:
                return
            message = waiting.pop()
            for port in readers[message.place]:
                answer = port.core.process(message, message.number, ts + port.delay_ms)
                if answer:
                    messages = answer if messages is None else messages + answer

    def _show(self, messages: list[Message]) -> None:
        """Number messages as lines of their queues, and pass them to the listeners."""
        for message in messages:
            self._seqs[message.place] += 1
            message.number = self._seqs[message.place]
            if self._on_message is not None:
                self._on_message(message)
            if self._take is not None:
                self._take(QUEUES[message.place], message.number, self.event_of(message))


def _check_inputs(port: Port, roles: Roles) -> None:
    """Refuse a role that reads queues which a lockstep does not deliver.

    Raises:
        ValueError: A role reads such a queue.
    """
    queues = set(roles.roles[port.role].inputs)
    handed = {QUEUES[place] for place in port.core.TAKES} | set(roles.world)
    if queues != handed:
        words = f"{port.role} reads {sorted(queues)}: a lockstep hands it {sorted(handed)}"
        raise ValueError(words)


def fresh_cores(config: JsonObject) -> dict[str, Core]:
    """Return the three cores of a resolved config, before their first event."""
    return {name: core_of(name, config) for name in Roles.of_project().cores}
