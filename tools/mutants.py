"""Mutants of risk and execution: changes that the unit tests of these rooms do not notice.

    python -m tools.mutants --measure           which test runs which line, and what none runs
    python -m tools.mutants                     then a thousand mutants, drawn by seed 1
    python -m tools.mutants --count 30 --seed 5 --jobs 2

`--measure` runs the tests of both rooms under coverage; exit code 1 if a line or branch is left
that `pyproject.toml` does not excuse.

A mutant is one module with one small change: a comparison, a sign, a number, a condition, a loop
(operators of cosmic-ray). It dies if a unit test of the rooms fails on it; those that run the
changed line are asked. Each worker has a copy of the project, so that nothing here is touched.
Mutants in `tools/mutants_alike.toml` behave as the original does, or differ in what no unit test
may tell; each stands there with its reason. Exit code 1 if fewer than 95 % of the others die, or if
one that is listed there dies. A smaller draw is red where so many live as one of a thousand such
draws would show at 95 %: of thirty more than six.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import math
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import unified_diff
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from coverage import Coverage, CoverageData

PROJECT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = ("risk", "execution")
BESIDE: Final = {
    "risk": (
        "tests/engine/test_bar_exits.py",
        "tests/watchdog/test_carried_campaigns.py",
        "tests/watchdog/test_carried_plans.py",
    ),
}
"""Tests that stand in a higher room, as they need it too, and ask risk itself."""
LIVING_SHARE: Final = 0.05
"""Share of the mutants that may live."""
WHOLE: Final = 1000
"""A draw of so many is held to that share itself."""
CHANCE: Final = 0.001
TEST_S_MAX: Final = 100.0
"""One test that takes longer does not end: the longest takes 16 s on a slow machine."""
TESTS_S_MAX: Final = 300.0
TOLD_EVERY: Final = 50
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
ALIKE_FILE: Final = PROJECT / "tools" / "mutants_alike.toml"
COVERED: Final = PROJECT / "var" / "coverage" / "lines"
PYTEST: Final = ("-m", "pytest", "-q", "-x", "-n0", "-m", "unit", "-p", "no:cacheprovider")

Alike = Mapping[tuple[str, str, str], str]
"""By module, line and what becomes of it: why no unit test has to tell the mutant apart."""


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
    """Fate of a mutant.

    Attributes:
        mutant: The mutant.
        killer: The test that failed, as pytest names it; an empty text if the mutant lives.
        change: What it changed, as a diff without context.
    """

    mutant: Mutant
    killer: str
    change: tuple[str, ...]

    def reason(self, alike: Alike) -> str:
        """Return why it need not die; an empty text where nothing says so."""
        was, now = (
            next((text[1:].strip() for text in self.change if text.startswith(sign)), "")
            for sign in "-+"
        )
        return alike.get((self.mutant.module, was, now), "")


class Covered:
    """Tests by the lines that they run, as coverage has noted them.

    Args:
        project: The project of which it was noted.
        path: The data of coverage.

    Raises:
        FileNotFoundError: There are none.
    """

    def __init__(self, project: Path, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; `tools.mutants --measure` writes it")
        self._project = project
        self._data = CoverageData(str(path))
        self._data.read()

    def tests_of(self, module: str, line: int) -> list[list[str]]:
        """Return the tests to ask about a line, by their pytest ids; those of a later list last.

        First those that run it: in files that share a word of the module's name, then in others,
        and the tests that run the fewest lines before the rest, as they are quick. A line that also
        runs when modules are imported, as that of a constant, and one that none runs, are the
        matter of all tests of the room, and of no other's.
        """
        path = self._project / module
        by_line = self._data.contexts_by_lineno(str(path))
        first = _statement_at(path.read_text("utf-8"), line)
        found = {name for at in range(first, line + 1) for name in by_line.get(at, ())}
        room = files_of(self._project, module) if "" in found or not found else []

        def rank(test: str) -> tuple[int, int, str]:
            return -shared_words(module, _file_of(test)), self._widths[test], test

        ran = [test for test in found - {""} if not room or _file_of(test) in room]
        return [tests for tests in (sorted(ran, key=rank), room) if tests]

    @cached_property
    def _widths(self) -> Counter[str]:
        """Count the lines of both rooms that each test runs."""
        widths: Counter[str] = Counter()
        for path in self._data.measured_files():
            for names in self._data.contexts_by_lineno(path).values():
                widths.update(names)
        return widths


def _statement_at(source: str, line: int) -> int:
    """Return the first line of the statement on a line, of one with a body that of its head."""
    first = 1
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and first < node.lineno <= line:
            first = node.lineno
    return first


def mutants(project: Path) -> Iterator[Mutant]:
    """Yield every mutant of the rooms, module by module.

    Decorators that the compiled build alone reads stay as they are.
    """
    for room in ROOMS:
        for path in sorted((project / "minibot" / room).glob("*.py")):
            source = path.read_text("utf-8")
            lines, nodes = source.splitlines(), list(ast_nodes(get_ast(source)))
            module = path.relative_to(project).as_posix()
            for name in OPERATORS:
                operator = get_operator(name)()
                found = [node for node in nodes for _ in operator.mutation_positions(node)]
                for place, node in enumerate(found):
                    if not lines[node.start_pos[0] - 1].startswith("@mypyc_attr"):
                        yield Mutant(module, name, place)


def drawn(found: Sequence[Mutant], count: int, seed: str) -> list[Mutant]:
    """Return so many mutants, drawn by a seed, in the order of the draw."""

    def rank(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed} {mutant}".encode()).digest()

    return sorted(found, key=rank)[:count]


def files_of(project: Path, module: str) -> list[str]:
    """Return the test files of a module's room, those that share a word of its name first."""
    room = Path(module).parent.name
    found = [
        each.relative_to(project).as_posix() for each in project.glob(f"tests/{room}/test_*.py")
    ]
    found = sorted(found) + list(BESIDE.get(room, ()))
    return sorted(found, key=lambda each: -shared_words(module, each))


def _file_of(test: str) -> str:
    """Return the file of a test, by its pytest id."""
    return test.partition("::")[0]


def shared_words(module: str, file: str) -> int:
    """Return how many words the name of a module and that of a test file share."""
    return len(set(Path(module).stem.split("_")) & set(Path(file).stem.split("_")))


def judges() -> list[str]:
    """Return the folders and files of all tests that judge mutants."""
    return [f"tests/{room}" for room in ROOMS] + [
        each for names in BESIDE.values() for each in names
    ]


def fate_of(copy: Path, mutant: Mutant, covered: Covered) -> Fate:
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
    old, new = source.splitlines(), changed.splitlines()
    lines = unified_diff(old, new, n=0, lineterm="")
    change = tuple(line for line in lines if line[:3] not in ("---", "+++"))
    line = next(at for at, (was, now) in enumerate(zip(old, new, strict=False)) if was != now)
    _replace(path, changed.encode())
    try:
        asked = (failed(copy, tests) for tests in covered.tests_of(mutant.module, line + 1))
        killer = next(filter(None, asked), "")
    finally:
        _replace(path, before)
    return Fate(mutant, killer, change)


def _replace(path: Path, source: bytes) -> None:
    """Replace a module's source and drop its bytecode, which Python tells by second and size."""
    path.write_bytes(source)
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def failed(copy: Path, tests: Sequence[str], test_s_max: float = TEST_S_MAX) -> str:
    """Return the first unit test that fails in a copy of the project; an empty text for none.

    A test that does not end in time counts as a failure, and so do tests that do not begin.

    Raises:
        ValueError: There is no such test.
    """
    ends = (f"faulthandler_timeout={test_s_max:g}", "faulthandler_exit_on_timeout=true")
    try:
        done = subprocess.run(
            [sys.executable, "-B", *PYTEST, *(f"--override-ini={each}" for each in ends), *tests],
            cwd=copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TESTS_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {TESTS_S_MAX:g} s"
    if done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return ""
    if "ERROR: file or directory not found" in done.stdout:
        raise ValueError(f"{', '.join(tests)}: {done.stdout[-500:]}")
    if "Timeout (" in done.stdout:
        return f"no end within {test_s_max:g} s"
    told = (line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    return next(told, f"pytest ended with {done.returncode}: {done.stdout[-500:]}")


def copied(folder: Path) -> Path:
    """Return a copy of the project's files below a folder, without what git ignores.

    Its tests are collected once, so that each mutant finds the bytecode of all but its own module.

    Raises:
        ValueError: They cannot be collected.
    """
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
    done = subprocess.run(
        [sys.executable, *PYTEST, "--collect-only", *judges()],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"the tests of {', '.join(ROOMS)}: {done.stdout[-2000:]}{done.stderr}")
    return copy


def fates(chosen: Sequence[Mutant], covered: Covered, jobs: int, folder: Path) -> Iterator[Fate]:
    """Yield the fate of each mutant, in the order given."""
    copies: SimpleQueue[Path] = SimpleQueue()
    for number in range(jobs):
        copies.put(copied(folder / str(number)))

    def judge(mutant: Mutant) -> Fate:
        copy = copies.get()
        try:
            return fate_of(copy, mutant, covered)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(judge, chosen)


def living_max(count: int) -> int:
    """Return how many of a draw may live: their share, in a small draw as far as chance explains.

    Args:
        count: Number of mutants that are judged.
    """
    if count >= WHOLE:
        return int(count * LIVING_SHARE)
    more, most = 1.0, -1
    while more >= CHANCE:
        most += 1
        chance = LIVING_SHARE**most * (1 - LIVING_SHARE) ** (count - most)
        more -= math.comb(count, most) * chance
    return most


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note under the name of a test, whatever its parameters, what it and its fixtures run.

    `measured` lets pytest take this module for a plugin.
    """
    measurement = Coverage.current()
    assert measurement is not None
    measurement.switch_context(item.nodeid.partition("[")[0])
    try:
        return (yield)
    finally:
        measurement.switch_context("")


def measured() -> int:
    """Run the rooms' tests under coverage and print what none of them runs; 0 for nothing."""
    plugins = ("-p", "no:cacheprovider", "-p", "tools.mutants")
    words = ("-m", "pytest", "-q", "-n0", "-m", "not campaign", *plugins, *judges())
    COVERED.parent.mkdir(parents=True, exist_ok=True)
    for step in (("run", *words), ("report",)):
        command = [sys.executable, "-m", "coverage", *step]
        code = subprocess.run(command, cwd=PROJECT, check=False).returncode
        if code:
            return 1
    return 0


def alike_of(path: Path = ALIKE_FILE) -> Alike:
    """Return the mutants that need not die, each with its reason."""
    listed = tomllib.loads(path.read_text("utf-8"))["alike"]
    return {
        (each["module"], each["line"], becomes): each["why"]
        for each in listed
        for becomes in each["becomes"]
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Judge mutants and print those that live; 0 if enough die."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="how many mutants")
    parser.add_argument("--first", type=int, default=0, help="which of the draw is the first")
    parser.add_argument("--seed", default="1", help="draws them")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--measure", action="store_true", help="run the tests under coverage")
    arguments = parser.parse_args(argv)
    if arguments.measure:
        return measured()
    began, alike = time.monotonic(), alike_of()
    every = list(mutants(PROJECT))
    chosen = drawn(every, arguments.first + arguments.count, arguments.seed)[arguments.first :]
    dead = excused = wrong = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        covered = Covered(PROJECT, COVERED)
        found = fates(chosen, covered, arguments.jobs, Path(folder))
        for number, fate in enumerate(found, 1):
            if not number % TOLD_EVERY:
                print(f"{number} of {len(chosen)}", file=sys.stderr, flush=True)
            why = fate.reason(alike)
            if fate.killer and not why:
                dead += 1
                continue
            excused += bool(why)
            wrong += bool(fate.killer)
            word = f"dies by {fate.killer}, but is listed" if fate.killer else "lives"
            print(
                f"{word}: {fate.mutant.module}, {fate.mutant.operator}"
                + (f" ({why})" if why else "")
            )
            print("\n".join(f"    {line}" for line in fate.change), flush=True)
    judged = len(chosen) - excused
    percent = 100 * dead / judged if judged else 100.0
    print(
        f"mutants {len(chosen)} of {len(every)} by seed {arguments.seed}, dead {dead}, "
        f"alike {excused}, living {judged - dead}: {percent:.1f} % die; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 0 if judged - dead <= living_max(judged) and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
