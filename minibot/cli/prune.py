"""minibot prune: remove old sealed runs but for their reports; without --yes only say which."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal
from minibot.report.columns import table_lines
from minibot.report.figures import counted, date_clock
from minibot.report.pruning import (
    Fate,
    alone,
    fates,
    half_removed,
    left_metrics,
    remove,
    unbegun,
    unpacked_bundles,
)
from minibot.report.records import bytes_of
from minibot.runtime.clock import wall_ms
from minibot.runtime.paths import Var

HELP = "remove old sealed runs, never a report or a night that ready counts; --yes does it"
EXAMPLE = "minibot prune --keep 30"
HEAD = ("run", "began (UTC)", "bytes", "stays because")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "--keep", type=at_least(1), metavar="N", help="how many of the newest runs stay anyway"
    )
    command.add_argument(
        "--older-than", type=at_least(0), metavar="DAYS", help="only runs that began before that"
    )
    command.add_argument("--yes", action="store_true", help="remove them; else they are listed")


def run(arguments: argparse.Namespace) -> int:
    """List or remove runs; 0 also when none may go."""
    if arguments.keep is None and arguments.older_than is None:
        raise Refusal(
            "prune needs to know which runs are old.", "Give --keep N, --older-than DAYS or both."
        )
    var = var_of(arguments)
    with alone(var) if arguments.yes else nullcontext():
        return _prune(var, arguments)


def _prune(var: Var, arguments: argparse.Namespace) -> int:
    """List runs, or remove them; 0."""
    found = fates(var, wall_ms(), keep=arguments.keep, days=arguments.older_than)
    doomed = [fate for fate in found if not fate.stays]
    left, unpacked, half = left_metrics(var, doomed), unpacked_bundles(var), half_removed(var)
    empty = unbegun(var)
    frees = sum(fate.frees for fate in doomed) + sum(map(bytes_of, (*left, *unpacked)))
    frees += sum(half.values())
    if arguments.yes:
        remove(var, doomed)
    total = f"{frees:,} bytes"
    runs = counted(len(doomed), "run")
    runs += f" and {counted(len(left), 'file')} of figures" if left else ""
    runs += f" and {counted(len(unpacked), 'unpacked bundle')}" if unpacked else ""
    runs += f" and the rest of {counted(len(half), 'removal')} that broke off" if half else ""
    runs += f" and {counted(len(empty), 'start')} that made no run" if empty else ""
    text = f"{runs} removed, {total} freed" if arguments.yes else f"{runs} would go: {total}"
    lines = table_lines(
        HEAD, [_cells(fate) for fate in found], f"no run under {var.runs}", texts=(0, 1, 3)
    )
    if doomed:
        lines += ["", f"reports {'are' if arguments.yes else 'stay'} in {var.pruned}"]
    if (doomed or left or unpacked or half or empty) and not arguments.yes:
        text += "; remove them: the same with --yes"
    show(
        arguments,
        {
            "removed": arguments.yes,
            "runs": [fate.to_json() for fate in found],
            "figures": len(left),
            "unpacked_bundles": len(unpacked),
            "broken_removals": len(half),
            "empty_starts": len(empty),
            "bytes": frees,
        },
        [*lines, text],
    )
    return 0


def _cells(fate: Fate) -> list[str]:
    manifest = fate.record.manifest
    began = "" if manifest is None else date_clock(manifest.started_ms)
    return [fate.record.run_id, began, f"{fate.frees:,}", fate.stays or "goes"]
