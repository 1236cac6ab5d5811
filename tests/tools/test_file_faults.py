"""tools.file_faults: a complete table, a current page, played cells."""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.runs import ShortRun
from tools import file_faults
from tools.file_faults import (
    AFTER,
    DURING,
    PAGE,
    Cell,
    Played,
    damage,
    mend,
    outcome_of,
    play_after,
)
from tools.file_table import FAULTS, FOUND, ROWS, row_of


@pytest.fixture
def run(short_run: ShortRun, tmp_path: Path) -> Path:
    """Copy of a finished night, to be damaged."""
    shutil.copytree(short_run.var, tmp_path / "var", symlinks=True)
    return tmp_path / "var" / "runs" / short_run.run_id


def test_table_forgets_no_file_that_a_night_leaves(short_run: ShortRun) -> None:
    """Every file of a finished night's `var` has a row."""
    paths = [
        path.relative_to(short_run.var).as_posix()
        for path in short_run.var.rglob("*")
        if not path.is_dir()
    ]
    forgotten = [path for path in paths if row_of(path, short_run.run_id) is None]

    assert len(paths) > 200
    assert forgotten == []


def test_page_names_every_file_that_a_night_leaves(short_run: ShortRun) -> None:
    """A person finds each file of a night on the page by its name."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"[^`/, ]+(?=[`,])", cell)]
    shapes = [re.sub(r"ROLE|NAME|NUMBER", "*", name) for name in named]
    files = {
        path.name
        for path in short_run.var.rglob("*")
        if path.is_file() and path.relative_to(short_run.var).parts[0] not in ("ai", "metrics")
    }

    assert [
        name for name in sorted(files) if not any(fnmatchcase(name, shape) for shape in shapes)
    ] == ["facts.json", "report.html"]  # Of `report/`, which is named as a folder.


def test_table_says_of_each_sealed_file_that_verify_finds_it(short_run: ShortRun) -> None:
    """Verify finds every fault in a sealed run's queues and folder, by the table."""
    sealed = [f"runs/RUN/queues/fills/{name}" for name in ("inbox.jsonl", "acks.head")]
    for path in ("runs/RUN/clock.json", "runs/RUN/manifest.json", *sealed):
        row = row_of(path, "RUN")
        assert row is not None
        assert {row.expected_after(fault) for fault in FAULTS} == {FOUND}


@pytest.mark.campaign
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "name",
    [
        "runs/RUN/clock.json",
        "QUEUE/inbox.head",
        "logs/ROLE.jsonl",
        "ops/outbox, ops/guard_outbox",  # Of a run with alerts alone: planted.
    ],
)
def test_cell_after_a_run_is_as_the_table_says(name: str, fault: str, run: Path) -> None:
    """A cell of each kind of outcome is as in the table, and its file is restored."""
    row = next(row for row in ROWS if row.name == name)
    played = play_after(Cell(row, fault, AFTER), run)

    assert played.is_expected, played.line()
    assert file_faults.verified(run)[0] == 0


def test_fault_is_done_and_mended(tmp_path: Path) -> None:
    """A fault is undone byte for byte, whatever replaced the file."""
    path, aside = tmp_path / "file", tmp_path / "aside"
    for fault in FAULTS:
        path.write_bytes(b"0123456789")
        damage(path, fault, aside)
        assert not path.is_file() or path.is_symlink() or path.read_bytes() != b"0123456789"
        mend(path, aside)
        assert path.read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("code", "printed", "verify_code", "found"),
    [
        (10, "x STOPPED by ROLE_HUNG: y", 1, "STOP ROLE_HUNG"),
        (0, "fine", 0, "goes on"),
        (0, "fine", 1, "found after"),
        (0, "Traceback (most recent call last):", 0, "a traceback"),
        (2, "refused", 2, "exit 2"),
    ],
)
def test_outcome_of_a_night_is_told_in_the_words_of_the_table(
    code: int, printed: str, verify_code: int, found: str
) -> None:
    """A night's outcome is one of the table's words, never a traceback."""
    assert outcome_of(code, printed, verify_code, "")[0] == found


def test_code_counts_where_the_table_names_some() -> None:
    """`STOP A|B|found after` allows three outcomes, `STOP` alone any code."""
    rows = {row.name: row for row in ROWS}
    for name, fault, found, is_expected in (
        ("QUEUE/inbox.jsonl", "changed", "STOP QUEUE_CHAIN", True),
        ("QUEUE/inbox.jsonl", "changed", "found after", True),
        ("QUEUE/inbox.jsonl", "changed", "goes on", False),
        ("QUEUE/inbox.jsonl", "changed", "STOP INVARIANT_BROKEN", False),
        ("runs/RUN/clock.json", "fifo", "STOP RUN_FILE_CHANGED", True),
        ("QUEUE/inbox.head", "fifo", "STOP QUEUE_MISSING", True),
        ("QUEUE/inbox.head", "fifo", "a traceback", False),
    ):
        played = Played(Cell(rows[name], fault, DURING), found, "", 0.0)
        assert played.is_expected is is_expected, played.line()


def test_page_is_as_generated() -> None:
    """`python -m tools.file_faults --write` changes nothing."""
    assert PAGE.read_text(encoding="utf-8") == file_faults.page()
