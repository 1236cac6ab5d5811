"""Page of a backtest: one self-contained HTML file, like a night's report.

Its size is bounded: curves are thinned, tables of trades cut, close-ups limited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from minibot.backtest.report import heat, tables
from minibot.backtest.report.curves import band_of
from minibot.backtest.report.drawn_sections import DrawnSections
from minibot.backtest.report.returns import HOUR, MONTH
from minibot.backtest.report.review import Review
from minibot.backtest.report.statistics import GROUPS, figure_text
from minibot.events.model import JsonObject
from minibot.replay.explain.checks import price_text
from minibot.report.chart import equity_chart
from minibot.report.curve import Point
from minibot.report.figures import (
    change,
    counted,
    date_clock,
    long_duration,
    money,
    share,
    signed,
    signed_or_none,
)
from minibot.report.markup import (
    Tile,
    document,
    folded,
    hashes,
    heading,
    machine,
    paragraph,
    section,
    table,
    tile_row,
    tone_of,
)
from minibot.report.trade_sections import steps_table

TRADES_SHOWN: Final = 1000
# The newest trades are unfolded, the earlier ones folded.
ROWS_SHOWN: Final = 30
STRETCHES_SHOWN: Final = 400


def page(reviews: Mapping[str, Review], about: JsonObject, drawn: DrawnSections) -> str:
    """Return the whole page.

    Args:
        reviews: By fill assumption, the profile's own first.
        about: The document of the same reviews (`documents.document_of`).
        drawn: The sections of the first review.
    """
    review = next(iter(reviews.values()))
    parts = [
        _head(about),
        _tiles(about),
        _held_against(about),
        section("Price with entries and exits", drawn.prices),
        section("Round trips", _trades(about["trades"])),
        section("Equity and drawdown", _equity(reviews, drawn.curve)),
        *_assumptions(about),
        *([drawn.values] if drawn.values else []),
        section("Statistics", _statistics(about["figures"])),
        *_groups(about),
        section("Why not more", _refusals(about)),
        section("Exposure", drawn.exposure),
        section("Fees", drawn.fees),
        section("Returns by month", heat.monthly(review.series[MONTH])),
        section("Returns by hour", heat.hourly(review.series[HOUR])),
        section("Days, weeks, months", _stretches(about["breakdown"])),
        machine(
            "Machine details: what was assumed, source, proof",
            [
                section("What was assumed", _assumed(about)),
                section("Proof", _proof(about)),
            ],
        ),
    ]
    return document(f"minibot backtest {about['id']}", parts)


def _head(about: JsonObject) -> str:
    badges = [("backtest", ""), ("paper", ""), (", ".join(about["sources"]), "")]
    if about["stop"]:
        badges.append((f"STOP {about['stop']}", "bad"))
    span = f"{date_clock(about['from_ts'])} to {date_clock(about['to_ts'])} UTC"
    badges.append((f"{span}, {long_duration(about['to_ts'] - about['from_ts'])}", ""))
    strategy = about["config"]["strategy"]["name"]
    return heading(strategy, ", ".join([*about["symbols"], about["profile"]]), badges)


def _tiles(about: JsonObject) -> str:
    figures = about["figures"]
    tone = tone_of(figures["pnl"])
    moved, asset = figures["market_change"], about["quote_asset"]
    return tile_row(
        [
            Tile(f"result, {asset}", signed(figures["pnl"]), tone),
            Tile("return", change(figures["return"]), tone),
            Tile("market change", change(moved), tone_of(moved)),
            Tile(f"buy and hold, {asset}", signed_or_none(figures["hold_pnl"])),
            Tile("max drawdown", share(figures["drawdown_ratio_max"])),
            Tile("Sharpe", money(figures["sharpe"])),
            Tile("trades", f"{figures['trades']:,}"),
            Tile("win rate", share(figures["win_rate"], 0)),
            Tile("profit factor", money(figures["profit_factor"])),
            Tile(f"fees, {asset}", money(figures["fees"])),
        ]
    )


def _held_against(about: JsonObject) -> str:
    """Return the rule of buy-and-hold, and the change of each symbol if there are several."""
    market = about["market"]
    found = market["symbols"]
    if not found:
        return ""
    parts = [paragraph(market["rule"], "soft")]
    if len(found) > 1:
        rows = [
            (
                each["symbol"],
                price_text(each["first_close"]),
                price_text(each["last_close"]),
                change(each["change"]),
            )
            for each in found
        ]
        head = ("symbol", "first close", "last close", "change")
        parts.append(folded("Market change by symbol", table(head, rows, "", "figures")))
    return "\n".join(parts)


def _equity(reviews: Mapping[str, Review], curve: Sequence[Point]) -> str:
    review = next(iter(reviews.values()))
    trips = [trade.trip for trade in review.trades]
    band = band_of([each.result for each in reviews.values()])
    drawn = equity_chart(curve, trips, review.quote_asset, band)
    if not band:
        return drawn
    text = (
        f"The line is equity under the fill assumption of a night, {next(iter(reviews))}; the band "
        f"behind it spans {', '.join(reviews)}."
    )
    return drawn + paragraph(text)


def _assumptions(about: JsonObject) -> Iterator[str]:
    if len(about["band"]) > 1:
        rows = [tables.band_cells(each) for each in about["band"]]
        rows[0][0] += " (a night's own)"
        head = ("assumption", *(shown.label for shown in tables.BAND))
        yield section("By fill assumption", table(head, rows, "None was run.", "figures"))


def _statistics(figures: JsonObject) -> str:
    blocks = [
        table(
            (title, ""),
            [(item.label, figure_text(item.kind, figures.get(item.key))) for item in group],
            "",
        )
        for title, group in GROUPS
    ]
    note = tables.of_what(figures)
    return f'<div class="pair">{"".join(blocks)}</div>{paragraph(note)}'


def _groups(about: JsonObject) -> Iterator[str]:
    for key, title in tables.GROUPINGS:
        rows = [tables.group_cells(group) for group in about[key]]
        yield section(title, table(tables.GROUP_HEAD, rows, tables.NO_TRADE, "figures"))
    trades = about["trades"]
    for title, found in (
        ("Best trades", tables.best(trades)),
        ("Worst trades", tables.worst(trades)),
    ):
        if found:
            rows = [_trade_cells(trade) for trade in found]
            yield section(title, table(tables.TRADE_HEAD, rows, tables.NO_TRADE))


def _trades(trades: Sequence[JsonObject]) -> str:
    rows = [_trade_cells(trade) for trade in trades[-TRADES_SHOWN:]]
    left = len(trades) - len(rows)
    shown = table(tables.TRADE_HEAD, rows[-ROWS_SHOWN:], tables.NO_TRADE)
    if before := rows[:-ROWS_SHOWN]:
        earlier = table(tables.TRADE_HEAD, before, "")
        earlier = _left_out(left) + earlier
        newest = paragraph(f"The newest {ROWS_SHOWN} of {len(trades):,}; earlier ones are below.")
        shown = (
            newest + shown + folded(f"{counted(len(before) + left, 'trade')} before these", earlier)
        )
    return shown + steps_table(
        [
            (trade["number"], trade["symbol"], date_clock(step["ts"]), step, step["because"])
            for trade in trades[-TRADES_SHOWN:]
            for step in trade.get("steps", ())  # Of trades in parts; older results have none.
        ]
    )


def _trade_cells(trade: JsonObject) -> list[str]:
    """Return a trade as cells, with the exit that was hit in place of its code."""
    *cells, code = tables.trade_cells(trade)
    return [*cells, trade.get("left_because") or code]  # Older kept results have only the code.


def _refusals(about: JsonObject) -> str:
    rows = tables.refusal_rows(about["refusals"])
    return table(tables.REFUSAL_HEAD, rows, "Nothing was held back.")


def _stretches(breakdown: Mapping[str, Sequence[JsonObject]]) -> str:
    return "\n".join(
        folded(f"By {kind}", _left_out(len(found) - STRETCHES_SHOWN) + _stretched(kind, found))
        for kind, found in breakdown.items()
    )


def _stretched(kind: str, found: Sequence[JsonObject]) -> str:
    rows = [tables.stretch_cells(each, kind) for each in found[-STRETCHES_SHOWN:]]
    return table(tables.STRETCH_HEAD, rows, "No market data came.", "figures")


def _left_out(left: int) -> str:
    if left <= 0:
        return ""
    return paragraph(
        f"The first {left:,} are left out here; result.json beside this page has them all."
    )


def _assumed(about: JsonObject) -> str:
    execution = about["config"]["execution"]
    rows = [(name.replace("_", " "), str(value)) for name, value in sorted(execution.items())]
    made_up = "".join(paragraph(text) for text in tables.assumed(about))
    words = [
        "Fills are modelled, on paper, with no effect on the market. ",
        "The same strategy, risk and execution code as in a night decided everything here. ",
        "Past prices promise nothing.",
    ]
    return made_up + table(("execution", ""), rows, "") + paragraph("".join(words))


def _proof(about: JsonObject) -> str:
    rows = [("decision digest", about["digest"])]
    rows += [
        (f"{word}: {name}", str(sha256))
        for word, files in about["files"].items()
        for name, sha256 in files.items()
    ]
    how = (
        "<p>The same command gives the same digest and the same bytes: "
        "<code>minibot backtest --twice ...</code></p>"
    )
    events = ", ".join(f"{n:,} {kind}" for kind, n in about["inputs"].items())
    return hashes(("", "sha256"), rows) + paragraph(f"Market events: {events or 'none'}.") + how
