"""Mutants of risk and execution: which tests are asked, and which mutants need not die."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from unittest.mock import Mock

import pytest
from coverage import CoverageData

from tests.runs import PROJECT
from tools.mutants import (
    ROOMS,
    Covered,
    Mutant,
    alike_of,
    drawn,
    failed,
    fate_of,
    files_of,
    judges,
    living_max,
    mutants,
)

SIZING = "minibot/risk/sizing.py"


@pytest.mark.row("B-83")
def test_ci_fails_below_all_lines_and_branches_of_risk_and_execution() -> None:
    """The floor stands in the configuration, and a step of CI asks for it."""
    answer = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["coverage"]
    script = (PROJECT / ".ci" / "run").read_text("utf-8")

    assert answer["run"]["source"] == [f"minibot/{room}" for room in ROOMS]
    assert (answer["run"]["branch"], answer["report"]["fail_under"]) == (True, 100)
    assert "ran tools.mutants --measure" in script
    assert re.search(r"^ .*\bcoverage,mutants\b", script, re.MULTILINE)


def test_draw_is_the_same_for_a_seed_and_another_for_another() -> None:
    """A part of the thousand can be played alone, and played again."""
    every = list(mutants(PROJECT))

    assert drawn(every, 30, "1") == drawn(every, 1000, "1")[:30]
    assert drawn(every, 30, "1") != drawn(every, 30, "2")
    assert {Path(each.module).parent.name for each in drawn(every, 200, "1")} == set(ROOMS)


@pytest.mark.parametrize(("count", "most"), [(0, 0), (30, 6), (300, 28), (1000, 50), (2000, 100)])
def test_small_draw_is_not_red_by_chance(count: int, most: int) -> None:
    """Thirty of which two live prove nothing; a thousand are held to five in a hundred."""
    assert living_max(count) == most


def test_tests_named_as_the_module_are_asked_first() -> None:
    """A mutant mostly dies by them, and then no other is run."""
    files = files_of(PROJECT, SIZING)

    assert files[0] == "tests/risk/test_sizing.py"
    assert all((PROJECT / name).is_file() for name in files)
    assert all((PROJECT / name).exists() for name in judges())


def test_tests_that_run_a_line_are_asked_before_the_rest_of_its_room(tmp_path: Path) -> None:
    """Files that share a word of the module's name come first, then tests that run few lines."""
    module, path = tmp_path / SIZING, tmp_path / "lines"
    module.parent.mkdir(parents=True)
    module.write_text("a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n", "utf-8")
    share, day, week, order = (
        "tests/risk/test_sizing.py::test_share",
        "tests/risk/test_budgets.py::test_day",
        "tests/risk/test_account.py::test_week",
        "tests/execution/test_fills.py::test_order",
    )
    room, data = files_of(tmp_path, SIZING), CoverageData(str(path))
    for test, lines in {
        "": [1],
        order: [1, 2],
        week: [1, 2, 3, 4],
        day: [1, 2, 3],
        share: [1, 2, 3, 4],
    }.items():
        data.set_context(test)
        data.add_lines({str(module): lines})
    data.write()

    asked = [Covered(tmp_path, path).tests_of(SIZING, line) for line in (1, 2, 3, 5)]

    assert asked == [[room], [[share, order, day, week]], [[share, day, week]], [room]]


def test_without_data_of_coverage_it_says_how_to_get_them(tmp_path: Path) -> None:
    """The thousand are not begun without them: each would take a minute."""
    with pytest.raises(FileNotFoundError, match=r"tools\.mutants --measure"):
        Covered(PROJECT, tmp_path / "coverage")


def test_mutants_that_need_not_die_name_a_line_that_stands() -> None:
    """A line that was changed since is judged anew."""
    for module, line, _ in alike_of():
        text = (PROJECT / module).read_text("utf-8")
        assert line in [each.strip() for each in text.splitlines()], (module, line)


@pytest.mark.process
def test_unchanged_module_passes_after_its_mutant_has_died(tmp_path: Path) -> None:
    """Bytecode that a test has kept of a mutant is not taken for that of the unchanged module."""
    module, test = Path("minibot/risk/limit.py"), Path("tests/risk/test_limit.py")
    passes = Path("tests/risk/test_that_passes.py")
    for path, text in {
        module: "LIMIT = 1\n",
        Path("minibot/__init__.py"): "",
        passes: "import pytest\n@pytest.mark.unit\ndef test_nothing(): pass\n",
        test: f"""\
import py_compile, pytest
@pytest.mark.unit
def test_limit():
    from minibot.risk.limit import LIMIT
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile("{module}", invalidation_mode=unchecked)
    assert LIMIT == 1
""",
        Path("pytest.ini"): "[pytest]\nmarkers = unit\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    covered = Mock(spec=Covered, tests_of=lambda *_: [[passes.as_posix()], [test.as_posix()]])

    fate = fate_of(tmp_path, Mutant(module.as_posix(), "core/NumberReplacer", 0), covered)

    assert fate.killer.startswith(f"FAILED {test.as_posix()}::test_limit")
    assert fate.change == ("@@ -1 +1 @@", "-LIMIT = 1", "+LIMIT = 2")
    assert not failed(tmp_path, [test.as_posix()])


@pytest.mark.process
def test_mutant_whose_test_does_not_end_dies(tmp_path: Path) -> None:
    """An endless loop does not wait for the time that all tests may take."""
    (tmp_path / "test_loop.py").write_text(
        "import pytest\n@pytest.mark.unit\ndef test_loop():\n    while True: pass\n", "utf-8"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = unit\n", "utf-8")

    assert failed(tmp_path, ["test_loop.py"], 0.5) == "no end within 0.5 s"


@pytest.mark.process
def test_test_that_is_missing_kills_no_mutant(tmp_path: Path) -> None:
    """Whoever asks for it hears so; a mutant that no unit test runs lives."""
    (tmp_path / "test_other.py").write_text("def test_other():\n    raise ValueError\n", "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = unit\n", "utf-8")

    with pytest.raises(ValueError, match="test_gone"):
        failed(tmp_path, ["test_gone.py::test_gone"])
    assert not failed(tmp_path, ["test_other.py"])
