"""docs/verify_by_hand.py verifies a run without a line of minibot."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.kernel_run import sealed_run
from tests.kernel.kernel_support import change
from tests.runs import ShortRun


def by_hand(project: Path, *runs: Path) -> tuple[int, list[str]]:
    """Run the script by a Python without minibot; return exit code and lines."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(project / "docs" / "verify_by_hand.py"), *map(str, runs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """Small sealed run with segments and parts."""
    var = tmp_path / "var"
    var.mkdir(mode=0o700)
    return sealed_run(var)


@pytest.mark.row("N-40")
def test_real_night_verifies_by_hand(project: Path, short_run: ShortRun) -> None:
    """A real night verifies; the last line is the root, to compare with the published one."""
    code, lines = by_hand(project, short_run.run_dir)

    assert code == 0, lines
    assert lines[-1] in (short_run.run_dir / "seal.json").read_text()


@pytest.mark.process
def test_damaged_run_is_told_by_file_and_line(project: Path, sealed: Path) -> None:
    """Each kind of damage is named by file and line."""
    assert by_hand(project, sealed)[0] == 0
    for name, words in (
        ("queues/fills/inbox.000002.jsonl", "queues/fills/inbox.000002.jsonl:1: not as it was"),
        ("queues/fills/cursor.json", "queues/fills/cursor.json: not what was sealed"),
        ("queues/fills/inbox.head", "queues/fills/inbox.head: not what was sealed"),
        ("manifest.json", "manifest.json: not what was sealed"),
    ):
        change(sealed / name, 20)
        code, lines = by_hand(project, sealed)
        assert code == 1
        assert any(words in line for line in lines), lines
        change(sealed / name, 20)
    (sealed / "queues" / "fills" / "inbox.000002.jsonl").unlink()
    shutil.copy(sealed / "manifest.json", sealed / "queues" / "fills" / "more.json")
    code, lines = by_hand(project, sealed)

    assert code == 1
    assert any("more.json: not in the seal" in line for line in lines)
    assert any("inbox.head: its lines lead elsewhere" in line for line in lines)


@pytest.mark.process
@pytest.mark.parametrize("runs", [(), (Path("a"), Path("b"))])
def test_script_without_one_run_tells_how_it_is_called(
    project: Path, runs: tuple[Path, ...]
) -> None:
    """No run, or more than one, is neither clean nor damaged."""
    code, lines = by_hand(project, *runs)

    assert code == 2
    assert "verify_by_hand.py var/runs/RUN" in lines[0]


def test_script_is_short_and_imports_the_standard_library_alone(project: Path) -> None:
    """The script is short and imports the standard library alone, as users read it first."""
    text = (project / "docs" / "verify_by_hand.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }

    assert imported <= set(sys.stdlib_module_names)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert len([line for line in text.splitlines() if line.strip()]) <= 40
