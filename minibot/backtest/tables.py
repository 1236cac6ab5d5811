"""A review as tables for a terminal of a hundred columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from minibot.backtest.groups import Group, Stretch
from minibot.backtest.returns import MONTH
from minibot.backtest.review import Review
from minibot.backtest.statistics import GROUPS, KEY_FIGURES, Shown, figure_text
from minibot.backtest.trades import Trade
from minibot.events.model import JsonObject
from minibot.report.columns import table_lines
from minibot.report.figures import (
    NONE,
    counted,
    date_clock,
    day,
    duration,
    long_duration,
    money,
    share,
    signed,
)

NO_TRADE: Final = "It did not trade."
# What is shown of each assumption side by side.
BAND_KEYS: Final = ("pnl", "return", "drawdown_ratio_max", "trades", "win_rate", "fees", "sharpe")

GROUP_HEAD: Final = (
    "trades", "won", "win rate", "net", "mean", "best", "worst", "factor", "fees", "held",
)  # fmt: skip
TRADE_HEAD: Final = (
    "no", "symbol", "opened", "held", "bought at", "sold at", "net", "%", "entry", "exit",
)  # fmt: skip
STRETCH_HEAD: Final = ("from", "trades", "won", "lost", "result", "return", "fees", "equity")
LEFT_OUT: Final = 60


def lines(
    review: Review, breakdown: str | None = None, others: Mapping[str, Review] | None = None
) -> list[str]:
    """Return the whole report as lines.

    Args:
        review: The result that is reported.
        breakdown: day, week or month for a table of these.
        others: Every fill assumption by name, the night's own first, for the band.
    """
    sections: list[list[str]] = [head_lines(review), figure_lines(review.figures)]
    if others is not None and len(others) > 1:
        sections.append(["By fill assumption (the first is what a night assumes)", *band(others)])
    for title, groups in (
        ("By symbol", review.by_symbol()),
        ("By entry reason", review.by_entry()),
        ("By exit reason", review.by_exit()),
    ):
        sections.append([title, *group_lines(groups)])
    if review.closed:
        sections.append(["Best trades", *trade_lines(review.best(), "None earned anything.")])
        sections.append(["Worst trades", *trade_lines(review.worst(), "None lost anything.")])
    if breakdown is not None:
        sections.append([f"By {breakdown}", *stretch_lines(review.breakdown(breakdown), breakdown)])
    return [line for section in sections for line in [*section, ""]][:-1]


def head_lines(review: Review) -> list[str]:
    """Return what ran over what, and how it ended."""
    result = review.result
    span = f"{date_clock(result.from_ts)} to {date_clock(result.to_ts)} UTC"
    market = ", ".join(
        counted(number, kind.replace("_", " ")) for kind, number in result.inputs.items()
    )
    signals = ", ".join(f"{number:,} {side}" for side, number in review.signals.items())
    ended = f"STOPPED by risk: {result.stop}" if result.stop else "the source's end"
    return [
        f"Backtest of {review.profile} in {review.quote_asset}, on paper",
        f"  source        {', '.join(result.sources)}",
        f"  span          {span}, {long_duration(result.to_ts - result.from_ts)}",
        f"  market        {market or 'no event'}",
        f"  signals       {signals or 'none'}",
        f"  ended by      {ended}",
        *_still_open(review.figures),
    ]


def _still_open(figures: JsonObject) -> list[str]:
    held = [
        f"{money(item['qty'], 8)} {item['symbol']} bought at {money(item['entry_price_avg'])}"
        for item in figures["open_positions"]
    ]
    return [f"  still open    {'; '.join(held)}"] if held else []


def figure_lines(figures: JsonObject) -> list[str]:
    """Return the key figures, two groups beside each other."""
    found: list[str] = []
    for left, right in zip(GROUPS[::2], GROUPS[1::2], strict=True):
        found.append(f"{left[0]:<50}{right[0]}")
        for pair in zip_longest(left[1], right[1]):
            cells = [_figure(figures, shown) for shown in pair]
            found.append(f"  {cells[0]:<46}  {cells[1]}".rstrip())
        found.append("")
    return [*found, *_of_what(figures)]


def _figure(figures: JsonObject, shown: Shown | None) -> str:
    if shown is None:
        return ""
    return f"{shown.label:<25}{figure_text(shown.kind, figures.get(shown.key)):>19}"


def _of_what(figures: JsonObject) -> list[str]:
    """Say from which returns the figures of a year come, or why there are none."""
    kind, number = figures["returns_of"], figures["returns"]
    if kind is None:
        return ["  Too short for figures of a year: they need ten hours of market time."]
    by = counted(number, f"{'daily' if kind == 'day' else 'hourly'} return")
    few = "" if kind == "day" and number >= 90 else "; few, so doubt them"
    return [f"  Sharpe, Sortino, Calmar, CAGR and volatility from {by}{few}."]


def group_lines(groups: Sequence[Group]) -> list[str]:
    """Return a table of groups of trades."""
    rows = [group_cells(group) for group in groups]
    return table_lines(("", *GROUP_HEAD), rows, NO_TRADE)


def group_cells(group: Group) -> list[str]:
    """Return a group as cells of a table."""
    shown = group.to_json()
    return [
        group.name,
        f"{shown['trades']:,}",
        f"{shown['wins']:,}",
        share(shown["win_rate"], 0),
        signed(shown["net"]),
        figure_text("signed", shown["net_mean"]),
        figure_text("signed", shown["net_max"]),
        figure_text("signed", shown["net_min"]),
        money(shown["profit_factor"]),
        money(shown["fees"]),
        NONE if group.held_ms_mean is None else _short(group.held_ms_mean),
    ]


def trade_lines(trades: Iterable[Trade], none: str = NO_TRADE) -> list[str]:
    """Return a table of trades."""
    return table_lines(TRADE_HEAD, [trade_cells(trade) for trade in trades], none, texts=(1, 8, 9))


def trade_cells(trade: Trade) -> list[str]:
    """Return a trade as cells of a table."""
    shown = trade.to_json()
    return [
        str(trade.number),
        trade.symbol,
        date_clock(trade.trip.opened_ts)[5:],
        _short(trade.held_ms) if trade.is_closed else "open",
        money(shown["entry_price"]),
        money(shown["exit_price"]),
        NONE if shown["net"] is None else signed(shown["net"]),
        f"{trade.ratio * 100:+.2f}" if trade.is_closed else NONE,
        trade.entry_reason,
        trade.exit_reason,
    ]


def stretch_lines(found: Sequence[Stretch], kind: str) -> list[str]:
    """Return a table of days, weeks or months; the newest where there are too many to read."""
    rows = [stretch_cells(stretch, kind) for stretch in found[-LEFT_OUT:]]
    left = len(found) - len(rows)
    note = [f"  The first {left:,} are left out here; --json has them all."] if left else []
    return [*note, *table_lines(STRETCH_HEAD, rows, "No market data came.")]


def stretch_cells(stretch: Stretch, kind: str) -> list[str]:
    """Return a day, week or month as cells of a table."""
    shown = stretch.to_json()
    name = day(stretch.period.ts)
    return [
        name[:7] if kind == MONTH else name,
        f"{shown['trades']:,}",
        f"{shown['wins']:,}",
        f"{shown['losses']:,}",
        signed(shown["pnl"]),
        share(shown["return"]),
        money(shown["fees"]),
        money(shown["equity"]),
    ]


def band(reviews: Mapping[str, Review]) -> list[str]:
    """Return key figures by fill assumption, one line each."""
    keys = {shown.key: shown for shown in KEY_FIGURES}
    shown = [keys[key] for key in BAND_KEYS]
    rows = [list(row) for row in band_rows(reviews, shown)]
    return table_lines(["assumption", *(item.label for item in shown)], rows, "None was run.")


def band_rows(reviews: Mapping[str, Review], shown: Sequence[Shown]) -> Iterator[list[str]]:
    """Yield a row of key figures for each assumption."""
    for name, review in reviews.items():
        figures = review.figures
        yield [name, *(figure_text(item.kind, figures.get(item.key)) for item in shown)]


def _short(ms: int) -> str:
    return long_duration(ms) if ms >= 172_800_000 else duration(ms)
