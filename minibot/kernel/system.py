"""Seam to the operating system: the kernel reads and writes files only through `Files`.

Methods make one system call, or the few that belong to it, and raise `OSError`, so that loops,
retries and the meaning of an error stand above the seam, and a simulated file system can stand
below it. The seam adds safety for every caller: files 0600 and folders 0700 whatever the umask, no
file opened through a link, only regular files opened, share-delete on Windows. A link to a folder
is followed: `files.refuse_linked_folder` refuses it.
"""

from __future__ import annotations

import errno
import os
import stat as modes
import sys
import threading
import time
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

from minibot.kernel.codes import PERMISSIONS_UNSAFE
from minibot.kernel.errors import RunStop

if sys.platform == "win32":
    from minibot.kernel.shared_open import open_shared
elif sys.platform == "darwin":
    import fcntl

StrPath = str | os.PathLike[str]

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o077
_NO_SUCH_CALL: Final = frozenset({errno.ENOSYS, errno.EOPNOTSUPP})


def machine_ns() -> int:
    """Return monotonic time of the machine in nanoseconds, which no run scales."""
    # time.monotonic_ns ticks every 15.6 ms on Windows, which is 0.9 s of market time at 60x.
    return time.perf_counter_ns() if sys.platform == "win32" else time.monotonic_ns()


class Access(Enum):
    """Access mode of a file; no mode ever truncates it."""

    READ = "read"
    WRITE = "write"  # An existing file, read and write.
    CREATE = "create"  # A new file, read and write; one that exists is an error.


class Stat(NamedTuple):
    """Status of a file: size in bytes, and the identity that a rename keeps."""

    size: int
    device: int
    inode: int
    is_file: bool
    is_folder: bool
    is_link: bool = False

    @property
    def identity(self) -> tuple[int, int]:
        """Identity of the file, a pair that no other file has."""
        return (self.device, self.inode)


class Files:
    """System calls on real files.

    Attributes:
        writes_through: True if `write_through` is one system call.
    """

    writes_through: ClassVar[bool] = False

    def __init__(self) -> None:
        # Windows has no positional calls in the C library: seek and transfer belong together.
        self._seek_lock = threading.Lock()

    # --- files --------------------------------------------------------------------------------

    def open(self, path: StrPath, access: Access) -> int:
        """Return a descriptor; a path that is a link or no regular file is refused.

        Raises:
            RunStop: PERMISSIONS_UNSAFE, a link or not a regular file; to write, also a file of
                another user or one that others may read or write.
            OSError: The system's error.
        """
        try:
            fd = _open(path, access)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise unsafe(path, "a link, which is never followed") from error
            raise
        try:
            self._refuse_unsafe(fd, path, access)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Return up to `size` bytes from `offset`; fewer near the end of the file."""
        if sys.platform != "win32":
            return os.pread(fd, size, offset)
        with self._seek_lock:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, size)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write at `offset`; return the number of bytes written, which may be fewer than given."""
        if sys.platform != "win32":
            return os.pwrite(fd, data, offset)
        with self._seek_lock:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file to `size` bytes."""
        os.ftruncate(fd, size)

    def datasync(self, fd: int) -> None:
        """Sync a file's data, and the size needed to read it, to the disk."""
        if sys.platform == "darwin":
            # On macOS fsync stops at the drive's cache; only this call goes through it.
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        elif sys.platform == "win32":
            os.fsync(fd)
        else:
            os.fdatasync(fd)

    def write_through(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write as `pwrite` does and sync the data, and the size needed to read it, to the disk.

        Only where `writes_through` says so.
        """
        raise NotImplementedError

    def sync(self, fd: int) -> None:
        """Sync data and metadata to the disk."""
        if sys.platform == "darwin":
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fsync(fd)
            # An XFS that shuts itself down reports success for the sync of a folder, and for a
            # file's sync in flight, and discards the changes (Linux 6.18); the next call gets the
            # error. After the `datasync` of a journal its head is written, which gets it too.
            os.fstat(fd)

    def stat(self, path: StrPath) -> Stat | None:
        """Return the status of a path, links not followed; None if it does not exist."""
        try:
            return _stat(os.lstat(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def fstat(self, fd: int) -> Stat:
        """Return the status of an open file."""
        return _stat(os.fstat(fd))

    # --- names --------------------------------------------------------------------------------

    def replace(self, source: StrPath, target: StrPath) -> None:
        """Rename `source` to `target`, atomically replacing a file of that name."""
        os.replace(source, target)

    def link(self, source: StrPath, target: StrPath) -> None:
        """Give a file a second name; an existing one is `FileExistsError`."""
        if sys.platform == "win32":
            os.link(source, target)
        else:
            os.link(source, target, follow_symlinks=False)

    def unlink(self, path: StrPath) -> None:
        """Remove a name."""
        os.unlink(path)

    def listdir(self, path: StrPath) -> list[str]:
        """Return the names in a folder, sorted; a link to a folder is followed."""
        return sorted(os.listdir(path))

    def mkdir(self, path: StrPath) -> None:
        """Make one folder, only for its owner."""
        os.mkdir(path, FOLDER_MODE)
        if sys.platform != "win32":
            os.chmod(path, FOLDER_MODE)

    def rmdir(self, path: StrPath) -> None:
        """Remove an empty folder."""
        os.rmdir(path)

    def sync_folder(self, path: StrPath) -> None:
        """Sync the names in a folder, or in a link's folder; NTFS journals them by itself."""
        if sys.platform == "win32":
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(fd)
        finally:
            os.close(fd)

    # --- the rest of the system ---------------------------------------------------------------

    def try_lock(self, fd: int) -> bool:
        """Take the system's exclusive lock on an open file; False if another holds it.

        The lock belongs to the open file, not to the process, and falls with its last
        descriptor: closing another descriptor of the same path does not release it.
        """
        # Imported here because it reads its own version from disk, and most commands lock nothing.
        import portalocker

        try:
            portalocker.lock(
                fd, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
            )
        except portalocker.AlreadyLocked:
            return False
        except portalocker.LockException as error:
            if sys.platform == "win32" and getattr(error.__cause__, "errno", None) == 0:
                return False  # Wine's C library refuses a held lock without an error code.
            raise OSError(errno.ENOLCK, f"the file system gives no lock: {error}") from error
        return True

    def boot_id(self) -> str:
        """Return a text that changes with every start of the machine; empty where unknown."""
        if sys.platform == "linux":
            with suppress(OSError):
                return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return ""

    def monotonic_ns(self) -> int:
        """Return monotonic time in nanoseconds."""
        return machine_ns()

    def sleep(self, seconds: float) -> None:
        """Wait between two tries of a call that may succeed later."""
        time.sleep(seconds)

    def _refuse_unsafe(self, fd: int, path: StrPath, access: Access) -> None:
        status = os.fstat(fd)
        if not modes.S_ISREG(status.st_mode):
            raise unsafe(path, "not a regular file")
        if sys.platform == "win32" or access is Access.READ:
            return
        if access is Access.CREATE:
            os.fchmod(fd, FILE_MODE)
        elif status.st_uid != os.geteuid():
            raise unsafe(path, f"owned by user {status.st_uid}, not by {os.geteuid()}")
        elif status.st_mode & _OTHERS:
            raise unsafe(path, f"mode {status.st_mode & 0o777:04o} lets others in; needs 0600")


def unsafe(path: StrPath, why: str) -> RunStop:
    """Return the STOP for a file or folder that another user could have planted or changed."""
    return RunStop("kernel.files", PERMISSIONS_UNSAFE, f"{os.fspath(path)}: {why}")


if sys.platform == "win32":

    def _open(path: StrPath, access: Access) -> int:
        return open_shared(os.fspath(path), access is not Access.READ, access is Access.CREATE)

    def _stat(status: os.stat_result) -> Stat:
        # A junction claims to be a folder; other reparse points (cloud files) are no links.
        is_link = status.st_reparse_tag in (
            modes.IO_REPARSE_TAG_SYMLINK,
            modes.IO_REPARSE_TAG_MOUNT_POINT,
        )
        return Stat(
            status.st_size,
            status.st_dev,
            status.st_ino,
            modes.S_ISREG(status.st_mode) and not is_link,
            modes.S_ISDIR(status.st_mode) and not is_link,
            is_link,
        )

else:
    # O_NONBLOCK: the open call would never return from a planted FIFO.
    _FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    _ACCESS_FLAGS: Final = {
        Access.READ: os.O_RDONLY,
        Access.WRITE: os.O_RDWR,
        Access.CREATE: os.O_RDWR | os.O_CREAT | os.O_EXCL,
    }

    def _open(path: StrPath, access: Access) -> int:
        return os.open(path, _ACCESS_FLAGS[access] | _FLAGS, FILE_MODE)

    def _stat(status: os.stat_result) -> Stat:
        kind = modes.S_IFMT(status.st_mode)  # A link is of its own kind.
        return Stat(
            status.st_size,
            status.st_dev,
            status.st_ino,
            kind == modes.S_IFREG,
            kind == modes.S_IFDIR,
            kind == modes.S_IFLNK,
        )


class OneCallFiles(Files):
    """Files of a system that writes and syncs in one call, and so takes Python's lock only once."""

    writes_through: ClassVar[bool] = True

    if sys.platform == "linux":

        def write_through(self, fd: int, data: bytes | memoryview, offset: int) -> int:
            """Write and sync, in two calls where the file system lacks the combined one."""
            try:
                return os.pwritev(fd, [data], offset, os.RWF_DSYNC)
            except OSError as error:
                if error.errno not in _NO_SUCH_CALL:
                    raise
            count = self.pwrite(fd, data, offset)
            self.datasync(fd)
            return count


FILES: Final[Files] = OneCallFiles() if sys.platform == "linux" else Files()
