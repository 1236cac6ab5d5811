"""minibot parity: compare a night with its own backtest, event by event."""

from __future__ import annotations

import argparse

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import add_run, run_dir_of

HELP = "compare a night with its backtest, event by event, and say what makes a difference"
EXAMPLE = "minibot parity latest"
SHOWN = 10


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument(
        "--all", action="store_true", help=f"every difference to rule order, not the first {SHOWN}"
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare; 0 when the backtest in recorded order equals the night, else 1."""
    # Imported here because `--help` needs none of it.
    from minibot.backtest.parity import parity_of
    from minibot.cli.support.parity_words import lines
    from minibot.replay.run_status import open_run

    recorded, condition = open_run(run_dir_of(arguments))
    with progress_bar(f"comparing {recorded.manifest.run_id}") as show_progress:
        parity = parity_of(recorded, show_progress)
    shown_max = len(parity.rule.deviations) if arguments.all else SHOWN
    document = {**parity.to_json(shown_max), "notices": list(condition.notices)}
    notices = [f"note: {notice}" for notice in condition.notices]
    show(arguments, document, [*notices, *lines(parity, shown_max)])
    return 0 if parity.logged.is_identical else 1
