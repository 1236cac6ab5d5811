"""Tables as plain lines: the first column is text, figures stand to the right; no colour, no frame.

A line is no wider than a terminal of a hundred columns: columns of text give way, the widest first.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Return a table: its head, a rule, one line a row; `none` where there is no row.

    Args:
        head: Names of the columns.
        rows: Cells as they are shown.
        none: The sentence that stands instead of an empty table.
        texts: Columns that are text and stand to the left.
        whole: Columns that are never cut.
        width: How wide a line may be.
    """
    if not rows:
        return [f"  {none}"]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    _narrow(widths, [at for at in texts if at not in whole], width)
    lines = [_line(row, widths, texts) for row in (head, *rows)]
    return [lines[0], f"{GAP}{'-' * _wide(widths)}", *lines[1:]]


def _wide(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _narrow(widths: list[int], texts: Sequence[int], width: int) -> None:
    """Take from the widest column of text until a line fits or nothing more can be taken."""
    while texts and _wide(widths) + len(GAP) > width:
        widest = max(texts, key=lambda at: widths[at])
        if widths[widest] <= TEXT_MIN:
            return
        widths[widest] -= 1


def _line(row: Sequence[str], widths: Sequence[int], texts: Sequence[int]) -> str:
    cells = []
    for at, (cell, size) in enumerate(zip(row, widths, strict=True)):
        shown = cell if len(cell) <= size else cell[: size - 1] + "."
        cells.append(shown.ljust(size) if at in texts else shown.rjust(size))
    return f"{GAP}{GAP.join(cells)}".rstrip()
