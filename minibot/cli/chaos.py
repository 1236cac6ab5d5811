"""minibot chaos: put a fault into a real short run and see whether it ends as catalogued."""

from __future__ import annotations

import argparse
import sys

from minibot.cli.numbers import at_least
from minibot.cli.output import show
from minibot.cli.selection import var_of
from minibot.gates.chaos import (
    JOBS,
    Result,
    faults_named,
    is_passed,
    run_faults,
    table,
    verdict,
)
from minibot.gates.chaos_catalogue import FAULTS
from minibot.kernel.errors import Refusal

HELP = "put faults into real short runs and check that each ends as catalogued"
EXAMPLE = "minibot chaos role_hang"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("names", nargs="*", metavar="NAME", help="faults; see --list")
    command.add_argument("--all", action="store_true", help="every fault of the catalogue")
    command.add_argument("--list", action="store_true", help="one line per fault, nothing is run")
    command.add_argument(
        "--jobs", type=at_least(1), default=JOBS, help=f"how many runs at a time (default: {JOBS})"
    )
    command.add_argument("--on-own-disk", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """List the catalogue, or run faults; 1 when one of them does not end as catalogued."""
    if arguments.list:
        show(arguments, _catalogue(), [*_lines()])
        return 0
    names = list(FAULTS) if arguments.all else arguments.names
    if not names:
        raise Refusal("no fault is named.", "Name one, or --all; see: minibot chaos --list")
    faults = faults_named(names)
    results = run_faults(
        faults,
        var_of(arguments),
        jobs=arguments.jobs,
        tell=_tell,
        on_own_disk=arguments.on_own_disk,
    )
    document = {
        "results": [result.to_json() for result in results],
        "passed": is_passed(results),
        "verdict": verdict(results),
    }
    show(arguments, document, list(table(results)))
    return 0 if is_passed(results) else 1


def _tell(result: Result) -> None:
    print(f"{result.name}: {result.verdict}", file=sys.stderr, flush=True)


def _catalogue() -> list[dict[str, object]]:
    return [
        {
            "name": fault.name,
            "ids": fault.ids,
            "what": fault.what,
            "expected": fault.outcome,
            "exit_code": fault.exit_code,
        }
        for fault in FAULTS.values()
    ]


def _lines() -> list[str]:
    width = max(len(name) for name in FAULTS)
    outcome = max(len(fault.outcome) for fault in FAULTS.values())
    return [
        f"{fault.name.ljust(width)}  {fault.outcome.ljust(outcome)}  {fault.what} ({fault.ids})"
        for fault in FAULTS.values()
    ]
