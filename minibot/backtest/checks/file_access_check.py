"""Which files are opened while decisions are made: a core that reads has more than its inputs.

What a strategy learns beside its inputs may be from the future, and no altered data shows it: it
has a copy of its own. Python tells of every file that is opened, so that none has to be guessed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

# What an import opens.
MODULES: Final = (".py", ".pyc", ".pyd", ".so")
READS_MAX: Final = 100


class Read(NamedTuple):
    """A file, and the market time (Unix ms) at which it was opened; None while a core was made."""

    path: str
    ts: int | None


class Reads:
    """Recorder of the files that are opened inside a `listening` block while `is_on` is set.

    The audit hook stays for the life of the process, as Python cannot remove it.
    """

    _listening: Reads | None = None
    _is_hooked = False

    def __init__(self) -> None:
        self.found: list[Read] = []
        self.ts: int | None = None
        self.is_on = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen until the end of the block."""
        if not Reads._is_hooked:
            sys.addaudithook(_hear)
            Reads._is_hooked = True
        Reads._listening = self
        try:
            yield
        finally:
            self.is_on = False
            Reads._listening = None

    def hear(self, opened: object) -> None:
        """Take the path of a file that was opened."""
        if not isinstance(opened, str | bytes | os.PathLike):
            return  # A descriptor that was opened before.
        path = os.fsdecode(opened)
        read = Read(path, self.ts)
        if not path.endswith(MODULES) and len(self.found) < READS_MAX and read not in self.found:
            self.found.append(read)

    @classmethod
    def now(cls) -> Reads | None:
        """Return who listens, if anybody does now."""
        listening = cls._listening
        return listening if listening is not None and listening.is_on else None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and (reads := Reads.now()) is not None:
        reads.hear(arguments[0])
