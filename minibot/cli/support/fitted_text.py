"""Fitted text: cut or folded to the columns of a terminal, where a letter may take two."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


def folded(text: str, width: int, lines_max: int) -> list[str]:
    """Return a text in a bounded number of lines, divided at spaces; dots replace the rest."""
    lines: list[str] = []
    rest = text
    while rest and len(lines) < lines_max - 1 and cell_len(rest) > width:
        head = set_cell_size(rest, width).rstrip()
        at = head.rfind(" ") if not rest[len(head) : len(head) + 1].isspace() else len(head)
        if at <= 0:
            break
        lines.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    return [*lines, cut(rest, width)]


def cut(text: str, width: int) -> str:
    """Return a text cut to a width; dots replace the rest."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 3)).rstrip() + "..."[:width]
