"""Curves of a review, thinned to the resolution of a picture, and the band of several curves."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from minibot.backtest.report.trades import Trade
from minibot.engine.run_result import BacktestResult
from minibot.engine.signal_log import Named, NamedValues
from minibot.report.chart import Span
from minibot.report.curve import EquityCurve, Point

BAND_POINTS: Final = 240
# If this many values or more never fall, they count as a counter and are not drawn.
FEW: Final = 10


def equity_curve(result: BacktestResult) -> list[Point]:
    """Return the equity curve with its lows and drawdowns, a few hundred points."""
    curve = EquityCurve()
    high = equity = result.equity_start
    curve.add(result.from_ts, equity, high)
    for ts, equity in zip(*result.equity_columns, strict=True):
        if equity > high:
            high = equity
        curve.add(ts, equity, high)
    # Stretches begin at round times, but the first one begins with the market.
    curve.points[0].ts = max(curve.points[0].ts, result.from_ts)
    return curve.points


def band_of(results: Sequence[BacktestResult]) -> list[Span]:
    """Return highest and lowest equity over time of a source's results; empty below two."""
    if len(results) < 2:
        return []
    from_ts = min(result.from_ts for result in results)
    to_ts = max(result.to_ts for result in results)
    times = [from_ts + (to_ts - from_ts) * at // BAND_POINTS for at in range(BAND_POINTS + 1)]
    curves = [list(_at(result, times)) for result in results]
    reached = zip(*curves, strict=True)
    return [Span(ts, min(at), max(at)) for ts, at in zip(times, reached, strict=True)]


def _at(result: BacktestResult, times: Iterable[int]) -> Iterator[int]:
    """Yield the last known equity at each time."""
    known, amounts = result.equity_columns
    for ts in times:
        at = bisect_right(known, ts)
        yield amounts[at - 1] if at else result.equity_start


def named_values(result: BacktestResult, symbol: str, count: int) -> dict[str, list[Named]]:
    """Return the numeric values of a symbol's signals by name, in the strategy's own order.

    Args:
        result: The result of the backtest.
        symbol: The symbol.
        count: Largest number of values of a name. Values of BUY and SELL come first, thinned evenly
            if there are more. Values of HOLD, thinned evenly, fill the places that are left.
    """
    named = result.log.named.get(symbol, {})
    return {
        name: _few(values, count)
        for name, values in named.items()
        if _is_worth_drawing(values.values)
    }


def _is_worth_drawing(values: Sequence[float]) -> bool:
    """Return whether a picture of the values is worthwhile.

    They have to differ and, if there are `FEW` or more, to fall at least once.
    """
    if all(value == values[0] for value in values):
        return False
    return len(values) < FEW or any(b < a for a, b in pairwise(values))


def _few(values: NamedValues, count: int) -> list[Named]:
    actions, held = values.places(is_hold=False), values.places(is_hold=True)
    few = actions[:: -(-len(actions) // count) or 1]
    left = count - len(few)
    rest = held[:: -(-len(held) // left) or 1] if left > 0 else []
    return list(values.chosen(sorted([*few, *rest])))


class Earned(NamedTuple):
    """Realised P&L of all trades closed by `ts`, hundred-millionths of quote."""

    ts: int
    before_fees: int
    net: int


def earned(trades: Iterable[Trade]) -> list[Earned]:
    """Return realised P&L, gross and net of fees, after each closed trade, in order of closing."""
    closed = sorted(
        (trade for trade in trades if trade.is_closed), key=lambda trade: trade.trip.closed_ts
    )
    nets = accumulate(trade.net for trade in closed)
    before = accumulate(trade.net + trade.trip.fees for trade in closed)
    return [
        Earned(trade.trip.closed_ts, gross, net)
        for trade, gross, net in zip(closed, before, nets, strict=True)
    ]
