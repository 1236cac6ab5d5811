"""Hub of the streams: connections, their subscriptions, and the distribution of frames."""

from __future__ import annotations

from dataclasses import replace

import orjson

from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.tapes.frames import AGG_TRADE, DEPTH, OTHER, TRADE, Frame
from minibot.simulator.faults.faults import Faults
from minibot.simulator.server import wire
from minibot.simulator.server.connection import Connection
from minibot.simulator.venue.synthetic_streams import GRID_MS, SyntheticStreams
from minibot.simulator.venue.venue import Venue


class Hub:
    """The connections of the server; frames go in, queued WebSocket frames come out."""

    def __init__(self, venue: Venue, faults: Faults) -> None:
        self.connections: dict[Connection, None] = {}
        self.error_shape = "seen"  # Form of replies to bad control messages; a fault changes it.
        self._venue = venue
        self._faults = faults
        self._readers: dict[str, dict[Connection, None]] = {}
        self._streams: dict[Connection, frozenset[str]] = {}
        self._derived = SyntheticStreams(venue, self.publish)
        self._heads: dict[str, bytes] = {}
        self._grid_ms = venue.now_ms() // GRID_MS * GRID_MS + GRID_MS
        self._grid_ns = self._grid_to_ns()

    @property
    def has_readers(self) -> bool:
        """Return whether any client is subscribed to anything."""
        return bool(self._readers)

    def add(self, connection: Connection) -> None:
        """Add a connection."""
        self.connections[connection] = None
        self.subscriptions_changed(connection)

    def drop(self, connection: Connection) -> None:
        """Forget a connection."""
        connection.is_open = False
        if connection in self.connections:
            del self.connections[connection]
            self.subscriptions_changed(connection)

    def subscriptions_changed(self, connection: Connection) -> None:
        """Update the readers after a change of a connection's subscriptions, or after its end."""
        former = self._streams.pop(connection, frozenset())
        now = frozenset[str]()
        if connection in self.connections:
            now = self._streams[connection] = frozenset(connection.held.streams)
        for stream in former - now:
            readers = self._readers[stream]
            del readers[connection]
            if not readers:
                del self._readers[stream]
                self._derived.forget((stream,))
        # In the order of subscription, which is the order of streams made at one moment.
        for stream in connection.held.streams:
            if stream in now and stream not in former:
                self._readers.setdefault(stream, {})[connection] = None
                self._derived.want((stream,))

    def take(self, frame: Frame) -> None:
        """Process one frame: grid moments before it, the venue's state, then all readers."""
        if frame.at_ns >= self._grid_ns:
            self.advance(frame.at_ns)
        try:
            data = self._venue.take(frame)
        except FrameInvalid:
            # Sent as recorded, for clients to refuse as they would the venue's own.
            self._venue.counters["frames_invalid"] += 1
            data, frame = None, replace(frame, kind=OTHER)
        if self._venue.statuses.get(frame.symbol, "TRADING") != "TRADING":
            return
        if frame.kind == DEPTH and not self._venue.symbols[frame.symbol].book.is_known:
            return  # Diffs without a book to apply them to would mislead clients.
        changed = self._faults.on_frame(frame, data) if self._faults.frame_faults else (frame,)
        for sent in changed:
            self.publish(sent.stream, sent.data, sent.text)
            if frame.kind == DEPTH and not frame.stream.endswith("@100ms"):
                self._publish_slow_depth(frame.stream, sent.data)
        if frame.kind in (TRADE, AGG_TRADE):
            self._derived.traded(frame.symbol)
            self._publish_aggregates(frame.symbol)
        elif frame.kind == DEPTH and data is not None:
            self._derived.merge_diff(frame.symbol, data)

    def advance(self, at_ns: int) -> None:
        """Process the moments of the grid up to a time of the run clock."""
        if at_ns < self._grid_ns:
            return
        now_ms = at_ns // NS_PER_MS + self._venue.facts.skew_ms
        for symbol, state in self._venue.symbols.items():
            if not state.aggregates.is_idle:
                state.aggregates.close(at_ns)
                self._publish_aggregates(symbol)
        if self._derived.is_idle:
            last_ms = now_ms // GRID_MS * GRID_MS
            self._derived.skip(self._grid_ms, last_ms)
            self._grid_ms = last_ms + GRID_MS
        while self._grid_ms <= now_ms:
            self._derived.on_grid(self._grid_ms)
            self._grid_ms += GRID_MS
        self._grid_ns = self._grid_to_ns()

    def _grid_to_ns(self) -> int:
        """Return the run clock's time of the next moment of the grid."""
        return (self._grid_ms - self._venue.facts.skew_ms) * NS_PER_MS

    def _publish_slow_depth(self, recorded: str, data: bytes) -> None:
        """Send depth that was recorded once a second under all names: there is nothing faster."""
        symbol = recorded.partition("@")[0]
        for kind in ("depth", "depth@1000ms", "depth@100ms"):
            stream = f"{symbol}@{kind}"
            if stream not in self._venue.facts.streams:
                self.publish(stream, data)

    def _publish_aggregates(self, symbol: str) -> None:
        stream = f"{symbol.lower()}@aggTrade"
        is_sent = stream in self._readers and stream not in self._venue.facts.streams
        # Drained also while the symbol does not trade: the aggregates of a break are never sent.
        for aggregate in self._venue.symbols[symbol].aggregates.drain():
            if is_sent and self._venue.statuses[symbol] == "TRADING":
                self.publish(stream, orjson.dumps(aggregate))

    def publish(self, stream: str, data: bytes, text: bytes | None = None) -> None:
        """Queue a payload for every reader of the stream; `text` is its wrapped form."""
        readers = self._readers.get(stream)
        if not readers or self._faults.is_silent:
            return
        if self._faults.changes:
            changed = self._faults.on_payload(stream, data)
            if changed is None:
                return
            text = text if changed is data else None
            data = changed
        frames: list[bytes | None] = [None, None, None, None]
        for connection in readers:
            # Each form is made once, for any number of readers.
            form = connection.in_micros * 2 + connection.held.is_combined
            framed = frames[form]
            if framed is None:
                framed = frames[form] = self._framed(form, stream, data, text)
            connection.queue(framed)
        self._venue.counters["sent"] += len(readers)

    def _framed(self, form: int, stream: str, data: bytes, text: bytes | None) -> bytes:
        """Return a payload as a WebSocket frame: form 1 wrapped, 2 in microseconds, 3 both."""
        if form & 2:
            data, text = wire.in_micros(data), None
        if not form & 1:
            return wire.frame(wire.TEXT, data)
        if text is not None:
            return wire.frame(wire.TEXT, text)
        head = self._heads.get(stream)
        if head is None:
            head = self._heads[stream] = wire.combined_head(stream)
        # Joined once: a payload is copied only here.
        header = wire.header(wire.TEXT, len(head) + len(data) + 1)
        return b"".join((header, head, data, b"}"))

    def flush(self) -> None:
        """Write all queued frames; clients that are too slow are disconnected.

        While the fault `burst` holds the frames, neither happens.
        """
        if self._faults.is_held:
            return
        for connection in list(self.connections):
            if not connection.flush():
                self._venue.counters["slow_clients_cut"] += 1
                self.drop(connection)

    def keep_alive(self) -> None:
        """Ping; close connections that do not answer or are a day old."""
        pace_ms = self._venue.clock.pace_ms()
        for connection in list(self.connections):
            if connection.is_too_old(pace_ms):
                self._end(connection, 1001, "24 hours")
            elif not self._faults.has_no_pings and not connection.ping_if_due(
                pace_ms, self._venue.now_ms()
            ):
                self._end(connection, 1008, "Pong timeout")

    def _end(self, connection: Connection, code: int, reason: str) -> None:
        self._venue.counters[f"closed_{code}"] += 1
        connection.close(code, reason)
        self.drop(connection)

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection with a close frame."""
        for connection in list(self.connections):
            self._end(connection, code, reason)

    def reset_all(self) -> None:
        """Cut every connection with a TCP reset."""
        for connection in list(self.connections):
            self._venue.counters["reset"] += 1
            connection.reset()
            self.drop(connection)
