"""Walked portfolio: the report's data, collected while bars of many symbols are walked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from minibot.accounting.performance import Performance
from minibot.engine.bar_block import BarBlock
from minibot.engine.bar_charts import BarCharts
from minibot.engine.bar_market import BarMarket
from minibot.engine.intrabar import Shown
from minibot.engine.lockstep import Lockstep
from minibot.engine.market_source import Watch
from minibot.engine.portfolio_rows import PortfolioRows, Steps
from minibot.engine.price_charts import WIDTHS_MS
from minibot.engine.run_result import BacktestResult, EquityColumns, EquityList

# Of each symbol one block is kept at a time. Blocks of 8,192 rows, as for a single symbol, took a
# portfolio of fifty 118 MB more, and a tenth more CPU time to fill that memory.
SYMBOL_BLOCK_ROWS: Final = 1024
NO_BIDS: Final[list[int]] = []
Opened = tuple[int, int, int]
"""Candles that began at one time: the time, their number, and equity then."""


@final
class BegunRows:
    """Rows of a symbol that have begun.

    Attributes:
        count: Number of them.
        bids: The bids that the last one has shown, if its ticks were delivered or a STOP came
            within it.
    """

    __slots__ = ("bids", "count")

    def __init__(self) -> None:
        self.count: int = 0
        self.bids: list[int] = NO_BIDS


@final
class WalkedPortfolio(Steps):
    """Report data of the bars of several symbols in one backtest; the listener of their walk.

    Args:
        markets: The bars.
        lockstep: The lockstep of the cores.
        run_id: The run in the event of a tick.
        watch: Levels and open orders of risk.
        result: Result of the backtest, which gets counts, equity and candles.
        announce: Announces the end before the events of a time; called once.
        close_ts: Time of the announcement.
    """

    def __init__(
        self,
        markets: Sequence[BarMarket],
        lockstep: Lockstep,
        run_id: str,
        watch: Watch,
        result: BacktestResult,
        announce: Callable[[int], None],
        close_ts: int,
    ) -> None:
        super().__init__(result, announce, close_ts)
        self._markets: list[BarMarket] = list(markets)
        self._symbols: list[str] = [each.symbol for each in markets]
        self._performance: Performance = result.performance
        self._numbers: dict[str, int] = {symbol: at for at, symbol in enumerate(self._symbols)}
        self._begun: list[BegunRows] = [BegunRows() for _ in markets]
        # Symbols of which no row has begun.
        self._waiting: set[int] = set(range(len(markets)))
        self._points: list[Opened] = []
        for each in markets:
            each.block_rows = SYMBOL_BLOCK_ROWS
        self.rows: PortfolioRows = PortfolioRows(markets, lockstep, run_id, watch, self, close_ts)

    # --- listener -----------------------------------------------------------------------------

    def is_held(self, number: int) -> bool:
        """Return whether a symbol is part of equity."""
        return self._performance.portfolio.has_lots(self._symbols[number])

    def on_opened(self, ts: int, numbers: list[int]) -> None:
        """Take bars that open at a time and whose ticks are skipped."""
        waiting, count = self._waiting, len(numbers)
        for number in numbers:
            begun = self._begun[number]
            begun.count += 1
            begun.bids = NO_BIDS
        if waiting:
            count -= len(waiting.intersection(numbers))
            waiting.difference_update(numbers)
        if count:
            self._points.append((ts, count, self._performance.equity))

    def on_mid(self, number: int, mid: int) -> None:
        """Take the mid of a symbol whose tick is skipped, in hundred-millionths."""
        self._performance.on_mid(self._symbols[number], mid)
        self._begun[number].bids = NO_BIDS

    def on_tick(self, number: int, shown: Shown, open_ts: int) -> None:
        """Take the tick of a symbol delivered next; `open_ts` is set for its bar's first tick."""
        self.on_time(shown.at)
        self._performance.on_mid(self._symbols[number], (shown.bid + shown.ask) // 2)
        begun = self._begun[number]
        if open_ts:
            begun.count += 1
            begun.bids = []
            if number in self._waiting:
                self._waiting.discard(number)
            else:
                self._points.append((open_ts, 1, self._performance.equity))
        begun.bids.append(shown.bid)

    def on_cut(self, number: int, bids: list[int]) -> None:
        """Take the bids of a skipped bar that came before a STOP."""
        self._begun[number].bids = bids

    # --- for walks of a single symbol: not used here --------------------------------------------

    def on_rows(self, first: int, last: int, block: BarBlock) -> None:
        """Do nothing."""

    def on_row(self, row: int) -> None:
        """Do nothing."""

    def on_shown(self, shown: Shown) -> None:
        """Do nothing."""

    # --- equity and end ----------------------------------------------------------------------

    def settle(self, symbol: str) -> None:
        """Mark a symbol before its fill: the ticks of one that was not held were skipped."""
        rows = self.rows.rows[self._numbers[symbol]]
        self._performance.on_mid(symbol, rows.last_mid())

    def booked(self) -> None:
        """Do nothing: equity is known at each candle's beginning."""

    def end(self) -> None:
        """Store equity and candles in the result."""
        result, rows = self._result, self.rows
        rows.settle()
        result.to_ts = self.to_ts
        points = self._points
        result.equity = EquityList(lambda: _expanded(points))
        for number, market in enumerate(self._markets):
            if market.begin_ts <= result.to_ts:
                result.closes[market.symbol] = market.closes(result.to_ts)
            begun = self._begun[number]
            if begun.count:
                charts = BarCharts(market, self._performance)
                candles = charts.candles(market.first + begun.count, begun.bids)
                result.prices[market.symbol] = candles


def _expanded(points: Sequence[Opened]) -> EquityColumns:
    return EquityColumns(
        [ts for ts, count, _ in points for _ in range(count)],
        [equity for _, count, equity in points for _ in range(count)],
    )


def is_walkable(markets: Sequence[BarMarket]) -> bool:
    """Return whether markets can be walked together: equal bars, as wide as the widest candle.

    Rules and history must come at one time, because they are delivered symbol by symbol.
    """
    first = markets[0]
    wanted = first.length_ms, first.lag_ms, first.opening[0].ts, first.opening[0].ts
    return first.length_ms >= WIDTHS_MS[-1] and all(
        (each.length_ms, each.lag_ms, each.opening[0].ts, each.opening[-1].ts) == wanted
        for each in markets
    )
