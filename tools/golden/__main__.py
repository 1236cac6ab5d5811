"""Golden runs: `python -m tools.golden` replays every one and compares its digest.

    python -m tools.golden                     by this Python, and one more where there is one
    python -m tools.golden --all               by every Python that can be had, interpreted and
                                               compiled, with other hash seeds, locales, time zones
    python -m tools.golden --all --install     as root on Debian: also those not here yet
    python -m tools.golden --make sample_run   make one anew by a real night, then commit it

Exit code 1 where a digest differs; a Python that is not available is named and fails nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.golden.fixture import PROJECT, SUMS, Golden, golden_runs, wrong_sums
from tools.golden.making import RECIPES, make
from tools.golden.pythons import MINORS, Python, find, own
from tools.golden.variants import Variant, differences, replayed, under_wine, variants

VAR = PROJECT / "var"


def main(argv: Sequence[str] | None = None) -> int:
    """Make or check golden runs; return 1 where one differs from its record."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.golden",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--all", action="store_true", help="every Python, every variant")
    parser.add_argument("--install", action="store_true", help="fetch Pythons that are not here")
    parser.add_argument("--make", choices=list(RECIPES), help="make this one anew")
    arguments = parser.parse_args(argv)
    if arguments.make:
        print(f"{arguments.make}: digest {make(arguments.make)}")
        return 0
    began = time.monotonic()
    wrong = [
        text
        for path in sorted(PROJECT.glob(f"tests/fixtures/*/{SUMS}"))
        for text in wrong_sums(path)
    ]
    for text in wrong:
        print(text)
    runs = golden_runs()
    folders = [run.unpack(VAR) for run in runs]
    for run in runs:
        outputs = ", ".join(f"{count} {queue}" for queue, count in run.outputs.items())
        print(f"{run.name}: {run.what}; {run.inputs} inputs, {outputs}")
    bad = checked = 0
    for python, variant in plan(everything=arguments.all, may_install=arguments.install):
        checked += 1
        bad += not tell(python, variant, runs, folders)
    if arguments.all:
        print(under_wine(runs, folders))
    verdict = f"{len(runs)} golden runs, {checked} ways to replay them: "
    verdict += f"{bad} differ" if bad else "every digest as recorded"
    print(f"{verdict} ({time.monotonic() - began:.0f} s)")
    return 1 if bad or wrong or not runs else 0


def plan(*, everything: bool, may_install: bool) -> Iterator[tuple[Python, Variant]]:
    """Yield each Python with its ways to replay; print which Python is not available."""
    mine = own()
    for variant in variants(mine, everything=everything):
        yield mine, variant
    others = 0
    for minor in MINORS:
        if minor == mine.minor or (others and not everything):
            continue
        found = find(minor, may_install=may_install)
        if isinstance(found, str):
            print(f"Python 3.{minor}: not here: {found}")
            continue
        others += 1
        for variant in variants(found, everything=everything):
            yield found, variant


def tell(python: Python, variant: Variant, runs: list[Golden], folders: list[Path]) -> bool:
    """Replay by one Python in one way and print the result; return whether all is as recorded."""
    began = time.monotonic()
    name = f"Python {python.version}, {variant.name}"
    found = replayed(python, variant, folders)
    if isinstance(found, str):
        print(f"{name}: FAILED: {found}", flush=True)
        return False
    wrong = differences(runs, found)
    took = f"{time.monotonic() - began:.1f} s"
    print(f"{name}: {'; '.join(wrong) if wrong else 'as recorded'} ({took})", flush=True)
    return not wrong


if __name__ == "__main__":
    sys.exit(main())
