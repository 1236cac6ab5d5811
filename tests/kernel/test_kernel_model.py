"""Any verbs on a queue do what the same verbs do on a list, over crashes and restarts too."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from minibot.kernel.errors import IntegrityError, LockBusy, RunStop
from minibot.kernel.journal import JournalReader, JournalWriter
from minibot.kernel.position import ZERO, Position
from tests.kernel.kernel_support import Crash, FaultFiles, drain, ids_of, line_of, open_journal

pytestmark = pytest.mark.campaign


class QueueModel(RuleBasedStateMachine):
    """List of numbers, and one queue that has to agree with it."""

    def __init__(self) -> None:
        super().__init__()
        self.model: list[int] = []
        self.number = 0
        self.readers: list[tuple[JournalReader, list[int]]] = []
        self.positions: list[Position] = [ZERO]

    writer: JournalWriter

    def new_reader(self, start: Position) -> JournalReader:
        """Return a reader of the store under test."""
        raise NotImplementedError

    def lines(self, count: int, size: int) -> list[bytes]:
        """Return new lines, and add them to the list."""
        first = self.number
        self.number += count
        return [line_of(number, size) for number in range(first, first + count)]

    @rule(count=st.integers(0, 6), size=st.integers(0, 300))
    def append(self, count: int, size: int) -> None:
        """Append a batch: it gets the next numbers, all or none."""
        first = self.writer.append(self.lines(count, size))
        assert first == len(self.model) + 1
        self.model += range(self.number - count, self.number)
        self.positions.append(self.writer.position)

    @rule()
    def sync(self) -> None:
        """Sync, which changes nothing visible."""
        self.writer.sync()

    @rule(data=st.data())
    def open_reader(self, data: st.DataObject) -> None:
        """Open a reader at any position that was once an end."""
        start = data.draw(st.sampled_from(self.positions))
        self.readers.append((self.new_reader(start), self.model[: start.seq]))

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), count=st.integers(1, 9))
    def read(self, data: st.DataObject, count: int) -> None:
        """Read the next lines in order, at most the requested number."""
        reader, seen = data.draw(st.sampled_from(self.readers))
        lines = reader.read(count)
        assert len(lines) <= count
        assert bool(lines) == (len(seen) < len(self.model))
        assert [line.seq for line in lines] == list(
            range(len(seen) + 1, len(seen) + 1 + len(lines))
        )
        seen += ids_of(lines)
        assert seen == self.model[: len(seen)]
        assert reader.position.seq == len(seen)
        if reader.position.seq in {position.seq for position in self.positions}:
            self.positions.append(reader.position)

    @rule()
    def second_writer(self) -> None:
        """Try a second writer, which is always refused."""
        with pytest.raises(RunStop) as caught:
            self.new_writer()
        assert caught.value.reason_code == "QUEUE_LOCKED"

    def new_writer(self) -> JournalWriter:
        """Return a writer of the store under test."""
        raise NotImplementedError

    @rule(seq=st.integers(1, 50))
    def read_from_beyond(self, seq: int) -> None:
        """Try a position beyond the end, which is refused."""
        reader = self.new_reader(self.writer.position._replace(seq=len(self.model) + seq))
        with pytest.raises(IntegrityError) as caught:
            reader.read(1)
        assert caught.value.reason_code == "CURSOR_AHEAD"
        reader.close()

    @rule()
    def restart_writer(self) -> None:
        """Restart the writer, which continues at the former end."""
        end = self.writer.position
        self.writer.close()
        self.writer = self.new_writer()
        assert self.writer.position == end

    @invariant()
    def writer_stands_at_the_end(self) -> None:
        """Check that the writer has as many lines as the list."""
        assert self.writer.position.seq == len(self.model)

    @invariant()
    def backlogs_add_up(self) -> None:
        """Check that read lines and backlog add up to the list."""
        for reader, seen in self.readers:
            assert len(seen) + reader.backlog() == len(self.model)
            assert reader.head().lines == len(self.model)

    def teardown(self) -> None:
        """Read everything once more from the beginning."""
        reader = self.new_reader(ZERO)
        ids: list[int] = []
        while batch := reader.read(4):
            ids += ids_of(batch)
        assert ids == self.model
        for known, _ in self.readers:
            known.close()
        reader.close()
        self.writer.close()


class JournalModel(QueueModel):
    """Model of the file journal, which can also crash, rotate and change its way of syncing."""

    @initialize(segment=st.sampled_from([300, 900, 10**6]), is_eager=st.booleans())
    def start(self, segment: int, is_eager: bool) -> None:
        """Begin with an empty folder."""
        self.folder = Path(tempfile.mkdtemp(prefix="minibot-model-"))
        self.segment, self.is_eager = segment, is_eager
        self.files = FaultFiles()
        self.writer = self.new_writer()

    def new_reader(self, start: Position) -> JournalReader:
        return JournalReader(self.folder, "inbox", start)

    def new_writer(self) -> JournalWriter:
        try:
            return open_journal(
                self.folder, segment_bytes=self.segment, sync=self.is_eager, files=self.files
            )
        except LockBusy as error:
            raise RunStop("test", error.reason_code, str(error)) from error

    @rule()
    def change_syncing(self) -> None:
        """Switch the next writer between lazy and eager syncing."""
        self.is_eager = not self.is_eager

    @rule(
        step=st.integers(0, 14),
        is_after=st.booleans(),
        count=st.integers(1, 4),
        size=st.integers(0, 300),
        short=st.sampled_from([None, 7, 100]),
    )
    def crash_while_appending(
        self, step: int, is_after: bool, count: int, size: int, short: int | None
    ) -> None:
        """Crash anywhere in an append: whole lines of the batch stay, or none."""
        lines = self.lines(count, size)
        files = self.files
        changes = sum(1 for call in files.calls if call.split(" ")[0] in _CHANGES)
        files.crash_at, files.crash_after = changes + step, is_after
        files.write_bytes_max = short
        try:
            self.writer.append(lines)
            is_acknowledged = True
        except Crash:
            is_acknowledged = False
        files.write_bytes_max = None
        files.kill()
        files.crash_at = -1
        seen = ids_of(drain(self.new_reader(ZERO)))
        self.writer = self.new_writer()
        kept = self.writer.position.seq - len(self.model)
        assert 0 <= kept <= count
        assert kept == count or not is_acknowledged
        assert len(seen) <= self.writer.position.seq
        first = self.number - count
        self.model += range(first, first + kept)
        assert seen == self.model[: len(seen)]
        self.positions.append(self.writer.position)

    @rule(rest=st.binary(min_size=1, max_size=200))
    def crash_with_torn_tail(self, rest: bytes) -> None:
        """Crash with noise above the head, which the next start sets aside."""
        self.files.kill()
        with (self.folder / "inbox.jsonl").open("ab") as file:
            file.write(rest)
        self.writer = self.new_writer()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            super().teardown()
            shutil.rmtree(self.folder)


_CHANGES = frozenset(
    {"open", "pwrite", "truncate", "datasync", "sync", "replace", "link", "unlink", "mkdir",
     "rmdir", "sync_folder"}
)  # fmt: skip


@pytest.mark.row("N-06", "N-07")
def test_queue_under_any_sequence_of_verbs_agrees_with_a_list() -> None:
    """Appends, reads, restarts, rotations and crashes: nothing lost, nothing twice, in order."""
    run_state_machine_as_test(
        JournalModel, settings=settings(max_examples=60, stateful_step_count=25, deadline=None)
    )
