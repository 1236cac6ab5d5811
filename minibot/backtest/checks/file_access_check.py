"""File access check: files that a core opens, as each is an input besides the events.

A strategy that reads a file may learn the future from a copy of the data, which a check with
altered data cannot show. Python's audit hook reports files that Python's own code opens, and
SQLite's databases. A file that another C library opens is not reported. Modules that an import
opens are left out; a name such as `future.py` does not by itself make a file a module.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import tokenize
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import _bootstrap_external
from types import FrameType, ModuleType
from typing import Final, NamedTuple

# Files that an import opens, bytecode also under the name that it has before it is complete. The
# system's loader opens compiled modules (.so, .pyd), without an audit event.
MODULE: Final = re.compile(r"\.(py|pyc|pyc\.[0-9]+)$")
SOURCE: Final = ".py"
READS_MAX: Final = 100
# SQLite opens its file without the event `open`.
DATABASE: Final = "sqlite3.connect"
OPENED: Final = ("open", DATABASE)
IN_MEMORY: Final = (":memory:", "")
# Globals of the code that imports, and of the code that shows source lines in a warning. Code that
# merely names its file so has other globals.
_IMPORTING: Final = vars(_bootstrap_external)
_SHOWING: Final = (vars(linecache), vars(tokenize))
_GET_DATA: Final = "get_data"


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

    def hear(self, opened: object, opener: FrameType | None) -> None:
        """Record an opened file once for each market time, at most `READS_MAX` records in all.

        Not recorded are modules that an import opens, and the source of a loaded module that is
        opened to show its lines in a warning or traceback.

        Args:
            opened: Path as it was opened; a file descriptor is not a new file.
            opener: Frame of the Python code that opened it; None without one.
        """
        if not isinstance(opened, str | bytes | os.PathLike):
            return  # A descriptor of a file that was opened before.
        path = os.fsdecode(opened)
        if MODULE.search(path) and (_is_import(opener) or _is_shown(path, opener)):
            return
        read = Read(path, self.ts)
        if len(self.found) < READS_MAX and read not in self.found:
            self.found.append(read)

    @classmethod
    def now(cls) -> Reads | None:
        """Return the recorder that is active now, or None."""
        listening = cls._listening
        return listening if listening is not None and listening.is_on else None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event not in OPENED or (event == DATABASE and arguments[0] in IN_MEMORY):
        return
    if (reads := Reads.now()) is not None:
        reads.hear(arguments[0], sys._getframe().f_back)


def _is_import(opener: FrameType | None) -> bool:
    """Return whether Python's import opened a file, rather than a loader that other code called.

    Any code may call the method `get_data` of a loader with any path.
    """
    if opener is None or opener.f_globals is not _IMPORTING:
        return False
    asker: FrameType | None = opener
    while asker is not None and asker.f_code.co_name == _GET_DATA:
        asker = asker.f_back
    return asker is not None and asker.f_globals is _IMPORTING


def _is_shown(path: str, opener: FrameType | None) -> bool:
    """Return whether the source of a loaded module was opened to show its lines."""
    if opener is None or not any(opener.f_globals is names for names in _SHOWING):
        return False
    modules = [module for module in sys.modules.values() if isinstance(module, ModuleType)]
    return path.endswith(SOURCE) and path in [vars(module).get("__file__") for module in modules]
