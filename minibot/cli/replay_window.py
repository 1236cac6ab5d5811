"""minibot replay-window: recompute a range of hours of a run and compare them."""

from __future__ import annotations

import argparse

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import add_run, add_zone, run_dir_of
from minibot.kernel.errors import Refusal

HELP = "parity over a range of hours: each hour's inputs, outputs, state and digest"
EXAMPLE = "minibot replay-window latest 01 04"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command, needed=True)
    command.add_argument("first", metavar="FIRST", help="first hour: 02, 2026-11-20T02 or #1")
    command.add_argument("last", metavar="LAST", help="last hour, included")
    add_zone(command)


def run(arguments: argparse.Namespace) -> int:
    """Replay hours; 0 identical, 1 with the first differing event."""
    # Imported here because `--help` needs none of it.
    from minibot.cli.replay import lines
    from minibot.cli.replay_manifest import hour_lines
    from minibot.replay.hours import hours_of, prove_hours
    from minibot.replay.run_status import open_run
    from minibot.replay.time_arguments import Span

    run_dir = run_dir_of(arguments)
    recorded, condition = open_run(run_dir)
    span = Span.of(recorded, arguments.zone)
    first, last = span.hour(arguments.first), span.hour(arguments.last)
    if last < first:
        raise Refusal("the last hour is before the first.", f"The run goes from {span.text}.")
    with progress_bar(f"replaying hours of {run_dir.name}") as progress:
        proof = prove_hours(recorded, condition, first, last, progress)
    hours = hours_of(proof)
    document = {**proof.to_json(), "hours": [hour.to_json() for hour in hours]}
    show(arguments, document, [*hour_lines(hours, span), *lines(proof, span)])
    return 0 if proof.is_identical else 1
