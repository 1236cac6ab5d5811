"""minibot page: print the address of the running run's page, with a code that opens it once."""

from __future__ import annotations

import argparse
import webbrowser

from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal
from minibot.ops.operator import NOT_RUNNING, require_running

HELP = "address of the running night's page, and a code that opens it once"
EXAMPLE = "minibot page --open"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--open", action="store_true", help="open it in the browser too")


def run(arguments: argparse.Namespace) -> int:
    """Print address and code; 3 when no run is running, 2 when it has no page."""
    # Imported here because `--help` needs none of it.
    from minibot.cli.support.page_opening import page_of
    from minibot.ops.one_time_code import CODE_S, Codes

    var = var_of(arguments)
    run_id = require_running(var)
    found = page_of(var)
    if found.get("run_id") != run_id:
        raise Refusal(
            f"{run_id} has no page.",
            'Start a run with one: --set \'page={"port":0,"required":true}\'; see also'
            f" {var.logs / 'ops.err.log'}",
            NOT_RUNNING if not found else 2,
        )
    code = Codes(var.page_code).make()
    url = str(found["url"])
    opened = arguments.open and webbrowser.open(url)
    lines = [
        f"page of {run_id}: {url}",
        f"code {code} (once, within {CODE_S / 60:.0f} minutes)",
    ]
    if arguments.open and not opened:
        lines.append("no browser could be opened here")
    show(arguments, {"run_id": run_id, "url": url, "code": code}, lines)
    return 0
