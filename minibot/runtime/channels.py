"""The two channels between the launcher and a role.

Control: the role's standard input, one line per command (`lease <issued ns> <epoch>`, `drain`,
`stop`); end of file means that the launcher is gone. Heartbeat: the role's standard output, one
canonical JSON object at once and then every `watchdog.heartbeat_interval_ms`, sent by a thread that
no disk can block.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minibot.kernel import canonical
from minibot.kernel.canonical import JsonObject
from minibot.kernel.files import DISK_CALLS
from minibot.kernel.threads import DaemonThread
from minibot.runtime.clock import awake_ns, suspend_ns

LEASE = "lease"
DRAIN = "drain"
STOP = "stop"
LEASE_INTERVAL_MS = 1_000
BEAT_S = 1.0
# When a lease was issued that never came: decades before a machine's clock begins.
NO_LEASE_NS = -(10**18)
# Shortest delay of the heartbeat thread that counts as a suspension; a thread that only sleeps and
# writes a line on a busy machine is late by less.
STILL_MS_MIN = 2_000


@dataclass(slots=True)
class Control:
    """Control commands received so far; read by the role's loop, fed by one thread."""

    draining: bool = False
    stopping: bool = False
    orphaned: bool = False
    epoch: int = 0
    _issued_ns: int = NO_LEASE_NS
    _received_ns: int = field(default_factory=awake_ns)

    def lease_age_ms(self) -> int:
        """Return the age of the last lease, on a clock that runs through suspend.

        Before the first one it is above any lifetime.
        """
        return (suspend_ns() - self._issued_ns) // 1_000_000

    def silence_ms(self, since_ns: int = 0) -> int:
        """Return how long this process, while awake, has had no new lease.

        Args:
            since_ns: A moment by `awake_ns`; time before it does not count.
        """
        return (awake_ns() - max(since_ns, self._received_ns)) // 1_000_000

    def is_leased_since(self, moment_ns: int) -> bool:
        """Return whether a lease has come since a moment by `awake_ns`."""
        return self._received_ns > moment_ns

    def take(self, line: str) -> None:
        """Apply one control line; an unknown or unreadable one changes nothing."""
        words = line.split()
        if not words:
            return
        if words[0] == LEASE:
            try:
                issued, epoch = map(int, words[1:])
            except ValueError:
                return
            if epoch >= self.epoch:
                self.epoch, self._issued_ns, self._received_ns = epoch, issued, awake_ns()
        elif words[0] == DRAIN:
            self.draining = True
        elif words[0] == STOP:
            self.stopping = True


def start_control(on_orphaned: Callable[[], None]) -> Control:
    """Read standard input in a thread; `on_orphaned` runs there when the launcher is gone."""
    control = Control()

    def listen() -> None:
        # Not through `sys.stdin`: a thread that waits in its lock would abort the interpreter's
        # exit.
        descriptor, rest = sys.stdin.fileno(), b""
        while chunk := os.read(descriptor, 4096):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                control.take(line.decode("ascii", "replace"))
        control.orphaned = True
        on_orphaned()

    DaemonThread(listen, "control").start()
    return control


class Heartbeat:
    """Heartbeat thread: sends the state that the role's loop noted last, at once and repeatedly.

    Attributes:
        interval_s: Wall-clock seconds between two heartbeats, from the next one on.
        resumed_ns: When the process last resumed after a pause, by `awake_ns`; 0 for never.
    """

    def __init__(self, role: str, interval_s: float = BEAT_S) -> None:
        self.role = role
        self.state = "STARTING"
        self.turns = 0
        self.position = 0
        self.waiting = 0
        self.market_ready = False
        self.facts: JsonObject = {}
        self.interval_s = interval_s
        self.resumed_ns = 0
        self._still_ms = 0
        self._beat_ns = suspend_ns()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._still_lock = threading.Lock()
        DaemonThread(self._beat, "heartbeat").start()

    def _beat(self) -> None:
        while not self._ended.is_set():
            self.send()
            self._ended.wait(self.interval_s)
            self.still_ms()
            self._beat_ns = suspend_ns()

    def still_ms(self) -> int:
        """Return how long the process has been suspended in total, as by a closed lid or SIGSTOP.

        A pause counts at once: the heartbeat thread is late, even before that thread runs again. So
        does the time for which that thread cannot write, as its launcher has long read nothing.
        """
        with self._still_lock:
            moment = suspend_ns()
            late_ms = (moment - self._beat_ns) // 1_000_000 - int(self.interval_s * 1000)
            if late_ms > STILL_MS_MIN and not self._ended.is_set():
                self._still_ms += late_ms
                self._beat_ns, self.resumed_ns = moment, awake_ns()
            return self._still_ms

    def send(self, **extra: Any) -> None:
        """Send one heartbeat now, with extra fields; it is newer than all before it."""
        # Made under the lock: else the other thread's line, made before, might follow this one.
        with self._lock:
            line = self._line(extra)
            try:
                sys.stdout.buffer.write(line + b"\n")
                sys.stdout.buffer.flush()
            except (OSError, ValueError):
                # The launcher is gone, for which Windows has another error than a broken pipe; the
                # control channel shows that and ends the role.
                self._ended.set()

    def _line(self, extra: JsonObject) -> bytes:
        return canonical.encode(
            {
                "role": self.role,
                "state": self.state,
                "turns": self.turns,
                "position": self.position,
                "waiting": self.waiting,
                "sync_ns": DISK_CALLS.since_ns(),
                "market_ready": self.market_ready,
                "pid": os.getpid(),
                "facts": self.facts,
                **extra,
            }
        )

    def end(self) -> None:
        """Stop sending heartbeats."""
        self._ended.set()


class SilentHeartbeat(Heartbeat):
    """The launcher's own heartbeat: it notes the state, as others do, and sends nothing."""

    def __init__(self, role: str) -> None:
        super().__init__(role, interval_s=3600.0)
        self.end()

    def send(self, **extra: Any) -> None:
        """Do nothing: the launcher has no supervisor."""
