"""Stream connection of one shard and its successor: opening, losing, replacing.

One connection is active. A planned successor (the venue announces the end, or the day is nearly
over) opens while it goes on. Once it has every stream, its next readable frame makes it take over,
be it data or an answer. The old connection still counts for a moment, so nothing is missed, and ids
remove duplicates. After an unplanned loss, the next attempt waits for the backoff and the budget of
attempts. Only the symbols of the shard are affected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from minibot.events.reasons import CONNECTION_LOST
from minibot.exchanges.base import LOOK, LOOK_AFTER_MS
from minibot.exchanges.venue_facts import SUBSCRIBE, Reply
from minibot.market.feed import DATA, UNREADABLE, Feed
from minibot.market.notices import CONNECTED, CONTROL_REFUSED, RENEWAL, SERVER_SHUTDOWN
from minibot.market.reader import Reader
from minibot.market.shard_health import ShardHealth
from minibot.market.sharding import Groups
from minibot.market.subscriptions import Subscriptions

# A single broken frame is refused; a connection that brings nothing else is given up.
UNREADABLE_MAX: Final = 5
# Two connections of one venue run a few hundred ms apart at most.
OVERLAP_MS: Final = 2000
# After three refusals the venue will keep refusing on this connection.
REFUSALS_MAX: Final = 3
# Connections that were opened together are renewed one after the other: each earlier than the one
# before by `renew_after_ms` divided by this.
STAGGER_SHARE: Final = 200


@dataclass(slots=True)
class _Connection:
    reader: Reader
    carries: Subscriptions
    is_open: bool = False
    unreadable: int = 0
    opened_ms: int = 0
    is_leaving: bool = False


@dataclass(slots=True)
class Succession:
    """Connection of one shard, kept alive.

    Args:
        number: Number of the shard, from 0; staggers its renewals.
        groups: Groups that the shard carries.
        connect: Makes a connection for these groups, to be started, after counting the attempt.
    """

    number: int
    groups: Groups
    line: ShardHealth
    feed: Feed
    connect: Callable[[Groups, int], tuple[Reader, Subscriptions]]
    _active: _Connection | None = None
    _standby: _Connection | None = None
    _retiring: _Connection | None = None
    _retire_ms: int = 0
    _due_ms: int | None = None
    _standby_due_ms: int | None = None
    _ended: list[Reader] = field(default_factory=list)

    # --- state --------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Return True while the active connection is established."""
        return self._active is not None and self._active.is_open

    @property
    def is_complete(self) -> bool:
        """Return True while the active connection is established and carries every stream."""
        active = self._active
        return active is not None and active.is_open and active.carries.is_complete

    @property
    def is_market_wide(self) -> bool:
        """Return True while it carries streams of the whole market alone, and of no symbol."""
        return not any(name in self.feed.symbols for name in self.groups)

    @property
    def has_successor(self) -> bool:
        """Return True while a successor is planned, being opened, or has just taken over."""
        waits = self._standby is not None or self._standby_due_ms is not None
        return waits or self._retiring is not None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the connections in use."""
        return tuple(connection.reader.number for connection in self._connections())

    @property
    def due_ms(self) -> int | None:
        """Return the due time of the next attempt or end, ms; None for none."""
        retire_ms = None if self._retiring is None else self._retire_ms
        dues = [d for d in (self._due_ms, self._standby_due_ms, retire_ms) if d is not None]
        return min(dues, default=None)

    def unread(self) -> int:
        """Return roughly how many messages of the connections in use were not read yet."""
        return sum(connection.reader.unread() for connection in self._connections())

    def control_due_ms(self) -> int | None:
        """Return the time of the next control message, in machine milliseconds, or None."""
        dues = [c.carries.due_ms() for c in self._connections() if c.is_open]
        return min((due for due in dues if due is not None), default=None)

    def _connections(self) -> list[_Connection]:
        known = (self._active, self._standby, self._retiring)
        return [connection for connection in known if connection is not None]

    def _of(self, number: int) -> _Connection | None:
        for connection in self._connections():
            if connection.reader.number == number:
                return connection
        return None

    # --- what it carries ----------------------------------------------------------------------

    def want(self, groups: Groups, now_ms: int) -> None:
        """Carry these groups too; one that was dropped, but not ended yet, is connected at once."""
        self.groups.update(groups)
        for connection in self._connections():
            connection.carries.want(groups)
        active = self._active
        if active is not None and active.is_open:
            sent = [name for name in groups if active.carries.is_sent(name)]
            self.feed.on_connected(now_ms, sent, self.line)

    def drop(self, names: Iterable[str]) -> None:
        """Stop carrying these groups."""
        names = list(names)
        for name in names:
            self.groups.pop(name, None)
        for connection in self._connections():
            connection.carries.drop(names)

    def renew(self, names: Sequence[str], why: str, now_ms: int) -> None:
        """Subscribe again to these groups on the active connection; everything missed is a gap."""
        active = self._active
        if active is not None and active.is_open:
            active.carries.renew(names)
            self.feed.on_disconnected(now_ms, why, names)

    # --- opening ------------------------------------------------------------------------------

    def plan(self, now_ms: int) -> None:
        """Connect as soon as the budget of attempts allows it."""
        self._due_ms = self.line.attempt_free_at_ms(now_ms)

    def _new(self, now_ms: int) -> _Connection:
        self.line.on_attempt(now_ms)
        reader, carries = self.connect(self.groups, now_ms)
        reader.start()
        return _Connection(reader, carries)

    def on_clock(self, now_ms: int, machine_ms: int, *, may_renew: bool) -> None:
        """Make due attempts, send control messages, and plan a successor in time."""
        if self._due_ms is not None and now_ms >= self._due_ms:
            self._due_ms = self._when_free(now_ms)
            if self._due_ms is None:
                self._active = self._new(now_ms)
        if self._standby_due_ms is not None and now_ms >= self._standby_due_ms:
            self._standby_due_ms = self._when_free(now_ms)
            if self._standby_due_ms is None:
                self._standby = self._new(now_ms)
        if self._retiring is not None and now_ms >= self._retire_ms:
            self._end(self._retiring)
            self._retiring = None
        self._replace_leaving(now_ms)
        self._control(now_ms, machine_ms)
        if may_renew:
            self._watch_age(now_ms)

    def _when_free(self, now_ms: int) -> int | None:
        """Return the time of the next attempt, None for now: other shards use the same budget."""
        free_ms = self.line.attempt_free_at_ms(now_ms)
        return None if free_ms <= now_ms else free_ms

    def _control(self, now_ms: int, machine_ms: int) -> None:
        for connection in self._connections():
            if not connection.is_open:
                continue
            if connection.carries.is_overdue(machine_ms):
                self.on_lost(connection.reader.number, "control message unanswered", now_ms)
                continue
            text = connection.carries.message(machine_ms)
            if text is not None:
                connection.reader.send(text)

    def _watch_age(self, now_ms: int) -> None:
        active = self._active
        if active is None or not active.is_open or self.has_successor:
            return
        renew_ms = self.line.limits.renew_after_ms
        if now_ms - active.opened_ms >= renew_ms - self.number % 100 * renew_ms // STAGGER_SHARE:
            self._replace(now_ms, RENEWAL, "the connection is nearly a day old")

    def _replace(self, now_ms: int, kind: str, why: str) -> None:
        self.feed.board.add(now_ms, kind, f"{why}: a second connection takes over")
        self._standby_due_ms = self.line.attempt_free_at_ms(now_ms)

    # --- what readers say ---------------------------------------------------------------------

    def on_opened(self, number: int, now_ms: int) -> None:
        """Note that a connection was established."""
        connection = self._of(number)
        if connection is None:
            return
        connection.is_open, connection.opened_ms = True, now_ms
        if connection is self._active:
            self._connected(connection, now_ms)
            if self.line.failures:
                detail = f"connection {number}; failed attempts before: {self.line.failures}"
                self.feed.board.add(now_ms, CONNECTED, detail)

    def _connected(self, connection: _Connection, now_ms: int) -> None:
        self.line.on_connected(now_ms)
        self.feed.on_connected(now_ms, connection.carries.held, self.line)

    def on_frame(self, number: int, kind: str, now_ms: int) -> None:
        """Note the kind of a connection's frame."""
        connection = self._of(number)
        if connection is None:
            return
        if kind == DATA:
            self.line.on_data(now_ms)
        if kind != UNREADABLE:
            connection.unreadable = 0
            if connection is self._standby and connection.carries.is_complete:
                self._take_over(connection, now_ms)
            return
        connection.unreadable += 1
        if connection.unreadable >= UNREADABLE_MAX:
            self.on_lost(number, f"{UNREADABLE_MAX} unreadable frames in a row", now_ms)

    def on_reply(self, number: int, reply: Reply, now_ms: int) -> None:
        """Take the venue's answer to a control message."""
        connection = self._of(number)
        if connection is None:
            return
        method, names = connection.carries.on_reply(reply)
        if reply.error:
            detail = f"connection {number}: {reply.error}"
            self.feed.board.add(now_ms, CONTROL_REFUSED, detail)
            if connection.carries.errors >= REFUSALS_MAX:
                self.on_lost(number, f"control refused: {reply.error}", now_ms)
        elif method == SUBSCRIBE and connection is self._active:
            self.feed.on_connected(now_ms, names, self.line)

    def on_shutdown(self, number: int, now_ms: int) -> None:
        """Note that the venue will close this connection, and plan a successor."""
        connection = self._of(number)
        if connection is not None:
            connection.is_leaving = True
            self._replace_leaving(now_ms)

    def _replace_leaving(self, now_ms: int) -> None:
        """Plan a successor of an active connection that will close, unless there is one already.

        A successor may land on a server that closes next: it is replaced once it has taken over.
        """
        active = self._active
        if active is not None and active.is_leaving and not self.has_successor:
            self._replace(now_ms, SERVER_SHUTDOWN, "the exchange announced a shutdown")

    def on_lost(self, number: int, why: str, now_ms: int) -> None:
        """Handle a connection that was lost or given up."""
        connection = self._of(number)
        if connection is None:
            return
        self._end(connection)
        if connection is self._retiring:
            self._retiring = None
            return
        if connection is self._standby:
            self._standby = None
            self._standby_due_ms, wait = self.line.on_successor_lost(now_ms)
            detail = f"successor: {why}; next attempt after {wait.wait_ms} ms"
            self.feed.board.add(now_ms, CONNECTION_LOST, detail)
            return
        self._active = None
        self._on_active_lost(number, why, now_ms)

    def _on_active_lost(self, number: int, why: str, now_ms: int) -> None:
        was_connected = self.line.is_connected
        silent_ms = self.line.data_age_ms(now_ms)
        due_ms, wait = self.line.on_lost(now_ms)
        if was_connected:
            self.feed.on_disconnected(now_ms, why, tuple(self.groups))
        standby, self._standby, self._standby_due_ms = self._standby, None, None
        how = (
            f"attempt {wait.attempt} after {due_ms - now_ms} ms "
            f"(drawn {wait.wait_ms} of {wait.ceiling_ms} ms)"
            if standby is None
            else "its successor goes on"
        )
        detail = f"connection {number}: {why}; {how}, breaker {self.line.breaker}"
        if silent_ms >= LOOK_AFTER_MS:
            detail += f"; no data for {silent_ms // 1000} s: {LOOK}"
        self.feed.board.add(now_ms, CONNECTION_LOST, detail)
        if standby is None:
            self._due_ms = due_ms
            return
        # The successor is there already, or nearly; missed messages show in the ids.
        self._active = standby
        if standby.is_open:
            self._connected(standby, now_ms)

    def give_up(self, now_ms: int, why: str) -> None:
        """Give up the active connection because it brings nothing, or nothing usable."""
        if self._active is not None:
            self.on_lost(self._active.reader.number, why, now_ms)

    def _take_over(self, standby: _Connection, now_ms: int) -> None:
        self._retiring, self._retire_ms = self._active, now_ms + OVERLAP_MS
        self._active, self._standby = standby, None
        self._due_ms = None
        self.line.on_replaced(now_ms)
        # A renewal under way on the old connection gets no answer that counts any more.
        feeds = self.feed.symbols
        held = [name for name in standby.carries.held if name in feeds]
        missing = [name for name in held if feeds[name].connected_ms is None]
        self.feed.on_connected(now_ms, missing, self.line)

    # --- ends ---------------------------------------------------------------------------------

    def _end(self, connection: _Connection) -> None:
        connection.reader.abort()
        self._ended.append(connection.reader)
        self._ended = self._ended[-8:]

    def abort(self) -> None:
        """End all connections; their threads end by themselves."""
        for connection in self._connections():
            self._end(connection)
        self._active = self._standby = self._retiring = None
        self._due_ms = self._standby_due_ms = None

    def join(self, timeout_s: float) -> None:
        """Wait for the threads of connections that have ended."""
        for reader in self._ended:
            reader.join(timeout_s)
