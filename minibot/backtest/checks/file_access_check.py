"""File access check: files that a core opens, as each is an input besides the events.

A strategy that reads a file may learn the future from a copy of the data, which a check with
altered data cannot show. Python's audit hook reports every file that is opened.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

# Suffixes of files that an import opens.
MODULES: Final = (".py", ".pyc", ".pyd", ".so")
# What an import writes beside it before it gives it its name.
HALF_WRITTEN: Final = re.compile(r"\.pyc\.[0-9]+$")
READS_MAX: Final = 100


class Read(NamedTuple):
    """Path as it was opened, and market time (Unix ms); None while a core was constructed."""

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
        """Record opened files until the end of the block, whenever `is_on` is set."""
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
        """Record an opened file once for each market time, at most `READS_MAX` records in all.

        Files named as modules (`MODULES`) are left out, as imports open them.
        """
        if not isinstance(opened, str | bytes | os.PathLike):
            return  # A descriptor of a file that was opened before.
        path = os.fsdecode(opened)
        read = Read(path, self.ts)
        if path.endswith(MODULES) or HALF_WRITTEN.search(path):
            return
        if len(self.found) < READS_MAX and read not in self.found:
            self.found.append(read)

    @classmethod
    def now(cls) -> Reads | None:
        """Return the recorder that is active now, or None."""
        listening = cls._listening
        return listening if listening is not None and listening.is_on else None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and (reads := Reads.now()) is not None:
        reads.hear(arguments[0])
