"""Ring of labelled rows: numbers in one block of memory that is allocated in full at the start.

Rows as objects take twice the memory, and a night of them keeps growing for hours. Readers get a
`Row` made on the spot; a part of the block that is being read is copied only when new rows would
overwrite it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, overload
from weakref import WeakSet

from minibot.ai.vector import FEATURES

# Market time, index of the symbol, label; then the features.
_HEAD: Final = 3
_WIDTH: Final = _HEAD + len(FEATURES)
_UNUSED: Final = -1


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled row: market time, symbol, features in millionths, and the outcome as label."""

    ts: int
    symbol: str
    features: Sequence[int]
    label: int


class RowRing:
    """The newest rows: beyond `rows_max` each new one replaces the oldest.

    Args:
        symbols: All symbols of the rows.
        rows_max: Number of rows that are kept.
    """

    def __init__(self, symbols: Sequence[str], rows_max: int) -> None:
        self._symbols = tuple(symbols)
        self._numbers = {symbol: number for number, symbol in enumerate(self._symbols)}
        self._rows_max = rows_max
        # Written to, not only allocated: pages first touched later would be growth.
        self._cells = array("q", [_UNUSED]) * (rows_max * _WIDTH)
        self._added = 0
        self._views: WeakSet[RowView] = WeakSet()

    def __len__(self) -> int:
        return min(self._added, self._rows_max)

    def add(self, ts: int, symbol: str, features: array[int], label: int) -> None:
        """Add a row; features as `array("q")`, one value for each name."""
        if self._added >= self._rows_max:
            for view in list(self._views):
                view.keep()
            self._views.clear()
        at = self._added % self._rows_max * _WIDTH
        row = array("q", (ts, self._numbers[symbol], label))
        row += features
        if len(row) != _WIDTH:
            raise ValueError(f"{len(features)} features, expected {len(FEATURES)}")
        self._cells[at : at + _WIDTH] = row
        self._added += 1

    def view(self) -> RowView:
        """Return a view of the current rows; rows added later do not change it."""
        rows = len(self)
        view = RowView(self._symbols, self._cells, (self._added - rows) % self._rows_max, rows)
        self._views.add(view)
        return view


class RowView(Sequence[Row]):
    """Rows of a ring at one moment, oldest first; another thread may read them."""

    def __init__(self, symbols: tuple[str, ...], cells: array[int], first: int, rows: int) -> None:
        self._symbols = symbols
        self._rows = rows
        # One attribute, so that a reader in another thread sees both old values or both new ones.
        self._place = (cells, first)

    def keep(self) -> None:
        """Copy the rows, before one of them is overwritten."""
        cells, first = self._place
        end = (first + self._rows) * _WIDTH
        copy = cells[first * _WIDTH : end]
        copy += cells[: max(0, end - len(cells))]
        self._place = (copy, 0)

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._row(number) for number in range(self._rows)[index]]
        return self._row(range(self._rows)[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(self._rows))

    def _row(self, number: int) -> Row:
        while True:
            place = self._place
            cells, first = place
            at = (first + number) * _WIDTH % len(cells)
            ts, symbol, label = cells[at : at + _HEAD]
            row = Row(ts, self._symbols[symbol], cells[at + _HEAD : at + _WIDTH], label)
            # If copied meanwhile, the values read may have been overwritten already.
            if self._place is place:
                return row


class ChosenRows(Sequence[Row]):
    """Selection of rows, by their indices.

    Args:
        rows: Rows to select from; they stay as they are.
        numbers: Indices in the wanted order; a range where they are consecutive.
    """

    def __init__(self, rows: Sequence[Row], numbers: Sequence[int]) -> None:
        self._of = rows
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._of[number] for number in self._numbers[index]]
        return self._of[self._numbers[index]]


def in_order(rows: Sequence[Row]) -> Sequence[int]:
    """Return the row indices in order of market time and symbol; a range if already ordered."""
    before = (0, "")
    for row in rows:
        here = (row.ts, row.symbol)
        if here < before:
            break
        before = here
    else:
        return range(len(rows))
    keys = [(row.ts, row.symbol) for row in rows]
    return array("q", sorted(range(len(rows)), key=keys.__getitem__))
