"""Stream connections of the market role: its shards, and the connection each frame came from.

Streams to follow are given as groups (the three of a symbol, or one of the whole market). Groups
can come and go at run time: a new group is added to the connection with the most room by a control
message; a new connection is opened only when none has room. Old connections are renewed one at a
time; those whose end the venue announces get their successors at once. All attempts together stay
within `ConnectionLimits.attempts_max`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from minibot.exchanges.base import Stream, Streams
from minibot.market.address import Address
from minibot.market.feed import Feed
from minibot.market.feed_health import FeedHealth
from minibot.market.reader import Put, Reader
from minibot.market.sharding import (
    STREAMS_PER_CONNECTION_MAX,
    Groups,
    count_of,
    roomiest,
    spread,
)
from minibot.market.subscriptions import Subscriptions
from minibot.market.succession import Succession

OpenStream = Callable[[Sequence[str]], Stream]
"""Makes a stream that is not connected yet, with an address that names these streams."""


def groups_of(symbols: Iterable[str], streams: Streams) -> Groups:
    """Return the streams of symbols, grouped by symbol."""
    return {symbol: streams.names(symbol) for symbol in symbols}


class Connections:
    """Keeps every shard connected.

    Args:
        feed: Told which symbols have a connection and which have lost theirs.
        link: Gets a line for each shard.
        address: The budget of attempts, over restarts.
        streams: Of the venue.
        open_stream: Makes a stream, not connected yet, for given stream names.
        put: Where the readers leave what they get.
        machine_ms: Machine time in milliseconds; control messages are paced by it.
        streams_max: How many streams one connection carries at most.
    """

    def __init__(
        self,
        feed: Feed,
        link: FeedHealth,
        address: Address,
        streams: Streams,
        open_stream: OpenStream,
        put: Put,
        machine_ms: Callable[[], int],
        streams_max: int = STREAMS_PER_CONNECTION_MAX,
    ) -> None:
        self.shards: list[Succession] = []
        self._feed = feed
        self._link = link
        self._address = address
        self._venue_streams = streams
        self._open_stream = open_stream
        self._put = put
        self._machine_ms = machine_ms
        self._streams_max = streams_max
        self._connections = 0
        self._shards = 0
        self._of: dict[int, Succession] = {}
        self._left: list[Succession] = []

    # --- state --------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Return True while every shard is connected."""
        return bool(self.shards) and all(shard.is_open for shard in self.shards)

    @property
    def open_count(self) -> int:
        """Return how many shards are connected, whatever becomes of their successors."""
        return sum(shard.is_open for shard in self.shards)

    @property
    def is_complete(self) -> bool:
        """Return True while every shard is connected and carries all of its streams."""
        return bool(self.shards) and all(shard.is_complete for shard in self.shards)

    @property
    def streams(self) -> int:
        """Return the number of streams that are followed."""
        return sum(count_of(shard.groups) for shard in self.shards)

    def unread(self) -> int:
        """Return roughly how many received messages no reader has read yet."""
        return sum(shard.unread() for shard in self.shards)

    def due_ms(self) -> int | None:
        """Return the due time of the next attempt or end of a connection, ms; None for none."""
        dues = [shard.due_ms for shard in self.shards]
        return min((due for due in dues if due is not None), default=None)

    def control_wait_ms(self) -> int | None:
        """Return the machine milliseconds until the next control message; None without one."""
        dues = [shard.control_due_ms() for shard in self.shards]
        due = min((due for due in dues if due is not None), default=None)
        return None if due is None else max(0, due - self._machine_ms())

    def shard_of(self, name: str) -> Succession | None:
        """Return the shard that carries a group."""
        return next((shard for shard in self.shards if name in shard.groups), None)

    # --- what is followed ---------------------------------------------------------------------

    def follow_symbols(self, symbols: Iterable[str], now_ms: int) -> None:
        """Carry the streams of these symbols too."""
        self.follow(groups_of(symbols, self._venue_streams), now_ms)

    def follow(self, groups: Mapping[str, Sequence[str]], now_ms: int) -> None:
        """Carry these groups too; `Feed.on_connected` marks the start of a symbol's streams."""
        rest: Groups = {}
        for name, streams in groups.items():
            if self.shard_of(name) is not None:
                continue
            carried = [shard.groups for shard in self.shards]
            number = roomiest(carried, len(streams), self._streams_max)
            if number < 0:
                rest[name] = tuple(streams)
            else:
                self.shards[number].want({name: tuple(streams)}, now_ms)
        for shard_groups in spread(rest, self._streams_max):
            self._new_shard(shard_groups, now_ms)

    def _new_shard(self, groups: Groups, now_ms: int) -> None:
        line = self._link.new_line(now_ms)
        shard = Succession(self._shards, groups, line, self._feed, self._connect)
        self._shards += 1
        self.shards.append(shard)
        shard.plan(now_ms)

    def unfollow(self, names: Iterable[str]) -> None:
        """Stop carrying these groups; a connection without any group left is closed."""
        names = list(names)
        for shard in self.shards:
            shard.drop(names)
        for shard in [shard for shard in self.shards if not shard.groups]:
            self.shards.remove(shard)
            self._link.end_line(shard.line)
            shard.abort()
            self._left.append(shard)

    def _connect(self, groups: Groups, now_ms: int) -> tuple[Reader, Subscriptions]:
        self._address.on_attempt(now_ms)
        self._connections += 1
        named = self._venue_streams.named_in_address(groups)
        streams = [stream for name in named for stream in groups[name]]
        reader = Reader(self._connections, self._open_stream(streams), self._put)
        return reader, Subscriptions(groups, named, self._venue_streams)

    # --- time and readers ---------------------------------------------------------------------

    def on_clock(self, now_ms: int) -> None:
        """Make due attempts, send control messages, and plan successors."""
        machine_ms = self._machine_ms()
        is_renewing = any(shard.has_successor for shard in self.shards)
        for shard in self.shards:
            shard.on_clock(now_ms, machine_ms, may_renew=not is_renewing)
            is_renewing = is_renewing or shard.has_successor

    def of(self, number: int) -> Succession | None:
        """Return the shard of a connection in use; None for one that was given up."""
        shard = self._of.get(number)
        if shard is not None and number in shard.numbers:
            return shard
        self._of.pop(number, None)
        for shard in self.shards:
            if number in shard.numbers:
                self._of[number] = shard
                return shard
        return None

    def close(self, timeout_s: float) -> None:
        """End all connections and wait for their threads."""
        for shard in self.shards:
            shard.abort()
        for shard in [*self.shards, *self._left]:
            shard.join(timeout_s)
