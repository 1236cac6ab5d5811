"""Inbox of the market role's one loop, filled by its threads."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# With more messages waiting than this, readers wait too: the venue's side of the socket fills, not
# ours. That is some seconds of the worst flood, and fifty to a hundred megabytes.
WAITING_MAX: Final = 200_000


class Inbox(Generic[T]):
    """A queue with many writers and one reader, which takes many items at once."""

    def __init__(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_awaited = False

    def put(self, item: T, messages: int = 1) -> None:
        """Add an item that holds `messages` messages.

        Blocks while too many messages wait; returns at once when closed.
        """
        with self._changed:
            while self._waiting >= WAITING_MAX and not self._is_closed:
                self._changed.wait()
            self._items.append((item, messages))
            self._waiting += messages
            if self._is_awaited:
                self._changed.notify_all()

    def take(self, timeout_s: float, messages_max: int | None = None) -> list[T]:
        """Return the waiting items; block for at most `timeout_s` while there are none.

        Returns all of them, or enough for about `messages_max` messages.
        """
        with self._changed:
            if not self._items and timeout_s > 0:
                self._is_awaited = True
                self._changed.wait(timeout_s)
                self._is_awaited = False
            was_full = self._waiting >= WAITING_MAX
            enough = self._waiting if messages_max is None else messages_max
            items: list[T] = []
            while self._items and enough > 0:
                item, messages = self._items.popleft()
                items.append(item)
                enough -= messages
                self._waiting -= messages
            if was_full:
                self._changed.notify_all()
            return items

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return self._waiting

    def close(self) -> None:
        """Release every thread that waits to add an item."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
