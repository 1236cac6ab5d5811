"""minibot replay-hour: recompute one hour of a run and compare it."""

from __future__ import annotations

import argparse

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import add_run, add_zone, run_dir_of

HELP = "replay one hour of a run: its decisions, its ledger and its hourly state"
EXAMPLE = "minibot replay-hour latest 02"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command, needed=True)
    command.add_argument("hour", metavar="HOUR", help="02, 2026-11-20T02, or #1 for the first")
    add_zone(command)


def run(arguments: argparse.Namespace) -> int:
    """Replay an hour; 0 identical, 1 with the first differing event."""
    # Imported here because `--help` needs none of it.
    from minibot.cli.replay import lines
    from minibot.replay.hours import hours_of, prove_hours
    from minibot.replay.run_status import open_run
    from minibot.replay.time_arguments import Span

    run_dir = run_dir_of(arguments)
    recorded, condition = open_run(run_dir)
    span = Span.of(recorded, arguments.zone)
    hour_ts = span.hour(arguments.hour)
    with progress_bar(f"replaying an hour of {run_dir.name}") as progress:
        proof = prove_hours(recorded, condition, hour_ts, hour_ts, progress)
    document = {**proof.to_json(), "hours": [hour.to_json() for hour in hours_of(proof)]}
    show(arguments, document, lines(proof, span))
    return 0 if proof.is_identical else 1
