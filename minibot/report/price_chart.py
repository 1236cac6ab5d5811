"""Price chart with round trips and lines: of a night's report and of a backtest's page."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

from minibot.engine.run_result import PriceBar
from minibot.events.money import UNIT
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
from minibot.report.trades import RoundTrip, Step

PRICE_HEIGHT: Final = 260
PRICE_ROOM: Final = 0.06
PRICE_MARKS: Final = 4
VALUE_HEIGHT: Final = 54
# With more marks in a wide picture, they are drawn small; more than the second are thinned.
MARKS_LARGE_MAX: Final = 200
MARKS_MAX: Final = 2400
MARK, MARK_SMALL = 4, 2
# Up to this many bars are drawn as candles, more as a line within its range; by units of width.
CANDLE_WIDTH: Final = 5.4
# Of more entries than this in a wide picture, none has its number.
NUMBERS_MAX: Final = 90
# Each entry gets a number if the entry before it is at least this far away.
NUMBER_ROOM: Final = 16.0
# A line is drawn on the price where it never leaves it by more than this share.
NEAR: Final = 0.25

# Of more round trips than this, no exit has a tooltip.
TIPS_MAX: Final = 1000
# Exits are listed by number up to this many of one kind.
LISTED_MAX: Final = 12

MARKS_EXPLAINED: Final = (
    "Triangles from below are entries with their numbers, from above exits, green where the trade "
    "won and red where it lost. Numbers in brackets are those of trades; times are in UTC."
)

_BEGINNING: Final = attrgetter("ts")
_HIGH: Final = attrgetter("high")
_LOW: Final = attrgetter("low")

Plotted = Sequence[tuple[int, float]]
"""Values of a line with their times, Unix ms, oldest first."""


class Marked(NamedTuple):
    """Round trip on a page: its number, its reasons, its end in words, its steps if in parts."""

    number: int
    trip: RoundTrip
    entry: str
    exit: str
    steps: tuple[tuple[Step, str], ...] = ()


def price_chart(
    symbol: str,
    bars: Sequence[PriceBar],
    trades: Sequence[Marked],
    from_ts: int,
    to_ts: int,
    *,
    lines: Mapping[str, Plotted] | None = None,
    points: int = WIDE.points,
    has_tips: bool = True,
) -> str:
    """Return prices of a span with entries, exits and lines.

    Args:
        symbol: The symbol.
        bars: Its bars; those outside of the span are left out.
        trades: Its round trips; those outside of the span are left out.
        from_ts: Beginning of the span, Unix ms.
        to_ts: End of the span, Unix ms.
        lines: Values of the strategy by name: near the price they are drawn on it, else below.
        points: Largest number of points of the price.
        has_tips: Whether exits have tooltips that describe their round trips.
    """
    shown = thinned(bars, from_ts, to_ts + 1, points)
    if len(shown) < 2:
        return "<p>Too few prices for a picture.</p>"
    drawn = [
        _Line(at, name, _within(values, from_ts, to_ts))
        for at, (name, values) in enumerate((lines or {}).items(), start=1)
    ]
    near = [each for each in drawn if each.is_near(shown)]
    apart = [each for each in drawn if each.values and each not in near]

    def draw(canvas: Canvas) -> Drawing:
        axis = TimeAxis(canvas, from_ts, to_ts)
        seen = thinned(shown, from_ts, to_ts + 1, canvas.points) if canvas.is_narrow else shown
        price = _price_panel(canvas, seen, near)
        inside = _inside(axis, trades)
        levels = _levels(price)
        parts = [*(price.rule(value) for value, _ in levels), *_prices(axis, price, seen)]
        parts += [each.path(axis, price) for each in near]
        parts += _trade_marks(axis, price, inside)
        parts += _numbers(axis, price, inside)
        parts += [price.label(value, text) for value, text in levels]  # Above the drawing.
        parts += _tips(axis, price, inside) if has_tips and not canvas.is_narrow else ()
        bottom = float(TOP + PRICE_HEIGHT)
        for each in apart:
            parts += each.panel(axis, bottom + GAP)
            bottom += GAP + VALUE_HEIGHT
        height = bottom + TIME_HEIGHT
        return Drawing(height, [*parts, *axis.marks(height - 6)])

    legend = "".join(f'<span class="line-{each.at}">{escape(each.name)}</span> ' for each in near)
    return picture(f"Price of {symbol} with trades", draw) + (
        f'<p class="legend">{legend.rstrip()}</p>' if near else ""
    )


def exits_text(trades: Iterable[Marked]) -> str:
    """Return a paragraph of what closed the round trips, and how often; the numbers of a few."""
    found: dict[str, list[int]] = {}
    for trade in trades:
        if trade.trip.is_closed:
            found.setdefault(kind_of(trade.exit), []).append(trade.number)
    lines = [
        f"{what} {'once' if len(numbers) == 1 else f'{len(numbers):,} times'}"
        + (f" ({', '.join(map(str, numbers))})" if len(numbers) <= LISTED_MAX else "")
        for what, numbers in sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))
    ]
    return f"<p>Exits: {escape('; '.join(lines))}.</p>" if lines else ""


def kind_of(left: str) -> str:
    """Return the kind of an exit: its words without the prices that belong to one trade."""
    return left.partition(" (")[0].partition(":")[0]


def thinned(bars: Sequence[PriceBar], from_ts: int, to_ts: int, count: int) -> list[PriceBar]:
    """Return at most about `count` wider bars of the same prices, oldest first, within a span."""
    width = max(1, -(-(to_ts - from_ts) // count))
    found: list[PriceBar] = []
    at, last = (bisect_left(bars, ts, key=_BEGINNING) for ts in (from_ts, to_ts))
    while at < last:
        head = bars[at]
        until = head.ts + width - (head.ts - from_ts) % width
        end = bisect_left(bars, until, at, last, key=_BEGINNING)
        joined = bars[at:end]
        high, low = max(map(_HIGH, joined)), min(map(_LOW, joined))
        found.append(PriceBar(head.ts, head.open, high, low, joined[-1].close))
        at = end
    return found


def level_text(value: float, high: float) -> str:
    """Return a price as a label, with as many decimals as a price of its size needs."""
    places = 2 if high >= 10 else 4 if high >= 0.1 else 8
    return f"{value:,.{places}f}"


def _within(values: Plotted, from_ts: int, to_ts: int) -> Plotted:
    return [each for each in values if from_ts <= each[0] <= to_ts]


class _Line:
    """Line of one name within the span; `at` is its number, which gives its colour."""

    def __init__(self, at: int, name: str, values: Plotted) -> None:
        self.at, self.name, self.values = at, name, values

    def is_near(self, bars: Sequence[PriceBar]) -> bool:
        """Return whether the line stays near the price, so that both share a panel."""
        if not self.values:
            return False
        at, last = 0, len(bars) - 1
        for ts, value in self.values:
            while at < last and bars[at + 1].ts <= ts:
                at += 1
            if abs(value - bars[at].close) > NEAR * bars[at].close:
                return False
        return True

    def path(self, axis: TimeAxis, panel: Panel) -> str:
        """Return the line within a panel, one point for each unit of width at most."""
        places: dict[float, tuple[float, float]] = {}
        for ts, value in self.values:
            x = float(round(axis.x(ts)))
            places[x] = (x, panel.y(value))
        return f'<path class="line line-{self.at}" d="{line(places.values())}"/>'

    def panel(self, axis: TimeAxis, top: float) -> list[str]:
        """Draw the line in its own panel."""
        values = [value for _, value in self.values]
        panel = Panel(axis.canvas, top, VALUE_HEIGHT, min(values), max(values))
        return [
            *panel.level(panel.low, f"{panel.low:,.6g}"),
            *panel.level(panel.high, f"{panel.high:,.6g}"),
            self.path(axis, panel),
            panel.name(self.name),
        ]


def _price_panel(canvas: Canvas, bars: Sequence[PriceBar], near: Sequence[_Line]) -> Panel:
    values = [value for each in near for _, value in each.values]
    low = min(min(bar.low for bar in bars), *values) if values else min(bar.low for bar in bars)
    high = max(max(bar.high for bar in bars), *values) if values else max(bar.high for bar in bars)
    # Room for the marks of trades at the edges.
    room = (high - low) * PRICE_ROOM
    return Panel(canvas, TOP, PRICE_HEIGHT, low - room, high + room)


def _levels(panel: Panel) -> list[tuple[float, str]]:
    step = (panel.high - panel.low) / PRICE_MARKS
    values = [panel.low + step * index for index in range(PRICE_MARKS + 1)]
    return [(value, level_text(value, panel.high)) for value in values]


def _prices(axis: TimeAxis, panel: Panel, bars: Sequence[PriceBar]) -> list[str]:
    if len(bars) * CANDLE_WIDTH <= axis.canvas.width - axis.canvas.left:
        return _candles(axis, panel, bars)
    upper = [(axis.x(bar.ts), panel.y(bar.high)) for bar in bars]
    lower = [(axis.x(bar.ts), panel.y(bar.low)) for bar in bars]
    closes = [(axis.x(bar.ts), panel.y(bar.close)) for bar in bars]
    return [
        f'<path class="range" d="{area(upper, lower)}"/>',
        f'<path class="price" d="{line(closes)}"/>',
    ]


def _candles(axis: TimeAxis, panel: Panel, bars: Sequence[PriceBar]) -> list[str]:
    """Return candles with wicks: one path for all rising bodies and one for all falling ones."""
    widths = [axis.x(b.ts) - axis.x(a.ts) for a, b in pairwise(bars)]
    width = round(max(1.0, min(min(widths) * 0.7, 8.0)), 1)
    wicks = []
    bodies: dict[str, list[str]] = {"rise": [], "fall": []}
    for bar in bars:
        x = round(axis.x(bar.ts) + width / 2, 1)
        wicks.append(f"M{x} {panel.y(bar.high)}V{panel.y(bar.low)}")
        side = "rise" if bar.close >= bar.open else "fall"
        top, bottom = panel.y(max(bar.open, bar.close)), panel.y(min(bar.open, bar.close))
        bodies[side].append(f"M{axis.x(bar.ts)} {top}h{width}V{max(bottom, top + 1):g}h-{width}Z")
    return [
        f'<path class="wick" d="{"".join(wicks)}"/>',
        *(f'<path class="{side}" d="{"".join(d)}"/>' for side, d in bodies.items() if d),
    ]


# --- round trips ------------------------------------------------------------------------------


def _inside(axis: TimeAxis, trades: Sequence[Marked]) -> list[Marked]:
    """Return the trades open at some time of the span, evenly thinned if there are too many."""
    found = [
        trade
        for trade in trades
        if trade.trip.opened_ts <= axis.to_ts
        and (not trade.trip.is_closed or trade.trip.closed_ts >= axis.from_ts)
    ]
    most = MARKS_MAX * axis.canvas.width // WIDE.width
    return found[:: -(-len(found) // most) or 1]


def _entry(axis: TimeAxis, panel: Panel, trip: RoundTrip) -> tuple[float, float] | None:
    """Return the place of the entry, None where it lies before the span."""
    if not trip.bought_qty or trip.opened_ts < axis.from_ts:
        return None
    return axis.x(trip.opened_ts), panel.y(trip.paid / trip.bought_qty)


def _exit(axis: TimeAxis, panel: Panel, trip: RoundTrip) -> tuple[float, float] | None:
    """Return the place of the exit, None where it lies after the span or is still to come."""
    if not trip.is_closed or trip.closed_ts > axis.to_ts:
        return None
    price = trip.received / trip.sold_qty if trip.sold_qty else 0.0
    return axis.x(trip.closed_ts), panel.y(price)


def _trade_marks(axis: TimeAxis, panel: Panel, trades: Sequence[Marked]) -> list[str]:
    """Return entry marks as triangles from below and exit marks from above, joined by a line."""
    is_few = len(trades) * WIDE.width <= MARKS_LARGE_MAX * axis.canvas.width
    size = MARK if is_few else MARK_SMALL
    kinds = ("way up", "way down", "entry", "won", "lost")
    marks: dict[str, list[str]] = {kind: [] for kind in kinds}
    for trade in trades:
        trip = trade.trip
        begins, ends = _entry(axis, panel, trip), _exit(axis, panel, trip)
        is_won = trip.net > 0
        if begins is not None:
            marks["entry"].append(f"M{begins[0]:g} {begins[1]:g}l-{size} {2 * size}h{2 * size}Z")
        if ends is not None:
            kind = "won" if is_won else "lost"
            marks[kind].append(f"M{ends[0]:g} {ends[1]:g}l-{size} -{2 * size}h{2 * size}Z")
        if begins is not None and ends is not None and size == MARK:
            way = "way up" if is_won else "way down"
            marks[way].append(f"M{begins[0]:g} {begins[1]:g}L{ends[0]:g} {ends[1]:g}")
    return [f'<path class="{kind}" d="{"".join(d)}"/>' for kind, d in marks.items() if d]


def _numbers(axis: TimeAxis, panel: Panel, trades: Sequence[Marked]) -> list[str]:
    """Return the number of each round trip below its entry, where it has room."""
    found, after = [], -NUMBER_ROOM
    is_few = len(trades) * WIDE.width <= NUMBERS_MAX * axis.canvas.width
    for trade in trades if is_few else ():
        place = _entry(axis, panel, trade.trip)
        room = NUMBER_ROOM + 6.0 * (len(str(trade.number)) - 1)
        if place is None or place[0] - after < room:
            continue
        after = place[0]
        y = min(place[1] + 2 * MARK + 11, panel.top + panel.height)
        found.append(
            f'<text class="number" x="{place[0]:g}" y="{y:g}" text-anchor="middle">'
            f"{trade.number}</text>"
        )
    return found


def _tips(axis: TimeAxis, panel: Panel, trades: Iterable[Marked]) -> Iterable[str]:
    """Yield an invisible spot over each exit whose tooltip describes the trade."""
    for trade in trades:
        trip, place = trade.trip, _exit(axis, panel, trade.trip)
        if place is None:
            continue
        span_ms = max(axis.span_ms, trip.closed_ts - trip.opened_ts)  # A carried one began before.
        opened, closed = (moment(ts, span_ms) for ts in (trip.opened_ts, trip.closed_ts))
        net = money(str(Decimal(trip.net) / UNIT))
        text = f"{trade.number}: {trade.entry} {opened} to {trade.exit} {closed}, {net}"
        yield (
            f'<circle class="tip" cx="{place[0]:g}" cy="{place[1]:g}" r="7">'
            f"<title>{escape(text)}</title></circle>"
        )
