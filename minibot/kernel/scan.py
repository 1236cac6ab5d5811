"""Walk over the lines of one file in bounded memory, each judged by itself and by the chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from minibot.kernel.files import Files, StrPath, io_stop
from minibot.kernel.line import LineError, chain_next, decode_line
from minibot.kernel.position import Position

CHUNK_BYTES: Final = 1 << 20
LINE_BYTES_CAP: Final = 16 << 20
"""The most that a profile may allow a line, so that every line that was written is read whole.

Without a bound a file of NUL bytes would have to fit in memory.
"""


class Step(NamedTuple):
    """One line of a walk: its place and JSON, or the error if it is damaged.

    Attributes:
        line: Number of the line in this walk, from 1; in its file, if the walk begins there.
        offset: Offset of its first byte.
        after: Position after it; the position before it if it is damaged.
        json: The event's JSON; empty if the line is damaged.
        error: The fault; None for a whole line.
        end: Offset after its last byte.
    """

    line: int
    offset: int
    after: Position
    json: bytes
    error: LineError | None
    end: int


def raw_lines(
    files: Files, fd: int, path: StrPath, start: int, end: int
) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line with its newline) between two offsets.

    The last line lacks its newline if the range ends within it. A line over `LINE_BYTES_CAP` comes
    in pieces, all but the last without newline.
    """
    rest = b""
    at = start
    while at < end:
        try:
            chunk = files.pread(fd, min(CHUNK_BYTES, end - at), at)
        except OSError as error:
            raise io_stop(error, "read", path) from error
        if not chunk:
            break
        offset = at - len(rest)
        at += len(chunk)
        pieces = _split(rest + chunk)
        rest = pieces.pop()
        for piece in pieces:
            yield offset, piece
            offset += len(piece)
        if len(rest) >= LINE_BYTES_CAP:
            yield offset, rest
            rest = b""
    if rest:
        yield at - len(rest), rest


def _split(data: bytes) -> list[bytes]:
    """Split at newlines only; the last piece has no newline and may be empty."""
    pieces = data.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + pieces[-1:]


def walk(files: Files, fd: int, path: StrPath, start: Position, end: int) -> Iterator[Step]:
    """Yield the lines of a segment up to an offset, ending with the first damaged one.

    Args:
        files: The seam to the system.
        fd: The open segment.
        path: Its name, for errors.
        start: Where the walk begins; the lines have to continue its chain.
        end: Where it ends, usually the size of the file.
    """
    seq, segment, _, chain = start
    for number, (offset, raw) in enumerate(raw_lines(files, fd, path, start.offset, end), 1):
        try:
            digest, json = decode_line(raw)
        except LineError as error:
            before = Position(seq, segment, offset, chain)
            yield Step(number, offset, before, b"", error, offset + len(raw))
            return
        seq += 1
        chain = chain_next(chain, digest)
        after = Position(seq, segment, offset + len(raw), chain)
        yield Step(number, offset, after, json, None, after.offset)
