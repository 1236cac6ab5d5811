"""Tables as plain lines: the first column is text, figures are right-aligned; no colour, no frame.

A line is no wider than the terminal, or than a hundred columns in a pipe or a file. A table that is
too wide gives way in one of two forms. Where some columns may go below their row, these go; if that
is not enough, all but the first go. Else headings and sentences wrap, codes after an underscore,
columns move closer together, and those that still do not fit follow as a second table. Nothing is
cut, and no figure is ever split.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

WIDTH: Final = 100
GAP: Final = "  "
GAP_LEAST: Final = " "
# A blank at which `textwrap` does not wrap.
KEPT_BLANK: Final = "\N{NO-BREAK SPACE}"
TEXT_MIN: Final = 8
# A code may wrap after an underscore.
PIECES: Final = re.compile(r"[^_]*_|[^_]+")


def width_now() -> int:
    """Return the width of a line: the terminal's, or `WIDTH` without one."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH


def table_lines(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    none: str,
    *,
    texts: Sequence[int] = (0,),
    whole: Sequence[int] = (),
    below: Sequence[int] = (),
    width: int | None = None,
) -> list[str]:
    """Return a table: its head, a rule, the rows; `none` where there is no row.

    Args:
        head: Names of the columns.
        rows: Cells as they are shown.
        none: The sentence shown in place of an empty table.
        texts: Indexes of text columns, which are left-aligned.
        whole: Indexes of columns that are never narrowed.
        below: Indexes of columns that may go below their row where the table is too wide.
        width: Width of a line; `width_now` by default.
    """
    if not rows:
        return [f"  {none}"]
    width = width_now() if width is None else width
    narrow = [at for at in texts if at not in whole]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    least = [_least(head, rows, at, is_text=at in narrow) for at in range(len(head))]
    beside = [widths[at] if at in below else size for at, size in enumerate(least)]
    if below and _wide(beside) + len(GAP) > width:
        kept = [at for at in range(len(head)) if at not in below]
        # There no text is narrowed: a row stays one line.
        if _wide([widths[at] if at in texts else least[at] for at in kept]) + len(GAP) > width:
            below = range(1, len(head))
        return _with_below(head, rows, texts, whole, below, width)
    gap = GAP
    if _wide(least) + len(GAP) > width:
        gap = GAP_LEAST
        fitting = _fitting(least, width)
        if _wide(least, gap) + len(GAP) > width and 1 < fitting < len(head):
            parts = (range(fitting), (0, *range(fitting, len(head))))
            first, rest = (_part(head, rows, texts, whole, part, width) for part in parts)
            return [*first, "", *rest]
    _narrow(widths, least, [at for at in range(len(head)) if at not in texts], width, gap)
    _narrow(widths, least, narrow, width, gap)
    named, *cells = [_lines(row, widths, texts, gap) for row in (head, *rows)]
    return [*named, f"{GAP}{'-' * _wide(widths, gap)}", *(line for row in cells for line in row)]


def filled(text: str, width: int, first: str = "", after: str = "") -> list[str]:
    """Return a text in lines of at most a width; no word is split, no figure leaves its `%`.

    Args:
        text: The text; blanks at its beginning indent the first line.
        width: Width of a line.
        first: Indent of the first line, or a label there.
        after: Indent of the others.
    """
    lines = textwrap.wrap(
        text.replace(" %", f"{KEPT_BLANK}%"),
        width,
        initial_indent=first,
        subsequent_indent=after,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return [line.replace(KEPT_BLANK, " ") for line in lines]


def _wide(widths: Sequence[int], gap: str = GAP) -> int:
    return sum(widths) + len(gap) * (len(widths) - 1)


def _least(head: Sequence[str], rows: Sequence[Sequence[str]], at: int, *, is_text: bool) -> int:
    """Return a column's least width: figures are not wrapped, headings and texts are."""
    words = max(map(len, head[at].split()), default=0)
    if not is_text:
        return max(words, *(len(row[at]) for row in rows))
    pieces = [len(piece) for row in rows for piece in _pieces(row[at])]
    longest = max(len(row[at]) for row in (head, *rows))
    return min(longest, max(TEXT_MIN, words, *pieces))


def _pieces(cell: str) -> list[str]:
    return [piece for word in cell.split() for piece in PIECES.findall(word)] or [""]


def _fitting(least: Sequence[int], width: int) -> int:
    """Return how many of the first columns fit in a line."""
    return max((n for n in range(1, len(least)) if _wide(least[:n]) + len(GAP) <= width), default=0)


def _part(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    texts: Sequence[int],
    whole: Sequence[int],
    part: Sequence[int],
    width: int,
) -> list[str]:
    """Return the table of some columns."""
    return table_lines(
        [head[at] for at in part],
        [[row[at] for at in part] for row in rows],
        "",
        texts=[n for n, at in enumerate(part) if at in texts],
        whole=[n for n, at in enumerate(part) if at in whole],
        width=width,
    )


def _with_below(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    texts: Sequence[int],
    whole: Sequence[int],
    below: Sequence[int],
    width: int,
) -> list[str]:
    """Return the table with some columns below each row, labelled there."""
    part = [at for at in range(len(head)) if at not in below]
    # Rows made one at a time would differ in width: cells take the widths of all rows together.
    table = _part(head, rows, texts, (*whole, *texts), part, width)
    first = len(table) - len(rows)
    lines = list(table[:first])
    for n, row in enumerate(rows):
        lines.append(table[first + n])
        named = ", ".join(f"{head[at]} {row[at]}".strip() for at in below if row[at])
        lines += filled(named, width, GAP * 2, GAP * 2)
    return lines


def _narrow(
    widths: list[int], least: Sequence[int], those: Sequence[int], width: int, gap: str
) -> None:
    """Narrow the widest of `those` columns until a line fits or none can be narrowed."""
    while _wide(widths, gap) + len(GAP) > width:
        giving = [at for at in those if widths[at] > least[at]]
        if not giving:
            return
        widths[max(giving, key=lambda at: widths[at])] -= 1


def _lines(row: Sequence[str], widths: Sequence[int], texts: Sequence[int], gap: str) -> list[str]:
    """Return one row, in as many lines as its longest cell takes."""
    parts = [_fitted(cell, size) for cell, size in zip(row, widths, strict=True)]
    return [_line(cells, widths, texts, gap) for cells in zip_longest(*parts, fillvalue="")]


def _fitted(cell: str, size: int) -> list[str]:
    """Return a cell wrapped to a size: between words, and in a code after underscores."""
    if len(cell) <= size:
        return [cell]
    found = [""]
    for word in cell.split():
        gap = " " if found[-1] else ""
        for piece in [word] if len(word) <= size else PIECES.findall(word):
            if len(found[-1]) + len(gap) + len(piece) > size and found[-1]:
                found.append(piece)
            else:
                found[-1] += gap + piece
            gap = ""
    return found


def _line(cells: Sequence[str], widths: Sequence[int], texts: Sequence[int], gap: str) -> str:
    shown = (
        cell.ljust(size) if at in texts else cell.rjust(size)
        for at, (cell, size) in enumerate(zip(cells, widths, strict=True))
    )
    return f"{GAP}{gap.join(shown)}".rstrip()
