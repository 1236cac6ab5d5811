"""Stores for events: our journal, the raw floor, and databases that people use instead.

The same loop gives every store the same lines (`sha256:<hex>:<json>` with a newline), so that all
of them include validation, encoding and hashing. `append` returns when the batch is as durable as
the store's name says.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from minibot.kernel.queue import open_reader, open_writer
from tools.bench import workload

if sys.platform == "linux":
    datasync = os.fdatasync
else:
    datasync = os.fsync


class Store(Protocol):
    """Store of events as canonical JSON."""

    def append(self, batch: Sequence[bytes]) -> None:
        """Store a batch; durable on return as far as the store is."""

    def append_all(self, batches: Iterable[Sequence[bytes]]) -> None:
        """Store batches as they come, each as durable as `append` makes it."""

    def count(self) -> int:
        """Return the number of events in the store."""

    def close(self) -> None:
        """Release all resources."""


class OneByOne:
    """Store that accepts one batch after another."""

    def append(self, batch: Sequence[bytes]) -> None:
        """Store a batch."""
        raise NotImplementedError

    def append_all(self, batches: Iterable[Sequence[bytes]]) -> None:
        """Store batches as they come."""
        for batch in batches:
            self.append(batch)


class Journal(OneByOne):
    """Our journal: hash, chain, checks, one sync a batch, head."""

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        self._folder = folder
        self._writer = open_writer(folder, workload.TICKS, sync=sync)

    def append(self, batch: Sequence[bytes]) -> None:
        """Append and publish."""
        self._writer.append_json(batch)

    def append_all(self, batches: Iterable[Sequence[bytes]]) -> None:
        """Append batches as they come; the next one is encoded while one is synced."""
        self._writer.append_all(batches)

    def count(self) -> int:
        """Return the lines that a reader can read."""
        reader = open_reader(self._folder, workload.TICKS)
        lines = reader.head().lines
        reader.close()
        return lines

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()


class Floor(OneByOne):
    """Raw floor: a line with its hash, one write, one fdatasync; no protocol and no checks."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._fd = os.open(folder / "floor.jsonl", flags, 0o600)
        self._count = 0

    def append(self, batch: Sequence[bytes]) -> None:
        """Write the lines and sync them."""
        lines = [
            b"sha256:" + sha256(json).hexdigest().encode() + b":" + json + b"\n" for json in batch
        ]
        os.write(self._fd, b"".join(lines))
        datasync(self._fd)
        self._count += len(batch)

    def count(self) -> int:
        """Return the number of written lines."""
        return self._count

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Sqlite(OneByOne):
    """A table in write-ahead mode, one transaction a batch."""

    def __init__(self, folder: Path, synchronous: str) -> None:
        self._db = sqlite3.connect(folder / "events.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={synchronous}")
        self._db.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, sha256 TEXT, json BLOB)")

    def append(self, batch: Sequence[bytes]) -> None:
        """Insert the batch in one transaction."""
        rows = [(sha256(json).hexdigest(), json) for json in batch]
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO events (sha256, json) VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def count(self) -> int:
        """Return the rows."""
        return int(self._db.execute("SELECT count(*) FROM events").fetchone()[0])

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def sqlite_full(folder: Path) -> Store:
    """Return SQLite that syncs each commit."""
    return Sqlite(folder, "FULL")


def sqlite_normal(folder: Path) -> Store:
    """Return SQLite that syncs at checkpoints alone: a power loss may take a commit."""
    return Sqlite(folder, "NORMAL")


class JournalInTurn(Journal):
    """Our journal without the overlap: each batch is synced before the next one is encoded."""

    def append_all(self, batches: Iterable[Sequence[bytes]]) -> None:
        """Append one batch after the other."""
        for batch in batches:
            self.append(batch)


STORES: Final[dict[str, Callable[[Path], Store]]] = {
    "journal": Journal,
    "journal_in_turn": JournalInTurn,
    "floor": Floor,
    "sqlite_full": sqlite_full,
    "sqlite_normal": sqlite_normal,
}
