"""Writer's lock: held by the operating system for a process, never by a file's existence.

The lock file is empty. It is never read, renamed, replaced or deleted, and its existence means
nothing. A file system whose locks do not exclude is detected before anything is written.

A lock excludes only processes that find its file by its name. A holder therefore checks now and
then that the name still leads to the open file (`lost_lock`): if the file was removed or replaced,
the next process would get another lock.
"""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Final

from minibot.kernel.errors import LockBusy, Refusal
from minibot.kernel.files import FILES, Access, Files, StrPath, ensure_folder, io_stop

_made: weakref.WeakSet[WriterLock] = weakref.WeakSet()
_made_guard: Final = threading.Lock()


class WriterLock:
    """An exclusive lock, taken when the object is made and kept until `close`.

    Raises:
        LockBusy: Another process, or another `WriterLock` of this process, holds it.
        Refusal: The file system grants a lock to two holders at once.
        RunStop: PERMISSIONS_UNSAFE, as for `Files.open`; or the system's error.
    """

    def __init__(self, path: StrPath, *, files: Files = FILES) -> None:
        self.path = Path(path)
        self._files = files
        self._guard = threading.Lock()
        ensure_folder(self.path.parent, files=files)
        self._fd: int | None = self._open()
        try:
            if not files.try_lock(self._fd):
                raise LockBusy(str(self.path))
            self._prove_exclusion()
        except OSError as error:
            self.close()
            raise io_stop(error, "lock", self.path) from error
        except BaseException:
            self.close()
            raise
        with _made_guard:
            _made.add(self)

    @property
    def is_held(self) -> bool:
        """True if this object holds the lock."""
        return self._fd is not None

    def close(self) -> None:
        """Release the lock; its file stays."""
        with self._guard:
            fd, self._fd = self._fd, None
            if fd is not None:
                self._files.close(fd)

    def lost(self) -> str | None:
        """Return how this lock lost its file name; None while it has it or is not held."""
        with self._guard:  # The descriptor cannot be closed meanwhile.
            return None if self._fd is None else lost_name(self._fd, self.path, files=self._files)

    def _open(self) -> int:
        try:
            return self._files.open(self.path, Access.CREATE)
        except FileExistsError:
            pass
        except OSError as error:
            raise io_stop(error, "create", self.path) from error
        try:
            return self._files.open(self.path, Access.WRITE)
        except OSError as error:
            raise io_stop(error, "open", self.path) from error

    def _prove_exclusion(self) -> None:
        """Try to take the lock a second time, which some network file systems grant."""
        second = self._open()
        try:
            is_granted = self._files.try_lock(second)
        finally:
            self._files.close(second)
        if is_granted:
            raise Refusal(
                f"{self.path}: this file system grants one lock to two holders.",
                "Move the var folder to a local disk (--var DIR).",
            )


def lost_name(fd: int, path: StrPath, *, files: Files = FILES) -> str | None:
    """Return how an open file has lost its name, or None.

    The open descriptor keeps the file's identity from being reused, so that it can be compared with
    that of the path. A system without identities tells only whether a file exists there.
    """
    try:
        named, mine = files.stat(path), files.fstat(fd)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    if named is None:
        return f"{path} is gone"
    if not named.is_file or (mine.inode and named.identity != mine.identity):
        return f"{path} is another file than the one that is locked"
    return None


def lost_lock(folder: Path) -> str | None:
    """Return how a writer's lock that this process holds below a folder has lost its name, or None.

    Each process of a run calls it once a second; it takes some microseconds a lock.
    """
    with _made_guard:
        locks = [lock for lock in _made if lock.is_held and lock.path.is_relative_to(folder)]
    for lock in sorted(locks, key=lambda lock: lock.path):
        found = lock.lost()
        if found is not None:
            return found
    return None
