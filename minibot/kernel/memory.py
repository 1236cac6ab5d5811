"""In-memory queue with the same methods and refusals as one on disk, for tests and replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from minibot.kernel.codes import (
    CURSOR_AHEAD,
    CURSOR_CORRUPT,
    IO_EIO,
    QUEUE_CHAIN,
    QUEUE_LOCKED,
    SCHEMA_INVALID,
)
from minibot.kernel.errors import ContractError, IntegrityError, InvariantError, RunStop
from minibot.kernel.head import Head
from minibot.kernel.line import LineError, chain_next, decode_line
from minibot.kernel.position import ZERO, Line, Position

COMPONENT: Final = "kernel.memory"


class MemoryQueue:
    """Lines of one queue in memory; one writer, any number of readers.

    Args:
        name: For messages.
        line_bytes_max: Longer lines are refused.
    """

    def __init__(self, name: str = "memory", *, line_bytes_max: int = 256 * 1024) -> None:
        self.name = name
        self.line_bytes_max = line_bytes_max
        self.lines: list[Line] = []
        self.afters: list[Position] = [ZERO]
        self.has_writer = False

    def open_writer(self) -> MemoryWriter:
        """Return the writer.

        Raises:
            RunStop: QUEUE_LOCKED, it has a writer already.
        """
        if self.has_writer:
            raise RunStop(COMPONENT, QUEUE_LOCKED, f"{self.name} has a writer already")
        self.has_writer = True
        return MemoryWriter(self)

    def open_reader(self, start: Position = ZERO) -> MemoryReader:
        """Return a reader that begins at a position."""
        return MemoryReader(self, start)


class MemoryWriter:
    """Writer of a queue in memory."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue: MemoryQueue | None = queue

    @property
    def position(self) -> Position:
        """The end of the queue."""
        return self._open().afters[-1]

    def append(self, lines: Sequence[bytes]) -> int:
        """Append whole lines, all or none; return the number of the first.

        Raises:
            ContractError: SCHEMA_INVALID, a line is longer than allowed.
            InvariantError: A line is malformed, or the writer is closed.
        """
        queue = self._open()
        decoded: list[Line] = []
        afters: list[Position] = []
        seq, segment, offset, chain = queue.afters[-1]
        first = seq + 1
        for line in lines:
            if len(line) > queue.line_bytes_max:
                raise ContractError(
                    COMPONENT,
                    SCHEMA_INVALID,
                    f"{queue.name}: a line of {len(line)} bytes, at most {queue.line_bytes_max}",
                )
            try:
                digest, json = decode_line(line)
            except LineError as error:
                raise InvariantError(COMPONENT, SCHEMA_INVALID, f"no line: {error}") from error
            seq += 1
            decoded.append(Line(seq, offset, json))
            offset += len(line)
            chain = chain_next(chain, digest)
            afters.append(Position(seq, segment, offset, chain))
        queue.lines += decoded
        queue.afters += afters
        return first

    def sync(self) -> None:
        """Do nothing: memory is as durable as it gets."""
        self._open()

    def close(self) -> None:
        """Close the writer, so that another may be opened."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.has_writer = False

    def _open(self) -> MemoryQueue:
        if self._queue is None:
            raise InvariantError(COMPONENT, IO_EIO, "the writer is closed")
        return self._queue


class MemoryReader:
    """Reader of a queue in memory, in order."""

    def __init__(self, queue: MemoryQueue, start: Position) -> None:
        self._queue = queue
        self._at = start

    @property
    def position(self) -> Position:
        """Position of the reader."""
        return self._at

    def read(self, lines_max: int) -> list[Line]:
        """Return the next lines, at most `lines_max`.

        Raises:
            IntegrityError: CURSOR_AHEAD, QUEUE_CHAIN or CURSOR_CORRUPT, the start is not a position
                of this queue.
        """
        queue, at = self._queue, self._at
        if at.seq > queue.afters[-1].seq:
            self._fail(CURSOR_AHEAD, f"at most line {queue.afters[-1].seq}", f"line {at.seq}")
        wanted = queue.afters[at.seq]
        if at.chain != wanted.chain:
            self._fail(QUEUE_CHAIN, wanted.chain.hex(), at.chain.hex())
        if at != wanted:
            self._fail(CURSOR_CORRUPT, str(wanted), str(at))
        lines = queue.lines[at.seq : at.seq + lines_max]
        self._at = queue.afters[at.seq + len(lines)]
        return lines

    def head(self) -> Head:
        """Return the head: the end of the queue."""
        end = self._queue.afters[-1]
        return Head(end.segment, end.offset, end.seq, end.chain, end.seq)

    def backlog(self) -> int:
        """Return the number of lines not yet read."""
        return max(0, self._queue.afters[-1].seq - self._at.seq)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _fail(self, code: str, expected: str, found: str) -> NoReturn:
        raise IntegrityError(
            COMPONENT,
            code,
            "the reader stands at a place that is not in this queue",
            file=self._queue.name,
            expected=expected,
            found=found,
        )
