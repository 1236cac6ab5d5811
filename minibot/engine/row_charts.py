"""Charts of ticks in columns: candles, and equity computed only where it is needed.

Between two fills the position does not change, so equity follows the mids: its highs, its dips and
its value at each candle's beginning are computed at the next fill. Candles are those of `drawing`.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Final

import numpy as np

from minibot.accounting.performance import Performance
from minibot.engine.cells import floats
from minibot.engine.price_charts import CANDLES_MAX, WIDTHS_MS
from minibot.engine.run_result import EquityPoint, PriceBar
from minibot.engine.tick_table import Array, TickTable

BLOCK_ROWS: Final = 1 << 16


class RowCharts:
    """Charts of a table's rows for the report.

    Args:
        table: The ticks.
        first: The first row of the market.
        interval_ms: Width of the candles at the beginning.
        performance: Performance of the run, with its equity.
        equity: Equity points, one per candle, appended here.
    """

    def __init__(
        self,
        table: TickTable,
        first: int,
        interval_ms: int,
        performance: Performance,
        equity: MutableSequence[EquityPoint],
    ) -> None:
        self._table = table
        self._performance = performance
        self._equity = equity
        self._first = self._row = first
        self._starts = Starts(table.columns["ts"], first, interval_ms)
        self._next = 1  # The first candle ends none.

    def look(self, row: int) -> None:
        """Compute equity on all rows before `row` that are still due."""
        starts = self._starts
        while self._next < len(starts.rows) and starts.rows[self._next] < row:
            self._mark(starts.rows[self._next] + 1)
            self._equity.append(EquityPoint(starts.ts[self._next], self._performance.equity))
            self._next += 1
        self._mark(row)

    def _mark(self, row: int) -> None:
        symbol = self._table.symbol
        if row > self._row and not self._performance.portfolio.has_lots(symbol):
            self._row = row - 1  # A symbol that is not held has no part in equity.
        while self._row < row:
            last = min(row, self._row + BLOCK_ROWS)
            self._performance.on_mids(symbol, self._table.mids(self._row, last))
            self._row = last

    def candles(self, row: int) -> list[PriceBar]:
        """Return the candles of all rows before `row`."""
        ts = self._table.columns["ts"][self._first : row]
        price = self._table.columns["price"][self._first : row]
        if not len(ts):
            return []
        width = self._starts.width_at(row)
        place = ts // width
        heads = heads_of(place)
        closes = price[np.append(heads[1:], len(price)) - 1]
        return [
            PriceBar(*each)
            for each in zip(
                (place[heads] * width).tolist(),
                floats(price[heads]),
                floats(np.maximum.reduceat(price, heads)),
                floats(np.minimum.reduceat(price, heads)),
                floats(closes),
                strict=True,
            )
        ]


class Starts:
    """Beginnings of the candles, which become wider if there would be too many.

    Attributes:
        rows, ts: The row of each candle's first tick, and when the candle begins.
    """

    def __init__(self, ts: Array, first: int, width: int) -> None:
        self.rows: list[int] = []
        self.ts: list[int] = []
        self._widths: list[tuple[int, int]] = []  # First row and width of candles from there.
        wider = [each for each in WIDTHS_MS if each > width]
        row, count, until = first, 0, int(ts[first])
        while row < len(ts):
            self._widths.append((row, width))
            starts = heads_of(ts[row:] // width) + row
            starts = starts[ts[starts] >= until]
            if wider and count + len(starts) > CANDLES_MAX:
                starts = starts[: max(1, CANDLES_MAX + 1 - count)]
            begins = ts[starts] // width * width
            self.rows += starts.tolist()
            self.ts += begins.tolist()
            count += len(starts)
            if not wider or count <= CANDLES_MAX:
                return
            # One candle too many has begun; from its row on they are wider.
            row = self.rows[-1]
            width = wider.pop(0)
            until = (int(ts[row]) // width + 1) * width
            count = len(heads_of(ts[first : row + 1] // width))

    def width_at(self, row: int) -> int:
        """Return the width in ms of all candles before `row`, after joining."""
        return [width for first, width in self._widths if first < row][-1]


def heads_of(places: Array) -> Array:
    """Return the first index of each run of equal values."""
    return np.concatenate(([0], np.flatnonzero(places[1:] != places[:-1]) + 1))
