"""Audit of one journal from its files alone: every line, the chain, head, manifest and cursors.

It collects every finding with its place, repairs nothing, and needs bounded memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from minibot.kernel import canonical
from minibot.kernel import segments as names
from minibot.kernel.codes import (
    CURSOR_AHEAD,
    CURSOR_CORRUPT,
    QUEUE_CHAIN,
    QUEUE_CORRUPT,
    QUEUE_FOREIGN_WRITE,
    QUEUE_MANIFEST,
    QUEUE_MISSING,
    QUEUE_TRUNCATED,
    SCHEMA_INVALID,
)
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import Access, Files, hash_file, io_stop
from minibot.kernel.head import SLOT_BYTES, Head, head_path, newest, read_head_bytes, slots
from minibot.kernel.line import LineError, chain_next, decode_line
from minibot.kernel.position import Position
from minibot.kernel.scan import raw_lines
from minibot.kernel.segments import Segment
from minibot.kernel.sweep import Job, Sweeper, Swept

# A live writer changes head and manifest between two looks; a few looks find them in step.
LOOKS_MAX: Final = 50
LOOK_PAUSE_S: Final = 0.01
SEALED: Final = re.compile(r"(?P<stem>.+)\.(?P<number>[0-9]{6})\.jsonl")


class Finding(NamedTuple):
    """Finding: something that is not as it was written.

    Attributes:
        file: Path relative to the folder that is verified.
        line: Line number in that file, from 1; 0 for the file as a whole.
        offset: Byte offset in that file.
        code: Reason code, or one of the seal: SEAL_MISSING, SEAL_MISMATCH, SEAL_EXTRA_FILE,
            SEAL_SIGNATURE.
        expected: What should stand there.
        found: What stands there.
    """

    file: str
    line: int
    offset: int
    code: str
    expected: str
    found: str


def finding_line(finding: Finding) -> str:
    """Return a finding in one line: code, place, the expected and the found value."""
    line = f"{finding.file}:{finding.line} (byte {finding.offset})"
    place = line if finding.line else finding.file
    return f"{finding.code} {place}: expected {finding.expected}, found {finding.found}"


LineCheck = Callable[[str, int, int, bytes], Iterable[Finding]]
"""Judges one whole line further: (file, line, offset, json) -> findings."""


class Mark(NamedTuple):
    """Mark of a cursor: its file, and its position in a journal."""

    file: str
    position: Position


def wanted_of(marks: Sequence[Mark]) -> tuple[int, ...]:
    """Return the seqs of all cursors."""
    return tuple(sorted({mark.position.seq for mark in marks}))


class JournalAudit:
    """Audit of everything in one journal.

    Args:
        folder: The journal's folder.
        stem: Its stem.
        name: Returns the name of a path in findings.
        is_final: The journal has no writer any more, so nothing may stand above the head.
        marks: Cursors in this journal.
        on_line: A further check of each whole line.
        sweeper: Proves files right without a walk over their lines here.
        files: The seam to the system.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        *,
        name: Callable[[Path], str],
        is_final: bool,
        marks: Sequence[Mark] = (),
        on_line: LineCheck | None = None,
        sweeper: Sweeper | None = None,
        files: Files,
    ) -> None:
        self._folder = folder
        self._stem = stem
        self._name = name
        self._is_final = is_final
        self._marks = sorted(marks, key=lambda mark: mark.position.seq)
        self._wanted = wanted_of(marks)
        self._on_line = on_line
        self._files = files
        self._sweeper = sweeper or Sweeper(files=files)
        self._seq = 0
        self._chain: bytes | None = names.end_of(()).chain
        self._begins: dict[int, int] = {}  # Segment that begins after the line of a seq.

    def findings(self) -> Iterator[Finding]:
        """Yield every finding, file by file in the order of the lines."""
        # Listed before head and manifest are read: a writer may seal a segment meanwhile.
        listed = self._files.listdir(self._folder)
        head, segments, notes = self._frame()
        yield from notes
        yield from self._unlisted(listed, head, segments)
        ends = accumulate(segment.lines for segment in segments)
        self._begins = {seq: number for number, seq in enumerate(ends, 2)}
        yield from self._marks_at(0, 1, 0)
        for number, segment in enumerate(segments, 1):
            if self._chain is None:
                self._chain = segment.chain_before
            yield from self._sealed(number, segment)
            self._seq = names.end_of(segments[:number]).seq
        yield from self._active(len(segments) + 1, head)
        for mark in self._marks:
            yield Finding(
                mark.file, 0, 0, CURSOR_AHEAD, f"at most line {self._seq}", _shown(mark.position)
            )

    def quick_findings(self) -> Iterator[Finding]:
        """Yield findings from sizes and the sha256 of sealed segments, without reading lines."""
        head, segments, notes = self._frame()
        yield from notes
        for segment in segments:
            path = self._folder / segment.name
            status = self._files.stat(path)
            if status is None or status.size != segment.size:
                found = "nothing" if status is None else f"{status.size}"
                yield self._whole(path, QUEUE_MANIFEST, f"{segment.size} bytes", found)
                continue
            _, digest = hash_file(path, files=self._files)
            if digest != segment.sha256:
                yield self._whole(path, QUEUE_MANIFEST, segment.sha256, digest)
        opened = self._open_active(len(segments) + 1, head)
        if opened is None:
            yield self._missing()
            return
        fd, path = opened
        try:
            size = self._files.fstat(fd).size
        finally:
            self._files.close(fd)
        if head is not None and head.segment == len(segments) + 1 and size < head.offset:
            yield self._whole(path, QUEUE_TRUNCATED, f"{head.offset} bytes", f"{size}")

    # --- head and manifest --------------------------------------------------------------------

    def _frame(self) -> tuple[Head | None, list[Segment], list[Finding]]:
        """Return head and manifest of one moment, and their findings."""
        notes: list[Finding] = []
        for left in range(LOOKS_MAX, -1, -1):
            notes = []
            raw = read_head_bytes(head_path(self._folder, self._stem), files=self._files)
            head = newest(raw)
            head_file = self._name(head_path(self._folder, self._stem))
            notes += [Finding(head_file, 0, *bad) for bad in _bad_slots(raw)]
            try:
                segments = names.load_segments(self._folder, self._stem, files=self._files)
            except IntegrityError as error:
                file = self._name(self._folder / names.manifest_name(self._stem))
                notes.append(
                    Finding(file, 0, 0, error.reason_code, "a whole manifest", error.detail)
                )
                segments = []
            is_in_step = head is not None and head.segment == len(segments) + 1
            if self._is_final or (is_in_step and not notes) or not left:
                break
            self._files.sleep(LOOK_PAUSE_S if left > 1 else 0)
        if head is not None and head.segment != len(segments) + 1 and not notes:
            notes.append(
                Finding(
                    self._name(self._folder / names.manifest_name(self._stem)),
                    0,
                    0,
                    QUEUE_MANIFEST,
                    f"{head.segment - 1} sealed segments",
                    str(len(segments)),
                )
            )
        return head, segments, notes

    def _unlisted(
        self, listed: Sequence[str], head: Head | None, segments: Sequence[Segment]
    ) -> Iterator[Finding]:
        """Yield sealed segments that the manifest does not list."""
        known = {segment.name for segment in segments}
        for name in listed:
            match = SEALED.fullmatch(name)
            if not match or match["stem"] != self._stem or name in known:
                continue
            if not self._is_being_sealed(name, head):
                yield self._whole(self._folder / name, QUEUE_MANIFEST, "no entry", "a segment")
                at = Position(0, 1, 0, b"")
                yield from self._lines(self._folder / name, at, None, is_chained=False)

    def _is_being_sealed(self, name: str, head: Head | None) -> bool:
        """Return whether a live writer renamed the head's segment before it lists it.

        Such a segment is read as the head's. The writer makes the next active one only once the
        sealed one is listed.
        """
        if self._is_final or head is None or name != names.sealed_name(self._stem, head.segment):
            return False
        if self._files.stat(self._folder / names.active_name(self._stem)) is None:
            return True
        try:
            segments = names.load_segments(self._folder, self._stem, files=self._files)
        except IntegrityError:
            return False
        return name in {segment.name for segment in segments}

    # --- segments -----------------------------------------------------------------------------

    def _sealed(self, number: int, segment: Segment) -> Iterator[Finding]:
        path = self._folder / segment.name
        status = self._files.stat(path)
        if status is not None and self._is_sealed_clean(number, segment, status.size):
            return
        if status is None:
            yield self._whole(path, QUEUE_MANIFEST, f"{segment.size} bytes", "nothing")
            self._chain = None
            return
        if status.size != segment.size:
            yield self._whole(path, QUEUE_MANIFEST, f"{segment.size} bytes", f"{status.size}")
        start = Position(self._seq, number, 0, self._chain or b"")
        digest = sha256()
        yield from self._lines(path, start, None, digest=digest.update)
        if digest.hexdigest() != segment.sha256:
            yield self._whole(path, QUEUE_MANIFEST, segment.sha256, digest.hexdigest())
        lines = self._seq - start.seq
        if lines != segment.lines:
            yield self._whole(path, QUEUE_MANIFEST, f"{segment.lines} lines", f"{lines}")
        if self._chain != segment.chain_after:
            if self._chain is not None:
                yield self._whole(path, QUEUE_CHAIN, segment.chain_after.hex(), self._chain.hex())
            self._chain = segment.chain_after

    def _active(self, number: int, head: Head | None) -> Iterator[Finding]:
        opened = self._open_active(number, head)
        if opened is None:
            yield self._missing()
            return
        fd, path = opened
        try:
            yield from self._opened(fd, path, number, head)
        finally:
            self._files.close(fd)

    def _open_active(self, number: int, head: Head | None) -> tuple[int, Path] | None:
        """Open the active segment; a live writer may just have sealed the one of the head."""
        if head is not None and head.segment == number and not self._is_final:
            return names.open_segment(self._folder, self._stem, number, files=self._files)
        path = self._folder / names.active_name(self._stem)
        fd = names.open_or_none(path, files=self._files)
        return None if fd is None else (fd, path)

    def _missing(self) -> Finding:
        path = self._folder / names.active_name(self._stem)
        return self._whole(path, QUEUE_MISSING, "the active segment", "nothing")

    def _opened(self, fd: int, path: Path, number: int, head: Head | None) -> Iterator[Finding]:
        """Yield the findings of the open active segment."""
        end = size = self._files.fstat(fd).size
        if head is not None and head.segment == number:
            if size < head.offset:
                yield self._whole(path, QUEUE_TRUNCATED, f"{head.offset} bytes", f"{size}")
            elif size > head.offset:
                if self._is_final:
                    yield Finding(
                        self._name(path),
                        0,
                        head.offset,
                        QUEUE_FOREIGN_WRITE,
                        f"{head.offset} bytes",
                        f"{size}",
                    )
                else:
                    end = head.offset
        start = Position(self._seq, number, 0, self._chain or b"")
        if self._is_active_clean(path, start, end, size, head):
            return
        yield from self._read(fd, path, start, end)
        if head is None or head.segment != number or self._chain is None:
            return
        if self._seq != head.lines or self._chain != head.chain:
            yield self._whole(
                path,
                QUEUE_CHAIN,
                f"{head.lines} lines with chain {head.chain.hex()}",
                f"{self._seq} lines with chain {self._chain.hex()}",
            )

    # --- files without a finding --------------------------------------------------------------

    def _is_sealed_clean(self, number: int, segment: Segment, size: int) -> bool:
        """Return whether a sealed segment agrees with its manifest; if so, count it as read."""
        if self._chain != segment.chain_before or size != segment.size:
            return False
        start = Position(self._seq, number, 0, segment.chain_before)
        swept = self._swept(self._folder / segment.name, start, size)
        after = Position(self._seq + segment.lines, number, size, segment.chain_after)
        if swept is None or swept.end != after or swept.sha256 != segment.sha256:
            return False
        return self._is_taken(swept)

    def _is_active_clean(
        self, path: Path, start: Position, end: int, size: int, head: Head | None
    ) -> bool:
        """Return whether the active segment agrees with the head; if so, count it as read."""
        if head is None or self._chain is None or end > size or end != head.offset:
            return False
        swept = self._swept(path, start, end)
        if swept is None or swept.end != head.position:
            return False
        return self._is_taken(swept)

    def _swept(self, path: Path, start: Position, end: int) -> Swept | None:
        if self._on_line is not None:
            return None
        return self._sweeper.swept(Job(str(path), start, end, self._wanted))

    def _is_taken(self, swept: Swept) -> bool:
        """Count a swept file as read, unless a cursor in it does not match its place."""
        end = swept.end
        marks = [mark for mark in self._marks if mark.position.seq <= end.seq]
        for mark in marks:
            place = swept.places.get(mark.position.seq)
            if place is None or place.chain != mark.position.chain:
                return False
            if not self._is_at(mark.position, place.seq, place.segment, place.offset):
                return False
        self._marks = self._marks[len(marks) :]
        self._seq, self._chain = end.seq, end.chain
        return True

    def _lines(
        self,
        path: Path,
        start: Position,
        end: int | None,
        *,
        digest: Callable[[bytes], None] | None = None,
        is_chained: bool = True,
    ) -> Iterator[Finding]:
        """Yield the findings of one file's lines, and carry seq and chain over them."""
        try:
            fd = self._files.open(path, Access.READ)
        except OSError as error:
            raise io_stop(error, "open", path) from error
        try:
            size = self._files.fstat(fd).size if end is None else end
            yield from self._read(fd, path, start, size, digest=digest, is_chained=is_chained)
        finally:
            self._files.close(fd)

    def _read(
        self,
        fd: int,
        path: Path,
        start: Position,
        end: int,
        *,
        digest: Callable[[bytes], None] | None = None,
        is_chained: bool = True,
    ) -> Iterator[Finding]:
        """Yield the findings of an open file's lines, like `_lines`."""
        file = self._name(path)
        for number, (offset, raw) in enumerate(raw_lines(self._files, fd, path, 0, end), 1):
            if digest is not None:
                digest(raw)
            found, line_digest = self._line(file, number, offset, raw)
            yield from found
            if not is_chained:
                continue
            self._seq += 1
            if line_digest is None:
                self._chain = None
            elif self._chain is not None:
                self._chain = chain_next(self._chain, line_digest)
            if self._marks:
                yield from self._marks_at(self._seq, start.segment, offset + len(raw))

    def _line(
        self, file: str, number: int, offset: int, raw: bytes
    ) -> tuple[list[Finding], bytes | None]:
        """Return the findings of one line, and its digest where it is whole."""
        try:
            digest, json = decode_line(raw)
        except LineError as error:
            expected = error.expected or error.why
            return [Finding(file, number, offset, QUEUE_CORRUPT, expected, error.found)], None
        try:
            canonical.decode(json)
        except canonical.CanonicalError as error:
            why = str(error)
            return [Finding(file, number, offset, SCHEMA_INVALID, "canonical JSON", why)], digest
        if self._on_line is None:
            return [], digest
        return list(self._on_line(file, number, offset, json)), digest

    def _marks_at(self, seq: int, segment: int, offset: int) -> Iterator[Finding]:
        """Yield cursors at this line whose chain, segment or offset is not the journal's."""
        while self._marks and self._marks[0].position.seq <= seq:
            mark = self._marks.pop(0)
            place = mark.position
            if self._chain is not None and place.chain != self._chain:
                yield Finding(mark.file, 0, 0, QUEUE_CHAIN, self._chain.hex(), place.chain.hex())
            elif not self._is_at(place, seq, segment, offset):
                wanted = _shown(Position(seq, segment, offset, b""))
                yield Finding(mark.file, 0, 0, CURSOR_CORRUPT, wanted, _shown(place))

    def _is_at(self, place: Position, seq: int, segment: int, offset: int) -> bool:
        """Return whether a cursor is at the end of this line.

        After the last line of a sealed segment it may also be at the beginning of the next.
        A cursor whose line is missing passes, unless it is in this segment.
        """
        if (place.segment, place.offset) in ((segment, offset), (self._begins.get(seq), 0)):
            return True
        return place.seq != seq and place.segment != segment

    def _whole(self, path: Path, code: str, expected: str, found: str) -> Finding:
        return Finding(self._name(path), 0, 0, code, expected, found)


def _bad_slots(raw: bytes) -> Iterator[tuple[int, str, str, str]]:
    """Yield (offset, code, expected, found) of each unreadable slot of a head."""
    for number, slot in enumerate(slots(raw)):
        if slot is None:
            at = number * SLOT_BYTES
            data = raw[at : at + SLOT_BYTES]
            wanted = f"a whole slot, crc32 {crc32(data[:-4]):08x}"
            yield at, QUEUE_CORRUPT, wanted, data[-4:].hex() if data else "nothing"


def _shown(position: Position) -> str:
    return f"line {position.seq}, segment {position.segment}, offset {position.offset}"
