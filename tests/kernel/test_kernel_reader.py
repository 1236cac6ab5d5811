"""Reading: nothing above the head, nothing false below it, each damage with its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.kernel.errors import IntegrityError
from minibot.kernel.head import pack_slot
from minibot.kernel.journal import JournalReader, create_journal
from minibot.kernel.position import ZERO, Position
from tests.kernel.kernel_support import (
    change,
    drain,
    fill,
    ids_of,
    json_of,
    line_of,
    lines_of,
    open_journal,
    read_all,
)


def stop_of(folder: Path, start: Position = ZERO) -> IntegrityError:
    """Return the STOP that ends a reader of all lines, after only true lines."""
    reader = JournalReader(folder, "inbox", start)
    known = {json_of(number) for number in range(1, 7)}
    try:
        while batch := reader.read(1):
            assert all(line.json in known for line in batch)
    except IntegrityError as error:
        return error
    finally:
        reader.close()
    raise AssertionError("no damage was found")


@pytest.mark.slow
@pytest.mark.row("N-39", "N-40", "N-82", "F11", "F12", "F13")
@pytest.mark.fault(
    "F11", "F12", "F13", by="every bit of a log flipped under a reader", ends="STOP(QUEUE_CORRUPT)"
)
def test_reader_finds_every_bit_flipped_below_the_head(var_dir: Path) -> None:
    """A flipped bit below the head stops the reader with line, offset and both values (F11-F13)."""
    end = fill(var_dir, 3)
    path = var_dir / "inbox.jsonl"
    lengths = [len(line) for line in lines_of(1, 3)]
    for bit in range(8 * end.offset):
        change(path, bit // 8, 1 << bit % 8)
        error = stop_of(var_dir)
        change(path, bit // 8, 1 << bit % 8)
        assert error.reason_code == "QUEUE_CORRUPT"
        assert error.file == str(path)
        assert error.line == 1 + sum(1 for index in (1, 2) if sum(lengths[:index]) <= bit // 8)
        assert error.offset == sum(lengths[: error.line - 1])
        assert error.expected
        assert error.found


Trick = Callable[[list[bytes]], list[bytes]]


@pytest.mark.row("N-82")
@pytest.mark.parametrize(
    ("trick", "reasons"),
    [
        (lambda lines: [*lines[:2], line_of(16), *lines[3:]], ["QUEUE_CHAIN"]),
        (lambda lines: [*lines[:2], line_of(77, 60), *lines[3:]], ["QUEUE_CHAIN"]),
        (lambda lines: [*lines[:2], line_of(77, 10), *lines[3:]], ["QUEUE_CHAIN"]),
        (lambda lines: [lines[0], lines[0], *lines[2:]], ["QUEUE_CHAIN"]),
        (lambda lines: [lines[0], *lines], ["QUEUE_CHAIN"]),
        (lambda lines: [*lines, lines[0]][1:], ["QUEUE_CHAIN"]),
        (lambda lines: [lines[1], lines[0], *lines[2:]], ["QUEUE_CHAIN"]),
        (lambda lines: [*lines[:5], lines[5][:40]], ["QUEUE_TRUNCATED"]),
        (lambda lines: lines[:5], ["QUEUE_TRUNCATED"]),
        (lambda lines: lines[1:], ["QUEUE_TRUNCATED"]),
        (lambda lines: [], ["QUEUE_TRUNCATED"]),
        (lambda lines: [line.replace(b"\n", b"\r\n") for line in lines], ["QUEUE_CORRUPT"]),
        (lambda lines: [b"\n", *lines], ["QUEUE_CORRUPT"]),
        (lambda lines: [b"\xef\xbb\xbf", *lines], ["QUEUE_CORRUPT"]),
        (lambda lines: [*lines[:5], lines[5][:-1] + b" "], ["QUEUE_CORRUPT"]),
    ],
)
def test_reader_stops_at_lines_that_were_not_published(
    var_dir: Path, trick: Trick, reasons: list[str]
) -> None:
    """Lines that were not published stop the reader (F14-F18, F32)."""
    fill(var_dir)
    (var_dir / "inbox.jsonl").write_bytes(b"".join(trick(lines_of(1, 6))))

    assert _code_of(var_dir) in reasons


def _code_of(folder: Path) -> str:
    with pytest.raises(IntegrityError) as caught:
        read_all(folder)
    return caught.value.reason_code


def test_exchanged_lines_are_found_before_any_of_them_is_handed_out(var_dir: Path) -> None:
    """Waiting lines are verified up to the head before any of them is handed out."""
    fill(var_dir)
    lines = lines_of(1, 6)
    (var_dir / "inbox.jsonl").write_bytes(b"".join([lines[0], line_of(9), *lines[2:]]))
    reader = JournalReader(var_dir, "inbox")
    # Nor on a second attempt after the error.
    for _ in range(2):
        with pytest.raises(IntegrityError, match="QUEUE_CHAIN"):
            reader.read(1)
    assert reader.position == ZERO
    reader.close()


def test_reader_sees_nothing_above_the_head(var_dir: Path) -> None:
    """A line above the head, half-written or whole, is invisible."""
    fill(var_dir, 2)
    with (var_dir / "inbox.jsonl").open("ab") as file:
        file.write(line_of(3) + line_of(4)[:20])

    assert ids_of(read_all(var_dir)) == [1, 2]


def test_reader_of_a_journal_that_is_not_there_yet_waits_for_it(var_dir: Path) -> None:
    """A reader waits for a new journal, but one with a former position reports its absence."""
    reader = JournalReader(var_dir, "inbox")
    assert reader.read(5) == []
    assert reader.backlog() == 0
    assert reader.head().lines == 0
    writer = open_journal(var_dir)
    assert reader.read(5) == []
    writer.append(lines_of(1, 2))
    assert ids_of(reader.read(5)) == [1, 2]
    writer.close()
    reader.close()
    with pytest.raises(IntegrityError) as caught:
        JournalReader(var_dir, "other", writer.position).read(1)

    assert caught.value.reason_code == "QUEUE_MISSING"


@pytest.mark.row("F19")
@pytest.mark.fault("F19", by="inbox.jsonl deleted under a reader", ends="STOP(QUEUE_MISSING)")
def test_inbox_deleted_below_a_reader_is_missing(var_dir: Path) -> None:
    """An inbox deleted under its head is missing, not empty (F19)."""
    fill(var_dir)
    (var_dir / "inbox.jsonl").unlink()

    assert _code_of(var_dir) == "QUEUE_MISSING"


def test_reader_counts_what_waits(var_dir: Path) -> None:
    """Backlog is the number of published lines not handed out, buffered ones included."""
    writer = open_journal(var_dir)
    writer.append(lines_of(1, 7))
    reader = JournalReader(var_dir, "inbox")
    backlogs = [reader.backlog()]
    for count in (3, 1):
        reader.read(count)
        backlogs.append(reader.backlog())
    writer.append(lines_of(8, 2))

    assert [*backlogs, reader.backlog()] == [7, 4, 3, 5]
    assert reader.head().position == writer.position
    writer.close()
    reader.close()


def positions_of(folder: Path) -> list[Position]:
    """Return the position before each line and after the last one."""
    reader = JournalReader(folder, "inbox")
    positions = [reader.position]
    while reader.read(1):
        positions.append(reader.position)
    reader.close()
    return positions


def test_reader_from_each_position_reads_the_rest(var_dir: Path) -> None:
    """A position with its chain is enough to read the rest."""
    fill(var_dir)
    for seq, position in enumerate(positions_of(var_dir)):
        reader = JournalReader(var_dir, "inbox", position)
        assert ids_of(drain(reader)) == list(range(seq + 1, 7))
        reader.close()


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (lambda at: at._replace(seq=7), ["CURSOR_AHEAD"]),
        (lambda at: at._replace(offset=10**6), ["CURSOR_AHEAD"]),
        (lambda at: at._replace(segment=2), ["CURSOR_AHEAD"]),
        (lambda at: at._replace(offset=at.offset + 1), ["CURSOR_CORRUPT"]),
        (lambda at: at._replace(chain=bytes(32)), ["QUEUE_CHAIN"]),
        (lambda at: at._replace(seq=at.seq - 1), ["CURSOR_CORRUPT", "QUEUE_CHAIN"]),
        (lambda at: at._replace(seq=at.seq + 1), ["CURSOR_CORRUPT", "QUEUE_CHAIN"]),
        (lambda at: at._replace(offset=0), ["CURSOR_CORRUPT", "QUEUE_CHAIN"]),
        (lambda at: at._replace(offset=-1), ["CURSOR_CORRUPT"]),
        (lambda at: at._replace(segment=0), ["CURSOR_CORRUPT", "QUEUE_MANIFEST"]),
        (lambda at: at._replace(chain=b""), ["CURSOR_CORRUPT"]),
    ],
)
def test_reader_from_a_position_that_cannot_be_stops(
    var_dir: Path, spoil: Callable[[Position], Position], reasons: list[str]
) -> None:
    """A position beyond the end, within a line, or of another history stops (F33, F36, F38)."""
    fill(var_dir)
    position = spoil(positions_of(var_dir)[3])

    assert stop_of(var_dir, position).reason_code in reasons


def test_reader_at_the_end_with_another_chain_stops_at_once(var_dir: Path) -> None:
    """A reader at the end with another chain stops at once (F38)."""
    end = fill(var_dir)

    assert stop_of(var_dir, end._replace(chain=b"\1" * 32)).reason_code == "QUEUE_CHAIN"


@pytest.mark.row("F27")
@pytest.mark.fault(
    "F27",
    by="data and head of an earlier moment put back under a reader",
    ends="STOP(CURSOR_AHEAD)",
)
def test_head_that_goes_back_under_a_reader_stops(var_dir: Path) -> None:
    """A head that goes back stops the reader: an old snapshot was put back (F27)."""
    writer = open_journal(var_dir)
    writer.append(lines_of(1, 2))
    old = writer.position
    writer.append(lines_of(3, 2))
    writer.close()
    reader = JournalReader(var_dir, "inbox")
    reader.read(10)
    with (var_dir / "inbox.head").open("r+b") as file:
        file.write(pack_slot(old, 1000) * 2)
    with pytest.raises(IntegrityError) as caught:
        reader.read(10)

    assert caught.value.reason_code == "CURSOR_AHEAD"
    reader.close()


@pytest.mark.parametrize("size", [1, 1000, 200_000])
def test_reader_takes_lines_of_any_allowed_length(var_dir: Path, size: int) -> None:
    """Lines of any allowed length are read across pieces of the file."""
    writer = open_journal(var_dir)
    writer.append(lines_of(1, 9, size))
    writer.append(lines_of(10, 3, 5))
    writer.close()

    assert ids_of(read_all(var_dir)) == list(range(1, 13))


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=30),
    reads=st.lists(st.integers(0, 9), min_size=1, max_size=60),
)
def test_reader_with_any_batch_sizes_returns_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], reads: list[int]
) -> None:
    """Any batch sizes return every line once, with matching positions."""
    folder = tmp_path_factory.mktemp("queue")
    folder.chmod(0o700)
    writer = open_journal(folder, sync=False)
    writer.append([line_of(number, size) for number, size in enumerate(sizes)])
    writer.close()
    reader = JournalReader(folder, "inbox")
    ids: list[int] = []
    for count in reads:
        ids += ids_of(reader.read(count))
        assert reader.position.seq == len(ids)
    ids += ids_of(drain(reader))

    assert ids == list(range(len(sizes)))
    assert reader.position == writer.position
    reader.close()


def test_empty_journal_has_nothing_and_stays_at_zero(var_dir: Path) -> None:
    """An empty journal has zero lines and zero backlog."""
    create_journal(var_dir, "inbox")
    reader = JournalReader(var_dir, "inbox")

    assert reader.read(10) == []
    assert reader.position == ZERO
    assert reader.head().position == ZERO
    reader.close()


def test_reader_through_a_planted_link_stops(var_dir: Path) -> None:
    """A planted link is refused (F143)."""
    fill(var_dir)
    os.rename(var_dir / "inbox.jsonl", var_dir / "elsewhere")
    (var_dir / "inbox.jsonl").symlink_to(var_dir / "elsewhere")
    with pytest.raises(Exception, match="PERMISSIONS_UNSAFE"):
        read_all(var_dir)


def test_preview_shows_whole_lines_above_the_head_and_reading_none_of_them(var_dir: Path) -> None:
    """A preview decodes unsynced lines in advance, while the reader stays at the head."""
    writer = open_journal(var_dir)
    writer.append(lines_of(1, 2))
    reader = JournalReader(var_dir, "inbox")
    assert reader.preview() == []  # No segment is open before the first read.
    drain(reader)
    assert reader.preview() == []
    before = reader.position

    writer.write_json([json_of(3), json_of(4)])
    assert reader.preview() == [json_of(3), json_of(4)]
    assert reader.read(9) == []
    assert (reader.position, reader.backlog()) == (before, 0)

    writer.publish()
    assert [line.json for line in reader.read(9)] == [json_of(3), json_of(4)]
    assert reader.preview() == []
    reader.close()
    writer.close()


def test_preview_of_a_torn_or_damaged_rest_is_empty_or_true(var_dir: Path) -> None:
    """A preview of a damaged rest gives true lines or none, and no error."""
    fill(var_dir, 2)
    reader = JournalReader(var_dir, "inbox")
    drain(reader)
    path = var_dir / "inbox.jsonl"
    published = path.read_bytes()
    lines = lines_of(3, 2)
    rest = b"".join(lines)
    ends = [len(lines[0]), len(rest)]
    for size in range(len(rest) + 1):
        path.write_bytes(published + rest[:size])
        whole = sum(1 for end in ends if end <= size)
        assert reader.preview() == [json_of(3), json_of(4)][:whole]
    for at in range(len(rest)):
        path.write_bytes(published + rest[:at] + bytes([rest[at] ^ 1]) + rest[at + 1 :])
        # A missing newline leaves its line without an end.
        assert reader.preview() in ([], [json_of(3)] if at == len(rest) - 1 else [])
    assert reader.read(9) == []
    reader.close()
