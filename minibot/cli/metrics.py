"""minibot metrics: show the figures of a run in one table, as written live or recounted."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from minibot.cli.support.output import show
from minibot.cli.support.selection import add_run, run_dir_of, var_of
from minibot.engine.role_replay import Recorded
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed
from minibot.report.figures import date_clock, duration
from minibot.report.recount import recount
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import LATEST
from minibot.runtime.running import running_run

HELP = "the figures of a run: recomputed from its queues, or --live as last written"
EXAMPLE = "minibot metrics latest"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument(
        "--live", action="store_true", help="what the running night last wrote, not recomputed"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the figures, one name and value a line."""
    if arguments.live:
        var = var_of(arguments)
        path = var.metrics / "metrics.json"
        if not path.exists():
            raise Refusal(f"there is no {path} yet.", "Start a run, or leave out --live.")
        figures: dict[str, Any] = dict(read_hashed(path))
        if not _names(arguments.run_name, var, figures["run_id"]):
            what = f"{path} is of {figures['run_id']}, not of {arguments.run_name}."
            raise Refusal(what, "Leave out --live, or the run.")
        written_ms = round(path.stat().st_mtime * 1000)
        running = running_run(var)
        head = [_run_line(figures, written_ms, running)]
        figures |= {"written_ms": written_ms, "running": running}
    else:
        figures, head = recount(Recorded.open(run_dir_of(arguments))), []
    show(arguments, figures, [*head, *(f"{name} {value}" for name, value in _flat("", figures))])
    return 0


def _names(name: str, var: Var, run_id: str) -> bool:
    """Return whether a RUN may mean the run of an id: by it, as `latest`, or by its own folder."""
    is_folder = os.path.realpath(name) == os.path.realpath(var.run(run_id))
    return is_folder or name in (LATEST, run_id)


def _run_line(figures: dict[str, Any], written_ms: int, running: str | None) -> str:
    """Return one line: the run of the figures, their time, and whether that run is running now."""
    run_id, age = figures["run_id"], duration(max(0, round(time.time() * 1000) - written_ms))
    written = f"written {date_clock(written_ms)} UTC, {age} ago"
    line = f"{run_id} at market time {date_clock(figures['market_ms'])} UTC, {written}"
    if running == run_id:
        return f"{line}; it goes on"
    if running is None:
        return f"{line}; it has ended"
    return f"{line}; NOT of {running}, which runs now and has written none yet"


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        found = []
        for name, item in value.items():
            found += _flat(f"{prefix}.{name}" if prefix else name, item)
        return found
    return [(prefix, value)]
