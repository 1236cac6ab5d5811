"""Tables of a backtest's document, as wide as the terminal; in a pipe, a hundred columns wide.

They are made only from the document, so a kept result reads as it did when it was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Final

from minibot.backtest.report.returns import MONTH
from minibot.backtest.report.statistics import GROUPS, KEY_FIGURES, Shown, figure_text
from minibot.engine.signal_log import ORDER
from minibot.events.model import BLOCK, HOLD, JsonObject
from minibot.events.reasons import REASONS
from minibot.report.columns import WIDTH, filled, table_lines, width_now
from minibot.report.figures import (
    NONE,
    change,
    counted,
    date_clock,
    day,
    long_duration,
    money,
    price,
    share,
    short_duration,
    signed,
)

NO_TRADE: Final = "It did not trade."
EXTREMES: Final = 5
# Width of a label with its figure, where there is enough room.
FIGURE_WIDE: Final = 44
STRETCHES_SHOWN: Final = 60
# Fewer days than a quarter say little about a year.
DAYS_ENOUGH: Final = 90
GROUPINGS: Final = (
    ("by_symbol", "By symbol"),
    ("by_entry_reason", "By entry reason"),
    ("by_exit_reason", "By exit reason"),
)
GROUP_HEAD: Final = (
    "", "trades", "won", "win rate", "net", "mean", "best", "worst", "factor", "fees", "held",
)  # fmt: skip
TRADE_HEAD: Final = (
    "trade", "symbol", "opened", "held", "bought at", "sold at", "net", "net %", "entry", "exit",
)  # fmt: skip
REFUSAL_HEAD: Final = ("", "reason", "times", "meaning")
REFUSALS_SHOWN: Final = 6
STRETCH_HEAD: Final = ("from", "trades", "won", "lost", "result", "return", "fees", "equity")
# Figures of each fill assumption that are shown side by side.
BAND_KEYS: Final = ("pnl", "return", "drawdown_ratio_max", "trades", "win_rate", "fees", "sharpe")
BAND: Final = tuple(shown for key in BAND_KEYS for shown in KEY_FIGURES if shown.key == key)


def lines(document: JsonObject, breakdown: str | None = None) -> list[str]:
    """Return the whole report as lines.

    Args:
        document: A document of `documents.document_of`, fresh or kept.
        breakdown: day, week or month, for a table of these periods.
    """
    figures, trades = document["figures"], document["trades"]
    sections: list[list[str]] = [head_lines(document), figure_lines(figures)]
    if len(document["band"]) > 1:
        title = "By fill assumption (the first is what a night assumes)"
        sections.append([title, *band_lines(document["band"])])
    for key, title in GROUPINGS:
        sections.append([title, *group_lines(document[key])])
    if figures["trades"]:
        has_years = day(document["from_ts"])[:4] != day(document["to_ts"])[:4]
        for title, found, none in (
            ("Best trades", best(trades), "None earned anything."),
            ("Worst trades", worst(trades), "None lost anything."),
        ):
            sections.append([title, *trade_lines(found, none, has_years=has_years)])
    sections.append(["Why not more", *refusal_lines(document["refusals"])])
    if breakdown is not None:
        found = document["breakdown"][breakdown]
        sections.append([f"By {breakdown}", *stretch_lines(found, breakdown)])
    return [line for section in sections for line in [*section, ""]][:-1]


def head_lines(document: JsonObject) -> list[str]:
    """Return the head: strategy, profile, source, span, and how it ended."""
    from_ts, to_ts = document["from_ts"], document["to_ts"]
    market = ", ".join(
        counted(number, kind.replace("_", " ")) for kind, number in document["inputs"].items()
    )
    signals = ", ".join(f"{number:,} {side}" for side, number in document["signals"].items())
    stop, strategy = document["stop"], document["config"]["strategy"]["name"]
    return [
        f"Backtest of {strategy} in {document['quote_asset']}, on paper",
        f"  profile       {document['profile']}",
        f"  source        {', '.join(document['sources'])}",
        f"  span          {date_clock(from_ts)} to {date_clock(to_ts)} UTC, "
        f"{long_duration(to_ts - from_ts)}",
        *_wrapped("market", market or "no event"),
        f"  signals       {signals or 'none'}",
        f"  ended by      {f'STOPPED by risk: {stop}' if stop else 'the end of the source'}",
        *(line for text in assumed(document) for line in _wrapped("assumed", text)),
        *_still_open(document["figures"]),
        *_market(document),
    ]


def assumed(document: JsonObject) -> list[str]:
    """Return the assumptions, one sentence each: those of the sources, and of entries at a low."""
    count = document.get("entered_at_low", 0)  # Older results have none.
    if not count:
        return [*document["assumptions"]]
    entries = f"{counted(count, 'position')} opened by a resting order at the low of a bar"
    text = f"{entries} (entered_at_low), whose high was taken to come first"
    return [*document["assumptions"], text]


def _wrapped(label: str, text: str) -> list[str]:
    first, after = f"  {label:<14}", " " * 16
    wide = min(WIDTH, width_now())
    return filled(text, wide, first, after)


def _market(document: JsonObject) -> list[str]:
    """Return the change of each symbol and the rule of buy-and-hold; older results have none."""
    market = document.get("market")
    if market is None or market["change"] is None:
        return []
    changes = [f"{each['symbol']} {change(each['change'])}" for each in market["symbols"]]
    if len(changes) > 1:
        changes.append(f"mean {change(market['change'])}")
    return [*_wrapped("market change", ", ".join(changes)), *_wrapped("", market["rule"])]


def _still_open(figures: JsonObject) -> list[str]:
    held = [
        f"{money(item['qty'], 8)} {item['symbol']} bought at {price(item['entry_price_avg'])}"
        for item in figures["open_positions"]
    ]
    return [f"  still open    {'; '.join(held)}"] if held else []


def figure_lines(figures: JsonObject) -> list[str]:
    """Return the key figures, two groups side by side where there is room."""
    found: list[str] = []
    size, is_beside = _figure_size(figures)
    for left, right in zip(GROUPS[::2], GROUPS[1::2], strict=True):
        if not is_beside:
            for title, group in (left, right):
                found += [title, *(f"  {_figure(figures, shown, size)}" for shown in group), ""]
            continue
        found.append(f"{left[0]:<{size + 6}}{right[0]}")
        for pair in zip_longest(left[1], right[1]):
            cells = [_figure(figures, shown, size) for shown in pair]
            found.append(f"  {cells[0]:<{size + 2}}  {cells[1]}".rstrip())
        found.append("")
    wide = min(WIDTH, width_now())
    return found + filled(of_what(figures), wide, "  ", "  ")


def _figure_size(figures: JsonObject) -> tuple[int, bool]:
    """Return the width of a label with its figure, and whether two fit side by side."""
    every = [shown for _, group in GROUPS for shown in group]
    least = max(len(_figure(figures, shown, 0)) for shown in every)
    room = (width_now() - len("    ") - len("    ")) // 2
    return (min(FIGURE_WIDE, room), True) if least <= room else (max(least, FIGURE_WIDE), False)


def _figure(figures: JsonObject, shown: Shown | None, size: int) -> str:
    if shown is None:
        return ""
    text = figure_text(shown.kind, figures.get(shown.key))
    return f"{shown.label}  {text:>{max(0, size - len(shown.label) - 2)}}"


def of_what(figures: JsonObject) -> str:
    """Return a sentence on annualised figures: from which returns, or why there are none."""
    kind, number = figures["returns_of"], figures["returns"]
    if kind is None:
        return "Too short for figures of a year: they need ten hours of market time."
    by = counted(number, f"{'daily' if kind == 'day' else 'hourly'} return")
    few = "" if kind == "day" and number >= DAYS_ENOUGH else "; few, so doubt them"
    return f"Sharpe, Sortino, Calmar, CAGR and volatility from {by}{few}."


def best(trades: Sequence[JsonObject]) -> list[JsonObject]:
    """Return up to `EXTREMES` closed trades with the largest gains, the best first."""
    won = [trade for trade in trades if trade["net"] is not None and Decimal(trade["net"]) > 0]
    return sorted(won, key=lambda trade: (-Decimal(trade["net"]), trade["number"]))[:EXTREMES]


def worst(trades: Sequence[JsonObject]) -> list[JsonObject]:
    """Return up to `EXTREMES` closed trades with the largest losses, the worst first."""
    lost = [trade for trade in trades if trade["net"] is not None and Decimal(trade["net"]) < 0]
    return sorted(lost, key=lambda trade: (Decimal(trade["net"]), trade["number"]))[:EXTREMES]


def group_lines(groups: Sequence[JsonObject]) -> list[str]:
    """Return a table of groups of trades."""
    return table_lines(GROUP_HEAD, [group_cells(group) for group in groups], NO_TRADE)


def group_cells(group: JsonObject) -> list[str]:
    """Return a group as cells of a table."""
    return [
        group["name"],
        f"{group['trades']:,}",
        f"{group['wins']:,}",
        share(group["win_rate"], 0),
        signed(group["net"]),
        *(figure_text("signed", group[key]) for key in ("net_mean", "net_max", "net_min")),
        money(group["profit_factor"]),
        money(group["fees"]),
        NONE if group["held_ms_mean"] is None else short_duration(group["held_ms_mean"]),
    ]


def trade_lines(
    trades: Sequence[JsonObject], none: str = NO_TRADE, *, has_years: bool
) -> list[str]:
    """Return a table of trades, without their numbers to save room.

    Args:
        trades: The trades, from a document.
        none: Text instead of an empty table.
        has_years: Whether times have their year, as in a span of several.
    """
    rows = [trade_cells(trade)[1:] for trade in trades]
    for row in rows:
        row[1] = row[1] if has_years else row[1][len("2025-") :]
    return table_lines(TRADE_HEAD[1:], rows, none, texts=(0, 7, 8), whole=(0,), below=(7, 8))


def trade_cells(trade: JsonObject) -> list[str]:
    """Return a trade as cells of a table."""
    opened, closed = trade["opened_ts"], trade["closed_ts"]
    ratio = trade["return"]
    return [
        str(trade["number"]),
        trade["symbol"],
        date_clock(opened),
        "open" if closed is None else short_duration(closed - opened),
        price(trade["entry_price"]),
        price(trade["exit_price"]),
        figure_text("signed", trade["net"]),
        NONE if ratio is None else signed(str(Decimal(ratio) * 100)),
        trade["entry_reason"],
        trade["exit_reason"],
    ]


def refusal_lines(refusals: JsonObject) -> list[str]:
    """Return a table of reasons for holds, refusals and unfilled orders, most frequent first."""
    rows = refusal_rows(refusals)
    return table_lines(REFUSAL_HEAD, rows, "Nothing was held back.", texts=(0, 1, 3), whole=(0, 1))


def refusal_rows(refusals: JsonObject) -> list[list[str]]:
    """Return up to `REFUSALS_SHOWN` rows each of strategy, risk and orders: reason and count."""
    return [
        [by, code, f"{number:,}", REASONS[code].meaning if code in REASONS else ""]
        for by in (HOLD, BLOCK, ORDER)
        for code, number in _most(refusals.get(by, {}))[:REFUSALS_SHOWN]
    ]


def _most(counts: JsonObject) -> list[tuple[str, int]]:
    """Return counts, the largest first; a kept document has them by their names."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def stretch_lines(found: Sequence[JsonObject], kind: str) -> list[str]:
    """Return a table of days, weeks or months; only the newest if there are too many to read."""
    rows = [stretch_cells(stretch, kind) for stretch in found[-STRETCHES_SHOWN:]]
    left = len(found) - len(rows)
    note = [f"  The first {left:,} are left out here; --json has them all."] if left else []
    return [*note, *table_lines(STRETCH_HEAD, rows, "No market data came.")]


def stretch_cells(stretch: JsonObject, kind: str) -> list[str]:
    """Return a day, week or month as cells of a table."""
    name = day(stretch["ts"])
    return [
        name[:7] if kind == MONTH else name,
        f"{stretch['trades']:,}",
        f"{stretch['wins']:,}",
        f"{stretch['losses']:,}",
        signed(stretch["pnl"]),
        share(stretch["return"]),
        money(stretch["fees"]),
        money(stretch["equity"]),
    ]


def band_lines(assumptions: Sequence[JsonObject]) -> list[str]:
    """Return key figures by fill assumption, one line each."""
    head = ("assumption", *(shown.label for shown in BAND))
    table = table_lines(head, [band_cells(each) for each in assumptions], "None was run.")
    return [*table, *_the_same(assumptions)]


def _the_same(assumptions: Sequence[JsonObject]) -> list[str]:
    """Return a line naming the assumptions that decide as the first does; none if none does."""
    first, *others = assumptions
    same = [each["name"] for each in others if each["digest"] == first["digest"]]
    return [f"  {', '.join(same)}: every fill as under {first['name']}"] if same else []


def band_cells(assumption: JsonObject) -> list[str]:
    """Return the key figures under one assumption as cells of a table."""
    figures = assumption["figures"]
    return [assumption["name"], *(figure_text(item.kind, figures[item.key]) for item in BAND)]
