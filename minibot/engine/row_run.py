"""Walk of rows through the cores, with equity marked up to a row."""

from __future__ import annotations

from minibot.cores.messages import FILLS, Message, stop_in
from minibot.engine.lockstep import Lockstep
from minibot.engine.row_charts import RowCharts
from minibot.engine.row_span import RowSpan
from minibot.engine.run_result import NO_CMDLINE, BacktestResult
from minibot.engine.tick_rows import TickRows


class RowRun:
    """The rows of one table in one backtest.

    Args:
        stretch: The first row span of the table; later spans continue where it ends.
        lockstep: The lockstep of the cores.
        run_id: The run in the event of a tick.
        result: Result of the backtest, which gets equity and candles.
        interval_ms: Width of the candles at the beginning.
    """

    def __init__(
        self,
        stretch: RowSpan,
        lockstep: Lockstep,
        run_id: str,
        result: BacktestResult,
        interval_ms: int,
    ) -> None:
        table, first = stretch.table, stretch.first
        self._table = table
        columns = {name: values[first:] for name, values in table.columns.items()}
        self._rows = TickRows(table.symbol, columns, lockstep, run_id, NO_CMDLINE)
        self._charts = RowCharts(table, first, interval_ms, result.performance, result.equity)
        self._first = first
        self._is_walking = False
        self._result = result

    def walk(self, last: int, seq: int) -> int:
        """Walk up to row `last` (excluded) or a STOP; return the next row.

        Args:
            last: A row of the table.
            seq: Line of the first row in `market_ticks`.
        """
        self._is_walking = True
        self._rows.walk(last - self._first, seq)
        self._is_walking = False
        return self._first + self._rows.row

    def on_message(self, message: Message) -> None:
        """Take a message: mark equity before a fill, and end the rows after risk's STOP."""
        if message.place == FILLS:
            row = self._rows.at if self._is_walking else self._rows.row - 1
            self._charts.look(self._first + row + 1)
        elif stop_in(message):
            self._rows.is_stopped = True

    def end(self) -> None:
        """Mark equity on the remaining rows, and make all candles."""
        row = self._first + self._rows.row
        self._charts.look(row)
        price = self._table.columns["price"]
        if row > self._first:
            closes = int(price[self._first]), int(price[row - 1])
            self._result.closes[self._rows.symbol] = closes
        self._result.prices[self._rows.symbol] = self._charts.candles(row)
