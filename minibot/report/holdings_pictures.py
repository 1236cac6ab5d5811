"""Pictures of holdings as SVG files of their own: correlation matrix and pie of sectors.

No script, no font and no style from outside. Coordinates have two decimals, so that equal data give
equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Final

from minibot.report.figures import NONE
from minibot.report.plot import SVG_NAMES
from minibot.report.style import LINES

CELL: Final = 92
MARGIN: Final = 110
TITLE_HEIGHT: Final = 40
PIE_RADIUS: Final = 110
PIE_WIDTH: Final = 640
LEGEND_STEP: Final = 22
INK: Final = "#1b1f24"
PAPER: Final = "#ffffff"
# Red and blue keep apart for the colour-blind; full strength would hide the figure in the cell.
AGAINST, ALONG = (179, 38, 30), (31, 95, 191)
STRENGTH: Final = 0.6
WHITE: Final = 255


def matrix_svg(
    symbols: Sequence[str], values: Mapping[tuple[str, str], Decimal | None], title: str
) -> str:
    """Return the correlation matrix of symbols; a dash marks a missing figure.

    Args:
        symbols: In the order of rows and columns.
        values: Correlation of each ordered pair, from -1 to 1.
        title: Its title.
    """
    size = CELL * len(symbols)
    parts = []
    for row, first in enumerate(symbols):
        y = TITLE_HEIGHT + MARGIN // 2 + CELL * row
        parts.append(_text(MARGIN - 8, y + CELL / 2 + 4, first, "end"))
        for column, second in enumerate(symbols):
            x = MARGIN + CELL * column
            value = values.get((first, second))
            shown = NONE if value is None else f"{round(value, 2) + 0:.2f}"
            parts.append(
                f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{_shade(value)}" '
                f'stroke="{PAPER}"><title>{escape(first)}, {escape(second)}: {shown}</title></rect>'
            )
            parts.append(_text(x + CELL / 2, y + CELL / 2 + 4, shown, "middle"))
    for column, symbol in enumerate(symbols):
        above = TITLE_HEIGHT + MARGIN // 2 - 8
        parts.append(_text(MARGIN + CELL * (column + 0.5), above, symbol, "middle"))
    width = max(MARGIN + size + 16, PIE_WIDTH)
    return _svg(width, TITLE_HEIGHT + MARGIN // 2 + size + 16, title, parts)


def pie_svg(shares: Mapping[str, int], title: str) -> str:
    """Return a pie of amounts by name, with a legend; an amount of 0 is left out.

    Args:
        shares: Amounts, not below zero, in the order in which they are drawn.
        title: Its title.
    """
    named = {name: amount for name, amount in shares.items() if amount > 0}
    whole = sum(named.values())
    centre_x, centre_y = PIE_RADIUS + 20, TITLE_HEIGHT + PIE_RADIUS + 10
    parts = []
    begun = 0
    for number, (name, amount) in enumerate(named.items()):
        colour = LINES[number % len(LINES)][0]
        text = f"{name}: {Decimal(amount) * 100 / whole:.1f} %"
        tip = f"<title>{escape(text)}</title>"
        if amount == whole:
            parts.append(
                f'<circle cx="{centre_x}" cy="{centre_y}" r="{PIE_RADIUS}" fill="{colour}">'
                f"{tip}</circle>"
            )
        else:
            path = _slice(centre_x, centre_y, begun / whole, (begun + amount) / whole)
            parts.append(f'<path d="{path}" fill="{colour}" stroke="{PAPER}">{tip}</path>')
        y = TITLE_HEIGHT + 20 + LEGEND_STEP * number
        x = 2 * PIE_RADIUS + 60
        parts.append(f'<rect x="{x}" y="{y - 11}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(x + 20, y, text, "start"))
        begun += amount
    if not named:
        parts.append(_text(20, TITLE_HEIGHT + 30, "nothing", "start"))
    legend = TITLE_HEIGHT + 40 + LEGEND_STEP * len(named)
    return _svg(PIE_WIDTH, max(2 * PIE_RADIUS + TITLE_HEIGHT + 30, legend), title, parts)


def _slice(x: int, y: int, begin: float, end: float) -> str:
    """Return the path of a slice between two shares of the circle, clockwise from the top."""
    from_x, from_y = _on_circle(x, y, begin)
    to_x, to_y = _on_circle(x, y, end)
    is_large = int(end - begin > 0.5)
    arc = f"A{PIE_RADIUS} {PIE_RADIUS} 0 {is_large} 1 {to_x} {to_y}"
    return f"M{x} {y} L{from_x} {from_y} {arc} Z"


def _on_circle(x: int, y: int, share: float) -> tuple[str, str]:
    angle = 2 * math.pi * share
    return (
        f"{x + PIE_RADIUS * math.sin(angle):.2f}",
        f"{y - PIE_RADIUS * math.cos(angle):.2f}",
    )


def _shade(value: Decimal | None) -> str:
    if value is None:
        return "#eeeeee"
    strength = min(1.0, abs(float(value))) * STRENGTH
    channels = (
        round(WHITE + (channel - WHITE) * strength) for channel in (ALONG if value > 0 else AGAINST)
    )
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="{SVG_NAMES}" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="sans-serif" '
            f'font-size="13" fill="{INK}">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
            f'<text x="16" y="26" font-size="16" font-weight="600">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )
