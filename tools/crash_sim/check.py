"""Recovery of an image with the real kernel, and the judgement of its result.

A journal is judged on its own files, because recovery of one touches no file of another. A
recovered journal must hold a prefix of the lines given to its writer. Everything cut must lie in
quarantine. A second recovery must change nothing, readers must find a whole file, and the next line
must fit. The recovery itself is crashed too, at every call.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from minibot.kernel import segments as names
from minibot.kernel.errors import MinibotError
from minibot.kernel.files import read_hashed
from minibot.kernel.head import head_path, newest
from minibot.kernel.line import JSON_AT
from minibot.kernel.position import ZERO
from minibot.kernel.recovery import QUARANTINE
from tools.crash_sim.disk import SimFiles
from tools.crash_sim.images import NEVER, Choice, Image, image_of, images, whole
from tools.crash_sim.plan import CURSOR, Journal, Program
from tools.crash_sim.world import line_of, open_cursor, open_reader, open_writer

NESTED_EXTRA: Final = 1
NEXT_LINE: Final = line_of("next", 0, 30)


class Broken(Exception):
    """An invariant does not hold."""


# Any exception of the kernel over an image is a finding, expected or not.
WRONG: Final = (Broken, MinibotError, OSError, ValueError, LookupError, TypeError)


class Outcome(NamedTuple):
    """Outcome of recovering one part of an image.

    Attributes:
        lines: Lines of a journal; the generation of a small file; lines before a cursor.
        finding: The broken invariant; empty as a rule.
    """

    lines: int
    finding: str = ""


class Share(NamedTuple):
    """Part of an image on which one journal or file depends.

    Attributes:
        entries: Entries of the part, their contents numbered from zero.
        contents: Index of each content in the whole image.
    """

    entries: tuple[tuple[str, int], ...]
    contents: tuple[int, ...]


def beginnings_of(journal: Journal) -> tuple[str, ...]:
    """Return the path prefixes of a journal's files, those of its floor cursor included."""
    folder, stem = str(journal.folder), journal.stem
    mine = [
        os.sep.join((folder, stem + ".")),
        os.sep.join((folder, QUARANTINE, stem + ".")),
        os.sep.join((folder, names.manifest_name(stem))),
    ]
    return (*mine, str(CURSOR)) if journal.has_floor else tuple(mine)


def share_of(entries: tuple[tuple[str, int], ...], beginnings: tuple[str, ...]) -> Share:
    """Return the share of all paths with these prefixes; folders belong to every share."""
    taken = [(path, at) for path, at in entries if at == NEVER or path.startswith(beginnings)]
    used = tuple(dict.fromkeys(at for _, at in taken if at != NEVER))
    numbers = {at: number for number, at in enumerate(used)}
    return Share(tuple((path, numbers.get(at, NEVER)) for path, at in taken), used)


def part_of(image: Image, share: Share) -> Image:
    """Return a share as an image of its own."""
    return Image(share.entries, tuple(image.contents[at] for at in share.contents), image.boot)


def judge_journal(
    image: Image,
    journal: Journal,
    lines: list[bytes],
    program: Program,
    *,
    has_readers: bool = False,
) -> Outcome:
    """Return the result of recovering a journal's part of an image.

    Args:
        image: The journal's part of the image.
        journal: The journal to recover.
        lines: The lines that were given to its writer.
        program: The program whose crash rules hold.
        has_readers: True if only the writer died and readers go on before recovery.
    """
    files = image.mount(program.page_bytes, is_ordered=program.is_ordered, is_tracking=False)
    is_lazy = opens_lazily(image, journal)
    try:
        if has_readers:
            _read_on(files, journal, lines)
        count = _recover(files, image, journal, lines, is_lazy)
        _again(files, journal, lines, count, is_lazy)
    except WRONG as error:
        return Outcome(NEVER, f"{type(error).__name__}: {error}")
    return Outcome(count)


def opens_lazily(image: Image, journal: Journal) -> bool:
    """Return whether the next writer syncs lazily: lazy journals are recovered in both ways."""
    return journal.is_lazy and crc32(b"".join(image.contents)) % 2 == 0


def recovery_crashes(
    image: Image, journal: Journal, program: Program, rng: random.Random, extra: int = NESTED_EXTRA
) -> Iterator[tuple[int, Choice, Image]]:
    """Yield every state that a crash of a recovery may leave, before each of its calls.

    Yields:
        The number of the call, the choice, and its image.
    """
    files = image.mount(program.page_bytes, is_ordered=program.is_ordered, is_tracking=True)
    found: list[tuple[int, Choice, Image]] = []
    call = 0

    def before(_call: str, _path: str) -> None:
        nonlocal call
        call += 1
        for choice, inner in images(files, program.rules, rng, extra):
            found.append((call, choice, inner))

    files.before = before
    writer = open_writer(files, journal, is_lazy=opens_lazily(image, journal))
    files.before = None
    writer.close()
    yield from found


def recovery_crashed_at(
    image: Image, journal: Journal, program: Program, at: int, choice: Choice
) -> Image:
    """Return one state after a crash of a recovery: before its call `at`, with one choice.

    Raises:
        ValueError: The recovery has fewer calls.
    """
    files = image.mount(program.page_bytes, is_ordered=program.is_ordered, is_tracking=True)
    found: list[Image] = []
    call = 0

    def before(_call: str, _path: str) -> None:
        nonlocal call
        call += 1
        if call == at:
            found.append(image_of(files, choice))

    files.before = before
    writer = open_writer(files, journal, is_lazy=opens_lazily(image, journal))
    files.before = None
    writer.close()
    if not found:
        raise ValueError(f"the recovery has {call} calls, the recipe names call {at}")
    return found[0]


def _read_on(files: SimFiles, journal: Journal, lines: list[bytes]) -> None:
    """Read on beside a writer that died: every published line must be readable."""
    head = newest(files.read(head_path(journal.folder, journal.stem)))
    if head is None:
        return
    if _read_all(files, journal) != [line[JSON_AT:-1] for line in lines[: head.lines]]:
        raise Broken(f"I1, I3: {journal.name}: readers of a dead writer see something else")


def _read_all(files: SimFiles, journal: Journal) -> list[bytes]:
    reader = open_reader(files, journal, ZERO)
    read: list[bytes] = []
    while batch := reader.read(1000):
        read += [line.json for line in batch]
    reader.close()
    return read


def _recover(
    files: SimFiles, image: Image, journal: Journal, lines: list[bytes], is_lazy: bool
) -> int:
    """Recover once: the result is a prefix of the lines, and the rest is set aside."""
    writer = open_writer(files, journal, is_lazy=is_lazy)
    count = writer.position.seq
    if content_of(files, journal) != b"".join(lines[:count]):
        raise Broken(f"I1, I3: {journal.name}: the {count} lines kept are not what was written")
    cut = writer.recovered.cut_bytes
    if cut:
        was = image.read(str(journal.folder / names.active_name(journal.stem)))
        if writer.position.offset + cut != len(was):
            raise Broken(f"I10: {journal.name}: not cut where it was said")
        if was[-cut:] not in _quarantined(files, journal):
            raise Broken(f"I10: {journal.name}: {cut} bytes were cut and not set aside")
    writer.close()
    return count


def _again(
    files: SimFiles, journal: Journal, lines: list[bytes], count: int, is_lazy: bool
) -> None:
    """Recover a second time, which may change nothing; append one line; read all lines."""
    before = _stable(files)
    writer = open_writer(files, journal, is_lazy=is_lazy)
    if writer.recovered[:2] != (0, 0) or _stable(files) != before:
        raise Broken(f"{journal.name}: the second recovery changed something")
    if writer.append([NEXT_LINE]) != count + 1:
        raise Broken(f"{journal.name}: the next line has another number")
    if _read_all(files, journal) != [line[JSON_AT:-1] for line in (*lines[:count], NEXT_LINE)]:
        raise Broken(f"I1, I3: {journal.name}: readers see something else")
    writer.close()


def judge_file(image: Image, path: Path, program: Program) -> Outcome:
    """Return the generation of a small file, or the lines before a cursor; 0 where none stands."""
    files = image.mount(program.page_bytes, is_ordered=program.is_ordered, is_tracking=False)
    try:
        if path == CURSOR:
            position = open_cursor(files).load()
            return Outcome(0 if position is None else position.seq)
        is_there = files.stat(path) is not None
        return Outcome(int(read_hashed(path, files=files)["generation"]) if is_there else 0)
    except WRONG as error:
        return Outcome(NEVER, f"{type(error).__name__}: {error}")


def content_of(files: SimFiles, journal: Journal, folder: Path | None = None) -> bytes:
    """Return all lines of a journal from its files, segment after segment."""
    place = folder or journal.folder
    sealed = names.load_segments(place, journal.stem, files=files)
    stand = [segment.name for segment in sealed] + [names.active_name(journal.stem)]
    return b"".join(files.read(place / name) for name in stand)


def _quarantined(files: SimFiles, journal: Journal) -> list[bytes]:
    folder = journal.folder / QUARANTINE
    if files.stat(folder) is None:
        return []
    return [files.read(folder / name) for name in files.listdir(folder)]


def _stable(files: SimFiles) -> list[tuple[str, bytes]]:
    """Return all files but the heads, whose publication count may change."""
    image = whole(files)
    return [
        (path, b"" if at == NEVER else image.contents[at])
        for path, at in image.entries
        if not path.endswith(".head")
    ]
