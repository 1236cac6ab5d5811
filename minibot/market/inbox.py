"""Where the threads of the market role leave what they got for its one loop."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# More messages waiting than this and the readers wait too: the venue's side of the socket fills,
# not ours. Some seconds of the worst flood, and fifty to a hundred megabytes.
WAITING_MAX: Final = 200_000


class Inbox(Generic[T]):
    """A queue of many writers and one reader, who takes many items at once."""

    def __init__(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_awaited = False

    def put(self, item: T, messages: int = 1) -> None:
        """Leave an item that stands for so many messages.

        Waits while too many are waiting, returns at once when closed.
        """
        with self._changed:
            while self._waiting >= WAITING_MAX and not self._is_closed:
                self._changed.wait()
            self._items.append((item, messages))
            self._waiting += messages
            if self._is_awaited:
                self._changed.notify_all()

    def take(self, timeout_s: float, messages_max: int | None = None) -> list[T]:
        """Return items that wait, after at most `timeout_s` without any.

        All of them, or as many as stand for about `messages_max` messages.
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
        """How many messages wait."""
        return self._waiting

    def close(self) -> None:
        """Let nobody wait to leave an item any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
