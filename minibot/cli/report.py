"""minibot report: the morning's screen of a run, its whole summary, and its page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minibot.cli.support.output import (
    progress_bar,
    show_json,
    show_rows,
    show_toned,
    shown_path,
)
from minibot.cli.support.selection import add_run, run_dir_of
from minibot.kernel.errors import Refusal, RunStop

if TYPE_CHECKING:
    from minibot.report.night import Night

HELP = "a run on one screen, recomputed from its queues; --full, --html, --out: all of it"
EXAMPLE = "minibot report latest --html"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument("--full", action="store_true", help="the whole summary, not one screen")
    command.add_argument(
        "--html", action="store_true", help="write report/report.html into the run's folder"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write the same page to FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print the screen, or what the flags ask for; reads nothing but the run's folder."""
    # Imported here because `--help` needs nothing of a run.
    from minibot.report.html import write_report
    from minibot.report.morning_screen import morning_screen
    from minibot.report.night import Night
    from minibot.report.summary import Row, summary_json, summary_rows

    run_dir = run_dir_of(arguments)
    with progress_bar(f"reading {run_dir.name}") as progress:
        night = Night.open(run_dir, progress)
    if arguments.out is not None:
        _write_page(night, Path.cwd() / arguments.out)
    report = write_report(night) if arguments.html else run_dir / "report" / "report.html"
    path = str(report) if report.exists() else None
    if arguments.json:
        show_json({**summary_json(night), "html": path})
        return 0
    if arguments.full:
        rows = summary_rows(night)
        if night.seal:
            rows += [Row("Proof"), Row("root", night.seal["root"])]
        shown = "none; --html writes it" if path is None else shown_path(report)
        show_rows([*rows, Row("Files"), Row("run", shown_path(run_dir)), Row("report", shown)])
        return 0
    if arguments.out is None and not arguments.html:
        show_toned(morning_screen(night))
        return 0
    written = report if arguments.out is None else Path.cwd() / arguments.out
    show_toned([*morning_screen(night)[:-1], (f"page      {shown_path(written)}", "")])
    return 0


def _write_page(night: Night, out: Path) -> None:
    """Write a night's page to a file outside its run; a file that stands there is replaced."""
    from minibot.kernel.files import write_atomic
    from minibot.report.html import page

    if out.resolve().is_relative_to(night.recorded.run_dir):
        raise Refusal(f"{out} lies in the run.", "Write it there with --html.")
    try:
        write_atomic(out, page(night).encode("utf-8"))
    except (RunStop, OSError) as error:
        raise Refusal(f"{out} was not written: {error}", "Name another place.") from error
