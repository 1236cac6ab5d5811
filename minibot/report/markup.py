"""Pieces of a page, which is one self-contained HTML file.

No script, no font, no picture from outside. Texts are escaped here; a body or a part is HTML
already, escaped by its maker. Reports of nights and backtests are made from the same pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import Final, NamedTuple

from minibot.report.style import STYLE

Cells = Sequence[str]

# Of more columns, each row is a card on a phone.
COLUMNS_MAX: Final = 3
# The kind of a table whose rows are cards there in any case.
CARDS: Final = "cards"
# A label with its figure in half the width of a phone, in characters.
HALF: Final = 19
# Longest file name that fits a line of a phone.
WORD_MAX: Final = 40
# Figures next to the first cell of a card, in the colour of their sign.
HEADING: Final = frozenset({"net", "result"})
# A figure, a time, or a code: text that stays on one line.
ONE_LINE: Final = re.compile(r"[-+]?[\d.,:-]+( ?[\w%]{1,4})?|[\d-]+ [\d:]+")
# A figure with its unit, or none: such a column is right-aligned, so that figures can be compared.
FIGURE: Final = re.compile(r"[-+]?[\d,]*\.?\d+( ?(%|bps|ms|s|min|h|d|MB))?|-|")


class Tile(NamedTuple):
    """Tile at the top of a page: a figure's name, the figure, and its tone."""

    name: str
    value: str
    tone: str = ""  # "", "good", "bad"


def tone_of(amount: str | None) -> str:
    """Return the tone of an amount: good above zero, bad below it."""
    value = Decimal(amount or 0)
    return "good" if value > 0 else "bad" if value < 0 else ""


def document(title: str, parts: Iterable[str]) -> str:
    """Return a whole page made of the parts of its body."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n</body>\n</html>\n"
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


def folded(title: str, body: str, kind: str = "") -> str:
    """Return a part that opens on a click; the body is HTML already."""
    named = f' class="{kind}"' if kind else ""
    return f"<details{named}>\n<summary>{escape(title)}</summary>\n{body}\n</details>"


def machine(title: str, parts: Iterable[str]) -> str:
    """Return the folded end of a page: the details of the machine, and the proof."""
    return folded(title, "\n".join(parts), "machine")


def paragraph(text: str, tone: str = "") -> str:
    """Return a paragraph of plain text; the tone is "", good, bad or soft."""
    named = f' class="{tone}"' if tone else ""
    return f"<p{named}>{escape(text)}</p>"


def tile_row(tiles: Iterable[Tile]) -> str:
    """Return figures side by side."""
    shown = "".join(
        f'<div class="tile"><b class="{tile.tone}">{escape(tile.value)}</b>'
        f"<span>{escape(tile.name)}</span></div>"
        for tile in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def table(head: Cells, rows: Sequence[Cells], none: str, kind: str = "") -> str:
    """Return a table; in the kind `figures` all but the first column is right-aligned.

    With many columns, or of the kind `cards`, each row is a card on a phone, headed by its first
    cell.
    """
    if not rows:
        return paragraph(none)
    is_cards = len(head) > COLUMNS_MAX or kind == CARDS
    kinds = [kind] if kind not in ("", CARDS) else []
    is_led = is_cards and not HEADING.isdisjoint(head)
    columns = [
        _column(name, at, rows, is_cards=is_cards, is_led=is_led) for at, name in enumerate(head)
    ]
    top = "".join(
        f"{'<th class=r>' if column.is_figure else '<th>'}{escape(name)}</th>"
        for column, name in zip(columns, head, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(_cell(column, text) for column, text in zip(columns, row, strict=True))
        + "</tr>\n"
        for row in rows
    )
    if is_cards:
        kinds.append(CARDS)
    named = f' class="{" ".join(kinds)}"' if kinds else ""
    return (
        f'<div class="wide"><table{named}><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def hashes(head: Cells, rows: Sequence[Cells]) -> str:
    """Return a table of names and sha256 values, which may break anywhere."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f'<tr><td>{_words_whole(name)}</td><td class="hash">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table class="hashes"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _words_whole(text: str) -> str:
    """Return a text whose words have no line break after a hyphen, unless they are very long."""
    return " ".join(
        f'<span class="n">{escape(word)}</span>'
        if "-" in word and len(word) <= WORD_MAX
        else escape(word)
        for word in text.split(" ")
    )


class _Column(NamedTuple):
    """Column of a table: the classes and the attributes of its cells, and whether they are toned.

    On one line stand figures, times and codes (`n`); figures stand at the right (`r`); `w` takes
    the whole width of a card.
    """

    kinds: str
    label: str
    is_toned: bool
    is_figure: bool


def _column(name: str, at: int, rows: Sequence[Cells], *, is_cards: bool, is_led: bool) -> _Column:
    texts = [row[at] for row in rows]
    kinds = ["n"] if all(ONE_LINE.fullmatch(text) or " " not in text for text in texts) else []
    is_figure = bool(at) and any(texts) and all(FIGURE.fullmatch(text) for text in texts)
    kinds += ["r"] if is_figure else []
    if is_cards and name in HEADING:
        kinds.append("net")
    elif not at and is_led:
        kinds.append("led")
    elif is_cards and at and len(name) + max(map(len, texts)) > HALF:
        kinds.append("w")
    is_labelled = bool(at) or all(text.isdigit() for text in texts)
    label = f' data-l="{escape(name)}"' if name and is_cards and is_labelled else ""
    return _Column(" ".join(kinds), label, name in HEADING, is_figure)


def _cell(column: _Column, text: str) -> str:
    tone = {"+": "good", "-": "bad"}.get(text[:1], "") if column.is_toned and text[1:] else ""
    kinds = f"{column.kinds} {tone}".strip()
    named = f' class="{kinds}"' if kinds else ""
    return f"<td{named}{column.label}>{escape(text)}</td>"
