"""Source of frames: a tape, generator or played file through the market role's own feed.

It yields the events that `market_role` would have written: the same feed turns the same frames
into the same ticks, bars, books, beats and gaps. A file cannot know the delays of a live night, so
none is assumed: the clock is exact, nothing is late, no connection breaks. Trades missing from the
file still make a gap, also those that its recorder lost with a connection; a book lost with it
comes back with the next recorded snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from minibot.engine.market_source import NOBODY, REAL_TIME, Root, Watch
from minibot.events.intervals import longest_first, warmup_of
from minibot.events.model import Instrument
from minibot.events.unit_sizes import NS_PER_MS, SECOND_MS
from minibot.exchanges.base import Candle, FrameInvalid, Snapshot
from minibot.exchanges.tapes.decimals import product_text, to_text
from minibot.exchanges.tapes.frames import SNAPSHOT, Frame, Source, recorded_snapshot
from minibot.exchanges.tapes.kline_bars import Bar, divides, gather
from minibot.exchanges.venues import SIMULATED
from minibot.kernel.errors import Refusal
from minibot.market.feed import Feed
from minibot.market.history import closed_candles
from minibot.market.settings import feed_config
from minibot.runtime.configuration.config import Config
from minibot.simulator.server.wire import combined
from minibot.simulator.venue.instruments import symbol_infos

History = Mapping[str, tuple[str, list[Bar]]]


class FrameSource:
    """Tape, synthetic market or played file: its frames through the market role's own feed.

    Args:
        source: The frames.
        config: Its intervals, number of history bars and maximum age of data are used.
        history: Earlier bars by symbol, with their interval, as `embedded.history`; they replace
            the source's own for that symbol.
    """

    def __init__(self, source: Source, config: Config, history: History | None = None) -> None:
        facts = source.facts
        self.name = facts.name
        self.symbols = facts.symbols
        self.origin_ms = facts.origin_ms
        self.end_ms = facts.end_ms
        self.interval_ms = SECOND_MS
        self.assumptions: tuple[str, ...] = ()
        self.source = source
        self._config = config
        self._history = history or {}

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the feed's events: rules, history and opening books, then those of each frame.

        Raises:
            Refusal: The rules of a symbol are incomplete, or its first book is none.
        """
        facts, origin_ms = self.source.facts, self.origin_ms
        config = feed_config(self._config, self.symbols, origin_ms, REAL_TIME)
        dialect = SIMULATED.dialect
        feed = Feed(config, origin_ms, dialect)
        feed.skew_ms = facts.skew_ms
        feed.on_instruments(self._rules(), origin_ms)
        self._take_history(feed)
        feed.on_connected(origin_ms)
        for symbol in feed.snapshots_wanted(origin_ms):
            if symbol in facts.opening_books:
                feed.on_snapshot(symbol, self._opening_book(symbol), origin_ms)
        yield from _taken(feed)
        for frame in self.source.frames():
            text = frame.text or combined(frame.stream, frame.data)
            now_ms = frame.at_ns // NS_PER_MS
            feed.on_frame(text, now_ms, frame.at_ns)
            if frame.kind == SNAPSHOT:
                _take_snapshot(feed, frame, now_ms)
            yield from _taken(feed)
        if facts.end_ms is not None:
            feed.advance(facts.end_ms)
            yield from _taken(feed)

    def _opening_book(self, symbol: str) -> Snapshot:
        try:
            return recorded_snapshot(self.source.facts.opening_books[symbol])
        except FrameInvalid as error:
            raise Refusal(f"{self.name}: {symbol}: {error}.", "Name another source.") from error

    def _rules(self) -> list[Instrument]:
        facts = self.source.facts
        infos = symbol_infos(self.symbols, facts.symbol_infos, facts.samples)
        try:
            return [SIMULATED.rules.parse(infos[symbol]) for symbol in self.symbols]
        except FrameInvalid as error:
            raise Refusal(f"{self.name}: {error}.", "Name another source.") from error

    def _take_history(self, feed: Feed) -> None:
        """Emit the closed bars before the origin, as the market role does at its start."""
        warmup, exchange_ts = self._config.market.warmup_bars, self.origin_ms + feed.skew_ms
        for symbol in self.symbols:
            for interval in longest_first(self._config.market.bar_intervals):
                count = warmup_of(warmup, interval)
                candles = [_candle(bar) for bar in self._past(symbol, interval)]
                closed = closed_candles(candles, interval, settled_ts=exchange_ts, count=count)
                if count and closed:
                    feed.on_history(symbol, interval, closed, self.origin_ms)

    def _past(self, symbol: str, interval: str) -> list[Bar]:
        if symbol not in self._history:
            return self.source.past_bars(symbol, interval)
        base, bars = self._history[symbol]
        return gather(bars, interval) if divides(base, interval) else []


def _take_snapshot(feed: Feed, frame: Frame, now_ms: int) -> None:
    """Take a recorded snapshot where a night would request one: it has no valid book."""
    followed = feed.symbols.get(frame.symbol)
    if followed is None or followed.depth.is_valid:
        return
    try:
        snapshot = recorded_snapshot(orjson.loads(frame.data))
    except ValueError:
        return  # No usable snapshot.
    feed.on_snapshot(frame.symbol, snapshot, now_ms)


def _candle(bar: Bar) -> Candle:
    return Candle(
        open_ts=bar.open_ms,
        close_ts=bar.end_ms - 1,
        open=to_text(bar.open),
        high=to_text(bar.high),
        low=to_text(bar.low),
        close=to_text(bar.close),
        volume=to_text(bar.volume),
        quote_volume=product_text(bar.quote),
        taker_buy_volume=to_text(bar.taker_volume),
        trades=bar.trades,
    )


def _taken(feed: Feed) -> Iterator[Root]:
    for payload, ts in feed.take():
        yield Root(payload, ts)
