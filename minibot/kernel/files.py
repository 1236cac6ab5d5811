"""Atomic files: a reader sees the old or the new content, never part of each.

`FILES` is the seam to the system. Small critical files (cursors, manifests, seals) are canonical
JSON that carries its own generation and sha256: an atomic replace never shows partial content,
so a file that fails its own hash was damaged or changed by something else.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from minibot.kernel import canonical
from minibot.kernel.canonical import JsonObject
from minibot.kernel.codes import (
    ATOMICITY_VIOLATION,
    FD_EXHAUSTED,
    IO_EIO,
    IO_ENOSPC,
    IO_FSYNC,
    IO_READONLY,
    IO_RENAME,
)
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.system import FILES, Access, Files, Stat, StrPath, unsafe

__all__ = [
    "CRITICAL_BYTES_MAX",
    "DISK_CALLS",
    "FILES",
    "HINT_BYTES_MAX",
    "Access",
    "Files",
    "Stat",
    "StrPath",
    "chunks_of",
    "copy_atomic",
    "ensure_folder",
    "hash_file",
    "hashed_bytes",
    "io_stop",
    "is_sharing_violation",
    "parse_hashed",
    "put_atomic",
    "read_hashed",
    "read_range",
    "read_whole",
    "refuse_linked_folder",
    "remove",
    "remove_temps",
    "rename",
    "sync",
    "sync_folder",
    "unsafe",
    "write_all",
    "write_atomic",
    "write_hashed",
    "write_hint",
    "write_through_all",
]

COMPONENT: Final = "kernel.files"
UNENDED: Final = "it is cut off, or more stands behind its end"
TEMP_SUFFIX: Final = ".tmp"
# In a container each start has the same pids, so a temp file of a name may be a dead process's. A
# death leaves one, and so many starts do not die one after another at the same write.
TEMP_TRIES: Final = 100
CHUNK_BYTES: Final = 1 << 20
CRITICAL_BYTES_MAX: Final = 16 * 1024 * 1024
"""The largest critical file (manifest, clock, seal, cursor, request, list).

A seal has room for a hundred thousand files.
"""
HINT_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest hint, which nobody needs: a role's snapshot.

It has the ids that the role knows, under 4 MB, and its core's state: 300 bars of 400 symbols are 20
MB. A larger one would cost more memory and time than it saves, and is left out.
"""

# On Windows an open file cannot be replaced, and one that is being replaced cannot be opened. Our
# own readers and writers let go within a millisecond, a scanner or an indexer soon after; a program
# that still holds the file after a second will keep it.
HELD_TRIES: Final = 25
HELD_PAUSE_MIN_S: Final = 0.001
HELD_PAUSE_MAX_S: Final = 0.05
# A regular file never answers EAGAIN twice; the bound only keeps a broken driver from spinning.
INTERRUPTED_TRIES: Final = 100

_CODES: Final = {
    errno.ENOSPC: IO_ENOSPC,
    errno.EROFS: IO_READONLY,
    errno.EACCES: IO_READONLY,
    errno.EPERM: IO_READONLY,
    errno.EMFILE: FD_EXHAUSTED,
    errno.ENFILE: FD_EXHAUSTED,
}
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
_SHARING_VIOLATIONS: Final = frozenset({5, 32, 33})  # Access denied, sharing, lock violation.
_temp_numbers = itertools.count()

Result = TypeVar("Result")


class DiskCalls:
    """Calls of this process that write, sync or rename and have not returned, by their threads.

    A heartbeat reads them from its own thread, and so distinguishes a slow disk from a hung loop.
    """

    def __init__(self) -> None:
        self._begun_ns: dict[int, int] = {}

    def __enter__(self) -> None:
        self._begun_ns[threading.get_ident()] = FILES.monotonic_ns()

    def __exit__(self, *_: object) -> None:
        self._begun_ns.pop(threading.get_ident(), None)

    def since_ns(self) -> int:
        """Return the monotonic time in ns at which the oldest call began; 0 without one."""
        return min(list(self._begun_ns.values()), default=0)

    def has(self, thread: int) -> bool:
        """Return whether a thread, by its identifier, is in such a call."""
        return thread in self._begun_ns


DISK_CALLS: Final = DiskCalls()


def ensure_below(base: StrPath, path: StrPath, *, files: Files = FILES) -> None:
    """Make a folder below a base that has to exist; a missing base is not made again.

    A run whose `var` was moved away would otherwise make a second one in its place.

    Raises:
        RunStop: The base is gone; or as for `ensure_folder`.
    """
    if files.stat(base) is None:
        gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        raise io_stop(gone, f"make folder {os.fspath(path)} below", base)
    ensure_folder(path, files=files)


def io_stop(error: OSError, doing: str, path: StrPath) -> RunStop:
    """Return the STOP for an error of the system; IO_EIO for one without a specific code."""
    code = _CODES.get(error.errno or 0, IO_EIO)
    return RunStop(COMPONENT, code, f"{doing} {os.fspath(path)}: {error.strerror or error}")


def write_all(files: Files, fd: int, data: bytes, offset: int, path: StrPath) -> None:
    """Write all bytes at an offset, in as many system calls as it takes.

    Raises:
        RunStop: IO_ENOSPC, IO_EIO or IO_READONLY; bytes already written stay in the file.
    """
    done = interrupted = 0
    while done < len(data):
        try:
            with DISK_CALLS:
                count = files.pwrite(fd, memoryview(data)[done:] if done else data, offset + done)
        except (InterruptedError, BlockingIOError) as error:
            interrupted += 1
            if interrupted > INTERRUPTED_TRIES:
                raise io_stop(error, "write to", path) from error
            continue
        except OSError as error:
            raise io_stop(error, "write to", path) from error
        if count <= 0:
            raise RunStop(COMPONENT, IO_EIO, f"write to {os.fspath(path)} took no byte")
        done += count


def write_through_all(files: Files, fd: int, data: bytes, offset: int, path: StrPath) -> None:
    """Write all bytes at an offset and return when they are on disk; see `Files.write_through`.

    Raises:
        RunStop: IO_ENOSPC or IO_READONLY if the file has not grown, so that the write failed;
            IO_EIO if the call took no byte; IO_FSYNC for any other error, as the system may have
            dropped the data already.
    """
    done = 0
    while done < len(data):
        try:
            with DISK_CALLS:
                count = files.write_through(fd, memoryview(data)[done:], offset + done)
        except OSError as error:
            stop = io_stop(error, "write and sync of", path)
            if stop.reason_code == IO_EIO or files.fstat(fd).size > offset + done:
                stop = RunStop(COMPONENT, IO_FSYNC, stop.detail)
            raise stop from error
        if count <= 0:
            raise RunStop(COMPONENT, IO_EIO, f"write to {os.fspath(path)} took no byte")
        done += count


def read_range(files: Files, fd: int, size: int, offset: int, path: StrPath) -> bytes:
    """Return `size` bytes from an offset, fewer only where the file ends.

    Raises:
        RunStop: The system's error.
    """
    try:
        data = files.pread(fd, size, offset)
        while 0 < len(data) < size:
            more = files.pread(fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
    except OSError as error:
        raise io_stop(error, "read", path) from error
    return data


def sync(call: Callable[[], None], path: StrPath) -> None:
    """Run one sync call; an error is final, as the system may have dropped the data already.

    Raises:
        RunStop: IO_FSYNC, whatever the error: a second call may report success falsely.
    """
    try:
        with DISK_CALLS:
            call()
    except OSError as error:
        detail = f"sync of {os.fspath(path)}: {error.strerror or error}"
        raise RunStop(COMPONENT, IO_FSYNC, detail) from error


def sync_folder(files: Files, folder: StrPath) -> None:
    """Sync a folder: on return its names are durable.

    Raises:
        RunStop: IO_FSYNC; FD_EXHAUSTED where the folder could not even be opened for it.
    """
    try:
        sync(lambda: files.sync_folder(folder), folder)
    except RunStop as stop:
        cause = stop.__cause__
        if isinstance(cause, OSError) and cause.errno in _NO_DESCRIPTOR:
            raise io_stop(cause, "open", folder) from cause
        raise


def ensure_folder(path: StrPath, *, files: Files = FILES) -> None:
    """Make a folder and its parents, only for their owner; an existing one is left as it is.

    Raises:
        RunStop: PERMISSIONS_UNSAFE, the path leads to no folder; or the system's error. A link to a
            folder passes: `refuse_linked_folder` refuses it.
    """
    status = files.stat(path)
    if status is None:
        parent = Path(path).parent
        ensure_folder(parent, files=files)
        try:
            files.mkdir(path)
        except FileExistsError:
            return ensure_folder(path, files=files)
        except OSError as error:
            raise io_stop(error, "make folder", path) from error
        sync_folder(files, parent)
    elif not status.is_folder and not Path(path).is_dir():
        raise unsafe(path, "not a folder")
    return None


def is_endless(path: StrPath) -> bool:
    """Return whether reading a path may never end: a FIFO, a device, a socket."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_linked_folder(path: StrPath, *, files: Files = FILES) -> None:
    """Refuse a folder that is a link, so that writes cannot land elsewhere."""
    status = files.stat(path)
    if status is not None and not status.is_folder:
        raise unsafe(path, "not a folder of its own; a link is never followed")


def read_whole(path: StrPath, *, files: Files = FILES, size_max: int = CRITICAL_BYTES_MAX) -> bytes:
    """Return the content of a small file; a larger one is refused before it is read.

    Raises:
        FileNotFoundError: The file does not exist.
        IntegrityError: ATOMICITY_VIOLATION, more than `size_max` bytes: no file of ours is so
            large.
        RunStop: The system's error.
    """
    fd = _open_to_read(files, path)
    try:
        size = files.fstat(fd).size
        data = b"" if size > size_max else read_range(files, fd, size + 1, 0, path)
    finally:
        files.close(fd)
    size = max(size, len(data))
    if size > size_max:
        raise _violation(path, "too large to be read", f"at most {size_max} bytes", f"{size}")
    return data


def write_atomic(
    path: StrPath, data: bytes, *, is_durable: bool = True, files: Files = FILES
) -> None:
    """Replace a file's whole content: temp file, sync, replace, sync of the folder.

    Readers see the old content or the new one at any moment, also after a crash and, if
    `is_durable`, after a loss of power. A device or pipe of that name is refused, as the file would
    take its place for every program.

    Args:
        path: The file.
        data: The whole content.
        is_durable: False leaves the syncs out; after a loss of power the file may be empty or torn.
        files: The seam to the system.

    Raises:
        RunStop: IO_ENOSPC, IO_EIO, IO_READONLY, FD_EXHAUSTED, IO_FSYNC, IO_RENAME or
            PERMISSIONS_UNSAFE; the old content remains. Only if the folder's sync fails (IO_FSYNC,
            FD_EXHAUSTED), the new content is in place already.
    """
    put_atomic(path, (data,), is_durable=is_durable, files=files)


def put_atomic(
    path: StrPath, chunks: Iterable[bytes], *, is_durable: bool = True, files: Files = FILES
) -> None:
    """Replace a file's whole content as `write_atomic` does, piece by piece.

    An error of the iterable is raised to the caller, and the old content remains.
    """
    target = Path(path)
    refuse_linked_folder(target.parent, files=files)
    _refuse_device(files, target)
    fd, temp = _create_temp(files, target)
    try:
        try:
            at = 0
            for chunk in chunks:
                write_all(files, fd, chunk, at, temp)
                at += len(chunk)
            if is_durable:
                sync(lambda: files.sync(fd), temp)
        finally:
            files.close(fd)
        _replace(files, temp, target)
    except BaseException:  # The pieces may raise anything: no temp file is left.
        with suppress(OSError):
            files.unlink(temp)
        raise
    if is_durable:
        sync_folder(files, target.parent)


def _refuse_device(files: Files, target: Path) -> None:
    """Refuse a device, pipe or socket, and a link to one; other links are replaced, not followed.

    A link into /proc, such as `/dev/stdout`, names a descriptor of whoever reads it.
    """
    status = files.stat(target)
    if status is None or status.is_file or status.is_folder:
        return
    if not status.is_link or is_endless(target) or os.readlink(target).startswith("/proc/"):
        raise unsafe(target, "a device or pipe, which a file would replace")


def _create_temp(files: Files, target: Path) -> tuple[int, Path]:
    """Create a temp file for a target under a name that no file has; return descriptor and path."""
    tries = 0
    while True:
        temp = target.with_name(f"{target.name}.{os.getpid()}-{next(_temp_numbers)}{TEMP_SUFFIX}")
        tries += 1
        try:
            with DISK_CALLS:
                return files.open(temp, Access.CREATE), temp
        except OSError as error:
            if tries == TEMP_TRIES or not isinstance(error, FileExistsError):
                raise io_stop(error, "create", temp) from error


def _replace(files: Files, source: Path, target: Path) -> None:
    try:
        with DISK_CALLS:
            _while_held(files, lambda: files.replace(source, target))
    except OSError as error:
        detail = f"replace of {target}: {error.strerror or error}"
        if is_sharing_violation(error):
            detail += (
                "; close the program that has it open, such as a viewer, or lift its protection"
            )
        raise RunStop(COMPONENT, IO_RENAME, detail) from error


def remove(path: StrPath, *, files: Files = FILES) -> None:
    """Remove a file unless it is gone already; a second is given to a program that holds it.

    Raises:
        OSError: The system's error.
    """
    with suppress(FileNotFoundError):
        _while_held(files, lambda: files.unlink(path))


def rename(source: StrPath, target: StrPath, *, files: Files = FILES) -> None:
    """Rename a file over any other; a second is given to a program that holds one of them.

    Raises:
        OSError: The system's error.
    """
    _while_held(files, lambda: files.replace(source, target))


def _open_to_read(files: Files, path: StrPath) -> int:
    try:
        return _while_held(files, lambda: files.open(path, Access.READ))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise io_stop(error, "open", path) from error


def _while_held(files: Files, call: Callable[[], Result]) -> Result:
    """Return a call's result, retried for a second while another program holds the file."""
    pause = HELD_PAUSE_MIN_S
    for _ in range(HELD_TRIES - 1):
        try:
            return call()
        except OSError as error:
            if not is_sharing_violation(error):
                raise
        files.sleep(pause)
        pause = min(2 * pause, HELD_PAUSE_MAX_S)
    return call()


def is_sharing_violation(error: OSError) -> bool:
    """Return whether Windows says that another program holds the file at this moment."""
    return getattr(error, "winerror", 0) in _SHARING_VIOLATIONS


def hash_file(path: StrPath, *, files: Files = FILES) -> tuple[int, str]:
    """Return the size and sha256 (hex) of a file, in bounded memory.

    Raises:
        RunStop: The system's error.
    """
    digest = sha256()
    size = 0
    for chunk in chunks_of(path, files=files):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def chunks_of(path: StrPath, *, files: Files = FILES) -> Iterator[bytes]:
    """Yield the content of a file in pieces of at most `CHUNK_BYTES`, none of them empty.

    Raises:
        RunStop: The file does not exist, or the system's error.
    """
    try:
        fd = _open_to_read(files, path)
    except FileNotFoundError as error:
        raise io_stop(error, "open", path) from error
    try:
        at = 0
        while chunk := read_range(files, fd, CHUNK_BYTES, at, path):
            yield chunk
            at += len(chunk)
    finally:
        files.close(fd)


def copy_atomic(source: StrPath, target: StrPath, *, files: Files = FILES) -> None:
    """Copy a file into place as `write_atomic` does, in bounded memory."""
    put_atomic(target, chunks_of(source, files=files), files=files)


def remove_temps(path: StrPath, *, files: Files = FILES) -> None:
    """Remove temp files that killed writers of `path` left; only its one writer may call this."""
    target = Path(path)
    status = files.stat(target.parent)
    if status is None:
        return
    for name in files.listdir(target.parent):
        if name.startswith(target.name + ".") and name.endswith(TEMP_SUFFIX):
            with suppress(FileNotFoundError):
                files.unlink(target.parent / name)


def hashed_bytes(obj: JsonObject, generation: int) -> bytes:
    """Return the file content for an object with its generation and its own sha256."""
    body = {key: value for key, value in obj.items() if key != "sha256"}
    body["generation"] = generation
    body["sha256"] = sha256(canonical.encode(body)).hexdigest()
    return canonical.encode(body) + b"\n"


def parse_hashed(data: bytes, path: StrPath) -> JsonObject:
    """Return the object of a self-hashed file, `generation` and `sha256` included.

    Raises:
        IntegrityError: ATOMICITY_VIOLATION, the content is partial or changed.
    """
    try:
        is_whole = data[-1:] == b"\n"
        obj = canonical.decode(data[:-1]) if is_whole else _refuse(path, UNENDED)
    except canonical.CanonicalError as error:
        raise _violation(path, str(error)) from error
    stated = obj.get("sha256")
    body = {key: value for key, value in obj.items() if key != "sha256"}
    wanted = sha256(canonical.encode(body)).hexdigest()
    if stated != wanted:
        raise _violation(path, "its own sha256 is wrong", wanted, str(stated))
    generation = obj.get("generation")
    if type(generation) is not int or generation < 1:
        raise _violation(path, "generation is not a positive integer", "1 or more", str(generation))
    return obj


def read_hashed(
    path: StrPath, *, files: Files = FILES, size_max: int = CRITICAL_BYTES_MAX
) -> JsonObject:
    """Return a critical JSON file, `generation` and `sha256` included.

    Raises:
        IntegrityError: ATOMICITY_VIOLATION, it is missing, larger than `size_max` or fails its own
            sha256. A caller that can do without the file checks first that it exists.
    """
    try:
        data = read_whole(path, files=files, size_max=size_max)
    except FileNotFoundError as error:
        raise _violation(path, "the file is missing") from error
    return parse_hashed(data, path)


def write_hashed(
    path: StrPath, obj: JsonObject, *, generation: int | None = None, files: Files = FILES
) -> int:
    """Write a critical JSON file; return its generation.

    Args:
        path: The file.
        obj: Its content; `generation` and `sha256` in it are replaced.
        generation: Its number; by default one more than that of the existing file.
        files: The seam to the system.

    Raises:
        IntegrityError: ATOMICITY_VIOLATION, the existing file fails its own sha256.
        RunStop: The disk refuses.
    """
    if generation is None:
        is_new = files.stat(path) is None
        generation = 1 if is_new else int(read_hashed(path, files=files)["generation"]) + 1
    write_atomic(path, hashed_bytes(obj, generation), files=files)
    return generation


def write_hint(path: StrPath, obj: JsonObject, *, files: Files = FILES) -> bool:
    """Write a hint like a critical JSON file, over any existing file.

    False means that it has more than `HINT_BYTES_MAX` bytes and the former one remains.

    Raises:
        RunStop: The disk refuses.
    """
    data = hashed_bytes(obj, 1)
    if len(data) > HINT_BYTES_MAX:
        return False
    write_atomic(path, data, files=files)
    return True


def _violation(path: StrPath, why: str, expected: str = "", found: str = "") -> IntegrityError:
    return IntegrityError(
        COMPONENT,
        ATOMICITY_VIOLATION,
        why,
        file=os.fspath(path),
        expected=expected,
        found=found,
    )


def _refuse(path: StrPath, why: str) -> NoReturn:
    raise _violation(path, why)
