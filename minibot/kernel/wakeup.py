"""Wake-up on changes of a journal's head: inotify where the system has it, polling elsewhere."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.kernel.errors import MinibotError
from minibot.kernel.files import FILES, Access, StrPath, io_stop
from minibot.kernel.head import PUBLISHED_BYTES

POLL_MIN_S: Final = 0.0005
POLL_MAX_S: Final = 0.010
# Read at once; the next wait finds the rest immediately.
EVENTS_BYTES: Final = 4096


class _Unavailable(MinibotError):
    """The system provides no watches."""


class Waiter:
    """Waiter for a publication in any of several head files.

    Watches are active from the moment the waiter is made, so nothing between a look and a wait is
    missed. The first wait returns at once, as news may be older than the watches.

    Args:
        paths: Head files; one that does not exist yet is waited for as well.
        handles: Descriptors that end a wait when they can be read, e.g. a control channel
            (not on Windows, where only sockets can be waited for).
        segments: Active segments; a write to one ends a wait too, where the system has watches.
            Their lines may not be used before the head covers them: see `JournalReader.preview`.
    """

    def __init__(
        self,
        paths: Sequence[StrPath],
        handles: Sequence[int] = (),
        segments: Sequence[StrPath] = (),
    ) -> None:
        self._is_first = True
        self._paths = [Path(path) for path in paths]
        self._handles = list(handles)
        self._watch: _Inotify | _Poll
        try:
            self._watch = _Inotify(self._paths, self._handles, [Path(path) for path in segments])
        except _Unavailable:
            self._watch = _Poll(self._paths, self._handles)

    def wait(self, timeout_s: float) -> bool:
        """Wait for news; return True when there may be some, False when the time is up.

        Args:
            timeout_s: Longest wait, in wall-clock seconds.
        """
        if self._is_first:
            self._is_first = False
            return True
        try:
            return self._watch.wait(timeout_s)
        except _Unavailable:
            # The system ran out of watches: poll from now on.
            self._watch.close()
            self._watch = _Poll(self._paths, self._handles)
            return True

    def renew(self) -> None:
        """Watch the segments that are active now; call it now and then, as segments get sealed."""
        self._watch.renew()

    def close(self) -> None:
        """Release the watches."""
        self._watch.close()


class _Poll:
    """Polling of the heads, less often the longer nothing comes.

    A head is written in place for the whole life of its journal, so it is opened only once: on
    Windows opening a file costs many times as much as reading it.
    """

    def __init__(self, paths: Sequence[Path], handles: Sequence[int]) -> None:
        self._paths = paths
        self._handles = list(handles) if sys.platform != "win32" else []
        self._fds: dict[Path, int] = {}
        self._seen = [self._look(path) for path in paths]

    def wait(self, timeout_s: float) -> bool:
        deadline_ns = FILES.monotonic_ns() + int(timeout_s * 1e9)
        pause = POLL_MIN_S
        while True:
            seen = [self._look(path) for path in self._paths]
            if seen != self._seen:
                self._seen = seen
                return True
            left = (deadline_ns - FILES.monotonic_ns()) / 1e9
            if left <= 0:
                return False
            if self._pause(min(pause, left)):
                return True
            pause = min(2 * pause, POLL_MAX_S)

    def renew(self) -> None:
        """Do nothing: segments are not polled."""

    def close(self) -> None:
        for fd in self._fds.values():
            FILES.close(fd)
        self._fds.clear()

    def _look(self, path: Path) -> bytes:
        fd = self._fds.get(path)
        try:
            if fd is None:
                fd = self._fds[path] = FILES.open(path, Access.READ)
            return FILES.pread(fd, PUBLISHED_BYTES, 0)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise io_stop(error, "read", path) from error

    def _pause(self, seconds: float) -> bool:
        if not self._handles:
            time.sleep(seconds)
            return False
        readable, _, _ = select.select(self._handles, [], [], seconds)
        return bool(readable)


if sys.platform == "linux":
    _IN_MODIFY: Final = 0x2
    _IN_MOVED_TO: Final = 0x80
    _IN_CREATE: Final = 0x100
    _IN_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
    _libc = ctypes.CDLL(None, use_errno=True)

    class _Inotify:
        """Sleep until the system reports that a watched file was written."""

        def __init__(
            self, paths: Sequence[Path], handles: Sequence[int], segments: Sequence[Path]
        ) -> None:
            self._fd: int = _libc.inotify_init1(_IN_FLAGS)
            if self._fd < 0:
                raise _Unavailable(os.strerror(ctypes.get_errno()))
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLIN)
            for handle in handles:
                self._poll.register(handle, select.POLLIN)
            self._missing: list[Path] = []
            self._folders: set[int] = set()
            self._segments: dict[Path, int] = dict.fromkeys(segments, -1)
            try:
                for path in paths:
                    self._add(path)
                self.renew()
            except BaseException:
                self.close()
                raise

        def wait(self, timeout_s: float) -> bool:
            if not self._poll.poll(max(0.0, timeout_s) * 1000):
                return False
            try:
                os.read(self._fd, EVENTS_BYTES)
            except BlockingIOError:
                return True  # A handle became readable, not a head.
            if self._missing:
                self._look_for_missing()
            return True

        def renew(self) -> None:
            """Watch the file with the active segment's name; a renamed one is written no more."""
            for path, before in self._segments.items():
                try:
                    watch = self._watch(path, _IN_MODIFY)
                except _Unavailable:
                    return  # No watch left for segments; watching the heads suffices.
                if watch not in (-1, before):
                    self._segments[path] = watch
                    if before >= 0:
                        _libc.inotify_rm_watch(self._fd, before)

        def close(self) -> None:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

        def _look_for_missing(self) -> None:
            """Watch the heads that exist by now, and folders only while a head is missing."""
            folders, self._folders = self._folders, set()
            missing, self._missing = self._missing, []
            for path in missing:
                self._add(path)
            for watch in folders - self._folders:
                _libc.inotify_rm_watch(self._fd, watch)

        def _add(self, path: Path) -> None:
            former = -1
            while self._watch(path, _IN_MODIFY) < 0:
                # Not made yet: its folder, or the next existing one above, shows when it is.
                folder = path.parent
                while (watch := self._watch(folder, _IN_CREATE | _IN_MOVED_TO)) < 0:
                    if folder == folder.parent:
                        raise _Unavailable(f"no folder above {path}")
                    folder = folder.parent
                self._folders.add(watch)
                if watch == former:
                    self._missing.append(path)
                    return
                # A folder made before this watch was not reported: look once more.
                former = watch

        def _watch(self, path: Path, mask: int) -> int:
            watch: int = _libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
            if watch < 0 and ctypes.get_errno() not in (errno.ENOENT, errno.ENOTDIR):
                raise _Unavailable(os.strerror(ctypes.get_errno()))
            return watch


else:

    class _Inotify:
        """No watches on this system; `Waiter` polls instead."""

        def __init__(
            self, paths: Sequence[Path], handles: Sequence[int], segments: Sequence[Path]
        ) -> None:
            raise _Unavailable("no inotify")

        def wait(self, timeout_s: float) -> bool:
            raise _Unavailable("no inotify")

        def renew(self) -> None:
            pass

        def close(self) -> None:
            pass
