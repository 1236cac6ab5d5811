"""Mutants of risk and execution: what the unit tests of these rooms do not notice.

    python -m tools.mutants                     a thousand mutants, drawn by seed 1
    python -m tools.mutants --count 30 --seed 5 --jobs 2

A mutant is one module with one small change: a comparison, a sign, a number, a condition, a loop
(operators of cosmic-ray). It dies if the unit tests of its room fail on it. Each worker has a copy
of the project, so that nothing here is touched. Mutants in `ALIKE` behave as the original does, or
differ in what no unit test may tell; each stands there with its reason. Exit code 1 if fewer than
95 % of the others die.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

PROJECT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("risk", "execution")
LEAST_PERCENT: Final = 95
TESTS_S_MAX: Final = 900.0
# Those of which a person makes mistakes. The others of cosmic-ray change a type, and die at once.
OPERATORS: Final = tuple(
    f"core/{name}"
    for name in (
        "AddNot",
        "NumberReplacer",
        "ReplaceAndWithOr",
        "ReplaceOrWithAnd",
        "ReplaceBreakWithContinue",
        "ReplaceContinueWithBreak",
        "ReplaceTrueWithFalse",
        "ReplaceFalseWithTrue",
        "ReplaceBinaryOperator_Add_Sub",
        "ReplaceBinaryOperator_Sub_Add",
        "ReplaceBinaryOperator_Mul_FloorDiv",
        "ReplaceBinaryOperator_FloorDiv_Mul",
        "ReplaceComparisonOperator_Eq_NotEq",
        "ReplaceComparisonOperator_NotEq_Eq",
        "ReplaceComparisonOperator_Lt_LtE",
        "ReplaceComparisonOperator_Lt_GtE",
        "ReplaceComparisonOperator_LtE_Lt",
        "ReplaceComparisonOperator_LtE_Gt",
        "ReplaceComparisonOperator_Gt_GtE",
        "ReplaceComparisonOperator_Gt_LtE",
        "ReplaceComparisonOperator_GtE_Gt",
        "ReplaceComparisonOperator_GtE_Lt",
        "ReplaceComparisonOperator_Is_IsNot",
        "ReplaceComparisonOperator_IsNot_Is",
        "ReplaceUnaryOperator_Delete_Not",
        "ReplaceUnaryOperator_USub_UAdd",
        "ZeroIterationForLoop",
    )
)
ALIKE: Final[dict[tuple[str, str, str], str]] = {}
"""By module, operator and the changed line: why no unit test has to tell the mutant apart."""


class Mutant(NamedTuple):
    """One change of one module.

    Attributes:
        module: The module's path from the project's root.
        operator: The name of the change.
        occurrence: Which of its places in the module, from 0.
    """

    module: str
    operator: str
    occurrence: int


class Fate(NamedTuple):
    """Fate of a mutant: whether it died, and the change as a diff without context."""

    mutant: Mutant
    died: bool
    change: tuple[str, ...]

    @property
    def alike(self) -> str:
        """The reason why it need not die; empty where nothing says so."""
        line = next((text[1:].strip() for text in self.change if text.startswith("-")), "")
        return ALIKE.get((self.mutant.module, self.mutant.operator, line), "")


def mutants(project: Path) -> Iterator[Mutant]:
    """Yield every mutant of the rooms, module by module."""
    for room in ROOMS:
        for path in sorted((project / "minibot" / room).glob("*.py")):
            nodes = list(ast_nodes(get_ast(path.read_text("utf-8"))))
            for name in OPERATORS:
                operator = get_operator(name)()
                count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
                module = path.relative_to(project).as_posix()
                yield from (Mutant(module, name, place) for place in range(count))


def drawn(found: Sequence[Mutant], count: int, seed: str) -> list[Mutant]:
    """Return so many mutants, drawn by a seed, in the order of the draw."""

    def rank(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed} {mutant}".encode()).digest()

    return sorted(found, key=rank)[:count]


def test_files(project: Path, module: str) -> list[str]:
    """Return the test files of a module's room, those that share a word of its name first."""
    path = Path(module)
    words = set(path.stem.split("_"))
    found = sorted((project / "tests" / path.parent.name).glob("test_*.py"))
    found.sort(key=lambda each: -len(words & set(each.stem.split("_"))))
    return [each.relative_to(project).as_posix() for each in found]


def fate_of(copy: Path, mutant: Mutant) -> Fate:
    """Return the fate of a mutant, with the module of a copy of the project changed meanwhile.

    Raises:
        ValueError: The module has no such place.
    """
    path = copy / mutant.module
    before = path.read_bytes()
    source = before.decode()
    changed = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    if changed is None:
        raise ValueError(f"{mutant}: no such place")
    lines = unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm="")
    change = tuple(line for line in lines if line[:3] not in ("---", "+++"))
    path.write_bytes(changed.encode())
    try:
        died = not passes(copy, test_files(copy, mutant.module))
    finally:
        path.write_bytes(before)
    return Fate(mutant, died, change)


def passes(copy: Path, files: Sequence[str]) -> bool:
    """Return whether the unit tests of some files pass; a hang is a failure."""
    words = ["-m", "pytest", "-q", "-x", "-n0", "-m", "unit", "-p", "no:cacheprovider", *files]
    try:
        done = subprocess.run(
            [sys.executable, "-B", *words],
            cwd=copy,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TESTS_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def copied(folder: Path) -> Path:
    """Return a copy of the project's files below a folder, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    copy = folder / "project"
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, copy / name)
    return copy


def fates(chosen: Sequence[Mutant], jobs: int, folder: Path) -> Iterator[Fate]:
    """Yield the fate of each mutant, in the order given."""
    copies: SimpleQueue[Path] = SimpleQueue()
    for number in range(jobs):
        copies.put(copied(folder / str(number)))

    def judge(mutant: Mutant) -> Fate:
        copy = copies.get()
        try:
            return fate_of(copy, mutant)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(judge, chosen)


def main(argv: Sequence[str] | None = None) -> int:
    """Judge mutants and print those that live; 0 if enough die."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="how many mutants")
    parser.add_argument("--seed", default="1", help="which of them")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    arguments = parser.parse_args(argv)
    began = time.monotonic()
    every = list(mutants(PROJECT))
    chosen = drawn(every, arguments.count, arguments.seed)
    dead = alike = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for fate in fates(chosen, arguments.jobs, Path(folder)):
            dead += fate.died
            if fate.died:
                continue
            alike += bool(fate.alike)
            why = f" (alike: {fate.alike})" if fate.alike else ""
            print(f"lives: {fate.mutant.module}, {fate.mutant.operator}{why}")
            print("\n".join(f"    {line}" for line in fate.change), flush=True)
    judged = len(chosen) - alike
    percent = 100 * dead / judged if judged else 100.0
    print(
        f"mutants {len(chosen)} of {len(every)}, dead {dead}, alike {alike}, "
        f"living {judged - dead}: {percent:.1f} % die; {time.monotonic() - began:.0f} s"
    )
    return 0 if percent >= LEAST_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())
