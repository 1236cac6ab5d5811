"""Results of `minibot backtest`: how they are shown and kept."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minibot.backtest.report.returns import BREAKDOWNS
from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import ConfigError
from minibot.report.figures import long_duration
from minibot.runtime.paths import shown_path

if TYPE_CHECKING:
    from minibot.backtest.report.drawn_sections import DrawnSections
    from minibot.backtest.report.review import Review
    from minibot.events.model import JsonObject


def add_output_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags for showing and keeping a result."""
    command.add_argument(
        "--breakdown", choices=BREAKDOWNS, help="also a table of days, weeks or months"
    )
    command.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep result and page under var/backtests (default), or print alone",
    )
    command.add_argument(
        "--twice",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="run it in two processes; exit 1 unless digest and every byte are the same",
    )


def publish(
    arguments: argparse.Namespace,
    document: JsonObject,
    reviews: Mapping[str, Review],
    drawn: DrawnSections | None,
) -> int:
    """Show a backtest and keep it; 0, or 1 where risk stopped it.

    Args:
        arguments: Arguments with the flags of `add_output_flags`.
        document: The document of the reviews.
        reviews: The reviews by fill assumption, the profile's own first.
        drawn: The sections drawn of the first review; None to keep neither result nor page.
    """
    # Imported here because `--help` needs none of it.
    from minibot.backtest.report import store, tables

    result = next(iter(reviews.values())).result
    lines = [*tables.lines(document, arguments.breakdown), ""]
    places = {}
    if drawn is not None:
        # Imported here because only a page needs it.
        from minibot.backtest.report.page import page

        text = page(reviews, document, drawn)
        folder = store.keep(document, text, var_of(arguments), drawn.charts)
        places = {"folder": str(folder), "page": str(folder / store.PAGE_FILE)}
        lines.append(f"kept    {shown_path(folder / store.PAGE_FILE)}")
    lines.append(f"digest  {result.digest}; market walked in {result.elapsed_s:.1f} s")
    show(arguments, {**document, **places}, lines)
    return 1 if result.stop else 0


def twice(arguments: argparse.Namespace, folders: Mapping[str, str]) -> int:
    """Run the same backtest twice; 0 when digests and bytes are the same, else 1.

    Args:
        arguments: Arguments with the flags of `add_output_flags`.
        folders: The words of `--source` with a run's folder, as each process has its own `--var`,
            by those given.

    Raises:
        ConfigError: Other flags exclude a kept backtest.
    """
    from minibot.backtest.checks.determinism_check import run_twice
    from minibot.backtest.report import store, tables
    from minibot.report.readiness import SIX_MONTHS_MS

    _judge_twice(arguments)
    argv = [_with_folder(word, folders) for word in arguments.argv]
    found = run_twice(argv, var_of(arguments))
    document = found.documents[0]
    span = long_duration(document["to_ts"] - document["from_ts"])
    months = "six months or more" if found.is_six_months else "less than six months"
    lines = [
        *tables.lines(document, arguments.breakdown),
        "",
        f"span    {span}: {months} ({long_duration(SIX_MONTHS_MS)})",
        f"digest  {document['digest']}",
    ]
    if found.is_same:
        page_file = found.folder / store.PAGE_FILE
        lines.append(f"kept    {shown_path(page_file)}")
        lines.append("twice   the same digest and the same bytes in two processes")
    else:
        lines.append(f"twice   DIFFERENT: {', '.join(found.differing)}; both in {found.folder}")
    about = {
        "same": found.is_same,
        "six_months": found.is_six_months,
        "digests": [each["digest"] for each in found.documents],
        "differing": list(found.differing),
        "folder": str(found.folder),
    }
    show(arguments, {**document, "twice": about}, lines)
    return 0 if found.is_same and not document["stop"] else 1


def _judge_twice(arguments: argparse.Namespace) -> None:
    facts = {
        "--no-keep": not arguments.keep,
        "--sweep": arguments.sweep,
        "--lookahead-check": arguments.lookahead_check is not None,
        "--startup-check": arguments.startup_check,
    }
    if any(facts.values()):
        raise ConfigError(
            "--twice compares what one backtest keeps.",
            [f"{flag}: not beside --twice" for flag, is_given in facts.items() if is_given],
        )


def _with_folder(word: str, folders: Mapping[str, str]) -> str:
    """Return a word such as `run:ID` or `--source=run:ID` with the run's folder for its id."""
    flag, equals, rest = word.partition("=")
    if equals and rest in folders:
        return f"{flag}={folders[rest]}"
    return folders.get(word, word)
