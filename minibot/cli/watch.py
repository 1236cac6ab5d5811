"""minibot watch: show the live table of the running night in any terminal of this machine."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from minibot.cli.support.output import say, show_json
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal
from minibot.ops.live_status import LOOK_S, LiveStatus
from minibot.ops.operator import NOT_RUNNING
from minibot.runtime.clock import wall_ms
from minibot.runtime.paths import Var
from minibot.runtime.running import STALE_MS, running_run

if TYPE_CHECKING:
    from minibot.events.model import JsonObject

HELP = "the live table of the running night, in any terminal; Ctrl-C leaves the night alone"
EXAMPLE = "minibot watch"
RUNNING_EVERY_S: Final = 2.0
"""Interval of checks of the lock of a run without a new status: its launcher may be gone."""
FIRST_S: Final = 30.0
"""Longest wait of `--once` and `--json` for a status: a start shows its first within seconds."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--once", action="store_true", help="show the newest status and end")


def run(arguments: argparse.Namespace) -> int:
    """Show the table until the run ends; 0 then and at Ctrl-C, 3 when no run is running.

    With `--once` and `--json`, 2 when the run writes no status.
    """
    # Imported here because `--help` needs none of it.
    from rich.console import Console

    from minibot.cli.support.live import show_live
    from minibot.cli.support.live_view import View

    var = var_of(arguments)
    run_id = running_run(var)
    if run_id is None:
        raise Refusal(
            f"no run is running on {var.root}.", "See the last run: minibot status", NOT_RUNNING
        )
    if arguments.json or arguments.once:
        newest = next(statuses_of(var, run_id, FIRST_S))
        if arguments.json:
            show_json(newest)
        else:
            print(View(newest).title(), View(newest).sentence(), sep="\n")
        return 0
    console = Console(highlight=False)
    try:
        show_live(console, statuses_of(var, run_id))
    except KeyboardInterrupt:
        say(f"{run_id} goes on; to end it: minibot stop")
    return 0


def statuses_of(var: Var, run_id: str, first_s: float = math.inf) -> Iterator[JsonObject]:
    """Yield each new status of a run, up to the one that says how it ended.

    Each has its age at that time, `status_age_ms`, and `is_stale`, as the page's figures do. One
    that has become stale is yielded again, until a newer one comes.

    Args:
        var: Folders of the run.
        run_id: The run.
        first_s: Longest wait for the first status, wall-clock seconds.

    Raises:
        Refusal: The launcher is gone without a word (exit 3), or the first status does not come.
    """
    status = LiveStatus(var.status)
    begun_s = heard_s = time.monotonic()
    known: JsonObject | None = None
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
            if known is not None and _aged(known)["is_stale"]:
                found = found or known
            elif found is None and known is None and heard_s - begun_s > first_s:
                raise Refusal(f"{run_id} has reported no status.", "See: minibot health")
        if found is not None:
            known = found
            yield _aged(found)
            if found["ended"] is not None:
                return
            heard_s = time.monotonic()
        time.sleep(LOOK_S)


def _newer(status: LiveStatus, run_id: str) -> JsonObject | None:
    """Return the newest status of a run if there is another one than before."""
    is_new = status.look() and status.latest is not None and status.latest["run_id"] == run_id
    return status.latest if is_new else None


def _aged(status: JsonObject) -> JsonObject:
    """Return a status with its age, and whether a newer one is overdue."""
    age_ms = max(0, wall_ms() - int(status["written_ms"]))
    is_stale = status["ended"] is None and age_ms > STALE_MS
    return {**status, "status_age_ms": age_ms, "is_stale": is_stale}
