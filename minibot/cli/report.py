"""minibot report: show the summary of a run again, and write its HTML report."""

from __future__ import annotations

import argparse

from minibot.cli.support.output import progress_bar, show_json, show_rows, shown_path
from minibot.cli.support.selection import add_run, run_dir_of

HELP = "the summary of a run, recomputed from its queues; --html writes the page"
EXAMPLE = "minibot report latest --html"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument(
        "--html", action="store_true", help="write report/report.html into the run's folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the summary; reads nothing but the run's folder."""
    # Imported here because `--help` needs nothing of a run.
    from minibot.report.html import write_report
    from minibot.report.night import Night
    from minibot.report.summary import Row, summary_json, summary_rows

    run_dir = run_dir_of(arguments)
    with progress_bar(f"reading {run_dir.name}") as progress:
        night = Night.open(run_dir, progress)
    report = write_report(night) if arguments.html else run_dir / "report" / "report.html"
    path = str(report) if report.exists() else None
    if arguments.json:
        show_json({**summary_json(night), "html": path})
        return 0
    rows = summary_rows(night)
    if night.seal:
        rows += [Row("Proof"), Row("root", night.seal["root"])]
    shown = "none; --html writes it" if path is None else shown_path(report)
    show_rows([*rows, Row("Files"), Row("run", shown_path(run_dir)), Row("report", shown)])
    return 0
