"""Where the threads of the market role leave what they got for its one loop."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# More waiting than this and the readers wait too: the venue's side of the socket fills, not ours.
WAITING_MAX: Final = 50_000


class Inbox(Generic[T]):
    """A queue of many writers and one reader, who takes all that waits at once."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_awaited = False

    def put(self, item: T) -> None:
        """Leave an item; waits while too many are waiting, returns at once when closed."""
        with self._changed:
            while len(self._items) >= WAITING_MAX and not self._is_closed:
                self._changed.wait()
            self._items.append(item)
            if self._is_awaited:
                self._changed.notify_all()

    def take(self, timeout_s: float) -> deque[T]:
        """Return all items that wait, after at most `timeout_s` without any."""
        with self._changed:
            if not self._items and timeout_s > 0:
                self._is_awaited = True
                self._changed.wait(timeout_s)
                self._is_awaited = False
            was_full = len(self._items) >= WAITING_MAX
            items, self._items = self._items, deque()
            if was_full:
                self._changed.notify_all()
            return items

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Let nobody wait to leave an item any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
