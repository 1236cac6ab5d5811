"""Proof, line by line, that an inbox with several writers is the merge of their parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from minibot.kernel import segments as names
from minibot.kernel.audit import Finding
from minibot.kernel.codes import QUEUE_CHAIN
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import Files
from minibot.kernel.head import Head, HeadReader, head_path
from minibot.kernel.scan import raw_lines
from minibot.kernel.segments import Segment


def merge_findings(
    inbox: Path, parts: Path, *, name: Callable[[Path], str], is_final: bool, files: Files
) -> Iterator[Finding]:
    """Yield the first line of the inbox that is not the next line of any part, and end there.

    Without such a line, in a finished run, yield the next line of each part that has one left.
    Lines carry ids, so no two parts have the same one.

    In a live queue only published lines count. The inbox is measured before its parts, since a
    line is published in its part before it is copied.

    Args:
        inbox: The queue's folder.
        parts: The queue's folder of parts.
        name: Returns the name of a path in findings.
        is_final: The queue has no writer any more.
        files: The seam to the system.
    """
    merged = _lines(inbox, names.MAIN_STEM, is_final, files)
    stems = sorted(
        file.removesuffix(".head") for file in files.listdir(parts) if file.endswith(".head")
    )
    sources = {stem: _lines(parts, stem, is_final, files) for stem in stems}
    waiting = {stem: next(source, None) for stem, source in sources.items()}
    for file, number, offset, raw in merged:
        for stem, line in waiting.items():
            if line is not None and line[3] == raw:
                waiting[stem] = next(sources[stem], None)
                break
        else:
            expected = "the next line of " + (" or ".join(stems) or "a part")
            yield Finding(name(file), number, offset, QUEUE_CHAIN, expected, _shown(raw))
            return
    if is_final:
        for line in waiting.values():
            if line is not None:
                yield Finding(
                    name(line[0]),
                    line[1],
                    line[2],
                    QUEUE_CHAIN,
                    "in the inbox too",
                    _shown(line[3]),
                )


def _lines(
    folder: Path, stem: str, is_final: bool, files: Files
) -> Iterator[tuple[Path, int, int, bytes]]:
    """Return (file, line number, offset, raw line) over all segments of a journal.

    The journal is measured at once: its head is read before this returns, its lines later.
    """
    head = None if is_final else _head(folder, stem, files)
    return _all_lines(folder, stem, files) if head is None else _below(head, folder, stem, files)


def _head(folder: Path, stem: str, files: Files) -> Head | None:
    """Return how far a journal is published; None if its head cannot be read."""
    reader = HeadReader(head_path(folder, stem), files=files)
    try:
        return reader.look()
    except IntegrityError:
        return None  # The journal's own audit reports it.
    finally:
        reader.close()


def _all_lines(folder: Path, stem: str, files: Files) -> Iterator[tuple[Path, int, int, bytes]]:
    """Yield every line on disk, published or not."""
    sealed = [entry.name for entry in _listed(folder, stem, files)]
    for file in [*sealed, names.active_name(stem)]:
        yield from _file_lines(folder / file, files)


def _below(
    head: Head, folder: Path, stem: str, files: Files
) -> Iterator[tuple[Path, int, int, bytes]]:
    """Yield the lines below a head, whose writer may have gone on since."""
    for segment in _listed(folder, stem, files)[: head.segment - 1]:
        yield from _file_lines(folder / segment.name, files)
    opened = names.open_segment(folder, stem, head.segment, files=files)
    if opened is not None:
        yield from _read(*opened, head.offset, files)


def _listed(folder: Path, stem: str, files: Files) -> list[Segment]:
    try:
        return names.load_segments(folder, stem, files=files)
    except IntegrityError:
        return []  # The journal's own audit reports it.


def _file_lines(path: Path, files: Files) -> Iterator[tuple[Path, int, int, bytes]]:
    fd = names.open_or_none(path, files=files)
    if fd is not None:
        yield from _read(fd, path, None, files)


def _read(
    fd: int, path: Path, end: int | None, files: Files
) -> Iterator[tuple[Path, int, int, bytes]]:
    """Yield the lines of an open file, all or up to an offset, and close it."""
    try:
        size = files.fstat(fd).size if end is None else end
        for number, (offset, raw) in enumerate(raw_lines(files, fd, path, 0, size), 1):
            yield path, number, offset, raw
    finally:
        files.close(fd)


def _shown(raw: bytes) -> str:
    return repr(raw[:120])[2:-1]
