"""Proof, line by line, that an inbox with several writers is the merge of their parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from minibot.kernel import segments as names
from minibot.kernel.audit import Finding
from minibot.kernel.codes import QUEUE_CHAIN
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import Access, Files
from minibot.kernel.scan import raw_lines


def merge_findings(
    inbox: Path, parts: Path, *, name: Callable[[Path], str], is_final: bool, files: Files
) -> Iterator[Finding]:
    """Yield the first line of the inbox that is not the next line of any part, and end there.

    Without such a line, in a finished run, yield the next line of each part that has one left.
    Lines carry ids, so no two parts have the same one.

    Args:
        inbox: The queue's folder.
        parts: The queue's folder of parts.
        name: Returns the name of a path in findings.
        is_final: The queue has no writer any more.
        files: The seam to the system.
    """
    stems = sorted(
        file.removesuffix(".head") for file in files.listdir(parts) if file.endswith(".head")
    )
    sources = {stem: _lines(parts, stem, files) for stem in stems}
    waiting = {stem: next(source, None) for stem, source in sources.items()}
    for file, number, offset, raw in _lines(inbox, names.MAIN_STEM, files):
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


def _lines(folder: Path, stem: str, files: Files) -> Iterator[tuple[Path, int, int, bytes]]:
    """Yield (file, line number, offset, raw line) over all segments of a journal."""
    try:
        sealed = [entry.name for entry in names.load_segments(folder, stem, files=files)]
    except IntegrityError:
        sealed = []  # The journal's own audit reports it.
    for file in [*sealed, names.active_name(stem)]:
        path = folder / file
        if files.stat(path) is None:
            continue
        fd = files.open(path, Access.READ)
        try:
            size = files.fstat(fd).size
            for number, (offset, raw) in enumerate(raw_lines(files, fd, path, 0, size), 1):
                yield path, number, offset, raw
        finally:
            files.close(fd)


def _shown(raw: bytes) -> str:
    return repr(raw[:120])[2:-1]
