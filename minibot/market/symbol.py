"""State of one symbol's market data: trades in order, ticks, bars, book, and time of last data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from minibot.accounting.order_rules import TRADING
from minibot.events.model import Bar, Gap, Instrument, Payload
from minibot.events.money import PLACES
from minibot.events.reasons import PRICE_OUTLIER, SEQUENCE_GAP
from minibot.exchanges.base import (
    DEPTH,
    QUOTE,
    TRADE,
    BookKeeper,
    Candle,
    Diff,
    FrameInvalid,
    Quote,
    Snapshot,
    Trade,
)
from minibot.exchanges.units import QUOTE_VOLUME_PLACES, positive
from minibot.exchanges.venue_facts import DELISTED
from minibot.market.average import AverageWindow, minutes_of
from minibot.market.bar_backfill import BarLane
from minibot.market.bars import Hole
from minibot.market.depth import LOST, NOTHING, Change, SymbolDepth
from minibot.market.drift import IN_ROW, OFF_BPS, PrintDrift
from minibot.market.notices import (
    BARS_MISSING,
    BOOK_LOST,
    BOOK_RESYNC,
    PRINTS_OFF_TOUCH,
    TRADES_DROPPED,
    NoticeBoard,
)
from minibot.market.rules import UNREADABLE
from minibot.market.shard_health import ShardHealth
from minibot.market.ticks import WAITING_MAX, PriceBand, TickMaker
from minibot.market.trades import ANEW_MS, Arrival, Missing, Passed, TradeOrder

# A trade this far ahead of the measured exchange clock has no credible time, and would close bars.
TRADE_AHEAD_MS_MAX: Final = 60_000
# Nor has a trade this far behind the clock: without a bar yet it would begin one in the past, and
# millions of bars from there to now would follow.
TRADE_BEHIND_MS_MAX: Final = 3_600_000

# No trade was ever larger than this in base or in quote (1e17 of each). Bars add trades up, and a
# thousand of this size still fit into an event's fields.
QTY_UNITS_MAX: Final = 10**17 * 10**PLACES
NOTIONAL_UNITS_MAX: Final = 10**17 * 10**QUOTE_VOLUME_PLACES

STREAMS: Final = (TRADE, QUOTE, DEPTH)
DATA_COME_LATE: Final = "data come late"

Payloads = Sequence[Payload]


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """Values of the profile for the feed; durations in market milliseconds.

    `origin_ms` is where the run's clock began: beats are counted from there. `depth_venue` is the
    venue that `book` and `instrument` events name; `book` then holds its depth too. Where it is
    empty, both events come without these fields.
    """

    symbols: tuple[str, ...]
    intervals: tuple[str, ...]
    origin_ms: int
    grace_ms: int = 500
    beat_interval_ms: int = 1000
    book_interval_ms: int = 1000
    book_levels: int = 20
    tick_stale_ms: int = 5000
    book_stale_ms: int = 3000
    band_percent: int = 20
    writes_order_counts: bool = False
    depth_venue: str = ""


class SymbolFeed:
    """Feed of one symbol; every method returns the payloads to write, in order."""

    def __init__(
        self,
        symbol: str,
        config: FeedConfig,
        board: NoticeBoard,
        now_ms: int,
        keeper: BookKeeper,
        *,
        has_quotes: bool = True,
    ) -> None:
        self.symbol = symbol
        self.data_ms = now_ms
        self.order = TradeOrder()
        self.ticks = TickMaker(symbol, config.tick_stale_ms)
        self.band = PriceBand(config.band_percent)
        self.drift = PrintDrift()
        self.depth = SymbolDepth(symbol, config.book_levels, keeper, config.depth_venue)
        self.lanes = {
            interval: BarLane(symbol, interval, config.grace_ms) for interval in config.intervals
        }
        self._unfilled_told = dict.fromkeys(self.lanes, 0)
        self._average = AverageWindow(symbol, config.intervals)
        self.holds_quotes = False  # Set under overload, see `market.overload`.
        self.is_late = False
        # Time of the last trade before those that came too late for a tick; None for none.
        self._late_from_ms: int | None = None
        self.outliers = 0
        self.gaps = 0
        self.late_trades = 0
        self._config = config
        self._board = board
        self.seen_ms: dict[str, int] = {}
        self._followed_ms = now_ms
        self._gap_from: dict[str, int] = {}
        self._gap_why = ""
        # Bars that were written after trade `_doubtful_after`, perhaps without those behind it.
        self._doubtful_after: int | None = None
        self._doubtful: list[str] = []
        self._refused_ms = 0
        # Set after a restart until a gap of trades is written: no id tells whether any is missing.
        self._is_last_unknown = False
        self.connected_ms: int | None = None
        self._line: ShardHealth | None = None
        self._clock_ms = now_ms
        self._is_suspended = False
        self._is_gone = False
        self._has_quotes = has_quotes
        # Set when something may be due sooner than `next_due_ms` last returned.
        self.has_new_due = False

    # --- messages -----------------------------------------------------------------------------

    def on_trade(
        self,
        trade: Trade,
        recv_mono_ns: int,
        now_ms: int,
        exchange_ts: int,
        ahead_ms_max: int = TRADE_AHEAD_MS_MAX,
    ) -> Payloads:
        """Take one trade.

        Raises:
            FrameInvalid: Its time, id or size is implausible.
        """
        ahead_ms = trade.trade_ts - exchange_ts
        if not -TRADE_BEHIND_MS_MAX <= ahead_ms <= ahead_ms_max:
            side = "ahead of" if ahead_ms > 0 else "behind"
            raise FrameInvalid(f"trade time {trade.trade_ts} is {side} the exchange's clock")
        qty = trade.qty_units
        if qty > QTY_UNITS_MAX or qty * trade.price_units > NOTIONAL_UNITS_MAX:
            raise FrameInvalid(f"trade of {trade.qty} at {trade.price}: more than there is")
        order = self.order
        if not self._is_suspended and order.follows(trade) and self.band.accepts(trade.price_units):
            # Nearly every trade: nothing is missing, nothing waits.
            order.pass_next(trade)
            payloads = self._pass_one(Arrival(trade, recv_mono_ns), now_ms)
        else:
            self.has_new_due = True
            repeats, was_lower = order.duplicates, order.lower_since_ms is not None
            was_held = order.due_ms is not None
            payloads = self._pass(order.take(trade, recv_mono_ns, now_ms), now_ms)
            if was_held != (order.due_ms is not None):
                self._note_held(now_ms)
            if order.lower_since_ms is not None and not was_lower:
                self._suspend()
            if order.duplicates > repeats:
                return payloads  # A repeat leaves the data as old as they are.
        self.data_ms = self.seen_ms[TRADE] = now_ms
        return payloads

    def _note_held(self, now_ms: int) -> None:
        """Begin a gap at the last trade before the ones that wait; end it if none is missing."""
        if self.order.due_ms is not None:
            self._gap_from.setdefault(TRADE, self.seen_ms.get(TRADE, now_ms))
        elif not self._is_suspended:
            self._gap_from.pop(TRADE, None)

    def on_quote(self, quote: Quote, recv_mono_ns: int, now_ms: int) -> Payloads:
        """Take one best quote.

        Raises:
            FrameInvalid: A price is outside the band.
        """
        payloads = self._take_quote(quote, recv_mono_ns, now_ms)
        if self.ticks.quote is not quote:
            return payloads  # Outdated: the book has moved on as well.
        change = self.depth.on_quote(quote, now_ms)
        return payloads if change is NOTHING else [*payloads, *self._note(change, now_ms)]

    def _take_quote(self, quote: Quote, recv_mono_ns: int, now_ms: int) -> Payloads:
        if not self.band.accepts_quote(quote.bid_units, quote.ask_units):
            self.lose_touch(now_ms)
            raise FrameInvalid(self._outlier(now_ms, f"quote {quote.bid} / {quote.ask}"))
        before = self.ticks.quote
        # A late quote makes no tick, so none is held for later either.
        is_held = self.holds_quotes and not self.is_late
        ticks = self.ticks.on_quote(quote, recv_mono_ns, now_ms, is_held=is_held)
        if self.ticks.quote is not quote:
            return ticks  # An outdated quote leaves the touch as old as it is.
        anew: Payloads = ()
        if before is not None and quote.update_id <= before.update_id:
            anew = self._begin_quotes_anew(before, quote, now_ms)
        self.data_ms = self.seen_ms[QUOTE] = now_ms
        if self.is_late:
            return anew
        if anew or self._gap_from:
            return [*anew, *self._end_gap(QUOTE, now_ms), *self._end_late(now_ms), *ticks]
        return ticks

    def on_no_touch(self, now_ms: int) -> None:
        """Note that a side of the book is empty."""
        self.data_ms = now_ms
        self.lose_touch(now_ms)

    def lose_touch(self, now_ms: int) -> None:
        """Forget the touch that a refused quote has ended."""
        self._refused_ms = now_ms
        self.ticks.lose_touch()

    def hold_back(self, now_ms: int, *, is_late: bool) -> Payloads:
        """Make no ticks while data come late, or make them again, from the next quote on.

        After a gap, cores do not trade until a new touch; bars and book go on from the late data.
        Trades that made no tick are a gap, too: it is written with that touch.
        """
        self.is_late = is_late
        self.ticks.on_disconnected()
        if not is_late:
            return []
        self._gap_why = DATA_COME_LATE
        self._gap_from.setdefault(QUOTE, self.seen_ms.get(QUOTE, now_ms))
        return [self._gap(QUOTE, now_ms, now_ms, self._gap_why)]

    def _end_late(self, now_ms: int) -> Payloads:
        """Return the gap of trades that came too late for a tick, if there were any."""
        since, self._late_from_ms = self._late_from_ms, None
        return [] if since is None else [self._gap(TRADE, since, now_ms, DATA_COME_LATE)]

    def _begin_quotes_anew(self, before: Quote, quote: Quote, now_ms: int) -> Payloads:
        """Note that update ids fell: the touch since `before` was of an earlier time."""
        self.depth.check.forget()  # It orders quotes by their ids.
        why = f"quotes began anew at id {quote.update_id} after {before.update_id}"
        self._board.add(now_ms, SEQUENCE_GAP, f"{self.symbol}: {why}")
        return [self._gap(QUOTE, self.seen_ms.get(QUOTE, now_ms), now_ms, why)]

    def on_diff(self, diff: Diff, now_ms: int) -> Payloads:
        """Take one diff of the book."""
        before_ms = self.seen_ms.get(DEPTH, now_ms)
        change = self.depth.on_diff(diff, now_ms)
        if self.depth.diff_ms == now_ms:
            self._seen(DEPTH, now_ms)
        if change is NOTHING:
            return self._resynced(now_ms)
        return self._note(change, now_ms, before_ms)

    def on_snapshot(self, snapshot: Snapshot, now_ms: int) -> Payloads:
        """Take a requested snapshot."""
        change = self.depth.on_snapshot(snapshot, now_ms)
        return self._resynced(now_ms) if change is NOTHING else self._note(change, now_ms)

    def on_streamed_snapshot(self, snapshot: Snapshot, now_ms: int) -> Payloads:
        """Take a snapshot from the stream."""
        self._seen(DEPTH, now_ms)
        change = self.depth.on_streamed_snapshot(snapshot, now_ms)
        return self._resynced(now_ms) if change is NOTHING else self._note(change, now_ms)

    def on_top(self, recv_mono_ns: int, now_ms: int) -> Payloads:
        """Use the top of the book as the best quote where the venue has no stream of best quotes.

        To be called after each message of the book, when its own payloads are written.

        Raises:
            FrameInvalid: A price is outside the band, or has too many decimals.
        """
        if self._has_quotes:
            return []
        book = self.depth.keeper.book
        touch = None if book is None else book.touch()
        if book is None or touch is None:
            self.ticks.forget_touch()
            return []
        bid, bid_qty, ask, ask_qty = touch
        try:
            prices = positive(bid), positive(ask)
        except ValueError as error:
            self.ticks.forget_touch()
            raise FrameInvalid(f"{self.symbol}: {error}") from error
        quote = Quote(
            self.symbol, book.book_id, bid, prices[0], bid_qty, ask, prices[1], ask_qty, None
        )
        return self._take_quote(quote, recv_mono_ns, now_ms)

    def on_unread(self, now_ms: int, why: str) -> Payloads:
        """Note an unusable frame that may have changed the book, whose updates have no numbers."""
        change = self.depth.on_unread(now_ms, why)
        return [] if change is NOTHING else self._note(change, now_ms)

    def _seen(self, stream: str, now_ms: int) -> None:
        self.data_ms = self.seen_ms[stream] = now_ms

    def _outlier(self, now_ms: int, what: str) -> str:
        self.outliers += 1
        detail = f"{self.symbol} {what}: over {self.band.percent} % off the last accepted price"
        self._board.add(now_ms, PRICE_OUTLIER, detail)
        return detail

    # --- trades -------------------------------------------------------------------------------

    def _pass(self, passed: Passed, now_ms: int) -> Payloads:
        payloads: list[Payload] = []
        missing: Missing | None = None
        is_anew = False
        for item in passed:
            if isinstance(item, Missing):
                missing = _joined(missing, item)
                continue
            trade = item.trade
            is_anew |= missing is not None and missing.from_id == trade.trade_id
            if not self.band.accepts(trade.price_units):
                # The bar would lack this trade, so klines have to provide the bar.
                missing = _joined(missing, Missing(trade.trade_id, trade.trade_id))
                self._outlier(now_ms, f"trade {trade.trade_id} at {trade.price}")
                continue
            payloads += self._resume(missing, trade.trade_ts, now_ms, is_anew=is_anew)
            missing, is_anew = None, False
            payloads += self._pass_one(item, now_ms)
        if missing is not None:
            payloads += self._resume(missing, passed_ts(passed), now_ms, is_anew=is_anew)
        return payloads

    def _pass_one(self, arrival: Arrival, now_ms: int) -> Payloads:
        """Take a trade that is in order: return the bars that it closes, then its tick."""
        trade, recv_mono_ns = arrival
        payloads: list[Payload] = []
        is_late = False
        for lane in self.lanes.values():
            late, is_first = lane.builder.late, lane.builder.open_ts is None
            payloads += lane.on_trade(trade, recv_mono_ns)
            if is_first:
                self.has_new_due = True
                self._tell_unfilled(lane.interval, "bars before its first trade", now_ms)
            is_late |= lane.builder.late > late
        self.late_trades += is_late
        ticks = self.ticks
        if ticks.quote is not None and self.drift.is_due(trade, ticks.quote):
            detail = (
                f"{self.symbol}: {IN_ROW} trades in a row more than {OFF_BPS} bps off the best "
                f"quote, the last at {trade.price} beside {ticks.quote.bid} / {ticks.quote.ask}"
            )
            self._board.add(self.data_ms, PRINTS_OFF_TOUCH, detail)
        dropped = ticks.dropped
        market_ticks = ticks.on_trade(arrival, now_ms)
        if not self.is_late:
            payloads += market_ticks
        elif self._late_from_ms is None:
            self._late_from_ms = self.seen_ms.get(TRADE, now_ms)
        if ticks.dropped > dropped:
            detail = f"{self.symbol}: {WAITING_MAX} trades wait for a quote; the oldest was dropped"
            self._board.add(self.data_ms, TRADES_DROPPED, detail)
        return payloads

    def _resume(
        self, missing: Missing | None, trade_ts: int, now_ms: int, *, is_anew: bool = False
    ) -> Payloads:
        """Go on after a break, if there was one; trades that are missing make a hole."""
        if missing is None:
            # Without a stream this was its last trade, and may have more behind it.
            if self._is_suspended and self.connected_ms is not None:
                if self._is_last_unknown:
                    return self._broken(trade_ts, now_ms, "the last trade before is unknown")
                self._is_suspended = False
                self._gap_from.pop(TRADE, None)
                for lane in self.lanes.values():
                    lane.builder.resume()
            return []
        self.gaps += 1
        count = missing.to_id - missing.from_id + 1
        what = f"trades missing from id {missing.from_id} on: {count}"
        if is_anew:
            what = f"trade ids began anew at {missing.from_id}; how many are missing is unknown"
        detail = f"{self.symbol}: {what}"
        self._note_doubtful(missing.from_id - 1)
        if self._doubtful:
            detail += f"; bars written before, perhaps without them: {', '.join(self._doubtful)}"
        self._board.add(now_ms, SEQUENCE_GAP, detail)
        return self._broken(trade_ts, now_ms, "trades missing")

    def _note_doubtful(self, last_id: int | None) -> None:
        """Note the written bars that lack trades if the one after `last_id` is missing."""
        if last_id != self._doubtful_after:
            self._doubtful_after, self._doubtful = last_id, []
        self._doubtful += [
            f"{interval} {hole.from_ts} to {hole.to_ts}"
            for interval, lane in self.lanes.items()
            if (hole := lane.doubtful) is not None
        ]

    def _suspend(self) -> None:
        """Close no bars by time: trades may be missing, which only the next ones can tell."""
        self._is_suspended = True
        for lane in self.lanes.values():
            lane.builder.suspend()

    def _broken(self, exchange_ts: int, now_ms: int, why: str) -> Payloads:
        self._is_suspended = self._is_last_unknown = False
        since = self._gap_from.pop(TRADE, self.seen_ms.get(TRADE, now_ms))
        payloads: list[Payload] = [self._gap(TRADE, since, now_ms, why)]
        for lane in self.lanes.values():
            payloads += lane.resume_broken(exchange_ts)
        if self.connected_ms is None:
            self._suspend()
            self._gap_from.setdefault(TRADE, now_ms)
        return payloads

    # --- gaps ---------------------------------------------------------------------------------

    def on_disconnected(self, now_ms: int, why: str) -> Payloads:
        """Note a lost stream: bars are suspended, the touch and the book become unknown."""
        was_valid = self.depth.is_valid
        self.connected_ms = None
        self._gap_why = why
        for stream, seen_ms in self.seen_ms.items():
            self._gap_from.setdefault(stream, seen_ms)
        if was_valid:  # A book may have had no update yet.
            self._gap_from.setdefault(DEPTH, now_ms)
        self.order.resume()
        self.ticks.on_disconnected()
        self.depth.on_disconnected(now_ms)
        self._suspend()
        return [self._gap(DEPTH, self._gap_from.get(DEPTH, now_ms), now_ms, why)] * was_valid

    def on_connected(self, now_ms: int, line: ShardHealth | None = None) -> None:
        """Note that a stream is connected; its line says what may still be on its way."""
        self.connected_ms, self._line = now_ms, line
        self.ticks.drop_waiting()
        self.depth.on_connected(now_ms)

    def start_partial(self) -> None:
        """Treat the first bar of every interval as incomplete: its market was open before."""
        for lane in self.lanes.values():
            lane.builder.start_partial()

    def resume_run(
        self,
        from_ms: int,
        last_trade_id: int | None,
        ends: dict[str, int],
        now_ms: int,
        *,
        had_book: bool,
    ) -> Payloads:
        """Resume after a former process of the same run: everything it missed is a gap.

        The gap of a book that the former process had is written at once, as when a stream is lost;
        that of quotes with the next quote; that of trades with the next trade, unless its id
        follows `last_trade_id`, so that none is missing. Without that id some may be.

        Args:
            from_ms: Time of the last line that the former process wrote.
            last_trade_id: Id of its last trade; None if that is not known.
            ends: Exchange time up to which bars are written, by interval.
            now_ms: Time of the gap of the book.
            had_book: Whether the former process had a book.
        """
        self._gap_why = "market_role was restarted"
        self._gap_from = dict.fromkeys(STREAMS, from_ms)
        self.order.last_id = last_trade_id
        self._is_last_unknown = last_trade_id is None
        self.order.resume()
        self._is_suspended = True
        self.start_partial()
        for interval, lane in self.lanes.items():
            if interval in ends:
                lane.end_history(ends[interval])
        return [self._gap(DEPTH, from_ms, now_ms, self._gap_why)] * had_book

    def missing_since(self, now_ms: int) -> dict[str, int]:
        """Return from when data are missing if the symbol is given up now, by stream."""
        starts, late_ms = dict(self._gap_from), self._late_from_ms
        if late_ms is not None:
            starts[TRADE] = min(late_ms, starts.get(TRADE, late_ms))
        return {
            stream: starts.get(stream, now_ms if stream in self.seen_ms else self._followed_ms)
            for stream in STREAMS
        }

    def come_back(self, since: Mapping[str, int], now_ms: int) -> Payloads:
        """Return the gaps of a symbol that was not followed since then, one for each stream.

        Those of trades and quotes end here: one behind the history would spoil that. The gap of
        the book goes on, and is written again when the first book ends it.
        """
        self._gap_why = "the symbol was not in the universe"
        self._gap_from[DEPTH] = since[DEPTH]
        return [self._gap(stream, since[stream], now_ms, self._gap_why) for stream in STREAMS]

    def _end_gap(self, stream: str, now_ms: int) -> Payloads:
        since = self._gap_from.pop(stream, None)
        return [] if since is None else [self._gap(stream, since, now_ms, self._gap_why)]

    def _gap(self, stream: str, from_ms: int, to_ms: int, why: str) -> Gap:
        return Gap(symbol=self.symbol, stream=stream, from_ts=from_ms, to_ts=to_ms, why=why)

    # --- book ---------------------------------------------------------------------------------

    def _note(self, change: Change, now_ms: int, from_ms: int | None = None) -> Payloads:
        """Return the start of a gap at once when the book is lost; the next book ends it.

        It begins at `from_ms`, the last update before missing ones, else now. The cores have to
        know of a lost book while it lasts: best quotes go on meanwhile.
        """
        if change.kind != LOST:
            return []
        since = self._gap_from.setdefault(DEPTH, now_ms if from_ms is None else from_ms)
        self._gap_why = change.why
        self._board.add(now_ms, BOOK_LOST, f"{self.symbol}: {change.why}")
        if not self._has_quotes:
            self._gap_from.setdefault(QUOTE, now_ms)
            self.ticks.forget_touch()
        return [self._gap(DEPTH, since, now_ms, change.why)]

    def _resynced(self, now_ms: int) -> Payloads:
        book = self.depth.written_resync()
        if book is None:
            return []
        if self.depth.resyncs > 1:
            self._board.add(now_ms, BOOK_RESYNC, f"{self.symbol}: book valid again")
        return [*self._end_gap(DEPTH, now_ms), book]

    # --- time ---------------------------------------------------------------------------------

    def on_clock(self, now_ms: int, exchange_ts: int) -> Payloads:
        """Advance time: held trades, bars that close, a symbol that stayed quiet after a gap."""
        self._clock_ms = now_ms
        payloads = [*self._pass(self.order.due(now_ms), now_ms)]
        quiet_ms = self._quiet_ms
        if quiet_ms is not None:
            # No trade came to show whether any is missing; klines will.
            if now_ms >= quiet_ms:
                self._note_doubtful(self.order.last_id)
                payloads += self._broken(
                    exchange_ts, now_ms, "no trade shows whether any is missing"
                )
            return payloads
        if self.order.due_ms is not None:
            return payloads  # The missing trade and those that wait for it belong to their bars.
        if self._line is not None:
            # Trades that a silent line holds up belong to their bars, as do those under way.
            heard_ms = self._line.heard_ms(now_ms) - self._delay_ms(exchange_ts - now_ms)
            exchange_ts -= max(0, now_ms - heard_ms - self._config.grace_ms)
        for lane in self.lanes.values():
            payloads += lane.on_clock(exchange_ts)
        return payloads

    def _delay_ms(self, skew_ms: int) -> int:
        """Return how long the last trade was under way, ms, at most as long as a bar waits."""
        delay_ms = self.seen_ms.get(TRADE, 0) + skew_ms - self.order.last_ts
        return min(max(0, delay_ms), self._config.grace_ms)

    @property
    def _quiet_ms(self) -> int | None:
        """Return when suspended bars go on without a trade, ms; None for not."""
        # The venue has no klines of a symbol that it no longer lists.
        if not self._is_suspended or self.connected_ms is None or self._is_gone:
            return None
        lower_ms = self.order.lower_since_ms
        since_ms = self.connected_ms if lower_ms is None else lower_ms + ANEW_MS
        return since_ms + self._config.tick_stale_ms

    def on_second(self, now_ms: int) -> Payloads:
        """Return the book of this second, if it is valid, and an average price, if one is due."""
        book = self.depth.written(now_ms, self._config.book_stale_ms)
        average = self._average.due()
        payloads: list[Payload] = [] if book is None else [book]
        return payloads if average is None else [*payloads, average]

    def next_due_ms(self, skew_ms: int) -> int | None:
        """Return the next due time of this symbol on the run's clock, ms; None for nothing."""
        dues = [] if self.order.due_ms is None else [self.order.due_ms]
        if (quiet_ms := self._quiet_ms) is not None:
            dues.append(quiet_ms)
        for lane in () if self.order.due_ms is not None else self.lanes.values():
            close_ts = lane.builder.next_close_ts()
            if close_ts is not None:
                due_ms = close_ts - skew_ms
                if self._line is not None and due_ms <= self._clock_ms:
                    # Its line is waited for; while that is silent, each beat looks again.
                    due_ms = self._line.settled_ms
                    if due_ms <= self._clock_ms:
                        continue
                dues.append(due_ms)
        return min(dues, default=None)

    # --- prices -------------------------------------------------------------------------------

    def take_rules(self, rules: Instrument) -> None:
        """Take the symbol's rules: its average price, and whether it is halted or gone."""
        self.average_over(minutes_of(rules))
        self._is_gone = rules.status == DELISTED
        if self._is_gone:
            self._suspend()
        if rules.status != UNREADABLE:
            self.band.halt(is_halted=rules.status != TRADING)

    def average_over(self, minutes: int) -> None:
        """Report the average price over `minutes` from now on; 0 for none."""
        if minutes != self._average.minutes:
            self._let_average(None)
            self._average.use(minutes)
            self._let_average(self._average)

    def _let_average(self, average: AverageWindow | None) -> None:
        lane = self.lanes.get(self._average.interval)
        if lane is not None:
            lane.average = average

    @property
    def own_ms(self) -> int | None:
        """Return the time of the last trade or best quote, ms; None before the first."""
        times = [self.seen_ms[stream] for stream in (TRADE, QUOTE) if stream in self.seen_ms]
        return max(times, default=None)

    @property
    def quoted_ms(self) -> int:
        """Return the time of the last best quote, also of a refused one, ms; 0 before the first."""
        return max(self.seen_ms.get(QUOTE, 0), self._refused_ms)

    def awaits_snapshot(self, since_ms: int) -> bool:
        """Return whether the touch lacks only a snapshot of its book, updated since a time, ms.

        So it is where the venue has no stream of best quotes.
        """
        is_updated = self.seen_ms.get(DEPTH, 0) >= since_ms
        return is_updated and not self._has_quotes and not self.depth.is_valid

    @property
    def last_trade_units(self) -> int:
        """Return the price of the last trade that made a tick, in hundred-millionths, or 0."""
        return positive(self.ticks.last_price) if self.ticks.last_price else 0

    # --- klines -------------------------------------------------------------------------------

    def take_history(self, interval: str, candles: Iterable[Candle]) -> list[Bar]:
        """Return the warm-up bars of one interval."""
        return self.lanes[interval].take_history(candles)

    def fill(
        self, interval: str, hole: Hole, candles: list[Candle] | None, now_ms: int
    ) -> Payloads:
        """Take the klines of a hole; None when the request failed."""
        lane = self.lanes[interval]
        bars = lane.fail(now_ms) if candles is None else lane.fill(hole, candles, now_ms)
        self._tell_unfilled(interval, "bars without klines", now_ms)
        return list(bars)

    def _tell_unfilled(self, interval: str, what: str, now_ms: int) -> None:
        """Tell how many bars will never be written, if there are any that were not told yet."""
        unfilled = self.lanes[interval].unfilled
        count = unfilled - self._unfilled_told[interval]
        if count:
            self._unfilled_told[interval] = unfilled
            self._board.add(now_ms, BARS_MISSING, f"{self.symbol} {interval}: {count} {what}")


def _joined(before: Missing | None, missing: Missing) -> Missing:
    """Return one gap of both where the second follows the first at once, else the second."""
    if before is None or missing.from_id != before.to_id + 1:
        return missing
    return Missing(before.from_id, missing.to_id)


def passed_ts(passed: Passed) -> int:
    """Return the exchange time of the latest given trade; 0 without any."""
    return max((item.trade.trade_ts for item in passed if not isinstance(item, Missing)), default=0)
