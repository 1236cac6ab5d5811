"""Files of a queue in memory, under the real kernel, for millions of inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from minibot.kernel.files import Access, Files, Stat, StrPath

_FOLDER: Final = Stat(0, 1, 1, False, True)


class MemoryFiles(Files):
    """Read-only files in a dict.

    Args:
        content: Path, with slashes, -> what the file holds.
    """

    def __init__(self, content: Mapping[str, bytes]) -> None:
        super().__init__()
        self._content = dict(content)
        self._names = list(content)
        self._folders = {
            str(parent) for name in content for parent in Path(name).parents if str(parent) != "."
        }

    def put(self, name: str, data: bytes) -> bytes:
        """Replace the content of a file; return the old content."""
        before, self._content[name] = self._content[name], data
        return before

    def open(self, path: StrPath, access: Access) -> int:
        """Return a descriptor of a file."""
        name = _name(path)
        if name not in self._content or access is not Access.READ:
            raise FileNotFoundError(2, "no such file", name)
        return self._names.index(name)

    def close(self, fd: int) -> None:
        """Do nothing."""

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Return part of a file."""
        return self._content[self._names[fd]][offset : offset + size]

    def fstat(self, fd: int) -> Stat:
        """Return size and identity of a file."""
        return Stat(len(self._content[self._names[fd]]), 1, fd + 2, True, False)

    def stat(self, path: StrPath) -> Stat | None:
        """Return the status of a path."""
        name = _name(path)
        data = self._content.get(name)
        if data is not None:
            return Stat(len(data), 1, 2, True, False)
        return _FOLDER if name in self._folders else None

    def listdir(self, path: StrPath) -> list[str]:
        """Return the names in a folder."""
        start = _name(path) + "/"
        cut = len(start)
        return sorted({name[cut:].split("/")[0] for name in self._names if name[:cut] == start})

    def sleep(self, seconds: float) -> None:
        """Do not wait."""


def _name(path: StrPath) -> str:
    return os.fspath(path).replace(os.sep, "/")
