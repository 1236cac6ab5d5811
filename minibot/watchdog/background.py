"""Second thread of the watchdog: it merges parts and keeps metrics, and may wait."""

from __future__ import annotations

import threading
import traceback

from minibot.events.model import JsonObject
from minibot.events.names import WATCHDOG_ROLE
from minibot.events.reasons import INVARIANT_BROKEN, ROLE_CRASH_LOOP, ROLE_HUNG, ROLE_MEMORY
from minibot.kernel.errors import RunStop
from minibot.kernel.threads import DaemonThread
from minibot.runtime.clock import machine_ns
from minibot.runtime.context import RoleContext
from minibot.runtime.role import stop_record
from minibot.runtime.stop import StopRecord
from minibot.watchdog.merge import Merger
from minibot.watchdog.metrics import MetricsKeeper

MERGE_S = 0.2
# Seldom, as inboxes can be rebuilt from their parts, which the roles sync.
SYNC_NS = 5_000_000_000
# How long the thread may take to end; it looks after each part and each line that it counts.
END_S = 30.0


class Background:
    """Background thread: merges and counts until stopped; keeps a failure for supervision.

    Attributes:
        failure: Why it ended, None while it works.
        is_counted: True once `finish` has written the figures of the run's end.
    """

    def __init__(self, context: RoleContext) -> None:
        self.failure: StopRecord | None = None
        self.is_counted = False
        self._context = context
        self._merger = self._open_merger()
        self._metrics = MetricsKeeper(context)
        self._ended = threading.Event()
        self._thread = DaemonThread(self._work, "merge")
        self._synced_ns = machine_ns()

    @property
    def live(self) -> JsonObject:
        """Figures for the live table, up to the executor's cursor, which is moved every 5 s."""
        return self._metrics.live

    def _open_merger(self) -> Merger:
        context = self._context
        return Merger(
            root=context.var.queues,
            roles=context.roles,
            codec=context.codec,
            clock=context.clock,
            run_id=context.run_id,
            cmdline_hash=context.cmdline_hash,
            segment_bytes=context.config.queues.segment_bytes,
            line_bytes_max=context.config.queues.line_bytes_max,
        )

    def start(self) -> StopRecord | None:
        """Start merging; return a STOP if the system provides no thread."""
        try:
            self._thread.start()
        except RuntimeError as error:
            return StopRecord(WATCHDOG_ROLE, ROLE_CRASH_LOOP, f"{WATCHDOG_ROLE}: no merge: {error}")
        return None

    def _work(self) -> None:
        try:
            while not self._ended.wait(MERGE_S):
                self._merger.merge(self._ended.is_set)
                self._metrics.step(self._ended.is_set)
                if machine_ns() - self._synced_ns > SYNC_NS:
                    self._synced_ns = machine_ns()
                    self._merger.sync()
        except MemoryError:
            self.failure = StopRecord(WATCHDOG_ROLE, ROLE_MEMORY, "merge: there is no memory left")
        except Exception as error:  # Without this thread nothing is merged: the run ends.
            record = stop_record(WATCHDOG_ROLE, error)
            if record is None:
                self._context.print_line(traceback.format_exc().rstrip())
                record = StopRecord(WATCHDOG_ROLE, INVARIANT_BROKEN, f"merge: {error!r}")
            self.failure = record

    def stop(self) -> None:
        """End the thread; one that does not end within `END_S` keeps all that it has open."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(END_S)

    def abandon(self) -> None:
        """Close without copying the rest, as the files are no longer where they were.

        Raises:
            RunStop: The disk refuses, or ROLE_HUNG: the thread has not ended.
        """
        self._refuse_two_at_once()
        self._merger.is_torn = True
        self._merger.close()

    def finish(self) -> None:
        """Copy the rest, write the last metrics and close.

        Raises:
            RunStop: The disk refuses, or ROLE_HUNG: the thread has not ended.
        """
        self._refuse_two_at_once()
        self._merger.close()
        if self._merger.is_torn:
            self._open_merger().close()
        self._metrics.finish()
        self.is_counted = True

    def _refuse_two_at_once(self) -> None:
        """Refuse to go on while the thread lives: two mergers would copy the same lines twice."""
        if self._thread.is_alive():
            raise RunStop(
                WATCHDOG_ROLE,
                ROLE_HUNG,
                f"merge: expected its thread to end within {END_S:.0f} s, but it still works: the"
                " disk hangs, or the machine has too much to do",
            )
