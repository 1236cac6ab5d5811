"""All cores on one thread in rule order: what backtest and `replay --set` drive.

Rule order: an event of `market_ticks` or `control` goes to strategy, execution and risk; then
what follows from it is delivered until nothing is left, results and fills first, then signals,
then intents. Nothing here decides: ids and causes come from `events.order.finish`, as in a night.

In a night the roles run beside each other, so a tick may overtake a signal; there the order logs
say what was taken when. Here nothing overtakes: the next market event waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from minibot.events.model import Event, JsonObject
from minibot.events.order import CONTROL, TICKS, Core, finish
from minibot.events.roles import Roles
from minibot.replay.engine import CORE_ROLES, core_of

Take = Callable[[str, int, Event], None]

# To whom an event of the world goes first, and which derived queues are emptied first.
WORLD_ORDER: Final = ("strategy_role", "execution_role", "risk_role")
QUEUE_ORDER: Final = ("fills", "order_results", "signals", "order_intents")


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
        self._hashes = dict(cmdline_hashes)
        self._take = take
        self._delays = {name: (delay_ms or {}).get(name, 0) for name in CORE_ROLES}
        self._now = dict.fromkeys(CORE_ROLES, 0)
        self._readers = {
            queue: [name for name in CORE_ROLES if queue in roles.roles[name].inputs]
            for queue in QUEUE_ORDER
        }
        self._world = {
            queue: [name for name in WORLD_ORDER if queue in roles.roles[name].inputs]
            for queue in (TICKS, CONTROL)
        }
        self._seqs: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, Event]]] = {
            queue: deque() for queue in QUEUE_ORDER
        }

    def feed(self, queue: str, seq: int, event: Event) -> None:
        """Take one event of `market_ticks` or `control`, and all that follows from it."""
        for name in self._world[queue]:
            self._step(name, queue, seq, event)
        while self._deliver():
            pass

    def _deliver(self) -> bool:
        for queue in QUEUE_ORDER:
            waiting = self._waiting[queue]
            if waiting:
                seq, event = waiting.popleft()
                for name in self._readers[queue]:
                    self._step(name, queue, seq, event)
                return True
        return False

    def _step(self, name: str, queue: str, seq: int, event: Event) -> None:
        now = max(self._now[name], event.ts + self._delays[name])
        self._now[name] = now
        drafts = self.cores[name].step(queue, seq, event, now)
        if not drafts:
            return
        for out, derived in finish(
            drafts, event, run_id=self.run_id, role=name, cmdline_hash=self._hashes[name]
        ):
            number = self._seqs[out] = self._seqs.get(out, 0) + 1
            self._take(out, number, derived)
            if out in self._waiting:
                self._waiting[out].append((number, derived))


def fresh_cores(config: JsonObject) -> dict[str, Core]:
    """Return the three cores of a resolved config, before their first event."""
    return {name: core_of(name, config) for name in CORE_ROLES}
