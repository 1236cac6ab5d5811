"""minibot clear-stop: take STOP.flag away, on record, so that the next night may start."""

from __future__ import annotations

import argparse

import filelock

from minibot.cli.operator import who
from minibot.cli.output import show
from minibot.cli.selection import var_of
from minibot.kernel.errors import Refusal
from minibot.runtime.running import run_lock
from minibot.watchdog.stoplog import clear_flag

HELP = "remove STOP.flag after a stop, with who and why on record"
EXAMPLE = 'minibot clear-stop --reason "disk replaced"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--reason", required=True, help="why it is safe to start again")


def run(arguments: argparse.Namespace) -> int:
    """Clear the flag; 2 while a run is running, 3 without a flag."""
    var = var_of(arguments)
    if not var.flag.exists():
        raise Refusal(f"there is no STOP.flag in {var.root}.", "Nothing to clear.", exit_code=3)
    try:
        with run_lock(var):
            stopped = clear_flag(var, who(), arguments.reason)
    except filelock.Timeout as error:
        raise Refusal(f"a run is running on {var.root}.", "Stop it first: minibot stop") from error
    show(
        arguments,
        {"cleared": str(var.flag), "stopped_run": stopped},
        [f"STOP of {stopped or 'an unknown run'} cleared, on record in {var.stop_journal}."],
    )
    return 0
