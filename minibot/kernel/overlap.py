"""One sync at a time in a thread of its own, so that the caller goes on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType


class Overlap:
    """Runs a sync beside its caller, who waits for its end before the next one.

    Args:
        sync: Returns when everything is on the disk, or raises.

    Attributes:
        is_under_way: A sync was begun and not yet waited for.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._begun = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()
        self.is_under_way = False

    def __enter__(self) -> Overlap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread, once a sync that is under way has ended."""
        self._wanted.put(False)
        self._thread.join()

    def begin(self) -> None:
        """Begin a sync and return once it is under way.

        Without waiting for its beginning the caller would keep the interpreter's lock, and the
        sync would begin when the caller has nothing left to do.
        """
        self._wanted.put(True)
        self._begun.acquire()
        self.is_under_way = True

    def wait(self) -> None:
        """Return when the sync that was begun has ended; raise what it raised."""
        error = self._ended.get()
        self.is_under_way = False
        if error is not None:
            raise error

    def _run(self) -> None:
        while self._wanted.get():
            self._begun.release()
            try:
                self._sync()
            except BaseException as error:  # It is the caller's: `wait` raises it there.
                self._ended.put(error)
            else:
                self._ended.put(None)
