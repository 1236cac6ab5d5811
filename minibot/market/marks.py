"""Marks from mini tickers: value held positions while a symbol's own streams are silent.

A mini ticker carries the last price, once a second if something changed. It is newer than the
symbol's own streams, and is written as a `price_mark`, when all of this holds:

    its price replaced another one, with this ticker or an earlier one, after the last own data
    it is not the last mark, unless own data have come since that one
    by exchange time, no own trade or quote came within the ticker's second
    it is not the price of the last own trade, unless another mark was written since
    it lies within the band of plausible prices

So a quiet market, whose last trade may be older than its quotes, is never marked by a ticker, and
the next own trade or quote ends the mark. Updates of the book are no own data here. A symbol that
has brought neither trade nor quote is marked by any price.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from minibot.events.model import PriceMark
from minibot.exchanges.venue_facts import LastPrice
from minibot.market.feed import Feed
from minibot.market.symbol import SymbolFeed

STREAM: Final = "miniTicker"
CADENCE_MS: Final = 1_000


class Marks:
    """Last mini ticker price of each followed symbol, and since when."""

    def __init__(self) -> None:
        """Start without any."""
        self.written = 0
        # Price of the last ticker in hundred-millionths, and when on the run's clock it first came;
        # None for a first ticker, whose price may be old.
        self._prices: dict[str, tuple[int, int | None]] = {}
        # Exchange time of the last ticker, never ahead of now: while a connection is replaced, both
        # bring tickers.
        self._heard: dict[str, int] = {}
        # Price that was written, and when.
        self._marked: dict[str, tuple[int, int]] = {}

    def take(self, tickers: Iterable[LastPrice], feed: Feed, now_ms: int) -> None:
        """Take the tickers of one frame; write marks newer than the symbols' own streams."""
        for ticker in tickers:
            own = feed.symbols.get(ticker.symbol)
            if own is None or ticker.exchange_ts < self._heard.get(ticker.symbol, 0):
                continue
            at_ms = min(now_ms, ticker.exchange_ts - feed.skew_ms)
            self._heard[ticker.symbol] = at_ms + feed.skew_ms
            before = self._prices.get(ticker.symbol)
            if before is None or before[0] != ticker.close_units:
                since = None if before is None else at_ms
                self._prices[ticker.symbol] = (ticker.close_units, since)
            if self._is_newer(ticker, own, at_ms) and not self._is_written(ticker, own):
                self._marked[ticker.symbol] = (ticker.close_units, now_ms)
                self.written += 1
                mark = PriceMark(ticker.symbol, ticker.close, STREAM, ticker.exchange_ts)
                feed.write(mark, now_ms)

    def _is_newer(self, ticker: LastPrice, own: SymbolFeed, at_ms: int) -> bool:
        price, since = self._prices[ticker.symbol]
        if not price or not own.band.is_plausible(price):
            return False
        own_ms = own.own_ms
        if own_ms is None:
            return True
        if since is None or since <= own_ms or at_ms - own_ms < CADENCE_MS:
            return False
        return price != own.last_trade_units or self._marked_ms(ticker) >= own_ms

    def _marked_ms(self, ticker: LastPrice) -> int:
        return self._marked.get(ticker.symbol, (0, 0))[1]

    def _is_written(self, ticker: LastPrice, own: SymbolFeed) -> bool:
        """Return whether this price was the last mark, with no own data of the symbol since."""
        price, marked_ms = self._marked.get(ticker.symbol, (0, 0))
        return price == ticker.close_units and (own.own_ms is None or own.own_ms <= marked_ms)
