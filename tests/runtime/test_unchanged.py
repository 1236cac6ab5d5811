"""Code that changes under a run: changes that count, and their names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minibot.kernel.errors import RunStop
from minibot.runtime.deployment.deployed import code_sha256
from minibot.runtime.deployment.unchanged import CodeStand, refuse_changed

LIMITS = "minibot/risk/limits.py"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Small project."""
    for path in (LIMITS, "minibot/__init__.py", "contracts/a.json", "config/nore.v1.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("{}\n")
    return tmp_path


def write(path: str, text: str = "x = 1\n") -> Callable[[Path], object]:
    """Write content to a file."""

    def change(tree: Path) -> None:
        (tree / path).parent.mkdir(exist_ok=True)
        (tree / path).write_text(text)

    return change


def same_size_and_time(tree: Path) -> None:
    """Change a file without changing its size and time."""
    stamp = (tree / LIMITS).stat().st_mtime_ns
    (tree / LIMITS).write_text("[]\n")
    os.utime(tree / LIMITS, ns=(stamp, stamp))


@pytest.mark.row("N-23", "F161")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (write(LIMITS), f"{LIMITS}: changed"),
        (same_size_and_time, f"{LIMITS}: changed"),
        (lambda tree: (tree / LIMITS).unlink(), f"{LIMITS}: missing"),
        (write("minibot/risk/new.py"), "minibot/risk/new.py: new"),
        (write("minibot/risk/limits/__init__.pyc"), "minibot/risk/limits/__init__.pyc: new"),
        (write("minibot/risk/limits.abi3.so"), "minibot/risk/limits.abi3.so: new"),
        (write("contracts/a.json", "[]\n"), "contracts/a.json: changed"),
    ],
)
def test_code_that_changed_is_named(
    tree: Path, change: Callable[[Path], object], named: str
) -> None:
    """A changed source or contract, or a module put before a source, is named."""
    stand, then = CodeStand(tree), code_sha256(tree)

    change(tree)

    assert stand.changed(then) == named
    with pytest.raises(RunStop, match=r"CODE_CHANGED: risk_role is not started: .*" + named[:20]):
        refuse_changed(stand, then, "watchdog_role", "risk_role")


@pytest.mark.row("F161")
@pytest.mark.parametrize(
    "change",
    [
        lambda tree: None,
        lambda tree: os.utime(tree / LIMITS, (1, 1)),
        write(LIMITS, "{}\n"),
        write("minibot/risk/__pycache__/limits.cpython-311.pyc"),
        write("minibot/risk/.limits.py.swp"),
        write("minibot/risk/notes.txt"),
        lambda tree: (tree / "minibot/risk/.#limits.py").symlink_to("ana@desk.123:456"),
    ],
)
def test_code_that_is_the_same_stops_nothing(tree: Path, change: Callable[[Path], object]) -> None:
    """A touched file, equal content, cached bytecode and an editor's file are no change."""
    stand, then = CodeStand(tree), code_sha256(tree)

    change(tree)

    assert stand.changed(then) is None
    refuse_changed(stand, then, "watchdog_role", "risk_role")


@pytest.mark.row("F161")
def test_touched_source_beside_a_changed_profile_stops_nothing(tree: Path) -> None:
    """A profile, which has a pin, makes no touched source a changed one, and hides no changed one.

    A look that began after the profile changed cannot prove that the sources are the run's.
    """
    stand, then = CodeStand(tree), code_sha256(tree)
    write("config/nore.v1.json", "[]\n")(tree)
    write("config/mine.json")(tree)
    late = CodeStand(tree)

    os.utime(tree / LIMITS, (1, 1))
    assert stand.changed(then) is None
    assert late.changed(then) == f"{LIMITS}: changed"

    same_size_and_time(tree)
    assert stand.changed(then) == f"{LIMITS}: changed"


@pytest.mark.row("F161")
def test_change_of_many_files_names_the_first_and_counts_the_rest(tree: Path) -> None:
    """A change of many files names the first and counts the rest."""
    stand, then = CodeStand(tree), code_sha256(tree)
    for number in range(9):
        write(f"minibot/a{number}.py")(tree)

    text = stand.changed(then)

    assert text == "minibot/a0.py: new, minibot/a1.py: new, minibot/a2.py: new and 6 more"
