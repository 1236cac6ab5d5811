"""Logs of trades, kept in columns: some 40 bytes a row, a tenth of what objects would take.

A log is sorted by its key (a trade's id), bounded, and searchable by key and by time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from struct import Struct
from typing import Final

KEPT_ALL_MAX: Final = 1 << 20
"""Rows over all symbols of a venue: 50 MB of trades, 70 MB of aggregates."""

KEPT_MIN: Final = 2000
"""Rows of one symbol: twice what one answer holds."""

VALUE_MAX: Final = 2**63 - 1
"""The largest value that a row holds."""

Row = tuple[int, ...]


def kept_max(symbols: int) -> int:
    """Return how many rows to keep for each of `symbols` symbols."""
    return max(KEPT_MIN, KEPT_ALL_MAX // max(1, symbols))


class StreamLog:
    """Rows of integers: the key first, then the time in ms, then the other values."""

    def __init__(self, width: int, rows_max: int) -> None:
        self._keys = array("q")
        self._times_ms = array("q")
        self._rest = bytearray()  # One call packs a row; a column for each value would take five.
        self._packed = Struct(f"={width - 2}q")
        self._rows_max = rows_max
        # Cutting moves every row, so it has to remove many.
        self._slack = max(1, rows_max // 4)
        self._is_timely = True  # Times never fell, so they can be searched.
        self.is_cut = False  # Older rows have been dropped.

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: int, time_ms: int, *rest: int) -> bool:
        """Insert a row in order; return False if its key is known, or may be of a dropped row."""
        keys, times_ms = self._keys, self._times_ms
        if keys:
            if key <= keys[-1]:
                return self._insert(key, time_ms, rest)
            if time_ms < times_ms[-1]:
                self._is_timely = False
        keys.append(key)
        times_ms.append(time_ms)
        self._rest += self._packed.pack(*rest)
        if len(keys) > self._rows_max + self._slack:
            self._cut()
        return True

    def _insert(self, key: int, time_ms: int, rest: Row) -> bool:
        index = bisect_left(self._keys, key)
        if self._keys[index] == key or (index == 0 and self.is_cut):
            return False
        self._keys.insert(index, key)
        self._times_ms.insert(index, time_ms)
        at = index * self._packed.size
        self._rest[at:at] = self._packed.pack(*rest)
        self._is_timely = False
        return True

    def _cut(self) -> None:
        del self._keys[: self._slack]
        del self._times_ms[: self._slack]
        del self._rest[: self._slack * self._packed.size]
        self.is_cut = True

    def rows(self, start: int, end: int) -> list[Row]:
        """Return the rows of a range of positions."""
        size = self._packed.size
        rest = self._packed.iter_unpack(self._rest[start * size : end * size])
        keys, times_ms = self._keys[start:end], self._times_ms[start:end]
        return [(key, at, *more) for key, at, more in zip(keys, times_ms, rest, strict=True)]

    def newest(self, limit: int) -> list[Row]:
        """Return the newest rows, oldest first."""
        return self.rows(max(0, len(self) - limit), len(self))

    def from_key(self, key: int, limit: int) -> list[Row]:
        """Return rows from a key on, the key included."""
        start = bisect_left(self._keys, key)
        return self.rows(start, start + limit)

    def reaches(self, time_ms: int) -> bool:
        """Return whether every row since this time is still kept."""
        return bool(self._keys) and (not self.is_cut or self._times_ms[0] < time_ms)

    def between(self, start_ms: int | None, end_ms: int | None, limit: int) -> list[Row]:
        """Return rows by the venue's window rule, both bounds included, oldest first.

        With a start, the oldest `limit` rows from there on; without one, the newest up to the end.
        """
        if self._is_timely:
            start = 0 if start_ms is None else bisect_left(self._times_ms, start_ms)
            end = len(self) if end_ms is None else bisect_right(self._times_ms, end_ms)
            if end <= start:
                return []
            if start_ms is None:
                return self.rows(max(start, end - limit), end)
            return self.rows(start, min(end, start + limit))
        chosen = [
            index
            for index, time_ms in enumerate(self._times_ms)
            if (start_ms is None or time_ms >= start_ms) and (end_ms is None or time_ms <= end_ms)
        ]
        chosen = chosen[-limit:] if start_ms is None else chosen[:limit]
        return [self.rows(index, index + 1)[0] for index in chosen]
