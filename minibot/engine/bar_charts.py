"""Charts of bars in columns: candles and equity, made when they are drawn.

Between two fills the position does not change, so equity at a candle's beginning is cash plus
position at the mid of its first tick. Candles are those of `drawing`.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import numpy as np

from minibot.accounting.performance import Performance
from minibot.engine.bar_block import PRICES
from minibot.engine.bar_market import BarMarket
from minibot.engine.cells import floats
from minibot.engine.lazy_list import LazyList
from minibot.engine.row_charts import Starts, heads_of
from minibot.engine.run_result import EquityColumns, EquityList, PriceBar
from minibot.engine.tick_table import Array
from minibot.events.money import proceeds_down

OPEN_PRICE: Final = PRICES[0]


class BarCharts:
    """Charts of one symbol's bars for the report: equity and candles.

    Args:
        market: The bars.
        performance: Performance of the run, with its positions.

    Attributes:
        first: The first row of the market.
    """

    def __init__(self, market: BarMarket, performance: Performance) -> None:
        self.first = market.first
        self._market = market
        self._performance = performance
        # First row, cash and quantity held from there on.
        self._held: list[tuple[int, int, int]] = [(self.first, *self._now())]

    def _now(self) -> tuple[int, int]:
        performance = self._performance
        portfolio = performance.portfolio
        cash = portfolio.cash(performance.quote_asset)
        return cash, portfolio.position_qty(self._market.symbol)

    def on_fill(self, row: int) -> None:
        """Note that the position changes from a row on."""
        self._held.append((row, *self._now()))

    def equity(self, last: int) -> EquityList:
        """Return equity at the first tick of each candle but the first, of rows before `last`."""
        return EquityList(lambda: self._points(last))

    def candles(self, last: int, shown: list[int]) -> LazyList[PriceBar]:
        """Return the candles of the rows before `last`.

        Args:
            last: The row after the last one that began.
            shown: The bids of the last row, if it was cut short.
        """
        return LazyList(lambda: self._candles(last, shown))

    def _starts(self, last: int) -> Starts:
        market = self._market
        opened = market.table.columns["open_ts"][:last] + market.lag_ms
        return Starts(opened, self.first, market.length_ms)

    def _points(self, last: int) -> EquityColumns:
        if last <= self.first:
            return EquityColumns([], [])
        starts = self._starts(last)
        bid, ask = self._market.shapes.touch(OPEN_PRICE, self.first, last)
        mids = ((bid + ask) // 2)[np.array(starts.rows) - self.first].tolist()
        amounts: list[int] = []
        ends = [bisect_left(starts.rows, row) for row, _, _ in self._held[1:]]
        for (_, cash, qty), end in zip(self._held, [*ends, len(mids)], strict=True):
            shown = mids[len(amounts) : end]
            amounts += (
                [cash + proceeds_down(qty, mid) for mid in shown] if qty else [cash] * len(shown)
            )
        return EquityColumns(starts.ts[1:], amounts[1:])

    def _candles(self, last: int, shown: list[int]) -> list[PriceBar]:
        shapes, first = self._market.shapes, self.first
        bids: list[Array] = [shapes.touch(name, first, last)[0] for name in PRICES]
        opened, close = bids[0].copy(), bids[3].copy()
        high, low = np.maximum.reduce(bids), np.minimum.reduce(bids)
        if shown:
            opened[-1], close[-1], high[-1], low[-1] = shown[0], shown[-1], max(shown), min(shown)
        place = self._market.table.columns["open_ts"][first:last]
        width = self._starts(last).width_at(last)
        place = place // width
        heads = heads_of(place)
        lasts = np.append(heads[1:], len(place)) - 1
        columns = (
            (place[heads] * width).tolist(),
            floats(opened[heads]),
            floats(np.maximum.reduceat(high, heads)),
            floats(np.minimum.reduceat(low, heads)),
            floats(close[lasts]),
        )
        return list(map(PriceBar, *columns))
