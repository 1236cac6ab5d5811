"""Status file: the status line that the live table gets, once a second, for other processes.

`minibot watch`, `minibot health`, the process `ops` and the guard read it. It is a hint: no proof
rests on it, a status that cannot be written is left out, and the run goes on. The file has its own
thread, which writes the newest status and drops an older one; only `end` waits for it.
"""

from __future__ import annotations

import threading
from pathlib import Path

from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.kernel.errors import RunStop
from minibot.kernel.files import ensure_below, ensure_folder, write_atomic
from minibot.kernel.threads import DaemonThread
from minibot.runtime.clock import wall_ms

LAST_S = 3.0
"""How long the end of a run waits for its last status to be written."""


class StatusFile:
    """Writer of one run's status to a file; each replaces the one before, whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._latest: JsonObject | None = None
        self._wake = threading.Event()
        self._ended = False
        self._thread: DaemonThread | None = None

    def start(self) -> None:
        """Start the thread; without a thread or a folder there is no file."""
        try:
            ensure_folder(self._path.parent)
            thread = DaemonThread(self._work, "status-file")
            thread.start()
        except (RunStop, OSError, RuntimeError):
            return
        self._thread = thread

    def show(self, status: JsonObject) -> None:
        """Offer the newest status; `written_ms`, its wall-clock time, is added."""
        if self._thread is not None:
            self._latest = {**status, "written_ms": wall_ms()}
            self._wake.set()

    def end(self, last: JsonObject | None) -> None:
        """Write how the run ended, if it is to be written, and end the thread."""
        if self._thread is None:
            return
        if last is None:
            self._latest = None
        else:
            self.show(last)
        self._ended = True
        self._wake.set()
        self._thread.join(LAST_S)

    def _work(self) -> None:
        is_last = False
        while not is_last:
            self._wake.wait()
            self._wake.clear()
            # Read before the status is taken: a status shown before the end is not left out.
            is_last = self._ended
            latest, self._latest = self._latest, None
            if latest is not None:
                self._write(latest)

    def _write(self, status: JsonObject) -> None:
        try:
            ensure_below(self._path.parent.parent, self._path.parent)
            write_atomic(self._path, canonical.encode(status) + b"\n", is_durable=False)
        except (RunStop, OSError):
            return  # Another check ends the run on a full disk, with its reason.
