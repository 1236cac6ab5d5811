"""Tapes for tests: lines, files, and Kraken's recordings as tapes."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from minibot.exchanges.tapes.check import Check
from minibot.exchanges.tapes.lines import Line, tape_lines, written
from minibot.exchanges.tapes.tape import DEMO_TAPE
from tests.exchanges.kraken.kraken_recordings import v1_frames, v2_frames

NS = 10**9
# A monotonic clock of arbitrary origin, used as wall-clock time.
L2_ORIGIN_NS = 1_785_552_833 * NS


def demo(count: int = 4000) -> list[Line]:
    """Return the first lines of the shipped tape."""
    lines = []
    for line in tape_lines(DEMO_TAPE):
        if line.number > count:
            break
        lines.append(line)
    return lines


def put(path: Path, lines: Iterable[Line]) -> Path:
    """Write lines as a gzip tape."""
    with gzip.open(path, "wb", 1) as file:
        for line in lines:
            file.write(written(line.at_ns, line.message))
    return path


def checked(lines: Iterable[Line]) -> Check:
    """Return the check of renumbered lines."""
    check = Check()
    check.read(line._replace(number=at) for at, line in enumerate(lines, 1))
    return check


def kraken_v2(shared_data: Path, name: str) -> Iterator[Line]:
    """Yield a version 2 recording as a tape."""
    frames = v2_frames(shared_data, name)
    first = None
    for number, frame in enumerate(frames, 1):
        first = frame.at_ns if first is None else first
        yield Line(number, L2_ORIGIN_NS + frame.at_ns - first, frame.data)


def kraken_v1(shared_data: Path) -> Iterator[Line]:
    """Yield the version 1 recording as a tape."""
    for number, frame in enumerate(v1_frames(shared_data), 1):
        yield Line(number, frame.at_ns, frame.data)
