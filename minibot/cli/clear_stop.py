"""minibot clear-stop: remove STOP.flag, on record, so that the next night may start."""

from __future__ import annotations

import argparse

import filelock

from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder
from minibot.ops.operator import operator_text, who
from minibot.runtime.running import RunLock, refuse_living
from minibot.runtime.stop import standing_flags
from minibot.watchdog.operator_stop_log import clear_flag

HELP = "remove STOP.flag after a stop, with who and why on record"
EXAMPLE = 'minibot clear-stop --reason "disk replaced"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--reason", required=True, help="why it is safe to start again")


def run(arguments: argparse.Namespace) -> int:
    """Clear the flag; 3 without one, whatever is running, and 2 if a run is running beside it."""
    var = var_of(arguments)
    why = operator_text(arguments.reason)
    if not why:
        raise Refusal("--reason has no word.", "Say why it is safe to start again.")
    flags = standing_flags(var)
    if not flags:
        raise Refusal(f"there is no STOP.flag in {var.root}.", "Nothing to clear.", exit_code=3)
    refuse_living(var)
    ensure_folder(var.root)  # A run may have lost the folder; its notes lie next to it.
    try:
        with RunLock(var):
            stopped = clear_flag(var, who(), why)
    except filelock.Timeout as error:
        raise Refusal(f"a run is running on {var.root}.", "Stop it first: minibot stop") from error
    except OSError as error:
        raise Refusal(
            f"{error.filename or flags[0]} cannot be removed: {error.strerror or error}.",
            "The clearing is on record. Look who may write there, then clear again.",
        ) from error
    show(
        arguments,
        {"cleared": [str(flag) for flag in flags], "stopped_run": stopped},
        [f"STOP of {stopped or 'an unknown run'} cleared, on record in {var.stop_journal}."],
    )
    return 0
