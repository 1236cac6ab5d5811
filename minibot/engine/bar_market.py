"""Market of a bar series as rows to walk: their bounds, and the bars that close with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from minibot.accounting.order_rules import OrderRules
from minibot.cores.closed_bar import ClosedBar
from minibot.data.columns import BLOCK_ROWS
from minibot.engine.bar_block import BarBlock, Lanes, Shapes
from minibot.engine.bar_series import BarSeries
from minibot.engine.bar_table import BarTable, columns_of
from minibot.engine.cells import exact_quotient
from minibot.engine.intrabar import Candle, Intrabar, TouchModel
from minibot.engine.market_source import Root
from minibot.events.intervals import WarmupBars, warmup_of
from minibot.exchanges.tapes.kline_bars import INTERVALS


class BarMarket:
    """The bars of one symbol in one backtest.

    Args:
        symbol: The market.
        table: All bars of the symbol.
        intervals: Intervals of the bars that are delivered, the longest first.
        read: The intervals that the strategy or risk uses.
        rules: The rules of the symbol.
        model: Model of the touch.
        span: Beginning and end of the traded part; Unix ms.

    Attributes:
        first, last: The rows that are traded, `last` excluded.
        own: Index of the table's own interval, -1 for none.
        opening: Events before these rows: rules and history.
        block_rows: Most rows of a block.
    """

    def __init__(
        self,
        symbol: str,
        table: BarTable,
        intervals: Sequence[str],
        read: Collection[str],
        rules: OrderRules,
        model: TouchModel,
        span: tuple[int, int],
    ) -> None:
        self.symbol, self.table = symbol, table
        self.interval, self.length_ms = table.interval, table.length_ms
        self.shapes = Shapes(table, rules, model)
        self.lag_ms = self.shapes.lag_ms
        self.lanes = Lanes(table, intervals, read)
        self.own = self.lanes.own
        self.opening: list[Root] = []
        self.block_rows = BLOCK_ROWS
        self._intrabar = Intrabar(symbol, rules, model)
        opened, ends = table.columns["open_ts"], table.columns["end_ts"]
        self.first = int(opened.searchsorted(span[0]))
        self.last = max(self.first, int(ends.searchsorted(span[1], side="right")))

    def history(self, warmup: WarmupBars) -> Iterator[tuple[str, Candle]]:
        """Yield the last bars of each interval before the traded rows, at most `warmup`."""
        if self.first == self.table.rows:
            return
        for lane in self.lanes.all:
            last = int(lane.rows.searchsorted(self.first))
            for place in range(max(0, last - warmup_of(warmup, lane.interval)), last):
                yield lane.interval, lane.candle(place)

    @property
    def begin_ts(self) -> int:
        """Time at which the first bar opens, Unix ms."""
        return int(self.table.columns["open_ts"][self.first])

    def closes(self, until_ts: int) -> tuple[int, int]:
        """Return the closes of the first bar and of the last one that ends by a time."""
        columns = self.table.columns
        last = min(self.last, int(columns["end_ts"].searchsorted(until_ts, side="right")))
        close = columns["close"]
        return int(close[self.first]), int(close[max(self.first, last - 1)])

    def block(self, first: int) -> BarBlock:
        """Return rows from `first` on, prepared for walking."""
        return BarBlock(self.shapes, self.lanes, first, min(self.last, first + self.block_rows))

    def intrabar(self) -> Intrabar:
        """Return the market's only `Intrabar`, which turns one bar at a time into ticks."""
        return self._intrabar

    def is_read(self, lane: int) -> bool:
        """Return whether the strategy or risk uses an interval's bars."""
        return self.lanes.read[lane]

    def bar(self, lane: int, place: int) -> tuple[ClosedBar, int]:
        """Return a bar of one of the intervals in the strategy's form, and its exact close."""
        found = self.lanes.all[lane]
        candle = found.candle(place)
        opened, high, low, close, volume = map(exact_quotient, candle[2:])
        bar = ClosedBar(found.interval, candle.open_ts, opened, high, low, close, volume, True)
        return bar, candle.close


def market_of(
    series: BarSeries,
    intervals: Sequence[str],
    read: Collection[str],
    rules: OrderRules,
    model: TouchModel,
    span: tuple[int, int],
) -> BarMarket | None:
    """Return the market of a series; None if it has to be delivered as events.

    That is so if the bars have no fixed length on its grid (weeks, months), or numbers do not fit.
    """
    if any(not INTERVALS[name] for name in (series.interval, *intervals)):
        return None
    try:
        columns = series.columns() or columns_of(series.candles())
    except OverflowError:
        return None
    table = BarTable(series.interval, columns)
    if not table.is_sound(max(INTERVALS[name] for name in (series.interval, *intervals))):
        return None
    market = BarMarket(series.symbol, table, intervals, read, rules, model, span)
    return market if market.shapes.is_narrow else None
