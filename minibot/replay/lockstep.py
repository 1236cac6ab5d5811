"""All cores on one thread in rule order: what backtest and `replay --set` drive.

Rule order: an event of `market_ticks` or `control` goes to strategy, execution and risk; then
what follows from it is delivered until nothing is left, results and fills first, then signals,
then intents, then what risk decided. Nothing here decides: ids and causes come from
`events.order.finish`, as in a night.

In a night the roles run beside each other, so a tick may overtake a signal; there the order logs
say what was taken when. Here nothing overtakes: the next market event waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from minibot.events.exact_tick import ExactTick
from minibot.events.finishing import finish_of
from minibot.events.model import Draft, Event, JsonObject
from minibot.events.order import CONTROL, TICKS, Core
from minibot.events.roles import Roles
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.replay.engine import CORE_ROLES, core_of
from minibot.risk.core import RiskCore
from minibot.strategies.core import StrategyCore
from minibot.strategies.tick import Tick

Take = Callable[[str, int, Event], None]

# To whom an event of the world goes first, and which derived queues are emptied first.
WORLD_ORDER: Final = ("strategy_role", "execution_role", "risk_role")
QUEUE_ORDER: Final = ("fills", "order_results", "signals", "order_intents", "risk_actions")


class Lockstep:
    """Strategy, risk and execution in one process without a queue.

    Args:
        cores: By role, freshly made or restored.
        roles: Who reads which queue.
        run_id: Stands in every derived event and its id.
        cmdline_hashes: By role.
        take: Called with queue, number and event of everything that is derived, in its order.
        delay_ms: By role, how much later than its own `ts` a role takes an event at the earliest.
    """

    def __init__(
        self,
        cores: Mapping[str, Core],
        roles: Roles,
        *,
        run_id: str,
        cmdline_hashes: Mapping[str, str],
        take: Take,
        delay_ms: Mapping[str, int] | None = None,
    ) -> None:
        self.cores = dict(cores)
        self.run_id = run_id
        self._take = take
        delays = delay_ms or {}
        seats = {
            name: _Seat(name, self.cores[name], delays.get(name, 0), cmdline_hashes[name])
            for name in CORE_ROLES
        }
        self._readers = {
            queue: [seat for name, seat in seats.items() if queue in roles.roles[name].inputs]
            for queue in QUEUE_ORDER
        }
        self._world = {
            queue: [seats[name] for name in WORLD_ORDER if queue in roles.roles[name].inputs]
            for queue in (TICKS, CONTROL)
        }
        self._seqs: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, Event]]] = {
            queue: deque() for queue in QUEUE_ORDER
        }
        self._has_waiting = False
        self._strategy: _Seat = seats[WORLD_ORDER[0]]
        self._execution: _Seat = seats[WORLD_ORDER[1]]
        self._risk: _Seat = seats[WORLD_ORDER[2]]
        self._trio = _Trio.of(self.cores)

    def strategy_tick(self, symbol: str) -> Tick | None:
        """Return the tick of a symbol that `feed_tick` wants filled; None: feed events instead."""
        return None if self._trio is None else self._trio.strategy.tick(symbol)

    def feed(self, queue: str, seq: int, event: Event) -> None:
        """Take one event of `market_ticks` or `control`, and all that follows from it."""
        ts = event.ts
        for seat in self._world[queue]:
            now = ts + seat.delay_ms
            if now > seat.now:
                seat.now = now
            drafts = seat.step(queue, seq, event, seat.now)
            if drafts:
                self._finish(seat, drafts, event.id)
        while self._has_waiting:
            self._deliver()

    def feed_tick(self, tick: Tick, exact: ExactTick, seq: int) -> None:
        """Take one tick that is no event, line `seq` of `market_ticks`, and all that follows.

        Args:
            tick: The strategy's, filled; see `strategy_tick`.
            exact: The same tick as risk and execution read it.
            seq: Its line, were it written.

        The same methods of the same cores as `feed` reaches, in the same order; the event is made
        only where something follows from it.
        """
        trio = self._trio
        if trio is None:
            self.feed(TICKS, seq, exact.event(seq))
            return
        ts = tick.ts
        seat = self._strategy
        now = ts + seat.delay_ms
        if now > seat.now:
            seat.now = now
        decision = trio.strategy.on_tick(tick, seat.now)
        if decision is not None:
            cause_id = exact.event_id(seq)
            drafts = trio.strategy.drafts(tick.symbol, decision, ts, cause_id, seq)
            self._finish(seat, drafts, cause_id)
        seat = self._execution
        now = ts + seat.delay_ms
        if now > seat.now:
            seat.now = now
        met = trio.execution.on_tick(exact, seq, seat.now)
        if met:
            self._finish(seat, met, exact.event_id(seq))
        seat = self._risk
        now = ts + seat.delay_ms
        if now > seat.now:
            seat.now = now
        judged = trio.risk.on_tick(exact, seq, seat.now)
        if judged:
            self._finish(seat, judged, exact.event_id(seq))
        while self._has_waiting:
            self._deliver()

    def _deliver(self) -> None:
        """Give the next derived event to its readers, by the order of the queues."""
        for queue in QUEUE_ORDER:
            waiting = self._waiting[queue]
            if waiting:
                seq, event = waiting.popleft()
                for seat in self._readers[queue]:
                    seat.now = max(seat.now, event.ts + seat.delay_ms)
                    drafts = seat.step(queue, seq, event, seat.now)
                    if drafts:
                        self._finish(seat, drafts, event.id)
                return
        self._has_waiting = False

    def _finish(self, seat: _Seat, drafts: Sequence[Draft], cause_id: str) -> None:
        for out, derived in finish_of(
            drafts, cause_id, run_id=self.run_id, role=seat.name, cmdline_hash=seat.cmdline_hash
        ):
            number = self._seqs[out] = self._seqs.get(out, 0) + 1
            self._take(out, number, derived)
            if out in self._waiting:
                self._waiting[out].append((number, derived))
                self._has_waiting = True


@final
class _Trio:
    """The three cores by their classes, for calls without a look-up."""

    __slots__ = ("execution", "risk", "strategy")

    def __init__(
        self, strategy: StrategyCore, execution: PaperExecutorNoreV1, risk: RiskCore
    ) -> None:
        self.strategy: StrategyCore = strategy
        self.execution: PaperExecutorNoreV1 = execution
        self.risk: RiskCore = risk

    @staticmethod
    def of(cores: Mapping[str, Core]) -> _Trio | None:
        """Return the three, or None where one is of another class."""
        strategy, execution, risk = (cores[name] for name in WORLD_ORDER)
        if (
            isinstance(strategy, StrategyCore)
            and isinstance(execution, PaperExecutorNoreV1)
            and isinstance(risk, RiskCore)
        ):
            return _Trio(strategy, execution, risk)
        return None


class _Seat:
    """One core at the table: what it is told, and its time, which never goes back."""

    __slots__ = ("cmdline_hash", "delay_ms", "name", "now", "step")

    def __init__(self, name: str, core: Core, delay_ms: int, cmdline_hash: str) -> None:
        self.name = name
        self.step = core.step
        self.delay_ms = delay_ms
        self.cmdline_hash = cmdline_hash
        self.now = 0


def fresh_cores(config: JsonObject) -> dict[str, Core]:
    """Return the three cores of a resolved config, before their first event."""
    return {name: core_of(name, config) for name in CORE_ROLES}
