"""Trades on a page: price charts with entries and exits, and the table of round trips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from minibot.engine.run_result import PriceBar
from minibot.events.model import JsonObject
from minibot.events.unit_sizes import DAY_MS
from minibot.report.figures import (
    clock,
    counted,
    date_clock,
    duration,
    money,
    price,
    quantity,
    signed,
)
from minibot.report.markup import folded, paragraph, subheading, table
from minibot.report.price_chart import (
    TIPS_MAX,
    Marked,
    Plotted,
    exits_text,
    price_chart,
)

TRIPS_SHOWN: Final = 1000
ROWS_SHOWN: Final = 40
SYMBOLS_DRAWN: Final = 6
OPEN: Final = "open"
TRIP_HEAD: Final = (
    *("trade", "symbol", "opened", "closed", "held", "qty", "bought at", "sold at", "fees"),
    *("net", "entered on", "left because"),
)
STEP_HEAD: Final = ("trade", "symbol", "at", "side", "qty", "price", "because")


def prices_drawn(
    prices: Mapping[str, Sequence[PriceBar]],
    marked: Sequence[Marked],
    from_ts: int,
    to_ts: int,
    lines: Mapping[str, Mapping[str, Plotted]] | None = None,
) -> str:
    """Return the price charts of the symbols that were traded most; of one, if none was.

    Args:
        prices: Bars by symbol.
        marked: The round trips.
        from_ts: Beginning of the span, Unix ms.
        to_ts: End of the span.
        lines: Values of the strategy by symbol and name.
    """
    traded = Counter(each.trip.symbol for each in marked)
    symbols = sorted(prices, key=lambda symbol: (-traded[symbol], symbol))
    drawn = symbols[: max(1, min(SYMBOLS_DRAWN, len(traded)))]
    parts = []
    for symbol in drawn:
        trips = [each for each in marked if each.trip.symbol == symbol]
        parts += [subheading(symbol)] if len(drawn) > 1 else []
        parts.append(
            price_chart(
                *(symbol, prices[symbol], trips, from_ts, to_ts),
                lines=(lines or {}).get(symbol),
                has_tips=len(marked) <= TIPS_MAX,
            )
        )
        parts.append(exits_text(trips))
    if not drawn:
        return paragraph("No market data came.")
    if left := sum(1 for symbol in traded if symbol not in drawn):
        parts.append(paragraph(f"{counted(left, 'more symbol')} with trades not drawn."))
    return "\n".join(parts)


def trips_table(marked: Sequence[Marked]) -> str:
    """Return the table of round trips, the later ones folded; over a day, times have their date."""
    time_text = times_of(marked)
    rows = []
    for each in marked[-TRIPS_SHOWN:]:
        trip = each.trip
        shown = trip.to_json()
        rows.append(
            (
                str(each.number),
                trip.symbol,
                time_text(trip.opened_ts),
                time_text(trip.closed_ts) if trip.is_closed else OPEN,
                duration(trip.closed_ts - trip.opened_ts) if trip.is_closed else "-",
                quantity(shown["qty"]),
                price(shown["entry_price"]),
                price(shown["exit_price"]),
                money(shown["fees"]),
                "-" if shown["net"] is None else signed(shown["net"]),
                each.entry,
                each.exit if trip.is_closed else "",
            )
        )
    left = len(marked) - len(rows)
    note = f"<p>The first {left:,} are left out here.</p>" if left > 0 else ""
    found = note + table(TRIP_HEAD, rows[:ROWS_SHOWN], "It did not trade.")
    if rest := rows[ROWS_SHOWN:]:
        found += folded(f"{counted(len(rest), 'more round trip')}", table(TRIP_HEAD, rest, ""))
    return found + steps_table(
        [
            (each.number, each.trip.symbol, time_text(step.ts), step.to_json(), why)
            for each in marked[-TRIPS_SHOWN:]
            for step, why in each.steps
        ]
    )


def steps_table(steps: Sequence[tuple[int, str, str, JsonObject, str]]) -> str:
    """Return the folded table of trades that were bought or sold in parts; empty without any.

    Args:
        steps: Each with its trade's number and symbol, its time in words, its figures, its reason.
    """
    rows = [
        (str(number), symbol, at, step["side"], quantity(step["qty"]), price(step["price"]), why)
        for number, symbol, at, step, why in steps
    ]
    trades = counted(len({row[0] for row in rows}), "trade")
    return folded(f"Steps of {trades} in parts", table(STEP_HEAD, rows, "")) if rows else ""


def times_of(marked: Sequence[Marked]) -> Callable[[int], str]:
    """Return the form of round trips' times: with the date if they span a day or more."""
    times = [ts for each in marked for ts in (each.trip.opened_ts, each.trip.closed_ts) if ts]
    return date_clock if times and max(times) - min(times) >= DAY_MS else clock
