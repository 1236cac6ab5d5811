"""Cursors: a position is loaded as saved, or the run stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.cursor import Cursor, cursor_json
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.position import ZERO, Position
from minibot.kernel.queue import make_queue
from tests.kernel.kernel_support import change

RUN, QUEUE, ROLE = "20261120_074600", "fills", "risk_role"
AT = Position(5, 1, 700, b"\x07" * 32)
LATER = Position(9, 2, 40, b"\x08" * 32)


def cursor(var_dir: Path, run_id: str = RUN, queue: str = QUEUE, reader: str = ROLE) -> Cursor:
    """Return a new cursor object of one reader, as after a restart."""
    return Cursor(var_dir / "cursor.json", run_id, queue, reader)


@pytest.mark.row("N-38", "U-18")
def test_cursor_saved_is_loaded_by_the_next_process(var_dir: Path) -> None:
    """A saved cursor is loaded by the next process with position and chain."""
    assert cursor(var_dir).load() is None
    cursor(var_dir).save(AT)
    again = cursor(var_dir)
    assert again.load() == AT
    again.save(LATER)

    assert cursor(var_dir).load() == LATER


def test_cursor_of_a_new_queue_is_none_yet(var_dir: Path) -> None:
    """A new queue's cursor file holds no position of any run."""
    make_queue(var_dir, QUEUE, ROLE)
    place = Cursor(var_dir / QUEUE / "cursor.json", RUN, QUEUE, ROLE)
    assert place.load() is None
    place.save(AT)

    assert Cursor(var_dir / QUEUE / "cursor.json", RUN, QUEUE, ROLE).load() == AT


@pytest.mark.row("F37")
@pytest.mark.fault(
    "F37", by="a cursor of another run, queue or reader", ends="STOP(CURSOR_FOREIGN_RUN)"
)
@pytest.mark.parametrize(
    ("run_id", "queue", "reader"),
    [("20261120_074601", QUEUE, ROLE), (RUN, "signals", ROLE), (RUN, QUEUE, "ai_role")],
)
def test_cursor_of_another_run_queue_or_reader_stops(
    var_dir: Path, run_id: str, queue: str, reader: str
) -> None:
    """A cursor of another run, queue or reader stops the reader (F37)."""
    cursor(var_dir).save(AT)
    with pytest.raises(IntegrityError) as caught:
        cursor(var_dir, run_id, queue, reader).load()

    assert caught.value.reason_code == "CURSOR_FOREIGN_RUN"


@pytest.mark.row("U-18", "N-83", "F36", "F43")
@pytest.mark.fault(
    "F36", "F43", by="every byte of a cursor changed", ends="STOP(ATOMICITY_VIOLATION)"
)
def test_cursor_with_any_byte_changed_is_a_violation(var_dir: Path) -> None:
    """A cursor with a changed byte fails its own hash (F36, F43)."""
    cursor(var_dir).save(AT)
    path = var_dir / "cursor.json"
    for offset in range(path.stat().st_size):
        change(path, offset, 0x01)
        with pytest.raises(IntegrityError) as caught:
            cursor(var_dir).load()
        assert caught.value.reason_code == "ATOMICITY_VIOLATION"
        change(path, offset, 0x01)


@pytest.mark.row("F36")
@pytest.mark.fault(
    "F36", by="well-hashed nonsense: wrong types, negative, missing", ends="STOP(CURSOR_CORRUPT)"
)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seq", -1),
        ("seq", "5"),
        ("seq", True),
        ("offset", None),
        ("segment", 0),
        ("chain", "07" * 31),
        ("chain", "zz" * 32),
        ("chain", 7),
        ("chain", "00" * 32),
    ],
)
def test_cursor_that_is_hashed_and_makes_no_sense_is_corrupt(
    var_dir: Path, key: str, value: object
) -> None:
    """A senseless cursor with a right hash is corrupt, unlike one with a bad hash (F36)."""
    cursor(var_dir).save(AT)
    obj = read_hashed(var_dir / "cursor.json")
    write_hashed(var_dir / "cursor.json", {**obj, key: value})
    with pytest.raises(IntegrityError) as caught:
        cursor(var_dir).load()

    assert caught.value.reason_code == "CURSOR_CORRUPT"


@pytest.mark.row("F43")
@pytest.mark.fault(
    "F43", by="a generation that its owner did not write", ends="STOP(ATOMICITY_VIOLATION)"
)
def test_cursor_written_by_somebody_else_meanwhile_is_a_violation(var_dir: Path) -> None:
    """A cursor with another generation than its reader left is a violation (F43)."""
    ours = cursor(var_dir)
    ours.save(AT)
    old = (var_dir / "cursor.json").read_bytes()
    ours.save(LATER)
    (var_dir / "cursor.json").write_bytes(old)
    with pytest.raises(IntegrityError) as caught:
        ours.save(LATER)

    assert caught.value.reason_code == "ATOMICITY_VIOLATION"


def test_cursor_never_goes_back(var_dir: Path) -> None:
    """A cursor never goes back; standing still is allowed."""
    ours = cursor(var_dir)
    ours.save(LATER)
    ours.save(LATER)
    with pytest.raises(IntegrityError) as caught:
        ours.save(AT)

    assert caught.value.reason_code == "CURSOR_REGRESSED"
    assert cursor(var_dir).load() == LATER


def test_cursor_that_was_loaded_is_what_the_next_one_is_held_against(var_dir: Path) -> None:
    """A process that has loaded its place neither goes back nor overwrites another's."""
    cursor(var_dir).save(AT)
    behind, overtaken = cursor(var_dir), cursor(var_dir)
    assert behind.load() == overtaken.load() == AT

    with pytest.raises(IntegrityError) as caught:
        behind.save(AT._replace(seq=AT.seq - 1))
    assert caught.value.reason_code == "CURSOR_REGRESSED"
    cursor(var_dir).save(LATER)
    with pytest.raises(IntegrityError) as caught:
        overtaken.save(LATER)
    assert caught.value.reason_code == "ATOMICITY_VIOLATION"


def test_cursor_deleted_under_its_reader_is_written_again(var_dir: Path) -> None:
    """A deleted cursor is written again, because the queues are the truth."""
    ours = cursor(var_dir)
    ours.save(AT)
    (var_dir / "cursor.json").unlink()
    ours.save(LATER)

    assert cursor(var_dir).load() == LATER


@pytest.mark.row("F39")
@pytest.mark.fault("F39", by="a temp file left beside the cursor", ends="SURVIVE")
def test_cursor_temp_file_of_a_killed_process_is_removed(var_dir: Path) -> None:
    """Temp files of a killed process are removed by its successor's first saving (F39)."""
    cursor(var_dir).save(AT)
    (var_dir / "cursor.json.77-3.tmp").write_bytes(b"{")

    cursor(var_dir).save(LATER)

    assert cursor(var_dir).load() == LATER
    assert [path.name for path in var_dir.iterdir()] == ["cursor.json"]


def test_cursor_that_is_only_read_leaves_the_temp_file_of_its_living_writer(var_dir: Path) -> None:
    """A writer may rename its temp file whenever another process looks at its cursor."""
    cursor(var_dir).save(AT)
    temp = var_dir / "cursor.json.77-3.tmp"
    temp.write_bytes(b"{")

    assert cursor(var_dir).load() == AT
    assert temp.exists()


@pytest.mark.parametrize("fields", [{"seq": False}, {"chain": "ab" * 32}, {"segment": 0}])
def test_cursor_as_a_queue_is_made_with_has_to_be_exactly_that(
    var_dir: Path, fields: dict[str, Any]
) -> None:
    """A new queue's cursor must be exactly the original; the fuzzer found `false` as line 0."""
    obj = cursor_json(None, "fills", "risk_role", ZERO)
    write_hashed(var_dir / "cursor.json", obj)
    assert cursor(var_dir).load() is None
    write_hashed(var_dir / "cursor.json", {**obj, **fields})
    with pytest.raises(IntegrityError) as caught:
        cursor(var_dir).load()

    assert caught.value.reason_code == "CURSOR_CORRUPT"
