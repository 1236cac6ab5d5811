"""Pieces of a picture over market time: a time axis, panels of values, inline SVG.

A picture is drawn twice: wide, and for a window as narrow as a phone, where its labels stand inside
and keep their size. The style sheet shows the one that fits. No script and no resource; coordinates
have one decimal, so that equal data give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

from minibot.report.figures import moment

SVG_NAMES: Final = "http://www.w3.org/2000/svg"
"""Name space of SVG."""
TOP: Final = 16
GAP: Final = 24
TIME_HEIGHT: Final = 24


class Canvas(NamedTuple):
    """Canvas of a picture: its width and margins in units, and its number of time labels less one.

    On a narrow canvas a unit is about a pixel of a phone, and labels stand inside the picture.
    """

    name: str
    width: int
    left: int
    right: int
    time_marks: int
    points: int

    @property
    def is_narrow(self) -> bool:
        """True for the canvas of a phone."""
        return not self.left


WIDE: Final = Canvas("plot-wide", width=960, left=90, right=12, time_marks=6, points=480)
NARROW: Final = Canvas("plot-narrow", width=360, left=0, right=0, time_marks=3, points=150)


class TimeAxis:
    """Horizontal axis of a plot; a time outside its span is drawn at the edge."""

    def __init__(self, canvas: Canvas, from_ts: int, to_ts: int) -> None:
        self.canvas = canvas
        self.from_ts = from_ts
        self.to_ts = max(to_ts, from_ts + 1)

    @property
    def span_ms(self) -> int:
        """Length of the span, ms."""
        return self.to_ts - self.from_ts

    def x(self, ts: int) -> float:
        """Return the x coordinate of a time, Unix ms."""
        share = (ts - self.from_ts) / self.span_ms
        _, width, left, right, *_ = self.canvas
        return round(left + min(1.0, max(0.0, share)) * (width - left - right), 1)

    def marks(self, y: float) -> list[str]:
        """Return time labels along the bottom."""
        last = self.canvas.time_marks
        parts = []
        for index in range(last + 1):
            ts = self.from_ts + self.span_ms * index // last
            anchor = "start" if index == 0 else "end" if index == last else "middle"
            place = f'x="{self.x(ts)}" y="{y:g}" text-anchor="{anchor}"'
            parts.append(f"<text {place}>{moment(ts, self.span_ms)}</text>")
        return parts


class Panel:
    """One band of the picture from top to bottom, with its range of values."""

    def __init__(self, canvas: Canvas, top: float, height: float, low: float, high: float) -> None:
        self.canvas = canvas
        self.top = top
        self.height = height
        self.low = low
        self.high = high if high > low else low + 1

    def y(self, value: float) -> float:
        """Return the y coordinate of a value; one outside the range is drawn at the edge."""
        share = (self.high - value) / (self.high - self.low)
        return round(self.top + min(1.0, max(0.0, share)) * self.height, 1)

    def level(self, value: float, label: str) -> list[str]:
        """Return a horizontal line at a value, with its label."""
        return [self.rule(value), self.label(value, label)]

    def rule(self, value: float) -> str:
        """Return a horizontal line at a value."""
        canvas, y = self.canvas, self.y(value)
        return (
            f'<line class="grid" x1="{canvas.left}" x2="{canvas.width - canvas.right}" '
            f'y1="{y}" y2="{y}"/>'
        )

    def label(self, value: float, text: str) -> str:
        """Return the label of a horizontal line: at its left, or above it on a narrow canvas."""
        canvas, y = self.canvas, self.y(value)
        place = f'x="{canvas.left - 8}" y="{y + 4:g}" text-anchor="end"'
        if canvas.is_narrow:
            place = f'class="inside" x="2" y="{y - 3:g}"'
        return f"<text {place}>{escape(text)}</text>"

    def name(self, text: str) -> str:
        """Return the name of the panel, shown above it."""
        x = self.canvas.width - 2 if self.canvas.is_narrow else self.canvas.left + 6
        anchor = ' text-anchor="end"' if self.canvas.is_narrow else ""
        return f'<text class="name" x="{x}" y="{self.top - 7:g}"{anchor}>{escape(text)}</text>'


class Drawing(NamedTuple):
    """Drawing on one canvas: its height, and the elements of its SVG."""

    height: float
    parts: list[str]


def line(places: Iterable[tuple[float, float]]) -> str:
    """Return the path through points."""
    return "M" + " L".join(f"{x} {y}" for x, y in places)


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]]) -> str:
    """Return the outline of the area between two lines."""
    return f"{line([*upper, *reversed(lower)])} Z"


def picture(title: str, draw: Callable[[Canvas], Drawing]) -> str:
    """Return a picture on both canvases; a screen reader reads its title.

    Args:
        title: Its title.
        draw: Draws it on a canvas.
    """
    found = ['<div class="plot">']
    for canvas in (WIDE, NARROW):
        drawing = draw(canvas)
        found += [
            f'<svg class="{canvas.name}" viewBox="0 0 {canvas.width} {drawing.height:g}" '
            f'role="img" xmlns="{SVG_NAMES}">',
            f"<title>{escape(title)}</title>",
            *drawing.parts,
            "</svg>",
        ]
    return "\n".join([*found, "</div>"])
