"""Pictures of a backtest's page other than equity: price with trades, exposure, fees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from itertools import pairwise
from typing import Final

from minibot.backtest.report.curves import Earned, thinned
from minibot.backtest.report.exposure import Held
from minibot.backtest.report.trades import Trade
from minibot.engine.run_result import PriceBar
from minibot.engine.signal_log import Named
from minibot.events.money import UNIT
from minibot.report.figures import moment, money
from minibot.report.plot import LEFT, TIME_HEIGHT, Panel, TimeAxis, area, line, picture

TOP: Final = 12
PRICE_HEIGHT: Final = 260
PRICE_ROOM: Final = 0.04
VALUE_HEIGHT: Final = 54
SMALL_HEIGHT: Final = 110
GAP: Final = 24
PRICE_MARKS: Final = 4
PRICE_POINTS: Final = 480
# With more marks in one picture, they are drawn small.
MARKS_LARGE_MAX: Final = 200
MARKS_MAX: Final = 3000
MARK, MARK_SMALL = 4, 2
VALUES_MAX: Final = 10
# This share of values at either end is drawn at the edge: an outlier would flatten the rest.
OUTLIERS: Final = 0.01
DOTS_MAX: Final = 800
# Up to this many bars are drawn as candles, more as a line within its range.
CANDLES_MAX: Final = 160


def price_chart(
    symbol: str,
    bars: Sequence[PriceBar],
    trades: Sequence[Trade],
    values: dict[str, list[Named]],
    from_ts: int,
    to_ts: int,
    *,
    points: int = PRICE_POINTS,
    has_tips: bool = True,
) -> str:
    """Return prices of a span with entries, exits and the values that the strategy named.

    Args:
        symbol: The symbol.
        bars: Its bars; those outside of the span are left out.
        trades: Its trades; those outside of the span are left out.
        values: The named values by name, drawn in panels under the price.
        from_ts: Beginning of the span, Unix ms.
        to_ts: End of the span, Unix ms.
        points: Largest number of points of the price curve.
        has_tips: Whether exits have tooltips that describe their trades.
    """
    shown = thinned(bars, from_ts, to_ts + 1, points)
    if len(shown) < 2:
        return "<p>Too few prices for a picture.</p>"
    axis = TimeAxis(from_ts, to_ts)
    low, high = min(b.low for b in shown), max(b.high for b in shown)
    # Room for the marks of trades at the edges.
    room = (high - low) * PRICE_ROOM
    price = Panel(TOP, PRICE_HEIGHT, low - room, high + room)
    parts = [*_levels(price), *_prices(axis, price, shown)]
    inside = _inside(axis, trades)
    parts += _trade_marks(axis, price, inside)
    parts += _tips(axis, price, inside) if has_tips else ()
    bottom = TOP + PRICE_HEIGHT
    for name in list(values)[:VALUES_MAX]:
        parts += _value_panel(axis, bottom + GAP, name, values[name])
        bottom += GAP + VALUE_HEIGHT
    height = bottom + TIME_HEIGHT
    return picture(f"Price of {symbol} with trades", height, [*parts, *axis.marks(height - 6)])


def _levels(panel: Panel) -> list[str]:
    step = (panel.high - panel.low) / PRICE_MARKS
    places = 2 if panel.high >= 10 else 4 if panel.high >= 0.1 else 8
    parts = []
    for index in range(PRICE_MARKS + 1):
        value = panel.low + step * index
        parts += panel.level(value, f"{value:,.{places}f}")
    return parts


def _prices(axis: TimeAxis, panel: Panel, bars: Sequence[PriceBar]) -> list[str]:
    if len(bars) <= CANDLES_MAX:
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


def _inside(axis: TimeAxis, trades: Sequence[Trade]) -> list[Trade]:
    """Return the trades open at some time of the span, evenly thinned if there are too many."""
    found = [
        trade
        for trade in trades
        if trade.trip.opened_ts <= axis.to_ts
        and (not trade.is_closed or trade.trip.closed_ts >= axis.from_ts)
    ]
    return found[:: -(-len(found) // MARKS_MAX) or 1]


def _trade_marks(axis: TimeAxis, panel: Panel, trades: Sequence[Trade]) -> list[str]:
    """Return entry marks as triangles from below and exit marks from above, coloured by result."""
    size = MARK if len(trades) <= MARKS_LARGE_MAX else MARK_SMALL
    marks: dict[str, list[str]] = {"entry": [], "won": [], "lost": []}
    for trade in trades:
        trip = trade.trip
        if trip.bought_qty and trip.opened_ts >= axis.from_ts:
            at = _place(axis, panel, trip.opened_ts, trip.paid, trip.bought_qty)
            marks["entry"].append(f"M{at}l-{size} {2 * size}h{2 * size}Z")
        if trade.is_closed and trip.closed_ts <= axis.to_ts:
            at = _place(axis, panel, trip.closed_ts, trip.received, trip.sold_qty)
            marks["won" if trade.net > 0 else "lost"].append(
                f"M{at}l-{size} -{2 * size}h{2 * size}Z"
            )
    return [f'<path class="{kind}" d="{"".join(d)}"/>' for kind, d in marks.items() if d]


def _place(axis: TimeAxis, panel: Panel, ts: int, notional: int, qty: int) -> str:
    return f"{axis.x(ts):g} {panel.y(notional / qty if qty else 0.0):g}"


def _tips(axis: TimeAxis, panel: Panel, trades: Iterable[Trade]) -> Iterable[str]:
    """Yield an invisible spot over each exit whose tooltip describes the trade."""
    span = axis.to_ts - axis.from_ts
    for trade in trades:
        trip = trade.trip
        if not trade.is_closed or trip.closed_ts > axis.to_ts:
            continue
        x, y = _place(axis, panel, trip.closed_ts, trip.received, trip.sold_qty).split()
        hit = f" ({trade.left_because})" if trade.left_because else ""
        said = (
            f"{trade.number}: {trade.entry_reason} {moment(trip.opened_ts, span)} to "
            f"{trade.exit_reason}{hit} {moment(trip.closed_ts, span)}, {_amount(trade.net)}"
        )
        yield f'<circle class="tip" cx="{x}" cy="{y}" r="7"><title>{escape(said)}</title></circle>'


def _value_panel(axis: TimeAxis, top: float, name: str, values: Sequence[Named]) -> list[str]:
    drawn = [value for value in values if axis.from_ts <= value.ts <= axis.to_ts]
    head = f'<text class="name" x="{LEFT + 6}" y="{top - 7:g}">{escape(name)}</text>'
    if not drawn:
        return [head]
    ordered = sorted(value.value for value in drawn)
    beyond = int(len(ordered) * OUTLIERS)
    panel = Panel(top, VALUE_HEIGHT, ordered[beyond], ordered[-1 - beyond])
    dots: dict[str, list[str]] = {}
    for value in drawn:
        kind = {"BUY": "buy", "SELL": "sell"}.get(value.side, "hold")
        dots.setdefault(kind, []).append(f"M{axis.x(value.ts):g} {panel.y(value.value):g}h0")
    return [
        head,
        *panel.level(panel.low, f"{panel.low:,.6g}"),
        *panel.level(panel.high, f"{panel.high:,.6g}"),
        *(f'<path class="dots {kind}" d="{"".join(d)}"/>' for kind, d in sorted(dots.items())),
    ]


def exposure_chart(steps: Sequence[Held], from_ts: int, to_ts: int) -> str:
    """Return the picture of exposure: the largest share of equity in each stretch of time."""
    axis = TimeAxis(from_ts, to_ts)
    largest = max((step.ratio for step in steps), default=0.0)
    if not largest:
        return "<p>Nothing was held.</p>"
    panel = Panel(TOP, SMALL_HEIGHT, 0.0, largest)
    width = steps[1].ts - steps[0].ts if len(steps) > 1 else to_ts - from_ts
    upper: list[tuple[float, float]] = []
    for step in steps:
        y = panel.y(step.ratio)
        upper += [(axis.x(step.ts), y), (axis.x(step.ts + width), y)]
    floor = [(axis.x(from_ts), panel.y(0)), (axis.x(to_ts), panel.y(0))]
    height = TOP + SMALL_HEIGHT + TIME_HEIGHT
    parts = [
        *panel.level(0.0, "0 %"),
        *panel.level(largest, f"{largest * 100:.2f} %"),
        f'<path class="exposure" d="{area(upper, floor)}"/>',
        *axis.marks(height - 6),
    ]
    return picture("Share of equity in the market over time", height, parts)


def fees_chart(curve: Sequence[Earned], from_ts: int, to_ts: int, points: int = 400) -> str:
    """Return the picture of realised P&L, gross and net; the area between is the fees."""
    if not curve:
        return "<p>No trade was closed, so no fee was earned back or lost.</p>"
    step = -(-len(curve) // points)
    shown = [Earned(from_ts, 0, 0), *curve[::step], curve[-1], curve[-1]._replace(ts=to_ts)]
    axis = TimeAxis(from_ts, to_ts)
    low = min(min(each.net, each.before_fees) for each in shown)
    high = max(max(each.net, each.before_fees) for each in shown)
    panel = Panel(TOP, SMALL_HEIGHT, low, max(high, low + 1))
    before = [(axis.x(each.ts), panel.y(each.before_fees)) for each in shown]
    after = [(axis.x(each.ts), panel.y(each.net)) for each in shown]
    height = TOP + SMALL_HEIGHT + TIME_HEIGHT
    parts = [
        *panel.level(low, _amount(low)),
        *panel.level(high, _amount(high)),
        *(panel.level(0, "0") if low < 0 < high else ()),
        f'<path class="paid" d="{area(before, after)}"/>',
        f'<path class="price" d="{line(before)}"/>',
        f'<path class="equity" d="{line(after)}"/>',
        *axis.marks(height - 6),
    ]
    return picture("Earned by closed trades before and after fees", height, parts)


def _amount(value: int) -> str:
    return money(str(Decimal(value) / UNIT))
