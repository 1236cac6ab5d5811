"""tools.rows: a `met` row has a test that names it, and the reverse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import rows

TESTS = """
import pytest

pytestmark = pytest.mark.row("N-05")

@pytest.mark.row("N-01", "N-02")
def test_one(): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.row("N-03"))])
def test_two(x): ...

class TestGroup:
    @pytest.mark.row("F12")
    def test_three(self): ...

def helper(): ...
"""
LINES = {
    "N-01": ("met", "tests/room/test_a.py::test_one"),
    "N-02": ("met", "tests/room/test_a.py::test_one"),
    "N-03": ("partly (half of it)", "tests/room/test_a.py::test_two"),
    "N-04": ("open", ""),
    "N-05": (
        "met",
        "tests/room/test_a.py::TestGroup::test_three tests/room/test_a.py::test_one "
        "tests/room/test_a.py::test_two",
    ),
    "N-06": ("n-a (a limit of another issue)", ""),
}


def make(root: Path, changes: dict[str, tuple[str, str]] | None = None) -> Path:
    """Write a project whose rows and tests agree, except for the changes."""
    lines = LINES | (changes or {})
    table = [f"{row_id}\tsentence\t{state}\t{tests}" for row_id, (state, tests) in lines.items()]
    for path, text in {
        "docs/rows.tsv": "\n".join([rows.HEADER, *table]) + "\n",
        "docs/reference/faults.md": "| id | fault |\n| --- | --- |\n| F12 | bit flip |\n",
        "tests/room/test_a.py": TESTS,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def check(root: Path) -> int:
    """Run the check as CI does."""
    return rows.main(["--check", "--root", str(root)])


def test_rows_and_tests_that_agree_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Marks on functions, parameters, classes and modules are found; open rows are listed."""
    assert check(make(tmp_path)) == 0

    printed = capsys.readouterr().out
    assert "6 rows: 3 met, 1 n-a, 1 open, 1 partly" in printed
    assert "open: N-04" in printed


@pytest.mark.parametrize(
    ("row_id", "cells", "complaint"),
    [
        ("N-04", ("met", ""), "N-04: met, but no test names it"),
        ("N-04", ("partly (x)", ""), "N-04: partly met, but no test names it"),
        ("N-04", ("done", ""), "N-04: state 'done'"),
        ("N-04", ("n-a", ""), "N-04: state 'n-a'"),
        ("N-04", ("met", "tests/room/test_a.py::test_gone"), "test_gone does not exist"),
        ("N-01", ("met", "tests/room/test_a.py::test_two"), "test_two does not exist or does not"),
        ("N-01", ("met", ""), "test_one names this row but is not listed"),
    ],
)
def test_rows_that_disagree_with_the_tests_fail_by_name(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    row_id: str,
    cells: tuple[str, str],
    complaint: str,
) -> None:
    """A claim without test, a test without claim, and an unknown state are named."""
    assert check(make(tmp_path, {row_id: cells})) == 1

    assert complaint in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("N-99", "docs/rows.tsv lists no such id"),
        ("F99", "docs/reference/faults.md lists no such id"),
        ("X-99", "docs/DECISIONS.md lists no such id"),
    ],
)
def test_rows_of_a_mark_that_nobody_knows_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mark: str, complaint: str
) -> None:
    """A misspelt id in a mark is named."""
    make(tmp_path)
    extra = f'import pytest\n@pytest.mark.row("{mark}")\ndef test_x(): ...\n'
    (tmp_path / "tests/room/test_b.py").write_text(extra)

    assert check(tmp_path) == 1
    assert complaint in capsys.readouterr().out


def test_rows_listed_twice_fail(tmp_path: Path) -> None:
    """A repeated id fails the check."""
    make(tmp_path)
    with (tmp_path / "docs/rows.tsv").open("a") as file:
        file.write("N-04\tagain\topen\t\n")

    assert check(tmp_path) == 1


def test_rows_written_anew_agree_and_keep_what_was_written_by_hand(tmp_path: Path) -> None:
    """--write lists tests, switches open and met, and keeps partly and n-a."""
    wrong = {
        "N-01": ("open", ""),
        "N-04": ("met", "tests/room/test_a.py::test_gone"),
        "N-03": ("partly (half of it)", ""),
    }
    make(tmp_path, wrong)

    assert rows.main(["--write", "--root", str(tmp_path)]) == 0

    right = make(tmp_path / "right") / "docs/rows.tsv"
    assert (tmp_path / "docs/rows.tsv").read_bytes() == right.read_bytes()


def test_rows_added_from_requirements_are_those_that_tests_name(tmp_path: Path) -> None:
    """Rows of later issues that tests name are added with their sentences, in order."""
    make(tmp_path)
    extra = 'import pytest\n@pytest.mark.row("D-02", "D-02b")\ndef test_x(): ...\n'
    (tmp_path / "tests/room/test_b.py").write_text(extra)
    table = tmp_path / "requirements.md"
    table.write_text(
        "| D-01 | never named | 1 |\n| D-02b | came later | 1 |\n"
        "| D-02 | cash **never** below 0 | 1 |\n"
    )

    code = rows.main(["--add", str(table), "--write", "--root", str(tmp_path)])

    *_, last, later = rows.read_rows(tmp_path / "docs/rows.tsv")
    assert code == 0
    assert (later.id, later.sentence) == ("D-02b", "came later")
    assert (last.id, last.sentence) == ("D-02", "cash never below 0")
    assert last.tests == ("tests/room/test_b.py::test_x",)
    assert last.state.startswith("partly")


@pytest.mark.parametrize("text", ["", "id\tname\n", f"{rows.HEADER}\nN-01\tonly two\n"])
def test_rows_file_of_a_wrong_form_cannot_be_judged(tmp_path: Path, text: str) -> None:
    """A malformed table exits 2."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/rows.tsv").write_text(text)

    assert check(tmp_path) == 2


def test_rows_of_this_project_have_sentences_and_known_states(project: Path) -> None:
    """This project's own table is well-formed."""
    table = rows.read_rows(project / rows.ROWS)

    assert len(table) >= 160
    assert all(row.sentence and rows.STATES.fullmatch(row.state) for row in table)
    assert len({row.id for row in table}) == len(table)
