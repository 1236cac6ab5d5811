"""Planned end of a run: announced, then roles drained, upstream first; the launcher seals.

A table of phases, stepped by the supervising thread. From `run_ending` on risk allows no entries
and, with `portfolio.at_end: close`, exits open positions. On the first `beat` event at or after
`until_ts` execution expires open orders; then roles drain one after another, market first.
"""

from __future__ import annotations

from enum import Enum

from minibot.events.model import RunEnding
from minibot.events.names import AI_ROLE, EXECUTION_ROLE, RISK_ROLE, WATCHDOG_ROLE
from minibot.events.reasons import DURATION_REACHED, OPERATOR, ROLE_HUNG, SOURCE_ENDED
from minibot.events.unit_sizes import NS_PER_MS
from minibot.runtime.clock import machine_ns
from minibot.runtime.context import CLEAN, Output, RoleContext
from minibot.runtime.stop import StopRecord
from minibot.watchdog.supervisor import Supervisor

# The `beat` that expires orders is written up to a second after `until_ts`, and has to arrive.
BEAT_GRACE_MARKET_MS = 2_000
# Detail of an END that no operator requested: what planned it.
PLANNED_BY = {
    DURATION_REACHED: "planned by the profile",
    SOURCE_ENDED: "the exchange's source came to its end",
}


class Phase(Enum):
    """Phase of a planned end."""

    RUNNING = "running"
    CLOSING = "closing"
    DRAINING = "draining"
    DRAINED = "drained"


class PlannedEnd:
    """Planned end: brings a run to its end in order, without waiting.

    Args:
        control: The `control` queue.
        planned_ts: Market time at which duration or source ends the run.
        planned_code: `DURATION_REACHED` or `SOURCE_ENDED`.
    """

    def __init__(
        self,
        context: RoleContext,
        control: Output,
        supervisor: Supervisor,
        planned_ts: int,
        planned_code: str,
    ) -> None:
        self.phase = Phase.RUNNING
        self.reason_code = planned_code
        self.detail = ""
        self._context = context
        self._control = control
        self._supervisor = supervisor
        self.planned_ts = planned_ts
        self._until_ts = 0
        self._waits_for_time = True
        self._draining = ""
        self._drain_started_ns = 0
        self._close_ms = context.config.portfolio.close_market_ms

    def begin(self, reason_code: str, why: str, *, until_ts: int, waits_for_time: bool) -> None:
        """Announce the end; a second call changes nothing."""
        if self.phase is not Phase.RUNNING:
            return
        self.phase = Phase.CLOSING
        self.reason_code, self.detail = reason_code, why
        self._until_ts, self._waits_for_time = until_ts, waits_for_time
        self._control.append_roots(
            [
                (
                    RunEnding(who=WATCHDOG_ROLE, why=reason_code, until_ts=until_ts),
                    self._context.clock.now_ms(),
                )
            ]
        )

    def begin_by_operator(self, who: str, why: str) -> None:
        """Announce an end that an operator requested: as soon as nothing is open.

        It comes to that only once market time runs, which waits for every role's start.
        """
        until_ts = self._context.clock.now_ms() + self._close_ms
        self.begin(OPERATOR, f"{who}: {why}", until_ts=until_ts, waits_for_time=False)

    def step(self) -> StopRecord | None:
        """Advance to the next phase if due; return a STOP if a role cannot be drained."""
        if self.phase is Phase.RUNNING:
            self._begin_when_due()
        elif self.phase is Phase.CLOSING and self._is_closed():
            self.phase = Phase.DRAINING
        elif self.phase is Phase.DRAINING:
            return self._drain()
        return None

    def rearm(self) -> None:
        """Restart a drain's time limit now, after a pause of the whole run."""
        self._drain_started_ns = machine_ns()

    def _begin_when_due(self) -> None:
        if self._context.clock.now_ms() >= self.planned_ts - self._close_ms:
            why = PLANNED_BY[self.reason_code]
            self.begin(self.reason_code, why, until_ts=self.planned_ts, waits_for_time=True)

    def _is_closed(self) -> bool:
        now_ts = self._context.clock.now_ms()
        if now_ts >= self._until_ts + BEAT_GRACE_MARKET_MS:
            return True
        if self._waits_for_time:
            return False
        # The same grace is enough for `run_ending` to reach both roles.
        announced_ts = self._until_ts - self._close_ms + BEAT_GRACE_MARKET_MS
        return self._is_flat(RISK_ROLE, announced_ts) and self._is_flat(
            EXECUTION_ROLE, announced_ts
        )

    def _is_flat(self, name: str, since_ts: int) -> bool:
        """Return whether a role has reported, since it knew of the end, that nothing is open.

        An older report does not count: in a fast market it may lack minutes of entries.
        """
        facts = self._supervisor.children[name].heartbeat.get("facts", {})
        # Dust cannot be sold, so the end does not wait for it.
        held = [it for it in facts.get("open_positions") or () if "dust_qty" not in it]
        is_flat = facts.get("open_orders") == 0 and not held
        return is_flat and int(facts.get("now", 0)) >= since_ts

    def _drain(self) -> StopRecord | None:
        """Advance the drain of one role; return a STOP if it cannot be drained.

        A role of the trade that crashes is restarted within its budget, without a new time limit.
        The AI is never restarted here: it counts as drained, whatever its exit code.
        """
        supervisor = self._supervisor
        if not self._draining:
            self._drain_next()
            return None
        child = supervisor.children[self._draining]
        code = child.final_code()
        if code == CLEAN or (code is not None and self._draining == AI_ROLE):
            self._draining = ""
            return None
        if code is not None:
            record = supervisor.ended(child, code)
            if record is None:
                # A crash with queues intact: restarted, it drains the rest.
                supervisor.begin_drain(self._draining)
            return record
        frozen = supervisor.draining(child)
        if frozen is not None:
            return frozen
        waited_ms = (machine_ns() - self._drain_started_ns) // NS_PER_MS
        if waited_ms <= self._context.config.watchdog.drain_ms_max:
            return None
        if self._draining == AI_ROLE:
            supervisor.switch_ai_off(f"{AI_ROLE} does not drain")
            return None
        return StopRecord(WATCHDOG_ROLE, ROLE_HUNG, f"{self._draining} does not drain")

    def _drain_next(self) -> None:
        # Even one that has just crashed: restarted, it drains the rest.
        for name in self._context.roles.drain_order:
            if name in self._supervisor.children and name not in self._supervisor.drained:
                self._supervisor.begin_drain(name)
                self._draining = name
                self._drain_started_ns = machine_ns()
                return
        self.phase = Phase.DRAINED
