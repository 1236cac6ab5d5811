"""The stream connection and its successor: opening, losing, replacing.

One connection is active. A planned successor (the venue announces its end, or the day is nearly
over) is opened beside it and takes over with its first frame; the old one still counts for a
moment, so nothing is missed, and ids drop what comes twice. An unplanned loss waits for the
backoff, and for the budget of attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from minibot.exchanges.base import Stream
from minibot.market.feed import UNREADABLE, Feed
from minibot.market.link import Link
from minibot.market.notices import CONNECTED, CONNECTION_LOST, RENEWAL, SERVER_SHUTDOWN
from minibot.market.reader import FromReader, Reader

# A single broken frame is refused; a connection that brings nothing else is given up.
UNREADABLE_MAX: Final = 5
# Two connections of one venue run a few hundred ms apart at most.
OVERLAP_MS: Final = 2000


@dataclass(slots=True)
class _Connection:
    reader: Reader
    is_open: bool = False
    unreadable: int = 0
    opened_ms: int = 0


@dataclass(slots=True)
class Connections:
    """Keeps one stream connection alive.

    Args:
        open_stream: Makes a stream that is not connected yet.
        put: Where the readers leave what they get.
    """

    feed: Feed
    link: Link
    open_stream: Callable[[], Stream]
    put: Callable[[FromReader], None]
    _active: _Connection | None = None
    _standby: _Connection | None = None
    _retiring: _Connection | None = None
    _retire_ms: int = 0
    _count: int = 0
    _due_ms: int | None = None
    _standby_due_ms: int | None = None
    _ended: list[Reader] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """True while the active connection stands."""
        return self._active is not None and self._active.is_open

    @property
    def due_ms(self) -> int | None:
        """When the next attempt is due; None while none is waiting."""
        retire_ms = None if self._retiring is None else self._retire_ms
        dues = [d for d in (self._due_ms, self._standby_due_ms, retire_ms) if d is not None]
        return min(dues, default=None)

    # --- opening ------------------------------------------------------------------------------

    def open(self, now_ms: int) -> None:
        """Try to connect now."""
        self._due_ms = None
        self._active = self._new(now_ms)

    def _new(self, now_ms: int) -> _Connection:
        self._count += 1
        self.link.on_attempt(now_ms)
        reader = Reader(self._count, self.open_stream(), self.put)
        reader.start()
        return _Connection(reader)

    def on_clock(self, now_ms: int) -> None:
        """Make attempts that are due, and plan the successor of an old connection."""
        if self._due_ms is not None and now_ms >= self._due_ms:
            self.open(now_ms)
        if self._standby_due_ms is not None and now_ms >= self._standby_due_ms:
            self._standby_due_ms = None
            self._standby = self._new(now_ms)
        if self._retiring is not None and now_ms >= self._retire_ms:
            self._end(self._retiring)
            self._retiring = None
        active = self._active
        if active is None or not active.is_open or self._has_successor:
            return
        if now_ms - active.opened_ms >= self.link.limits.renew_after_ms:
            self._replace(now_ms, RENEWAL, "the connection is nearly a day old")

    @property
    def _has_successor(self) -> bool:
        return self._standby is not None or self._standby_due_ms is not None

    def _replace(self, now_ms: int, kind: str, why: str) -> None:
        self.feed.board.add(now_ms, kind, f"{why}: a second connection takes over")
        self._standby_due_ms = self.link.attempt_free_at_ms(now_ms)

    # --- what readers say ---------------------------------------------------------------------

    def on_opened(self, number: int, now_ms: int) -> None:
        """A connection stands."""
        connection = self._of(number)
        if connection is None:
            return
        connection.is_open, connection.opened_ms = True, now_ms
        if connection is self._active:
            self.link.on_connected(now_ms)
            self.feed.on_connected(now_ms)
            if self.link.failures:
                detail = f"connection {number} after {self.link.failures} failures"
                self.feed.board.add(now_ms, CONNECTED, detail)

    def is_current(self, number: int) -> bool:
        """Return whether frames of this connection count; those of a given up one do not."""
        return self._of(number) is not None

    def on_frame(self, number: int, kind: str, now_ms: int) -> None:
        """Note what a frame of a connection was."""
        connection = self._of(number)
        if connection is None:
            return
        if kind != UNREADABLE:
            connection.unreadable = 0
            if connection is self._standby:
                self._take_over(connection, now_ms)
            return
        connection.unreadable += 1
        if connection.unreadable >= UNREADABLE_MAX:
            self.on_lost(number, f"{UNREADABLE_MAX} unreadable frames in a row", now_ms)

    def on_shutdown(self, number: int, now_ms: int) -> None:
        """The venue says that it will close this connection."""
        active = self._active
        if active is not None and active.reader.number == number and not self._has_successor:
            self._replace(now_ms, SERVER_SHUTDOWN, "the exchange announced a shutdown")

    def on_lost(self, number: int, why: str, now_ms: int) -> None:
        """A connection is gone, or was given up."""
        connection = self._of(number)
        if connection is None:
            return
        self._end(connection)
        if connection is self._retiring:
            self._retiring = None
            return
        if connection is self._standby:
            self._standby = None
            self._standby_due_ms, wait = self.link.on_successor_lost(now_ms)
            detail = f"successor: {why}; next attempt after {wait.wait_ms} ms"
            self.feed.board.add(now_ms, CONNECTION_LOST, detail)
            return
        self._active = None
        self._on_active_lost(number, why, now_ms)

    def _on_active_lost(self, number: int, why: str, now_ms: int) -> None:
        was_connected = self.link.is_connected
        due_ms, wait = self.link.on_lost(now_ms)
        if was_connected:
            self.feed.on_disconnected(now_ms, why)
        detail = (
            f"connection {number}: {why}; attempt {wait.attempt} after {due_ms - now_ms} ms "
            f"(drawn {wait.wait_ms} of {wait.ceiling_ms} ms), breaker {self.link.breaker}"
        )
        self.feed.board.add(now_ms, CONNECTION_LOST, detail)
        standby, self._standby, self._standby_due_ms = self._standby, None, None
        if standby is None:
            self._due_ms = due_ms
            return
        # The successor is there already, or nearly; what was missed shows in the ids.
        self._active = standby
        if standby.is_open:
            self.link.on_connected(now_ms)
            self.feed.on_connected(now_ms)

    def give_up_silent(self, now_ms: int) -> None:
        """Give up the active connection because it brings nothing."""
        active = self._active
        if active is not None:
            age = self.link.data_age_ms(now_ms)
            self.on_lost(active.reader.number, f"no data for {age} ms", now_ms)

    def _take_over(self, standby: _Connection, now_ms: int) -> None:
        self._retiring, self._retire_ms = self._active, now_ms + OVERLAP_MS
        self._active, self._standby = standby, None
        self._due_ms = None
        self.link.on_replaced(now_ms)

    # --- ends ---------------------------------------------------------------------------------

    def _of(self, number: int) -> _Connection | None:
        for connection in (self._active, self._standby, self._retiring):
            if connection is not None and connection.reader.number == number:
                return connection
        return None

    def _end(self, connection: _Connection) -> None:
        connection.reader.abort()
        self._ended.append(connection.reader)
        self._ended = self._ended[-8:]

    def close(self, timeout_s: float) -> None:
        """End all connections and wait for their threads."""
        for connection in (self._active, self._standby, self._retiring):
            if connection is not None:
                self._end(connection)
        self._active = self._standby = self._retiring = None
        self._due_ms = self._standby_due_ms = None
        for reader in self._ended:
            reader.join(timeout_s)
