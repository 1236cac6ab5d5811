"""Journal reader: below the head only, each line verified before it is returned."""

from __future__ import annotations

import os
from itertools import accumulate, count
from pathlib import Path
from typing import Final, NoReturn

from minibot.kernel import segments as names
from minibot.kernel.codes import (
    CURSOR_AHEAD,
    CURSOR_CORRUPT,
    QUEUE_CHAIN,
    QUEUE_CORRUPT,
    QUEUE_MANIFEST,
    QUEUE_MISSING,
    QUEUE_TRUNCATED,
)
from minibot.kernel.errors import IntegrityError, InvariantError
from minibot.kernel.files import FILES, Access, Files, StrPath, io_stop, read_range
from minibot.kernel.head import Head, HeadReader, head_path
from minibot.kernel.line import (
    NO_END,
    LineError,
    chains_over,
    decode_line,
    verified,
)
from minibot.kernel.position import ZERO, Line, Position
from minibot.kernel.scan import walk
from minibot.kernel.segments import Segment

COMPONENT: Final = "kernel.reader"
CHUNK_BYTES: Final = 256 * 1024
PREVIEW_BYTES: Final = 64 * 1024

# A rename between two looks hides a segment from one of them at most.
OPEN_TRIES: Final = 5
OPEN_PAUSE_S: Final = 0.005


class JournalReader:
    """Reader of a journal's published lines, in order, across its segments.

    A line is returned after its hash has been checked and the chain has been carried over it;
    when the reader reaches the head, its chain has to equal the head's. New lines are verified up
    to the head, or for one chunk, before the first of them is returned.

    A journal that does not exist yet counts as empty, as readers start before writers.

    Args:
        folder: The queue's folder.
        stem: `inbox`, `acks`, `deadletter`, or a role's name under `parts/`.
        start: Where to begin, a position that was noted after a line; by default the first line.
        files: The seam to the system.
    """

    def __init__(
        self, folder: StrPath, stem: str, start: Position = ZERO, *, files: Files = FILES
    ) -> None:
        self.folder = Path(folder)
        self.stem = stem
        self._files = files
        self._head = HeadReader(head_path(self.folder, stem), files=files)
        self._fd = -1
        self._path = self.folder / names.active_name(stem)
        self._segments: list[Segment] = []
        self._lines_before = 0  # Number of lines before segment `_lines_before_of`.
        self._lines_before_of = ZERO.segment
        self._at = start  # Lines are verified up to here.
        self._before = start  # Start of `_jsons`.
        self._segment = start.segment  # Their segment.
        self._jsons: list[bytes] = []
        self._lines: list[Line] = []  # Of these, once one is asked for.
        self._offsets: list[int] = []  # Start of each line, and the end of the last.
        self._chains: list[bytes] = []  # Chain after each line.
        self._next = 0
        self._is_checked = False

    # --- what callers use ---------------------------------------------------------------------

    def read(self, lines_max: int) -> list[Line]:
        """Return the next lines, at most `lines_max`; none when nothing new is published.

        Lines come from one chunk: fewer than `lines_max` do not mean that no more are published.

        Raises:
            IntegrityError: QUEUE_CORRUPT, QUEUE_CHAIN, QUEUE_TRUNCATED, QUEUE_MISSING,
                QUEUE_MANIFEST, CURSOR_AHEAD or CURSOR_CORRUPT, with the place.
        """
        lines = self.look(lines_max)
        self.take(len(lines))
        return lines

    def look(self, lines_max: int) -> list[Line]:
        """Return the next lines like `read`, without stepping over them; see `take`."""
        if self._next >= len(self._jsons) and not self._fill():
            return []
        if not self._lines:
            first_seq = self._before.seq + 1
            self._lines = list(map(Line, count(first_seq), self._offsets, self._jsons))
        return self._lines[self._next : self._next + lines_max]

    def look_jsons(self, lines_max: int) -> list[bytes]:
        """Return the JSON of the lines that `look` would return, without making these."""
        if self._next >= len(self._jsons) and not self._fill():
            return []
        return self._jsons[self._next : self._next + lines_max]

    def take(self, lines: int) -> None:
        """Step over lines that `look` or `look_jsons` has returned."""
        self._next += lines

    def preview(self) -> list[bytes]:
        """Return the JSON of whole lines after the last one verified, published or not.

        Empty while no segment is open, as before the first read, and if any of these lines is
        damaged; of `PREVIEW_BYTES` at most.

        A crash or a failed sync may still take back lines above the head, so nothing may follow
        from them. They serve to decode while the writer syncs; the result is used only if `look`
        brings exactly the same bytes. The reader stays where it is. A torn end of the last line,
        damage or an unreadable file is not an error here; below the head it will be one.
        """
        if self._fd < 0:
            return []
        try:
            data = self._files.pread(self._fd, PREVIEW_BYTES, self._at.offset)
        except OSError:
            return []
        found = verified(data, data.rfind(b"\n") + 1)
        return [] if found is None else found.jsons

    @property
    def position(self) -> Position:
        """Position of the reader: after the last line taken."""
        taken = self._next
        if not taken:
            return self._before
        return Position(
            self._before.seq + taken,
            self._segment,
            self._offsets[taken],
            self._chains[taken - 1],
        )

    def head(self) -> Head:
        """Return the head: how far the journal is published now."""
        head = self._head.look()
        return head if head is not None else Head(ZERO.segment, 0, 0, ZERO.chain, 0)

    def backlog(self) -> int:
        """Return how many published lines have not been taken yet."""
        return max(0, self.head().lines - self._before.seq - self._next)

    def close(self) -> None:
        """Close the descriptors."""
        self._head.close()
        self._close_segment()

    def __del__(self) -> None:
        # Windows keeps the name of a removed file for as long as it is open anywhere.
        self.close()

    # --- getting more -------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Verify the next chunk of lines; False if there is none below the head."""
        head = self._head.look()
        if head is None:
            if self._at.seq:
                self._fail(QUEUE_MISSING, "no head", f"{self._at.seq} lines or more", "nothing")
            return False
        at = self._at
        if head.lines == at.seq and head.segment == at.segment and self._is_checked:
            return False
        self._check_start(head)
        while True:
            end = self._end(head)
            if self._at.offset < end:
                self._verify(end, head)
                return True
            self._check_end(head, self._at)
            if self._at.segment >= head.segment:
                return False
            self._close_segment()
            self._at = self._at._replace(segment=self._at.segment + 1, offset=0)

    def _check_start(self, head: Head) -> None:
        """Refuse a start beyond the head, or one that is not the beginning of a line."""
        at = self._at
        if head[:2] < at[1:3] or head.lines < at.seq:  # Segment and offset, or number of lines.
            self._fail(
                CURSOR_AHEAD,
                "the reader is beyond the head",
                f"at most line {head.lines}, segment {head.segment}, offset {head.offset}",
                f"line {at.seq}, segment {at.segment}, offset {at.offset}",
            )
        if self._is_checked:
            return
        if at.segment < 1 or at.offset < 0 or at.seq < 0 or len(at.chain) != len(ZERO.chain):
            self._fail(CURSOR_CORRUPT, "no position", "segment 1 or more", f"{at}")
        if at.offset > self._end(head):
            end = self._end(head)
            self._fail(CURSOR_AHEAD, "behind the segment's end", f"{end}", f"{at.offset}")
        if at.offset:
            self._open_segment(head)
            before = read_range(self._files, self._fd, 1, at.offset - 1, self._path)
            if before == b"":
                self._fail(QUEUE_TRUNCATED, "ends before the reader", f"{at.offset}", "less")
            if before != b"\n":
                self._fail(CURSOR_CORRUPT, "not at a line's beginning", r"\n", repr(before)[2:-1])
        self._is_checked = True

    def _end(self, head: Head) -> int:
        """Return the offset up to which the current segment may be read."""
        at = self._at
        if at.segment != self._lines_before_of:
            self._lines_before = self._sealed_lines(at.segment - 1)
            self._lines_before_of = at.segment
        return head.offset if at.segment == head.segment else self._sealed(at.segment).size

    def _check_end(self, head: Head, at: Position) -> None:
        """Compare a position with the head, or with the manifest at the end of a sealed segment."""
        if at.segment == head.segment:
            chain, lines = head.chain, head.lines
        else:
            chain = self._sealed(at.segment).chain_after
            lines = self._sealed_lines(at.segment)
        if at.chain != chain:
            self._fail(QUEUE_CHAIN, "the lines lead elsewhere", chain.hex(), at.chain.hex())
        if at.seq != lines:
            self._fail(CURSOR_CORRUPT, "lines were counted otherwise", str(lines), str(at.seq))

    def _verify(self, end: int, head: Head) -> None:
        """Verify the next chunk of whole lines; compare the chain at the end of the range."""
        start = self._at.offset
        size = CHUNK_BYTES
        self._open_segment(head)
        while True:
            size = min(size, end - start)
            data = read_range(self._files, self._fd, size, start, self._path)
            cut = data.rfind(b"\n") + 1
            if len(data) < size or (start + size == end and cut < size):
                self._misfit(end, head)
            if cut:
                break
            size *= 2
        self._accept(data, cut, start, end, head)

    def _misfit(self, end: int, head: Head) -> NoReturn:
        """Raise the reason why the lines do not end at the place in head or manifest."""
        at = self._at
        is_active = at.segment == head.segment
        lines = head.lines if is_active else self._sealed_lines(at.segment)
        size = self._files.fstat(self._fd).size
        for step in walk(self._files, self._fd, self._path, at, size):
            if step.error is not None:
                if step.offset < end and not (step.error.why == NO_END and size < end):
                    self._damaged(at.seq + step.line, step.offset, step.error)
                break
            if step.end >= end or step.after.seq >= lines:
                place = f"line {step.after.seq} ends at {step.end}"
                self._fail(QUEUE_CHAIN, "not what was published", f"line {lines} at {end}", place)
        self._fail(QUEUE_TRUNCATED, "ends below the head", f"{end} bytes", f"{size}")

    def _accept(self, data: bytes, cut: int, start: int, end: int, head: Head) -> None:
        """Verify the whole lines before `cut`; they are returned once their chain is right."""
        seq, segment, _, chain = self._at
        found = verified(data, cut)
        if found is None:
            self._find_damage(data[:cut], start)
        lines, jsons, digests = found
        chains = chains_over(chain, digests)
        offsets = list(accumulate(map(len, lines), initial=start))
        after = Position(seq + len(jsons), segment, offsets[-1], chains[-1])
        if after.offset == end:
            self._check_end(head, after)
        self._before, self._segment = self.position, segment
        self._jsons, self._lines = jsons, []
        self._offsets, self._chains, self._next = offsets, chains, 0
        self._at = after

    def _find_damage(self, data: bytes, start: int) -> NoReturn:
        """Raise for the first damaged line, judged by the strict decoder."""
        seq = self._at.seq
        offset = start
        for raw in _lines(data):
            seq += 1
            try:
                decode_line(raw)
            except LineError as error:
                self._damaged(seq, offset, error)
            offset += len(raw)
        raise InvariantError(COMPONENT, QUEUE_CORRUPT, f"{self._path}: two readings disagree")

    def _damaged(self, seq: int, offset: int, error: LineError) -> NoReturn:
        is_active = self._path.name == names.active_name(self.stem)
        raise IntegrityError(
            COMPONENT,
            QUEUE_CORRUPT if is_active else QUEUE_MANIFEST,
            error.why,
            file=os.fspath(self._path),
            line=seq - self._lines_before,
            offset=offset,
            expected=error.expected,
            found=error.found,
        ) from error

    # --- segments -----------------------------------------------------------------------------

    def _sealed(self, number: int) -> Segment:
        if len(self._segments) < number:
            self._segments = names.load_segments(self.folder, self.stem, files=self._files)
        if not 1 <= number <= len(self._segments):
            self._fail(QUEUE_MANIFEST, "a segment is not listed", f"segment {number}", "no entry")
        return self._segments[number - 1]

    def _sealed_lines(self, number: int) -> int:
        """Return the total number of lines in the first `number` segments."""
        if number:
            self._sealed(number)
        return sum(segment.lines for segment in self._segments[:number])

    def _open_segment(self, head: Head) -> None:
        """Open the current segment under its present name.

        A segment keeps its number and changes its name once. If no sealed name exists after the
        active one was opened, the right file is open.
        """
        if self._fd >= 0:
            return
        number = self._at.segment
        sealed = self.folder / names.sealed_name(self.stem, number)
        active = self.folder / names.active_name(self.stem)
        for left in range(OPEN_TRIES, -1, -1):
            if self._files.stat(sealed) is not None:
                if self._open(sealed):
                    self._check_sealed(number)
                    return
            elif number < head.segment:
                self._fail(QUEUE_MANIFEST, "a sealed segment is missing", sealed.name, "nothing")
            elif self._open(active):
                if self._files.stat(sealed) is None:
                    return
                self._close_segment()
                continue
            if left:
                self._files.sleep(OPEN_PAUSE_S)
        self._fail(QUEUE_MISSING, "the segment is missing", sealed.name, "nothing")

    def _check_sealed(self, number: int) -> None:
        """Compare the size of a sealed segment with its manifest entry, once that is written."""
        if len(self._segments) < number:
            self._segments = names.load_segments(self.folder, self.stem, files=self._files)
        if len(self._segments) < number:
            return
        wanted = self._segments[number - 1].size
        found = self._files.fstat(self._fd).size
        if wanted != found:
            self._fail(QUEUE_MANIFEST, "sealed segment changed", f"{wanted}", f"{found}")

    def _open(self, path: Path) -> bool:
        try:
            self._fd = self._files.open(path, Access.READ)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise io_stop(error, "open", path) from error
        self._path = path
        return True

    def _close_segment(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._files.close(fd)

    def _fail(self, code: str, why: str, expected: str, found: str) -> NoReturn:
        raise IntegrityError(
            COMPONENT,
            code,
            why,
            file=os.fspath(self._path),
            line=max(0, self._at.seq - self._lines_before),
            offset=self._at.offset,
            expected=expected,
            found=found,
        )


def _lines(data: bytes) -> list[bytes]:
    return [raw + b"\n" for raw in data.split(b"\n")[:-1]]
