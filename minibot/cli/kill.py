"""minibot kill: the kill switch. Execution ends at once; positions stay and are listed."""

from __future__ import annotations

import argparse

from minibot.cli.support.output import show
from minibot.cli.support.request import add_reason
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import RunStop
from minibot.ops.operator import ended, require_killable, who
from minibot.runtime.request_file import leave_request
from minibot.runtime.stop import raise_operators_flag
from minibot.watchdog.requests import KILL

HELP = "stop the running night at once: execution first, flag raised; it exits with 10"
# Seconds that a kill waits for the lock, which another verb may hold for a moment. A run that ends
# in this time is told by its switch, which is no longer armed.
PATIENCE_S = 0.1
EXAMPLE = 'minibot kill --reason "something is wrong"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Raise the flag; 3 when no run is running, or no longer. Needs no free disk space."""
    var = var_of(arguments)
    run_id = require_killable(var, PATIENCE_S)
    note = "the reason is recorded"
    if var.flag.exists():
        note = "it was being stopped already; the first reason is kept"
    try:
        leave_request(var.requests, run_id, KILL, who=who(), why=arguments.reason)
    except (OSError, RunStop) as error:
        # The disk is full or gone, but the flag needs no space: the run stops all the same.
        note = f"the reason could not be written ({error})"
    if not raise_operators_flag(var.stop, var.flag):
        raise ended(run_id)
    show(arguments, {"run_id": run_id, "request": "kill"}, [f"{run_id} is stopped; {note}."])
    return 0
