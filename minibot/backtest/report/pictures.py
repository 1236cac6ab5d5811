"""Pictures of a backtest's page other than equity: price with trades, exposure, fees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from minibot.backtest.report.curves import Earned
from minibot.backtest.report.exposure import Held
from minibot.backtest.report.trades import Trade
from minibot.engine.signal_log import Named
from minibot.events.money import UNIT
from minibot.report.figures import money
from minibot.report.plot import (
    GAP,
    TIME_HEIGHT,
    TOP,
    Canvas,
    Drawing,
    Panel,
    TimeAxis,
    area,
    line,
    picture,
)
from minibot.report.price_chart import VALUE_HEIGHT, Marked

SMALL_HEIGHT: Final = 110
VALUES_MAX: Final = 10
# This share of values at either end is drawn at the edge: an outlier would flatten the rest.
OUTLIERS: Final = 0.01
DOTS_MAX: Final = 800
FEES_POINTS_MAX: Final = 400
LABEL_ROOM: Final = 14


def marked(trades: Sequence[Trade]) -> list[Marked]:
    """Return round trips as the price chart marks them, with their reasons."""
    return [
        Marked(
            trade.number,
            trade.trip,
            trade.entry_reason,
            trade.left_because or trade.exit_reason,
        )
        for trade in trades
    ]


def values_chart(values: Mapping[str, Sequence[Named]], from_ts: int, to_ts: int) -> str:
    """Return the values that a strategy named in its signals, as dots in a panel for each name.

    Args:
        values: By name.
        from_ts: Beginning of the span, Unix ms.
        to_ts: End of the span, Unix ms.
    """
    shown = list(values.items())[:VALUES_MAX]

    def draw(canvas: Canvas) -> Drawing:
        axis, parts, bottom = TimeAxis(canvas, from_ts, to_ts), [], 0
        for name, found in shown:
            parts += _value_panel(name, found, axis, bottom + GAP)
            bottom += GAP + VALUE_HEIGHT
        height = bottom + TIME_HEIGHT
        return Drawing(height, [*parts, *axis.marks(height - 6)])

    return picture("Values that the strategy named in its signals", draw)


def _value_panel(name: str, values: Sequence[Named], axis: TimeAxis, top: int) -> list[str]:
    drawn = [value for value in values if axis.from_ts <= value.ts <= axis.to_ts]
    if not drawn:
        return [Panel(axis.canvas, top, VALUE_HEIGHT, 0, 1).name(name)]
    ordered = sorted(value.value for value in drawn)
    beyond = int(len(ordered) * OUTLIERS)
    panel = Panel(axis.canvas, top, VALUE_HEIGHT, ordered[beyond], ordered[-1 - beyond])
    dots: dict[str, list[str]] = {}
    for value in drawn:
        kind = {"BUY": "buy", "SELL": "sell"}.get(value.side, "hold")
        dots.setdefault(kind, []).append(f"M{axis.x(value.ts):g} {panel.y(value.value):g}h0")
    return [
        *panel.level(panel.low, f"{panel.low:,.6g}"),
        *panel.level(panel.high, f"{panel.high:,.6g}"),
        *(f'<path class="dots {kind}" d="{"".join(d)}"/>' for kind, d in sorted(dots.items())),
        panel.name(name),
    ]


def exposure_chart(steps: Sequence[Held], from_ts: int, to_ts: int) -> str:
    """Return the picture of exposure: the largest share of equity in each stretch of time."""
    largest = max((step.ratio for step in steps), default=0.0)
    if not largest:
        return "<p>Nothing was held.</p>"

    def draw(canvas: Canvas) -> Drawing:
        axis = TimeAxis(canvas, from_ts, to_ts)
        panel = Panel(canvas, TOP, SMALL_HEIGHT, 0.0, largest)
        width = steps[1].ts - steps[0].ts if len(steps) > 1 else to_ts - from_ts
        upper: list[tuple[float, float]] = []
        for step in steps:
            y = panel.y(step.ratio)
            upper += [(axis.x(step.ts), y), (axis.x(step.ts + width), y)]
        floor = [(axis.x(from_ts), panel.y(0)), (axis.x(to_ts), panel.y(0))]
        parts = [
            f'<path class="exposure" d="{area(upper, floor)}"/>',
            *panel.level(0.0, "0 %"),
            *panel.level(largest, f"{largest * 100:.2f} %"),
        ]
        return _small(axis, parts)

    return picture("Share of equity in the market over time", draw)


def fees_chart(curve: Sequence[Earned], from_ts: int, to_ts: int) -> str:
    """Return the picture of realised P&L, gross and net; the area between is the fees."""
    if not curve:
        return "<p>No trade was closed, so no fee was earned back or lost.</p>"
    step = -(-len(curve) // FEES_POINTS_MAX)
    shown = [Earned(from_ts, 0, 0), *curve[::step], curve[-1], curve[-1]._replace(ts=to_ts)]
    low = min(min(each.net, each.before_fees) for each in shown)
    high = max(max(each.net, each.before_fees) for each in shown)

    def draw(canvas: Canvas) -> Drawing:
        axis = TimeAxis(canvas, from_ts, to_ts)
        panel = Panel(canvas, TOP, SMALL_HEIGHT, low, max(high, low + 1))
        before = [(axis.x(each.ts), panel.y(each.before_fees)) for each in shown]
        after = [(axis.x(each.ts), panel.y(each.net)) for each in shown]
        parts = [
            f'<path class="paid" d="{area(before, after)}"/>',
            f'<path class="price" d="{line(before)}"/>',
            f'<path class="equity" d="{line(after)}"/>',
            *panel.level(low, _amount(low)),
            *panel.level(high, _amount(high)),
            *(panel.level(0, "0") if _has_room(panel, 0) else ()),
        ]
        return _small(axis, parts)

    return picture("Earned by closed trades before and after fees", draw)


def _has_room(panel: Panel, value: float) -> bool:
    """Return whether a label at a value keeps clear of the labels at both ends."""
    y = panel.y(value)
    return panel.top + LABEL_ROOM < y < panel.top + panel.height - LABEL_ROOM


def _small(axis: TimeAxis, parts: Sequence[str]) -> Drawing:
    height = TOP + SMALL_HEIGHT + TIME_HEIGHT
    return Drawing(height, [*parts, *axis.marks(height - 6)])


def _amount(value: int) -> str:
    return money(str(Decimal(value) / UNIT))
