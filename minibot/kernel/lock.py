"""The writer's lock: held by the kernel for the life of a process, never by a file's existence.

The lock file is empty, is never read, renamed, replaced or deleted, and its being there means
nothing. A file system whose locks do not exclude is found out before anything is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from minibot.kernel.errors import LockBusy, Refusal
from minibot.kernel.files import FILES, Access, Files, StrPath, ensure_folder, io_stop

COMPONENT: Final = "kernel.lock"


class WriterLock:
    """An exclusive lock, taken when the object is made and kept until `close`.

    Raises:
        LockBusy: Another process, or another lock object of this one, holds it.
        Refusal: The file system grants a lock to two holders at once.
    """

    def __init__(self, path: StrPath, *, files: Files = FILES) -> None:
        self.path = Path(path)
        self._files = files
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

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def close(self) -> None:
        """Give the lock back; its file stays."""
        fd, self._fd = self._fd, None
        if fd is not None:
            self._files.close(fd)

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
        """Try to take the lock a second time; network file systems may grant it."""
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
