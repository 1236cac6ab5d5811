"""Bars and beats between ticks in columns: what the market role would have said, where it stands.

The builders are the market role's own. Trades that fall into one bar with nothing in between are
merged in one go; where bars may close, by a trade or by the clock, is found for all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import gcd
from operator import mul
from typing import Final

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
# So many trades are lists at a time.
LOADED: Final = 1 << 18


class Trades:
    """The trades among ticks in columns; amounts in hundred-millionths, oldest first.

    Some of them at a time are lists with sums, so that memory does not grow with the file.

    Attributes:
        rows: In which row of the table each stands.
        times: The exchange's times, Unix ms.
        first, last: The trades that are loaded, `last` excluded.
        prices: Of these.
        volume, quote, taken: Sums over what is loaded before a trade: base, quote in units of
            10**-16, and base that takers bought. Those of products go beyond 64 bits.
    """

    def __init__(self, table: TickTable) -> None:
        """Find them; nothing is loaded."""
        columns = table.columns
        self._columns = columns
        self.rows: Array = np.flatnonzero(columns["flags"] & IS_TRADE)
        self.times: Array = columns["exchange_ts"][self.rows]
        self.first = self.last = 0
        self.prices: list[int] = []
        self.volume, self.quote, self.taken = [0], [0], [0]

    def load(self, first: int, last: int) -> None:
        """Load trades `first` to `last` (excluded) and some more behind them."""
        rows = self.rows[first : max(last, first + LOADED)]
        qty = self._columns["qty"][rows]
        is_sell = (self._columns["flags"][rows] & IS_TAKER_SELL) != 0
        qtys = qty.tolist()
        self.first, self.last = first, first + len(rows)
        self.prices = self._columns["price"][rows].tolist()
        self.volume = [0, *accumulate(qtys)]
        self.quote = [0, *accumulate(map(mul, qtys, self.prices))]
        self.taken = [0, *accumulate(np.where(is_sell, 0, qty).tolist())]


class RunBuilder(BarBuilder):
    """The market role's builder of bars over trades in columns: a bar's are merged as it closes."""

    def __init__(self, symbol: str, interval: str, grace_ms: int, trades: Trades) -> None:
        """Start before the first trade."""
        super().__init__(symbol, interval, grace_ms)
        self._all = trades
        self._from = self._to = 0  # Trades of the open bar that are not merged yet.

    def on_run(self, first: int, last: int, exchange_ts: int, recv_mono_ns: int) -> list[Bar]:
        """Take trades `first` to `last` (excluded), all of one bar, as `on_trade` takes each."""
        start, open_ts = align(exchange_ts, self.interval_ms), self.open_ts
        if start == open_ts:
            self._to = last
            return []
        self.settle()
        self._from = self._to = last
        if start < (self._floor_ts if open_ts is None else open_ts):
            self.late += last - first
            return []
        closed = self._roll_to(start, recv_mono_ns)
        self._from = first
        return closed

    def on_clock(self, exchange_ts: int) -> list[Bar]:
        """Return the bars that the exchange's clock closes, oldest first."""
        if self.open_ts is None or exchange_ts < self.open_ts + self.interval_ms + self.grace_ms:
            return []
        self.settle()
        return super().on_clock(exchange_ts)

    def settle(self) -> None:
        """Merge the trades that wait."""
        trades = self._all
        first, last = self._from - trades.first, self._to - trades.first
        self._from = self._to
        if first == last:
            return
        prices = trades.prices[first:last]
        high, low = max(prices), min(prices)
        if not self._trades:
            self._open = to_text(prices[0])
            self._high_units, self._high = high, to_text(high)
            self._low_units, self._low = low, to_text(low)
        if high > self._high_units:
            self._high_units, self._high = high, to_text(high)
        if low < self._low_units:
            self._low_units, self._low = low, to_text(low)
        self._close = to_text(prices[-1])
        self._trades += last - first
        self._volume += trades.volume[last] - trades.volume[first]
        self._quote_volume += trades.quote[last] - trades.quote[first]
        self._taker_buy += trades.taken[last] - trades.taken[first]


def with_bars(table: TickTable, settings: FeedConfig, origin: int, skew_ms: int) -> Iterator[Item]:
    """Yield the rows of a table as stretches, with the bars and beats that come between them.

    Args:
        table: The ticks.
        settings: Intervals, grace and beats of the profile.
        origin: When the market begins, Unix ms.
        skew_ms: How far the exchange's clock is ahead.
    """
    symbol, ts, trades = table.symbol, table.ts, Trades(table)
    builders = [RunBuilder(symbol, name, settings.grace_ms, trades) for name in settings.intervals]
    lengths = [each.interval_ms for each in builders]
    step_ms = settings.beat_interval_ms
    beat, last, closes = origin + step_ms, origin, NEVER
    given = 0
    for row, first, end in _pieces(table, trades, settings, origin, skew_ms, lengths):
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
        if end > first:
            if end > trades.last:
                for builder in builders:
                    builder.settle()
                trades.load(first, end)
            exchange_ts = int(trades.times[first])
            for builder in builders:
                bars = builder.on_run(first, end, exchange_ts, at * NS_PER_MS)
                found += [Root(bar, at) for bar in bars]
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


def _pieces(
    table: TickTable,
    trades: Trades,
    settings: FeedConfig,
    origin: int,
    skew_ms: int,
    lengths: Sequence[int],
) -> Iterator[tuple[int, int, int]]:
    """Return a table cut wherever a bar may close or a beat may come: all trades are of one bar.

    Returns:
        First row, first trade and the one behind the last; the row is a trade if any of it is.
    """
    columns = table.columns
    ts, rows, times = columns["ts"], trades.rows, trades.times
    cuts = [np.zeros(1, dtype=np.int64)]
    cuts.append(_rows_at(ts, origin + settings.beat_interval_ms, settings.beat_interval_ms))
    if lengths:
        # Every bar begins at a multiple of this; weeks begin on Mondays.
        bars = times // gcd(*lengths, DAY_MS)
        cuts.append(rows[1:][bars[1:] != bars[:-1]])
        for length in set(lengths):
            ahead = settings.grace_ms - skew_ms
            start = align(min(int(ts[0]), origin), length) + ahead % length
            cuts.append(_rows_at(ts, start, length))
            # A trade told so late that the clock closes its bar with the very next row.
            is_late = times // length * length + length + ahead <= ts[rows]
            cuts.append(rows[is_late] + 1)
    found: Array = _distinct(np.concatenate(cuts))
    found = found[found < len(ts)]
    # And at the first trade behind each: bars that it closes stand right before it.
    places: Array = np.searchsorted(rows, found)
    found = _distinct(np.concatenate((found, rows[places[places < len(rows)]])))
    firsts: Array = np.searchsorted(rows, found)
    lasts = np.append(firsts[1:], len(rows))
    return zip(found.tolist(), firsts.tolist(), lasts.tolist(), strict=True)


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
