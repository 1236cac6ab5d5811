"""Bars and beats between ticks in columns: what the market role would have said, where it stands.

The builders are the market role's own. Trades that fall into one bar with nothing in between are
merged in one go; where bars may close, by a trade or by the clock, is found for all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import gcd
from operator import mul
from typing import Final, NamedTuple

import numpy as np

from minibot.backtest.sources import NS_PER_MS, Root
from minibot.backtest.stretches import Item, Stretch
from minibot.backtest.tick_table import Array, TickTable
from minibot.data.ticks import IS_TAKER_SELL, IS_TRADE
from minibot.events.model import Bar, Beat
from minibot.exchanges.embedded.decimals import to_text
from minibot.market.bars import BarBuilder
from minibot.market.intervals import DAY_MS, align
from minibot.market.symbol import FeedConfig

NEVER: Final = 1 << 62


class TradeRun(NamedTuple):
    """Trades in a row of one bar; amounts in hundred-millionths, `quote` in units of 10**-16."""

    exchange_ts: int
    trades: int
    opened: int
    high: int
    low: int
    close: int
    qty: int
    quote: int
    taker_buy: int


class RunBuilder(BarBuilder):
    """The market role's builder of bars, which takes trades of one bar in one go too."""

    def on_run(self, run: TradeRun, recv_mono_ns: int) -> list[Bar]:
        """Take trades in a row as `on_trade` takes each; return the bars that the first closes."""
        start = align(run.exchange_ts, self.interval_ms)
        if start < (self._floor_ts if self.open_ts is None else self.open_ts):
            self.late += run.trades
            return []
        closed = self._roll_to(start, recv_mono_ns)
        if not self._trades:
            self._open = to_text(run.opened)
            self._high_units, self._low_units = run.high, run.low
            self._high, self._low = to_text(run.high), to_text(run.low)
        else:
            if run.high > self._high_units:
                self._high, self._high_units = to_text(run.high), run.high
            if run.low < self._low_units:
                self._low, self._low_units = to_text(run.low), run.low
        self._close = to_text(run.close)
        self._trades += run.trades
        self._volume += run.qty
        self._quote_volume += run.quote
        self._taker_buy += run.taker_buy
        return closed


def with_bars(table: TickTable, settings: FeedConfig, origin: int, skew_ms: int) -> Iterator[Item]:
    """Yield the rows of a table as stretches, with the bars and beats that come between them.

    Args:
        table: The ticks.
        settings: Intervals, grace and beats of the profile.
        origin: When the market begins, Unix ms.
        skew_ms: How far the exchange's clock is ahead.
    """
    symbol, ts = table.symbol, table.ts
    builders = [RunBuilder(symbol, name, settings.grace_ms) for name in settings.intervals]
    runs = _Runs(table, settings, origin, skew_ms, [each.interval_ms for each in builders])
    step_ms = settings.beat_interval_ms
    beat, last, closes = origin + step_ms, origin, NEVER
    given = 0
    for row, run in runs.each():
        at = ts[row]
        found: list[Item] = []
        while (due := min(beat, closes)) <= at:
            for builder in builders:
                found += [Root(bar, due) for bar in builder.on_clock(due + skew_ms)]
            if due == beat:
                last = ts[row - 1] if row else last
                found.append(Root(Beat((due - origin) // step_ms, {symbol: due - last}), due))
                beat += step_ms
            closes = _next_close(builders) - skew_ms
        if run is not None:
            for builder in builders:
                found += [Root(bar, at) for bar in builder.on_run(run, at * NS_PER_MS)]
            closes = _next_close(builders) - skew_ms
        if found:
            if row > given:
                yield Stretch(table, given, row)
                given = row
            yield from found
    if table.rows > given:
        yield Stretch(table, given, table.rows)


def _next_close(builders: Sequence[BarBuilder]) -> int:
    """Return when on the exchange's clock the next bar closes by time."""
    return min((builder.next_close_ts() or NEVER for builder in builders), default=NEVER)


class _Runs:
    """A table cut wherever a bar may close or a beat may come: each piece has trades of one bar."""

    def __init__(
        self,
        table: TickTable,
        settings: FeedConfig,
        origin: int,
        skew_ms: int,
        lengths: Sequence[int],
    ) -> None:
        columns = table.columns
        ts, flags = columns["ts"], columns["flags"]
        self._columns = columns
        self._trade_rows: Array = np.flatnonzero(flags & IS_TRADE)
        cuts = [np.zeros(1, dtype=np.int64)]
        cuts.append(_rows_at(ts, origin + settings.beat_interval_ms, settings.beat_interval_ms))
        if lengths:
            times = columns["exchange_ts"][self._trade_rows]
            # Every bar begins at a multiple of this; weeks begin on Mondays.
            bars = times // gcd(*lengths, DAY_MS)
            cuts.append(self._trade_rows[1:][bars[1:] != bars[:-1]])
            for length in set(lengths):
                ahead = settings.grace_ms - skew_ms
                start = align(min(int(ts[0]), origin), length) + ahead % length
                cuts.append(_rows_at(ts, start, length))
                # A trade told so late that the clock closes its bar with the very next row.
                is_late = times // length * length + length + ahead <= ts[self._trade_rows]
                cuts.append(self._trade_rows[is_late] + 1)
        found: Array = _distinct(np.concatenate(cuts))
        self._cuts: Array = found[found < len(ts)]

    def each(self) -> Iterator[tuple[int, TradeRun | None]]:
        """Yield the first row of each piece, which is a trade if any of its rows is, and these."""
        trades = self._trade_rows
        cuts: Array = _distinct(np.concatenate((self._cuts, self._heads())))
        ends = np.append(cuts[1:], len(self._columns["ts"]))
        lows: Array = np.searchsorted(trades, cuts)
        highs: Array = np.searchsorted(trades, ends)
        has = highs > lows
        price = self._columns["price"][trades]
        tops, bottoms = _extremes(price, lows[has])
        qtys = self._columns["qty"][trades].tolist()
        sells = (self._columns["flags"][trades] & IS_TAKER_SELL) != 0
        bought = np.where(sells, 0, self._columns["qty"][trades]).tolist()
        prices = price.tolist()
        times = self._columns["exchange_ts"][trades]
        # Sums from the beginning; those of products go beyond 64 bits.
        volume = [0, *accumulate(qtys)]
        quote = [0, *accumulate(map(mul, qtys, prices))]
        taken = [0, *accumulate(bought)]
        place = 0
        pieces = zip(cuts.tolist(), lows.tolist(), highs.tolist(), strict=True)
        for row, low, high in pieces:
            if high == low:
                yield row, None
                continue
            yield (
                row,
                TradeRun(
                    int(times[low]),
                    high - low,
                    prices[low],
                    tops[place],
                    bottoms[place],
                    prices[high - 1],
                    volume[high] - volume[low],
                    quote[high] - quote[low],
                    taken[high] - taken[low],
                ),
            )
            place += 1

    def _heads(self) -> Array:
        """Return the first trade behind each cut: bars that it closes stand right before it."""
        places: Array = np.searchsorted(self._trade_rows, self._cuts)
        return self._trade_rows[places[places < len(self._trade_rows)]]


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


def _extremes(values: Array, firsts: Array) -> tuple[list[int], list[int]]:
    """Return the largest and the least of each part; parts follow each other without a hole."""
    if not len(firsts):
        return [], []
    return (
        np.maximum.reduceat(values, firsts).tolist(),
        np.minimum.reduceat(values, firsts).tolist(),
    )
