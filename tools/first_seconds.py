"""Stop, limit or freeze a night at many moments of its first seconds, and judge each record.

    python3 tools/with_env.py -m tools.first_seconds                   all deeds, 40 moments each
    python3 tools/with_env.py -m tools.first_seconds --deed freeze     each role at 20 moments
    python3 tools/with_env.py -m tools.first_seconds --deed kill --moments 5

The deeds themselves stand in `tools.attacks.first_seconds`, some of them as attacks. One line for
each moment; exit code 1 when a record was not as it has to be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from tools.attacks.first_seconds import DEEDS, PROOFS, ROLES, SHORT_FREEZE_S, disturbed, frozen
from tools.attacks.frame import PROJECT, Found, Lab, NotPlayable, Shelf

FOLDER: Final = PROJECT / "var" / "lab" / "first_seconds"
FREEZE: Final = "freeze"
PAUSE: Final = "pause"
DEED_S: Final = 3.0
FREEZE_S: Final = 2.0
FREEZES: Final = 20

Play = Callable[[Lab], Found]


def moments(count: int, until_s: float) -> list[float]:
    """Return the given number of moments, evenly from 0 to `until_s`."""
    return [until_s * number / max(1, count - 1) for number in range(count)]


def plays(deeds: Sequence[str], count: int | None) -> Iterator[tuple[str, Play]]:
    """Yield the name of each play and the play."""
    for deed in deeds:
        if deed in DEEDS:
            for at in moments(count or 40, DEED_S):
                yield (
                    f"{deed} at {at:.2f} s",
                    partial(disturbed, deed=DEEDS[deed], moment_s=at, proofs=PROOFS),
                )
            continue
        for_s = SHORT_FREEZE_S if deed == PAUSE else None
        for role in ROLES:
            for at in moments(count or FREEZES, FREEZE_S):
                name = f"{deed} {role} at {at:.2f} s"
                yield name, partial(frozen, role=role, moment_s=at, for_s=for_s, proofs=PROOFS)


def played(number: int, name: str, play: Play, shelf: Shelf) -> tuple[str, Found]:
    """Play once in its own lab."""
    lab = Lab(FOLDER / f"{number:03}", shelf)
    try:
        return name, play(lab)
    except (NotPlayable, OSError) as error:
        return name, Found(f"not played: {error}", None, False)
    finally:
        lab.end()


def main(argv: Sequence[str] | None = None) -> int:
    """Play the moments asked for; return the exit code."""
    names = [*DEEDS, FREEZE, PAUSE]
    parser = argparse.ArgumentParser(
        prog="python -m tools.first_seconds", description="Disturb the first seconds of a night."
    )
    parser.add_argument("--deed", nargs="+", choices=names, default=names, help="what is done")
    parser.add_argument("--moments", type=int, help="how many of each (default: 40, freezes 20)")
    parser.add_argument("--jobs", type=int, default=2, help="nights at once (default: 2)")
    arguments = parser.parse_args(argv)
    shelf = Shelf(FOLDER / "shelf")
    findings = total = 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        waiting = [
            pool.submit(played, number, name, play, shelf)
            for number, (name, play) in enumerate(plays(arguments.deed, arguments.moments))
        ]
        for future in waiting:
            name, found = future.result()
            total += 1
            findings += not found.is_expected
            verdict = "held" if found.is_expected else "FINDING"
            print(f"{verdict:7} {name}: {found.said}; exit {found.exit_code}", flush=True)
    print(f"first seconds: {total} played, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
