"""Prices as a chart draws them: one candle a minute, or one for each bar of a file of bars."""

from __future__ import annotations

from minibot.backtest.result import PriceBar
from minibot.events.model import MarketTick


class PriceCharts:
    """Keeps the candles of each symbol; they are for the eye, so that floats are enough."""

    def __init__(self, prices: dict[str, list[PriceBar]], interval_ms: int) -> None:
        self._prices = prices
        self._interval_ms = interval_ms
        self._until: dict[str, int] = {}
        self._last: dict[str, str] = {}

    def on_tick(self, tick: MarketTick, ts: int) -> bool:
        """Take a tick; return whether a candle before it is finished."""
        symbol = tick.symbol
        if ts < self._until.get(symbol, 0):
            if tick.price != self._last[symbol]:
                self._last[symbol] = tick.price
                _widen(self._prices[symbol][-1], float(tick.price))
            return False
        start = ts - ts % self._interval_ms
        self._until[symbol] = start + self._interval_ms
        self._last[symbol] = tick.price
        price = float(tick.price)
        bars = self._prices.setdefault(symbol, [])
        bars.append(PriceBar(start, price, price, price, price))
        return len(bars) > 1


def _widen(bar: PriceBar, price: float) -> None:
    bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
