"""Pieces of a picture over market time: a time axis, panels of values, one inline SVG.

No script and no resource; coordinates have one decimal, so that equal data give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from minibot.report.figures import moment

WIDTH: Final = 960
LEFT: Final = 90
RIGHT: Final = 12
TIME_MARKS: Final = 6
TIME_HEIGHT: Final = 24


class TimeAxis:
    """Horizontal axis of a plot; a time outside its span is drawn at the edge."""

    def __init__(self, from_ts: int, to_ts: int) -> None:
        self.from_ts = from_ts
        self.to_ts = max(to_ts, from_ts + 1)

    def x(self, ts: int) -> float:
        """Return the x coordinate of a time, Unix ms."""
        share = (ts - self.from_ts) / (self.to_ts - self.from_ts)
        return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT), 1)

    def marks(self, y: int) -> list[str]:
        """Return time labels along the bottom."""
        span = self.to_ts - self.from_ts
        parts = []
        for index in range(TIME_MARKS + 1):
            ts = self.from_ts + span * index // TIME_MARKS
            anchor = "start" if index == 0 else "end" if index == TIME_MARKS else "middle"
            place = f'x="{self.x(ts)}" y="{y}" text-anchor="{anchor}"'
            parts.append(f"<text {place}>{moment(ts, span)}</text>")
        return parts


class Panel:
    """One band of the picture from top to bottom, with its range of values."""

    def __init__(self, top: float, height: float, low: float, high: float) -> None:
        self.top = top
        self.height = height
        self.low = low
        self.high = high if high > low else low + 1

    def y(self, value: float) -> float:
        """Return the y coordinate of a value; one outside the range is drawn at the edge."""
        share = (self.high - value) / (self.high - self.low)
        return round(self.top + min(1.0, max(0.0, share)) * self.height, 1)

    def level(self, value: float, label: str) -> list[str]:
        """Return a horizontal line at a value, with its label at the left."""
        y = self.y(value)
        return [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:g}" text-anchor="end">{escape(label)}</text>',
        ]


def line(places: Iterable[tuple[float, float]]) -> str:
    """Return the path through points."""
    return "M" + " L".join(f"{x} {y}" for x, y in places)


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]]) -> str:
    """Return the outline of the area between two lines."""
    return f"{line([*upper, *reversed(lower)])} Z"


def picture(title: str, height: float, parts: Iterable[str]) -> str:
    """Return the whole picture, which scrolls sideways where the page is narrow.

    A screen reader reads its title.
    """
    return "\n".join(
        [
            '<div class="wide">',
            f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" xmlns="http://www.w3.org/2000/svg">',
            f"<title>{escape(title)}</title>",
            *parts,
            "</svg>",
            "</div>",
        ]
    )
