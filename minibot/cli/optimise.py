"""minibot optimise: search the profile's parameters walk-forward, judged on unseen time."""

from __future__ import annotations

import argparse

from minibot.backtest.report.statistics import SORTABLE
from minibot.backtest.sources.span import ALL, parse_span
from minibot.cli.backtest import (
    DEFAULT_PROFILE,
    DEFAULT_SOURCE,
    changed_run,
    market_profile,
    name_runs,
)
from minibot.cli.support.idea import add_idea, judge_source, take_idea
from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.searching import job_count
from minibot.cli.support.selection import add_profile, var_of
from minibot.cli.support.treatment import add_treatment, treatment_of
from minibot.engine.worker_pool import default_jobs
from minibot.runtime.paths import shown_path

HELP = "search parameters walking forward; the figure out of sample comes first"
EXAMPLE = "minibot optimise --source klines:FILE --vary strategy.rsi_period=7:28"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_profile(command, DEFAULT_PROFILE)
    command.add_argument(
        "--source", action="append", help="as of minibot backtest, also by default"
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
    # Imported here because `--help` needs none of it.
    from minibot.backtest.report.documents import unchanged
    from minibot.backtest.search.backtest_job import Job
    from minibot.backtest.search.ranges import parse_range
    from minibot.backtest.search.sweep import OPTIMISE_FILE, keep_search
    from minibot.backtest.search.walk_forward import (
        judge,
        optimise_document,
        parts_company,
        sampler_module,
        walk_forward,
        windows_of,
    )
    from minibot.cli.support.optimise_words import lines

    sampler_module()
    name_runs(arguments)
    take_idea(arguments, changed_run(arguments, arguments.source or ()))
    words = arguments.source or [DEFAULT_SOURCE]
    config, _ = market_profile(arguments, words)
    span = parse_span(arguments.timerange) if arguments.timerange else ALL
    job = Job(tuple(words), config.raw, span=span, treatment=treatment_of(arguments))
    judge_source(arguments, job)
    ranges = [parse_range(text, config.raw) for text in arguments.vary]
    judge(job, ranges)
    with unchanged(words, config.raw):
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
    output = [*lines(found, arguments.figure), f"kept          {shown_path(path)}"]
    show(arguments, document, output)
    return 1 if any(parts_company(each, arguments.figure) for each in found) else 0
