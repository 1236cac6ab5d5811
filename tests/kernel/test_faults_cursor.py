"""Wrong cursors: each kind has its own code, and nothing is handed out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel import canonical
from minibot.kernel.cursor import Cursor, cursor_json
from minibot.kernel.errors import RunStop
from minibot.kernel.files import hashed_bytes, write_hashed
from minibot.kernel.position import Position
from minibot.kernel.queue import make_queue, open_reader, open_writer
from tests.kernel.independent import assert_kept, everything
from tests.kernel.kernel_support import json_of, lines_of

# Invariants checked after each fault, as far as they apply.
pytestmark = [pytest.mark.row("I1", "I3"), pytest.mark.campaign]
RUN = "20261120_074600"
QUEUE, READER = "signals", "risk_role"
ALL = [json_of(number) for number in range(1, 13)]
Json = dict[str, Any]


@pytest.fixture
def path(var_dir: Path) -> Path:
    """Cursor of a reader that has read six of twelve lines."""
    make_queue(var_dir, QUEUE, READER)
    writer = open_writer(var_dir, QUEUE)
    for first in range(1, 13, 3):
        writer.append(lines_of(first, 3))
    writer.close()
    reader = open_reader(var_dir, QUEUE)
    reader.read(6)
    cursor = Cursor(var_dir / QUEUE / "cursor.json", RUN, QUEUE, READER)
    cursor.save(reader.position)
    reader.close()
    return cursor.path


def resumed(path: Path) -> list[bytes]:
    """Resume from the cursor, as a restarted reader does; return the lines."""
    position = Cursor(path, RUN, QUEUE, READER).load()
    assert position is not None
    reader = open_reader(path.parents[1], QUEUE, position)
    try:
        return [line.json for line in reader.read(100)]
    finally:
        reader.close()


def refused(path: Path) -> str:
    """Return the code with which resuming is refused; no file changes."""
    before = everything(path.parent)
    with pytest.raises(RunStop) as caught:
        resumed(path)
    assert everything(path.parent) == before
    assert_kept(path.parent, ALL, ALL)
    return caught.value.reason_code


def position_of(path: Path) -> Position:
    """Return the cursor's position."""
    obj = canonical.decode(path.read_bytes()[:-1])
    return Position(obj["seq"], obj["segment"], obj["offset"], bytes.fromhex(obj["chain"]))


def put(path: Path, position: Position, **changes: Any) -> None:
    """Write a cursor that is valid in itself."""
    path.unlink()
    write_hashed(path, cursor_json(RUN, QUEUE, READER, position) | changes)


def test_cursor_as_it_was_left_goes_on_behind_it(path: Path) -> None:
    """An unchanged cursor resumes behind its position, as a control for the other tests."""
    assert resumed(path) == ALL[6:]


@pytest.mark.row("F33")
@pytest.mark.fault("F33", by="a sound cursor one line behind the end", ends="STOP(CURSOR_AHEAD)")
@pytest.mark.parametrize(
    "ahead",
    [
        lambda at: at._replace(seq=13, offset=10**6),
        lambda at: at._replace(segment=2),
        lambda at: at._replace(offset=10**6),
    ],
)
def test_cursor_behind_the_end_is_ahead(path: Path, ahead: Callable[[Position], Position]) -> None:
    """A cursor beyond the end is ahead: an older queue was put back."""
    put(path, ahead(position_of(path)))

    assert refused(path) == "CURSOR_AHEAD"


@pytest.mark.row("F36", "F43")
@pytest.mark.fault(
    "F36",
    "F43",
    by="cut, emptied, appended to, edited in place; two files mixed",
    ends="STOP(ATOMICITY_VIOLATION)",
)
@pytest.mark.parametrize(
    "write",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data + data,
        lambda data: data[:-1],
        lambda data: b"{}\n",
        lambda data: b'{"sha256":"' + b"0" * 64 + b'"}\n',
        lambda data: data.replace(b'"seq":6', b'"seq":7'),
        lambda data: data[:60] + hashed_bytes({"text": "x" * 200}, 1)[60:],
        lambda data: b"\0" * len(data),
    ],
)
def test_cursor_written_otherwise_than_in_one_piece_is_a_violation(
    path: Path, write: Callable[[bytes], bytes]
) -> None:
    """A cursor in a state that atomic replacement never shows is a violation."""
    path.write_bytes(write(path.read_bytes()))

    assert refused(path) == "ATOMICITY_VIOLATION"


@pytest.mark.row("F36")
@pytest.mark.fault(
    "F36",
    by="sound by its hash: wrong types, negative, not at a line's start",
    ends="STOP(CURSOR_CORRUPT)",
)
@pytest.mark.parametrize(
    "changes",
    [
        {"seq": "6"},
        {"seq": True},
        {"seq": -1},
        {"offset": -1},
        {"offset": None},
        {"segment": 0},
        {"chain": "00"},
        {"chain": "zz" * 32},
        {"chain": 7},
        {"offset": 1},
        {"offset": 130},
    ],
)
def test_cursor_that_makes_no_sense_is_corrupt(path: Path, changes: Json) -> None:
    """A senseless cursor with a right hash is corrupt, unlike a torn one."""
    put(path, position_of(path), **changes)

    assert refused(path) == "CURSOR_CORRUPT"


@pytest.mark.row("F37")
@pytest.mark.fault(
    "F37", by="a sound cursor of another run, queue, reader", ends="STOP(CURSOR_FOREIGN_RUN)"
)
@pytest.mark.parametrize(
    "changes", [{"run_id": "20200101_000000"}, {"queue": "fills"}, {"reader": "ai_role"}]
)
def test_cursor_of_somebody_else_is_foreign(path: Path, changes: Json) -> None:
    """A cursor of another run, queue or reader is foreign."""
    put(path, position_of(path), **changes)

    assert refused(path) == "CURSOR_FOREIGN_RUN"


@pytest.mark.row("F38")
@pytest.mark.fault(
    "F38", by="a sound cursor with one bit of its chain changed", ends="STOP(QUEUE_CHAIN)"
)
@pytest.mark.parametrize("lines", [6, 12])
def test_cursor_with_another_chain_is_of_another_history(path: Path, lines: int) -> None:
    """A cursor with another chain belongs to another history, also at the very end."""
    reader = open_reader(path.parents[1], QUEUE)
    reader.read(lines)
    at = reader.position
    reader.close()
    put(path, at._replace(chain=bytes([at.chain[0] ^ 1]) + at.chain[1:]))

    assert refused(path) == "QUEUE_CHAIN"


@pytest.mark.row("F39")
@pytest.mark.fault("F39", by="temp files of three killed processes", ends="SURVIVE")
def test_temp_files_of_dead_processes_mean_nothing_and_go(path: Path) -> None:
    """Temp files of dead processes are never read, and go at their owner's first saving."""
    for number in range(3):
        path.with_name(f"cursor.json.{number}-0.tmp").write_bytes(b'{"seq":99}')

    assert resumed(path) == ALL[6:]
    Cursor(path, RUN, QUEUE, READER).save(position_of(path))
    assert not list(path.parent.glob("*.tmp"))
