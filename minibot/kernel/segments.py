"""Names of a journal's files, and the manifest of its sealed segments.

A sealed segment never changes. Its manifest entry holds its length, number of lines, sha256, and
the chain before and after it, so that segments can be neither left out nor exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from minibot.kernel.canonical import JsonObject
from minibot.kernel.codes import QUEUE_MANIFEST
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import FILES, Access, Files, io_stop, read_hashed, write_hashed
from minibot.kernel.line import CHAIN_START
from minibot.kernel.position import Position

COMPONENT: Final = "kernel.segments"
MAIN_STEM: Final = "inbox"


class Segment(NamedTuple):
    """One sealed segment, as in its manifest entry.

    Attributes:
        name: File name, in the folder of the active segment.
        size: Bytes.
        lines: Number of lines.
        sha256: Hash of the whole file, hex.
        chain_before: Hash chain at its beginning.
        chain_after: Hash chain at its end.
    """

    name: str
    size: int
    lines: int
    sha256: str
    chain_before: bytes
    chain_after: bytes


def active_name(stem: str) -> str:
    """Return the name of the file to which the writer appends."""
    return f"{stem}.jsonl"


def sealed_name(stem: str, number: int) -> str:
    """Return the file name of a sealed segment."""
    return f"{stem}.{number:06d}.jsonl"


def manifest_name(stem: str) -> str:
    """Return the file name of the manifest of sealed segments."""
    return "segments.json" if stem == MAIN_STEM else f"{stem}.segments.json"


def end_of(segments: Sequence[Segment]) -> Position:
    """Return the position after the sealed segments: the beginning of the active one."""
    lines = sum(segment.lines for segment in segments)
    chain = segments[-1].chain_after if segments else CHAIN_START
    return Position(lines, len(segments) + 1, 0, chain)


def load_segments(folder: Path, stem: str, *, files: Files = FILES) -> list[Segment]:
    """Return the sealed segments of a journal, oldest first; empty if none was ever sealed.

    Raises:
        IntegrityError: QUEUE_MANIFEST, the manifest is damaged or contradicts itself.
    """
    path = folder / manifest_name(stem)
    if files.stat(path) is None:
        return []
    try:
        obj = read_hashed(path, files=files)
    except IntegrityError as error:
        raise IntegrityError(COMPONENT, QUEUE_MANIFEST, error.detail) from error
    return parse_segments(obj, stem, str(path))


def open_segment(folder: Path, stem: str, number: int, *, files: Files) -> tuple[int, Path] | None:
    """Open a segment under its present name, sealed or active; return descriptor and path.

    A writer renames the active segment once, when it seals it. If no sealed name exists after the
    active one was opened, the right file is open.

    Returns:
        None if the segment has neither name.

    Raises:
        RunStop: The disk refuses, or the path is a link or no regular file.
    """
    sealed, active = folder / sealed_name(stem, number), folder / active_name(stem)
    for path in (sealed, active, sealed):
        fd = open_or_none(path, files=files)
        if fd is None:
            continue
        if path == sealed or files.stat(sealed) is None:
            return fd, path
        files.close(fd)
    return None


def open_or_none(path: Path, *, files: Files) -> int | None:
    """Return a descriptor of a file to read; None if the file does not exist.

    Raises:
        RunStop: The disk refuses, or the path is a link or no regular file.
    """
    try:
        return files.open(path, Access.READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise io_stop(error, "open", path) from error


def parse_segments(obj: JsonObject, stem: str, path: str) -> list[Segment]:
    """Return the segments that a manifest lists; each has to continue the one before it.

    Raises:
        IntegrityError: QUEUE_MANIFEST, an entry is malformed or does not continue the one before.
    """
    segments: list[Segment] = []
    try:
        for entry in obj["segments"]:
            segments.append(_segment(entry))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"entry {len(segments) + 1} is malformed: {error!r}") from error
    chain = CHAIN_START
    for number, segment in enumerate(segments, 1):
        if segment.name != sealed_name(stem, number):
            raise _damaged(path, "segments", sealed_name(stem, number), segment.name)
        if segment.chain_before != chain:
            raise _damaged(path, segment.name, chain.hex(), segment.chain_before.hex())
        chain = segment.chain_after
    return segments


def write_segments(
    folder: Path, stem: str, segments: Sequence[Segment], *, files: Files = FILES
) -> None:
    """Write the manifest; durable on return."""
    write_hashed(folder / manifest_name(stem), manifest_json(stem, segments), files=files)


def manifest_json(stem: str, segments: Sequence[Segment]) -> JsonObject:
    """Return the content of the manifest."""
    entries = [
        {
            "name": segment.name,
            "size": segment.size,
            "lines": segment.lines,
            "sha256": segment.sha256,
            "chain_before": segment.chain_before.hex(),
            "chain_after": segment.chain_after.hex(),
        }
        for segment in segments
    ]
    return {"schema": "minibot.segments", "v": 1, "stem": stem, "segments": entries}


def _segment(entry: Any) -> Segment:
    segment = Segment(
        name=entry["name"],
        size=entry["size"],
        lines=entry["lines"],
        sha256=entry["sha256"],
        chain_before=bytes.fromhex(entry["chain_before"]),
        chain_after=bytes.fromhex(entry["chain_after"]),
    )
    for count in (segment.size, segment.lines):
        if type(count) is not int or count < 1:
            raise ValueError("size and lines are positive integers")
    if len(segment.chain_before) != 32 or len(segment.chain_after) != 32:
        raise ValueError("a chain has 32 bytes")
    return segment


def _damaged(path: str, why: str, expected: str = "", found: str = "") -> IntegrityError:
    return IntegrityError(COMPONENT, QUEUE_MANIFEST, why, file=path, expected=expected, found=found)
