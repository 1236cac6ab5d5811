"""Last price of every symbol from mini tickers: a second check of the market data.

Followed symbols are compared with it: a stream that is open but repeats an old market, or is
silent, is reported although its socket is fine. Pure; times are market milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from minibot.events.unit_sizes import BPS
from minibot.exchanges.venue_facts import LastPrice
from minibot.market.notices import PRICE_DISAGREES, NoticeBoard

# Tickers are a second old and a trade may move more than a spread; a whole per cent for ten seconds
# is beyond both.
DISAGREEMENT_BPS: Final = 100
DISAGREEMENT_MS: Final = 10_000
# The array holds only symbols that changed within its second.
HEARD_MS: Final = 60_000


class PriceMonitor:
    """Last prices by symbol, and since when they disagree with the followed streams."""

    def __init__(self, board: NoticeBoard) -> None:
        """Start without any price; disagreements are reported on the board."""
        self._board = board
        self._heard: dict[str, int] = {}
        self._since: dict[str, int] = {}
        self._reported: set[str] = set()
        self.disagreements = 0

    def take(self, tickers: Iterable[LastPrice], prices: Mapping[str, int], now_ms: int) -> None:
        """Compare the tickers of one frame with `prices`, the last accepted ones by symbol.

        Each is that of a trade, or the ask of a quote if that came later, in hundred-millionths;
        0 for none yet.
        """
        for ticker in tickers:
            self._heard[ticker.symbol] = now_ms
            price = prices.get(ticker.symbol, 0)
            if price:
                self._compare(ticker, price, now_ms)

    def _compare(self, ticker: LastPrice, price: int, now_ms: int) -> None:
        symbol = ticker.symbol
        distance = abs(ticker.close_units - price) * BPS
        if distance <= DISAGREEMENT_BPS * price:
            self._since.pop(symbol, None)
            self._reported.discard(symbol)
            return
        since = self._since.setdefault(symbol, now_ms)
        if now_ms - since < DISAGREEMENT_MS or symbol in self._reported:
            return
        self._reported.add(symbol)
        self.disagreements += 1
        detail = (
            f"{symbol}: its streams are more than {DISAGREEMENT_BPS} bps off the mini ticker's "
            f"{ticker.close} for {now_ms - since} ms"
        )
        self._board.add(now_ms, PRICE_DISAGREES, detail)

    def heard(self, symbols: Iterable[str], now_ms: int) -> int:
        """Return for how many of the symbols a ticker came within the last minute."""
        return sum(
            1
            for symbol in symbols
            if (heard_ms := self._heard.get(symbol)) is not None and now_ms - heard_ms <= HEARD_MS
        )
