"""Recording on disk: gzip parts that are closed one by one, each listed with its sha256.

    tape-20261120T143000Z-0001.gz   a closed part; plays by itself
    SHA256SUMS                      sums of every closed part, in the format of `sha256sum -c`
    tape-...-0002.gz.part           the open part; after a crash it is saved at the next start

The recorder (`market.recorder`) calls `Part.flush` every second, so a crash costs at most one
second. Nothing here flushes by itself.
"""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from minibot.exchanges.tapes.lines import BRACKETS, Line, written
from minibot.exchanges.tapes.tape import split_line
from minibot.exchanges.tapes.unpacking import bounded_lines
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import (
    FILES,
    Access,
    Files,
    hash_file,
    io_stop,
    put_atomic,
    read_whole,
    sync,
    sync_folder,
    write_all,
    write_atomic,
)

SUMS: Final = "SHA256SUMS"
OPEN: Final = ".part"
# zlib's level 6 takes twice the time of level 3 and makes market data only a tenth smaller.
LEVEL: Final = 3
GZIP_WINDOW: Final = zlib.MAX_WBITS | 16


class Part:
    """One part being written.

    After a write or sync that the disk refused, every later one raises the same: the stream lacks
    bytes in its middle, and no line behind them could be unpacked.
    """

    def __init__(self, path: Path, files: Files = FILES) -> None:
        """Create the file.

        Raises:
            RunStop: It cannot be created, or exists already.
        """
        self.path = path
        self.lines = 0
        self.first_ns = 0
        self.last_ns = 0
        self.size = 0
        self._files = files
        self._refusal: RunStop | None = None
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_WINDOW)
        try:
            self._fd = files.open(path, Access.CREATE)
        except OSError as error:
            raise io_stop(error, "create", path) from error

    def add(self, at_ns: int, message: bytes) -> None:
        """Append one line; time never goes back within a part."""
        at_ns = max(at_ns, self.last_ns)
        self.first_ns = self.first_ns or at_ns
        self.last_ns = at_ns
        self.lines += 1
        self._write(self._packer.compress(written(at_ns, message)))

    def _write(self, data: bytes) -> None:
        if data:
            self._do(lambda: write_all(self._files, self._fd, data, self.size, self.path))
            self.size += len(data)

    def _do(self, call: Callable[[], None]) -> None:
        if self._refusal is not None:
            raise self._refusal
        try:
            call()
        except RunStop as error:
            self._refusal = error
            raise

    def flush(self) -> None:
        """Flush all lines so far to the disk, so that a reader of the file can unpack them."""
        self._write(self._packer.flush(zlib.Z_SYNC_FLUSH))
        self._do(lambda: sync(lambda: self._files.datasync(self._fd), self.path))

    def close(self) -> None:
        """End the gzip stream and the file.

        Raises:
            RunStop: The disk refuses the end, or has refused something before.
        """
        try:
            self._write(self._packer.flush(zlib.Z_FINISH))
            self._do(lambda: sync(lambda: self._files.sync(self._fd), self.path))
        finally:
            self._files.close(self._fd)


class Recording:
    """Folder of a recording: one open part, closed parts, and their sums.

    The caller holds the folder's lock.
    """

    def __init__(self, folder: Path, files: Files = FILES) -> None:
        self.folder = folder
        self.part: Part | None = None
        self.parts: list[Path] = []
        self._files = files

    def open(self, now_ns: int) -> Part:
        """Begin a part."""
        number = 1 + max((_number(path) for path in self.folder.glob("tape-*")), default=0)
        stamp = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
        path = self.folder / f"tape-{stamp}-{number:04d}.gz{OPEN}"
        self.part = Part(path, self._files)
        return self.part

    def close(self) -> Path | None:
        """Close the open part and list it; a part without lines is removed.

        Raises:
            RunStop: The disk refuses the part; it stays as after a crash, and `saved` mends it.
        """
        part, self.part = self.part, None
        if part is None:
            return None
        part.close()
        if not part.lines:
            self._files.unlink(part.path)
            return None
        return self._list(part.path, part.path.with_name(part.path.name.removesuffix(OPEN)))

    def _list(self, source: Path, target: Path) -> Path:
        self._files.replace(source, target)
        sync_folder(self._files, self.folder)
        sums = self.folder / SUMS
        before = read_whole(sums) if sums.exists() else b""
        write_atomic(sums, before + f"{hash_file(target)[1]}  {target.name}\n".encode())
        self.parts.append(target)
        return target

    def saved(self) -> list[tuple[Path, int, int]]:
        """Close parts that a crash left open; return each with its line count and its last time.

        Bytes after the last whole line are cut off. A part without a whole line is removed. After
        a crash within this call the next one does it again; a part may then be listed twice, with
        the same sum.
        """
        found = []
        for path in sorted(self.folder.glob(f"tape-*.gz{OPEN}")):
            target = path.with_name(path.name.removesuffix(OPEN))
            mended = path.with_name(f"{target.name}.mended")
            last: deque[Line] = deque(maxlen=1)
            # A part unpacks to gigabytes, so its lines pass one by one.
            put_atomic(mended, packed(_noted(_whole_lines(path), last)), files=self._files)
            if last:
                self._list(mended, target)
                found.append((target, last[0].number, last[0].at_ns))
            else:
                self._files.unlink(mended)
            self._files.unlink(path)
        self._list_forgotten()
        return found

    def _list_forgotten(self) -> None:
        """List parts that were closed right before a crash, but not listed in time."""
        sums = self.folder / SUMS
        listed = sums.read_text() if sums.exists() else ""
        for path in sorted(self.folder.glob("tape-*.gz")):
            if path.name not in listed:
                self._list(path, path)

    def last_ns(self) -> int:
        """Return the receive time of the last line of the last closed part; 0 without any."""
        for path in sorted(self.folder.glob("tape-*.gz"), key=_number)[-1:]:
            with suppress(Refusal):
                for line in deque(_ended_lines(path), maxlen=1):  # Within a part, time never falls.
                    return split_line(path, 0, line, BRACKETS)[0]
        return 0


def _number(path: Path) -> int:
    """Return the number in a part's name; 0 for any other file."""
    digits = path.name.partition(".gz")[0].rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _whole_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a gzip file that may end anywhere, up to the first damage."""
    with suppress(Refusal):
        for number, line in enumerate(_ended_lines(path), 1):
            yield Line(number, *split_line(path, number, line, BRACKETS))


def _ended_lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file, suppress(EOFError, gzip.BadGzipFile, zlib.error, Refusal):
        for line in bounded_lines(path, file):
            if line.endswith(b"\n"):
                yield line


def _noted(lines: Iterable[Line], last: deque[Line]) -> Iterator[Line]:
    """Yield lines, and leave the last of them in `last`."""
    for line in lines:
        last.append(line)
        yield line


def packed(lines: Iterable[Line]) -> Iterator[bytes]:
    """Yield the gzip bytes of lines, piece by piece."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    for line in lines:
        data = packer.compress(written(line.at_ns, line.message))
        if data:
            yield data
    yield packer.flush()
