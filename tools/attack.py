"""Attack the product as a stranger would: real processes, real files, one line for each attack.

    python3 tools/with_env.py -m tools.attack                    all of them
    python3 tools/with_env.py -m tools.attack --list             what there is
    python3 tools/with_env.py -m tools.attack --only planted     those whose name or point says so
    python3 tools/with_env.py -m tools.attack --part 2 --seed 1  a seeded half (.ci/run attacks)

An attack has its own `var` (or its own copy of the product) below `var/lab/attack`. It starts
nights and verbs there, does its damage and compares the product's answer with the expected one.
Each line gives number, name, deed, expectation, finding and exit code. An attack that could not be
played counts as a finding. Exit code: 0 without a finding, else 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import random
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tools.attacks
from tools.attacks.frame import PROJECT, REGISTERED, Attack, Found, Lab, NotPlayable, Shelf

FOLDER: Final = PROJECT / "var" / "lab" / "attack"
# Attacks mostly wait for a night's market, so several run beside each other.
JOBS: Final = 3


@dataclass(frozen=True, slots=True)
class Played:
    """Outcome of one attack that was played."""

    number: int
    attack: Attack
    found: Found
    seconds: float

    def line(self) -> str:
        """Return the line that is printed."""
        verdict = "held" if self.found.is_expected else "FINDING"
        code = "-" if self.found.exit_code is None else str(self.found.exit_code)
        attack = self.attack
        return (
            f"{self.number:3} {verdict:7} {attack.point:4} {attack.name}: {attack.what};"
            f" expected: {attack.expected}; found: {self.found.said}; exit {code}"
            f" ({self.seconds:.1f} s)"
        )


def registered() -> list[tuple[int, Attack]]:
    """Return all attacks with their numbers, in the order of their modules and definitions."""
    for entry in sorted(pkgutil.iter_modules(tools.attacks.__path__), key=lambda entry: entry.name):
        importlib.import_module(f"tools.attacks.{entry.name}")
    return list(enumerate(REGISTERED.values(), start=1))


def chosen(
    attacks: Sequence[tuple[int, Attack]], only: Sequence[str], part: int, seed: int
) -> list[tuple[int, Attack]]:
    """Return the attacks that match a name, point or number, thinned to a seeded part."""
    found = [
        (number, attack)
        for number, attack in attacks
        if not only
        or any(word in (str(number), attack.point) or word in attack.name for word in only)
    ]
    if part > 1:
        drawn = random.Random(seed).sample(found, -(-len(found) // part))
        found = sorted(drawn, key=lambda item: item[0])
    return found


def play(number: int, attack: Attack, folder: Path, shelf: Shelf) -> Played:
    """Play one attack in its own lab; end every process that it started."""
    begun = time.monotonic()
    lab = Lab(folder / f"{number:02}-{attack.name}", shelf)
    try:
        found = attack.play(lab)
    except (NotPlayable, OSError, KeyError, ValueError) as error:
        found = Found(f"not played: {type(error).__name__}: {error}", None, False)
    finally:
        lab.end()
    return Played(number, attack, found, time.monotonic() - begun)


def main(argv: Sequence[str] | None = None) -> int:
    """Play the attacks asked for and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack", description="Attack the product as a stranger would."
    )
    parser.add_argument("--only", nargs="+", default=[], help="names, points or numbers")
    parser.add_argument("--part", type=int, default=1, help="a seeded 1/N of the attacks")
    parser.add_argument("--seed", type=int, default=1, help="draws the part (default: 1)")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"at once (default: {JOBS})")
    parser.add_argument("--list", action="store_true", help="print the attacks, play none")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args(argv)
    attacks = chosen(registered(), arguments.only, arguments.part, arguments.seed)
    if arguments.list:
        for number, attack in attacks:
            print(f"{number:3} {attack.point:4} {attack.name}: {attack.what}")
        return 0
    if not attacks:
        print("no attack is called so; see --list", file=sys.stderr)
        return 2
    seed = f" by seed {arguments.seed}" if arguments.part > 1 else ""
    return report(attacks, arguments.jobs, arguments.json, seed)


def report(attacks: Sequence[tuple[int, Attack]], jobs: int, as_json: bool, seed: str) -> int:
    """Play attacks; print each as it ends and the verdict last; return the exit code."""
    begun = time.monotonic()
    shelf = Shelf(FOLDER / "shelf")
    shutil.rmtree(shelf.folder, ignore_errors=True)  # Left by another state of the product.
    played = []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(play, number, attack, FOLDER, shelf) for number, attack in attacks]
        for future in waiting:
            played.append(future.result())
            if not as_json:
                print(played[-1].line(), flush=True)
    findings = sum(not item.found.is_expected for item in played)
    if as_json:
        print(json.dumps([_document(item) for item in played], indent=2))
    else:
        names = f"of {len(REGISTERED)}{seed}, {time.monotonic() - begun:.0f} s"
        print(f"attacks: {len(played)} played {names}, {findings} findings")
    return 1 if findings else 0


def _document(played: Played) -> dict[str, object]:
    return {
        "number": played.number,
        "name": played.attack.name,
        "point": played.attack.point,
        "what": played.attack.what,
        "expected": played.attack.expected,
        "found": played.found.said,
        "exit_code": played.found.exit_code,
        "held": played.found.is_expected,
        "seconds": round(played.seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
