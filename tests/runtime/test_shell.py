"""Shell of a role at its drain: it leaves only once every published input is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from minibot.cores.protocol import Core
from minibot.events.model import Beat, RunOpening
from minibot.events.names import CONTROL, EXECUTION_ROLE, TICKS
from minibot.execution.core import core_from_config, core_from_state
from minibot.kernel.queue import open_writer
from minibot.runtime.channels import Control, SilentHeartbeat
from minibot.runtime.clock import suspend_ns
from minibot.runtime.context import CLEAN, Output, RoleContext
from minibot.runtime.shell import Shell
from tests.watchdog.watchdog_stage import RUN_ID, START_TS, Stage

BEATS: Final = 5


class Drained:
    """Executor that is told to drain while inputs wait.

    Args:
        root: The run's `var`.
        lease_age_ms: Age of the launcher's lease at the start; `housekeeping` brings a new one.
        is_late: Whether inputs and drain come during housekeeping instead of before the start.
    """

    def __init__(self, root: Path, *, lease_age_ms: int, is_late: bool) -> None:
        self.stage = Stage(root)
        self.control = Control()
        self._is_late = is_late
        heartbeat = SilentHeartbeat(EXECUTION_ROLE)
        context = RoleContext(EXECUTION_ROLE, self.stage.run_dir, self.control, heartbeat)
        self._lease(lease_age_ms)
        self.shell = Shell(context, core_from_config, core_from_state, self._housekeeping)
        self.shell.restore()
        if not is_late:
            self._end_upstream()

    def _lease(self, age_ms: int) -> None:
        self.control.take(f"lease {suspend_ns() - age_ms * 1_000_000} 1")

    def _housekeeping(self, core: Core, is_last: bool) -> None:
        if not is_last:
            if self._is_late and not self.control.draining:
                self._end_upstream()
            self._lease(0)

    def _end_upstream(self) -> None:
        """Publish the last inputs; then tell the executor to drain."""
        opening: list[Any] = [(RunOpening({"USDT": "10000"}, (), {}), START_TS)]
        self._publish(CONTROL, "watchdog_role", opening)
        beats: list[Any] = [(Beat(n + 1, {}), START_TS) for n in range(BEATS)]
        self._publish(TICKS, "market_role", beats)
        self.control.take("drain")

    def _publish(self, queue: str, role: str, payloads: list[Any]) -> None:
        writer = open_writer(self.stage.var.queues, queue)
        hash_ = self.stage.manifest.processes[role].cmdline_hash
        Output(queue, role, RUN_ID, hash_, self.stage.codec, writer).append_roots(payloads)
        writer.close()

    def taken(self) -> dict[str, int]:
        """Return, by queue, the last line in the executor's input log."""
        payloads = [ack["payload"] for ack in self.stage.acks("order_intents")]
        return {payload["queue"]: payload["to_seq"] for payload in payloads}


@pytest.mark.parametrize(
    ("lease_age_ms", "is_late"),
    [(0, False), (4_000, False), (0, True)],
    ids=["waiting", "after a pause", "published during housekeeping"],
)
def test_draining_role_leaves_once_it_has_taken_every_published_input(
    tmp_path: Path, lease_age_ms: int, is_late: bool
) -> None:
    """A drained executor has every input in its log, even behind a pause or slow syncs."""
    drained = Drained(tmp_path / "var", lease_age_ms=lease_age_ms, is_late=is_late)

    assert drained.shell.run() == CLEAN
    assert drained.taken() == {CONTROL: 1, TICKS: BEATS}
