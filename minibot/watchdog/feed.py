"""Feed of the live table, a child process that may block or die; only `end` waits for the table.

A status is one JSON line on the child's standard input. When the pipe is full (a frozen
terminal) the status is dropped; the run goes on. The same status goes to the status file.
Lines for the operator have a thread of their own; only `close` waits for it.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import IO

from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.kernel.threads import DaemonThread
from minibot.runtime.context import to_stderr
from minibot.watchdog.spawn import spawn_table
from minibot.watchdog.status_file import StatusFile

QUIT_S = 10.0
LINES_S = 3.0
"""How long the end of a run waits for a terminal to take its last lines."""


class LiveFeed:
    """Feed that sends statuses to the table process, if there is one, and to the status file."""

    def __init__(self, argv: Sequence[str], file: StatusFile | None = None) -> None:
        self._argv = list(argv)
        self._file = file
        self._process: subprocess.Popen[bytes] | None = None
        self._latest: bytes | None = None
        self._wake = threading.Event()
        self._ended = False
        self._kept: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._teller: DaemonThread | None = None

    def open(self) -> None:
        """Start the thread that writes lines; without one they wait for `close`."""
        thread = DaemonThread(self._print_lines, "lines")
        try:
            thread.start()
        except RuntimeError:
            return
        self._teller = thread

    def start(self, environ: dict[str, str]) -> None:
        """Start the status file, and the table with the operator's terminal as its own.

        Without a process or a thread for the table there is none.
        """
        if self._file is not None:
            self._file.start()
        if not self._argv:
            return
        kept = {
            name: os.environ[name] for name in ("TERM", "COLUMNS", "NO_COLOR") if name in os.environ
        }
        try:
            process = spawn_table(self._argv, {**environ, **kept})
        except OSError:
            return
        try:
            DaemonThread(partial(self._write, process), "live-feed").start()
        except RuntimeError:  # Nothing would feed the table.
            process.kill()
            process.wait()
            return
        self._process = process

    def show(self, status: JsonObject) -> None:
        """Offer the newest status; drop an older one that was not sent yet."""
        if self._file is not None:
            self._file.show(status)
        if self._process is not None:
            self._latest = canonical.encode(status) + b"\n"
            self._wake.set()
            if self._process.poll() is not None:  # A table that has died holds no line back.
                self._release()

    def print_line(self, line: str) -> None:
        """Have one line written to standard error; if a table is drawn there, once it has ended.

        A line between two drawings would push the table down and leave its head standing above. A
        table that dies before the run holds a line until the next status at most.
        """
        if self._process is None or self._ended or not sys.stderr.isatty():
            self._lines.put(line)
        else:
            self._kept.put(line)

    def close(self) -> None:
        """Write the lines that are left, for `LINES_S` at most, and end their thread."""
        self._release()
        self._lines.put(None)
        if self._teller is None:
            self._print_lines()
        else:
            self._teller.join(LINES_S)

    def _release(self) -> None:
        """Hand on the lines that waited for the end of the table."""
        with suppress(queue.Empty):
            while True:
                self._lines.put(self._kept.get_nowait())

    def _print_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            # The terminal is gone; the journal has the reason all the same.
            with suppress(OSError, ValueError):
                to_stderr(line)

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None:
            return
        try:
            is_last = False
            while not is_last:
                self._wake.wait()
                self._wake.clear()
                # Read before the status is taken: a status shown before the end is not left out.
                is_last = self._ended
                latest, self._latest = self._latest, None
                if latest is not None:
                    process.stdin.write(latest)
                    process.stdin.flush()
        except (OSError, ValueError):
            pass  # The table is gone.
        finally:
            _close(process.stdin)

    def end(self, last: JsonObject, *, is_lost: bool = False) -> None:
        """Let the table draw how the run ended, then end it; kill a frozen one.

        Args:
            last: The status with the record of the end.
            is_lost: The run has lost its folder, so that no file is written there any more.
        """
        if self._file is not None:
            self._file.end(None if is_lost else last)
            self._file = None
        process = self._process
        if process is None:
            return
        self.show(last)
        self._ended = True
        self._wake.set()
        try:
            process.wait(QUIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._release()


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        return
