"""Intact prefix of a journal: the lines before its first damaged one.

A journal's reader verifies a chunk before it returns the chunk's first line, so one wrong byte
hides all good lines of the chunk. That is right for a role, which stops. A person who asks what
happened before needs those lines. The hash of each is checked; that their chain leads to the head
cannot be checked if a later line is damaged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TypeVar

from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import FILES, Access
from minibot.kernel.journal import JournalReader, Line, Position
from minibot.kernel.line import LineError
from minibot.kernel.position import ZERO
from minibot.kernel.queue import INBOX, PARTS, queue_folder
from minibot.kernel.scan import Step, walk
from minibot.kernel.segments import load_segments

Found = TypeVar("Found")


class IntactReader(JournalReader):
    """Journal reader that also returns the lines before a damaged one in the same chunk.

    At the damaged line every further look raises. A chunk whose chain is wrong, or that ends below
    the head, gives no line.
    """

    _damage: IntegrityError | None = None
    _kept: deque[Step]  # Lines of the damaged chunk not taken yet; they begin at `_behind`.
    _behind: Position

    def look(self, lines_max: int) -> list[Line]:
        """Return the next lines like the base class, and also those before a damaged line."""
        return self._intact(super().look, lines_max, _line)

    def look_jsons(self, lines_max: int) -> list[bytes]:
        """Return the JSON of the lines that `look` would return; raise whenever that raises."""
        return self._intact(super().look_jsons, lines_max, _json)

    def _intact(
        self,
        look: Callable[[int], list[Found]],
        lines_max: int,
        found_of: Callable[[Step], Found],
    ) -> list[Found]:
        if self._damage is None:
            try:
                return look(lines_max)
            except IntegrityError as error:
                self._behind = super().position
                self._kept = deque(self._before_damage(error))
                self._damage = error
        if not self._kept:
            raise self._damage
        return list(map(found_of, islice(self._kept, lines_max)))

    def take(self, lines: int) -> None:
        """Advance past lines that `look` has returned."""
        if self._damage is None:
            super().take(lines)
            return
        for _ in range(lines):
            self._behind = self._kept.popleft().after

    @property
    def position(self) -> Position:
        """Position of the reader, after the last line that it returned."""
        return super().position if self._damage is None else self._behind

    def _before_damage(self, error: IntegrityError) -> list[Step]:
        """Return the bytes between the last returned line and a damaged one.

        They are empty if no single line is at fault: if the chain is wrong, any of the lines may
        have been exchanged.
        """
        if not isinstance(error.__cause__, LineError):
            return []
        path, at = Path(error.file), self._behind
        names = [segment.name for segment in load_segments(self.folder, self.stem)]
        segment = names.index(path.name) + 1 if path.name in names else len(names) + 1
        offset = at.offset if at.segment == segment else 0
        start = Position(at.seq, segment, offset, at.chain)
        fd = FILES.open(path, Access.READ)
        try:
            return list(walk(FILES, fd, path, start, error.offset))
        finally:
            FILES.close(fd)


def open_intact(
    root: Path, name: str, start: Position = ZERO, part: str | None = None
) -> IntactReader:
    """Return a reader of a queue's inbox, or of one role's part of it, up to the first damage."""
    folder = queue_folder(root, name)
    return IntactReader(folder / PARTS if part else folder, part or INBOX, start)


def _line(step: Step) -> Line:
    return Line(step.after.seq, step.offset, step.json)


def _json(step: Step) -> bytes:
    return step.json
