"""Appending to a journal: written, synced, then published; any error ends the writer."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.errors import ContractError, InvariantError, RunStop
from minibot.kernel.head import SLOT_BYTES, head_path, newest, read_head_bytes
from minibot.kernel.journal import JournalReader
from minibot.kernel.line import encode_line
from minibot.kernel.queue import make_queue, open_reader, open_writer
from tests.kernel.kernel_support import (
    FaultFiles,
    failing,
    ids_of,
    json_of,
    line_of,
    lines_of,
    open_journal,
    read_all,
)


@pytest.mark.row("N-25", "N-39")
def test_append_batches_are_read_in_order_with_numbers_and_offsets(var_dir: Path) -> None:
    """Batches are read in order as written, with number and offset."""
    writer = open_journal(var_dir)
    firsts = [writer.append(lines_of(1, 3)), writer.append(lines_of(4, 1)), writer.append([])]
    lines = read_all(var_dir)
    data = (var_dir / "inbox.jsonl").read_bytes()

    assert firsts == [1, 4, 5]
    assert [line.seq for line in lines] == [1, 2, 3, 4]
    assert [line.json for line in lines] == [json_of(number) for number in range(1, 5)]
    assert all(data[line.offset :].startswith(encode_line(line.json)) for line in lines)
    assert writer.position.seq == 4
    assert writer.position.offset == len(data)
    writer.close()


@pytest.mark.row("N-06")
def test_append_of_a_batch_is_one_write_then_a_sync_then_the_head(var_dir: Path) -> None:
    """A batch is one write, one sync, then the head: every published line is durable."""
    files = FaultFiles()
    writer = open_journal(var_dir, files=files)
    files.calls.clear()
    writer.append(lines_of(1, 100))
    changes = [call for call in files.calls if call.split(" ")[0] in ("pwrite", "datasync")]

    assert changes == ["pwrite inbox.jsonl", "datasync inbox.jsonl", "pwrite inbox.head"]
    writer.close()


def test_reader_at_the_end_costs_one_look_at_the_head(var_dir: Path) -> None:
    """A reader at the end makes one positional read and no other call."""
    files = FaultFiles()
    writer = open_journal(var_dir)
    writer.append(lines_of(1, 3))
    reader = JournalReader(var_dir, "inbox", files=files)
    assert len(reader.read(10)) == 3
    files.calls.clear()

    assert reader.read(10) == []
    assert files.calls == ["pread inbox.head"]
    reader.close()
    writer.close()


@pytest.mark.row("F02")
@pytest.mark.fault("F02", by="seam: each write takes 1, 13 or 1,000 bytes", ends="SURVIVE")
@pytest.mark.parametrize("size_max", [1, 13, 1000])
def test_append_with_short_writes_writes_every_byte_before_the_head(
    var_dir: Path, size_max: int
) -> None:
    """Short writes are completed before the head is written (F02)."""
    files = FaultFiles()
    writer = open_journal(var_dir, files=files)
    files.write_bytes_max = size_max
    lines = lines_of(1, 5)
    files.fault = lambda call, name: _no_line_yet(var_dir, name) if call == "datasync" else None
    writer.append(lines[:1])
    files.fault = lambda _call, _name: None
    writer.append(lines[1:])
    writer.close()

    assert (var_dir / "inbox.jsonl").read_bytes() == b"".join(lines)
    assert ids_of(read_all(var_dir)) == [1, 2, 3, 4, 5]


def _no_line_yet(folder: Path, _name: str) -> None:
    assert read_all(folder) == []


@pytest.mark.row("F03")
@pytest.mark.fault("F03", by="seam: EINTR and EAGAIN", ends="SURVIVE")
@pytest.mark.parametrize("error", [InterruptedError(errno.EINTR, ""), BlockingIOError(11, "")])
def test_append_interrupted_writes_no_byte_twice(var_dir: Path, error: OSError) -> None:
    """EINTR and EAGAIN continue without repeating a byte (F03)."""
    files = FaultFiles()
    writer = open_journal(var_dir, files=files)
    left = [3]

    def fault(call: str, name: str) -> OSError | None:
        if call == "pwrite" and name == "inbox.jsonl" and left[0]:
            left[0] -= 1
            return error
        return None

    files.fault = fault
    writer.append(lines_of(1, 4))
    writer.close()

    assert (var_dir / "inbox.jsonl").read_bytes() == b"".join(lines_of(1, 4))


@pytest.mark.row("F04", "F05", "F55")
@pytest.mark.fault("F04", by="seam: ENOSPC after none or some bytes", ends="STOP(IO_ENOSPC)")
@pytest.mark.fault("F05", by="seam: EIO after none or some bytes", ends="STOP(IO_EIO)")
@pytest.mark.fault("F55", by="seam: EFBIG", ends="STOP(IO_EIO)")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "IO_ENOSPC"),
        (errno.EIO, "IO_EIO"),
        (errno.EFBIG, "IO_EIO"),
        (errno.EROFS, "IO_READONLY"),
    ],
)
@pytest.mark.parametrize("bytes_before", [0, 30])
def test_append_on_a_failing_disk_stops_and_loses_nothing_published(
    var_dir: Path, code: int, reason: str, bytes_before: int
) -> None:
    """A failing disk publishes nothing; its bytes stay above the head (F04, F05, F55)."""
    files = FaultFiles()
    writer = open_journal(var_dir, files=files)
    writer.append(lines_of(1, 2))
    files.write_bytes_max = bytes_before or None
    skip = [1 if bytes_before else 0]

    def fault(call: str, name: str) -> OSError | None:
        if call == "pwrite" and name == "inbox.jsonl":
            if skip[0]:
                skip[0] -= 1
                return None
            return OSError(code, os.strerror(code))
        return None

    files.fault = fault
    with pytest.raises(RunStop) as caught:
        writer.append(lines_of(3, 2))
    files.fault = lambda _call, _name: None
    with pytest.raises(RunStop) as again:
        writer.append(lines_of(5, 1))
    writer.close()

    assert caught.value.reason_code == reason
    assert again.value is caught.value
    assert ids_of(read_all(var_dir)) == [1, 2]
    writer = open_journal(var_dir)
    assert writer.recovered.cut_bytes == bytes_before
    assert writer.append(lines_of(3, 1)) == 3
    writer.close()


@pytest.mark.row("F06", "F07")
@pytest.mark.fault(
    "F06", by="seam: fdatasync gives EIO once", ends="STOP(IO_FSYNC) at the first error"
)
@pytest.mark.fault("F07", by="seam: fdatasync gives ENOSPC once", ends="STOP(IO_FSYNC)")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("is_eager", [True, False])
def test_sync_that_fails_once_is_never_repeated(var_dir: Path, code: int, is_eager: bool) -> None:
    """A failed sync is never repeated, as the next one may lie (F06, F07)."""
    files = FaultFiles()
    writer = open_journal(var_dir, files=files, sync=is_eager)
    writer.append(lines_of(1, 2))
    writer.sync()
    head = read_head_bytes(head_path(var_dir, "inbox"))
    files.fault = failing("datasync", "inbox.jsonl", code)
    synced = files.count("datasync")
    if not is_eager:
        writer.append(lines_of(3, 2))
    with pytest.raises(RunStop) as caught:
        writer.append(lines_of(3, 2)) if is_eager else writer.sync()
    for attempt in (lambda: writer.append(lines_of(5, 1)), writer.sync):
        with pytest.raises(RunStop):
            attempt()
    writer.close()

    assert caught.value.reason_code == "IO_FSYNC"
    assert files.count("datasync") == synced + 1
    if is_eager:
        assert read_head_bytes(head_path(var_dir, "inbox")) == head
        assert ids_of(read_all(var_dir)) == [1, 2]
    with pytest.raises(RunStop) as next_start:
        open_journal(var_dir)
    assert next_start.value.reason_code == "IO_FSYNC"


def _append_foreign(path: Path) -> None:
    with path.open("ab") as file:
        file.write(line_of(99))


def _replace(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    path.chmod(0o600)


@pytest.mark.row("F19", "F20", "F26", "F14")
@pytest.mark.fault("F19", by="inbox.jsonl deleted under its writer", ends="STOP(QUEUE_MISSING)")
@pytest.mark.fault("F20", by="inbox.jsonl replaced under its writer", ends="STOP(QUEUE_REPLACED)")
@pytest.mark.fault("F26", by="bytes of another program appended", ends="STOP(QUEUE_FOREIGN_WRITE)")
@pytest.mark.fault("F14", by="cut under its writer", ends="STOP(QUEUE_TRUNCATED)")
@pytest.mark.parametrize(
    ("name", "act", "reason"),
    [
        ("inbox.jsonl", _append_foreign, "QUEUE_FOREIGN_WRITE"),
        ("inbox.jsonl", lambda path: os.truncate(path, 100), "QUEUE_TRUNCATED"),
        ("inbox.jsonl", os.unlink, "QUEUE_MISSING"),
        ("inbox.jsonl", _replace, "QUEUE_REPLACED"),
        ("inbox.head", os.unlink, "QUEUE_MISSING"),
        ("inbox.head", _replace, "QUEUE_REPLACED"),
    ],
)
def test_append_to_a_file_that_somebody_touched_stops(
    var_dir: Path, name: str, act: Callable[[Path], Any], reason: str
) -> None:
    """A file touched by others stops its writer before the next batch (F14, F19, F20, F26)."""
    writer = open_journal(var_dir)
    writer.append(lines_of(1, 5))
    act(var_dir / name)
    with pytest.raises(RunStop) as caught:
        writer.append(lines_of(6, 1))
    writer.close()

    assert caught.value.reason_code == reason
    path = var_dir / "inbox.jsonl"
    assert not path.exists() or line_of(6) not in path.read_bytes()


@pytest.mark.row("F84")
def test_append_of_a_line_over_the_limit_writes_nothing(var_dir: Path) -> None:
    """A line of the limit passes; one byte more refuses the append, and the writer lives on."""
    fits = line_of(7, 200)
    writer = open_journal(var_dir, line_bytes_max=len(fits))
    too_long = line_of(8, 200)
    assert len(too_long) > len(fits)
    with pytest.raises(ContractError) as caught:
        writer.append([line_of(1), too_long])

    assert caught.value.reason_code == "SCHEMA_INVALID"
    assert writer.append([fits]) == 1
    writer.close()
    assert ids_of(read_all(var_dir)) == [7]


@pytest.mark.parametrize(
    "line", [json_of(1), line_of(1)[:-1], line_of(1) + line_of(2), b"\n", line_of(1).upper()]
)
def test_append_of_what_is_no_line_writes_nothing(var_dir: Path, line: bytes) -> None:
    """An append of something that is no line writes nothing."""
    writer = open_journal(var_dir)
    with pytest.raises(InvariantError):
        writer.append([line_of(5), line])
    writer.close()

    assert (var_dir / "inbox.jsonl").read_bytes() == b""


@pytest.mark.parametrize("place", [0, 63, 64, 99])
@pytest.mark.parametrize("broken", [b'{"a":\n1}', b'{"a":\r1}'])
def test_append_json_with_a_line_break_anywhere_writes_nothing(
    var_dir: Path, place: int, broken: bytes
) -> None:
    """An event with a line break would become two lines, wherever it stands in a batch."""
    jsons = [json_of(number) for number in range(1, 101)]
    jsons[place] = broken
    writer = open_journal(var_dir)
    with pytest.raises(InvariantError):
        writer.append_json(jsons)
    writer.close()

    assert (var_dir / "inbox.jsonl").read_bytes() == b""


@pytest.mark.row("N-39")
def test_append_json_writes_the_same_bytes_as_append_of_its_lines(tmp_path: Path) -> None:
    """append_json and append of encoded lines write the same bytes."""
    jsons = [json_of(number) for number in range(1, 30)]
    inboxes = []
    for name in ("lines", "jsons"):
        (tmp_path / name).mkdir()
        writer = open_journal(tmp_path / name, line_bytes_max=200, batch_bytes_max=700)
        firsts = []
        for first, last in ((0, 1), (1, 9), (9, 9), (9, 29)):
            part = jsons[first:last]
            firsts.append(
                writer.append_json(part)
                if name == "jsons"
                else writer.append([encode_line(json) for json in part])
            )
        assert firsts == [1, 2, 10, 10]
        inboxes.append(((tmp_path / name / "inbox.jsonl").read_bytes(), writer.position))
        writer.close()

    assert inboxes[0] == inboxes[1]
    assert [line.json for line in read_all(tmp_path / "jsons")] == jsons


@pytest.mark.parametrize(
    "json", [b"", b"{", b"[]", b"{}}x", b" {}", b'{"a":\n1}', b'{"a":\r1}', b"{}\n", line_of(1)]
)
def test_append_json_of_what_is_no_object_on_one_line_writes_nothing(
    var_dir: Path, json: bytes
) -> None:
    """append_json of anything but objects writes nothing, wherever it stands in a batch."""
    writer = open_journal(var_dir)
    for batch in ([json], [json_of(1), json], [json, json_of(1)]):
        with pytest.raises(InvariantError):
            writer.append_json(batch)

    assert (var_dir / "inbox.jsonl").read_bytes() == b""
    assert writer.append_json([json_of(1)]) == 1
    writer.close()


def test_append_json_over_the_limit_writes_nothing(var_dir: Path) -> None:
    """append_json refuses lines over the limit."""
    limit = len(line_of(7, 200))
    writer = open_journal(var_dir, line_bytes_max=limit)
    with pytest.raises(ContractError) as caught:
        writer.append_json([json_of(1), json_of(8, 200)])

    assert caught.value.reason_code == "SCHEMA_INVALID"
    assert writer.append_json([json_of(7, 200)]) == 1
    writer.close()


def test_append_beyond_one_batch_is_written_in_steps(var_dir: Path) -> None:
    """An append beyond one batch is written in steps, so that at most one batch is in flight."""
    files = FaultFiles()
    writer = open_journal(var_dir, files=files, line_bytes_max=200, batch_bytes_max=1000)
    files.calls.clear()
    writer.append(lines_of(1, 40))
    writer.close()

    assert files.count("datasync") > 4
    assert ids_of(read_all(var_dir)) == list(range(1, 41))


@pytest.mark.row("N-06", "F44")
@pytest.mark.fault(
    "F44", by="a second writer of inbox and part in one process", ends="STOP(QUEUE_LOCKED)"
)
def test_second_writer_of_a_queue_is_refused_and_the_first_goes_on(var_dir: Path) -> None:
    """A second writer of an inbox or part is refused (F44)."""
    make_queue(var_dir, "health", "watchdog_role")
    first = open_writer(var_dir, "health", part="risk_role")
    other = open_writer(var_dir, "health", part="market_role")
    with pytest.raises(RunStop) as caught:
        open_writer(var_dir, "health", part="risk_role")
    first.append([line_of(1)])
    other.append([line_of(2)])

    assert caught.value.reason_code == "QUEUE_LOCKED"
    assert ids_of(open_reader(var_dir, "health", part="risk_role").read(9)) == [1]
    first.close()
    other.close()
    open_writer(var_dir, "health", part="risk_role").close()


def test_lazy_writer_publishes_without_a_sync_and_syncs_on_request(var_dir: Path) -> None:
    """A lazy writer publishes a line at once and syncs many on request."""
    files = FaultFiles()
    writer = open_journal(var_dir, files=files, sync=False)
    before = files.count("datasync")
    for number in range(1, 6):
        writer.append([line_of(number)])
    assert ids_of(read_all(var_dir)) == [1, 2, 3, 4, 5]
    assert files.count("datasync") == before
    writer.sync()
    writer.sync()

    assert files.count("datasync") == before + 1
    writer.close()


def test_lazy_writer_leaves_no_more_than_one_batch_unsynced(var_dir: Path) -> None:
    """A lazy writer leaves at most one batch unsynced, which is what recovery may cut."""
    files = FaultFiles()
    writer = open_journal(
        var_dir, files=files, sync=False, line_bytes_max=200, batch_bytes_max=1000
    )
    before = files.count("datasync")
    for number in range(1, 41):
        writer.append([line_of(number)])

    assert files.count("datasync") - before >= 40 * len(line_of(1)) // 1000 - 1
    writer.close()


def test_append_from_several_threads_keeps_lines_whole(var_dir: Path) -> None:
    """Appends from several threads keep lines whole."""
    writer = open_journal(var_dir, sync=False)

    def work(base: int) -> None:
        for number in range(50):
            writer.append([line_of(base + number)])

    threads = [threading.Thread(target=work, args=(base,)) for base in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    ids = ids_of(read_all(var_dir))

    assert sorted(ids) == [base + number for base in (100, 200, 300) for number in range(50)]
    assert [number for number in ids if number // 100 == 2] == list(range(200, 250))


@pytest.mark.row("N-07")
def test_inbox_only_grows(var_dir: Path) -> None:
    """Each state of an inbox begins with the one before."""
    path = var_dir / "inbox.jsonl"
    before = b""
    number = 1
    for _ in range(4):
        writer = open_journal(var_dir)
        for count in (1, 3, 2):
            writer.append(lines_of(number, count))
            number += count
            now = path.read_bytes()
            assert now.startswith(before)
            assert len(now) > len(before)
            before = now
        writer.close()


def test_closed_writer_refuses_and_gives_its_lock_back(var_dir: Path) -> None:
    """A closed writer refuses and releases its lock; the next one continues."""
    writer = open_journal(var_dir)
    writer.append(lines_of(1, 2))
    writer.close()
    writer.close()
    with pytest.raises(InvariantError):
        writer.append(lines_of(3, 1))
    writer = open_journal(var_dir)

    assert writer.position.seq == 2
    assert writer.recovered == (0, 0, None)
    writer.close()


@pytest.mark.row("F143", "F145")
@pytest.mark.parametrize("plant", ["link", "folder", "others"])
def test_writer_on_an_unsafe_file_is_refused(var_dir: Path, plant: str) -> None:
    """A writer refuses links and foreign files (F143, F145)."""
    path = var_dir / "inbox.jsonl"
    target = var_dir / "target"
    target.write_bytes(b"precious")
    if plant == "link":
        path.symlink_to(target)
    elif plant == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"")
        path.chmod(0o666)
    with pytest.raises(RunStop) as caught:
        open_journal(var_dir)

    assert caught.value.reason_code in ("PERMISSIONS_UNSAFE", "IO_EIO")
    assert target.read_bytes() == b"precious"


def test_writer_in_a_linked_queue_folder_is_refused(var_dir: Path) -> None:
    """A writer refuses a linked queue folder (F143)."""
    (var_dir / "elsewhere").mkdir()
    (var_dir / "fills").symlink_to(var_dir / "elsewhere")
    with pytest.raises(RunStop) as caught:
        open_writer(var_dir, "fills")

    assert caught.value.reason_code == "PERMISSIONS_UNSAFE"
    assert os.listdir(var_dir / "elsewhere") == []


class LookingFiles(FaultFiles):
    """Files with a look while each slot of a head lacks its checksum."""

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__()
        self._look = look
        self.looks = 0

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write a slot without its checksum, look, and write all of it."""
        if len(data) == SLOT_BYTES:
            super().pwrite(fd, data[: SLOT_BYTES - 4], offset)
            self._look()
            self.looks += 1
        return super().pwrite(fd, data, offset)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_reader_that_looks_while_a_writer_opens_sees_no_older_head(
    tmp_path: Path, count: int
) -> None:
    """A reader at the end stays there while a restarted writer writes either slot of the head."""
    make_queue(tmp_path, "signals", None)
    reader = open_reader(tmp_path, "signals")
    with closing(open_writer(tmp_path, "signals")) as writer:
        for number in range(count):
            writer.append(lines_of(number + 1, 1))
    read = [line.seq for _ in range(count) for line in reader.read(1)]
    heads: list[int] = []
    # Another look than the reader's own, as it remembers the head that it saw.
    files = LookingFiles(lambda: heads.append(open_reader(tmp_path, "signals").head().lines))
    open_writer(tmp_path, "signals", files=files).close()

    assert (len(read), reader.read(1)) == (count, [])
    assert (files.looks, heads) == (2, [count, count])


@pytest.mark.parametrize("count", range(1, 8))
def test_head_alternates_its_slots_and_the_newer_one_counts(var_dir: Path, count: int) -> None:
    """Head slots alternate, so one valid slot remains after any failed write."""
    writer = open_journal(var_dir)
    for number in range(1, count + 1):
        before = read_head_bytes(head_path(var_dir, "inbox"))
        writer.append([line_of(number)])
        after = read_head_bytes(head_path(var_dir, "inbox"))
        kept = [before[at : at + 64] == after[at : at + 64] for at in (0, 64)]
        assert sorted(kept) == [False, True]
        head = newest(after)
        assert head is not None
        assert head.position == writer.position
    writer.close()


@pytest.mark.row("F56")
@pytest.mark.fault("F56", by="seam: EMFILE at open", ends="STOP(FD_EXHAUSTED)")
def test_descriptors_all_gone_is_told_as_such(var_dir: Path) -> None:
    """A lack of descriptors stops the run with its own code (F56)."""
    files = FaultFiles()
    files.fault = failing("open", "inbox.jsonl", errno.EMFILE)
    with pytest.raises(RunStop) as caught:
        open_journal(var_dir, files=files)

    assert caught.value.reason_code == "FD_EXHAUSTED"
