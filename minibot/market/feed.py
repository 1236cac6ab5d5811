"""Decisions of the market role: frames in, root events out; no clock, no thread, no file.

Every input comes with its time on the run's clock. Times of outputs never go back: beats, bars
closed by the clock, and books have their own time, between the frames around them. The same inputs
in the same order give the same events. Root events come from outside the run, so they have no cause
in it. A beat is the root event that tells the cores, at a fixed interval, that time has passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Final, NamedTuple

from msgspec.structs import replace

from minibot.events.model import Bar, Beat, Instrument, Payload
from minibot.events.reasons import FRAME_INVALID
from minibot.exchanges.base import (
    Candle,
    Dialect,
    Diff,
    FrameInvalid,
    Message,
    NoTouch,
    Quote,
    Shutdown,
    Snapshot,
    StreamedSnapshot,
    Trade,
    Trades,
)
from minibot.market.bars import Hole
from minibot.market.notices import BOOK_UNAVAILABLE, NoticeBoard
from minibot.market.rules import RulesBook, without_order_counts
from minibot.market.shard_health import ShardHealth
from minibot.market.symbol import STREAMS, TRADE_AHEAD_MS_MAX, FeedConfig, SymbolFeed

# Kinds of frames: market data that were used; no market data, or of a symbol that was given up; the
# venue's word that it will close the connection; refused, also for its price; not even JSON.
DATA: Final = "data"
OTHER: Final = "other"
SHUTDOWN: Final = "shutdown"
INVALID: Final = "invalid"
UNREADABLE: Final = "unreadable"

# After a pause of the whole process, at most this much time is caught up beat by beat.
CATCH_UP_MS_MAX: Final = 120_000
# Failed snapshots in a row before the operator gets an incident. Requests go on for as long as the
# stream brings updates of the book; without any there is one request for each connection.
SNAPSHOT_FAILURES_REPORTED: Final = 4


class HoleWanted(NamedTuple):
    """Request for klines: the bars of one symbol and interval that open inside the hole."""

    symbol: str
    interval: str
    hole: Hole


class _Left(FrameInvalid):
    """A frame of a symbol that is no longer followed."""


class Feed:
    """Converter of decoded frames, snapshots, klines and passing time into root events.

    Attributes:
        paused_ms: How long this process stood still since the exchange's clock was measured; as
            much further than known that clock may be ahead.
    """

    def __init__(self, config: FeedConfig, now_ms: int, dialect: Dialect) -> None:
        self.config = config
        self.dialect = dialect
        self.board = NoticeBoard()
        self._skew_ms = 0
        self.paused_ms = 0
        self.counters: Counter[str] = Counter()
        self.frames = 0
        self._parse = dialect.parse_frame
        self.rules = RulesBook()
        self.symbols = {symbol: self._new_symbol(symbol, now_ms) for symbol in config.symbols}
        self._out: list[tuple[Payload, int]] = []
        self._last_ts = now_ms
        self._beat_due = self._after(now_ms, config.beat_interval_ms)
        self._book_due = self._after(now_ms, config.book_interval_ms)
        # Nothing is due before `_next_due`. Frames use `_frame_due`, the due time when time last
        # passed: what they made due themselves waits for the next `advance`, behind all frames that
        # were taken together, as a missing trade may be among those.
        self._next_due = self._frame_due = now_ms
        self._no_depth_reported: set[str] = set()
        # From when data of a symbol that is followed no longer are missing, by stream.
        self._left: dict[str, dict[str, int]] = {}
        self._left_by: int | None = None
        self._is_coalescing = False
        self._coalesced_before = 0

    def _new_symbol(self, symbol: str, now_ms: int) -> SymbolFeed:
        feed = SymbolFeed(
            symbol,
            self.config,
            self.board,
            now_ms,
            self.dialect.new_keeper(),
            has_quotes=self.dialect.has_quotes,
        )
        rules = self.rules.of(symbol)
        if rules is not None:
            feed.take_rules(rules)
        return feed

    @property
    def skew_ms(self) -> int:
        """Return how far the exchange's clock is ahead of the run's, as last measured."""
        return self._skew_ms

    @skew_ms.setter
    def skew_ms(self, skew_ms: int) -> None:
        self._skew_ms = skew_ms
        self._next_due = min(self._next_due, self._last_ts)

    def _after(self, now_ms: int, interval_ms: int) -> int:
        origin = self.config.origin_ms
        return origin + ((now_ms - origin) // interval_ms + 1) * interval_ms

    def take(self) -> list[tuple[Payload, int]]:
        """Return the events to write now, each with its time; each event once."""
        if self._is_coalescing:
            self._release_quotes()
        out, self._out = self._out, []
        return out

    # --- overload -----------------------------------------------------------------------------

    @property
    def is_coalescing(self) -> bool:
        """Return whether quotes are held: only the newest at `take` or `write` makes a tick.

        A quote without a touch before it makes its tick at once.
        """
        return self._is_coalescing

    @is_coalescing.setter
    def is_coalescing(self, is_on: bool) -> None:
        self._release_quotes()
        self._is_coalescing = is_on
        for feed in self.symbols.values():
            feed.holds_quotes = is_on

    @property
    def quotes_coalesced(self) -> int:
        """Return how many quotes made no tick because a newer one came with them."""
        return self._coalesced_before + sum(f.ticks.coalesced for f in self.symbols.values())

    def _release_quotes(self) -> None:
        each = [feed.ticks.held_tick() for feed in self.symbols.values()]
        held = [tick_and_ms for tick_and_ms in each if tick_and_ms is not None]
        for tick, came_ms in sorted(held, key=itemgetter(1)):
            self._emit([tick], came_ms)

    def _emit(self, payloads: Iterable[Payload], ts: int) -> None:
        for payload in payloads:
            if ts > self._last_ts:
                self._last_ts = ts
            else:
                ts = self._last_ts
            self._out.append((payload, ts))

    # --- frames -------------------------------------------------------------------------------

    def on_frame(self, data: bytes, ts: int, recv_mono_ns: int) -> str:
        """Take one frame and return its kind: DATA, OTHER, SHUTDOWN, INVALID or UNREADABLE."""
        if ts >= self._frame_due:
            self.advance(ts)
        self.frames += 1
        message = None
        try:
            message = self._parse(data)
            if type(message) is Quote:  # Two thirds of all frames.
                ticks = self._of(message.symbol).on_quote(message, recv_mono_ns, ts)
                if ticks:
                    self._emit(ticks, ts)
                return DATA
            return self._on_message(message, ts, recv_mono_ns)
        except _Left:
            self.counters["frames_other"] += 1
            return OTHER
        except FrameInvalid as error:
            self.refuse(error, data, ts)
            if error.is_quote and error.symbol in self.symbols:
                self.symbols[error.symbol].lose_touch(ts)
            if message is None and error.may_be_diff and not self.dialect.is_numbered:
                self._on_unread(error, ts)
            return INVALID if error.is_readable else UNREADABLE

    def is_unreadable(self, data: bytes, ts: int) -> bool:
        """Return whether a frame of a discarded connection is not JSON; counted if so."""
        try:
            self.dialect.parse_frame(data)
        except FrameInvalid as error:
            if not error.is_readable:
                self.refuse(error, data, ts)
                return True
        return False

    def refuse(self, error: FrameInvalid, data: bytes, ts: int) -> None:
        """Count and report a frame that could not be used."""
        self.counters["frames_invalid"] += 1
        self.board.add(ts, FRAME_INVALID, f"{error}: {data[:120]!r}")

    def _on_message(self, message: Message, ts: int, recv_mono_ns: int) -> str:
        if isinstance(message, Trade):
            return self._on_trade(message, ts, recv_mono_ns)
        if isinstance(message, Diff):
            return self._on_diff(message, ts, recv_mono_ns)
        if isinstance(message, Trades):
            kinds = [self._on_trade(trade, ts, recv_mono_ns) for trade in message.trades]
            return INVALID if INVALID in kinds else DATA
        elif isinstance(message, StreamedSnapshot):
            feed = self._of(message.symbol)
            self._emit(feed.on_streamed_snapshot(message.snapshot, ts), ts)
            self._emit(feed.on_top(recv_mono_ns, ts), ts)
        elif isinstance(message, NoTouch):
            self._of(message.symbol).on_no_touch(ts)
        elif isinstance(message, Shutdown):
            return SHUTDOWN
        else:
            self.counters["frames_other"] += 1
            return OTHER
        return DATA

    def _on_unread(self, error: FrameInvalid, ts: int) -> None:
        """Lose the books that an unusable frame may have changed: one, or all of them."""
        named = self.symbols.get(error.symbol)
        for feed in self.symbols.values() if named is None else [named]:
            self._emit(feed.on_unread(ts, f"a frame could not be used: {error}"), ts)

    def _on_diff(self, diff: Diff, ts: int, recv_mono_ns: int) -> str:
        feed = self._of(diff.symbol)
        refused = feed.depth.refused
        self._emit(feed.on_diff(diff, ts), ts)
        self._emit(feed.on_top(recv_mono_ns, ts), ts)
        if feed.depth.refused == refused:
            return DATA
        self.counters["frames_invalid"] += 1  # Reported with the loss of the book.
        return INVALID

    def _on_trade(self, trade: Trade, ts: int, recv_mono_ns: int) -> str:
        feed = self._of(trade.symbol)
        outliers = feed.outliers
        ahead_ms_max = TRADE_AHEAD_MS_MAX + self.paused_ms
        self._emit(feed.on_trade(trade, recv_mono_ns, ts, ts + self._skew_ms, ahead_ms_max), ts)
        if feed.has_new_due:
            self._learn_due(feed)
        if feed.outliers == outliers:
            return DATA
        self.counters["frames_invalid"] += 1
        return INVALID

    def _of(self, symbol: str) -> SymbolFeed:
        feed = self.symbols.get(symbol)
        if feed is None:
            kind = _Left if symbol in self._left else FrameInvalid
            raise kind(f"symbol {symbol[:30]!r} was not requested")
        return feed

    # --- connection ---------------------------------------------------------------------------

    def on_connected(
        self, now_ms: int, symbols: Iterable[str] | None = None, line: ShardHealth | None = None
    ) -> None:
        """Note that the given symbols, by default all, have a stream connection, of that line."""
        for feed in self._named(symbols):
            feed.on_connected(now_ms, line)
            self._learn_due(feed)

    def on_disconnected(self, now_ms: int, why: str, symbols: Iterable[str] | None = None) -> None:
        """Note that the given symbols, by default all, have no stream connection any more."""
        for feed in self._named(symbols):
            self._emit(feed.on_disconnected(now_ms, why), now_ms)

    def hold_back(self, symbols: Iterable[str], now_ms: int, *, is_late: bool) -> None:
        """Make no ticks of the given symbols while their data come late."""
        for feed in self._named(symbols):
            if feed.is_late != is_late:
                self._emit(feed.hold_back(now_ms, is_late=is_late), now_ms)

    def _named(self, symbols: Iterable[str] | None) -> Iterable[SymbolFeed]:
        if symbols is None:
            return self.symbols.values()
        return [self.symbols[symbol] for symbol in symbols if symbol in self.symbols]

    # --- symbols that come and go -------------------------------------------------------------

    def resume_left(self, left: Mapping[str, int], left_by: int | None) -> None:
        """Take when a former process of the run gave symbols up.

        A symbol that `left` does not name counts as given up at `left_by`; None where it names all.
        """
        self._left.update((name, dict.fromkeys(STREAMS, ts)) for name, ts in left.items())
        self._left_by = left_by

    def follow(self, symbol: str, now_ms: int) -> None:
        """Follow a symbol, before its first frame; no effect when it is followed already.

        What was missed of one that was followed before is a gap.
        """
        if symbol not in self.symbols:
            feed = self.symbols[symbol] = self._new_symbol(symbol, now_ms)
            feed.holds_quotes = self._is_coalescing
            self._next_due = self._frame_due = now_ms
            since = self._left.pop(symbol, None)
            if since is None and self._left_by is not None:
                since = dict.fromkeys(STREAMS, self._left_by)
            for gap in () if since is None else feed.come_back(since, now_ms):
                self.write(gap, now_ms)

    def unfollow(self, symbol: str) -> None:
        """Forget a symbol, its bars and its book; frames still on the way count as OTHER."""
        feed = self.symbols.pop(symbol, None)
        if feed is not None:
            feed.ticks.forget_touch()
            self._coalesced_before += feed.ticks.coalesced
            self._left[symbol] = feed.missing_since(self._last_ts)
            self.rules.forget(symbol)
        self._no_depth_reported.discard(symbol)

    def write(self, payload: Payload, now_ms: int) -> None:
        """Write one event that did not come from a frame, after the quotes that came before it."""
        if self._is_coalescing:
            self._release_quotes()
        self._emit([payload], now_ms)

    # --- answers ------------------------------------------------------------------------------

    def on_instruments(self, instruments: Iterable[Instrument], now_ms: int) -> None:
        """Write the rules of symbols at the start and whenever they change."""
        for given in instruments:
            instrument = given
            if not self.config.writes_order_counts:
                instrument = without_order_counts(given)
            if self.config.depth_venue:
                instrument = replace(instrument, venue=self.config.depth_venue)
            incidents = self.rules.take(instrument)
            if incidents is None:
                continue
            self._emit([instrument], now_ms)
            feed = self.symbols.get(instrument.symbol)
            if feed is not None:
                feed.take_rules(instrument)
            for kind, detail in incidents:
                self.board.add(now_ms, kind, detail)

    def on_history(self, symbol: str, interval: str, candles: Iterable[Candle], ts: int) -> int:
        """Write the warm-up bars of one symbol and interval and return their number."""
        bars: list[Bar] = self.symbols[symbol].take_history(interval, candles)
        self._emit(bars, ts)
        return len(bars)

    def on_snapshot(self, symbol: str, snapshot: Snapshot, now_ms: int) -> None:
        """Take a requested depth snapshot."""
        feed = self.symbols[symbol]
        self._emit(feed.on_snapshot(snapshot, now_ms), now_ms)
        if not feed.depth.is_valid:
            self._report_no_book(feed, now_ms, "no usable depth snapshot so far")

    def on_snapshot_failed(self, symbol: str, now_ms: int, why: str) -> None:
        """Note that a requested depth snapshot was not available."""
        feed = self.symbols[symbol]
        feed.depth.on_failure(now_ms)
        self._report_no_book(feed, now_ms, why)

    def on_candles(self, wanted: HoleWanted, candles: list[Candle] | None, now_ms: int) -> None:
        """Take the klines of a hole; None when the request failed."""
        if wanted.symbol not in self.symbols:
            return  # It was unfollowed meanwhile.
        feed = self.symbols[wanted.symbol]
        self._emit(feed.fill(wanted.interval, wanted.hole, candles, now_ms), now_ms)

    def _report_no_book(self, feed: SymbolFeed, now_ms: int, why: str) -> None:
        if (
            feed.depth.failures == SNAPSHOT_FAILURES_REPORTED
            and feed.symbol not in self._no_depth_reported
        ):
            self._no_depth(feed.symbol, now_ms, why)

    def _no_depth(self, symbol: str, now_ms: int, why: str) -> None:
        self._no_depth_reported.add(symbol)
        detail = f"{symbol}: {why}; going on with best quotes and trades, without `book` events"
        self.board.add(now_ms, BOOK_UNAVAILABLE, detail)

    # --- wishes -------------------------------------------------------------------------------

    def snapshots_wanted(self, now_ms: int) -> list[str]:
        """Return the symbols whose depth snapshot to request now; each once."""
        return [
            name
            for name, feed in self.symbols.items()
            if feed.connected_ms is not None and feed.depth.wants_snapshot(now_ms)
        ]

    def holes_wanted(self, now_ms: int) -> list[HoleWanted]:
        """Return the klines to request now; each once."""
        return [
            HoleWanted(symbol, interval, hole)
            for symbol, feed in self.symbols.items()
            for interval, lane in feed.lanes.items()
            if (hole := lane.wanted(now_ms)) is not None
        ]

    # --- time ---------------------------------------------------------------------------------

    def advance(self, now_ms: int) -> None:
        """Advance time to `now_ms`: write bars, books and beats that are due, each at its time."""
        latest = now_ms - CATCH_UP_MS_MAX
        self._beat_due = max(self._beat_due, self._after(latest, self.config.beat_interval_ms))
        self._book_due = max(self._book_due, self._after(latest, self.config.book_interval_ms))
        while (due := min(self._beat_due, self._book_due)) <= now_ms:
            self._clock(due)
            if self._book_due == due:
                self._book_due += self.config.book_interval_ms
                for feed in self.symbols.values():
                    self._emit(feed.on_second(due), due)
            if self._beat_due == due:
                self._beat_due += self.config.beat_interval_ms
                self._beat(due)
        self._clock(now_ms)
        self._next_due = self._frame_due = self._due()

    def _clock(self, ts: int) -> None:
        for feed in self.symbols.values():
            self._emit(feed.on_clock(ts, ts + self.skew_ms), ts)

    def _beat(self, ts: int) -> None:
        n = (ts - self.config.origin_ms) // self.config.beat_interval_ms
        ages = {name: max(0, ts - feed.data_ms) for name, feed in self.symbols.items()}
        self._emit([Beat(n=n, data_age_ms=ages)], ts)
        for name, feed in self.symbols.items():
            self._watch_depth(name, feed, ts)

    def _watch_depth(self, name: str, feed: SymbolFeed, ts: int) -> None:
        """Report once that a source sends quotes but no updates of its book."""
        if name in self._no_depth_reported or feed.connected_ms is None:
            return
        is_quiet = feed.depth.diff_ms is None and ts - feed.connected_ms > self.config.tick_stale_ms
        if is_quiet and feed.ticks.quote is not None:
            self._no_depth(name, ts, "no updates of the book on the stream")

    def _learn_due(self, feed: SymbolFeed) -> None:
        """Lower the next due time if something of this symbol is due sooner."""
        feed.has_new_due = False
        due = feed.next_due_ms(self._skew_ms)
        if due is not None and due < self._next_due:
            self._next_due = due

    def _due(self) -> int:
        dues = [self._beat_due, self._book_due]
        for feed in self.symbols.values():
            due = feed.next_due_ms(self.skew_ms)
            if due is not None:
                dues.append(due)
        return min(dues)

    @property
    def next_due_ms(self) -> int:
        """Return the earliest time on the run's clock at which `advance` may have work."""
        return self._next_due

    @property
    def duplicate_trades(self) -> int:
        """Return how many trades came a second time, or too late."""
        return sum(feed.order.duplicates for feed in self.symbols.values())

    # --- figures ------------------------------------------------------------------------------

    def data_age_ms(self, now_ms: int) -> int:
        """Return the age of the last data of the trading symbol that is silent for longest."""
        trading = self.rules.is_trading
        ages = (now_ms - feed.data_ms for name, feed in self.symbols.items() if trading(name))
        return max(0, max(ages, default=0))

    def figures(self) -> dict[str, int]:
        """Return all counters so far, over all symbols."""
        feeds = self.symbols.values()
        return {
            "frames": self.frames,
            "frames_other": self.counters["frames_other"],
            "frames_invalid": self.counters["frames_invalid"],
            "price_outliers": sum(feed.outliers for feed in feeds),
            "late_trades": sum(feed.late_trades for feed in feeds),
            "duplicate_trades": self.duplicate_trades,
            "outdated_quotes": sum(feed.ticks.outdated for feed in feeds),
            "quotes_coalesced": self.quotes_coalesced,
            "trades_dropped": sum(feed.ticks.dropped for feed in feeds),
            "trades_off_touch": sum(feed.drift.off for feed in feeds),
            "trade_gaps": sum(feed.gaps for feed in feeds),
            "book_syncs": sum(feed.depth.resyncs for feed in feeds),
            "book_checks": sum(feed.depth.check.checks for feed in feeds),
            "book_mismatches": sum(feed.depth.check.mismatches for feed in feeds),
            "bars_unfilled": sum(lane.unfilled for feed in feeds for lane in feed.lanes.values()),
        }
