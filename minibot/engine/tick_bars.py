"""Bars and beats between ticks in columns, placed as the market role would have written them.

The builders are those of the market role. Consecutive trades of one bar form a run, merged in one
go; the rows where a bar may close, by a trade or by the clock, are found for all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from math import gcd
from typing import Final

import numpy as np

from minibot.data.ticks import IS_TAKER_SELL, IS_TRADE
from minibot.engine.market_source import Root
from minibot.engine.row_span import Item, RowSpan
from minibot.engine.tick_table import Array, TickTable
from minibot.events.intervals import INTERVAL_MS, align
from minibot.events.model import Bar, Beat
from minibot.events.unit_sizes import DAY_MS, NEVER, NS_PER_MS
from minibot.exchanges.tapes.decimals import to_text
from minibot.market.bars import BarBuilder, next_close
from minibot.market.symbol import FeedConfig

ONE: Final = np.ones((), dtype=np.int64)
# Number of trades processed together.
LOADED: Final = 1 << 18
WRAP: Final = 1 << 64
# With up to this many terms a sum of floats is off by less than a quarter of 2**64.
NEAR_MAX: Final = 2.0**90


class Runs:
    """The trades among ticks in columns, cut into runs; amounts in hundred-millionths.

    The trades of a run belong to one bar of every interval. Prices and sums are loaded for some of
    the runs at a time, so that memory does not grow with the file.

    Attributes:
        times: The exchange's time of each run's first trade, Unix ms.
        bounds: Index of each run's first trade, then the number of trades.
        first, last: The runs that are loaded, `last` excluded.
        opens, highs, lows, closes: Prices of the loaded runs.
        volume, quote, taken: Sums over the loaded runs before each run: base, quote in units of
            10**-16, and base that takers bought.
    """

    def __init__(self, table: TickTable, rows: Array, heads: Array) -> None:
        """Cut the trades; nothing is loaded.

        Args:
            table: The ticks.
            rows: The row of each trade.
            heads: The first trade of each run.
        """
        self._columns = table.columns
        self._rows = rows
        self._bounds: Array = np.append(heads, len(rows))
        self.bounds: list[int] = self._bounds.tolist()
        self.times: list[int] = table.columns["exchange_ts"][rows[heads]].tolist()
        self.first = self.last = 0
        self.opens: list[int] = []
        self.highs: list[int] = []
        self.lows: list[int] = []
        self.closes: list[int] = []
        self.volume, self.quote, self.taken = [0], [0], [0]

    def load(self, first: int) -> None:
        """Load run `first` and the runs after it that are processed together."""
        bounds = self._bounds
        fitting = int(np.searchsorted(bounds, bounds[first] + LOADED, side="right")) - 1
        self.first, self.last = first, max(first + 1, fitting)
        begin, end = bounds[first], bounds[self.last]
        rows, heads = self._rows[begin:end], bounds[first : self.last] - begin
        price, qty = self._columns["price"][rows], self._columns["qty"][rows]
        is_sell = (self._columns["flags"][rows] & IS_TAKER_SELL) != 0
        self.opens = price[heads].tolist()
        self.highs = np.maximum.reduceat(price, heads).tolist()
        self.lows = np.minimum.reduceat(price, heads).tolist()
        self.closes = price[bounds[first + 1 : self.last + 1] - begin - 1].tolist()
        self.volume = [0, *accumulate(sums_of_products(qty, ONE, heads))]
        self.quote = [0, *accumulate(sums_of_products(qty, price, heads))]
        self.taken = [0, *accumulate(sums_of_products(np.where(is_sell, 0, qty), ONE, heads))]


class RunBuilder(BarBuilder):
    """The market role's builder of bars over runs of trades, which are merged when a bar closes."""

    def __init__(self, symbol: str, interval: str, grace_ms: int, runs: Runs) -> None:
        """Start before the first trade."""
        super().__init__(symbol, interval, grace_ms)
        self._all = runs
        self._from = self._to = 0  # Runs of the open bar that are not merged yet.

    def on_run(self, run: int, recv_mono_ns: int) -> list[Bar] | None:
        """Take the trades of a run like `on_trade` for each; None if its bar is already open."""
        exchange_ts, open_ts = self._all.times[run], self.open_ts
        if open_ts is not None and open_ts <= exchange_ts < open_ts + self.interval_ms:
            self._to = run + 1
            return None
        self.settle()
        self._from = self._to = run + 1
        start = align(exchange_ts, self.interval_ms)
        if start < (self._floor_ts if open_ts is None else open_ts):
            self.late += self._all.bounds[run + 1] - self._all.bounds[run]
            return []
        closed = self._roll_to(start, recv_mono_ns)
        self._from = run
        return closed

    def on_clock(self, exchange_ts: int) -> list[Bar]:
        """Return the bars closed by the exchange's clock, oldest first."""
        if self.open_ts is None or exchange_ts < self.open_ts + self.interval_ms + self.grace_ms:
            return []
        self.settle()
        return super().on_clock(exchange_ts)

    def settle(self) -> None:
        """Merge the runs that wait."""
        runs = self._all
        first, last = self._from - runs.first, self._to - runs.first
        self._from = self._to
        if first == last:
            return
        high, low = max(runs.highs[first:last]), min(runs.lows[first:last])
        if not self._trades:
            self._open = to_text(runs.opens[first])
        if not self._trades or high > self._high_units:
            self._high_units, self._high = high, to_text(high)
        if not self._trades or low < self._low_units:
            self._low_units, self._low = low, to_text(low)
        self._close = to_text(runs.closes[last - 1])
        self._trades += runs.bounds[last + runs.first] - runs.bounds[first + runs.first]
        self._volume += runs.volume[last] - runs.volume[first]
        self._quote_volume += runs.quote[last] - runs.quote[first]
        self._taker_buy += runs.taken[last] - runs.taken[first]


def with_bars(table: TickTable, settings: FeedConfig, origin: int, skew_ms: int) -> Iterator[Item]:
    """Yield the rows of a table as row spans, with the bars and beats between them.

    Args:
        table: The ticks.
        settings: Intervals, grace period and beats of the profile.
        origin: When the market begins, Unix ms.
        skew_ms: Time by which the exchange's clock is ahead.
    """
    symbol, ts = table.symbol, table.ts
    runs, pieces = _pieces(table, settings, origin, skew_ms)
    builders = [RunBuilder(symbol, name, settings.grace_ms, runs) for name in settings.intervals]
    step_ms = settings.beat_interval_ms
    beat, last, closes = origin + step_ms, origin, NEVER
    given = 0
    for row, run in pieces:
        at = ts[row]
        found: list[Item] = []
        while beat <= at or closes <= at:
            due = min(beat, closes)
            if due == closes:
                for builder in builders:
                    found += [Root(bar, due) for bar in builder.on_clock(due + skew_ms)]
                closes = next_close(builders) - skew_ms
            if due == beat:
                last = ts[row - 1] if row else last
                found.append(Root(Beat((due - origin) // step_ms, {symbol: due - last}), due))
                beat += step_ms
        if run is not None:
            if run >= runs.last:
                for builder in builders:
                    builder.settle()
                runs.load(run)
            has_rolled = False
            for builder in builders:
                bars = builder.on_run(run, at * NS_PER_MS)
                if bars is not None:
                    has_rolled = True
                    found += [Root(bar, at) for bar in bars]
            if has_rolled:
                closes = next_close(builders) - skew_ms
        if found:
            if row > given:
                yield RowSpan(table, given, row)
                given = row
            yield from found
    if table.rows > given:
        yield RowSpan(table, given, table.rows)


def _pieces(
    table: TickTable, settings: FeedConfig, origin: int, skew_ms: int
) -> tuple[Runs, Iterator[tuple[int, int | None]]]:
    """Return a table cut wherever a bar may close or a beat may come, so that no bar is split.

    Returns:
        The trades, and for each piece its first row and its run of trades, if any; then the row is
        a trade.
    """
    rows: Array = np.flatnonzero(table.columns["flags"] & IS_TRADE)
    found = _cuts(table, rows, settings, origin, skew_ms)
    # Also at the first trade after each: the bars that it closes come right before it.
    places: Array = np.searchsorted(rows, found)
    found = _distinct(np.concatenate((found, rows[places[places < len(rows)]])))
    firsts: Array = np.searchsorted(rows, found)
    has_trades = np.append(firsts[1:], len(rows)) > firsts
    numbers = np.cumsum(has_trades) - 1
    runs = [
        number if has else None
        for number, has in zip(numbers.tolist(), has_trades.tolist(), strict=True)
    ]
    return Runs(table, rows, firsts[has_trades]), zip(found.tolist(), runs, strict=True)


def _cuts(table: TickTable, rows: Array, settings: FeedConfig, origin: int, skew_ms: int) -> Array:
    """Return the rows before which a beat comes or a bar may close, in order, each once."""
    ts, times = table.columns["ts"], table.columns["exchange_ts"][rows]
    cuts = [np.zeros(1, dtype=np.int64)]
    cuts.append(_rows_at(ts, origin + settings.beat_interval_ms, settings.beat_interval_ms))
    lengths = {INTERVAL_MS[name] for name in settings.intervals}
    if lengths:
        # Every bar begins at a multiple of this; weeks begin on Mondays.
        bars = times // gcd(*lengths, DAY_MS)
        cuts.append(rows[1:][bars[1:] != bars[:-1]])
        for length in lengths:
            ahead = settings.grace_ms - skew_ms
            start = align(min(int(ts[0]), origin), length) + ahead % length
            cuts.append(_rows_at(ts, start, length))
            # A trade so late that the clock closes its bar with the very next row.
            is_late = times // length * length + length + ahead <= ts[rows]
            cuts.append(rows[is_late] + 1)
    found: Array = _distinct(np.concatenate(cuts))
    return found[found < len(ts)]


def sums_of_products(first: Array, second: Array, heads: Array) -> list[int]:
    """Return the exact sums of products of whole numbers, each from one head to the next.

    A sum may exceed 64 bits. Numpy's whole numbers wrap around there, and the same sum in floats is
    near enough to show how often.

    Args:
        first: Factors, int64, none negative.
        second: As many, or one for all; none negative.
        heads: Where a sum begins, in order.
    """
    near = np.add.reduceat(first.astype(np.float64) * second, heads)
    if near.max(initial=0.0) > NEAR_MAX:
        exact = first.astype(object) * second
        return [int(each) for each in np.add.reduceat(exact, heads)]
    wrapped = np.add.reduceat(first * second, heads)
    return [
        part + round((float(about) - part) / WRAP) * WRAP
        for part, about in zip(wrapped.tolist(), near.tolist(), strict=True)
    ]


def _rows_at(ts: Array, start: int, step: int) -> Array:
    """Return the first row at or behind each of the moments `start`, `start + step` and so on."""
    moments = np.arange(start, int(ts[-1]) + 1, step, dtype=np.int64)
    rows: Array = np.searchsorted(ts, moments)
    return rows[rows < len(ts)]


def _distinct(rows: Array) -> Array:
    """Return rows in order, each once; `np.unique` would load all of masked arrays for it."""
    found: Array = np.sort(rows)
    is_new = np.ones(len(found), dtype=bool)
    np.not_equal(found[1:], found[:-1], out=is_new[1:])
    return found[is_new]
