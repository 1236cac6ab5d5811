"""Forgery of a run's files by someone who owns the disk and has minibot's own code.

The caller gives a copy, which is written in place. Each step makes one more part consistent again:
the lines' own hashes (`edit`), then chain, head, list of segments and cursors (`write_chain`), then
the seal (`reseal`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibot.kernel import canonical
from minibot.kernel.files import (
    FILES,
    hash_file,
    hashed_bytes,
    read_hashed,
    read_whole,
    write_atomic,
)
from minibot.kernel.head import head_path, newest, pack_slot, read_head_bytes, slots
from minibot.kernel.line import JSON_AT, chain_next, decode_line, encode_line
from minibot.kernel.position import ZERO, Position
from minibot.kernel.queue import CURSOR_FILE, INBOX, READERS
from minibot.kernel.seal import SEAL_FILE, SUMS_FILE, measure, root_of, sums_of
from minibot.kernel.segments import Segment, active_name, load_segments, write_segments

FILE_BYTES_MAX = 1 << 30


@dataclass
class Forgery:
    """Forgery of one journal of a copied run, taken apart into its lines.

    Attributes:
        folder: The queue's folder.
        stem: Name of the journal in it, such as `inbox`.
        files: Closed segments, then the file that was still written.
        lines: Lines of each of the files, each with its newline; changed in memory until a write.
    """

    folder: Path
    stem: str
    files: list[Path]
    lines: list[list[bytes]]

    @classmethod
    def of(cls, run_dir: Path, queue: str, stem: str = INBOX) -> Forgery:
        """Return a journal of a queue, by default its inbox, taken apart into lines.

        Raises:
            FileNotFoundError: The queue has no such journal.
        """
        folder = run_dir / "queues" / queue
        sealed = [folder / segment.name for segment in load_segments(folder, stem)]
        files = [*sealed, folder / active_name(stem)]
        lines = [
            read_whole(path, size_max=FILE_BYTES_MAX).splitlines(keepends=True) for path in files
        ]
        return cls(folder, stem, files, lines)

    @property
    def count(self) -> int:
        """Number of lines in the journal."""
        return sum(map(len, self.lines))

    def place(self, number: int) -> tuple[int, int]:
        """Return the index of a line's file and its index there; lines count from 1 over all files.

        Raises:
            IndexError: The journal has fewer lines.
        """
        for at, lines in enumerate(self.lines):
            if number <= len(lines):
                return at, number - 1
            number -= len(lines)
        raise IndexError(number)

    def edit(self, number: int, change: Callable[[dict[str, Any]], None], *, rehash: bool) -> None:
        """Change a line's event in memory, with its hash recomputed or left as it was."""
        at, index = self.place(number)
        line = self.lines[at][index]
        event = canonical.decode(line[JSON_AT:-1])
        change(event)
        json = canonical.encode(event)
        self.lines[at][index] = encode_line(json) if rehash else line[:JSON_AT] + json + b"\n"

    def write(self) -> None:
        """Write the lines and nothing else; chain, head and seal no longer fit changed lines."""
        for path, lines in zip(self.files, self.lines, strict=True):
            write_atomic(path, b"".join(lines), is_durable=False)

    def write_chain(self) -> None:
        """Write lines, list of segments, head and cursors so that they fit each other; no seal.

        Cursors are written only for an inbox. A cursor keeps its number of lines, at most all.
        """
        self.write()
        positions = [ZERO]
        segments: list[Segment] = []
        for number, (path, lines) in enumerate(zip(self.files, self.lines, strict=True), 1):
            before = positions[-1]
            at = Position(before.seq, number, 0, before.chain)
            for line in lines:
                chain = chain_next(at.chain, decode_line(line)[0])
                at = Position(at.seq + 1, number, at.offset + len(line), chain)
                positions.append(at)
            if path != self.files[-1]:
                size, digest = hash_file(path)
                entry = (path.name, size, len(lines), digest, before.chain, at.chain)
                segments.append(Segment(*entry))
        if segments:
            write_segments(self.folder, self.stem, segments)
        end = positions[-1]._replace(segment=len(self.files))
        self._write_head(end if self.lines[-1] else end._replace(offset=0))
        if self.stem == INBOX:
            self._write_cursors(positions)

    def _write_head(self, end: Position) -> None:
        path = head_path(self.folder, self.stem)
        raw = read_head_bytes(path)
        known = newest(raw)
        sequence = known.sequence if known else 2
        # Two slots say how much is published. Some queues have two more, which say how much is
        # synced; their sequence is the number of the machine's boot and stays.
        data = b"".join(
            pack_slot(end, mark.sequence if mark and number > 1 else sequence - number)
            for number, mark in enumerate(slots(raw))
        )
        write_atomic(path, data, is_durable=False)

    def _write_cursors(self, positions: Sequence[Position]) -> None:
        readers = self.folder / READERS
        paths = [self.folder / CURSOR_FILE]
        if readers.is_dir():
            paths += [readers / name / CURSOR_FILE for name in FILES.listdir(readers)]
        for path in paths:
            if not path.exists():
                continue
            obj = read_hashed(path)
            position = positions[min(obj["seq"], len(positions) - 1)]
            fields = {
                "seq": position.seq,
                "segment": position.segment,
                "offset": position.offset,
                "chain": position.chain.hex(),
            }
            _put_hashed(path, {**obj, **fields})


def forge_manifest(run_dir: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a run's manifest and recompute its own hash."""
    path = run_dir / "manifest.json"
    obj = read_hashed(path)
    change(obj)
    _put_hashed(path, obj)


def reseal(run_dir: Path) -> str:
    """Make seal and sums fit the files that the seal lists; return the new root.

    A signature of the seal is left, and no longer fits.
    """
    seal = read_hashed(run_dir / SEAL_FILE)
    for group in ("files", "run_files"):
        seal[group] = {name: measure(run_dir / name, FILES) for name in seal[group]}
    seal["root"] = root_of(seal)
    write_atomic(run_dir / SUMS_FILE, sums_of(seal), is_durable=False)
    _put_hashed(run_dir / SEAL_FILE, seal)
    return str(seal["root"])


def _put_hashed(path: Path, obj: dict[str, Any]) -> None:
    write_atomic(path, hashed_bytes(obj, obj["generation"]), is_durable=False)
