"""World of a program: the kernel's writers and readers over the simulated disk, and its debts.

A ledger accompanies every call: the lines that may exist, those that a reader was allowed to see,
and those acknowledged as durable. Every state after a crash is judged against it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from minibot.kernel.canonical import encode
from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.head import newest
from minibot.kernel.journal import JournalReader, JournalWriter
from minibot.kernel.line import JSON_AT, encode_line
from minibot.kernel.lock import WriterLock
from minibot.kernel.position import ZERO, Position
from minibot.kernel.seal import release, seal_run
from tools.crash_sim.disk import SimFiles
from tools.crash_sim.images import NEVER
from tools.crash_sim.plan import CURSOR, NOTE, QUEUES, READER, RUN, RUN_ID, Journal, Program

LINE_BYTES_MAX: Final = 2048
BATCH_BYTES_MAX: Final = 8192
DEAD_EVERY: Final = 5


class Killed(BaseException):
    """Signal that the process dies here; nothing happens after it."""


@dataclass(slots=True)
class Debt:
    """Debt of one journal: the lines that must survive.

    Attributes:
        lines: Every line given to the writer, in order.
        seen: Lines that a reader was allowed to see.
        durable: Lines that a power loss may not take.
    """

    lines: list[bytes] = field(default_factory=list)
    seen: int = 0
    durable: int = 0


class World:
    """Journals of a program, its cursor and its note, and the debt of each.

    Args:
        program: The program to run.
        files: The disk; the world sets its `before`.
        at_call: Called before each change on the disk and at the end, where a crash may come.
        crash: Called by a step that crashes; returns the disk after the crash.
    """

    def __init__(
        self,
        program: Program,
        files: SimFiles,
        at_call: Callable[[World], None],
        crash: Callable[[World, int], SimFiles],
    ) -> None:
        self.program = program
        self.files = files
        self.debts = {journal.name: Debt() for journal in program.journals}
        # Lines before each saved cursor, including a cursor that is being saved.
        self.saved: list[int] = []
        self.saved_for_sure = 0  # How many of these cursors a crash cannot take.
        self.notes = 0
        self.notes_for_sure = 0
        self.acked_to: list[int] = []  # Number of inputs processed after each line of the acks.
        # A power loss may take the lazily synced log of inputs whose outputs exist.
        self.outputs_taken_up = 0
        self.epoch = 0  # Grows with each crash, so that later lines differ from lost ones.
        self.is_sealing = False
        self._calls_left = NEVER  # Until the process is killed.
        self._specs = {journal.name: journal for journal in program.journals}
        self._lazy = {journal.name: journal.is_lazy for journal in program.journals}
        self._writers: dict[str, JournalWriter] = {}
        self._number = 0
        self._at_call = at_call
        self._crash = crash
        self._heads = {
            str(journal.folder / f"{journal.stem}.head"): journal.name
            for journal in program.journals
        }

    def run(self) -> None:
        """Run all steps; the last call comes after the end."""
        self.files.before = self._called
        for step in self.program.steps:
            verb: Callable[..., object] = getattr(self, f"_do_{step[0]}")
            verb(*step[1:])
        self._called("end", "")

    # --- verbs --------------------------------------------------------------------------------

    def _do_append(self, name: str, count: int, size: int) -> None:
        lines = []
        for _ in range(count):
            self._number += 1
            lines.append(line_of(name, self._number, size))
        self._append(name, lines)

    def _do_sync(self, name: str) -> None:
        self._writer(name).sync()
        self._pay(name)

    def _do_restart(self, name: str) -> None:
        self._close(name)
        self._writer(name)

    def _do_change(self, name: str) -> None:
        """Switch a journal's next writer between eager and lazy syncing."""
        self._close(name)
        self._lazy[name] = not self._lazy[name]
        self._writer(name)

    def _do_cursor(self, count: int) -> None:
        """Read on from the cursor and save the new position."""
        self._writer("inbox")
        cursor = open_cursor(self.files)
        reader = open_reader(self.files, self._specs["inbox"], cursor.load() or ZERO)
        reader.read(count)
        self._save(cursor, reader.position)
        reader.close()

    def _do_note(self) -> None:
        self.notes += 1
        write_hashed(NOTE, {"n": self.notes}, generation=self.notes, files=self.files)
        self.notes_for_sure = self.notes

    def _do_take(self, count: int) -> bool:
        """Play a role: log the inputs, then write their outputs, none of them twice.

        Returns:
            Whether there was any input.
        """
        taken = self.acked_to[-1] if self.acked_to else 0
        self._finish(taken)
        inbox = self._specs["inbox"]
        reader = open_reader(self.files, inbox, ZERO)
        seen = 0
        while seen < taken:
            seen += len(reader.read(taken - seen))
        lines = reader.read(count)
        reader.close()
        if not lines:
            return False
        self.acked_to.append(lines[-1].seq)
        self._append("acks", [line_of("acks", lines[-1].seq, 0)])
        self._finish(lines[-1].seq)
        return True

    def _do_hint(self) -> None:
        """Play the role's housekeeping: sync the input log before a cursor builds on it."""
        taken = self.acked_to[-1] if self.acked_to else 0
        self._finish(taken)  # Every start does this first: finish the outputs of logged inputs.
        self._do_sync("acks")
        reader = open_reader(self.files, self._specs["inbox"], ZERO)
        while reader.position.seq < taken:
            reader.read(taken - reader.position.seq)
        self._save(open_cursor(self.files), reader.position)
        reader.close()

    def _do_merge(self) -> None:
        """Play the merger: log the lines taken from each part, then copy them into the inbox."""
        inbox = self.debts["inbox"].lines
        for journal in self.program.journals[:2]:
            self._writer(journal.name)
            done = sum(1 for line in inbox if line in set(self.debts[journal.name].lines))
            fresh = self.debts[journal.name].lines[done:]
            if fresh:
                self._number += 1
                self._append("acks", [line_of("acks", self._number, 0)])
                self._append("inbox", list(fresh))

    def _do_seal(self) -> None:
        for name in self._specs:
            self._writer(name)
            self._close(name)
        self.is_sealing = True
        seal_run(QUEUES, RUN, files=self.files)
        release(QUEUES, RUN, files=self.files)

    def _do_kill(self, calls: int, verb: str, *arguments: Any) -> None:
        """Kill the process in the middle of another step; the next process takes up."""
        self._calls_left = calls
        with suppress(Killed):
            getattr(self, f"_do_{verb}")(*arguments)
        self._calls_left = NEVER
        self._again()

    def _do_full(self, space_bytes: int, verb: str, *arguments: Any) -> None:
        """Fill the disk in the middle of another step: the process stops, then space returns."""
        self.files.space_bytes = space_bytes
        with suppress(RunStop):
            getattr(self, f"_do_{verb}")(*arguments)
        self.files.space_bytes = None
        self._again()

    def _do_crash(self, salt: int) -> None:
        """Crash the machine between two steps; the program goes on with the remains."""
        self._writers.clear()
        self.files.before = None
        files = self._crash(self, salt)
        self.files = files
        self.take_up()
        self.close()
        files.settle()
        files.before = self._called

    # --- after a crash ------------------------------------------------------------------------

    def _again(self) -> None:
        """Let the next process take up after one that died."""
        self.files.kill()
        self._writers.clear()
        self.take_up()

    def fork(self, files: SimFiles) -> World:
        """Return the same world on another disk, without observer."""
        other = World(self.program, files, lambda _: None, self._crash)
        for name, debt in self.debts.items():
            other.debts[name] = Debt(list(debt.lines), debt.seen, debt.durable)
        other.acked_to = list(self.acked_to)
        other.is_sealing = self.is_sealing
        other._lazy = dict(self._lazy)
        other._number = self._number
        return other

    def take_up(self) -> None:
        """Recover every journal; from now on its lines are the debt."""
        self.epoch += 1  # For crashes of the recovery itself ...
        for name, journal in self._specs.items():
            count = self._writer(name).position.seq
            if journal.is_lazy and name == "inbox":
                drop_lost_cursor(self.files, count)
            debt = self.debts[name]
            del debt.lines[count:]
            debt.seen = debt.durable = count
        if "acks" in self.debts:
            del self.acked_to[len(self.debts["acks"].lines) :]
        if "out" in self.debts:
            self.outputs_taken_up = len(self.debts["out"].lines)
        found = open_cursor(self.files).load()
        self.saved = [] if found is None else [found.seq]
        self.saved_for_sure = len(self.saved)
        self.notes_for_sure = self.notes = generation_of(self.files)
        self.epoch += 1  # ... and for new lines in the place of lost ones.

    def finish(self) -> None:
        """Bring everything to its end, as a draining run does."""
        if self.program.kind == "role":
            while self._do_take(1000):
                pass
            self._do_hint()
        elif self.program.kind == "merge":
            self._do_merge()
        self.close()

    def close(self) -> None:
        """Close every writer."""
        for name in list(self._writers):
            self._close(name)

    # --- behind the verbs --------------------------------------------------------------------

    def _called(self, call: str, path: str) -> None:
        head = self._heads.get(path)
        if head is not None or call == "end":
            for path_of, name in self._heads.items():
                found = newest(self.files.read(path_of))
                debt = self.debts[name]
                if found is not None:
                    debt.seen = max(debt.seen, found.lines)
                if not self._lazy[name]:
                    # An eager writer publishes only lines that are on the disk.
                    debt.durable = debt.seen
        self._at_call(self)
        if self._calls_left > 0:
            self._calls_left -= 1
            if not self._calls_left:
                raise Killed

    def _writer(self, name: str) -> JournalWriter:
        if name not in self._writers:
            self._writers[name] = open_writer(
                self.files,
                self._specs[name],
                is_lazy=self._lazy[name],
                segment_bytes=self.program.segment_bytes,
            )
        return self._writers[name]

    def _append(self, name: str, lines: list[bytes]) -> None:
        """Append in each of the ways that a writer offers, in turn."""
        writer = self._writer(name)
        debt = self.debts[name]
        debt.lines += lines
        jsons = [line[JSON_AT:-1] for line in lines]
        way = len(debt.lines) % 4
        if way == 0:
            writer.append(lines)
        elif way == 1:
            writer.append_json(jsons)
        elif way == 2:  # As a role writes its outputs.
            writer.write_json(jsons)
            writer.publish()
        else:
            writer.append_all([jsons])
        debt.seen = len(debt.lines)
        if not self._lazy[name]:
            debt.durable = len(debt.lines)

    def _close(self, name: str) -> None:
        writer = self._writers.pop(name, None)
        if writer is not None:
            writer.close()
            self._pay(name)

    def _pay(self, name: str) -> None:
        debt = self.debts[name]
        debt.durable = debt.seen = len(debt.lines)

    def _finish(self, taken: int) -> None:
        """Write the missing outputs of all logged inputs."""
        outputs, letters = outputs_of(self.debts["inbox"].lines, taken)
        for name, wanted in (("out", outputs), ("letters", letters)):
            missing = wanted[len(self.debts[name].lines) :]
            if missing:
                self._append(name, missing)

    def _save(self, cursor: Cursor, position: Position) -> None:
        cursor.load()
        self.saved.append(position.seq)
        cursor.save(position)
        self.saved_for_sure = len(self.saved)


def line_of(name: str, number: int, size: int) -> bytes:
    """Return a line that names its own place."""
    return encode_line(encode({"in": name, "n": number, "text": "x" * size}))


def outputs_of(inputs: list[bytes], taken: int) -> tuple[list[bytes], list[bytes]]:
    """Return the outputs and dead letters of a role for its first inputs."""
    outputs, letters = [], []
    for seq in range(1, taken + 1):
        of = inputs[seq - 1][7:15].decode()
        if seq % DEAD_EVERY == 0:
            letters.append(line_of(f"letter of {of}", seq, 0))
        else:
            outputs.append(line_of(f"output of {of}", seq, 0))
    return outputs, letters


def open_writer(
    files: SimFiles, journal: Journal, *, is_lazy: bool, segment_bytes: int = 1 << 20
) -> JournalWriter:
    """Return the writer of a journal; its floor is the cursor in the same folder."""
    floor = open_cursor(files).load() if journal.has_floor else None
    lock = WriterLock(journal.lock, files=files)
    try:
        return JournalWriter(
            journal.folder,
            journal.stem,
            lock=lock,
            sync=not is_lazy,
            segment_bytes=segment_bytes,
            floor=floor,
            line_bytes_max=LINE_BYTES_MAX,
            batch_bytes_max=BATCH_BYTES_MAX,
            files=files,
        )
    except BaseException:
        lock.close()
        raise


def drop_lost_cursor(files: SimFiles, count: int) -> None:
    """Remove a cursor that points beyond the end of its queue.

    A power loss may take lines that were published but not synced; their reader then goes on from
    the queue's end. Recovery itself has allowed this, or has refused.
    """
    position = open_cursor(files).load()
    if position is not None and position.seq > count:
        files.unlink(CURSOR)


def open_reader(files: SimFiles, journal: Journal, start: Position) -> JournalReader:
    """Return a reader of a journal."""
    return JournalReader(journal.folder, journal.stem, start, files=files)


def open_cursor(files: SimFiles, path: Path = CURSOR) -> Cursor:
    """Return the cursor of the queue's reader."""
    return Cursor(path, RUN_ID, "q", READER, files=files)


def generation_of(files: SimFiles) -> int:
    """Return the generation of the note; 0 without a note."""
    return 0 if files.stat(NOTE) is None else int(read_hashed(NOTE, files=files)["generation"])
