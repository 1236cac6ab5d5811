"""Night for the state machine of test_kernel_model_faults.py: queues, lists and crashes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from minibot.kernel.canonical import decode
from minibot.kernel.cursor import Cursor
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.kernel.journal import JournalReader, JournalWriter
from minibot.kernel.line import JSON_AT
from minibot.kernel.position import ZERO, Position
from minibot.kernel.queue import make_queue, open_side_writer, open_writer
from minibot.kernel.seal import release, seal_run
from tests.kernel.kernel_support import line_of
from tools.crash_sim.disk import ROOT, Node, SimFiles
from tools.crash_sim.images import PROCESS, images, whole

VAR: Final = Path(ROOT) / "var"
QUEUES: Final = VAR / "queues"
READER: Final = "risk_role"
PARTS: Final = ("market_role", "risk_role")
JOURNALS: Final = ("fills", "acks", "letters", *PARTS, "health")
LAZY: Final = frozenset({"acks", "health"})


class Night:
    """Journals on a simulated disk, and the list with which each must agree.

    Attributes:
        files: The disk; `disk_rules` are its rules for the loss in a crash.
        lists: Line numbers of each journal.
        synced: How many of these lines a power loss cannot take.
        positions: Former ends of the queue of fills.
        taken: Lines of the fills that the reader has processed.
        cursor: Position that the reader saved last.
        suspect: Journals whose sync failed.
    """

    def __init__(self, disk_rules: str, page_bytes: int, segment_bytes: int) -> None:
        self.disk_rules, self.segment_bytes = disk_rules, segment_bytes
        self.files = SimFiles(page_bytes, is_ordered=disk_rules != "posix")
        self.number = 0
        self.night = 0
        self.writers: dict[str, JournalWriter] = {}
        self.begin()

    def begin(self) -> None:
        """Make the queues of a run."""
        self.lists: dict[str, list[int]] = {name: [] for name in JOURNALS}
        self.synced = dict.fromkeys(JOURNALS, 0)
        self.positions: list[Position] = [ZERO]
        self.taken = 0
        self.cursor: Position | None = None
        self.suspect: set[str] = set()
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
        """Return the writer of a journal; open it if it is closed."""
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
            seq = writer.append_json([line[JSON_AT:-1] for line in lines])
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
        """Read the given number of lines."""
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
        """Go down and start again: every journal has exactly the lines that it owes."""
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
        """Recover journals without a writer in this model, as every start does."""
        for stem in ("acks", "deadletter"):
            open_side_writer(QUEUES / "health", stem, sync=True, files=self.files).close()

    def end_interrupted(self) -> None:
        """Seal as found: a journal that must not be written again keeps its head."""
        self.recover_idle()
        for name in JOURNALS:
            if name not in self.suspect:
                owed = self.synced[name]
                assert owed <= self.writer(name).position.seq <= len(self.lists[name])
            self.close(name)
        run = self.new_run()
        self.seal(run)
        self.night += 1
        self.begin()
        return None

    def new_run(self) -> Path:
        """Make the run folder of this night."""
        run = VAR / "runs" / f"night{self.night}"
        ensure_folder(run, files=self.files)
        write_hashed(run / "manifest.json", {"run_id": run.name}, files=self.files)
        return run

    def fork(self, path: str) -> tuple[SimFiles, Node]:
        """Return a copy of the disk as every process sees it, and one of its files."""
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

    def seal(self, run: Path) -> str:
        """Seal and release like the end of a run, however far an earlier attempt came."""
        root = seal_run(QUEUES, run, files=self.files)
        release(QUEUES, run, files=self.files)
        return root

    def compare_sealed(self, run: Path) -> None:
        """Check that every list is under the seal."""
        for name in JOURNALS:
            folder, stem = place_of(name, run / "queues")
            reader = JournalReader(folder, stem, files=self.files)
            ids: list[int] = []
            while batch := reader.read(100):
                ids += [decode(line.json)["id"] for line in batch]
            reader.close()
            assert ids == self.lists[name]


def place_of(name: str, queues: Path) -> tuple[Path, str]:
    """Return folder and stem of a journal."""
    if name in PARTS:
        return queues / "health" / "parts", name
    if name == "health":
        return queues / "health", "inbox"
    stem = {"fills": "inbox", "acks": "acks", "letters": "deadletter"}[name]
    return queues / "fills", stem
