"""Whole nights of any verbs and any faults, on a simulated disk, against lists.

One queue with its acks, dead letters and cursor, and one that is merged from parts. Processes and
machines crash at any call, bytes change above and below the head, disks are full, syncs fail,
clocks step, runs end and the next ones start. What the lists say is what the queues have.

`MINIBOT_MODEL_EXAMPLES=2000` makes a longer campaign of it.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
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
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.kernel.journal import JournalReader, JournalWriter
from minibot.kernel.position import ZERO, Position
from minibot.kernel.queue import make_queue, open_reader, open_side_writer, open_writer
from minibot.kernel.seal import SEAL_FILE, release, seal_run
from minibot.kernel.verify import verify_tree
from tests.kernel.kernel_support import line_of
from tools.crash_sim.disk import ROOT, Node, SimFiles
from tools.crash_sim.images import PROCESS, RULES, images, whole

EXAMPLES: Final = int(os.environ.get("MINIBOT_MODEL_EXAMPLES", "45"))
VAR: Final = Path(ROOT) / "var"
QUEUES: Final = VAR / "queues"
READER: Final = "risk_role"
PARTS: Final = ("market_role", "risk_role")
JOURNALS: Final = ("fills", "acks", "letters", *PARTS, "health")
LAZY: Final = frozenset({"acks", "health"})
MACHINE_CALLS: Final = st.integers(1, 30)


class _Killed(BaseException):
    """The process dies here."""


class NightModel(RuleBasedStateMachine):
    """Lists of numbers, and the journals that have to agree with them."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.night = 0
        self.lists: dict[str, list[int]] = {name: [] for name in JOURNALS}
        self.synced = dict.fromkeys(JOURNALS, 0)
        self.writers: dict[str, JournalWriter] = {}
        self.positions: list[Position] = [ZERO]
        self.taken = 0  # Lines of the fills that the reader has taken.
        self.cursor: Position | None = None
        self.suspect: set[str] = set()

    @initialize(
        rules=st.sampled_from(RULES),
        page_bytes=st.sampled_from([512, 4096]),
        segment_bytes=st.sampled_from([400, 900, 1 << 20]),
    )
    def start(self, rules: str, page_bytes: int, segment_bytes: int) -> None:
        """Begin with an empty disk."""
        self.disk_rules, self.segment_bytes = rules, segment_bytes
        self.files = SimFiles(page_bytes, is_ordered=rules != "posix")
        self.begin_night()

    # --- the day's work -----------------------------------------------------------------------

    @rule(count=st.integers(0, 5), size=st.integers(0, 300), is_json=st.booleans())
    def append(self, count: int, size: int, is_json: bool) -> None:
        """A batch gets the next numbers, all of it or none."""
        if "fills" not in self.suspect:
            self.write("fills", count, size, is_json)
            self.positions.append(self.writer("fills").position)

    @rule(count=st.integers(1, 6))
    def take_and_ack(self, count: int) -> None:
        """The reader takes the next lines in order and logs how far it is."""
        if "acks" in self.suspect:
            return
        reader = self.reader("fills", self.positions[0])
        self.skip(reader, self.taken)
        lines = reader.read(count)
        ids = [decode(line.json)["id"] for line in lines]
        assert ids == self.lists["fills"][self.taken : self.taken + len(ids)]
        assert bool(ids) == (self.taken < len(self.lists["fills"]))
        if ids:
            self.taken = reader.position.seq
            self.write("acks", 1, 0)
        reader.close()

    @rule()
    def dead_letter(self) -> None:
        """A line that cannot be used is set aside, durable at once."""
        if "letters" not in self.suspect:
            self.write("letters", 1, 20)

    @rule()
    def sync_acks_and_save_cursor(self) -> None:
        """The order log is durable before the cursor that builds on it."""
        if "acks" in self.suspect:
            return
        self.writer("acks").sync()
        self.synced["acks"] = len(self.lists["acks"])
        reader = self.reader("fills", ZERO)
        self.skip(reader, self.taken)
        cursor = self.new_cursor()
        cursor.load()
        cursor.save(reader.position)
        self.cursor = reader.position
        reader.close()

    @rule(role=st.sampled_from(PARTS), count=st.integers(1, 3))
    def write_part(self, role: str, count: int) -> None:
        """Each writer of a shared queue has a part of its own."""
        if role not in self.suspect:
            self.write(role, count, 10)

    @rule(is_synced=st.booleans())
    def merge(self, is_synced: bool) -> None:
        """What stands in the parts and not in the inbox is copied there, once."""
        if "health" in self.suspect:
            return
        for role in PARTS:
            reader = self.reader(role, ZERO)
            merged = sum(1 for n in self.lists["health"] if n in set(self.lists[role]))
            self.skip(reader, merged)
            while lines := reader.read(100):
                self.writer("health").append_json([line.json for line in lines])
                self.lists["health"] += [decode(line.json)["id"] for line in lines]
            reader.close()
        if is_synced:
            self.writer("health").sync()
            self.synced["health"] = len(self.lists["health"])

    @rule(data=st.data())
    def read_as_another_reader(self, data: st.DataObject) -> None:
        """Whoever begins at an end of former times reads the rest, and the same."""
        start = data.draw(st.sampled_from(self.positions))
        reader = self.reader("fills", start)
        ids: list[int] = []
        while batch := reader.read(data.draw(st.integers(1, 4))):
            ids += [decode(line.json)["id"] for line in batch]
        assert ids == self.lists["fills"][start.seq :]
        assert reader.backlog() == 0
        reader.close()

    @rule(name=st.sampled_from(JOURNALS))
    def second_writer(self, name: str) -> None:
        """There is one writer, whatever happened before."""
        if name in self.suspect:
            return
        self.writer(name)
        with pytest.raises(RunStop) as caught:
            self.open(name)
        assert caught.value.reason_code == "QUEUE_LOCKED"

    @rule(name=st.sampled_from(JOURNALS))
    def restart_writer(self, name: str) -> None:
        """The next writer stands where the former one ended."""
        if name not in self.suspect:
            end = self.writer(name).position
            self.close(name)
            assert self.writer(name).position == end

    @rule(nanoseconds=st.integers(-(10**15), 10**15))
    def step_the_clock(self, nanoseconds: int) -> None:
        """Time tells nothing about order: the log does."""
        self.files.step_clock(nanoseconds)

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
        """The process or the machine goes down at any call; whole lines stand, or none."""
        if name in self.suspect:
            return
        before = len(self.lists[name])
        self.files.before = _after(calls, lambda: _raise(_Killed()))
        with suppress(_Killed):
            self.write(name, count, size)
        self.files.before = None
        added = self.number - count
        self.lists[name][before:] = range(added, added + count)
        self.crash(salt if is_power else None)
        if self.lists[name]:  # No new night has begun.
            assert before * (name not in LAZY) <= len(self.lists[name]) <= before + count

    @rule(salt=st.integers(0, 2**32))
    def lose_power(self, salt: int) -> None:
        """The machine goes down between two calls: what was synced stands."""
        self.crash(salt)

    @rule(rest=st.binary(min_size=1, max_size=300))
    def garble_above_the_head(self, rest: bytes) -> None:
        """Noise behind the last published line is set aside by the next start."""
        if "fills" in self.suspect:
            return
        self.writer("fills")
        self.crash(None, rest)

    @rule(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_below_the_head(self, place: float, bit: int) -> None:
        """One bit below the head: whoever reads or writes there stops; nothing false is read."""
        path = self.segment_with_lines()
        if path is None:
            return
        fork, node = self.fork(path)
        node.data[int(place * len(node.data))] ^= 1 << bit
        read: list[int] = []
        reader = open_reader(QUEUES, "fills", files=fork)
        with pytest.raises(IntegrityError) as caught:
            self.read_into(reader, read)
        assert caught.value.file == path
        assert read == self.lists["fills"][: len(read)]
        if path.endswith("inbox.jsonl") and "fills" not in self.suspect:
            with pytest.raises(IntegrityError):
                open_writer(QUEUES, "fills", files=fork)

    @rule(at=st.integers(0, 30))
    def swap_lines_below_the_head(self, at: int) -> None:
        """Two lines, whole and each good by itself, have changed places: the chain says so."""
        path = self.segment_with_lines()
        lines = self.files.read(path).splitlines(True) if path else []
        if path is None or len(lines) < 2:
            return
        first = at % (len(lines) - 1)
        lines[first], lines[first + 1] = lines[first + 1], lines[first]
        fork, node = self.fork(path)
        node.data[:] = b"".join(lines)
        reader = open_reader(QUEUES, "fills", files=fork)
        with pytest.raises(IntegrityError):
            self.skip(reader, len(self.lists["fills"]))
        if path.endswith("inbox.jsonl") and "fills" not in self.suspect:
            with pytest.raises(IntegrityError):
                open_writer(QUEUES, "fills", files=fork)

    @rule(which=st.integers(0, 30), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_anywhere(self, which: int, place: float, bit: int) -> None:
        """One bit of any file of the queue: it is told, or everything still reads as it was."""
        paths = [
            path
            for path, entry in sorted(self.files.names.items())
            if path.startswith(str(QUEUES / "fills")) and isinstance(entry, Node) and entry.data
        ]
        if not paths or self.suspect:
            return
        fork, node = self.fork(paths[which % len(paths)])
        node.data[int(place * len(node.data))] ^= 1 << bit
        ids: list[int] = []
        with suppress(IntegrityError):
            self.read_into(open_reader(QUEUES, "fills", files=fork), ids)
        assert ids == self.lists["fills"][: len(ids)]
        with suppress(RunStop):
            path = QUEUES / "fills" / "cursor.json"
            cursor = Cursor(path, f"night{self.night}", "fills", READER, files=fork)
            assert cursor.load() == self.cursor
        with suppress(RunStop):
            writer = open_writer(QUEUES, "fills", files=fork)
            assert writer.position.seq == len(self.lists["fills"])

    @rule(count=st.integers(1, 4), size=st.integers(0, 300), left=st.integers(0, 400))
    def disk_full_while_appending(self, count: int, size: int, left: int) -> None:
        """F04: the writer stops, stays stopped, and what it had not published may be kept."""
        if "fills" in self.suspect:
            return
        writer = self.writer("fills")
        self.files.space_bytes = left
        before = len(self.lists["fills"])
        code = ""
        try:
            self.write("fills", count, size)
        except RunStop as error:
            code = error.reason_code
        if code:
            with pytest.raises(RunStop):
                writer.append([line_of(0)])
            self.lists["fills"] += range(self.number - count, self.number)
        assert code in ("", "IO_ENOSPC")
        self.files.space_bytes = None
        self.crash(None)
        assert before <= len(self.lists["fills"]) <= before + count

    @rule(name=st.sampled_from(["fills", "letters"]))
    def sync_fails(self, name: str) -> None:
        """F06: a journal whose sync failed once is never written again in this run."""
        if name in self.suspect:
            return
        self.writer(name)
        self.files.before = _failing_sync()
        before = len(self.lists[name])
        with pytest.raises(RunStop) as caught:
            self.write(name, 1, 30)
        self.files.before = None
        assert caught.value.reason_code == "IO_FSYNC"
        assert len(self.lists[name]) == before
        self.suspect.add(name)
        self.writers.pop(name).close()
        with pytest.raises(RunStop) as caught:
            self.open(name)
        assert caught.value.reason_code == "IO_FSYNC"

    # --- the end of a run ---------------------------------------------------------------------

    @precondition(lambda self: any(self.lists.values()))
    @rule(calls=st.none() | MACHINE_CALLS, salt=st.none() | st.integers(0, 2**32))
    def end_of_run_and_next_start(self, calls: int | None, salt: int | None) -> None:
        """Sealed, verified, released; a crash meanwhile is made good; the next run begins empty."""
        if "health" not in self.suspect and not self.suspect.intersection(PARTS):
            self.merge(True)
        self.close_all()
        run = self.new_run()
        try:
            self.files.before = _after(calls, lambda: _raise(_Killed())) if calls else None
            root = self.seal(run)
        except _Killed:
            self.files.before = None
            self.go_down(salt)
            if self.files.stat(run / SEAL_FILE) is None:
                self.recover_idle()
                for name in JOURNALS:
                    if name not in self.suspect:
                        assert self.writer(name).position.seq == len(self.lists[name])
                self.close_all()
            root = self.seal(run)
        self.files.before = None
        assert seal_run(QUEUES, run, files=self.files) == root
        codes = {finding.code for finding in verify_tree(run, files=self.files)}
        assert codes <= ({"IO_FSYNC", "QUEUE_FOREIGN_WRITE", *codes} if self.suspect else set())
        if not self.suspect:
            self.compare_sealed(run)
        self.night += 1
        self.begin_night()

    def seal(self, run: Path) -> str:
        """Seal and release as the end of a run does, however far it came before."""
        root = seal_run(QUEUES, run, files=self.files)
        release(QUEUES, run, files=self.files)
        return root

    def compare_sealed(self, run: Path) -> None:
        """Every list stands under the seal."""
        for name in JOURNALS:
            folder, stem = place_of(name, run / "queues")
            reader = JournalReader(folder, stem, files=self.files)
            ids: list[int] = []
            while batch := reader.read(100):
                ids += [decode(line.json)["id"] for line in batch]
            reader.close()
            assert ids == self.lists[name]

    # --- always -------------------------------------------------------------------------------

    @invariant()
    def writers_stand_where_the_lists_end(self) -> None:
        """As many lines as the list has."""
        for name, writer in self.writers.items():
            assert writer.position.seq == len(self.lists[name])

    def teardown(self) -> None:
        """Read everything once more from the beginning."""
        for name in JOURNALS if hasattr(self, "files") else ():
            reader = self.reader(name, ZERO)
            ids: list[int] = []
            while batch := reader.read(7):
                ids += [decode(line.json)["id"] for line in batch]
            assert ids == self.lists[name]

    # --- how it is done -----------------------------------------------------------------------

    def begin_night(self) -> None:
        """Make the queues of a run."""
        self.lists = {name: [] for name in JOURNALS}
        self.synced = dict.fromkeys(JOURNALS, 0)
        self.positions, self.taken, self.cursor = [ZERO], 0, None
        self.suspect = set()
        make_queue(QUEUES, "fills", READER, files=self.files)
        make_queue(QUEUES, "health", "watchdog_role", parts=PARTS, files=self.files)

    def open(self, name: str) -> JournalWriter:
        """Return a new writer of a journal."""
        options = {"segment_bytes": self.segment_bytes, "files": self.files}
        if name in ("acks", "letters"):
            folder, stem = place_of(name, QUEUES)
            return open_side_writer(folder, stem, sync=name != "acks", **options)  # type: ignore[arg-type]
        if name == "fills":
            floor = self.new_cursor().load()
            return open_writer(QUEUES, "fills", floor=floor, **options)  # type: ignore[arg-type]
        part = name if name in PARTS else None
        return open_writer(QUEUES, "health", part, sync=part is not None, **options)  # type: ignore[arg-type]

    def writer(self, name: str) -> JournalWriter:
        """Return the writer of a journal, opened where it is not."""
        if name not in self.writers:
            self.writers[name] = self.open(name)
        return self.writers[name]

    def reader(self, name: str, start: Position) -> JournalReader:
        """Return a new reader of a journal."""
        folder, stem = place_of(name, QUEUES)
        return JournalReader(folder, stem, start, files=self.files)

    def new_cursor(self) -> Cursor:
        """Return the reader's cursor."""
        path = QUEUES / "fills" / "cursor.json"
        return Cursor(path, f"night{self.night}", "fills", READER, files=self.files)

    def write(self, name: str, count: int, size: int, is_json: bool = False) -> None:
        """Append new numbers to a journal and to its list."""
        first = self.number
        self.number += count
        lines = [line_of(number, size) for number in range(first, first + count)]
        writer = self.writer(name)
        if is_json:
            seq = writer.append_json([line[72:-1] for line in lines])
        else:
            seq = writer.append(lines)
        assert seq == len(self.lists[name]) + 1
        self.lists[name] += range(first, first + count)
        if name not in LAZY:
            self.synced[name] = len(self.lists[name])

    def read_into(self, reader: JournalReader, ids: list[int]) -> None:
        """Read everything, line by line."""
        while batch := reader.read(1):
            ids += [decode(line.json)["id"] for line in batch]

    def skip(self, reader: JournalReader, count: int) -> None:
        """Read so many lines."""
        while reader.position.seq < count:
            assert reader.read(count - reader.position.seq)

    def close(self, name: str) -> None:
        """Close one writer."""
        writer = self.writers.pop(name, None)
        if writer is not None:
            writer.close()
            self.synced[name] = len(self.lists[name])

    def close_all(self) -> None:
        """Close every writer."""
        for name in list(self.writers):
            self.close(name)

    def go_down(self, salt: int | None) -> None:
        """Lose the process or, with a salt, the machine's power."""
        self.writers.clear()
        self.files.kill()
        if salt is not None:
            rng = random.Random(salt)
            found = [i for c, i in images(self.files, self.disk_rules, rng, 6) if c != PROCESS]
            image = rng.choice(found)
            self.files = image.mount(
                self.files.page_bytes, is_ordered=self.disk_rules != "posix", is_tracking=True
            )

    def crash(self, salt: int | None, rest: bytes = b"") -> None:
        """Go down, start again: every journal has what it owes, and nothing else."""
        self.go_down(salt)
        if salt is not None and self.suspect:
            return self.end_interrupted()
        if rest:
            node = self.files.names[str(QUEUES / "fills" / "inbox.jsonl")]
            assert isinstance(node, Node)
            node.data += rest
            node.disk += rest
        assert self.new_cursor().load() == self.cursor
        self.recover_idle()
        for name in JOURNALS:
            if name in self.suspect:
                continue
            kept = self.writer(name).position.seq
            owed = self.synced[name] if salt is not None else 0
            assert owed <= kept <= len(self.lists[name])
            del self.lists[name][kept:]
            self.synced[name] = kept
        self.taken = min(self.taken, len(self.lists["fills"]))
        self.positions = [at for at in self.positions if at.seq <= len(self.lists["fills"])]
        folder = QUEUES / "fills" / "quarantine"
        if rest:
            held = [self.files.read(folder / name) for name in self.files.listdir(folder)]
            assert any(data.endswith(rest) or rest.endswith(data) for data in held)

    def recover_idle(self) -> None:
        """Recover the journals that nobody writes in this model, as every start does."""
        for stem in ("acks", "deadletter"):
            open_side_writer(QUEUES / "health", stem, sync=True, files=self.files).close()

    def end_interrupted(self) -> None:
        """Seal as found: a journal that must not be written again keeps the head it has."""
        self.recover_idle()
        for name in JOURNALS:
            if name not in self.suspect:
                owed = self.synced[name]
                assert owed <= self.writer(name).position.seq <= len(self.lists[name])
            self.close(name)
        run = self.new_run()
        self.seal(run)
        self.night += 1
        self.begin_night()
        return None

    def new_run(self) -> Path:
        """Make the folder of this night's run."""
        run = VAR / "runs" / f"night{self.night}"
        ensure_folder(run, files=self.files)
        write_hashed(run / "manifest.json", {"run_id": run.name}, files=self.files)
        return run

    def fork(self, path: str) -> tuple[SimFiles, Node]:
        """Return a copy of the disk as every process sees it, and one file of it."""
        fork = whole(self.files).mount(512, is_ordered=True, is_tracking=False)
        node = fork.names[path]
        assert isinstance(node, Node)
        return fork, node

    def segment_with_lines(self) -> str | None:
        """Return a file of the fills that has published lines; None where none has."""
        folder = QUEUES / "fills"
        active = str(folder / "inbox.jsonl")
        head = self.reader("fills", ZERO).head()
        if head.offset and len(self.files.read(active)) == head.offset:
            return active
        return str(folder / "inbox.000001.jsonl") if head.segment > 1 else None


def place_of(name: str, queues: Path) -> tuple[Path, str]:
    """Return folder and stem of a journal."""
    if name in PARTS:
        return queues / "health" / "parts", name
    if name == "health":
        return queues / "health", "inbox"
    stem = {"fills": "inbox", "acks": "acks", "letters": "deadletter"}[name]
    return queues / "fills", stem


def _after(calls: int, act: Callable[[], None]) -> Callable[[str, str], None]:
    left = [calls]

    def before(_call: str, _path: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            act()

    return before


def _failing_sync() -> Callable[[str, str], None]:
    """Return a fault of one sync; the next one would succeed, though the pages are lost."""
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
    """Nothing acknowledged is lost, nothing false is read, whatever happens in whatever order."""
    run_state_machine_as_test(
        NightModel,
        settings=settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None),
    )
