"""Nights of any verbs and faults on a simulated disk, compared with lists.

One queue has acks, dead letters and a cursor, another one is merged from parts. Processes and
machines crash at any call, bytes change above and below the head, disks are full, syncs fail,
clocks step, runs end and new ones start. The queues always hold what the lists hold.

`MINIBOT_MODEL_EXAMPLES=2000` runs a longer campaign.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

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

from minibot.kernel.canonical import decode
from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.position import ZERO
from minibot.kernel.queue import open_reader, open_writer
from minibot.kernel.seal import SEAL_FILE, seal_run
from minibot.kernel.verify import verify_tree
from tests.kernel.kernel_support import Crash, line_of
from tests.kernel.night import JOURNALS, LAZY, PARTS, QUEUES, READER, Night
from tools.crash_sim.disk import Node
from tools.crash_sim.images import RULES

pytestmark = pytest.mark.campaign

EXAMPLES: Final = int(os.environ.get("MINIBOT_MODEL_EXAMPLES", "100"))
SUSPECT_FILES: Final = {
    "fills": ("queues/fills/inbox", "queues/fills/segments", "queues/fills/cursor"),
    "letters": ("queues/fills/deadletter",),
}
MACHINE_CALLS: Final = st.integers(1, 30)


class NightModel(RuleBasedStateMachine):
    """Any verb and any fault at any time, checked against the night's lists."""

    at: Night

    @initialize(
        rules=st.sampled_from(RULES),
        page_bytes=st.sampled_from([512, 4096]),
        segment_bytes=st.sampled_from([400, 900, 1 << 20]),
    )
    def start(self, rules: str, page_bytes: int, segment_bytes: int) -> None:
        """Begin with an empty disk."""
        self.at = Night(rules, page_bytes, segment_bytes)

    # --- the day's work -----------------------------------------------------------------------

    @rule(count=st.integers(0, 5), size=st.integers(0, 300), is_json=st.booleans())
    def append(self, count: int, size: int, is_json: bool) -> None:
        """Append a batch: it gets the next numbers, all or none."""
        if "fills" not in self.at.suspect:
            self.at.write("fills", count, size, is_json)
            self.at.positions.append(self.at.writer("fills").position)

    @rule(count=st.integers(1, 6))
    def take_and_ack(self, count: int) -> None:
        """Process the next lines in order and log the range."""
        if "acks" in self.at.suspect:
            return
        reader = self.at.reader("fills", self.at.positions[0])
        self.at.skip(reader, self.at.taken)
        lines = reader.read(count)
        ids = [decode(line.json)["id"] for line in lines]
        assert ids == self.at.lists["fills"][self.at.taken : self.at.taken + len(ids)]
        assert bool(ids) == (self.at.taken < len(self.at.lists["fills"]))
        if ids:
            self.at.taken = reader.position.seq
            self.at.write("acks", 1, 0)
        reader.close()

    @rule()
    def dead_letter(self) -> None:
        """Set an unusable line aside, durable at once."""
        if "letters" not in self.at.suspect:
            self.at.write("letters", 1, 20)

    @rule()
    def sync_acks_and_save_cursor(self) -> None:
        """Sync the input log before saving the cursor that builds on it."""
        if "acks" in self.at.suspect:
            return
        self.at.writer("acks").sync()
        self.at.synced["acks"] = len(self.at.lists["acks"])
        reader = self.at.reader("fills", ZERO)
        self.at.skip(reader, self.at.taken)
        cursor = self.at.new_cursor()
        cursor.load()
        cursor.save(reader.position)
        self.at.cursor = reader.position
        reader.close()

    @rule(role=st.sampled_from(PARTS), count=st.integers(1, 3))
    def write_part(self, role: str, count: int) -> None:
        """Append to a part of a shared queue."""
        if role not in self.at.suspect:
            self.at.write(role, count, 10)

    @rule(is_synced=st.booleans())
    def merge(self, is_synced: bool) -> None:
        """Merge: lines of the parts that the inbox lacks are copied there, once."""
        if "health" in self.at.suspect:
            return
        for role in PARTS:
            reader = self.at.reader(role, ZERO)
            merged = sum(1 for n in self.at.lists["health"] if n in set(self.at.lists[role]))
            self.at.skip(reader, merged)
            while lines := reader.read(100):
                self.at.writer("health").append_json([line.json for line in lines])
                self.at.lists["health"] += [decode(line.json)["id"] for line in lines]
            reader.close()
        if is_synced:
            self.at.writer("health").sync()
            self.at.synced["health"] = len(self.at.lists["health"])

    @rule(data=st.data())
    def read_as_another_reader(self, data: st.DataObject) -> None:
        """Read the rest from any former end as another reader."""
        start = data.draw(st.sampled_from(self.at.positions))
        reader = self.at.reader("fills", start)
        ids: list[int] = []
        while batch := reader.read(data.draw(st.integers(1, 4))):
            ids += [decode(line.json)["id"] for line in batch]
        assert ids == self.at.lists["fills"][start.seq :]
        assert reader.backlog() == 0
        reader.close()

    @rule(name=st.sampled_from(JOURNALS))
    def second_writer(self, name: str) -> None:
        """Try a second writer, which is always refused."""
        if name in self.at.suspect:
            return
        self.at.writer(name)
        with pytest.raises(RunStop) as caught:
            self.at.open(name)
        assert caught.value.reason_code == "QUEUE_LOCKED"

    @rule(name=st.sampled_from(JOURNALS))
    def restart_writer(self, name: str) -> None:
        """Restart the writer, which continues at the former end."""
        if name not in self.at.suspect:
            end = self.at.writer(name).position
            self.at.close(name)
            assert self.at.writer(name).position == end

    @rule(nanoseconds=st.integers(-(10**15), 10**15))
    def step_the_clock(self, nanoseconds: int) -> None:
        """Step the clock, which changes no order."""
        self.at.files.step_clock(nanoseconds)

    # --- faults -------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(JOURNALS[:5]),
        count=st.integers(1, 4),
        size=st.integers(0, 600),
        calls=MACHINE_CALLS,
        salt=st.integers(0, 2**32),
        is_power=st.booleans(),
    )
    def crash_while_appending(
        self, name: str, count: int, size: int, calls: int, salt: int, is_power: bool
    ) -> None:
        """Crash process or machine at any call of an append: whole lines stay, or none."""
        if name in self.at.suspect:
            return
        before = len(self.at.lists[name])
        self.at.files.before = _after(calls, lambda: _raise(Crash()))
        with suppress(Crash):
            self.at.write(name, count, size)
        self.at.files.before = None
        added = self.at.number - count
        self.at.lists[name][before:] = range(added, added + count)
        self.at.crash(salt if is_power else None)
        if self.at.lists[name]:  # Else a new night has begun.
            assert before * (name not in LAZY) <= len(self.at.lists[name]) <= before + count

    @rule(salt=st.integers(0, 2**32))
    def lose_power(self, salt: int) -> None:
        """Lose power between two calls: synced lines stay."""
        self.at.crash(salt)

    @rule(rest=st.binary(min_size=1, max_size=300))
    def garble_above_the_head(self, rest: bytes) -> None:
        """Add noise above the head, which the next start sets aside."""
        if "fills" in self.at.suspect:
            return
        self.at.writer("fills")
        self.at.crash(None, rest)

    @rule(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_below_the_head(self, place: float, bit: int) -> None:
        """Flip a bit below the head: readers and writers stop there, and nothing false is read."""
        path = self.at.segment_with_lines()
        if path is None:
            return
        fork, node = self.at.fork(path)
        node.data[int(place * len(node.data))] ^= 1 << bit
        read: list[int] = []
        reader = open_reader(QUEUES, "fills", files=fork)
        with pytest.raises(IntegrityError) as caught:
            self.at.read_into(reader, read)
        assert caught.value.file == path
        assert read == self.at.lists["fills"][: len(read)]
        if path.endswith("inbox.jsonl") and "fills" not in self.at.suspect:
            with pytest.raises(IntegrityError):
                open_writer(QUEUES, "fills", files=fork)

    @rule(at=st.integers(0, 30))
    def swap_lines_below_the_head(self, at: int) -> None:
        """Swap two whole lines below the head: the chain reveals it."""
        path = self.at.segment_with_lines()
        lines = self.at.files.read(path).splitlines(True) if path else []
        if path is None or len(lines) < 2:
            return
        first = at % (len(lines) - 1)
        lines[first], lines[first + 1] = lines[first + 1], lines[first]
        fork, node = self.at.fork(path)
        node.data[:] = b"".join(lines)
        reader = open_reader(QUEUES, "fills", files=fork)
        with pytest.raises(IntegrityError):
            self.at.skip(reader, len(self.at.lists["fills"]))
        if path.endswith("inbox.jsonl") and "fills" not in self.at.suspect:
            with pytest.raises(IntegrityError):
                open_writer(QUEUES, "fills", files=fork)

    @rule(which=st.integers(0, 30), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_anywhere(self, which: int, place: float, bit: int) -> None:
        """Flip a bit of any file: it is reported, or everything reads as before."""
        paths = [
            path
            for path, entry in sorted(self.at.files.names.items())
            if path.startswith(str(QUEUES / "fills")) and isinstance(entry, Node) and entry.data
        ]
        if not paths or self.at.suspect:
            return
        fork, node = self.at.fork(paths[which % len(paths)])
        node.data[int(place * len(node.data))] ^= 1 << bit
        ids: list[int] = []
        with suppress(IntegrityError):
            self.at.read_into(open_reader(QUEUES, "fills", files=fork), ids)
        assert ids == self.at.lists["fills"][: len(ids)]
        with suppress(RunStop):
            path = QUEUES / "fills" / "cursor.json"
            cursor = Cursor(path, f"night{self.at.night}", "fills", READER, files=fork)
            assert cursor.load() == self.at.cursor
        with suppress(RunStop):
            writer = open_writer(QUEUES, "fills", files=fork)
            assert writer.position.seq == len(self.at.lists["fills"])

    @rule(count=st.integers(1, 4), size=st.integers(0, 300), left=st.integers(0, 400))
    def disk_full_while_appending(self, count: int, size: int, left: int) -> None:
        """Fill the disk during an append: the writer stops and stays stopped (F04)."""
        if "fills" in self.at.suspect:
            return
        writer = self.at.writer("fills")
        self.at.files.space_bytes = left
        before = len(self.at.lists["fills"])
        code = ""
        try:
            self.at.write("fills", count, size)
        except RunStop as error:
            code = error.reason_code
        if code:
            with pytest.raises(RunStop):
                writer.append([line_of(0)])
            self.at.lists["fills"] += range(self.at.number - count, self.at.number)
        assert code in ("", "IO_ENOSPC")
        self.at.files.space_bytes = None
        self.at.crash(None)
        assert before <= len(self.at.lists["fills"]) <= before + count

    @rule(name=st.sampled_from(["fills", "letters"]))
    def sync_fails(self, name: str) -> None:
        """Fail a sync: that journal is never written again in this run (F06)."""
        if name in self.at.suspect:
            return
        self.at.writer(name)
        self.at.files.before = _failing_sync()
        before = len(self.at.lists[name])
        with pytest.raises(RunStop) as caught:
            self.at.write(name, 1, 30)
        self.at.files.before = None
        assert caught.value.reason_code == "IO_FSYNC"
        assert len(self.at.lists[name]) == before
        self.at.suspect.add(name)
        self.at.writers.pop(name).close()
        with pytest.raises(RunStop) as caught:
            self.at.open(name)
        assert caught.value.reason_code == "IO_FSYNC"

    # --- the end of a run ---------------------------------------------------------------------

    @precondition(lambda self: any(self.at.lists.values()))
    @rule(calls=st.none() | MACHINE_CALLS, salt=st.none() | st.integers(0, 2**32))
    def end_of_run_and_next_start(self, calls: int | None, salt: int | None) -> None:
        """End the run, perhaps with a crash, and start the next one: sealed, verified, released."""
        if "health" not in self.at.suspect and not self.at.suspect.intersection(PARTS):
            self.merge(True)
        self.at.close_all()
        run = self.at.new_run()
        try:
            self.at.files.before = _after(calls, lambda: _raise(Crash())) if calls else None
            root = self.at.seal(run)
        except Crash:
            self.at.files.before = None
            self.at.go_down(salt)
            if self.at.files.stat(run / SEAL_FILE) is None:
                self.at.recover_idle()
                for name in JOURNALS:
                    if name not in self.at.suspect:
                        assert self.at.writer(name).position.seq == len(self.at.lists[name])
                self.at.close_all()
            root = self.at.seal(run)
        self.at.files.before = None
        assert seal_run(QUEUES, run, files=self.at.files) == root
        # Only the journal of a failed sync is reported.
        lines = tuple(part for name in self.at.suspect for part in SUSPECT_FILES[name])
        for finding in verify_tree(run, files=self.at.files):
            assert finding.file.startswith(lines), finding
        if not self.at.suspect:
            self.at.compare_sealed(run)
        self.at.night += 1
        self.at.begin()

    # --- always -------------------------------------------------------------------------------

    @invariant()
    def writers_stand_where_the_lists_end(self) -> None:
        """Check that writers have as many lines as the lists."""
        for name, writer in self.at.writers.items():
            assert writer.position.seq == len(self.at.lists[name])

    def teardown(self) -> None:
        """Read everything once more from the beginning."""
        for name in JOURNALS if hasattr(self, "at") else ():
            reader = self.at.reader(name, ZERO)
            ids: list[int] = []
            while batch := reader.read(7):
                ids += [decode(line.json)["id"] for line in batch]
            assert ids == self.at.lists[name]


def _after(calls: int, act: Callable[[], None]) -> Callable[[str, str], None]:
    left = [calls]

    def before(_call: str, _path: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            act()

    return before


def _failing_sync() -> Callable[[str, str], None]:
    """Return a fault of one sync, after which the pages are lost although a later sync succeeds."""
    left = ["datasync"]

    def before(call: str, _path: str) -> None:
        if call in left:
            left.remove(call)
            raise OSError(errno.EIO, "input/output error")

    return before


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.row("N-05", "N-06", "N-07", "F44", "I1", "I3")
def test_nights_of_any_verbs_and_faults_agree_with_lists() -> None:
    """Any night loses no acknowledged line and reads no false one."""
    run_state_machine_as_test(
        NightModel,
        settings=settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None),
    )
