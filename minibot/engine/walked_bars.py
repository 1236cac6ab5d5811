"""Walked bars: the report's data, collected while bars pass through the cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from minibot.accounting.performance import Performance
from minibot.engine.bar_block import BarBlock
from minibot.engine.bar_charts import BarCharts
from minibot.engine.bar_market import BarMarket
from minibot.engine.bar_rows import BarRows, Listener
from minibot.engine.intrabar import Shown
from minibot.engine.lockstep import Lockstep
from minibot.engine.market_source import Watch
from minibot.engine.run_result import BacktestResult
from minibot.events.cells import CELL


@final
class WalkedBars(Listener):
    """Report data of the bars of one symbol in one backtest; the listener of their walk.

    Args:
        market: The bars.
        lockstep: The lockstep of the cores.
        run_id: The run in the event of a tick.
        watch: Levels and open orders of risk.
        result: Result of the backtest, which gets counts, equity and candles.
        announce: Announces the end before the events of a time; called once.
        close_ts: Time of the announcement.
    """

    def __init__(
        self,
        market: BarMarket,
        lockstep: Lockstep,
        run_id: str,
        watch: Watch,
        result: BacktestResult,
        announce: Callable[[int], None],
        close_ts: int,
    ) -> None:
        super().__init__(result, announce, close_ts)
        self._market: BarMarket = market
        self._symbol: str = market.symbol
        self._performance: Performance = result.performance
        self._charts: BarCharts = BarCharts(market, result.performance)
        # Mids since equity was computed last, as cells.
        self._mids: list[bytes] = []
        # The row that is delivered tick by tick, and its bids so far.
        self._row: int = -1
        self._shown: list[int] = []
        self.rows: BarRows = BarRows(market, lockstep, run_id, watch, self, close_ts)

    # --- listener -----------------------------------------------------------------------------

    def on_rows(self, first: int, last: int, block: BarBlock) -> None:
        """Take skipped rows `first` to `last` (excluded); their last touch is delivered next."""
        if self._performance.portfolio.has_lots(self._symbol):
            # If the first row's open was delivered, its mid is the mark already: no change.
            self._mids.append(block.mids(first, last))
        else:
            # A symbol that is not held has no part in equity.
            self._mids = [block.mids(last - 1, last)[-CELL:]]
        self._shown = []
        self._row = last - 1
        self.to_ts = self.rows.end_of(last - 1)

    def on_row(self, row: int) -> None:
        """Begin a row whose ticks are delivered one by one."""
        self._row = row
        self._shown = []

    def on_shown(self, shown: Shown) -> None:
        """Take the tick that is delivered next."""
        self.on_time(shown.at)
        mid = (shown.bid + shown.ask) // 2
        self._mids.append(mid.to_bytes(CELL, "little"))
        self._shown.append(shown.bid)

    # --- equity and end ----------------------------------------------------------------------

    def settle(self, symbol: str) -> None:
        """Compute equity on the ticks since the last call: before a fill, and at the end."""
        if self._mids:
            self._performance.on_mids(self._symbol, b"".join(self._mids))
            self._mids = []

    def booked(self) -> None:
        """Note a booked fill: the position differs from the next row on."""
        self._charts.on_fill(self._row + 1)

    def end(self) -> None:
        """Compute the remaining equity, and store equity and candles in the result."""
        self.settle(self._symbol)
        rows, result = self._row + 1, self._result
        result.to_ts = self.to_ts
        result.equity = self._charts.equity(rows)
        if rows > self._charts.first:
            result.closes[self._symbol] = self._market.closes(result.to_ts)
            shown = self._shown if self.is_stopped else []
            result.prices[self._symbol] = self._charts.candles(rows, shown)
