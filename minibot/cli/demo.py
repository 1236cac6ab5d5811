"""minibot demo: run the strategy of real nights over two weeks of real bars, and show its page."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Final

from minibot.cli.support.output import progress_bar, show_lines
from minibot.cli.support.selection import var_of
from minibot.report.figures import counted, long_duration, money, share, signed
from minibot.runtime.paths import PROJECT

if TYPE_CHECKING:
    from minibot.events.model import JsonObject

HELP = "two weeks of real bars under the strategy of real nights, in seconds, with its page"
EXAMPLE = "minibot demo"
PROFILE: Final = PROJECT / "config" / "nore.v1.json"
SOURCE: Final = "klines:btcusdt-1m"
UNSEEN: Final = "klines:ethusdt-1m"
HOW: Final = (
    f"minibot optimise -c config/nore.v1.json --source {UNSEEN} --vary strategy.rsi_period=7:28:7"
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="open the page in a browser (default on a terminal; never in a pipe or under CI)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the backtest, keep and open its page; 0, or 1 where risk stopped it."""
    # Imported here because `--help` needs none of it.
    from minibot.backtest.driver import run_backtest
    from minibot.backtest.report import store
    from minibot.backtest.report.documents import document_of
    from minibot.backtest.report.drawn_sections import DrawnSections
    from minibot.backtest.report.edge import edge_of, edge_text
    from minibot.backtest.report.review import Review
    from minibot.backtest.search.backtest_job import Job
    from minibot.cli.backtest import market_profile
    from minibot.cli.support.publishing import publish
    from minibot.engine.decision_record import DecisionRecord

    given = argparse.Namespace(
        **vars(arguments), config=PROFILE, set=[], strategy=None, breakdown=None, keep=True
    )
    config, fitted = market_profile(given, [SOURCE])
    job = Job((SOURCE,), config.raw)
    with progress_bar(f"two weeks of {SOURCE}") as show_progress:
        record = DecisionRecord(is_for_page=True)
        result = run_backtest(job.open(), job.config, show_progress, record=record)
    result.assumptions = (*fitted, *result.assumptions)
    review = Review.of(result)
    reviews = {config.execution.fill_model: review}
    document = document_of(reviews, [SOURCE])
    code = publish(given, document, reviews, DrawnSections.of(review))
    page = store.folder_of(var_of(given)) / str(document["id"]) / store.PAGE_FILE
    nights = -(-(result.to_ts - result.from_ts) // config.duration_ms)
    edge = edge_text(edge_of(document["trades"]), config.portfolio.quote_asset)
    if not arguments.json:
        lines = closing_lines(document["figures"], nights, config.duration_ms, edge)
        show_lines(lines)
    if arguments.open and is_watched():
        webbrowser.open(page.resolve().as_uri())
    return code


def closing_lines(figures: JsonObject, nights: int, night_ms: int, edge: str) -> list[str]:
    """Return the result next to the market's, whether there is an edge, and the next command.

    Args:
        figures: Key figures of the backtest.
        nights: Number of nights in the span.
        night_ms: Length of a night.
        edge: Whether the trades show an edge, in one line.
    """
    return [
        "",
        f"result  {signed(figures['pnl'])} ({share(figures['return'])}) after "
        f"{money(figures['fees'])} of fees, {counted(figures['trades'], 'trade')}, "
        f"{share(figures['win_rate'])} won",
        f"market  {share(figures['market_change'])}; "
        f"bought and held: {signed(figures['hold_pnl'])}",
        f"nights  {counted(nights, 'night')} of {long_duration(night_ms)}, each with its own "
        "budgets, on paper",
        "tuned   to nothing: the parameters are round numbers, and were chosen on no market",
        f"edge    {edge}",
        f"test    search one stretch, judge the next, on a market not shown here: {HOW}",
        "next    your own idea: minibot new-strategy my_idea",
    ]


def is_watched() -> bool:
    """Return whether a person sits before this terminal: no pipe, no CI."""
    return sys.stdout.isatty() and not os.environ.get("CI")
