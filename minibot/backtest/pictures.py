"""The pictures of a backtest's page beside equity: price with trades, exposure, fees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from itertools import pairwise
from typing import Final

from minibot.backtest.curves import Earned, Named, thinned
from minibot.backtest.exposure import Held
from minibot.backtest.result import PriceBar
from minibot.backtest.trades import Trade
from minibot.events.money import UNIT
from minibot.report.figures import moment, money
from minibot.report.plot import LEFT, TIME_HEIGHT, Panel, TimeAxis, area, line, picture

TOP: Final = 12
PRICE_HEIGHT: Final = 260
VALUE_HEIGHT: Final = 54
SMALL_HEIGHT: Final = 110
GAP: Final = 18
PRICE_MARKS: Final = 4
PRICE_POINTS: Final = 480
# More would neither be read nor pointed at.
TIPS_MAX: Final = 200
MARKS_MAX: Final = 5000
VALUES_MAX: Final = 6
DOTS_MAX: Final = 600
# Bars this few are drawn as candles, more as a line within its range.
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
) -> str:
    """Return prices of a span with entries, exits and the values that the strategy named.

    Args:
        symbol: Whose prices they are.
        bars: Its bars; those outside of the span are left out.
        trades: Its trades; those outside of the span are left out.
        values: By name, in panels under the price.
        from_ts: The beginning of the span, Unix ms.
        to_ts: Its end.
        points: How finely prices are drawn.
    """
    shown = thinned(bars, from_ts, to_ts + 1, points)
    if len(shown) < 2:
        return "<p>Too few prices for a picture.</p>"
    axis = TimeAxis(from_ts, to_ts)
    price = Panel(TOP, PRICE_HEIGHT, min(b.low for b in shown), max(b.high for b in shown))
    parts = [*_levels(price), *_prices(axis, price, shown)]
    parts += _trade_marks(axis, price, trades)
    bottom = TOP + PRICE_HEIGHT
    for name in sorted(values)[:VALUES_MAX]:
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
    """Return bars with wicks: bodies hang on one path each for rising and for falling ones."""
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


def _trade_marks(axis: TimeAxis, panel: Panel, trades: Sequence[Trade]) -> list[str]:
    """Return entries as triangles from below, exits from above, green or red by the result."""
    inside = [
        trade
        for trade in trades
        if trade.trip.opened_ts <= axis.to_ts
        and (not trade.is_closed or trade.trip.closed_ts >= axis.from_ts)
    ][-MARKS_MAX:]
    entries = [
        f"M{axis.x(trade.trip.opened_ts)} {panel.y(_price(trade.trip.paid, trade.trip.bought_qty))}"
        "l-4 8h8Z"
        for trade in inside
        if trade.trip.bought_qty and trade.trip.opened_ts >= axis.from_ts
    ]
    exits: dict[str, list[str]] = {"won": [], "lost": []}
    for trade in inside:
        if trade.is_closed and trade.trip.closed_ts <= axis.to_ts:
            y = panel.y(_price(trade.trip.received, trade.trip.sold_qty))
            d = f"M{axis.x(trade.trip.closed_ts)} {y}l-4 -8h8Z"
            exits["won" if trade.net > 0 else "lost"].append(d)
    return [
        *([f'<path class="entry" d="{"".join(entries)}"/>'] if entries else []),
        *(f'<path class="{side}" d="{"".join(d)}"/>' for side, d in exits.items() if d),
        *(_tips(axis, panel, inside) if len(inside) <= TIPS_MAX else ()),
    ]


def _tips(axis: TimeAxis, panel: Panel, trades: Iterable[Trade]) -> Iterable[str]:
    """Yield an unseen spot over each exit that tells of its trade to whoever points at it."""
    span = axis.to_ts - axis.from_ts
    for trade in trades:
        if not trade.is_closed:
            continue
        y = panel.y(_price(trade.trip.received, trade.trip.sold_qty))
        said = (
            f"{trade.number}: {trade.entry_reason} {moment(trade.trip.opened_ts, span)} to "
            f"{trade.exit_reason} {moment(trade.trip.closed_ts, span)}, {_amount(trade.net)}"
        )
        yield (
            f'<circle class="tip" cx="{axis.x(trade.trip.closed_ts)}" cy="{y - 4:g}" r="7">'
            f"<title>{escape(said)}</title></circle>"
        )


def _value_panel(axis: TimeAxis, top: float, name: str, values: Sequence[Named]) -> list[str]:
    inside = [value for value in values if axis.from_ts <= value.ts <= axis.to_ts]
    step = -(-len(inside) // DOTS_MAX) or 1
    # What led to an order is always drawn; of the many holds between, every so manieth.
    drawn = [value for at, value in enumerate(inside) if value.side != "HOLD" or at % step == 0]
    head = f'<text class="name" x="{LEFT + 6}" y="{top - 3:g}">{escape(name)}</text>'
    if not drawn:
        return [head]
    panel = Panel(top, VALUE_HEIGHT, min(v.value for v in drawn), max(v.value for v in drawn))
    dots: dict[str, list[str]] = {}
    for value in drawn[-MARKS_MAX:]:
        kind = {"BUY": "buy", "SELL": "sell"}.get(value.side, "hold")
        dots.setdefault(kind, []).append(f"M{axis.x(value.ts)} {panel.y(value.value)}h0")
    return [
        head,
        *panel.level(panel.low, f"{panel.low:,.6g}"),
        *panel.level(panel.high, f"{panel.high:,.6g}"),
        *(f'<path class="dots {kind}" d="{"".join(d)}"/>' for kind, d in sorted(dots.items())),
    ]


def exposure_chart(steps: Sequence[Held], from_ts: int, to_ts: int) -> str:
    """Return the largest share of equity in the market over each stretch of time."""
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
    """Return what closed trades earned before fees and after them; between lie the fees."""
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


def _price(notional: int, qty: int) -> float:
    return notional / qty if qty else 0.0


def _amount(value: int) -> str:
    return money(str(Decimal(value) / UNIT))
