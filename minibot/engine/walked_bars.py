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
from minibot.events.unit_sizes import NEVER


@final
class WalkedBars(Listener):
    """The bars of one symbol in one backtest; it is told what is walked.

    Args:
        market: The bars.
        lockstep: Whose cores take them.
        run_id: Stands in the event of a tick.
        watch: Knows what the bot waits for.
        result: Where counts, equity and candles go.
        announce: Says the end before what comes at a time; called once.
        close_ts: From when on.
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
        self._market: BarMarket = market
        self._symbol: str = market.symbol
        self._result: BacktestResult = result
        self._performance: Performance = result.performance
        self._announce: Callable[[int], None] = announce
        self._close_ts: int = close_ts
        self._charts: BarCharts = BarCharts(market, result.performance)
        # Of the touches since equity was looked at last, in cells.
        self._mids: list[bytes] = []
        # The row that is told tick by tick, and the bids that it has shown.
        self._row: int = -1
        self._shown: list[int] = []
        self.rows: BarRows = BarRows(market, lockstep, run_id, watch, self, close_ts)

    # --- what is walked -----------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """True when risk stopped the run."""
        return bool(self._result.stop)

    def on_rows(self, first: int, last: int, block: BarBlock) -> None:
        """Take rows `first` to `last` (excluded), passed over; their last touch is told next."""
        if self._performance.portfolio.has_lots(self._symbol):
            self._mids.append(block.mids(first, last))
        else:
            # What is not held has no part in equity.
            self._mids = [block.mids(last - 1, last)[-CELL:]]
        self._shown = []
        self._row = last - 1
        self._result.to_ts = self.rows.end_of(last - 1)

    def on_row(self, row: int) -> None:
        """Begin a row whose ticks come one by one."""
        self._row = row
        self._shown = []

    def on_shown(self, shown: Shown) -> None:
        """Take the tick that is told next."""
        self.on_time(shown.at)
        mid = (shown.bid + shown.ask) // 2
        self._mids.append(mid.to_bytes(CELL, "little"))
        self._shown.append(shown.bid)

    def on_time(self, ts: int) -> None:
        """Take the time of the next event; the end is announced first where its time has come."""
        if ts >= self._close_ts:
            self._announce(ts)
            self._close_ts = NEVER
        if ts > self._result.to_ts:
            self._result.to_ts = ts

    # --- equity and end ----------------------------------------------------------------------

    def settle(self) -> None:
        """Look at equity on the ticks since the last look: before a fill, and at the end."""
        if self._mids:
            self._performance.on_mids(self._symbol, b"".join(self._mids))
            self._mids = []

    def booked(self) -> None:
        """Note a booked fill: equity goes another way from the next row on."""
        self._charts.on_fill(self._row + 1)

    def end(self) -> None:
        """Look at the rest, and leave equity and candles where they can be drawn."""
        self.settle()
        rows, result = self._row + 1, self._result
        result.equity = self._charts.equity(rows)
        if rows > self._charts.first:
            result.closes[self._symbol] = self._market.closes(result.to_ts)
            shown = self._shown if self.is_stopped else []
            result.prices[self._symbol] = self._charts.candles(rows, shown)
