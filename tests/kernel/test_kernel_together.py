"""Journals written together before any sync: each published late, no loss at any crash."""

from __future__ import annotations

import errno
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from minibot.kernel.errors import InvariantError, RunStop
from minibot.kernel.files import Files
from minibot.kernel.journal import JournalWriter
from tests.kernel.kernel_support import (
    Crash,
    FaultFiles,
    failing,
    ids_of,
    json_of,
    open_journal,
    read_all,
)
from tests.waiting import DEADLINE_S

ROUNDS = 4


def together(writers: list[JournalWriter], number: int) -> None:
    """Append one event to each journal, as a role does for one input."""
    for writer in writers:
        writer.write_json([json_of(number)])
    for writer in writers[1:]:
        writer.begin_sync()
    for writer in writers:
        writer.publish()


@pytest.mark.row("N-06", "I1")
def test_journals_written_together_are_each_published_after_their_sync(tmp_path: Path) -> None:
    """All journals are written first, and each head after its own sync."""
    files = FaultFiles()
    writers = [open_journal(tmp_path, stem, files=files) for stem in ("first", "second")]
    files.calls.clear()
    together(writers, 1)
    calls = [call for call in files.calls if call.split(" ")[0] in ("pwrite", "datasync")]

    assert calls[:2] == ["pwrite first.jsonl", "pwrite second.jsonl"]
    assert sorted(calls[2:]) == [
        "datasync first.jsonl",
        "datasync second.jsonl",
        "pwrite first.head",
        "pwrite second.head",
    ]
    for stem in ("first", "second"):
        assert calls.index(f"datasync {stem}.jsonl") < calls.index(f"pwrite {stem}.head")
    for writer in writers:
        writer.close()


class _Meeting(Files):
    """System files whose sync ends only during another one."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None

    def datasync(self, fd: int) -> None:
        """Wait for the other sync, then sync."""
        if self.barrier is not None:
            self.barrier.wait(DEADLINE_S)
        super().datasync(fd)


def test_syncs_of_journals_written_together_are_on_at_the_same_time(tmp_path: Path) -> None:
    """Two syncs that wait for each other both end, so they overlap."""
    files = _Meeting()
    writers = [open_journal(tmp_path, stem, files=files) for stem in ("first", "second")]
    files.barrier = threading.Barrier(2)
    for number in range(1, ROUNDS):
        together(writers, number)
    files.barrier = None
    for writer, stem in zip(writers, ("first", "second"), strict=True):
        writer.close()
        assert ids_of(read_all(tmp_path, stem)) == list(range(1, ROUNDS))


@pytest.mark.row("I1", "I2", "I3", "F62")
@pytest.mark.parametrize("crash_after", [False, True])
def test_crash_at_any_call_of_journals_written_together_loses_nothing_published(
    tmp_path: Path, crash_after: bool
) -> None:
    """A crash at any call keeps published lines in both journals; others are whole or cut."""
    for crash_at in range(200):
        folder = tmp_path / str(crash_at)
        folder.mkdir()
        files = FaultFiles()
        files.crash_at, files.crash_after = crash_at, crash_after
        acknowledged, is_over = 0, False
        writers: list[JournalWriter] = []
        with suppress(Crash):
            for stem in ("first", "second"):
                writers.append(open_journal(folder, stem, files=files))
            for number in range(1, ROUNDS):
                together(writers, number)
                acknowledged = number
            is_over = True
        files.kill()
        for writer in writers:
            with suppress(RunStop, OSError, KeyError):  # The thread ends with its files closed.
                writer.close()
        for stem in ("first", "second"):
            open_journal(folder, stem).close()
            found = ids_of(read_all(folder, stem))
            assert found == list(range(1, len(found) + 1)), crash_at
            assert acknowledged <= len(found) <= acknowledged + 1, crash_at
        if is_over:
            return
    raise AssertionError("never came to the end")


@pytest.mark.row("F06")
@pytest.mark.parametrize("beside", [True, False])
def test_sync_that_fails_beside_another_publishes_nothing_of_its_journal(
    tmp_path: Path, beside: bool
) -> None:
    """A failed sync ends its own journal's writer; the other journal is complete."""
    files = FaultFiles()
    writers = [open_journal(tmp_path, stem, files=files) for stem in ("first", "second")]
    together(writers, 1)
    stem = "second" if beside else "first"
    files.fault = failing("datasync", f"{stem}.jsonl", errno.EIO)
    with pytest.raises(RunStop) as stop:
        together(writers, 2)

    assert stop.value.reason_code == "IO_FSYNC"
    assert ids_of(read_all(tmp_path, stem)) == [1]
    with pytest.raises(RunStop):
        writers[beside].append_json([json_of(3)])
    for writer in writers:
        writer.close()
    with pytest.raises(RunStop, match="failed before"):
        open_journal(tmp_path, stem)


def test_nothing_is_appended_between_writing_and_publishing(var_dir: Path) -> None:
    """An append between write and publication is refused, to keep the order."""
    writer = open_journal(var_dir)
    writer.write_json([json_of(1)])
    with pytest.raises(InvariantError, match="not yet published"):
        writer.append_json([json_of(2)])
    with pytest.raises(InvariantError, match="not yet published"):
        writer.write_json([json_of(2)])
    writer.publish()
    writer.publish()

    assert writer.append_json([json_of(2)]) == 2
    writer.close()
    assert ids_of(read_all(var_dir)) == [1, 2]


@pytest.mark.parametrize("is_closed", [True, False])
def test_writer_that_ended_before_its_publication_publishes_nothing(
    var_dir: Path, is_closed: bool
) -> None:
    """A closed writer, or one whose sync failed, raises its end and moves no head."""
    files = FaultFiles()
    writer = open_journal(var_dir, sync=False, files=files)
    writer.append_json([json_of(1)])
    writer.write_json([json_of(2)])
    if is_closed:
        writer.close()
    else:
        files.fault = failing("datasync", "inbox", errno.EIO)
        with pytest.raises(RunStop):
            writer.sync()

    writer.begin_sync()
    with pytest.raises(RunStop, match="closed" if is_closed else "IO_FSYNC"):
        writer.publish()

    writer.close()
    assert ids_of(read_all(var_dir)) == [1]
