"""Work in a thread of its own that mostly waits for the system, while the caller goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType

Work = Callable[[Callable[[], None]], None]


class Overlap:
    """Does one piece of work after the other beside its caller.

    Each is given a function, which it calls when it is about to wait for the system. Its caller
    waits until then: else he would keep the interpreter's lock, and the work would come to its
    wait when he has nothing left to do. What raises is the last that was done here.

    Attributes:
        is_under_way: Something was begun since the last `wait`.
    """

    def __init__(self) -> None:
        self.is_under_way = False
        self._wanted: SimpleQueue[tuple[Work, threading.Lock, threading.Lock] | None]
        self._wanted = SimpleQueue()
        self._done = threading.Lock()  # Held while the last that was begun is not done.
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    def __enter__(self) -> Overlap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the thread; what failed there comes before what failed here."""
        self.close()
        if self._failure is not None and error is not self._failure:
            raise self._failure

    def close(self) -> None:
        """End the thread, once all that was begun is done."""
        self._wanted.put(None)
        self._thread.join()

    def begin(self, work: Work) -> None:
        """Have something done behind what was begun before; return once that is done and it waits.

        Raises:
            BaseException: What it or the one before has raised.
        """
        self.start(work).acquire()
        if self._failure is not None:
            raise self._failure

    def start(self, work: Work) -> threading.Lock:
        """Have something done as `begin` does, for a caller about to wait for the system himself.

        Returns at once; the lock is held until the work waits.
        """
        self.is_under_way = True
        # Each its own, so that an interrupted call leaves none behind.
        held, done = threading.Lock(), threading.Lock()
        held.acquire()
        done.acquire()
        self._done = done
        self._wanted.put((work, held, done))
        return held

    def wait(self) -> None:
        """Return when all that was begun is done.

        Raises:
            BaseException: What it has raised.
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
            except BaseException as error:  # It is the caller's: he raises it.
                self._failure = error
            if held.locked():
                held.release()
            done.release()
