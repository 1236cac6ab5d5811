"""Supervised process: its pipes, its last heartbeat, its restarts.

The supervising thread never waits for a child: standard input is written without blocking,
a thread per child reads standard output, standard error goes to a log file.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from minibot.events.model import STARTING, JsonObject
from minibot.events.unit_sizes import NS_PER_MS
from minibot.kernel import canonical
from minibot.kernel.errors import RunStop
from minibot.kernel.files import ensure_below
from minibot.kernel.threads import DaemonThread
from minibot.runtime.clock import awake_ns
from minibot.watchdog.spawn import spawn_role

# Longest wait for the last output of an ended process, which is in its pipe already.
LAST_WORDS_NS = 500_000_000


class Child:
    """Child: a role's process, `ops`, or the embedded exchange.

    Its times in milliseconds are wall-clock time without suspends of the machine.

    Args:
        name: Role name, `ops` or `exchange`.
        argv: The same command line at every start.
        error_log: File for standard error.
        environ: The whole environment of the process.

    Attributes:
        restarts: Restarts in the run.
        restarts_ns: Times of restarts by `awake_ns`, at least those of the last 300 s.
    """

    def __init__(
        self, name: str, argv: Sequence[str], error_log: Path, environ: dict[str, str]
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.heartbeat: JsonObject = {}
        self.reported_stop: tuple[str, str] | None = None
        self.started_ns = 0
        self.heard_ns = 0
        self.turned_ns = 0
        self.moved_ns = 0
        self.synced_ns = 0
        self.restarts = 0
        self.restarts_ns: list[int] = []
        self.lines: list[JsonObject] = []
        self._error_log = error_log
        self.environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: DaemonThread | None = None
        self._ended_ns = 0
        self._seen: psutil.Process | None = None
        self._used_s = 0.0
        self._used_ns = 0

    def start(self) -> None:
        """Start the process in its own session or process group.

        Raises:
            OSError: The system provides no further process, thread or descriptor.
        """
        self.started_ns = self.heard_ns = self.turned_ns = self.moved_ns = awake_ns()
        self._used_ns, self._used_s = self.started_ns, 0.0
        logs = self._error_log.parent
        with suppress(RunStop):  # The open fails then, and says why.
            ensure_below(logs.parent, logs)
        descriptor = os.open(
            self._error_log,
            # O_NONBLOCK: a FIFO in its place is an error and keeps nothing waiting.
            os.O_WRONLY
            | os.O_APPEND
            | os.O_CREAT
            | getattr(os, "O_CLOEXEC", 0)
            | getattr(os, "O_NONBLOCK", 0),
            0o600,
        )
        try:
            self._process = spawn_role(self.argv, self.environ, descriptor)
        finally:
            os.close(descriptor)
        # Only now: until then the listener of a former process may hear its late words.
        self.heartbeat, self.reported_stop, self._ended_ns = {}, None, 0
        self._seen = _seen(self._process.pid)
        stdin = self._process.stdin
        if stdin is not None and sys.platform != "win32":
            os.set_blocking(stdin.fileno(), False)
        self._listener = DaemonThread(partial(self._listen, self._process), f"hear-{self.name}")
        try:
            self._listener.start()
        except RuntimeError as error:
            # The system provides no further thread: nothing would read the heartbeats.
            self._listener = None
            self._process.kill()
            self._process.wait()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        stream = process.stdout
        if stream is None:
            return
        with stream:
            for line in stream:
                try:
                    heartbeat = canonical.decode(line.rstrip(b"\r\n"))
                except ValueError:
                    continue  # Other output, such as a library's, is no heartbeat.
                if process is not self._process:
                    return  # Late words of a process that has been started again.
                if "stopped" in heartbeat:
                    self.reported_stop = (
                        str(heartbeat["stopped"]),
                        str(heartbeat.get("detail", "")),
                    )
                if "role" in heartbeat and "turns" in heartbeat:
                    self.hear(heartbeat)
                else:
                    self.lines.append(heartbeat)

    def hear(self, heartbeat: JsonObject) -> None:
        """Take a heartbeat: note when it came, and when the loop last turned, moved or synced."""
        moment = awake_ns()
        before = self.heartbeat
        # A loop that has not begun cannot hang: a start has its own time limit.
        is_begun = before.get("state", STARTING) != STARTING
        if not is_begun or heartbeat["turns"] != before["turns"]:
            self.turned_ns = moment
        if not is_begun or heartbeat["position"] != before["position"] or not heartbeat["waiting"]:
            self.moved_ns = moment
        if heartbeat["sync_ns"]:
            self.synced_ns = moment
        self.heard_ns = moment
        self.heartbeat = heartbeat

    def send(self, line: str) -> None:
        """Send a control line; drop it if the pipe is full or closed, or the process has gone."""
        process = self._process
        if process is None or process.stdin is None or process.poll() is not None:
            return
        if process.stdin.closed:
            return
        try:
            os.write(process.stdin.fileno(), line.encode() + b"\n")
        except OSError:  # Full, or closed by the process.
            return

    def close_input(self) -> None:
        """Close the control channel: the child sees that its launcher is gone."""
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                return

    def exit_code(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return None if self._process is None else self._process.poll()

    def final_code(self) -> int | None:
        """Return the exit code once the process's last output has been read as well.

        A role that stops sends the reason last; judged before that, its end would look like a crash
        that a restart may mend. The output is waited for from the first call after the end on.
        """
        code = self.exit_code()
        if code is None or self._listener is None or not self._listener.is_alive():
            return code
        moment = awake_ns()
        self._ended_ns = self._ended_ns or moment
        return code if moment - self._ended_ns >= LAST_WORDS_NS else None

    @property
    def is_starting(self) -> bool:
        """True until its first heartbeat after its loop has begun."""
        return bool(self.heartbeat.get("state", STARTING) == STARTING)

    @property
    def is_running(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, from our own handle; 0 before the first start."""
        return 0 if self._process is None else self._process.pid

    def rss_bytes(self) -> int | None:
        """Return the resident memory of the process, or None when it is gone."""
        if self._seen is None or not self.is_running:
            return None
        try:
            return int(self._seen.memory_info().rss)
        except psutil.Error:
            return None

    def kill(self) -> None:
        """End the process at once, by our own handle."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process has ended; False when it has not."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def quiet_ms(self) -> int:
        """Return wall-clock milliseconds since the loop last turned or was seen in a disk call."""
        return (awake_ns() - max(self.turned_ns, self.synced_ns)) // NS_PER_MS

    def turn_ms(self) -> int:
        """Return wall-clock milliseconds since the loop last turned, disk calls included."""
        return (awake_ns() - self.turned_ns) // NS_PER_MS

    def silent_ms(self) -> int:
        """Return wall-clock milliseconds since the last heartbeat."""
        return (awake_ns() - self.heard_ns) // NS_PER_MS

    def still_ms(self) -> int:
        """Return for how many wall-clock milliseconds it has neither sent anything nor used CPU.

        A process that starts on a busy machine, or blocks its threads by an import, still uses CPU;
        a frozen one does not.
        """
        used_s = self._processor_s()
        if used_s != self._used_s:
            self._used_s, self._used_ns = used_s, awake_ns()
        return (awake_ns() - max(self.heard_ns, self._used_ns)) // NS_PER_MS

    def _processor_s(self) -> float:
        if self._seen is None:
            return self._used_s
        try:
            times = self._seen.cpu_times()
        except psutil.Error:
            return self._used_s  # It has ended, which other checks detect.
        return float(times.user + times.system)

    def rearm(self) -> None:
        """Restart every time limit now: until now no child could be heard."""
        moment = awake_ns()
        self.started_ns = self.heard_ns = self.turned_ns = self.moved_ns = moment
        self._used_ns = moment

    def stuck_ms(self) -> int:
        """Return wall-clock milliseconds for which inputs wait, without progress or a disk call."""
        return (awake_ns() - max(self.moved_ns, self.synced_ns)) // NS_PER_MS

    def age_ms(self) -> int:
        """Return wall-clock milliseconds since this start."""
        return (awake_ns() - self.started_ns) // NS_PER_MS

    def may_restart(self, max_60s: int, max_300s: int) -> bool:
        """Count a restart and return True; count none and return False if the budget is spent."""
        moment = awake_ns()
        self.restarts_ns = [at for at in self.restarts_ns if moment - at < 300_000 * NS_PER_MS]
        last_60s = sum(moment - at < 60_000 * NS_PER_MS for at in self.restarts_ns)
        if last_60s >= max_60s or len(self.restarts_ns) >= max_300s:
            return False
        self.count_restart()
        return True

    def count_restart(self) -> None:
        """Count a restart; `may_restart` does so itself."""
        self.restarts += 1
        self.restarts_ns.append(awake_ns())


def _seen(pid: int) -> psutil.Process | None:
    """Return a child's psutil handle, for repeated use; None if it has ended."""
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None
