"""Table of bars in columns: a whole file as arrays, and longer bars aggregated from it.

What a source of bars says as events, bar by bar, it says as rows of this table too. Rows are handed
to the cores by `bar_rows`; both ways are one market, which a test holds against each other.
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
        rows: With which row of the table each of them closes, in rising order.
        gather: Gives `columns`, when somebody reads them: some bars are only counted.
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
        """Return one of them."""
        start = int(self.columns["open_ts"][place])
        length = INTERVALS[self.interval]
        rest = (int(self.columns[name][place]) for name in BAR_COLUMNS[2:])
        return Candle(start, start + length, *rest)


class BarTable:
    """The bars of one symbol, oldest first, all of one length and on its grid.

    Attributes:
        interval: Of the venue, such as `1m`.
        length_ms: How long each is.
        columns: By the names of `Candle`, arrays of one length; amounts in hundred-millionths.
        rows: How many.
    """

    def __init__(self, interval: str, columns: Columns) -> None:
        """Take the columns."""
        self.interval = interval
        self.length_ms = INTERVALS[interval]
        self.columns = columns
        self.rows = len(columns["open_ts"])

    def is_sound(self, longest_ms: int) -> bool:
        """Return whether they are bars of one length on its grid, in order, that can be gathered.

        Of each, low and high hold what lies between them.

        Args:
            longest_ms: The longest interval that they are gathered to: its sums have to fit.
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
        """Return whether the volumes of any bars as long as this fit one number together."""
        if int(volume.max()) * max(1, longest_ms // self.length_ms) <= WIDE_MAX:
            return True
        # Bars of that length lie within two neighbours of any grid of it.
        group = self.columns["open_ts"] // longest_ms
        heads = np.concatenate(([0], np.flatnonzero(group[1:] != group[:-1]) + 1))
        sums = np.add.reduceat(volume.astype(np.float64), heads)
        return float(sums.max()) <= WIDE_MAX // 4

    def candle(self, row: int) -> Candle:
        """Return one bar."""
        return Candle(*(int(self.columns[name][row]) for name in BAR_COLUMNS))

    def longer(self, interval: str) -> Longer:
        """Return the bars of an interval that has a fixed length, as `bars` gathers them.

        The first bar of the table may lie in the middle of a longer one, which is then left out. A
        longer one that lacks its last bars closes with the next bar that there is.
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
    """Return klines of a file of columns, mapped and not read; None where they have to be scaled.

    Args:
        columns: Open, of klines.
        interval: Theirs, of a fixed length.
    """
    names = BAR_COLUMNS[2:]
    if any(columns.places(name) != PLACES for name in names):
        return None
    found = {
        name: np.frombuffer(columns.column(name), dtype=np.int64) for name in ("open_ts", *names)
    }
    return found | {"end_ts": found["open_ts"] + INTERVALS[interval]}
