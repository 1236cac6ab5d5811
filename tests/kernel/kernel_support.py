"""Support of the kernel's tests: lines, a seam that fails on command, short ways to open."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from minibot.kernel import canonical
from minibot.kernel.files import Access, Files, Stat, StrPath
from minibot.kernel.journal import JournalReader, JournalWriter, Line
from minibot.kernel.line import encode_line
from minibot.kernel.lock import WriterLock
from minibot.kernel.position import Position

CHANGES = frozenset(
    {"open", "pwrite", "truncate", "datasync", "sync", "replace", "link", "unlink", "mkdir",
     "rmdir", "sync_folder"}
)  # fmt: skip


def _nothing() -> None:
    pass


Fault = Callable[[str, str], BaseException | None]


class Crash(BaseException):
    """Signal that the process dies here; nothing happens after it."""


class FaultFiles(Files):
    """Real files with faults on command, a record of calls, and a crash at any of them.

    A crash is the death of a process, which takes nothing from the system's cache: so syncs are
    recorded and can fail, and cost no time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.names: dict[int, str] = {}
        self.crash_at = -1
        self.crash_after = False
        self.fault: Fault = lambda _call, _path: None
        self.write_bytes_max: int | None = None
        self.boot = "boot one"
        self.locks = True

    def count(self, call: str) -> int:
        """Return how often a call was made."""
        return sum(1 for name in self.calls if name.split(" ")[0] == call)

    def kill(self) -> None:
        """Close every open file, as the death of a process does."""
        for fd in list(self.names):
            self.close(fd)
        self.crash_at = -1

    def _enter(self, call: str, path: StrPath, act: Callable[[], Any]) -> Any:
        name = Path(path).name
        number = len([entry for entry in self.calls if entry.split(" ")[0] in CHANGES])
        self.calls.append(f"{call} {name}")
        is_last = call in CHANGES and number == self.crash_at
        if is_last and not self.crash_after:
            raise Crash(f"before {call} {name}")
        error = self.fault(call, name)
        if error is not None:
            raise error
        if not is_last:
            return act()
        with suppress(OSError):
            result = act()
            if call == "open":
                self.names[result] = name
        raise Crash(f"after {call} {name}")

    def open(self, path: StrPath, access: Access) -> int:
        call = "look" if access is Access.READ else "open"
        fd: int = self._enter(call, path, lambda: super(FaultFiles, self).open(path, access))
        self.names[fd] = Path(path).name
        return fd

    def close(self, fd: int) -> None:
        # After `kill` the descriptor may belong to another file.
        if self.names.pop(fd, None) is not None:
            super().close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        act = partial(super().pread, fd, size, offset)
        data: bytes = self._enter("pread", self.names[fd], act)
        return data

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        piece = data[: self.write_bytes_max] if self.write_bytes_max else data
        act = partial(super().pwrite, fd, piece, offset)
        count: int = self._enter("pwrite", self.names[fd], act)
        return count

    def truncate(self, fd: int, size: int) -> None:
        self._enter("truncate", self.names[fd], partial(super().truncate, fd, size))

    def datasync(self, fd: int) -> None:
        self._enter("datasync", self.names[fd], _nothing)

    def sync(self, fd: int) -> None:
        self._enter("sync", self.names[fd], _nothing)

    def stat(self, path: StrPath) -> Stat | None:
        status: Stat | None = self._enter("stat", path, partial(super().stat, path))
        return status

    def replace(self, source: StrPath, target: StrPath) -> None:
        self._enter("replace", target, partial(super().replace, source, target))

    def link(self, source: StrPath, target: StrPath) -> None:
        self._enter("link", target, partial(super().link, source, target))

    def unlink(self, path: StrPath) -> None:
        self._enter("unlink", path, lambda: super(FaultFiles, self).unlink(path))

    def mkdir(self, path: StrPath) -> None:
        self._enter("mkdir", path, lambda: super(FaultFiles, self).mkdir(path))

    def rmdir(self, path: StrPath) -> None:
        self._enter("rmdir", path, lambda: super(FaultFiles, self).rmdir(path))

    def sync_folder(self, path: StrPath) -> None:
        self._enter("sync_folder", path, _nothing)

    def boot_id(self) -> str:
        return self.boot

    def try_lock(self, fd: int) -> bool:
        return super().try_lock(fd) if self.locks else True

    def sleep(self, seconds: float) -> None:
        self.calls.append("sleep")


def failing(call: str, name_part: str, code: int, times: int = 1) -> Fault:
    """Return a fault: the next `times` calls on files with that name part fail with an errno."""
    left = [times]

    def fault(called: str, name: str) -> OSError | None:
        if called == call and name_part in name and left[0] > 0:
            left[0] -= 1
            return OSError(code, errno.errorcode.get(code, str(code)))
        return None

    return fault


def json_of(number: int, size: int = 40) -> bytes:
    """Return the canonical JSON of a small event; the size varies with the number."""
    return canonical.encode({"id": number, "text": "x" * (size + number % 7)})


def line_of(number: int, size: int = 40) -> bytes:
    """Return the line of a small event."""
    return encode_line(json_of(number, size))


def lines_of(first: int, count: int, size: int = 40) -> list[bytes]:
    """Return lines with consecutive numbers."""
    return [line_of(number, size) for number in range(first, first + count)]


def open_journal(folder: Path, stem: str = "inbox", /, **options: Any) -> JournalWriter:
    """Return a writer of a journal in any folder."""
    files = options.get("files")
    lock_path = folder / f"{stem}.lock"
    lock = WriterLock(lock_path, files=files) if files else WriterLock(lock_path)
    try:
        return JournalWriter(folder, stem, lock=lock, **options)
    except BaseException:
        lock.close()
        raise


def fill(folder: Path, count: int = 6) -> Position:
    """Write a journal of some lines and close it."""
    writer = open_journal(folder)
    writer.append(lines_of(1, count))
    writer.close()
    return writer.position


def read_all(folder: Path, stem: str = "inbox", /) -> list[Line]:
    """Return every published line of a journal."""
    reader = JournalReader(folder, stem)
    try:
        return drain(reader)
    finally:
        reader.close()


def drain(reader: JournalReader) -> list[Line]:
    """Return every line that a reader has not yet handed out."""
    lines: list[Line] = []
    while batch := reader.read(1000):
        lines += batch
    return lines


def ids_of(lines: list[Line]) -> list[int]:
    """Return the numbers that `line_of` put into the lines."""
    return [canonical.decode(line.json)["id"] for line in lines]


def change(path: Path, offset: int, mask: int = 0xFF) -> None:
    """Flip bits of one byte of a file."""
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
