"""Equity and drawdown over market time as one inline SVG picture, without script or resource."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape
from typing import NamedTuple

from minibot.events.money import UNIT
from minibot.report.curve import Point
from minibot.report.figures import moment, money
from minibot.report.plot import (
    GAP,
    TIME_HEIGHT,
    TOP,
    WIDE,
    Canvas,
    Drawing,
    Panel,
    TimeAxis,
    area,
    line,
    picture,
)
from minibot.report.trades import RoundTrip

EQUITY_HEIGHT, DRAWDOWN_HEIGHT = 220, 80
HEIGHT = TOP + EQUITY_HEIGHT + GAP + DRAWDOWN_HEIGHT + TIME_HEIGHT
VALUE_MARKS = 4
TRIPS_MARKED_MAX = 400
# More ends than this are indistinguishable in a wide picture.
DOTS_MAX = 2400
BESIDE_LEGEND = '<p class="legend"><span class="line-1">A</span> <span class="line-2">B</span></p>'


class Span(NamedTuple):
    """Band at one time: the lowest and the highest equity of several curves."""

    ts: int
    low: int
    high: int


def equity_chart(
    points: Sequence[Point],
    trips: Sequence[RoundTrip],
    asset: str,
    band: Sequence[Span] = (),
    beside: Sequence[Point] = (),
) -> str:
    """Return the picture as SVG text; a sentence where there is nothing to draw.

    Args:
        points: The curve.
        trips: The round trips whose ends are marked.
        asset: The quote asset of equity.
        band: The range of other curves over the same time, drawn behind this one.
        beside: The curve of another result, B, drawn over this one, A, on the same axes.
    """
    if len(points) < 2:
        return "<p>No market data came, so there is no curve.</p>"

    def draw(canvas: Canvas) -> Drawing:
        other = _thinned(beside, canvas.points)
        frame = _Frame(canvas, _thinned(points, canvas.points), band, other)
        parts = [
            *_grid(frame),
            *_band(frame, band),
            f'<path class="equity" d="{_curve(frame, frame.points)}"/>',
            *([f'<path class="line line-2" d="{_curve(frame, other)}"/>'] if other else ()),
            f'<path class="drawdown" d="{_fall(frame)}"/>',
            *_marks(frame, trips),
        ]
        return Drawing(HEIGHT, parts)

    drawn = picture(f"Equity and drawdown in {asset} over market time", draw)
    return drawn + BESIDE_LEGEND if beside else drawn


class _Frame:
    """Layout of the picture: the panels and the time axis."""

    def __init__(
        self,
        canvas: Canvas,
        points: Sequence[Point],
        band: Sequence[Span],
        beside: Sequence[Point],
    ) -> None:
        self.canvas = canvas
        self.points = points
        drawn = [*points, *beside]
        self.axis = TimeAxis(canvas, min(p.ts for p in drawn), max(p.ts for p in drawn))
        low = min([point.low for point in drawn] + [span.low for span in band])
        high = max([point.last for point in drawn] + [span.high for span in band])
        if low == high:
            # A flat line has no range: one unit of quote each way.
            low, high = low - UNIT, high + UNIT
        self.equity = Panel(canvas, TOP, EQUITY_HEIGHT, low, high)
        self.deepest = max(1, *(point.drawdown for point in points))
        top = TOP + EQUITY_HEIGHT + GAP
        self.drawdown = Panel(canvas, top, DRAWDOWN_HEIGHT, -self.deepest, 0)


def _thinned(points: Sequence[Point], count: int) -> Sequence[Point]:
    """Return the points joined to at most twice `count`; the lowest and the deepest remain."""
    if len(points) <= 2 * count:
        return points
    size = -(-len(points) // count)
    parts = [points[at : at + size] for at in range(0, len(points), size)]
    joined = [
        Point(
            part[0].ts,
            min(point.low for point in part),
            part[-1].last,
            max(point.drawdown for point in part),
        )
        for part in parts
    ]
    joined[-1].ts = points[-1].ts
    return joined


def _curve(frame: _Frame, points: Sequence[Point]) -> str:
    """Return the path of equity: through the low of each stretch to its last value."""
    places = []
    for point in points:
        x = frame.axis.x(point.ts)
        places.append((x, frame.equity.y(point.low)))
        if point.last != point.low:
            places.append((x, frame.equity.y(point.last)))
    return line(places)


def _band(frame: _Frame, band: Sequence[Span]) -> list[str]:
    if len(band) < 2:
        return []
    upper = [(frame.axis.x(span.ts), frame.equity.y(span.high)) for span in band]
    lower = [(frame.axis.x(span.ts), frame.equity.y(span.low)) for span in band]
    return [f'<path class="band" d="{area(upper, lower)}"/>']


def _fall(frame: _Frame) -> str:
    fallen = [(frame.axis.x(p.ts), frame.drawdown.y(-p.drawdown)) for p in frame.points]
    top = frame.drawdown.y(0)
    edge = [(frame.axis.x(frame.axis.from_ts), top), (frame.axis.x(frame.axis.to_ts), top)]
    return area(fallen, edge)


def _grid(frame: _Frame) -> list[str]:
    parts = []
    low, high = int(frame.equity.low), int(frame.equity.high)
    for index in range(VALUE_MARKS + 1):
        value = low + (high - low) * index // VALUE_MARKS
        parts += frame.equity.level(value, _amount(value))
    parts += frame.drawdown.level(0, "drawdown 0")
    if any(point.drawdown for point in frame.points):
        parts += frame.drawdown.level(-frame.deepest, _amount(-frame.deepest))
    return [*parts, *frame.axis.marks(HEIGHT - 6)]


def _amount(value: int) -> str:
    return money(str(Decimal(value) / UNIT))


def _marks(frame: _Frame, trips: Sequence[RoundTrip]) -> list[str]:
    """Mark the end of each round trip under the curve, won or lost."""
    y = TOP + EQUITY_HEIGHT + GAP / 2
    closed = [trip for trip in trips if trip.is_closed]
    if len(closed) > TRIPS_MARKED_MAX or frame.canvas.is_narrow:
        few = closed[:: -(-len(closed) // (DOTS_MAX * frame.canvas.width // WIDE.width)) or 1]
        return [_dots(frame, y, few, is_won) for is_won in (True, False)]
    return [
        f'<circle class="{"won" if trip.net > 0 else "lost"}" cx="{frame.axis.x(trip.closed_ts)}" '
        f'cy="{y}" r="3.5"><title>{escape(moment(trip.closed_ts, frame.axis.span_ms))}: '
        f"{_amount(trip.net)}</title></circle>"
        for trip in closed
    ]


def _dots(frame: _Frame, y: float, trips: Sequence[RoundTrip], is_won: bool) -> str:
    """Return the ends of very many round trips as one path, won ones above lost ones."""
    places = (
        f"M{frame.axis.x(trip.closed_ts)} {y - 3 if is_won else y + 3:g}h0"
        for trip in trips
        if (trip.net > 0) == is_won
    )
    return f'<path class="dots {"up" if is_won else "down"}" d="{"".join(places)}"/>'
