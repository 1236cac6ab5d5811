"""Page of two results side by side: a night and its backtest, two nights, or two backtests.

It is made of the pieces of the other pages: their figures, price charts and tables of round trips.
Sides share one time axis if at least half of the time from the first beginning to the last end is
common to both; if both have curves in the same asset, they share one picture of equity too.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from minibot.backtest.report.kept_comparison import (
    NAMES,
    compare,
    differences_of,
    figure_rows,
    what_rows,
)
from minibot.backtest.report.sides import Side
from minibot.events.money import UNIT, amount_text
from minibot.events.unit_sizes import MINUTE_MS
from minibot.report.chart import equity_chart
from minibot.report.figures import NONE, counted, plain_text, signed
from minibot.report.markup import (
    document,
    folded,
    hashes,
    heading,
    machine,
    paragraph,
    section,
    subheading,
    table,
)
from minibot.report.price_chart import MARKS_EXPLAINED, Marked
from minibot.report.trade_sections import (
    ROWS_SHOWN,
    TRIPS_SHOWN,
    prices_drawn,
    times_of,
    trips_table,
)

VALUE_LENGTH: Final = 40
PAIR_HEAD: Final = ("A", "B", "symbol", "opened A", "opened B", "net A", "net B", "B less A")
# Entries of one symbol this close to each other are taken for the same trade.
NEAR_MS: Final = MINUTE_MS


class Pair(NamedTuple):
    """Two round trips that are taken for the same trade, or one that only one side made."""

    first: Marked | None
    second: Marked | None

    @property
    def ts(self) -> int:
        """Time of the earlier entry, Unix ms."""
        return min(each.trip.opened_ts for each in self if each is not None)


def page(first: Side, second: Side) -> str:
    """Return the whole page."""
    sides = (first, second)
    documents = (first.document, second.document)
    ids = ", ".join(f"{name} {each['id']}" for name, each in zip(NAMES, documents, strict=True))
    badges = [("paper", ""), *((text, "") for text in differences_of(*documents))]
    shared = _shared_span(first, second)
    parts = [
        heading("Side by side", ids, badges),
        section(
            "Figures",
            table(
                ("", *NAMES, "B less A", "better"),
                list(figure_rows(*documents)),
                "Neither has figures.",
                "figures",
            ),
        ),
        section("Price with entries and exits", "\n".join(_prices(sides, shared))),
        section("Equity and drawdown", "\n".join(_equity(sides, shared))),
        section("Trades of both", _trades(first, second)),
        section("What was run", table(("", *NAMES), what_rows(*documents), "", "cards")),
        section("Settings that differ", _settings(first, second)),
        machine("Machine details: every round trip, proof", _details(sides)),
    ]
    return document(f"minibot {documents[0]['id']} beside {documents[1]['id']}", parts)


def _shared_span(first: Side, second: Side) -> tuple[int, int] | None:
    """Return the span from the first beginning to the last end, where the sides share an axis.

    Exactly half of that span in common is enough. None if less is common, or an end is unknown.
    """
    spans = [(side.document["from_ts"], side.document["to_ts"]) for side in (first, second)]
    if any(to_ts is None for _, to_ts in spans):
        return None
    (from_a, to_a), (from_b, to_b) = spans
    union = min(from_a, from_b), max(to_a, to_b)
    common = min(to_a, to_b) - max(from_a, from_b)
    return union if 2 * common >= union[1] - union[0] else None


def _prices(sides: Sequence[Side], shared: tuple[int, int] | None) -> Iterator[str]:
    for name, side in zip(NAMES, sides, strict=True):
        yield subheading(f"{name}: {side.document['id']}")
        if side.charts is None:
            yield paragraph(_not_kept(side))
            continue
        times = [bar.ts for bars in side.charts.prices.values() for bar in (*bars[:1], *bars[-1:])]
        own = (min(times, default=0), max(times, default=0))
        from_ts, to_ts = shared or own
        yield prices_drawn(side.charts.prices, side.marked, from_ts, to_ts, side.charts.lines)
    if any(side.marked for side in sides):
        yield paragraph(MARKS_EXPLAINED, "soft")


def _equity(sides: Sequence[Side], shared: tuple[int, int] | None) -> Iterator[str]:
    """Yield one picture of both curves where they share an axis, else one for each."""
    curves = [side.charts.curve if side.charts is not None else () for side in sides]
    trips = [[each.trip for each in side.marked] for side in sides]
    assets = [str(side.document["quote_asset"]) for side in sides]
    if shared is not None and all(len(curve) > 1 for curve in curves) and len(set(assets)) == 1:
        yield equity_chart(curves[0], trips[0], assets[0], beside=curves[1])
        yield paragraph("Drawdown and dots, green where a trade won, are those of A.", "soft")
        return
    for name, curve, own, asset, side in zip(NAMES, curves, trips, assets, sides, strict=True):
        yield subheading(f"{name}: {side.document['id']}")
        yield equity_chart(curve, own, asset) if curve else paragraph(_not_kept(side))


def _not_kept(side: Side) -> str:
    return (
        f"{side.document['id']} has no charts that can be read; the same minibot backtest, run "
        "again, keeps them."
    )


def _trades(first: Side, second: Side) -> str:
    pairs = paired(first.marked, second.marked)
    both = sum(None not in pair for pair in pairs)
    alone = [sum(pair[1 - at] is None for pair in pairs) for at in range(2)]
    text = (
        f"{counted(both, 'trade')} in both, opened within a minute of each other; {alone[0]} in A "
        f"alone, {alone[1]} in B alone."
    )
    time_text = times_of([*first.marked, *second.marked])
    rows = [_pair_cells(pair, time_text) for pair in pairs[:TRIPS_SHOWN]]
    shown = table(PAIR_HEAD, rows[:ROWS_SHOWN], "Neither traded.")
    if rest := rows[ROWS_SHOWN:]:
        shown += folded(f"{len(pairs) - ROWS_SHOWN:,} more", table(PAIR_HEAD, rest, ""))
    return (paragraph(text) if pairs else "") + shown


def paired(first: Sequence[Marked], second: Sequence[Marked]) -> list[Pair]:
    """Return the round trips of both sides in order of time, paired where both made the trade.

    Entries of one symbol at most `NEAR_MS` apart are candidates; the nearest are paired first.
    """
    near = sorted(
        (abs(one.trip.opened_ts - other.trip.opened_ts), one.number, other.number)
        for one, others in _candidates(first, second)
        for other in others
    )
    numbers: dict[int, int] = {}
    taken: set[int] = set()
    for _, one, other in near:
        if one not in numbers and other not in taken:
            numbers[one] = other
            taken.add(other)
    named = {each.number: each for each in second}
    pairs = [Pair(each, named.get(numbers.get(each.number, 0))) for each in first]
    pairs += [Pair(None, each) for each in second if each.number not in taken]
    return sorted(pairs, key=lambda pair: pair.ts)


def _candidates(
    first: Sequence[Marked], second: Sequence[Marked]
) -> Iterator[tuple[Marked, Sequence[Marked]]]:
    """Yield each round trip of the first side with the second side's candidates for it."""
    by_symbol: dict[str, list[Marked]] = defaultdict(list)
    for each in sorted(second, key=_opened):
        by_symbol[each.trip.symbol].append(each)
    for one in first:
        others = by_symbol[one.trip.symbol]
        begin = bisect_left(others, _opened(one) - NEAR_MS, key=_opened)
        yield one, others[begin : bisect_right(others, _opened(one) + NEAR_MS, key=_opened)]


def _opened(each: Marked) -> int:
    return each.trip.opened_ts


def _pair_cells(pair: Pair, time_text: Callable[[int], str]) -> list[str]:
    one = pair.first or pair.second
    nets = [each.trip.net if each is not None and each.trip.is_closed else None for each in pair]
    less = None if nets[0] is None or nets[1] is None else nets[1] - nets[0]
    return [
        *(NONE if each is None else str(each.number) for each in pair),
        "" if one is None else one.trip.symbol,
        *(NONE if each is None else time_text(each.trip.opened_ts) for each in pair),
        *(NONE if net is None else signed(amount_text(net)) for net in nets),
        NONE if less is None else _difference(less),
    ]


def _difference(units: int) -> str:
    """Return a difference of two results, rounded to hundredths of the quote asset."""
    hundredths = round(Decimal(units) / UNIT, 2)
    return signed(str(hundredths))


def _settings(first: Side, second: Side) -> str:
    settings = compare(first.document, second.document)["settings"]
    rows = [
        [name, *(plain_text(value, VALUE_LENGTH) for value in pair)]
        for name, pair in settings.items()
    ]
    return table(("", *NAMES), rows, "None.", "cards")


def _details(sides: Sequence[Side]) -> list[str]:
    parts = [
        section(f"Round trips of {name}", trips_table(side.marked))
        for name, side in zip(NAMES, sides, strict=True)
    ]
    rows = [
        (f"{word} of {name}", str(side.document.get(key)))
        for name, side in zip(NAMES, sides, strict=True)
        for word, key in (("decision digest", "digest"), ("root of the seal", "root"))
        if side.document.get(key)
    ]
    return [*parts, section("Proof", hashes(("", "sha256"), rows))]
