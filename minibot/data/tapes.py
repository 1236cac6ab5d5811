"""Tape files: the parts of a folder in order, and their check against the list of sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from minibot.data.recording import SUMS
from minibot.exchanges.tapes.lines import Line, tape_lines
from minibot.kernel.errors import Refusal
from minibot.kernel.files import hash_file


def parts_of(paths: Sequence[Path]) -> list[Path]:
    """Return the tape files of paths, folders expanded, in the order of their first times.

    Raises:
        Refusal: A path does not exist, a folder holds no closed part, or a file is no tape or has
            no line.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("tape-*.gz")) if path.is_dir() else [path]
        if not inside:
            raise Refusal(
                f"{path}: no closed part of a recording.", "Record first, or name a .gz.part."
            )
        found += inside
    return sorted(dict.fromkeys(found), key=_first_ns)


def _first_ns(path: Path) -> int:
    first = next(tape_lines(path), None)
    if first is None:
        raise Refusal(f"{path}: a tape without a line.", "Name another recording.")
    return first.at_ns


def chained(paths: Sequence[Path]) -> Iterator[Line]:
    """Yield the lines of several parts as one tape."""
    for path in paths:
        yield from tape_lines(path)


def changed(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return the files that differ from the list of sums of their folder, and why.

    A file of `paths` differs by its bytes. A listed file that is not in the folder any more is
    returned even if it is not among `paths`. A file that is not listed is not compared.
    """
    wrong = []
    for folder in dict.fromkeys(path.parent for path in paths):
        sums = folder / SUMS
        if not sums.exists():
            continue
        rows = (line.partition("  ") for line in sums.read_text().splitlines())
        listed = {name: expected for expected, _, name in rows}
        given = {path.name: path for path in paths if path.parent == folder}
        for name, expected in listed.items():
            if not (folder / name).exists():
                wrong.append((folder / name, "is listed and not there"))
            elif name in given and hash_file(folder / name)[1] != expected:
                wrong.append((folder / name, f"sha256 is not {expected[:12]}..., as listed"))
    return wrong
