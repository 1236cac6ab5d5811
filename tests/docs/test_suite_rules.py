"""Rules of the tests themselves: where a file stands, and that each test can fail."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.docs.product_sources import parsed

# Folders of tests that belong to no room of the product, and their subjects.
OTHER_FOLDERS = {
    "contracts": "the committed schemas and examples in contracts/",
    "docs": "pages, and rules of the tree that no single room holds",
    "fixtures": "recorded data; no tests",
    "nights": "whole nights through every role",
    "tools": "the programs in tools/",
}
# Folders inside a room of tests that mirror no folder of the product.
OTHER_SUBFOLDERS = {"exchanges/madeup": "a venue that the tests made up"}
# Files that import a room above their own as much as their own, and why they stand where they are.
USES_HIGHER_ROOM = {
    "tests/accounting/test_entry_stops.py": "says what it counted in the words of a report",
    "tests/engine/test_decision_record.py": "records the decisions of a backtest",
    "tests/engine/test_intrabar.py": "plays its bars through the backtest's source",
    "tests/engine/test_quiet_bars.py": "plays its bars through a backtest",
    "tests/exchanges/tapes/test_shipped_bars.py": "plays them as a backtest's source",
    "tests/gates/test_chaos_runbook.py": "reads the table of verbs",
    "tests/report/test_pages_in_chromium.py": "looks at the page of a backtest too",
    "tests/runtime/test_feed_files.py": "hands what was read to market and strategy",
    "tests/strategies/test_example_library.py": "tries each by a backtest",
    "tests/strategies/test_plots.py": "keeps lines in a backtest",
}
# Files that reach their room through a process or a finished night, without an import.
REACHES_ROOM_BY_PROCESS = {
    "tests/backtest/test_portfolio_profile.py": "calls the verb with the shipped profile",
    "tests/backtest/test_scanner_backtest.py": "calls the verb with the night's profile",
    "tests/cli/test_cli_encoding.py": "starts the verb's guard in a process",
    "tests/replay/test_replay_lineage.py": "calls `verify --lineage`",
    "tests/replay/test_replay_partial_run.py": "calls the verbs of replay",
    "tests/report/test_report_logs.py": "reads the logs of a finished night",
    "tests/simulator/test_simulator_changes.py": "starts the exchange as a process",
    "tests/simulator/test_simulator_process.py": "starts the exchange as a process",
}
# How many calls lie between a test and the assertion of a helper at most.
LEVELS_MAX = 3
ASSERTING_CALLS = {"pytest.raises", "pytest.fail", "pytest.warns", "run_state_machine_as_test"}

Functions = dict[str, list[ast.FunctionDef]]


@pytest.fixture(scope="module")
def files(project: Path) -> dict[str, ast.Module]:
    """Every module below tests/, parsed, by its path in the project."""
    return {name.replace(".", "/") + ".py": tree for name, tree in parsed(project, "tests").items()}


@pytest.fixture(scope="module")
def layers(project: Path) -> dict[str, int]:
    """The layer of each room by the import contract, 0 for the highest."""
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
    )
    return {
        room.strip().removeprefix("minibot."): layer
        for layer, rooms in enumerate(contract["layers"])
        for room in rooms.split("|")
    }


@cache  # A helper is asked by each file that imports it.
def imported(tree: ast.Module) -> tuple[str, ...]:
    """Return each module or name that a file imports, as a dotted name."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


@cache
def modules_by_room(tree: ast.Module, project: Path) -> Counter[str]:
    """Return how many modules of each room of the product a file imports."""
    modules = {
        name
        for name in imported(tree)
        if (project / name.replace(".", "/")).with_suffix(".py").is_file()
    }
    rooms = [name.split(".") for name in modules]
    return Counter(parts[1] for parts in rooms if parts[0] == "minibot" and len(parts) > 2)


def helpers_of(tree: ast.Module, files: dict[str, ast.Module]) -> set[str]:
    """Return the paths of the modules below tests/ that a file imports."""
    return {path for name in imported(tree) if (path := name.replace(".", "/") + ".py") in files}


def rooms_reached(path: str, files: dict[str, ast.Module], project: Path) -> set[str]:
    """Return the rooms that a file imports, itself or through its helpers."""
    seen, waiting = {path}, [path]
    rooms: set[str] = set()
    while waiting:
        tree = files[waiting.pop()]
        rooms |= modules_by_room(tree, project).keys()
        new = helpers_of(tree, files) - seen
        seen |= new
        waiting.extend(new)
    return rooms


def test_folders_of_tests_are_the_rooms_of_the_product(project: Path) -> None:
    """Each room has its tests in a folder of its name; each other folder is named with its use."""
    rooms = {path.parent.name for path in (project / "minibot").glob("*/__init__.py")}
    folders = {path.parent.name for path in (project / "tests").glob("*/*.py")} | {"fixtures"}
    inner = {
        f"{path.parent.parent.name}/{path.parent.name}"
        for path in (project / "tests").glob("*/*/*.py")
        if path.parent.parent.name != "fixtures"
    }

    assert folders - OTHER_FOLDERS.keys() == rooms
    assert {name for name in inner if not (project / "minibot" / name).is_dir()} == set(
        OTHER_SUBFOLDERS
    )
    assert list((project / "tests").glob("test_*.py")) == []


@pytest.mark.slow
def test_file_of_tests_stands_in_the_room_that_it_tests(
    project: Path, files: dict[str, ast.Module], layers: dict[str, int]
) -> None:
    """A file imports its own room, and no room above more than its own.

    The shell of a run (`runtime`) gives a test its profile and its folders; it is no subject.
    """
    above, strangers = set(), set()
    for path, tree in files.items():
        room, name = path.split("/")[1], path.rpartition("/")[2]
        if room not in layers or not name.startswith("test_"):
            continue
        counts = modules_by_room(tree, project)
        if any(
            counts[other] >= max(counts[room], 1)
            for other in counts
            if other not in (room, "runtime") and layers[other] <= layers[room]
        ):
            above.add(path)
        if room not in rooms_reached(path, files, project):
            strangers.add(path)

    assert above == USES_HIGHER_ROOM.keys()
    assert strangers == REACHES_ROOM_BY_PROCESS.keys()


# --- assertions ---------------------------------------------------------------------------------


@cache
def functions_of(tree: ast.AST) -> tuple[ast.FunctionDef, ...]:
    """Return every function and method of a module."""
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def asserts_itself(function: ast.AST) -> bool:
    """Tell whether a body has an `assert`, raises one, or fails by pytest or Hypothesis."""
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in ASSERTING_CALLS)
        or (isinstance(node, ast.Raise) and "AssertionError" in ast.unparse(node))
        for node in ast.walk(function)
    )


@cache
def called(function: ast.AST) -> set[str]:
    """Return the last names of what a body calls, or hands on as an argument."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            for part in (node.func, *node.args):
                if isinstance(part, ast.Name):
                    names.add(part.id)
                elif isinstance(part, ast.Attribute):
                    names.add(part.attr)
    return names


def can_fail(function: ast.AST, known: Functions, levels: int = LEVELS_MAX) -> bool:
    """Tell whether a body asserts, itself or through helpers of the tests."""
    if asserts_itself(function):
        return True
    return levels > 0 and any(
        can_fail(helper, known, levels - 1)
        for name in called(function)
        for helper in known.get(name, ())
    )


def known_functions(path: str, files: dict[str, ast.Module]) -> Functions:
    """Return the functions of a file and of the helpers that it imports, by name."""
    found: Functions = {}
    seen, waiting = {path}, [path]
    while waiting:
        tree = files[waiting.pop()]
        for function in functions_of(tree):
            found.setdefault(function.name, []).append(function)
        new = helpers_of(tree, files) - seen
        seen |= new
        waiting.extend(new)
    return found


def without_assertion(files: dict[str, ast.Module]) -> list[str]:
    """Return every test that has no way to fail but by an exception of the product."""
    found = []
    for path, tree in files.items():
        if path.rpartition("/")[2].startswith("test_"):
            known = known_functions(path, files)
            found += [
                f"{path}::{function.name}"
                for function in functions_of(tree)
                if function.name.startswith("test_") and not can_fail(function, known)
            ]
    return found


@pytest.mark.slow
def test_every_test_asserts_something(files: dict[str, ast.Module]) -> None:
    """A test without an assertion passes whatever the product answers."""
    assert without_assertion(files) == []


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        ("f()", False),
        ("assert f()", True),
        ("with pytest.raises(OSError): f()", True),
        ("check(f())", True),
        ("print(f())", False),
    ],
)
def test_body_without_assertion_is_found(body: str, passes: bool) -> None:
    """The rule sees an assertion in the body or in a helper, and nothing in a mere call."""
    text = f"def check(x):\n    assert x\n\ndef test_one():\n    {body}\n"
    files: dict[str, Any] = {"tests/room/test_it.py": ast.parse(text)}

    assert (without_assertion(files) == []) is passes
