"""Options of `minibot backtest` beyond one pass: assumptions side by side, checks, sweeps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from minibot.backtest.report.statistics import SORTABLE
from minibot.cli.support.checking import add_check_flags, lookahead, startup
from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import var_of
from minibot.engine.worker_pool import default_jobs
from minibot.execution.fill_models import BY_NAME
from minibot.kernel.errors import ConfigError
from minibot.report.figures import counted
from minibot.runtime.paths import shown_path

if TYPE_CHECKING:
    from minibot.backtest.search.backtest_job import Job
    from minibot.backtest.search.sweep import Axis, Row

ALL_FILLS: Final = "all"
JOBS_MAX: Final = 256


def add_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags of these options."""
    command.add_argument(
        "--fills",
        choices=(ALL_FILLS, *BY_NAME),
        metavar="MODEL",
        default=ALL_FILLS,
        help=f"under which fill assumption: all three side by side (default), or one alone: "
        f"{', '.join(BY_NAME)}",
    )
    command.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="SECTION.KEY=A,B,C",
        help="one backtest for each value; several of these are a grid",
    )
    command.add_argument(
        "--sort-by",
        choices=SORTABLE,
        default="pnl",
        metavar="FIGURE",
        help=f"the best of a sweep by this first: {', '.join(SORTABLE)} (default: pnl)",
    )
    command.add_argument(
        "--jobs",
        type=job_count,
        default=default_jobs(),
        metavar="N",
        help="how many processes to use (default: one for each core)",
    )
    add_check_flags(command)


def job_count(text: str) -> int:
    """Return a number of processes, at least one."""
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= JOBS_MAX:
        raise argparse.ArgumentTypeError(f"expected 1 to {JOBS_MAX}, found {text}")
    return int(text)


def search(arguments: argparse.Namespace, job: Job) -> int | None:
    """Run the option that replaces a plain backtest; None when there is none.

    Raises:
        ConfigError: Two options exclude each other.
    """
    _judge(arguments)
    if arguments.lookahead_check is not None:
        return lookahead(arguments, job)
    if arguments.startup_check:
        return startup(arguments, job)
    if arguments.sweep:
        return sweep(arguments, job)
    return None


def _judge(arguments: argparse.Namespace) -> None:
    facts = {
        "--sweep": bool(arguments.sweep),
        "--lookahead-check": arguments.lookahead_check is not None,
        "--startup-check": arguments.startup_check,
    }
    flags = [flag for flag, is_given in facts.items() if is_given]
    if len(flags) > 1:
        raise ConfigError(
            f"{' and '.join(flags)}: each runs backtests of its own.", ["allowed: one at a time"]
        )


def sweep(arguments: argparse.Namespace, job: Job) -> int:
    """Run a sweep and keep it unless told otherwise; 0 if any row has figures, else 1."""
    # Imported here because `--help` needs none of it.
    from minibot.backtest.report.documents import unchanged
    from minibot.backtest.search.assumptions import KEY
    from minibot.backtest.search.sweep import (
        SWEEP_FILE,
        broken_lines,
        keep_search,
        parse_axis,
        points_of,
        run_sweep,
        sweep_document,
        sweep_lines,
    )

    axes = [parse_axis(text) for text in arguments.sweep]
    if arguments.fills != ALL_FILLS and any(axis.key == KEY for axis in axes):
        raise ConfigError(f"--sweep and --fills: both name {KEY}.", ["allowed: one of the two"])
    points = points_of(job, axes)
    with unchanged(job.words, job.profile):
        with progress_bar(f"{counted(len(points), 'backtest')}") as show_progress:
            rows = run_sweep(job, points, arguments.jobs, show_progress)
        document = sweep_document(job, axes, rows, arguments.sort_by)
    keys = ", ".join(axis.key for axis in axes)
    lines = [
        f"{counted(len(rows), 'backtest')} over {keys}, best by {arguments.sort_by} first",
        *sweep_lines(rows, arguments.sort_by),
        *broken_lines(rows),
        *idle_lines(axes, rows),
        "The best of many is partly luck: see minibot optimise for figures out of sample.",
    ]
    if arguments.keep:
        path = keep_search(document, SWEEP_FILE, var_of(arguments))
        lines.append(f"kept          {shown_path(path)}")
    show(arguments, document, lines)
    return 0 if any(row.figures for row in rows) else 1


def idle_lines(axes: Sequence[Axis], rows: Sequence[Row]) -> list[str]:
    """Return one warning for each key of a sweep that changed no decision."""
    from minibot.backtest.search.sweep import idle_axes

    return [
        f"WARNING: {key} changes no decision here: rows that differ in it alone have one digest."
        for key in idle_axes(axes, rows)
    ]
