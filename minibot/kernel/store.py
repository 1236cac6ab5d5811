"""Store of files by their content: each is named by its sha256 and is there once.

What several backups have in common, such as a sealed segment, a model or a manifest, is there once.
A file appears whole or not at all, and never changes; `sweep` removes a file that no list names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Final, NamedTuple

from minibot.kernel.canonical import JsonObject
from minibot.kernel.codes import ATOMICITY_VIOLATION
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import (
    FILES,
    TEMP_SUFFIX,
    Access,
    Files,
    chunks_of,
    ensure_below,
    hash_file,
    io_stop,
    sync,
    sync_folder,
    write_all,
)

COMPONENT: Final = "kernel.store"
INCOMING: Final = f"incoming{TEMP_SUFFIX}"
_NAME: Final = re.compile(r"[0-9a-f]{64}")


class Content(NamedTuple):
    """Content of a file: its size in bytes and its sha256, hex."""

    size: int
    sha256: str

    def to_json(self) -> JsonObject:
        """Return it as the entry of a manifest."""
        return {"size": self.size, "sha256": self.sha256}

    @classmethod
    def of_json(cls, entry: object) -> Content:
        """Return the content that an entry names.

        Raises:
            ValueError: It names none.
        """
        if isinstance(entry, dict) and set(entry) == {"size", "sha256"}:
            size, digest = entry["size"], entry["sha256"]
            is_size = type(size) is int and size >= 0
            if is_size and isinstance(digest, str) and _NAME.fullmatch(digest):
                return cls(size, digest)
        raise ValueError(f"{entry!r} is not a size and a sha256")


def content_of(data: bytes) -> Content:
    """Return the content of bytes."""
    return Content(len(data), sha256(data).hexdigest())


class Store:
    """Files by their content in one folder; one process at a time writes.

    Args:
        folder: Their folder; it is made, its parent has to exist.
        pace: Called with the size of each piece before it is written; it may raise to give up, or
            sleep to slow down.
        files: The seam to the system.
    """

    def __init__(
        self, folder: Path, pace: Callable[[int], None] = lambda size: None, *, files: Files = FILES
    ) -> None:
        self.folder = folder
        self._pace = pace
        self._files = files

    def has(self, content: Content) -> bool:
        """Return whether a content is here in its whole size."""
        status = self._files.stat(self.folder / content.sha256)
        return status is not None and status.is_file and status.size == content.size

    def put_file(self, path: Path, known: Content | None = None) -> Content:
        """Store a file; return its content.

        Args:
            path: The file.
            known: Its content as recorded earlier; if that is here, nothing is read.

        Raises:
            IntegrityError: ATOMICITY_VIOLATION, it is not as recorded; what was read instead stays
                stored under its own sha256.
            RunStop: The disk refuses.
        """
        content = known or Content(*hash_file(path, files=self._files))
        if self.has(content):
            return content
        found = self.put(chunks_of(path, files=self._files))
        if known is not None and found != known:
            raise IntegrityError(
                COMPONENT,
                ATOMICITY_VIOLATION,
                "not what was recorded",
                file=str(path),
                expected=f"{known.size} bytes, {known.sha256}",
                found=f"{found.size} bytes, {found.sha256}",
            )
        return found

    def put(self, chunks: Iterable[bytes]) -> Content:
        """Store pieces as one file; return its content. `settle` makes its name durable.

        A single piece that is here already is not written again. Several pieces always are: their
        sha256 is known only at the end. Each piece is synced before the next, so that a sync of a
        run on the same disk waits for one piece at most.

        Raises:
            RunStop: The disk refuses; nothing remains of it.
        """
        rest = filter(None, chunks)
        pieces = list(islice(rest, 2))
        if len(pieces) < 2:
            # Many small files of a run have not changed since the last backup.
            content = content_of(b"".join(pieces))
            if self.has(content):
                return content
        files, path = self._files, self.folder / INCOMING
        ensure_below(self.folder.parent, self.folder, files=files)
        with suppress(FileNotFoundError):
            files.unlink(path)  # Left by a killed writer.
        try:
            fd = files.open(path, Access.CREATE)
        except OSError as error:
            raise io_stop(error, "create", path) from error
        try:
            try:
                content = self._write(fd, path, chain(pieces, rest))
            finally:
                files.close(fd)
            try:
                files.replace(path, self.folder / content.sha256)
            except OSError as error:
                raise io_stop(error, "rename", path) from error
        except BaseException:  # The pieces may raise anything.
            with suppress(OSError):
                files.unlink(path)
            raise
        return content

    def settle(self) -> None:
        """Make the names of all stored files durable, before any list names them."""
        if self._files.stat(self.folder) is not None:
            sync_folder(self._files, self.folder)

    def _write(self, fd: int, path: Path, chunks: Iterable[bytes]) -> Content:
        digest, size = sha256(), 0
        for chunk in chunks:
            self._pace(len(chunk))
            write_all(self._files, fd, chunk, size, path)
            sync(lambda: self._files.datasync(fd), path)
            digest.update(chunk)
            size += len(chunk)
        return Content(size, digest.hexdigest())

    def chunks(self, content: Content) -> Iterator[bytes]:
        """Yield a stored file in pieces, verified against its name at the end.

        Raises:
            IntegrityError: ATOMICITY_VIOLATION: before the first piece if it is missing or has
                another size, after the last if it does not match its name.
            RunStop: The system's error.
        """
        path = self.folder / content.sha256
        if not self.has(content):
            raise _damaged(path, f"{content.size} bytes", "nothing, or another size")
        digest = sha256()
        for chunk in chunks_of(path, files=self._files):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != content.sha256:
            raise _damaged(path, content.sha256, digest.hexdigest())

    def sweep(self, named: Collection[str]) -> int:
        """Remove each content whose sha256 is not named; return the bytes freed.

        Files whose name is not a sha256 stay.
        """
        freed = 0
        if self._files.stat(self.folder) is None:
            return freed
        for name in self._files.listdir(self.folder):
            path = self.folder / name
            status = self._files.stat(path)
            if _NAME.fullmatch(name) and name not in named and status is not None:
                try:
                    self._files.unlink(path)
                except OSError as error:
                    raise io_stop(error, "remove", path) from error
                freed += status.size
        return freed


def _damaged(path: Path, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        COMPONENT,
        ATOMICITY_VIOLATION,
        "not what was stored",
        file=str(path),
        expected=expected,
        found=found,
    )
