"""Walk of rows through the cores, and up to which row equity was marked."""

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
        stretch: The first row span of the table; later ones go on where it ends.
        lockstep: Whose cores take them.
        run_id: Stands in the event of a tick.
        result: Where equity and candles go.
        interval_ms: As wide as candles are at the beginning.
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
        """Walk on up to row `last` (excluded) or a STOP; return the next row.

        Args:
            last: A row of the table.
            seq: Of the first row, in `market_ticks`.
        """
        self._is_walking = True
        self._rows.walk(last - self._first, seq)
        self._is_walking = False
        return self._first + self._rows.row

    def on_message(self, message: Message) -> None:
        """Take a message: equity is marked before a fill, and rows end behind risk's STOP."""
        if message.place == FILLS:
            row = self._rows.at if self._is_walking else self._rows.row - 1
            self._charts.look(self._first + row + 1)
        elif stop_in(message):
            self._rows.is_stopped = True

    def end(self) -> None:
        """Look at the rest of the rows, and draw them all."""
        row = self._first + self._rows.row
        self._charts.look(row)
        price = self._table.columns["price"]
        if row > self._first:
            closes = int(price[self._first]), int(price[row - 1])
            self._result.closes[self._rows.symbol] = closes
        self._result.prices[self._rows.symbol] = self._charts.candles(row)
