"""minibot chaos: inject a fault into a real short run and check that it ends as catalogued."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import say, show
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal

if TYPE_CHECKING:
    from minibot.gates.chaos import Result
    from minibot.gates.chaos_fault import Fault

HELP = "put faults into real short runs and check that each ends as catalogued"
EXAMPLE = "minibot chaos role_hang"
# A run mostly waits: two CPUs carry three of them.
JOBS = 3


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("names", nargs="*", metavar="NAME", help="faults; see --list")
    command.add_argument("--all", action="store_true", help="every fault of the catalogue")
    command.add_argument(
        "--part", type=at_least(1), default=1, metavar="N", help="a seeded 1/N of them, named"
    )
    command.add_argument("--seed", type=int, default=1, help="draws the part (default: 1)")
    command.add_argument("--list", action="store_true", help="one line per fault, nothing is run")
    command.add_argument(
        "--jobs", type=at_least(1), default=JOBS, help=f"how many runs at a time (default: {JOBS})"
    )
    command.add_argument("--on-own-disk", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """List the catalogue, or run faults; 1 when one of them does not end as catalogued."""
    # Imported here because `--help` needs none of it.
    from minibot.gates.chaos import (
        drawn,
        faults_named,
        is_passed,
        run_faults,
        table,
        verdict,
    )
    from minibot.gates.chaos_catalogue import FAULTS

    if arguments.list:
        show(arguments, _catalogue(FAULTS), [*_lines(FAULTS)])
        return 0
    names = list(FAULTS) if arguments.all else arguments.names
    if not names:
        raise Refusal("no fault is named.", "Name one, or --all; see: minibot chaos --list")
    asked = faults_named(names)
    faults = drawn(asked, arguments.part, arguments.seed)
    part = _part(asked, faults, arguments.seed)
    if part:
        say(part)
    results = run_faults(
        faults,
        var_of(arguments),
        jobs=arguments.jobs,
        on_result=_show_result,
        on_own_disk=arguments.on_own_disk,
    )
    document = {
        "seed": arguments.seed if part else None,
        "of": len(asked),
        "results": [result.to_json() for result in results],
        "passed": is_passed(results),
        "verdict": verdict(results),
    }
    show(arguments, document, [*table(results), *([part] if part else [])])
    return 0 if is_passed(results) else 1


def _part(asked: list[Fault], faults: list[Fault], seed: int) -> str:
    """Return a sentence that names the selected faults; empty where all are run."""
    if len(faults) == len(asked):
        return ""
    names = ", ".join(fault.name for fault in faults)
    return f"seed {seed} draws {len(faults)} of {len(asked)} faults: {names}"


def _show_result(result: Result) -> None:
    say(f"{result.name}: {result.verdict}")


def _catalogue(faults: Mapping[str, Fault]) -> list[dict[str, object]]:
    return [
        {
            "name": fault.name,
            "ids": fault.ids,
            "what": fault.what,
            "expected": fault.outcome,
            "exit_code": fault.exit_code,
        }
        for fault in faults.values()
    ]


def _lines(faults: Mapping[str, Fault]) -> list[str]:
    width = max(len(name) for name in faults)
    outcome = max(len(fault.outcome) for fault in faults.values())
    return [
        f"{fault.name.ljust(width)}  {fault.outcome.ljust(outcome)}  {fault.what} ({fault.ids})"
        for fault in faults.values()
    ]
