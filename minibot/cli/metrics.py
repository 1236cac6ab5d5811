"""minibot metrics: the figures of a run as one table, written while it ran or counted again."""

from __future__ import annotations

import argparse
from typing import Any

from minibot.cli.output import show
from minibot.cli.selection import add_run, run_dir_of, var_of
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed
from minibot.replay.engine import Recorded
from minibot.report.recount import recount

HELP = "the figures of a run: counted again from its queues, or --live as last written"
EXAMPLE = "minibot metrics latest"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument(
        "--live", action="store_true", help="what the running night last wrote, not counted again"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the figures, one name and value a line."""
    if arguments.live:
        path = var_of(arguments).metrics / "metrics.json"
        if not path.exists():
            raise Refusal(f"there is no {path} yet.", "Start a run, or leave out --live.")
        figures: dict[str, Any] = dict(read_hashed(path))
    else:
        figures = recount(Recorded.open(run_dir_of(arguments)))
    show(arguments, figures, [f"{name} {value}" for name, value in _flat("", figures)])
    return 0


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        found = []
        for name, item in value.items():
            found += _flat(f"{prefix}.{name}" if prefix else name, item)
        return found
    return [(prefix, value)]
