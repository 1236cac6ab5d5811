"""Metrics while the run lives: `var/metrics/metrics.json` (atomic) and timed snapshots.

Nothing here is a source of truth: every figure can be recounted from the queues.
"""

from __future__ import annotations

from minibot.kernel.files import write_hashed
from minibot.kernel.queue import open_reader
from minibot.runtime.clock import machine_ns
from minibot.runtime.context import RoleContext


class MetricsKeeper:
    """Keeps the metrics of one run; stepped by the watchdog's second thread."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._written_ns = 0

    def step(self) -> None:
        """Write the metrics when their interval has passed."""
        interval_ns = self._context.config.watchdog.metrics_interval_ms * 1_000_000
        if machine_ns() - self._written_ns >= interval_ns:
            self._written_ns = machine_ns()
            self._write()

    def finish(self) -> None:
        """Write the last metrics of the run."""
        self._write()

    def _write(self) -> None:
        var = self._context.var
        counts = {
            queue: open_reader(var.queues, queue).head().lines
            for queue in self._context.roles.queues
        }
        write_hashed(
            var.metrics / "metrics.json", {"run_id": self._context.run_id, "lines": counts}
        )
