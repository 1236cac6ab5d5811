"""Where the market events of a backtest come from: the same source words as `embedded.source`.

A source yields what `market_role` would have written: the same feed turns the same frames into the
same ticks, bars, books, beats and gaps. What a live night measures and a file cannot know is
settled here: the clock is exact, nothing is late, no connection breaks.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple, Protocol

from minibot.events.model import Payload
from minibot.exchanges.binance.filters import parse_instrument
from minibot.exchanges.binance.messages import parse_snapshot
from minibot.exchanges.embedded.frames import Source
from minibot.exchanges.embedded.instruments import symbol_infos
from minibot.exchanges.embedded.wire import combined
from minibot.market.feed import Feed
from minibot.market.settings import feed_config
from minibot.runtime.config import Config

# More levels than any recorded snapshot has.
SNAPSHOT_LEVELS_MAX = 5000
NS_PER_MS = 1_000_000
REAL_TIME = Fraction(1)


class Root(NamedTuple):
    """One market event before it has an id: what it says, and when (market time, Unix ms)."""

    payload: Payload
    ts: int


class MarketSource(Protocol):
    """A market's history as events, in order of time.

    `origin_ms` is when it begins; `end_ms` when it ends, None for a source that does not know.
    """

    name: str
    symbols: tuple[str, ...]
    origin_ms: int
    end_ms: int | None

    def roots(self) -> Iterator[Root]:
        """Yield the events from the beginning: rules, history, then the market."""
        ...


class FrameSource:
    """A tape, made market or played file: its frames through the market role's own feed."""

    def __init__(self, source: Source, config: Config) -> None:
        facts = source.facts
        self.name = facts.name
        self.symbols = facts.symbols
        self.origin_ms = facts.origin_ms
        self.end_ms = facts.end_ms
        self._source = source
        self._config = config

    def roots(self) -> Iterator[Root]:
        """Yield the feed's events."""
        facts, origin_ms = self._source.facts, self.origin_ms
        feed = Feed(feed_config(self._config, self.symbols, origin_ms, REAL_TIME), origin_ms)
        feed.skew_ms = facts.skew_ms
        infos = symbol_infos(self.symbols, facts.symbol_infos, facts.first_trades)
        feed.on_instruments([parse_instrument(infos[symbol]) for symbol in self.symbols], origin_ms)
        feed.on_connected(origin_ms)
        for symbol in feed.snapshots_wanted(origin_ms):
            if symbol in facts.opening_books:
                snapshot = parse_snapshot(facts.opening_books[symbol], SNAPSHOT_LEVELS_MAX)
                feed.on_snapshot(symbol, snapshot, origin_ms)
        yield from _taken(feed)
        for frame in self._source.frames():
            text = frame.text or combined(frame.stream, frame.data)
            feed.on_frame(text, frame.at_ns // NS_PER_MS, frame.at_ns)
            yield from _taken(feed)
        if facts.end_ms is not None:
            feed.advance(facts.end_ms)
            yield from _taken(feed)


def _taken(feed: Feed) -> Iterator[Root]:
    for payload, ts in feed.take():
        yield Root(payload, ts)
