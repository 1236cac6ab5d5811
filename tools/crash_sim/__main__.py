"""Crash the kernel's storage in every way a simulated disk allows, and judge every state left.

    python3 tools/with_env.py -m tools.crash_sim --states 1000000 --seed 1
    python3 tools/with_env.py -m tools.crash_sim --replay '{"program":...}'

The last line of output is `states N, distinct M, findings K, seed S`. A finding is shrunk and
printed as a recipe for `--replay`. docs/TESTING.md says what is simulated.

Exit code 0: nothing found; 1: findings; 2: cannot run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.crash_sim.campaign import Result, run_campaign
from tools.crash_sim.recipe import parse_recipe, recipe_of, replay, shrink


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign or one recipe; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.replay is not None:
        return _replay(options.replay)
    began = time.monotonic()
    result = run_campaign(options.states, options.seed, options.jobs)
    _report(result, time.monotonic() - began, options)
    return 1 if result.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools.crash_sim",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--states", type=int, default=100_000, help="crash states to judge")
    parser.add_argument("--seed", type=int, default=1, help="what all draws come from")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default 2)"
    )
    parser.add_argument("--no-shrink", action="store_true", help="print findings as they are")
    parser.add_argument("--replay", metavar="RECIPE", help="one state: JSON, or a file with it")
    return parser


def _replay(text: str) -> int:
    try:
        recipe = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
        found = replay(*parse_recipe(recipe))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"crash_sim: {error}\n")
        return 2
    print(found or "nothing is wrong in this state")
    print(f"states 1, distinct 1, findings {1 if found else 0}, seed -")
    return 1 if found else 0


def _report(result: Result, seconds: float, options: argparse.Namespace) -> None:
    for program, own, finding in result.findings:
        if not options.no_shrink:
            program, finding = shrink(program, finding, own)
        print(f"FINDING in program {own}: {finding.text}")
        print(f"  --replay '{recipe_of(program, finding.place)}'")
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(result.kinds.items()))
    print(f"programs {result.programs}, recoveries run {result.recovered}; states: {kinds}")
    print(f"{seconds:.1f} s, {result.states / max(seconds, 0.001):.0f} states/s")
    print(
        f"states {result.states}, distinct {result.distinct}, "
        f"findings {len(result.findings)}, seed {options.seed}"
    )


if __name__ == "__main__":
    sys.exit(main())
