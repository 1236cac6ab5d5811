"""Batches that overlap with syncs: same order, same publication, same refusals."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from minibot.kernel import overlap
from minibot.kernel.errors import InvariantError, RunStop
from minibot.kernel.files import Files
from minibot.kernel.head import SLOT_BYTES
from minibot.kernel.line import encode_line
from minibot.kernel.recovery import suspect_path
from minibot.kernel.threads import DaemonThread
from tests.kernel.kernel_support import FaultFiles, failing, json_of, open_journal, read_all
from tests.waiting import DEADLINE_S

EARLY_S = 0.1


def _batches(*sizes: int) -> list[list[bytes]]:
    numbers = iter(range(1, sum(sizes) + 1))
    return [[json_of(next(numbers)) for _ in range(size)] for size in sizes]


@pytest.mark.row("N-39")
@pytest.mark.parametrize("is_eager", [True, False])
def test_append_all_writes_the_same_file_as_one_append_after_the_other(
    tmp_path: Path, is_eager: bool
) -> None:
    """Overlapping appends write the same file as appends in turn, rotation included."""
    batches = _batches(3, 1, 0, 40, 2, 25, 30)
    found = []
    for name in ("one", "all"):
        folder = tmp_path / name
        folder.mkdir()
        writer = open_journal(folder, sync=is_eager, segment_bytes=4000, batch_bytes_max=3000)
        if name == "all":
            assert writer.append_all(batches) == 101
        else:
            for batch in batches:
                writer.append_json(batch)
        assert writer.append_json([json_of(102)]) == 102
        position = writer.position
        writer.close()
        files = sorted(path for path in folder.iterdir() if path.suffix == ".jsonl")
        found.append((position, [(path.name, path.read_bytes()) for path in files]))

    assert found[0] == found[1]
    assert len(found[0][1]) > 1
    assert [line.json for line in read_all(tmp_path / "all")][-1] == json_of(102)


@pytest.mark.row("N-06")
def test_append_all_publishes_each_batch_after_its_sync_and_before_the_next(var_dir: Path) -> None:
    """At most one batch is in flight, and each is durable before it is published."""
    files = FaultFiles()
    writer = open_journal(var_dir, files=files)
    files.calls.clear()
    writer.append_all(_batches(2, 2, 2))
    changes = [call for call in files.calls if call.split(" ")[0] in ("pwrite", "datasync")]

    assert changes == ["pwrite inbox.jsonl", "datasync inbox.jsonl", "pwrite inbox.head"] * 3
    writer.close()


class _WaitingFiles(Files):
    """System files whose first sync ends once the second batch is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = threading.Event()
        self.drawn.set()
        self.was_drawn: list[bool] = []

    def datasync(self, fd: int) -> None:
        """Wait for the draw, then sync."""
        self.was_drawn.append(self.drawn.wait(DEADLINE_S))
        super().datasync(fd)


def test_append_all_draws_the_next_batch_while_one_is_synced(var_dir: Path) -> None:
    """The next batch is drawn while one is synced, else this test's sync would never end."""
    files = _WaitingFiles()
    writer = open_journal(var_dir, files=files)
    files.drawn.clear()
    files.was_drawn.clear()

    def draw() -> Iterator[Sequence[bytes]]:
        first, second = _batches(2, 2)
        yield first
        files.drawn.set()
        yield second

    assert writer.append_all(draw()) == 4
    assert files.was_drawn == [True, True]
    writer.close()


class _SlowFiles(Files):
    """System files with a slow sync that report a head written meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.syncing = False
        self.published_early = threading.Event()

    def datasync(self, fd: int) -> None:
        """Wait, so that a premature publication would show."""
        self.syncing = True
        self.published_early.wait(EARLY_S)
        super().datasync(fd)
        self.syncing = False

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Report a slot that is written during a sync."""
        if len(data) == SLOT_BYTES and self.syncing:
            self.published_early.set()
        return super().pwrite(fd, data, offset)


def test_append_all_publishes_nothing_while_its_sync_is_on(var_dir: Path) -> None:
    """A slow sync publishes nothing before it ends."""
    files = _SlowFiles()
    writer = open_journal(var_dir, files=files)
    writer.append_all(_batches(2, 2))

    assert not files.published_early.is_set()
    writer.close()


@pytest.mark.row("F06")
@pytest.mark.parametrize(
    ("call", "code", "reason"),
    [
        ("datasync", errno.EIO, "IO_FSYNC"),
        ("pwrite", errno.ENOSPC, "IO_ENOSPC"),
    ],
)
def test_append_all_on_a_failing_disk_stops_and_publishes_nothing_of_that_batch(
    monkeypatch: pytest.MonkeyPatch, var_dir: Path, call: str, code: int, reason: str
) -> None:
    """A failed sync in another thread ends the writer; earlier batches stay whole."""
    made: list[DaemonThread] = []

    class Noted(DaemonThread):
        """Thread that is known to the test."""

        def start(self) -> None:
            """Start it, and note it."""
            made.append(self)
            super().start()

    monkeypatch.setattr(overlap, "DaemonThread", Noted)
    files = FaultFiles()
    writer = open_journal(var_dir, files=files)
    writer.append_json([json_of(1)])

    def draw() -> Iterator[Sequence[bytes]]:
        yield [json_of(2)]
        files.fault = failing(call, "inbox.jsonl", code)
        yield [json_of(3)]
        yield [json_of(4)]

    with pytest.raises(RunStop) as caught:
        writer.append_all(draw())
    with pytest.raises(RunStop):
        writer.append_json([json_of(5)])
    published = [line.json for line in read_all(var_dir)]
    writer.close()

    assert caught.value.reason_code == reason
    assert json_of(1) in published
    assert json_of(4) not in published
    assert published == [json_of(number) for number in range(1, len(published) + 1)]
    assert made
    assert not any(thread.is_alive() for thread in made)


def test_append_all_of_an_iterable_that_raises_publishes_what_it_gave_and_lives_on(
    var_dir: Path,
) -> None:
    """An iterable that raises leaves the batch in flight published and the writer alive."""
    writer = open_journal(var_dir)

    def draw() -> Iterator[Sequence[bytes]]:
        yield [json_of(1)]
        yield [json_of(2)]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        writer.append_all(draw())
    with pytest.raises(InvariantError):
        writer.append_all([[json_of(3)], [json_of(4), b"no object"]])

    assert writer.append_json([json_of(4)]) == 4
    writer.close()
    assert [line.json for line in read_all(var_dir)] == [json_of(n) for n in (1, 2, 3, 4)]


class _OneCall(Files):
    """System files with write and sync in one call, which takes some bytes at a time or fails.

    Attributes:
        durable: Durable bytes of the segment at the write of each head slot.
    """

    writes_through = True

    def __init__(
        self, bytes_max: int, error: OSError | None = None, *, has_written: bool = False
    ) -> None:
        super().__init__()
        self.durable: list[int] = []
        self._bytes_max = bytes_max
        self._error = error
        self._has_written = has_written
        self._end = 0

    def write_through(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write a part and report its size; fail behind the first, with or without more bytes."""
        if self._error is not None and self._end:
            if self._has_written:
                self.pwrite(fd, data[:100], offset)
            raise self._error
        count = self.pwrite(fd, data[: self._bytes_max], offset)
        self.datasync(fd)
        self._end = offset + count
        return count

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Record the durable bytes at the write of a head slot."""
        if len(data) == SLOT_BYTES:
            self.durable.append(self._end)
        return super().pwrite(fd, data, offset)


def test_append_all_in_one_call_publishes_a_batch_once_all_of_it_is_durable(var_dir: Path) -> None:
    """A batch in parts is published once all of it is durable."""
    files = _OneCall(bytes_max=100)
    writer = open_journal(var_dir, files=files)
    files.durable.clear()
    batches = _batches(2, 3)
    sizes = [sum(len(encode_line(json)) for json in batch) for batch in batches]

    assert writer.append_all(batches) == 5
    assert files.durable == [sizes[0], sum(sizes)]
    assert len(read_all(var_dir)) == 5
    writer.close()


@pytest.mark.row("F06")
@pytest.mark.parametrize("bytes_max", [1 << 20, 100])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("has_written", [False, True])
def test_append_all_in_one_call_that_fails_tells_a_full_disk_from_a_failed_sync(
    var_dir: Path, bytes_max: int, code: int, has_written: bool
) -> None:
    """A failed call after growth counts as a failed sync, else as a full disk."""
    files = _OneCall(bytes_max, OSError(code, "planted"), has_written=has_written)
    writer = open_journal(var_dir, files=files)
    is_sync = has_written or code == errno.EIO
    reason = {errno.ENOSPC: "IO_ENOSPC", errno.EROFS: "IO_READONLY"}.get(code)

    with pytest.raises(RunStop) as caught:
        writer.append_all(_batches(2, 3))
    with pytest.raises(RunStop):
        writer.append_json([json_of(9)])
    writer.close()

    published = len(read_all(var_dir))
    assert published == (2 if bytes_max > 100 else 0)
    assert caught.value.reason_code == ("IO_FSYNC" if is_sync else reason)
    assert suspect_path(var_dir, "inbox").exists() == is_sync
    if not is_sync:
        again = open_journal(var_dir)  # After space was freed no published line is missing.
        again.append_json([json_of(9)])
        again.close()
        assert len(read_all(var_dir)) > published


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: pwritev with RWF_DSYNC")
def test_system_without_the_one_call_is_asked_in_two(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without the combined call uses two calls, with the same result."""

    def unknown(*_arguments: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "pwritev", unknown)
    writer = open_journal(var_dir)
    assert writer.append_all(_batches(2, 3)) == 5
    assert len(read_all(var_dir)) == 5
    writer.close()
