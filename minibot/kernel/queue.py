"""Queue on disk: the layout of its files, and the opening of its writers and readers.

Files in the queue's folder:
    inbox.jsonl         every event, in order; the truth of this queue
    inbox.head          how far the inbox may be read
    acks.jsonl          ranges that the primary reader took, in order, with times
    deadletter.jsonl    lines that could not be used, each with its reason code
    cursor.json         position of the primary reader; further readers: readers/<role>/
    parts/<role>.jsonl  the events of each writer, in a queue with several writers

The primary reader of a queue is the role whose acks, dead letters and cursor lie in the queue's own
folder. Parts are merged into the inbox by the launcher (`watchdog.merge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.kernel.cursor import cursor_json
from minibot.kernel.errors import LockBusy, RunStop
from minibot.kernel.files import (
    FILES,
    Files,
    StrPath,
    ensure_folder,
    refuse_linked_folder,
    write_hashed,
)
from minibot.kernel.journal import (
    BATCH_BYTES_MAX,
    LINE_BYTES_MAX,
    SEGMENT_BYTES,
    JournalReader,
    JournalWriter,
    Position,
    create_journal,
)
from minibot.kernel.lock import WriterLock
from minibot.kernel.position import ZERO

COMPONENT: Final = "kernel.queue"
INBOX: Final = "inbox"
ACKS: Final = "acks"
DEAD_LETTERS: Final = "deadletter"
CURSOR_FILE: Final = "cursor.json"
PARTS: Final = "parts"
READERS: Final = "readers"


def queue_folder(root: StrPath, name: str) -> Path:
    """Return the folder of a queue under the root of all queues."""
    return Path(root) / name


def reader_folder(root: StrPath, name: str, reader: str, primary: bool) -> Path:
    """Return the folder of a reader's acks, dead letters and cursor."""
    folder = queue_folder(root, name)
    return folder if primary else folder / READERS / reader


def open_writer(
    root: StrPath,
    name: str,
    part: str | None = None,
    *,
    sync: bool = True,
    segment_bytes: int = SEGMENT_BYTES,
    floor: Position | None = None,
    line_bytes_max: int = LINE_BYTES_MAX,
    batch_bytes_max: int = BATCH_BYTES_MAX,
    files: Files = FILES,
) -> JournalWriter:
    """Return the writer of a queue's inbox, or of one role's part of it.

    Raises:
        RunStop: QUEUE_LOCKED, another writer holds the lock; or the disk refuses.
        IntegrityError: The existing files are damaged.
        Refusal: The file system grants the lock to two holders.
    """
    folder = queue_folder(root, name)
    refuse_linked_folder(folder, files=files)
    return _open(
        folder / PARTS if part else folder,
        part or INBOX,
        f"{part}.lock" if part else "writer.lock",
        sync=sync,
        segment_bytes=segment_bytes,
        floor=floor,
        line_bytes_max=line_bytes_max,
        batch_bytes_max=batch_bytes_max,
        files=files,
    )


def open_side_writer(
    folder: StrPath,
    stem: str,
    *,
    sync: bool = False,
    segment_bytes: int = SEGMENT_BYTES,
    files: Files = FILES,
) -> JournalWriter:
    """Return the writer of a reader's `acks` or `deadletter`, in its `reader_folder`.

    Raises:
        As for `open_writer`.
    """
    return _open(
        Path(folder), stem, f"{stem}.lock", sync=sync, segment_bytes=segment_bytes, files=files
    )


def open_reader(
    root: StrPath,
    name: str,
    start: Position = ZERO,
    part: str | None = None,
    *,
    files: Files = FILES,
) -> JournalReader:
    """Return a reader of a queue's inbox, or of one role's part of it."""
    folder = queue_folder(root, name)
    if part:
        return JournalReader(folder / PARTS, part, start, files=files)
    return JournalReader(folder, INBOX, start, files=files)


def make_queue(
    root: StrPath,
    name: str,
    primary: str | None,
    *,
    parts: Sequence[str] = (),
    files: Files = FILES,
) -> None:
    """Create a queue with all its files, empty; existing files are left as they are.

    Args:
        root: The folder of all queues.
        name: The queue.
        primary: The role that keeps its acks and cursor in the queue's folder, if any.
        parts: Roles with a part file of their own.
        files: The seam to the system.
    """
    folder = queue_folder(root, name)
    ensure_folder(folder, files=files)
    refuse_linked_folder(folder, files=files)
    for stem in (INBOX, ACKS, DEAD_LETTERS):
        create_journal(folder, stem, files=files)
    if parts:
        ensure_folder(folder / PARTS, files=files)
    for part in parts:
        create_journal(folder / PARTS, part, files=files)
    if files.stat(folder / CURSOR_FILE) is None:
        write_hashed(folder / CURSOR_FILE, cursor_json(None, name, primary, ZERO), files=files)


def _open(
    folder: Path,
    stem: str,
    lock_name: str,
    *,
    sync: bool,
    segment_bytes: int,
    floor: Position | None = None,
    line_bytes_max: int = LINE_BYTES_MAX,
    batch_bytes_max: int = BATCH_BYTES_MAX,
    files: Files,
) -> JournalWriter:
    ensure_folder(folder, files=files)
    refuse_linked_folder(folder, files=files)
    try:
        lock = WriterLock(folder / lock_name, files=files)
    except LockBusy as error:
        raise RunStop(COMPONENT, error.reason_code, str(error)) from error
    try:
        return JournalWriter(
            folder,
            stem,
            lock=lock,
            sync=sync,
            segment_bytes=segment_bytes,
            floor=floor,
            line_bytes_max=line_bytes_max,
            batch_bytes_max=batch_bytes_max,
            files=files,
        )
    except BaseException:
        lock.close()
        raise
