"""Equity and drawdown over market time as one inline SVG picture, without script or resource."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from minibot.events.money import UNIT
from minibot.report.curve import Point
from minibot.report.figures import clock, money
from minibot.report.trades import RoundTrip

WIDTH, LEFT, RIGHT = 960, 90, 12
TOP, EQUITY_HEIGHT, GAP, DRAWDOWN_HEIGHT, BOTTOM = 12, 220, 26, 80, 24
HEIGHT = TOP + EQUITY_HEIGHT + GAP + DRAWDOWN_HEIGHT + BOTTOM
TIME_MARKS, VALUE_MARKS = 6, 4
TRIPS_MARKED_MAX = 400


def equity_chart(points: Sequence[Point], trips: Sequence[RoundTrip], asset: str) -> str:
    """Return the picture as SVG text; a sentence where there is nothing to draw."""
    if len(points) < 2:
        return "<p>No market data came, so there is no curve.</p>"
    frame = _Frame(points)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
        f"<title>Equity and drawdown in {escape(asset)} over market time</title>",
        *_grid(frame),
        f'<path class="equity" d="{_line(frame)}"/>',
        f'<path class="drawdown" d="{_area(frame)}"/>',
        *_marks(frame, trips),
        "</svg>",
    ]
    return "\n".join(parts)


class _Frame:
    """Where values and times lie in the picture."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points
        self.from_ts, self.to_ts = points[0].ts, max(points[-1].ts, points[0].ts + 1)
        self.low = min(point.low for point in points)
        self.high = max(max(point.last for point in points), self.low + 1)
        self.deepest = max(1, *(point.drawdown for point in points))

    def x(self, ts: int) -> float:
        share = (ts - self.from_ts) / (self.to_ts - self.from_ts)
        return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, equity: int) -> float:
        return round(TOP + (self.high - equity) / (self.high - self.low) * EQUITY_HEIGHT, 1)

    def y_drawdown(self, drawdown: int) -> float:
        top = TOP + EQUITY_HEIGHT + GAP
        return round(top + drawdown / self.deepest * DRAWDOWN_HEIGHT, 1)


def _line(frame: _Frame) -> str:
    """Return the path of equity: into the low of each stretch and out at its last value."""
    steps = []
    for point in frame.points:
        x = frame.x(point.ts)
        steps.append(f"{x} {frame.y(point.low)}")
        if point.last != point.low:
            steps.append(f"{x} {frame.y(point.last)}")
    return "M" + " L".join(steps)


def _area(frame: _Frame) -> str:
    top = frame.y_drawdown(0)
    steps = [f"{frame.x(point.ts)} {frame.y_drawdown(point.drawdown)}" for point in frame.points]
    first, last = frame.x(frame.from_ts), frame.x(frame.to_ts)
    return f"M{first} {top} L" + " L".join(steps) + f" L{last} {top} Z"


def _grid(frame: _Frame) -> list[str]:
    parts = []
    for index in range(VALUE_MARKS + 1):
        value = frame.low + (frame.high - frame.low) * index // VALUE_MARKS
        parts += _level(frame.y(value), _amount(value))
    parts += _level(frame.y_drawdown(0), "drawdown 0")
    parts += _level(frame.y_drawdown(frame.deepest), _amount(-frame.deepest))
    for index in range(TIME_MARKS + 1):
        ts = frame.from_ts + (frame.to_ts - frame.from_ts) * index // TIME_MARKS
        anchor = "start" if index == 0 else "end" if index == TIME_MARKS else "middle"
        place = f'x="{frame.x(ts)}" y="{HEIGHT - 6}" text-anchor="{anchor}"'
        parts.append(f"<text {place}>{clock(ts)}</text>")
    return parts


def _level(y: float, label: str) -> list[str]:
    return [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>',
        f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{label}</text>',
    ]


def _amount(value: int) -> str:
    return money(str(Decimal(value) / UNIT))


def _marks(frame: _Frame, trips: Sequence[RoundTrip]) -> list[str]:
    """Mark the end of each round trip under the curve, won or lost."""
    y = TOP + EQUITY_HEIGHT + GAP / 2
    closed = [trip for trip in trips if trip.is_closed][-TRIPS_MARKED_MAX:]
    return [
        f'<circle class="{"won" if trip.net > 0 else "lost"}" cx="{frame.x(trip.closed_ts)}" '
        f'cy="{y}" r="3.5"><title>{clock(trip.closed_ts)}: {_amount(trip.net)}</title></circle>'
        for trip in closed
    ]
