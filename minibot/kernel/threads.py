"""Threads and events without two traps of `threading`, in which a night would hang for ever.

`threading.Thread.start` waits for ever for a thread that had no memory to begin
(https://github.com/python/cpython/issues/140746). `threading.Event.set` takes a lock: a signal
handler that calls it while the main thread waits for the event may wait for that thread's own lock.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Final

# Thousands of times what a busy machine takes; a thread that begins later does not run at all.
START_S: Final = 10.0


class DaemonThread:
    """Daemon thread that calls a function once; the process does not wait for it at its end.

    Args:
        target: The function.
        name: The thread's name in error messages.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self.name = name
        self._target = target
        # Locks rather than events: their release needs no memory.
        self._claim = threading.Lock()
        self._begun = threading.Lock()
        self._running = threading.Lock()

    def __repr__(self) -> str:
        return f"<thread {self.name}>"

    def start(self) -> None:
        """Start the thread, once.

        Raises:
            RuntimeError: The system provides no thread, or it has not begun within `START_S`.
        """
        if not self._begun.acquire(blocking=False):
            raise RuntimeError(f"thread {self.name} was started before")
        self._running.acquire()
        try:
            _thread.start_new_thread(self._run, ())
        except (RuntimeError, MemoryError) as error:
            self._running.release()
            raise RuntimeError(f"thread {self.name} could not start: {error!r}") from error
        # A claimed thread runs, even if it has not reported so yet.
        if not self._begun.acquire(timeout=START_S) and self._claim.acquire(blocking=False):
            self._running.release()
            raise RuntimeError(
                f"thread {self.name} has not begun within {START_S:.0f} s: memory is short, or the"
                " machine has too much to do"
            )

    def _run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        self._begun.release()
        try:
            self._target()
        finally:
            self._running.release()

    def is_alive(self) -> bool:
        """Return whether the thread was started and has not ended."""
        return self._running.locked()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for a started thread's end, for a time at most; return at once for any other."""
        if self._running.acquire(timeout=-1 if timeout_s is None else timeout_s):
            self._running.release()


class SignalEvent:
    """Event that a signal handler may set: once set, it stays so."""

    def __init__(self) -> None:
        self._is_set = False
        # Its `put` may interrupt its own `get` and `put`.
        self._woken: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Set the event and wake all that wait for it."""
        self._is_set = True
        self._woken.put(None)

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self._is_set

    def wait(self, timeout_s: float) -> bool:
        """Wait for the event, for a time at most; return whether it is set."""
        if not self._is_set:
            with suppress(Empty):
                self._woken.get(timeout=max(timeout_s, 0))
                self._woken.put(None)  # For the next one that waits.
        return self._is_set


@contextmanager
def call_after(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call a function, in a thread, once the block has taken `seconds`.

    Raises:
        RuntimeError: The thread could not start, see `DaemonThread.start`.
    """
    left = threading.Event()

    def wait() -> None:
        if not left.wait(seconds):
            call()

    DaemonThread(wait, "timer").start()
    try:
        yield
    finally:
        left.set()
