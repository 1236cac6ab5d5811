"""Drawn sections of a backtest's page: those that need only its first review.

They take the longest of all sections. A backtest under several fill assumptions draws them while
other processes still run the other assumptions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from minibot.backtest.report.curves import earned, equity_curve, named_values
from minibot.backtest.report.exposure import stretched
from minibot.backtest.report.kept_charts import charts_document
from minibot.backtest.report.pictures import (
    DOTS_MAX,
    VALUES_MAX,
    exposure_chart,
    fees_chart,
    marked,
    values_chart,
)
from minibot.backtest.report.returns import DAY, MONTH, WEEK
from minibot.backtest.report.review import Review
from minibot.backtest.report.statistics import figure_text
from minibot.events.model import JsonObject
from minibot.report.curve import Point
from minibot.report.figures import counted, day, listed, money, share, signed
from minibot.report.markup import folded, paragraph, section, subheading
from minibot.report.price_chart import MARKS_EXPLAINED, TIPS_MAX, Marked, exits_text, price_chart

SYMBOLS_DRAWN: Final = 12
EXPOSURE_POINTS: Final = 400
# Largest number of close-ups of the price, so that the page stays readable and small.
CLOSE_UPS_MAX: Final = 31
CLOSE_UP_POINTS: Final = 300
# Largest number of dots of named values over all pictures.
DOTS_OF_ALL: Final = 24_000


class DrawnSections(NamedTuple):
    """Markup of the sections, and what is kept beside the page.

    Attributes:
        curve: The equity curve (`curves.equity_curve`).
        charts: The charts that are kept (`kept_charts.charts_document`).
        prices: The price of each symbol with its trades.
        values: The section of values that the strategy named; empty without any.
        exposure: Exposure over time.
        fees: What closed trades earned before and after fees.
    """

    curve: Sequence[Point]
    charts: JsonObject
    prices: str
    values: str
    exposure: str
    fees: str

    @classmethod
    def of(cls, review: Review) -> DrawnSections:
        """Draw the sections of a review."""
        curve = equity_curve(review.result)
        return cls(
            curve,
            charts_document(review, curve),
            "\n".join(_prices(review)),
            _values(review),
            _exposure(review),
            _fees(review),
        )


def _prices(review: Review) -> Iterator[str]:
    """Yield the price chart of each symbol's whole span, then close-ups of its parts."""
    result = review.result
    symbols = sorted(result.prices)[:SYMBOLS_DRAWN]
    for symbol in symbols:
        trades = marked([trade for trade in review.trades if trade.symbol == symbol])
        if len(symbols) > 1:
            yield subheading(symbol)
        yield price_chart(
            *(symbol, result.prices[symbol], trades, result.from_ts, result.to_ts),
            lines=result.lines.get(symbol),
            has_tips=len(review.trades) <= TIPS_MAX,
        )
        yield exits_text(trades)
        yield from _close_ups(review, symbol, len(symbols), trades)
    left = len(result.prices) - len(symbols)
    if left > 0:
        yield paragraph(f"{left} more symbols are not drawn.")
    if not symbols:
        yield paragraph("No market data came.")
        return
    if review.trades:
        yield paragraph(MARKS_EXPLAINED, "soft")


def _values(review: Review) -> str:
    """Return the section of values that the strategy named in its signals, a picture by symbol."""
    result = review.result
    symbols = sorted(result.prices)[:SYMBOLS_DRAWN]
    dots = max(100, min(DOTS_MAX, DOTS_OF_ALL // (max(1, len(symbols)) * VALUES_MAX)))
    parts = []
    for symbol in symbols:
        if values := named_values(result, symbol, dots):
            parts += [subheading(symbol)] if len(symbols) > 1 else []
            parts.append(values_chart(values, result.from_ts, result.to_ts))
            if left := list(values)[VALUES_MAX:]:
                parts.append(paragraph(f"Not drawn: {listed(left)}.", "soft"))
    if not parts:
        return ""
    parts.append(paragraph("Blue at BUY, orange at SELL, grey at HOLD.", "soft"))
    return section("What the strategy saw at its signals", "\n".join(parts))


def _close_ups(
    review: Review, symbol: str, symbols: int, trades: Sequence[Marked]
) -> Iterator[str]:
    """Yield folded close-ups of those parts of the span in which a position was opened.

    A part in which one was only closed has none.
    """
    bars, lines = review.result.prices[symbol], review.result.lines.get(symbol)
    found = []
    opened = [trade.trip.opened_ts for trade in trades]
    for name, from_ts, to_ts in _parts(review, symbols):
        first, end = (bisect_left(opened, ts) for ts in (from_ts, to_ts))
        if number := end - first:
            # The trades of a symbol follow each other: one at most was open before.
            drawn = price_chart(
                *(symbol, bars, trades[max(0, first - 1) : end], from_ts, to_ts),
                lines=lines,
                points=CLOSE_UP_POINTS,
                has_tips=len(review.trades) <= TIPS_MAX,
            )
            found.append(folded(f"{name}: {counted(number, 'trade')}", drawn))
    if found:
        yield folded(f"{symbol} more closely", "\n".join(found))


def _parts(review: Review, symbols: int) -> list[tuple[str, int, int]]:
    """Return the days of the span, or else weeks or months, if few enough to be drawn."""
    for kind in (DAY, WEEK, MONTH):
        series = review.series[kind]
        if len(series) > 1 and len(series) * symbols <= CLOSE_UPS_MAX:
            ends = [*(period.ts for period in series[1:]), review.result.to_ts]
            return [
                (f"{kind} of {day(period.ts)}", max(period.ts, review.result.from_ts), end)
                for period, end in zip(series, ends, strict=True)
            ]
    return []


def _exposure(review: Review) -> str:
    result = review.result
    steps = stretched(review.exposure, result.from_ts, result.to_ts, EXPOSURE_POINTS)
    figures = review.figures
    if not figures["fills"]:
        return paragraph("Nothing was held.")
    text = (
        f"In the market {share(figures['time_in_market'])} of the time, "
        f"with {share(figures['exposure_mean'])} of equity on average and "
        f"{share(figures['exposure_max'])} at most."
    )
    return exposure_chart(steps, result.from_ts, result.to_ts) + paragraph(text)


def _fees(review: Review) -> str:
    figures, result = review.figures, review.result
    if not figures["fills"]:
        return paragraph("It did not trade, so it paid no fee.")
    drawn = fees_chart(earned(review.trades), result.from_ts, result.to_ts)
    text = (
        f"{money(figures['fees'])} paid on {money(figures['notional'])} bought and sold "
        f"({figure_text('ratio', figures['fees_bps'])} bps); result before fees "
        f"{signed(figures['pnl_before_fees'])}, after them {signed(figures['pnl'])}. "
        "The upper line is what closed trades earned before fees, the lower one after them."
    )
    return drawn + paragraph(text)
