"""File system in memory under the kernel's own seam: content of the cache and of the disk.

Data is kept by pages: each version of a page since the last sync may be on the disk whole, in part,
or not at all. Names are kept as operations since the last sync of their folder. A failed sync drops
the data that it should have written, as real systems do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

from minibot.kernel.files import Access, Files, Stat, StrPath

ROOT: Final = os.sep + "sim"
ATOMIC_BYTES: Final = 64
_DEVICE: Final = 7

Before = Callable[[str, str], None]
"""Called before each call that changes something: (call, path); it may raise."""


class Node:
    """One file: its content now, and every version that the disk may hold.

    Attributes:
        number: Identity of the file, kept by renames and links.
        data: Content that every process sees.
        disk: Content that a crash cannot take.
        versions: By page, its content after each write since the last sync.
        sizes: Sizes the file had since the last sync.
    """

    __slots__ = ("data", "disk", "is_clean", "number", "sizes", "versions")

    def __init__(self, number: int, data: bytes = b"") -> None:
        self.number = number
        self.data = bytearray(data)
        self.disk = data
        self.versions: dict[int, list[bytes]] = {}
        self.sizes: list[int] = []
        self.is_clean = True

    def wrote(self, start: int, end: int, size_before: int, page_bytes: int) -> None:
        """Record the content of pages after a write or a cut."""
        self.is_clean = False
        data = self.data
        if len(data) != size_before:
            self.sizes.append(len(data))
        for page in range(start // page_bytes, -(-end // page_bytes)):
            at = page * page_bytes
            self.versions.setdefault(page, []).append(bytes(data[at : at + page_bytes]))

    def content(self, size: int, pages: list[tuple[int, bytes]], page_bytes: int) -> bytes:
        """Return the file with a chosen size and chosen pages over its synced content."""
        found = bytearray(self.disk[:size].ljust(size, b"\0"))
        for page, data in pages:
            at = page * page_bytes
            if at < size:
                found[at : at + len(data)] = data
        return bytes(found[:size])

    def settle(self, page_bytes: int) -> None:
        """Put the newest version of every page on the disk."""
        if self.is_clean:
            return
        latest = [(page, versions[-1]) for page, versions in self.versions.items()]
        self.disk = self.content(len(self.data), latest, page_bytes)
        self.forget()

    def forget(self) -> None:
        """Mark every page clean."""
        self.versions.clear()
        self.sizes.clear()
        self.is_clean = True


class Folder:
    """Folder that stands at a path."""


FOLDER: Final = Folder()
Entry = Node | Folder
NameChange = tuple[str, tuple[tuple[str, Entry | None], ...]]
"""One operation on names not yet synced: (folder, ((path, what stands there after), ...))."""


class SimFiles(Files):
    """Kernel's seam over a file system in memory; one process, any number of open files.

    Args:
        page_bytes: Size of the pages in which data reaches the disk.
        boot: Number of this start of the machine.
        is_ordered: Operations on names reach the disk in order, as with a metadata journal; else
            each on its own, as POSIX allows.
        is_tracking: False keeps no record of what a crash may take.

    Attributes:
        names: Files and folders by path, as every process sees them.
        disk_names: The names that a crash cannot take.
        pending: Operations on names that a crash may take, in order.
        before: Called before each change, and within long writes.
        short_bytes: The most that one write takes; None for all.
        space_bytes: How much more may be written before the disk is full; None: never.
        kept: Results that observers derived from the names; emptied when a name changes.
    """

    # As on Linux, so that `append_all` takes the same path as there.
    writes_through: ClassVar[bool] = True

    def __init__(
        self,
        page_bytes: int = 512,
        boot: int = 1,
        *,
        is_ordered: bool = True,
        is_tracking: bool = True,
    ) -> None:
        super().__init__()
        self.page_bytes = page_bytes
        self.is_ordered = is_ordered
        self.boot = boot
        self.is_tracking = is_tracking
        self.names: dict[str, Entry] = {ROOT: FOLDER}
        self.disk_names: dict[str, Entry] = {ROOT: FOLDER}
        self.pending: list[NameChange] = []
        self.before: Before | None = None
        self.short_bytes: int | None = None
        self.space_bytes: int | None = None
        self.kept: dict[str, Any] = {}
        self._open: dict[int, tuple[Node, str]] = {}
        self._locked: dict[int, int] = {}
        self._next_fd = 100
        self._next_node = 1
        self._now_ns = 1

    # --- files --------------------------------------------------------------------------------

    def open(self, path: StrPath, access: Access) -> int:
        """Return a descriptor; a new file is one operation on names."""
        name = os.fspath(path)
        entry = self.names.get(name)
        if access is Access.CREATE:
            self._enter("open", name)
            if entry is not None:
                raise FileExistsError(errno.EEXIST, "exists", name)
            if name.rpartition(os.sep)[0] not in self.names:
                raise FileNotFoundError(errno.ENOENT, "no folder", name)
            entry = Node(self._new_number())
            self._change(name, ((name, entry),))
        elif entry is None:
            raise FileNotFoundError(errno.ENOENT, "nothing there", name)
        elif isinstance(entry, Folder):
            raise IsADirectoryError(errno.EISDIR, "a folder", name)
        elif access is Access.WRITE:
            self._enter("reopen", name)
        fd = self._next_fd = self._next_fd + 1
        self._open[fd] = (entry, name)
        return fd

    def close(self, fd: int) -> None:
        """Close a descriptor and release its lock."""
        found = self._open.pop(fd, None)
        if found is None:
            return  # After `kill`.
        if self._locked.get(found[0].number) == fd:
            del self._locked[found[0].number]

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Return bytes as every process sees them."""
        return bytes(self._open[fd][0].data[offset : offset + size])

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write into the cache; a crash may come in the middle of a long write."""
        node, name = self._open[fd]
        self._enter("pwrite", name)
        count = self._room_for(len(data))
        if self.before is not None and count > ATOMIC_BYTES:
            # A process may die in the middle of a long write. A write as short as a head's slot
            # lies in one page and is never split: the system locks the page while it is copied.
            cut = 1 + (count * 5 // 8 + len(node.data)) % (count - 1)
            self._put(node, data[:cut], offset)
            self.before("within pwrite", name)
            self._put(node, data[cut:count], offset + cut)
        else:
            self._put(node, data[:count], offset)
        return count

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file in the cache."""
        node, name = self._open[fd]
        self._enter("truncate", name)
        before = len(node.data)
        if size < before:
            del node.data[size:]
        else:
            node.data.extend(bytes(size - before))
        if self.is_tracking:
            for page in [page for page in node.versions if page * self.page_bytes >= size]:
                del node.versions[page]
            end = min(size, before)
            node.wrote(end, end + 1 if size else 0, before, self.page_bytes)

    def datasync(self, fd: int) -> None:
        """Put the file's data and size on the disk."""
        self._sync("datasync", fd)

    def write_through(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write into the cache, then put data and size on the disk: a crash may come between."""
        count = self.pwrite(fd, data, offset)
        self.datasync(fd)
        return count

    def sync(self, fd: int) -> None:
        """Put data and size on the disk; the name belongs to the folder's sync."""
        self._sync("sync", fd)

    def stat(self, path: StrPath) -> Stat | None:
        """Return the status of a path."""
        entry = self.names.get(os.fspath(path))
        if entry is None:
            return None
        if isinstance(entry, Folder):
            return Stat(0, _DEVICE, 0, False, True)
        return Stat(len(entry.data), _DEVICE, entry.number, True, False)

    def fstat(self, fd: int) -> Stat:
        """Return the status of a descriptor."""
        node = self._open[fd][0]
        return Stat(len(node.data), _DEVICE, node.number, True, False)

    # --- names --------------------------------------------------------------------------------

    def replace(self, source: StrPath, target: StrPath) -> None:
        """Rename as one operation on names, in one folder."""
        old, new = os.fspath(source), os.fspath(target)
        self._enter("replace", new)
        entry = self.names.get(old)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, "nothing there", old)
        # POSIX leaves both names where they belong to one file.
        if self.names.get(new) is not entry:
            self._change(new, ((old, None), (new, entry)))

    def link(self, source: StrPath, target: StrPath) -> None:
        """Link as one operation on names."""
        old, new = os.fspath(source), os.fspath(target)
        self._enter("link", new)
        entry = self.names.get(old)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, "nothing there", old)
        if new in self.names:
            raise FileExistsError(errno.EEXIST, "exists", new)
        self._change(new, ((new, entry),))

    def unlink(self, path: StrPath) -> None:
        """Unlink as one operation on names; open descriptors keep the file."""
        name = os.fspath(path)
        self._enter("unlink", name)
        if name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "nothing there", name)
        self._change(name, ((name, None),))

    def listdir(self, path: StrPath) -> list[str]:
        """Return the names in a folder, sorted."""
        folder = os.fspath(path) + os.sep
        at = len(folder)
        return sorted(
            name[at:] for name in self.names if name.startswith(folder) and os.sep not in name[at:]
        )

    def mkdir(self, path: StrPath) -> None:
        """Make a folder as one operation on names."""
        name = os.fspath(path)
        self._enter("mkdir", name)
        if name in self.names:
            raise FileExistsError(errno.EEXIST, "exists", name)
        self._change(name, ((name, FOLDER),))

    def rmdir(self, path: StrPath) -> None:
        """Remove a folder as one operation on names."""
        name = os.fspath(path)
        self._enter("rmdir", name)
        entry = self.names.get(name)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, "nothing there", name)
        if isinstance(entry, Node):
            raise NotADirectoryError(errno.ENOTDIR, "a file", name)
        if self.listdir(name):
            raise OSError(errno.ENOTEMPTY, "not empty", name)
        self._change(name, ((name, None),))

    def sync_folder(self, path: StrPath) -> None:
        """Put the names of a folder on the disk."""
        folder = os.fspath(path)
        self._enter("sync_folder", folder)
        self.kept.clear()
        mine = [at for at, change in enumerate(self.pending) if change[0] == folder]
        if self.is_ordered and mine:
            # A metadata journal is written up to a point, so earlier operations reach the disk too.
            mine = list(range(mine[-1] + 1))
        for at in mine:
            apply_change(self.disk_names, self.pending[at])
        self.pending = [change for at, change in enumerate(self.pending) if at not in mine]

    # --- the rest of the system ---------------------------------------------------------------

    def try_lock(self, fd: int) -> bool:
        """Lock a file until its descriptor is closed."""
        number = self._open[fd][0].number
        return self._locked.setdefault(number, fd) == fd

    def boot_id(self) -> str:
        """Return the number of this start of the machine."""
        return f"boot {self.boot}"

    def monotonic_ns(self) -> int:
        """Return a time that advances with each call."""
        self._now_ns += 1
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        self._now_ns += int(seconds * 1e9)

    # --- for the crash simulator -------------------------------------------------------------

    def kill(self) -> None:
        """Kill the process: descriptors and locks go, the cache stays."""
        self._open.clear()
        self._locked.clear()

    def step_clock(self, nanoseconds: int) -> None:
        """Make the machine's clock jump, forwards or backwards."""
        self._now_ns += nanoseconds

    def settle(self) -> None:
        """Put everything on the disk, as would happen in time."""
        for node in self.nodes():
            node.settle(self.page_bytes)
        self.disk_names = dict(self.names)
        self.pending.clear()
        self.kept.clear()

    def nodes(self) -> Iterator[Node]:
        """Yield every file that has a name now or may have one after a crash."""
        seen: set[int] = set()
        entries = [*self.names.values(), *self.disk_names.values()]
        for _, changes in self.pending:
            entries += [entry for _, entry in changes if entry is not None]
        for entry in entries:
            if isinstance(entry, Node) and entry.number not in seen:
                seen.add(entry.number)
                yield entry

    def read(self, path: StrPath) -> bytes:
        """Return the content of a file as every process sees it; empty without the file."""
        entry = self.names.get(os.fspath(path))
        return bytes(entry.data) if isinstance(entry, Node) else b""

    def put(self, name: str, entry: Entry) -> None:
        """Place a file or folder at a path, on the disk too."""
        self.names[name] = self.disk_names[name] = entry
        self.kept.clear()
        if isinstance(entry, Node):
            self._next_node = max(self._next_node, entry.number + 1)

    def _enter(self, call: str, name: str) -> None:
        if self.before is not None:
            self.before(call, name)

    def _room_for(self, count: int) -> int:
        """Return how many bytes a write accepts: on a full disk the rest, then none."""
        if self.short_bytes is not None:
            count = min(count, self.short_bytes)
        if self.space_bytes is not None and count:
            count = min(count, self.space_bytes)
            if not count:
                raise OSError(errno.ENOSPC, "no space left on device")
            self.space_bytes -= count
        return count

    def _put(self, node: Node, data: bytes | memoryview, offset: int) -> None:
        if not data:
            return
        before = len(node.data)
        if offset > before:
            node.data.extend(bytes(offset - before))
        node.data[offset : offset + len(data)] = data
        if self.is_tracking:
            node.wrote(min(offset, before), offset + len(data), before, self.page_bytes)

    def _sync(self, call: str, fd: int) -> None:
        node, name = self._open[fd]
        try:
            self._enter(call, name)
        except OSError:
            node.forget()  # The system marks the pages clean, although the disk never got them.
            raise
        if self.is_tracking:
            node.settle(self.page_bytes)

    def _change(self, name: str, changes: tuple[tuple[str, Entry | None], ...]) -> None:
        change = (name.rpartition(os.sep)[0], changes)
        apply_change(self.names, change)
        self.kept.clear()
        if self.is_tracking:
            self.pending.append(change)

    def _new_number(self) -> int:
        number = self._next_node
        self._next_node += 1
        return number


def apply_change(names: dict[str, Entry], change: NameChange) -> None:
    """Carry out one operation on names."""
    for name, entry in change[1]:
        if entry is None:
            names.pop(name, None)
        else:
            names[name] = entry
