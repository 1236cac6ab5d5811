"""Recent rows of each symbol, for a worker that is started in the middle of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from minibot.ai.rows import BAR, Row

# The slowest indicator needs 31 bars; four times that lets smoothed ones settle.
BARS_KEPT: Final = 128


class Recent:
    """Bars of each symbol and interval, and the newest touch and book of each symbol.

    Args:
        symbols: Rows of any other symbol are not kept; no worker uses them.
        intervals: Bars of any other interval are not kept either.
    """

    def __init__(self, symbols: Iterable[str], intervals: Iterable[str]) -> None:
        self._symbols = frozenset(symbols)
        self._intervals = frozenset(intervals)
        self._bars: dict[tuple[str, str], deque[Row]] = {}
        self._newest: dict[tuple[str, str], Row] = {}

    def take(self, row: Row) -> bool:
        """Remember one row; return False if no worker uses it."""
        if row[1] not in self._symbols:
            return False
        if row[0] == BAR:
            if row[2] not in self._intervals:
                return False
            key = (row[1], row[2])
            self._bars.setdefault(key, deque(maxlen=BARS_KEPT)).append(row)
        else:
            self._newest[(row[0], row[1])] = row
        return True

    def rows(self) -> list[Row]:
        """Return the remembered rows, bars first."""
        bars = [row for kept in self._bars.values() for row in kept]
        return [*bars, *self._newest.values()]
