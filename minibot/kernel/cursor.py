"""Cursor file: a reader's position on disk, by which the watchdog judges it while it runs.

A role only saves its own. After a restart its input log says which lines it has taken
(`runtime.restart`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from minibot.kernel.canonical import JsonObject
from minibot.kernel.codes import (
    ATOMICITY_VIOLATION,
    CURSOR_CORRUPT,
    CURSOR_FOREIGN_RUN,
    CURSOR_REGRESSED,
)
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import FILES, Files, StrPath, read_hashed, remove_temps, write_hashed
from minibot.kernel.position import ZERO, Position

COMPONENT: Final = "kernel.cursor"


class Cursor:
    """The cursor file of one reader of one queue, written only by that reader.

    Args:
        path: The file, `cursor.json` in the reader's folder.
        run_id: The run to which it belongs; another run's cursor is a STOP.
        queue: The queue in which it stands.
        reader: The role that reads.
        files: The seam to the system.
    """

    def __init__(
        self, path: StrPath, run_id: str, queue: str, reader: str, *, files: Files = FILES
    ) -> None:
        self.path = Path(path)
        self.run_id = run_id
        self.queue = queue
        self.reader = reader
        self._files = files
        self._saved: Position | None = None
        self._generation = 0
        self._has_removed_temps = False

    def load(self) -> Position | None:
        """Return the saved position; None where none has been saved in this run.

        Raises:
            IntegrityError: ATOMICITY_VIOLATION, the file fails its own sha256; CURSOR_CORRUPT, it
                holds no valid position; CURSOR_FOREIGN_RUN, it is of another run, queue or reader.
        """
        if self._files.stat(self.path) is None:
            return None
        obj = read_hashed(self.path, files=self._files)
        self._generation = obj["generation"]
        if obj.get("run_id") is None and self._position(obj) == ZERO:
            return None  # As `make_queue` left it.
        mine = (self.run_id, self.queue, self.reader)
        found = (obj.get("run_id"), obj.get("queue"), obj.get("reader"))
        if found != mine:
            raise self._error(CURSOR_FOREIGN_RUN, "not this reader's", str(mine), str(found))
        self._saved = self._position(obj)
        return self._saved

    def save(self, position: Position) -> None:
        """Save the reader's position, atomically and durably.

        It is compared with the position that this object loaded or saved last; without one it
        replaces any in the file.

        Raises:
            IntegrityError: CURSOR_REGRESSED, the position would go back; ATOMICITY_VIOLATION, the
                file fails its own sha256 or was written by another process since.
        """
        if self._saved is not None and position.seq < self._saved.seq:
            raise self._error(
                CURSOR_REGRESSED, "would go back", f"{self._saved.seq}", f"{position.seq}"
            )
        if not self._has_removed_temps:
            # Not before: the watchdog reads the cursor of a role that may be about to rename one.
            remove_temps(self.path, files=self._files)
            self._has_removed_temps = True
        if self._files.stat(self.path) is not None:
            generation = read_hashed(self.path, files=self._files)["generation"]
            if self._generation and generation != self._generation:
                raise self._error(
                    ATOMICITY_VIOLATION,
                    "written by somebody else",
                    f"generation {self._generation}",
                    f"{generation}",
                )
            self._generation = generation
        obj = cursor_json(self.run_id, self.queue, self.reader, position)
        self._generation = write_hashed(
            self.path, obj, generation=self._generation + 1, files=self._files
        )
        self._saved = position

    def _position(self, obj: JsonObject) -> Position:
        try:
            return position_of(obj)
        except (KeyError, TypeError, ValueError) as error:
            raise self._error(CURSOR_CORRUPT, f"{error!r}", "", "") from error

    def _error(self, code: str, why: str, expected: str, found: str) -> IntegrityError:
        return IntegrityError(
            COMPONENT, code, why, file=str(self.path), expected=expected, found=found
        )


def position_of(obj: JsonObject) -> Position:
    """Return the position in a cursor's object.

    Raises:
        KeyError, TypeError or ValueError: It holds no position.
    """
    seq, segment, offset = obj["seq"], obj["segment"], obj["offset"]
    for number in (seq, segment, offset):
        if type(number) is not int or number < 0:
            raise ValueError(f"{number!r} is not a count")
    chain = bytes.fromhex(obj["chain"])
    if len(chain) != len(ZERO.chain) or segment < 1:
        raise ValueError("no chain of 32 bytes, or no segment")
    if (seq == 0) != (chain == ZERO.chain):
        raise ValueError("a chain that belongs to another line")
    return Position(seq, segment, offset, chain)


def cursor_json(
    run_id: str | None, queue: str, reader: str | None, position: Position
) -> JsonObject:
    """Return the object of a cursor file."""
    return {
        "schema": "minibot.cursor",
        "v": 1,
        "run_id": run_id,
        "queue": queue,
        "reader": reader,
        "seq": position.seq,
        "segment": position.segment,
        "offset": position.offset,
        "chain": position.chain.hex(),
    }
