"""Tables as plain lines: the first column is text, figures stand to the right; no colour, no frame.

A line is no wider than a terminal of a hundred columns: columns of text give way, the widest first.
A sentence goes on below its beginning; a single word, such as a code, is cut and ends in two dots.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

WIDTH: Final = 100
GAP: Final = "  "
TEXT_MIN: Final = 8


def table_lines(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    none: str,
    *,
    texts: Sequence[int] = (0,),
    whole: Sequence[int] = (),
    width: int = WIDTH,
) -> list[str]:
    """Return a table: its head, a rule, the rows; `none` where there is no row.

    Args:
        head: Names of the columns.
        rows: Cells as they are shown.
        none: The sentence that stands instead of an empty table.
        texts: Columns that are text and stand to the left.
        whole: Columns that are never narrowed.
        width: How wide a line may be.
    """
    if not rows:
        return [f"  {none}"]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    _narrow(widths, [at for at in texts if at not in whole], width)
    named, *told = [_lines(row, widths, texts) for row in (head, *rows)]
    return [*named, f"{GAP}{'-' * _wide(widths)}", *(line for row in told for line in row)]


def _wide(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _narrow(widths: list[int], texts: Sequence[int], width: int) -> None:
    """Take from the widest column of text until a line fits or nothing more can be taken."""
    while texts and _wide(widths) + len(GAP) > width:
        widest = max(texts, key=lambda at: widths[at])
        if widths[widest] <= TEXT_MIN:
            return
        widths[widest] -= 1


def _lines(row: Sequence[str], widths: Sequence[int], texts: Sequence[int]) -> list[str]:
    """Return one row: as many lines as its longest sentence takes."""
    parts = [_fitted(cell, size) for cell, size in zip(row, widths, strict=True)]
    return [_line(cells, widths, texts) for cells in zip_longest(*parts, fillvalue="")]


def _fitted(cell: str, size: int) -> list[str]:
    if len(cell) <= size:
        return [cell]
    if " " in cell:
        return textwrap.wrap(cell, size)
    return [cell[: size - 2] + ".."]


def _line(cells: Sequence[str], widths: Sequence[int], texts: Sequence[int]) -> str:
    shown = (
        cell.ljust(size) if at in texts else cell.rjust(size)
        for at, (cell, size) in enumerate(zip(cells, widths, strict=True))
    )
    return f"{GAP}{GAP.join(shown)}".rstrip()
