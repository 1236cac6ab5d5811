"""Journal writer: one per journal; each batch is written, synced and then published.

A batch is checked against the file's size and identity, written in one call, synced, and only
then published through the head, so that no reader sees lines that a crash could take back. (Of a
lazily synced journal a power loss may take lines back: there a batch is published before its sync.)
A batch that is refused before it is written changes nothing. After any other error the writer is
dead: recovery at the next start cuts or keeps what it did not publish.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from minibot.kernel import segments as names
from minibot.kernel.batch import COMPONENT, Batch, Batches
from minibot.kernel.codes import (
    IO_EIO,
    IO_FSYNC,
    IO_RENAME,
    QUEUE_FOREIGN_WRITE,
    QUEUE_LOCKED,
    QUEUE_MANIFEST,
    QUEUE_MISSING,
    QUEUE_REPLACED,
    QUEUE_TRUNCATED,
)
from minibot.kernel.errors import IntegrityError, InvariantError, RunStop
from minibot.kernel.files import (
    DISK_CALLS,
    FILES,
    Access,
    Files,
    Stat,
    StrPath,
    io_stop,
    is_sharing_violation,
    sync,
    sync_folder,
    write_all,
    write_through_all,
)
from minibot.kernel.head import Head, HeadWriter, create_head, head_path
from minibot.kernel.lock import WriterLock
from minibot.kernel.overlap import Overlap
from minibot.kernel.position import ZERO, Line, Position
from minibot.kernel.reader import JournalReader
from minibot.kernel.recovery import (
    Recovery,
    create_file,
    hash_segment,
    mark_suspect,
    recover,
)
from minibot.kernel.segments import Segment

__all__ = [
    "ZERO",
    "Head",
    "JournalReader",
    "JournalWriter",
    "Line",
    "Position",
    "Recovery",
    "create_journal",
]

SEGMENT_BYTES: Final = 64 * 1024 * 1024
LINE_BYTES_MAX: Final = 256 * 1024
# A crash can damage only the batch in flight. So this is also the longest tail that recovery may
# cut, and the most that a lazily synced journal leaves unsynced.
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024


class JournalWriter:
    """Writer of a journal, the only one, from recovery to close.

    Args:
        folder: The queue's folder.
        stem: `inbox`, `acks`, `deadletter`, or a role's name under `parts/`.
        lock: The held lock; the writer keeps it and releases it when closed.
        sync: True syncs each batch before it is published. False publishes it at once and leaves
            the sync to `sync`: this survives the death of the process but not of the machine.
        segment_bytes: A segment is sealed before it would grow beyond this.
        floor: A position up to which no line may be missing, such as a synced cursor; a journal
            with fewer lines is a STOP, except a lazily synced one after a reboot. By default there
            is none.
        line_bytes_max: Longer lines are refused.
        batch_bytes_max: Longer batches are written in several steps.
        files: The seam to the system.

    Attributes:
        recovered: Lines kept, bytes cut and quarantined at the start.
        rotations_postponed: How often another program held the file that should be sealed.

    Raises:
        IntegrityError: The existing files are damaged; see `recovery`.
    """

    def __init__(
        self,
        folder: StrPath,
        stem: str,
        *,
        lock: WriterLock,
        sync: bool = True,
        segment_bytes: int = SEGMENT_BYTES,
        floor: Position | None = None,
        line_bytes_max: int = LINE_BYTES_MAX,
        batch_bytes_max: int = BATCH_BYTES_MAX,
        files: Files = FILES,
    ) -> None:
        if not lock.is_held:
            raise InvariantError(COMPONENT, QUEUE_LOCKED, f"{lock.path} is not held")
        self.folder = Path(folder)
        self.stem = stem
        self.rotations_postponed = 0
        self._path = self.folder / names.active_name(stem)
        self._lock = lock
        self._is_eager = sync
        self._segment_bytes = segment_bytes
        self._batch_bytes_max = max(batch_bytes_max, line_bytes_max)
        self._batches = Batches(self._path, line_bytes_max, self._batch_bytes_max)
        self._files = files
        self._guard = threading.Lock()
        self._is_closed = False
        self._failure: RunStop | None = None
        self._written: Position | None = None  # End of lines yet to be published.
        self._beside: Overlap | None = None
        found = recover(
            self.folder, stem, floor=floor, batch_bytes_max=self._batch_bytes_max, files=files
        )
        self.recovered = found.recovery
        self._fd = found.fd
        self._at = self._synced = found.position
        self._segments = found.segments
        self._head = HeadWriter(head_path(self.folder, stem), not sync, files=files)
        # As text: a path would make it again at each use.
        self._name, self._head_name = os.fspath(self._path), os.fspath(self._head.path)
        try:
            self._head.open(self._at)
            self._identity = files.fstat(self._fd).identity
            self._head_identity = self._head.identity
        except BaseException:
            self._close_files()
            raise

    @property
    def position(self) -> Position:
        """End of the journal: after the last published line."""
        return self._at

    def append(self, lines: Sequence[bytes]) -> int:
        """Append whole lines and publish them; return the number of the first.

        Durable on return, unless the journal is synced lazily. Lines of more than
        `batch_bytes_max` together are published in several steps.

        Raises:
            ContractError: SCHEMA_INVALID, a line is longer than allowed; nothing was written.
            InvariantError: SCHEMA_INVALID, a line is not as `encode_line` writes it; nothing was
                written. The writer lives on after either of these two.
            IntegrityError: QUEUE_MISSING, QUEUE_REPLACED, QUEUE_TRUNCATED or QUEUE_FOREIGN_WRITE,
                another program changed the file; in a rotation also QUEUE_MANIFEST or
                ATOMICITY_VIOLATION.
            RunStop: The disk refuses, such as IO_ENOSPC or IO_FSYNC. After this or an
                IntegrityError the writer is dead.
        """
        with self._guard:
            first = self._ready()
            self._append_all(self._batches.of_lines(lines, self._at.chain))
            return first

    def append_json(self, jsons: Sequence[bytes]) -> int:
        """Append events given as canonical JSON; otherwise like `append`.

        Meant for events just encoded: the lines are made here and hashed once.
        """
        with self._guard:
            first = self._ready()
            self._append_all(self._batches.of_json(jsons, self._at.chain))
            return first

    def write_json(self, jsons: Sequence[bytes]) -> int:
        """Write events like `append_json`, but leave sync and publication to `publish`.

        Events beyond `batch_bytes_max` are appended in several steps; only the last step waits for
        `publish`.

        Meant for writing several journals at once: if all are written before the first is synced,
        they can be synced in parallel, see `begin_sync`.
        """
        with self._guard:
            first = self._ready()
            batches = self._batches.of_json(jsons, self._at.chain)
            self._append_all(batches[:-1])
            if batches:
                with self._dying():
                    self._written = self._write(batches[-1])
            return first

    def begin_sync(self) -> None:
        """Begin to sync, in a thread, what `write_json` has written, and return at once.

        `publish` waits for it and raises its error. A lazily synced journal is not synced here.
        """
        with self._guard:
            if self._written is None or not self._is_eager or self._failure is not None:
                return
            if self._beside is None:
                self._beside = Overlap()
            self._beside.start(self._sync_beside)

    def publish(self) -> None:
        """Sync the data of `write_json`, or wait for `begin_sync`, and publish it.

        Raises:
            RunStop: As for `append`; the writer is dead from then on. A writer that died or was
                closed since `write_json` publishes nothing: the next writer judges the data.
        """
        with self._guard:
            after, self._written = self._written, None
            if after is None:
                return
            if self._failure is not None:
                raise self._failure
            with self._dying():
                if self._is_eager:
                    if self._beside is not None and self._beside.is_under_way:
                        self._beside.wait()
                    else:
                        self._datasync()
                    self._synced = after
                self._publish(after)

    def append_all(self, batches: Iterable[Sequence[bytes]]) -> int:
        """Append batches of events as they come; return the number of events.

        While a thread writes, syncs and publishes one batch, the next one is drawn and hashed.
        Never more than one is in flight. An error of the iterable, or of a refused event, is raised
        once the batch before it is published; the writer lives on then. The iterable must not use
        the writer.

        Raises:
            As for `append_json`, for each batch.
        """
        with self._guard:
            first = self._ready()
            if not self._is_eager:
                for jsons in batches:
                    self._append_all(self._batches.of_json(jsons, self._at.chain))
                return self._at.seq + 1 - first
            chain = self._at.chain
            with Overlap() as overlap:
                for jsons in batches:
                    for batch in self._batches.of_json(jsons, chain):
                        overlap.begin(partial(self._append_beside, batch))
                        chain = batch.chain
            return self._at.seq + 1 - first

    def sync(self) -> None:
        """Wait until everything appended is on disk.

        Raises:
            RunStop: IO_FSYNC; the writer is dead from then on.
        """
        with self._guard:
            if self._failure is not None:
                raise self._failure
            if self._synced.seq != self._at.seq:
                try:
                    self._sync()
                except RunStop as error:
                    self._failure = error
                    raise

    def close(self) -> None:
        """Sync, close the files and release the lock; a dead writer syncs nothing."""
        with self._guard:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                if self._failure is None:
                    if self._synced.seq != self._at.seq:
                        self._sync()
                    self._head.sync()
            finally:
                self._failure = self._failure or InvariantError(
                    COMPONENT, IO_EIO, f"{self._path}: the writer is closed"
                )
                self._close_files()
                self._lock.close()

    # --- one batch ----------------------------------------------------------------------------

    def _ready(self) -> int:
        """Return the seq of the next line; a dead writer raises the error that ended it."""
        if self._failure is not None:
            raise self._failure
        if self._written is not None:
            raise InvariantError(COMPONENT, IO_EIO, f"{self._path}: written, not yet published")
        return self._at.seq + 1

    def _append_all(self, batches: Sequence[Batch]) -> None:
        try:
            for batch in batches:
                self._append(batch)
        except BaseException as error:
            self._die(error)
            raise

    def _die(self, error: BaseException) -> None:
        """Refuse all further appends: the next start's recovery judges the file."""
        self._failure = (
            error
            if isinstance(error, RunStop)
            else InvariantError(COMPONENT, IO_EIO, f"append ended by {error!r}")
        )

    @contextmanager
    def _dying(self) -> Iterator[None]:
        """Make any error within end the writer for good."""
        try:
            yield
        except BaseException as error:
            self._die(error)
            raise

    def _append_beside(self, batch: Batch, wait: Callable[[], None]) -> None:
        """Append in a thread; call `wait` before the part that releases the interpreter's lock.

        That part is the sync, and also the write where the system does both in one call.
        """
        with self._dying():
            if not self._files.writes_through:
                self._append(batch, wait)
                return
            self._make_room(batch)
            wait()
            self._write_through(batch.data)
            self._synced = self._after(batch)
            self._publish(self._synced)

    def _sync_beside(self, wait: Callable[[], None]) -> None:
        wait()
        self._datasync()

    def _append(self, batch: Batch, wait: Callable[[], None] | None = None) -> None:
        after = self._write(batch)
        if self._is_eager:
            if wait is not None:
                wait()
            self._datasync()
            self._synced = after
        self._publish(after)

    def _publish(self, after: Position) -> None:
        self._head.publish(after)
        self._at = after

    def _write(self, batch: Batch) -> Position:
        """Write a batch after the published lines; return its end."""
        self._make_room(batch)
        write_all(self._files, self._fd, batch.data, self._at.offset, self._path)
        return self._after(batch)

    def _after(self, batch: Batch) -> Position:
        """Return the end of a batch that follows the published lines."""
        at = self._at
        offset = at.offset + len(batch.data)
        return Position(at.seq + batch.lines, at.segment, offset, batch.chain)

    def _make_room(self, batch: Batch) -> None:
        """Check the files; first begin a new segment or sync if the batch requires it."""
        at = self._at
        size = len(batch.data)
        self._check_files()
        if at.offset and at.offset + size > self._segment_bytes and self._rotate():
            at = self._at
        if not self._is_eager and at.offset + size - self._unsynced_from() > self._batch_bytes_max:
            self._sync()

    def _unsynced_from(self) -> int:
        return self._synced.offset if self._synced.segment == self._at.segment else 0

    def _check_files(self) -> None:
        """Refuse a segment of another size, and a segment or head that lost its name."""
        files, at = self._files, self._at
        try:
            named = files.stat(self._name)
            head = files.stat(self._head_name)
        except OSError as error:
            raise io_stop(error, "look at", self._path) from error
        if (
            named is None
            or head is None
            or named.identity != self._identity
            or head.identity != self._head_identity
            or named.size != at.offset
        ):
            self._refuse_files(named, head)

    def _refuse_files(self, named: Stat | None, head: Stat | None) -> NoReturn:
        """Raise the error that names what another program did to the files."""
        at, size = self._at, 0 if named is None else named.size
        for path, status, identity in (
            (self._path, named, self._identity),
            (self._head.path, head, self._head_identity),
        ):
            if status is None:
                self._fail(QUEUE_MISSING, path, "deleted under the writer", "a file", "none")
            elif status.identity != identity:
                self._fail(QUEUE_REPLACED, path, "another file", identity, status.identity)
        if size > at.offset:
            self._fail(QUEUE_FOREIGN_WRITE, self._path, "somebody else wrote", at.offset, size)
        self._fail(QUEUE_TRUNCATED, self._path, "cut under the writer", at.offset, size)

    def _sync(self) -> None:
        at = self._at
        self._datasync()
        self._synced = at
        if not self._is_eager:
            self._head.mark_synced(at)

    def _write_through(self, data: bytes) -> None:
        """Write after the published lines and sync in one call."""
        try:
            write_through_all(self._files, self._fd, data, self._at.offset, self._path)
        except RunStop as error:
            if error.reason_code == IO_FSYNC:
                mark_suspect(self.folder, self.stem, self._files)
            raise

    def _datasync(self) -> None:
        try:
            sync(lambda: self._files.datasync(self._fd), self._path)
        except RunStop:
            mark_suspect(self.folder, self.stem, self._files)
            raise

    # --- rotation -----------------------------------------------------------------------------

    def _rotate(self) -> bool:
        """Seal the full segment and begin the next; False if another program holds the file.

        Each step is durable before the next one, so that recovery finishes a rotation after a crash
        at any step. Readers find the segment under either name.
        """
        at, files = self._at, self._files
        if self._synced.seq != at.seq:
            self._sync()
        number = at.segment
        sealed = self.folder / names.sealed_name(self.stem, number)
        before = names.end_of(self._segments)
        if not self._rename(sealed):
            return False
        sync_folder(files, self.folder)
        digest = hash_segment(files, self._fd, sealed, at.offset)
        lines = at.seq - before.seq
        entry = Segment(sealed.name, at.offset, lines, digest, before.chain, at.chain)
        self._segments.append(entry)
        names.write_segments(self.folder, self.stem, self._segments, files=files)
        files.close(self._fd)
        self._fd = -1
        self._fd = create_file(self._path, files)
        self._identity = files.fstat(self._fd).identity
        self._at = self._synced = Position(at.seq, number + 1, 0, at.chain)
        self._head.publish(self._at)
        return True

    def _rename(self, sealed: Path) -> bool:
        if self._files.stat(sealed) is not None:
            self._fail(QUEUE_MANIFEST, sealed, "stands before it was sealed", "nothing", "a file")
        try:
            with DISK_CALLS:
                self._files.replace(self._path, sealed)
        except OSError as error:
            if is_sharing_violation(error):
                # Another program holds the file: appends go on in an overlong segment.
                self.rotations_postponed += 1
                return False
            detail = f"rename of {self._path}: {error.strerror or error}"
            raise RunStop(COMPONENT, IO_RENAME, detail) from error
        return True

    # --- the end ------------------------------------------------------------------------------

    def _close_files(self) -> None:
        if self._beside is not None:
            self._beside.close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._files.close(fd)
        self._head.close()

    def _fail(self, code: str, path: Path, why: str, expected: object, found: object) -> NoReturn:
        raise IntegrityError(
            COMPONENT,
            code,
            why,
            file=str(path),
            offset=self._at.offset,
            expected=str(expected),
            found=str(found),
        )


def create_journal(folder: StrPath, stem: str, *, files: Files = FILES) -> None:
    """Create an empty journal with its head, unless it exists.

    Nothing is synced: without a line there is nothing to lose, and the writer syncs names and
    files before it publishes the first one.
    """
    path = Path(folder) / names.active_name(stem)
    head = head_path(Path(folder), stem)
    if files.stat(path) is not None or files.stat(head) is not None:
        return
    try:
        files.close(files.open(path, Access.CREATE))
    except OSError as error:
        raise io_stop(error, "create", path) from error
    create_head(head, ZERO, files=files)
