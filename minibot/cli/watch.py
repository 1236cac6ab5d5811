"""minibot watch: show the live table of the running night in any terminal of this machine."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from minibot.cli.support.output import show_json
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal
from minibot.ops.live_status import LOOK_S, LiveStatus
from minibot.ops.operator import NOT_RUNNING
from minibot.runtime.paths import Var
from minibot.runtime.running import running_run

if TYPE_CHECKING:
    from minibot.events.model import JsonObject

HELP = "the live table of the running night, in any terminal; Ctrl-C leaves the night alone"
EXAMPLE = "minibot watch"
RUNNING_EVERY_S: Final = 2.0
"""How often a run that shows nothing new is asked for its lock: its launcher may be gone."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--once", action="store_true", help="show the newest status and end")


def run(arguments: argparse.Namespace) -> int:
    """Show the table until the run ends; 0 then and at Ctrl-C, 3 when no run is running."""
    # Imported here because `--help` needs none of it.
    from rich.console import Console

    from minibot.cli.support.live import show_live
    from minibot.cli.support.live_view import View

    var = var_of(arguments)
    run_id = running_run(var)
    if run_id is None:
        raise Refusal(
            f"no run is running on {var.root}.", "See what stands: minibot status", NOT_RUNNING
        )
    statuses = statuses_of(var, run_id)
    if arguments.json or arguments.once:
        newest = next(statuses)
        if arguments.json:
            show_json(newest)
        else:
            print(View(newest).title(), View(newest).sentence(), sep="\n")
        return 0
    console = Console(highlight=False)
    try:
        show_live(console, statuses)
    except KeyboardInterrupt:
        print(f"{run_id} goes on; to end it: minibot stop", file=sys.stderr)
    return 0


def statuses_of(var: Var, run_id: str) -> Iterator[JsonObject]:
    """Yield each new status of a run, up to the one that says how it ended.

    Raises:
        Refusal: The launcher is gone without a word (exit 3).
    """
    status = LiveStatus(var.status)
    heard_s = time.monotonic()
    while True:
        found = _newer(status, run_id)
        if found is None and time.monotonic() - heard_s > RUNNING_EVERY_S:
            heard_s = time.monotonic()
            # Its last status may come between the look and the question.
            if running_run(var) != run_id and (found := _newer(status, run_id)) is None:
                raise Refusal(
                    f"{run_id} no longer runs, and did not say how it ended.",
                    "See: minibot status",
                    NOT_RUNNING,
                )
        if found is not None:
            yield found
            if found["ended"] is not None:
                return
            heard_s = time.monotonic()
        time.sleep(LOOK_S)


def _newer(status: LiveStatus, run_id: str) -> JsonObject | None:
    """Return the newest status of a run if there is another one than before."""
    is_new = status.look() and status.latest is not None and status.latest["run_id"] == run_id
    return status.latest if is_new else None
