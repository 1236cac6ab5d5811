"""Recovery at a writer's start: whole lines kept, a torn rest set aside, other damage a STOP."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.head import head_path, newest, pack_slot, read_head_bytes
from minibot.kernel.journal import JournalReader, create_journal
from minibot.kernel.line import CHAIN_START, encode_line
from minibot.kernel.position import Position
from minibot.kernel.recovery import Recovery
from tests.kernel.kernel_support import (
    Crash,
    FaultFiles,
    change,
    fill,
    ids_of,
    line_of,
    lines_of,
    open_journal,
    read_all,
)


def add_above_head(folder: Path, data: bytes) -> None:
    """Add bytes above the head, as after a death before publication."""
    with (folder / "inbox.jsonl").open("ab") as file:
        file.write(data)


def stop_code(folder: Path, **options: Any) -> str:
    """Return the reason code of the refused start; no file changes."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(RunStop) as caught:
        open_journal(folder, **options)
    for name, data in before.items():
        assert (folder / name).read_bytes() == data
    return caught.value.reason_code


@pytest.mark.slow
@pytest.mark.row("N-05", "F01")
@pytest.mark.fault("F01", by="every prefix of a batch left above the head", ends="SURVIVE")
@pytest.mark.usefixtures("without_syncs")
def test_torn_tail_at_every_prefix_of_a_batch_is_repaired(var_dir: Path) -> None:
    """Whole lines of a torn batch are published; the torn one is quarantined and cut (F01)."""
    fill(var_dir)
    below = (var_dir / "inbox.jsonl").read_bytes()
    head = (var_dir / "inbox.head").read_bytes()
    batch = lines_of(7, 3)
    whole_at = [len(b"".join(batch[:count])) for count in range(4)]
    for size in range(whole_at[-1] + 1):
        (var_dir / "inbox.jsonl").write_bytes(below + b"".join(batch)[:size])
        (var_dir / "inbox.head").write_bytes(head)
        writer = open_journal(var_dir)
        writer.close()
        kept = sum(1 for end in whole_at[1:] if end <= size)
        rest = size - whole_at[kept]
        assert writer.recovered[:2] == (kept, rest)
        assert ids_of(read_all(var_dir)) == list(range(1, 7 + kept))
        if rest:
            assert writer.recovered.quarantined is not None
            copy = writer.recovered.quarantined
            assert copy.read_bytes() == b"".join(batch)[whole_at[kept] : size]
            assert hashlib.sha256(copy.read_bytes()).hexdigest() in copy.name
            assert f".{len(below) + whole_at[kept]}." in copy.name
        else:
            assert writer.recovered.quarantined is None


@pytest.mark.row("F09")
@pytest.mark.fault("F09", by="NUL runs, holes and torn pages left above the head", ends="SURVIVE")
@pytest.mark.parametrize(
    "rest",
    [
        b"\0" * 500,
        b"".join(lines_of(7, 1)) + b"\0" * 90,
        b"\n",
        b"\r\n",
        line_of(7)[:-1] + b"\r\n",
        b"\xef\xbb\xbf" + line_of(7),
        b"\0" * 60 + line_of(7) + line_of(8),
        line_of(7).replace(b"x", b"y", 1) + line_of(8),
    ],
)
def test_damaged_rest_above_the_head_is_cut_whatever_it_is(var_dir: Path, rest: bytes) -> None:
    """Any damaged rest above the head is cut, as it was never acknowledged (F09, F32)."""
    fill(var_dir)
    add_above_head(var_dir, rest)
    writer = open_journal(var_dir)
    kept = writer.recovered.kept_lines
    assert writer.append([line_of(50)]) == 7 + kept
    writer.close()

    assert writer.recovered.cut_bytes == len(rest) - kept * len(line_of(7))
    assert ids_of(read_all(var_dir)) == [*range(1, 7 + kept), 50]


def test_longest_line_that_a_profile_allows_is_whole_at_the_next_start(var_dir: Path) -> None:
    """A line of sixteen megabytes is kept, published or not, and read again."""
    longest = 16 << 20
    line = encode_line(b'{"a":"%b"}' % (b"x" * (longest - 81)))
    options: dict[str, Any] = {"line_bytes_max": longest}
    with closing(open_journal(var_dir, **options)) as writer:
        writer.append([line_of(1), line])
    add_above_head(var_dir, line)

    with closing(open_journal(var_dir, **options)) as writer:
        recovered, position = writer.recovered, writer.position

    assert len(line) == longest
    assert recovered == Recovery(1, 0, None)
    assert (position.seq, position.offset) == (3, len(line_of(1)) + 2 * longest)


@pytest.mark.row("F10")
@pytest.mark.fault(
    "F10",
    by="one byte more than a batch of NUL bytes above the head",
    ends="STOP(QUEUE_TAIL_TOO_LONG)",
)
def test_damage_above_the_head_longer_than_a_batch_stops_and_cuts_nothing(var_dir: Path) -> None:
    """Damage above the head longer than a batch stops; at the limit it is cut (F10)."""
    limit = 1000
    options: dict[str, Any] = {"batch_bytes_max": limit, "line_bytes_max": 500}
    fill(var_dir)
    add_above_head(var_dir, b"\0" * (limit + 1))

    assert stop_code(var_dir, **options) == "QUEUE_TAIL_TOO_LONG"
    os.truncate(var_dir / "inbox.jsonl", (var_dir / "inbox.jsonl").stat().st_size - 1)
    writer = open_journal(var_dir, **options)
    assert writer.recovered.cut_bytes == limit
    writer.close()


@pytest.mark.row("F25")
@pytest.mark.fault(
    "F25", by="the head of 40 batches ago, and a torn line at the end", ends="SURVIVE"
)
def test_stale_head_many_batches_behind_loses_no_line(var_dir: Path) -> None:
    """A head many batches behind loses no line; only the damaged part is measured (F25)."""
    fill(var_dir, 3)
    head = (var_dir / "inbox.head").read_bytes()
    options: dict[str, Any] = {"batch_bytes_max": 1000, "line_bytes_max": 500}
    writer = open_journal(var_dir, **options)
    for first in range(4, 204, 5):
        writer.append(lines_of(first, 5))
    writer.close()
    (var_dir / "inbox.head").write_bytes(head)
    add_above_head(var_dir, line_of(204)[:50])
    writer = open_journal(var_dir, **options)
    writer.close()

    assert writer.recovered[:2] == (200, 50)
    assert ids_of(read_all(var_dir)) == list(range(1, 204))


@pytest.mark.slow
@pytest.mark.row("F11", "F12", "F13")
@pytest.mark.fault(
    "F11",
    "F12",
    "F13",
    by="every bit of a small log flipped, then a writer's start",
    ends="STOP(QUEUE_CORRUPT)",
)
@pytest.mark.usefixtures("without_syncs")
def test_any_bit_flipped_below_the_head_stops_the_writer(var_dir: Path) -> None:
    """A flipped bit below the head stops the writer, in the last line too (F11-F13)."""
    end = fill(var_dir, 3)
    path = var_dir / "inbox.jsonl"
    for bit in range(8 * end.offset):
        change(path, bit // 8, 1 << bit % 8)
        with pytest.raises(IntegrityError) as caught:
            open_journal(var_dir)
        change(path, bit // 8, 1 << bit % 8)
        assert caught.value.reason_code == "QUEUE_CORRUPT"
        assert caught.value.file == str(path)
        assert 1 <= caught.value.line <= 3
        assert caught.value.offset <= bit // 8
        assert caught.value.expected
        assert caught.value.found
    open_journal(var_dir).close()


@pytest.mark.slow
@pytest.mark.row("F14")
@pytest.mark.fault(
    "F14",
    by="cut to every length below the head, then a writer's start",
    ends="STOP(QUEUE_TRUNCATED)",
)
@pytest.mark.usefixtures("without_syncs")
def test_file_shorter_than_the_head_stops(var_dir: Path) -> None:
    """A file cut anywhere below the head stops the writer (F14)."""
    end = fill(var_dir)
    path = var_dir / "inbox.jsonl"
    whole = path.read_bytes()
    for size in range(end.offset):
        path.write_bytes(whole[:size])
        assert stop_code(var_dir) == "QUEUE_TRUNCATED"


def _edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], line_of(77), *lines[3:]]


def _edited_longer(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], line_of(77, 90), *lines[3:]]


@pytest.mark.row("F15", "F16", "F18")
@pytest.mark.fault(
    "F15",
    "F16",
    "F18",
    by="lines doubled, swapped, edited with right hashes, then a writer's start",
    ends="STOP(QUEUE_CHAIN)",
)
@pytest.mark.parametrize(
    "trick",
    [
        _edited,
        _edited_longer,
        lambda lines: [lines[0], *lines],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:5], line_of(1)],
        lambda lines: [*lines[:3], line_of(60), *lines[3:]],
    ],
)
def test_lines_exchanged_below_the_head_stop_the_writer_by_the_chain(
    var_dir: Path, trick: object
) -> None:
    """Swapped valid lines below the head stop the writer by the chain (F15, F16, F18)."""
    fill(var_dir)
    assert callable(trick)
    (var_dir / "inbox.jsonl").write_bytes(b"".join(trick(lines_of(1, 6))))

    assert stop_code(var_dir) == "QUEUE_CHAIN"


@pytest.mark.row("F17")
@pytest.mark.fault(
    "F17", by="each line removed in turn, then a writer's start", ends="STOP(QUEUE_CHAIN)"
)
@pytest.mark.fault("F17", by="the last line removed", ends="STOP(QUEUE_TRUNCATED)")
def test_line_removed_below_the_head_stops(var_dir: Path) -> None:
    """A line missing below the head stops the writer (F17)."""
    fill(var_dir)
    for index in range(6):
        lines = lines_of(1, 6)
        del lines[index]
        (var_dir / "inbox.jsonl").write_bytes(b"".join(lines))
        assert stop_code(var_dir) in ("QUEUE_TRUNCATED", "QUEUE_CHAIN")


@pytest.mark.row("F21")
@pytest.mark.fault(
    "F21",
    by="inbox.jsonl deleted under a head, and under a cursor without a head",
    ends="STOP(QUEUE_MISSING)",
)
def test_inbox_missing_though_something_was_published_stops(var_dir: Path) -> None:
    """A missing inbox stops if anything was published, else it is begun (F21)."""
    end = fill(var_dir)
    (var_dir / "inbox.jsonl").unlink()
    assert stop_code(var_dir) == "QUEUE_MISSING"
    assert not (var_dir / "inbox.jsonl").exists()
    (var_dir / "inbox.head").unlink()
    assert stop_code(var_dir, floor=end) == "QUEUE_MISSING"
    writer = open_journal(var_dir)

    assert writer.position.seq == 0
    writer.close()


@pytest.mark.row("F22")
@pytest.mark.fault("F22", by="nothing there; empty files as made", ends="SURVIVE")
def test_first_start_is_no_fault(var_dir: Path) -> None:
    """A first start on nothing, or on empty files, is no fault (F22)."""
    open_journal(var_dir, "one").close()
    create_journal(var_dir, "two")
    create_journal(var_dir, "two")
    writer = open_journal(var_dir, "two")

    assert writer.recovered == Recovery(0, 0, None)
    writer.close()


@pytest.mark.row("F23")
@pytest.mark.fault("F23", by="one byte of either slot changed", ends="SURVIVE")
@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("count", [1, 2])
def test_one_bad_head_slot_is_survived(var_dir: Path, slot: int, count: int) -> None:
    """One bad head slot is repaired from the other one and whole lines above it (F23)."""
    writer = open_journal(var_dir)
    for number in range(1, count + 5):
        writer.append([line_of(number)])
    writer.close()
    change(var_dir / "inbox.head", 64 * slot + 20)
    last = read_all(var_dir)[-1].seq
    assert last in (count + 3, count + 4)
    writer = open_journal(var_dir)
    writer.close()

    assert writer.position.seq == count + 4
    assert ids_of(read_all(var_dir)) == list(range(1, count + 5))
    raw = read_head_bytes(head_path(var_dir, "inbox"))
    change(var_dir / "inbox.head", 64 * slot + 20)
    assert newest(read_head_bytes(head_path(var_dir, "inbox"))) is not None
    assert raw != read_head_bytes(head_path(var_dir, "inbox"))


@pytest.mark.row("F24")
@pytest.mark.fault(
    "F24",
    by="both slots bad, head deleted, head empty; with and without damage",
    ends="STOP(QUEUE_CORRUPT)",
)
@pytest.mark.fault(
    "F24",
    by="both slots bad over whole lines",
    ends="rebuilt where everything above the highest cursor is whole",
)
@pytest.mark.parametrize("ruin", ["slots", "deleted", "empty"])
def test_without_a_good_head_whole_lines_go_on_and_damage_stops(var_dir: Path, ruin: str) -> None:
    """Without a valid head whole lines go on, and damage stops, as nothing may be cut (F24)."""
    end = fill(var_dir)
    head = var_dir / "inbox.head"

    def spoil() -> None:
        if ruin == "slots":
            change(head, 20)
            change(head, 84)
        elif ruin == "deleted":
            head.unlink()
        else:
            head.write_bytes(b"")

    spoil()
    writer = open_journal(var_dir, floor=end)
    writer.close()
    assert ids_of(read_all(var_dir)) == list(range(1, 7))
    add_above_head(var_dir, b"torn")
    spoil()
    assert stop_code(var_dir) == "QUEUE_CORRUPT"


def test_readers_refuse_a_head_with_both_slots_bad(var_dir: Path) -> None:
    """Readers refuse a head with two bad slots."""
    fill(var_dir)
    change(var_dir / "inbox.head", 20)
    change(var_dir / "inbox.head", 84)
    with pytest.raises(IntegrityError) as caught:
        JournalReader(var_dir, "inbox").read(1)

    assert caught.value.reason_code == "QUEUE_CORRUPT"


@pytest.mark.row("F27", "F33")
@pytest.mark.fault(
    "F27",
    "F33",
    by="data and head of an earlier moment put back, the cursor kept",
    ends="STOP(CURSOR_AHEAD)",
)
def test_cursor_further_than_the_data_stops(var_dir: Path) -> None:
    """A cursor beyond the data stops, as data and head were rolled back (F08, F27, F33)."""
    fill(var_dir, 4)
    old = {name: (var_dir / name).read_bytes() for name in ("inbox.jsonl", "inbox.head")}
    writer = open_journal(var_dir)
    writer.append(lines_of(5, 3))
    writer.close()
    for name, data in old.items():
        (var_dir / name).write_bytes(data)

    assert stop_code(var_dir, floor=writer.position) == "CURSOR_AHEAD"


@pytest.mark.row("F38")
@pytest.mark.fault(
    "F38", by="a cursor with another chain as the writer's floor", ends="STOP(QUEUE_CHAIN)"
)
def test_cursor_of_another_history_stops_by_the_chain(var_dir: Path) -> None:
    """A cursor at the same place after other lines stops by its chain (F38)."""
    end = fill(var_dir, 4)

    assert stop_code(var_dir, floor=end._replace(chain=bytes(32))) == "QUEUE_CHAIN"
    open_journal(var_dir, floor=end).close()


@pytest.mark.row("F160")
@pytest.mark.fault("F160", by="crash before and after every call of a tail repair", ends="SURVIVE")
@pytest.mark.parametrize("is_after", [False, True])
def test_crash_at_any_step_of_a_repair_ends_in_the_same_journal(
    var_dir: Path, is_after: bool
) -> None:
    """A crash at any step of a repair ends in the same journal, evidence copied first (F160)."""
    rest = line_of(8)[:60]
    expected = ids_of_after_repair = list(range(1, 8))
    step = 0
    while True:
        folder = var_dir / str(step)
        folder.mkdir(mode=0o700)
        fill(folder)
        add_above_head(folder, line_of(7) + rest)
        files = FaultFiles()
        files.crash_at, files.crash_after = step, is_after
        try:
            open_journal(folder, files=files).close()
            is_done = True
        except Crash:
            is_done = False
            files.kill()
        size = (folder / "inbox.jsonl").stat().st_size
        copies = list((folder / "quarantine").glob("*.rest")) if size < _size(8, rest) else []
        assert size == _size(8, rest) or [copy.read_bytes() for copy in copies] == [rest]
        open_journal(folder).close()
        ids_of_after_repair = ids_of(read_all(folder))
        assert ids_of_after_repair == expected
        assert [copy.read_bytes() for copy in (folder / "quarantine").glob("*.rest")] == [rest]
        if is_done:
            break
        step += 1

    assert step > 8


def _size(lines: int, rest: bytes) -> int:
    return len(b"".join(lines_of(1, lines - 1))) + len(rest)


@pytest.mark.parametrize("boot", ["the same", "another", ""])
def test_unsynced_lines_may_be_gone_after_a_power_loss_and_only_then(
    var_dir: Path, boot: str
) -> None:
    """Unsynced lines of a lazy journal may be missing after a new boot, and only then."""
    files = FaultFiles()
    files.boot = "the same"
    writer = open_journal(var_dir, sync=False, files=files)
    writer.append(lines_of(1, 5))
    writer.sync()
    synced = writer.position.offset
    writer.append(lines_of(6, 5))
    files.kill()
    path = var_dir / "inbox.jsonl"
    whole = path.read_bytes()
    files = FaultFiles()
    files.boot = boot
    lost = [whole[: synced + 100], whole[:synced] + b"\0" * 300, whole[:synced]]
    for data in lost:
        path.write_bytes(data)
        if boot == "the same":
            assert stop_code(var_dir, sync=False, files=files) in (
                "QUEUE_TRUNCATED",
                "QUEUE_CORRUPT",
            )
    if boot == "the same":
        return
    head = (var_dir / "inbox.head").read_bytes()
    for data in lost:
        path.write_bytes(data)
        (var_dir / "inbox.head").write_bytes(head)
        writer = open_journal(var_dir, sync=False, files=files)
        writer.close()
        assert ids_of(read_all(var_dir)) in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
    (var_dir / "inbox.head").write_bytes(head)
    path.write_bytes(whole[: synced - 10])
    assert stop_code(var_dir, sync=False, files=files) == "QUEUE_CORRUPT"


def test_journal_changes_between_lazy_and_eager_without_loss(var_dir: Path) -> None:
    """A journal switches between lazy and eager; readers that hold its head go on."""
    writer = open_journal(var_dir)
    reader = JournalReader(var_dir, "inbox")
    number = 1
    for is_eager in (True, False, False, True, True, False):
        writer.close()
        writer = open_journal(var_dir, sync=is_eager)
        writer.append(lines_of(number, 2))
        number += 2
        assert len(reader.read(10)) == 2
    writer.close()
    reader.close()


def test_slot_layout_is_the_documented_one() -> None:
    """A slot is segment u32, offset u64, lines u64, chain, sequence u64, crc32 u32, big-endian."""
    slot = pack_slot(Position(7, 2, 300, CHAIN_START[:-1] + b"\x05"), 9)

    assert len(slot) == 64
    assert int.from_bytes(slot[:4], "big") == 2
    assert int.from_bytes(slot[4:12], "big") == 300
    assert int.from_bytes(slot[12:20], "big") == 7
    assert slot[20:52] == bytes(31) + b"\x05"
    assert int.from_bytes(slot[52:60], "big") == 9


def test_any_bit_flipped_in_a_head_slot_makes_it_bad(var_dir: Path) -> None:
    """A flipped bit makes a head slot invalid."""
    fill(var_dir)
    path = var_dir / "inbox.head"
    good = newest(path.read_bytes())
    assert good is not None
    for bit in range(8 * 128):
        change(path, bit // 8, 1 << bit % 8)
        head = newest(path.read_bytes())
        change(path, bit // 8, 1 << bit % 8)
        assert head is not None
        assert head.sequence in (good.sequence, good.sequence - 1)
        assert head.position.seq <= good.position.seq
