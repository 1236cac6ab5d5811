"""minibot stop: end the running night in order; `portfolio.at_end` says if positions close."""

from __future__ import annotations

import argparse

from minibot.cli.support.output import show
from minibot.cli.support.request import add_reason
from minibot.cli.support.selection import var_of
from minibot.ops.operator import require_unstopped, who
from minibot.runtime.request_file import leave_request
from minibot.watchdog.requests import END

HELP = "end the running night in order: no new entries, exits as portfolio.at_end says, seal"
EXAMPLE = 'minibot stop --reason "enough for tonight"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_reason(command, default="asked to end")


def run(arguments: argparse.Namespace) -> int:
    """Leave the request, without waiting for the end; 3 when no run is running."""
    var = var_of(arguments)
    run_id = require_unstopped(var)
    leave_request(var.requests, run_id, END, who=who(), why=arguments.reason)
    show(arguments, {"run_id": run_id, "request": "end"}, [f"{run_id} ends in order."])
    return 0
