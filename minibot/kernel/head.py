"""The head of a journal: how far it may be read, in two slots of 64 bytes.

Each publication overwrites the older slot by one positional write, so that a torn write leaves the
other slot. A slot is big-endian: segment u32, offset u64, lines u64, chain 32 bytes, sequence u64,
crc32 u32.

A journal that publishes before it syncs has two more slots of the same layout after them. They
tell how far its data has been synced, and hold a number of the boot instead of the sequence.
Lines that were published but not synced can be lost only by a power loss.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from minibot.kernel.codes import QUEUE_CORRUPT
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import FILES, Access, Files, io_stop, sync, write_all, write_atomic
from minibot.kernel.position import Position

COMPONENT: Final = "kernel.head"
_SLOT: Final = struct.Struct(">IQQ32sQI")
_BODY: Final = struct.Struct(">IQQ32sQ")
SLOT_BYTES: Final = _SLOT.size
PUBLISHED_BYTES: Final = 2 * SLOT_BYTES
ALL_BYTES: Final = 4 * SLOT_BYTES

# A reader may meet a slot in the middle of its write; the next look sees it whole.
LOOKS_MAX: Final = 20
LOOK_PAUSE_S: Final = 0.001


class Head(NamedTuple):
    """Head of a journal, as one slot holds it.

    Attributes:
        segment: Number of the active segment, from 1.
        offset: Bytes of that segment that may be read.
        lines: Lines over all segments.
        chain: Hash chain over all of them.
        sequence: Counts publications; the higher of two slots is the newer. In a mark of a sync:
            `boot_number`.
    """

    segment: int
    offset: int
    lines: int
    chain: bytes
    sequence: int

    @property
    def position(self) -> Position:
        """The head as a position."""
        return Position(self.lines, self.segment, self.offset, self.chain)


def head_path(folder: Path, stem: str) -> Path:
    """Return the path of a journal's head."""
    return folder / f"{stem}.head"


def pack_slot(position: Position, sequence: int) -> bytes:
    """Return the 64 bytes of a slot."""
    seq, segment, offset, chain = position
    body = _BODY.pack(segment, offset, seq, chain, sequence)
    return body + crc32(body).to_bytes(4, "big")


def unpack_slot(raw: bytes) -> Head | None:
    """Return the head in a slot; None if it is torn, damaged or was never written."""
    if len(raw) != SLOT_BYTES or crc32(raw[:-4]).to_bytes(4, "big") != raw[-4:]:
        return None
    segment, offset, lines, chain, sequence, _ = _SLOT.unpack(raw)
    return Head(segment, offset, lines, chain, sequence) if segment else None


def slots(raw: bytes) -> list[Head | None]:
    """Return the head in each slot of a head file, two or four of them."""
    count = 4 if len(raw) > PUBLISHED_BYTES else 2
    return [unpack_slot(raw[at * SLOT_BYTES : (at + 1) * SLOT_BYTES]) for at in range(count)]


def newest(raw: bytes) -> Head | None:
    """Return the current head: of two good slots the one published last."""
    first = unpack_slot(raw[:SLOT_BYTES])
    second = unpack_slot(raw[SLOT_BYTES:PUBLISHED_BYTES])
    if first is None or second is None:
        return first or second
    return first if first.sequence > second.sequence else second


def synced(raw: bytes) -> Head | None:
    """Return how far a lazily synced journal is known to be on disk; None for other journals."""
    marks = [mark for mark in slots(raw)[2:] if mark is not None]
    return max(marks, key=lambda mark: mark.lines, default=None)


def boot_number(files: Files) -> int:
    """Return a number for this boot of the machine, above 0; 0 where the system gives none."""
    boot_id = files.boot_id()
    return int.from_bytes(sha256(boot_id.encode()).digest()[:8], "big") | 1 if boot_id else 0


def create_head(path: Path, position: Position, *, files: Files = FILES) -> None:
    """Make the head of a new journal; its writer makes it durable before the first line."""
    write_atomic(path, head_bytes(position), is_durable=False, files=files)


def head_bytes(position: Position) -> bytes:
    """Return the content of a head that was published once."""
    return pack_slot(position, 2) + pack_slot(position, 1)


class HeadWriter:
    """The writer's side of a head; one for each journal, under the writer's lock."""

    def __init__(self, path: Path, is_lazy: bool, *, files: Files = FILES) -> None:
        self.path = path
        self._files = files
        self._is_lazy = is_lazy
        self._boot = boot_number(files) if is_lazy else 0
        self._sequence = 0
        self._marks = 0
        self._fd = -1

    def open(self, position: Position) -> None:
        """Publish the recovered position durably, whatever was published before.

        Raises:
            RunStop: The disk refuses.
        """
        old = read_head_bytes(self.path, files=self._files)
        known = [head.sequence for head in slots(old)[:2] if head]
        self._sequence = max(known, default=0) + 2
        # Both slots are written, so that a bad one is whole again; the first takes even numbers.
        newer, older = (pack_slot(position, self._sequence - back) for back in (0, 1))
        data = newer + older if self._sequence % 2 == 0 else older + newer
        if self._is_lazy:
            data += pack_slot(position, self._boot) * 2
        if not old and self._files.stat(self.path) is None:
            write_atomic(self.path, data, files=self._files)
            self._fd = self._open()
            return
        # An existing file is written in place, so that watchers keep the right one. The slot that
        # holds its newest head comes second: a reader that meets it torn finds `position`, no older
        # head, in the other.
        self._fd = self._open()
        starts = list(range(0, len(data), SLOT_BYTES))
        starts[:2] = starts[1::-1] if self._sequence % 2 == 0 else starts[:2]
        for at in starts:
            write_all(self._files, self._fd, data[at : at + SLOT_BYTES], at, self.path)
        if len(old) > len(data):
            # Marks say that published lines may be unsynced: they go once these slots are durable.
            self.sync()
        try:
            self._files.truncate(self._fd, len(data))
        except OSError as error:
            raise io_stop(error, "cut", self.path) from error
        self.sync()

    @property
    def identity(self) -> tuple[int, int]:
        """The identity of the open file."""
        return self._files.fstat(self._fd).identity

    def publish(self, position: Position) -> None:
        """Let readers read up to a position."""
        sequence = self._sequence = self._sequence + 1
        slot = pack_slot(position, sequence)
        write_all(self._files, self._fd, slot, SLOT_BYTES * (sequence & 1), self.path)

    def mark_synced(self, position: Position) -> None:
        """Record that the data up to a position is on disk."""
        self._marks += 1
        at = PUBLISHED_BYTES + SLOT_BYTES * (self._marks & 1)
        write_all(self._files, self._fd, pack_slot(position, self._boot), at, self.path)

    def sync(self) -> None:
        """Sync the head: on return it is durable."""
        sync(lambda: self._files.sync(self._fd), self.path)

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._files.close(fd)

    def _open(self) -> int:
        try:
            return self._files.open(self.path, Access.WRITE)
        except OSError as error:
            raise io_stop(error, "open", self.path) from error


def read_head_bytes(path: Path, *, files: Files = FILES) -> bytes:
    """Return the slots of a head file, not what follows them; none where it does not exist."""
    try:
        fd = files.open(path, Access.READ)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise io_stop(error, "open", path) from error
    try:
        return files.pread(fd, ALL_BYTES, 0)
    except OSError as error:
        raise io_stop(error, "read", path) from error
    finally:
        files.close(fd)


class HeadReader:
    """Reader's side of a head: one positional read of the two published slots for each look."""

    def __init__(self, path: Path, *, files: Files = FILES) -> None:
        self.path = path
        self._files = files
        self._fd = -1
        self._raw = b""
        self._head: Head | None = None

    def look(self) -> Head | None:
        """Return the head now; None while the journal has none yet.

        Raises:
            IntegrityError: QUEUE_CORRUPT, both slots are bad.
        """
        if self._fd < 0 and not self._open():
            return None
        for left in range(LOOKS_MAX, -1, -1):
            try:
                raw = self._files.pread(self._fd, PUBLISHED_BYTES, 0)
            except OSError as error:
                raise io_stop(error, "read", self.path) from error
            if raw == self._raw:
                return self._head
            head = newest(raw)
            if head is not None:
                self._raw, self._head = raw, head
                return head
            if left:
                self._files.sleep(LOOK_PAUSE_S)
        raise IntegrityError(
            COMPONENT, QUEUE_CORRUPT, "both slots of the head are bad", file=str(self.path)
        )

    def close(self) -> None:
        """Close the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._files.close(fd)

    def _open(self) -> bool:
        try:
            self._fd = self._files.open(self.path, Access.READ)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise io_stop(error, "open", self.path) from error
        return True
