"""Pieces of a page, which is one self-contained HTML file.

No script, no font, no picture from outside; every text is escaped here. The reports of nights and
of backtests are made from the same pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from minibot.report.style import STYLE

Cells = Sequence[str]


class Tile(NamedTuple):
    """Tile at the top of a page: a figure's name, the figure, and its tone."""

    name: str
    value: str
    tone: str = ""  # "", "good", "bad"


def document(title: str, parts: Iterable[str]) -> str:
    """Return a whole page made of the parts of its body."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{body}\n</body>\n</html>\n"
    )


def heading(title: str, beside: str, badges: Iterable[tuple[str, str]]) -> str:
    """Return the top of a page: its title, and badges with their tones."""
    shown = " ".join(f'<span class="badge {tone}">{escape(text)}</span>' for text, tone in badges)
    return f"<h1>{escape(title)} <small>{escape(beside)}</small></h1>\n<p>{shown}</p>"


def section(title: str, body: str) -> str:
    """Return a part of a page under its own heading; the body is HTML already."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def subheading(title: str) -> str:
    """Return a heading within a section."""
    return f"<h3>{escape(title)}</h3>"


def folded(title: str, body: str) -> str:
    """Return a part that opens on a click; the body is HTML already."""
    return f"<details>\n<summary>{escape(title)}</summary>\n{body}\n</details>"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def tile_row(tiles: Iterable[Tile]) -> str:
    """Return figures beside each other."""
    shown = "".join(
        f'<div class="tile"><b class="{tile.tone}">{escape(tile.value)}</b>'
        f"<span>{escape(tile.name)}</span></div>"
        for tile in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def table(head: Cells, rows: Sequence[Cells], none: str, kind: str = "") -> str:
    """Return a table; in the kind `figures` all but the first column is right-aligned."""
    if not rows:
        return paragraph(none)
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    named = f' class="{kind}"' if kind else ""
    return f'<div class="wide"><table{named}><tr>{top}</tr>{body}</table></div>'
