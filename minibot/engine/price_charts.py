"""Price charts: candles from a file's bars, or from ticks by the second, widened to minutes.

They are only drawn, so floats are enough. Every width divides the hour, so that equity, which is
read at the beginning of a candle, is known at the end of each hour.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from typing import Final

from minibot.engine.run_result import PriceBar
from minibot.events.model import MarketTick
from minibot.events.money import parse_amount

# Ticks begin with the first width, and change to the next when there are too many candles.
WIDTHS_MS: Final = (1_000, 10_000, 60_000)
CANDLES_MAX: Final = 20_000


class PriceCharts:
    """Candles of each symbol.

    Args:
        prices: The candles by symbol, filled here.
        interval_ms: Least time between prices of the source; a second for ticks.
    """

    def __init__(self, prices: dict[str, MutableSequence[PriceBar]], interval_ms: int) -> None:
        self._prices = prices
        self._width_ms = interval_ms
        self._wider = [width for width in WIDTHS_MS if width > interval_ms]
        self._candles = 0
        self._until: dict[str, int] = {}
        self._first: dict[str, str] = {}
        self._last: dict[str, str] = {}

    def on_tick(self, tick: MarketTick, ts: int) -> int:
        """Take a tick; return the time of the candle that it begins, 0 if none or the first."""
        symbol = tick.symbol
        if ts < self._until.get(symbol, 0):
            if tick.price != self._last.get(symbol):
                self._last[symbol] = tick.price
                _widen(self._prices[symbol][-1], float(tick.price))
            return 0
        self._last[symbol] = tick.price
        if symbol not in self._first:
            self._first[symbol] = tick.price
        price = float(tick.price)
        start = ts - ts % self._width_ms
        self._until[symbol] = start + self._width_ms
        bars = self._prices.setdefault(symbol, [])
        bars.append(PriceBar(start, price, price, price, price))
        self._candles += 1
        if self._candles > CANDLES_MAX and self._wider:
            self._join()
        return start if len(bars) > 1 else 0

    def on_ticks(self, ticks: Iterable[MarketTick], times: Iterable[int]) -> None:
        """Take several ticks with their times, without reporting candles."""
        until, last, prices = self._until, self._last, self._prices
        for tick, ts in zip(ticks, times, strict=True):
            symbol, price = tick.symbol, tick.price
            if ts >= until.get(symbol, 0):
                self.on_tick(tick, ts)
            elif price != last[symbol]:  # Most ticks repeat the last price of their candle.
                last[symbol] = price
                _widen(prices[symbol][-1], float(price))

    def closes(self) -> dict[str, tuple[int, int]]:
        """Return the first and the last price of each symbol, hundred-millionths of quote."""
        return {
            symbol: (parse_amount(first), parse_amount(self._last[symbol]))
            for symbol, first in self._first.items()
        }

    def _join(self) -> None:
        """Continue with wider candles, and widen the former ones."""
        self._width_ms = width_ms = self._wider.pop(0)
        for symbol, bars in self._prices.items():
            joined: list[PriceBar] = []
            for bar in bars:
                start = bar.ts - bar.ts % width_ms
                if joined and joined[-1].ts == start:
                    last = joined[-1]
                    last.high, last.low = max(last.high, bar.high), min(last.low, bar.low)
                    last.close = bar.close
                else:
                    joined.append(PriceBar(start, bar.open, bar.high, bar.low, bar.close))
            bars[:] = joined
            self._until[symbol] = joined[-1].ts + width_ms
        self._candles = sum(len(bars) for bars in self._prices.values())


def _widen(bar: PriceBar, price: float) -> None:
    bar.close = price
    if price > bar.high:
        bar.high = price
    elif price < bar.low:
        bar.low = price
