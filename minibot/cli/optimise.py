"""minibot optimise: search the profile's parameters walk-forward, judged on unseen time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from decimal import Decimal

from minibot.backtest.report.statistics import KEY_FIGURES, Shown, figure_text
from minibot.backtest.search.backtest_job import Job
from minibot.backtest.search.ranges import parse_range
from minibot.backtest.search.sweep import OPTIMISE_FILE, SORTABLE, keep_search
from minibot.backtest.search.walk_forward import (
    PLACES,
    SUMMED,
    Found,
    in_sample,
    judge,
    optimise_document,
    out_of_sample,
    parts_company,
    sampler_module,
    walk_forward,
    windows_of,
)
from minibot.backtest.sources.span import ALL, parse_span
from minibot.cli.backtest import DEFAULT_PROFILE, DEFAULT_SOURCE, market_profile, named
from minibot.cli.support.idea import add_idea, judge_source, take_idea
from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import progress_bar, show, shown_path
from minibot.cli.support.searching import job_count
from minibot.cli.support.selection import add_profile, var_of
from minibot.cli.support.treatment import add_treatment, treatment_of
from minibot.engine.worker_pool import default_jobs
from minibot.report.columns import table_lines
from minibot.report.figures import counted, date_clock

HELP = "search parameters walking forward; the figure out of sample stands first"
EXAMPLE = "minibot optimise --source klines:FILE --vary strategy.rsi_period=7:28"
HEAD = ("judged from", "out of sample", "in sample", "the profile", "trades")
# Figures that are below zero when money is lost.
LOSING = frozenset(("calmar", "cagr", "expectancy", "pnl", "return", "sharpe", "sortino"))


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_profile(command, DEFAULT_PROFILE)
    command.add_argument(
        "--source", action="append", help=f"as of minibot backtest (default: {DEFAULT_SOURCE})"
    )
    command.add_argument(
        "--timerange", default="", metavar="FROM-TO", help="search this part alone"
    )
    add_idea(command)
    add_treatment(command)
    command.add_argument(
        "--vary",
        action="append",
        required=True,
        metavar="SECTION.KEY=LOW:HIGH[:STEP]",
        help="a key of strategy or risk and its range, or =A,B,C (may be repeated); "
        "no limit of risk is searched beyond the profile's own",
    )
    command.add_argument(
        "--figure",
        choices=SORTABLE,
        default="pnl",
        metavar="FIGURE",
        help=f"by which one is better: {', '.join(SORTABLE)} (default: pnl)",
    )
    command.add_argument(
        "--trials",
        type=at_least(1),
        default=40,
        metavar="N",
        help="backtests a window (default: 40)",
    )
    command.add_argument(
        "--windows", type=at_least(1), default=4, metavar="N", help="how many windows (default: 4)"
    )
    command.add_argument(
        "--train",
        type=at_least(1),
        default=3,
        metavar="N",
        help="how many times as long the searched stretch is as the judged one (default: 3)",
    )
    command.add_argument(
        "--jobs",
        type=job_count,
        default=default_jobs(),
        metavar="N",
        help="how many processes to use (default: one for each core)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Search and judge; 0 when every window holds out of sample, 1 when one does not."""
    sampler_module()
    take_idea(arguments)
    words = [named(word, arguments) for word in arguments.source or [DEFAULT_SOURCE]]
    config, _ = market_profile(arguments, words)
    span = parse_span(arguments.timerange) if arguments.timerange else ALL
    job = Job(tuple(words), config.raw, span=span, treatment=treatment_of(arguments))
    judge_source(arguments, job)
    ranges = [parse_range(text, config.raw) for text in arguments.vary]
    judge(job, ranges)
    windows = windows_of(job, arguments.windows, arguments.train)
    with progress_bar("walking forward") as show_progress:
        found = walk_forward(
            job,
            ranges,
            windows,
            figure=arguments.figure,
            trials=arguments.trials,
            jobs=arguments.jobs,
            on_done=show_progress,
        )
    document = optimise_document(job, ranges, found, arguments.figure, arguments.trials)
    path = keep_search(document, OPTIMISE_FILE, var_of(arguments))
    said = [*lines(found, arguments.figure), f"kept          {shown_path(path)}"]
    show(arguments, document, said)
    return 1 if any(parts_company(each, arguments.figure) for each in found) else 0


def lines(found: Sequence[Found], figure: str) -> list[str]:
    """Return the windows as a table, the figure out of sample first."""
    shown = next(shown for shown in KEY_FIGURES if shown.key == figure)

    def text(value: object, stop: str = "") -> str:
        return stop or figure_text(shown.kind, None if value is None else _plain(shown, value))

    cells = [
        [
            date_clock(each.window.test.from_ms or 0),
            text(out_of_sample(each, figure), each.test.stop),
            text(in_sample(each, figure)),
            text(each.plain.figures.get(figure), each.plain.stop),
            f"{each.test.figures.get('trades', 0):,}",
        ]
        for each in found
    ]
    tried = sum(len(each.trials) for each in found)
    whole = total([out_of_sample(each, figure) for each in found], figure)
    plain = total([_amount(each.plain.figures.get(figure)) for each in found], figure)
    return [
        f"{shown.label} OUT OF SAMPLE: {text(whole)}; the profile without a search: {text(plain)}",
        f"{counted(tried, 'trial')} in {counted(len(found), 'window')}"
        + (", in sample for as long as out of it" if figure in SUMMED else ""),
        *table_lines(HEAD, cells, "No window."),
        *(
            f"  found before {date_clock(each.window.test.from_ms or 0)}: "
            + ", ".join(each.best.sets)
            for each in found
        ),
        *_warnings(found, figure, whole, plain),
    ]


def total(values: Sequence[Decimal | None], figure: str) -> Decimal | None:
    """Return a figure over all windows: summed where it grows with time, else the mean."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    whole = sum(known, Decimal(0))
    return whole if figure in SUMMED else (whole / len(known)).quantize(PLACES)


def _plain(shown: Shown, value: object) -> str | int:
    return int(Decimal(str(value))) if shown.kind in ("count", "duration") else f"{value}"


def _amount(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _warnings(
    found: Sequence[Found], figure: str, whole: Decimal | None, plain: Decimal | None
) -> list[str]:
    better = next(shown.better for shown in KEY_FIGURES if shown.key == figure)
    parted = sum(parts_company(each, figure) for each in found)
    said = []
    if parted:
        said.append(
            f"WARNING: in {parted} of {counted(len(found), 'window')} it is less than half as good "
            "out of sample as in sample: what was found there is mostly luck."
        )
    if whole is None or (plain is not None and better * whole <= better * plain):
        said.append("WARNING: the profile as it stands does as well out of sample; keep it.")
    if figure in LOSING and whole is not None and whole < 0:
        said.append("WARNING: it loses out of sample. Less of a loss is no reason to trade.")
    if all(len({row.digest for row in each.trials}) == 1 < len(each.trials) for each in found):
        said.append("WARNING: what is varied changes no decision here: all trials have one digest.")
    return said or ["Out of sample holds what the search found in sample."]
