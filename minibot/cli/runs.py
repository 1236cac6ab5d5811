"""minibot runs (also list-runs): list every run of this `var`, oldest first."""

from __future__ import annotations

import argparse

from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.report.figures import date_clock, duration
from minibot.report.records import RunRecord, read_records

HELP = "list the runs: when, what, how each ended"
EXAMPLE = "minibot runs"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "-n", "--number", type=at_least(1), default=50, help="how many of the newest"
    )


def run(arguments: argparse.Namespace) -> int:
    """List the runs; 0 also when there is none."""
    var = var_of(arguments)
    records = read_records(var)[-arguments.number :]
    lines = [_line(record) for record in records] or [f"no run under {var.runs}"]
    show(arguments, {"runs": [record.to_json() for record in records]}, lines)
    return 0


def _line(record: RunRecord) -> str:
    manifest = record.manifest
    if manifest is None:
        return f"{record.run_id}  damaged: {record.trouble}"
    kind = "real" if record.is_real else "drill" if not manifest.simulated else "simulated"
    wall = "-" if record.wall_ms is None else duration(record.wall_ms)
    how = f"{record.state} {record.reason_code}".strip()
    verdict = "" if record.acceptance is None else f"  accept: {record.acceptance['verdict']}"
    return (
        f"{record.run_id}  {manifest.profile:<12} {kind:<9} "
        f"{date_clock(manifest.started_ms)}  {wall:>12}  {how}{verdict}"
    )
