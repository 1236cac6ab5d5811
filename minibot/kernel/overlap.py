"""Overlap of work that mostly waits for the system, in its own thread, with its caller."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType

from minibot.kernel.threads import DaemonThread

Work = Callable[[Callable[[], None]], None]


class Overlap:
    """Worker thread that does one piece of work after the other while its caller goes on.

    Each piece is given a function to call when it is about to wait for the system. The caller waits
    until then: otherwise it would keep the interpreter's lock, and the work would reach its wait
    only when the caller has nothing left to do. Once a piece has raised, no further one is done.

    Attributes:
        is_under_way: Work was begun since the last `wait`.
    """

    def __init__(self) -> None:
        self.is_under_way = False
        self._wanted: SimpleQueue[tuple[Work, threading.Lock, threading.Lock] | None]
        self._wanted = SimpleQueue()
        self._done = threading.Lock()  # Held until the work begun last is done.
        self._failure: BaseException | None = None
        self._thread = DaemonThread(self._run, "sync")
        self._thread.start()

    def __enter__(self) -> Overlap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the thread; raise its error rather than the caller's."""
        self.close()
        if self._failure is not None and error is not self._failure:
            raise self._failure

    def close(self) -> None:
        """End the thread once all work begun is done."""
        self._wanted.put(None)
        self._thread.join()

    def begin(self, work: Work) -> None:
        """Begin work once all former work is done; return when it calls its function or ends.

        Raises:
            BaseException: The error of this work or of former work.
        """
        self.start(work).acquire()
        if self._failure is not None:
            raise self._failure

    def start(self, work: Work) -> threading.Lock:
        """Begin work like `begin`, for a caller that is about to wait for the system itself.

        It returns at once; the returned lock is held until the work waits.
        """
        self.is_under_way = True
        # New locks for each call, so that an interrupted one leaves none held.
        held, done = threading.Lock(), threading.Lock()
        held.acquire()
        done.acquire()
        self._done = done
        self._wanted.put((work, held, done))
        return held

    def wait(self) -> None:
        """Wait until all work begun is done.

        Raises:
            BaseException: The error of that work.
        """
        with self._done:
            self.is_under_way = False
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            work, held, done = wanted
            try:
                if self._failure is None:
                    work(held.release)
            except BaseException as error:  # The caller's to raise.
                self._failure = error
            if held.locked():
                held.release()
            done.release()
