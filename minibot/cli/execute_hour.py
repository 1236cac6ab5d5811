"""minibot execute-hour: execute one hour of a run again and write its outputs to a folder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import add_run, add_zone, run_dir_of
from minibot.report.figures import counted
from minibot.runtime.paths import shown_path

HELP = "recompute one hour of a run and write its derived events and hourly state to a folder"
EXAMPLE = "minibot execute-hour latest 02 --to /tmp/hour02"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command, needed=True)
    command.add_argument("hour", metavar="HOUR", help="02, 2026-11-20T02, or #1 for the first")
    command.add_argument(
        "--to", dest="folder", required=True, type=Path, metavar="FOLDER", help="where to write"
    )
    add_zone(command)


def run(arguments: argparse.Namespace) -> int:
    """Execute an hour; 0 when its outputs are written."""
    # Imported here because `--help` needs none of it.
    from minibot.replay.hours import execute_hour
    from minibot.replay.run_status import open_run
    from minibot.replay.time_arguments import Span

    recorded, condition = open_run(run_dir_of(arguments))
    hour_ts = Span.of(recorded, arguments.zone).hour(arguments.hour)
    folder = Path(os.path.realpath(arguments.folder))
    with progress_bar(f"executing an hour of {recorded.manifest.run_id}") as progress:
        document = execute_hour(recorded, condition, hour_ts, folder, progress)
    notices = condition.notices
    lines = [f"note: {notice}" for notice in notices]
    lines += [
        f"{name:<24} {counted(entry['lines'], 'line'):>12}  sha256 {entry['sha256']}"
        for name, entry in document["files"].items()
    ]
    lines.append(f"executed into {shown_path(folder)}")
    show(arguments, {**document, "notices": list(notices)}, lines)
    return 0
