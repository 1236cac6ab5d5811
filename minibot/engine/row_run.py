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

    Attributes:
        stop_row: The row at which risk stopped the run, if it did.
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
        self.stop_row: int | None = None

    def walk(self, last: int, seq: int) -> None:
        """Walk on up to row `last` (excluded); the first is line `seq` of `market_ticks`."""
        self._is_walking = True
        self._rows.walk(last - self._first, seq)
        self._is_walking = False

    def hears(self, message: Message) -> bool:
        """Take a message; return False for one to be ignored, behind the row of risk's STOP.

        Equity is marked before a fill; the row of a STOP becomes `stop_row`.
        """
        row = self._first + (self._rows.at if self._is_walking else self._rows.row - 1)
        if self.stop_row is not None and row > self.stop_row:
            return False
        if message.place == FILLS:
            self._charts.look(row + 1)
        elif self._is_walking and stop_in(message):
            self.stop_row = row
        return True

    def end(self) -> None:
        """Look at the rest of the rows, and draw them all."""
        row = self._first + self._rows.row if self.stop_row is None else self.stop_row + 1
        self._charts.look(row)
        price = self._table.columns["price"]
        if row > self._first:
            closes = int(price[self._first]), int(price[row - 1])
            self._result.closes[self._rows.symbol] = closes
        self._result.prices[self._rows.symbol] = self._charts.candles(row)
