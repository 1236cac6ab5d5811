"""Cut through the journals of a run that goes on: all their heads at one moment.

Heads are read twice, one after the other, until no head has moved between the two readings. Then
all of them stood so at the moment between: the cut is a state in which the machine could have died.
Whatever was published before a line of the cut is in the cut too: its cause, its line in a part,
the lines that it acks. Everything below a head never changes, so it is copied afterwards at
leisure. No lock is taken and no process waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from minibot.kernel import segments as names
from minibot.kernel.codes import QUEUE_CHAIN, QUEUE_MISSING
from minibot.kernel.errors import IntegrityError, Transient
from minibot.kernel.files import CHUNK_BYTES, FILES, Access, Files, io_stop, read_range
from minibot.kernel.head import Head, HeadReader
from minibot.kernel.line import chain_over, verified
from minibot.kernel.position import Position
from minibot.kernel.reader import OPEN_PAUSE_S, OPEN_TRIES
from minibot.kernel.segments import Segment

COMPONENT: Final = "kernel.cut"
HEAD_SUFFIX: Final = ".head"
# A reading takes a fifth of a millisecond, a publication waits for its sync: some tries suffice.
TRIES_MAX: Final = 5_000
TRY_PAUSE_S: Final = 0.001


class JournalCut(NamedTuple):
    """Journal up to its head at the moment of the cut.

    Attributes:
        folder: The folder of its files.
        stem: Its name there.
        head: How far it was published.
        segments: Its sealed segments below the head.
    """

    folder: Path
    stem: str
    head: Head
    segments: Sequence[Segment]


def journals_below(root: Path, files: Files = FILES) -> list[tuple[Path, str]]:
    """Return folder and stem of every journal with a head in a folder and below it, in order."""
    found: list[tuple[Path, str]] = []
    for name in files.listdir(root):
        path = root / name
        status = files.stat(path)
        if status is not None and status.is_folder:
            found += journals_below(path, files)
        elif name.endswith(HEAD_SUFFIX):
            found.append((root, name.removesuffix(HEAD_SUFFIX)))
    return found


def cut_below(root: Path, *, files: Files = FILES) -> list[JournalCut]:
    """Return every journal below a folder at one moment; one whose head is gone is not among them.

    Raises:
        Transient: The heads never held still for one moment; try again later.
        IntegrityError: A head or a list of segments is damaged.
        RunStop: The system's error.
    """
    journals = journals_below(root, files)
    cuts = cut_of(journals, files=files)
    if journals_below(root, files) != journals:
        raise Transient(f"{root}: a journal was made or removed at the moment of the cut")
    return cuts


def cut_of(journals: Sequence[tuple[Path, str]], *, files: Files = FILES) -> list[JournalCut]:
    """Return the named journals, by folder and stem, at one moment; see `cut_below`."""
    readers = [
        HeadReader(folder / f"{stem}{HEAD_SUFFIX}", files=files) for folder, stem in journals
    ]
    try:
        heads = _standing(readers, files)
    finally:
        for reader in readers:
            reader.close()
    cuts = []
    for (folder, stem), head in zip(journals, heads, strict=True):
        if head is None:
            raise Transient(f"{folder / stem}: its head is gone")
        # The list is durable before the head enters a segment, so these entries are there.
        segments = names.load_segments(folder, stem, files=files)[: head.segment - 1]
        if len(segments) < head.segment - 1:
            raise _error(QUEUE_MISSING, folder / names.manifest_name(stem), "lacks a segment")
        cuts.append(JournalCut(folder, stem, head, segments))
    return cuts


def _standing(readers: Sequence[HeadReader], files: Files) -> list[Head | None]:
    """Return all heads of one moment: two readings between which none has moved."""
    before = [reader.look() for reader in readers]
    for _ in range(TRIES_MAX):
        heads = [reader.look() for reader in readers]
        if heads == before:
            return heads
        before = heads
        files.sleep(TRY_PAUSE_S)
    raise Transient("the queues kept changing; nothing was copied")


def unsealed_chunks(cut: JournalCut, *, files: Files = FILES) -> Iterator[bytes]:
    """Yield the head's segment up to the cut, in pieces; every line is verified.

    A line that goes over the end of a piece is verified with the next piece, the chain at the end.

    Raises:
        IntegrityError: A line is damaged, or the lines do not lead to the head.
        RunStop: The system's error.
    """
    start = names.end_of(cut.segments)
    if not cut.head.offset:
        _require(cut, start)
        return
    fd, path = _open(cut, files)
    try:
        at, rest = start, b""
        while at.offset + len(rest) < cut.head.offset:
            begin = at.offset + len(rest)
            data = read_range(files, fd, min(CHUNK_BYTES, cut.head.offset - begin), begin, path)
            if not data:
                raise _error(QUEUE_CHAIN, path, "ends below the head", at=at)
            rest += data
            end = rest.rfind(b"\n") + 1
            found = verified(rest, end)
            if found is None:
                raise _error(QUEUE_CHAIN, path, "a line is damaged", at=at)
            if found.digests:
                chain = chain_over(at.chain, found.digests)
                at = Position(at.seq + len(found.jsons), at.segment, at.offset + end, chain)
            rest = rest[end:]
            yield data
        _require(cut, at)
    finally:
        files.close(fd)


def _require(cut: JournalCut, at: Position) -> None:
    if at != cut.head.position:
        path = cut.folder / names.active_name(cut.stem)
        raise _error(QUEUE_CHAIN, path, "the lines lead elsewhere than the head", at=at)


def _open(cut: JournalCut, files: Files) -> tuple[int, Path]:
    """Open the segment of the head, which a rotation may have renamed since."""
    sealed = cut.folder / names.sealed_name(cut.stem, cut.head.segment)
    active = cut.folder / names.active_name(cut.stem)
    for _ in range(OPEN_TRIES):
        path = active if files.stat(sealed) is None else sealed
        try:
            fd = files.open(path, Access.READ)
        except FileNotFoundError:
            files.sleep(OPEN_PAUSE_S)
            continue
        except OSError as error:
            raise io_stop(error, "open", path) from error
        if path == sealed or files.stat(sealed) is None:
            return fd, path
        files.close(fd)
    raise _error(QUEUE_MISSING, active, "the segment is missing")


def _error(code: str, path: Path, why: str, at: Position | None = None) -> IntegrityError:
    place = 0 if at is None else at.offset
    return IntegrityError(COMPONENT, code, why, file=str(path), offset=place)
