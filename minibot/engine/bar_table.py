"""Table of bars in columns: a whole file as arrays, and longer bars aggregated from it.

A source of bars gives the same market as events, bar by bar, or as rows of this table. `bar_rows`
passes the rows to the cores; a test compares both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Final

import numpy as np

from minibot.data.columns import Columns as Stored
from minibot.engine.intrabar import Candle
from minibot.engine.tick_table import WIDE_MAX
from minibot.events.money import PLACES
from minibot.exchanges.tapes.kline_bars import INTERVALS, open_of

BAR_COLUMNS: Final = Candle._fields

Array = Any  # A one-dimensional array of numpy.
Columns = dict[str, Array]


class Longer:
    """Longer bars of one interval, aggregated from a table's own; only whole ones.

    Args:
        interval: Of the venue, such as `15m`.
        rows: The row of the table with which each of them closes, in rising order.
        gather: Computes `columns` when they are read, as some bars are only counted.
    """

    def __init__(self, interval: str, rows: Array, gather: Callable[[], Columns]) -> None:
        self.interval = interval
        self.rows = rows
        self._gather = gather

    @cached_property
    def columns(self) -> Columns:
        """Columns of the table without `end_ts`."""
        return self._gather()

    def candle(self, place: int) -> Candle:
        """Return one of the bars."""
        start = int(self.columns["open_ts"][place])
        length = INTERVALS[self.interval]
        rest = (int(self.columns[name][place]) for name in BAR_COLUMNS[2:])
        return Candle(start, start + length, *rest)


class BarTable:
    """The bars of one symbol, oldest first, all of one length and on its grid.

    Attributes:
        interval: Of the venue, such as `1m`.
        length_ms: Length of each bar.
        columns: Arrays of equal length by the names of `Candle`; amounts in hundred-millionths.
        rows: Number of bars.
    """

    def __init__(self, interval: str, columns: Columns) -> None:
        """Take the columns."""
        self.interval = interval
        self.length_ms = INTERVALS[interval]
        self.columns = columns
        self.rows = len(columns["open_ts"])

    def is_sound(self, longest_ms: int) -> bool:
        """Return whether the bars have one length on its grid, are in order and can be aggregated.

        Open and close of each must lie between low and high.

        Args:
            longest_ms: The longest interval to which they are aggregated: its sums have to fit.
        """
        opened, length = self.columns["open_ts"], self.length_ms
        if not self.rows or not length:
            return False
        opened_at, high, low, close, volume = (self.columns[name] for name in BAR_COLUMNS[2:])
        return bool(
            (opened % length == 0).all()
            and (opened + length == self.columns["end_ts"]).all()
            and (opened[1:] > opened[:-1]).all()
            and (low <= opened_at).all()
            and (low <= close).all()
            and (opened_at <= high).all()
            and (close <= high).all()
            and int(volume.min()) >= 0
            and self._gathers(volume, longest_ms)
        )

    def _gathers(self, volume: Array, longest_ms: int) -> bool:
        """Return whether the volumes within any span of this length fit one number when summed."""
        if int(volume.max()) * max(1, longest_ms // self.length_ms) <= WIDE_MAX:
            return True
        # A span of that length lies within two neighbouring cells of any such grid.
        group = self.columns["open_ts"] // longest_ms
        heads = np.concatenate(([0], np.flatnonzero(group[1:] != group[:-1]) + 1))
        sums = np.add.reduceat(volume.astype(np.float64), heads)
        return float(sums.max()) <= WIDE_MAX // 4

    def candle(self, row: int) -> Candle:
        """Return one bar."""
        return Candle(*(int(self.columns[name][row]) for name in BAR_COLUMNS))

    def longer(self, interval: str) -> Longer:
        """Return the bars of a longer interval of fixed length, aggregated like those of `bars`.

        If the first bar of the table lies inside a longer one, that one is left out. A longer bar
        that lacks its last bars closes with the next existing bar.
        """
        columns = self.columns
        if interval == self.interval:
            return Longer(interval, np.arange(self.rows), lambda: columns)
        length, opened = INTERVALS[interval], columns["open_ts"]
        shift = open_of(interval, 0)
        group = (opened - shift) // length
        heads = np.concatenate(([0], np.flatnonzero(group[1:] != group[:-1]) + 1))
        begins = group[heads] * length + shift
        lasts = np.append(heads[1:], self.rows) - 1
        is_whole = columns["end_ts"][lasts] == begins + length
        closes = np.where(is_whole, lasts, lasts + 1)
        begun = np.flatnonzero(opened[heads] == begins)
        kept = np.arange(begun[0] if len(begun) else len(heads), len(heads))
        kept = kept[closes[kept] < self.rows]

        def gather() -> Columns:
            found = {
                "open_ts": begins,
                "open": columns["open"][heads],
                "high": np.maximum.reduceat(columns["high"], heads),
                "low": np.minimum.reduceat(columns["low"], heads),
                "close": columns["close"][lasts],
                "volume": np.add.reduceat(columns["volume"], heads),
            }
            return {name: found[name][kept] for name in found}

        return Longer(interval, closes[kept], gather)


def columns_of(candles: Iterable[Candle]) -> Columns:
    """Return bars one by one as columns.

    Raises:
        OverflowError: A number needs more than 64 bits.
    """
    kind = np.dtype([(name, np.int64) for name in BAR_COLUMNS])
    rows = np.fromiter(candles, dtype=kind)
    return {name: np.ascontiguousarray(rows[name]) for name in BAR_COLUMNS}


def stored(columns: Stored, interval: str) -> Columns | None:
    """Return the klines of a column file, mapped and not read; None if they have to be scaled.

    Args:
        columns: The open file.
        interval: Interval of the klines, of fixed length.
    """
    names = BAR_COLUMNS[2:]
    if any(columns.places(name) != PLACES for name in names):
        return None
    found = {
        name: np.frombuffer(columns.column(name), dtype=np.int64) for name in ("open_ts", *names)
    }
    return found | {"end_ts": found["open_ts"] + INTERVALS[interval]}
