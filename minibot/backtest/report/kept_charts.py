"""Charts of a kept backtest as data: bars, lines and equity, as fine as a picture can show.

A page of two results draws a kept backtest again from its charts, on the axis of the other one. The
charts have a separate file, because programs read the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from minibot.engine.run_result import PriceBar
from minibot.events.model import JsonObject
from minibot.events.money import UNIT, amount_text
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed
from minibot.report.curve import Point
from minibot.report.plot import WIDE
from minibot.report.price_chart import Plotted, thinned

if TYPE_CHECKING:
    from minibot.backtest.report.review import Review

CHARTS_FILE: Final = "charts.json"
SCHEMA: Final = "minibot.backtest_charts"
V: Final = 1
# Number of symbols with charts, the first by name.
SYMBOLS_KEPT: Final = 12


class Charts(NamedTuple):
    """Charts of a run or a backtest: bars and lines by symbol, and the curve of equity."""

    prices: Mapping[str, Sequence[PriceBar]]
    lines: Mapping[str, Mapping[str, Plotted]]
    curve: Sequence[Point]


def charts_document(review: Review, curve: Sequence[Point]) -> JsonObject:
    """Return the charts of a backtest as one JSON object, without a float.

    Args:
        review: The review.
        curve: Its equity curve (`curves.equity_curve`).
    """
    result = review.result
    symbols = sorted(result.prices)[:SYMBOLS_KEPT]
    return {
        "schema": SCHEMA,
        "v": V,
        "prices": {
            symbol: [
                [bar.ts, *map(repr, (bar.open, bar.high, bar.low, bar.close))]
                # The first candle begins before a result that begins within it.
                for bar in thinned(
                    bars, min(bars[0].ts, result.from_ts), result.to_ts + 1, WIDE.points
                )
            ]
            for symbol, bars in ((symbol, result.prices[symbol]) for symbol in symbols)
        },
        "lines": {
            symbol: {
                name: [[ts, repr(value)] for ts, value in _few(values)]
                for name, values in result.lines.get(symbol, {}).items()
            }
            for symbol in symbols
        },
        "equity": [
            [point.ts, *map(amount_text, (point.low, point.last, point.drawdown))]
            for point in curve
        ],
    }


def read_charts(folder: Path) -> Charts | None:
    """Return the charts of a kept backtest, None where it has none that can be read."""
    path = folder / CHARTS_FILE
    if not path.exists():
        return None
    try:
        found = read_hashed(path)
    except RunStop:
        return None
    if (found.get("schema"), found.get("v")) != (SCHEMA, V):
        return None
    return Charts(
        {
            symbol: [PriceBar(ts, *map(float, values)) for ts, *values in bars]
            for symbol, bars in found["prices"].items()
        },
        {
            symbol: {
                name: [(ts, float(value)) for ts, value in values] for name, values in named.items()
            }
            for symbol, named in found["lines"].items()
        },
        [Point(ts, *map(_units, amounts)) for ts, *amounts in found["equity"]],
    )


def _few(values: Plotted) -> Plotted:
    return values[:: -(-len(values) // (2 * WIDE.points)) or 1]


def _units(amount: str) -> int:
    return int(Decimal(amount) * UNIT)
