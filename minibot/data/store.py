"""Store of downloaded data: `var/data/<venue>/<symbol>/<interval>/`, with a manifest.

The manifest names each file with its sha256, rows, span and origin. A file that it does not name
was never finished and is not part of the data. Files are written before the manifest names them,
both atomically, so an interruption costs at most the file in progress.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from minibot.data.columns import SUFFIX
from minibot.data.treatment import GAPS, ZERO_VOLUME, DataReport
from minibot.exchanges.tapes.kline_bars import open_of
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import (
    ensure_folder,
    hash_file,
    is_endless,
    put_atomic,
    read_hashed,
    remove_temps,
    write_hashed,
)
from minibot.kernel.lock import WriterLock

MANIFEST: Final = "manifest.json"
LOCK: Final = "download.lock"
SCHEMA: Final = "minibot.data"
REST: Final = ".rest.jsonl"
TEXT_FORMS: Final = (".csv", ".jsonl", ".json")
FORMS: Final = (*TEXT_FORMS, *(f"{form}.gz" for form in TEXT_FORMS), ".zip", ".feather", SUFFIX)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a series: its name, its origin, and its contents.

    `first_ts` and `end_ts` are the period that it covers, whether or not the venue had a bar in all
    of it; `bars_first_ts` and `bars_end_ts` are the span from its first bar to the end of its last,
    0 where unknown. `checksum` is `verified`, or `none` for REST, which publishes none.
    """

    name: str
    source: str
    sha256: str
    rows: int
    first_ts: int
    end_ts: int
    checksum: str
    gaps: int = 0
    zero_volume: int = 0
    bars_first_ts: int = 0
    bars_end_ts: int = 0

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Return the spans of the period before its first and after its last bar, or all of it."""
        if not self.rows:
            return [(self.first_ts, self.end_ts)]
        if not self.bars_end_ts:
            return []
        return [(self.first_ts, self.bars_first_ts), (self.bars_end_ts, self.end_ts)]

    def with_figures(self, report: DataReport) -> StoredFile:
        """Return the file with the figures of its report."""
        counts = {code: trouble.count for code, trouble in report.troubles.items()}
        return replace(
            self,
            rows=report.rows,
            gaps=counts.get(GAPS, 0),
            zero_volume=counts.get(ZERO_VOLUME, 0),
            bars_first_ts=report.first_ts,
            bars_end_ts=report.end_ts,
        )


class Piece(NamedTuple):
    """REST rows of a period, with the name of their file."""

    name: str
    rows: list[list[Any]]
    first_ts: int
    end_ts: int


def rest_period(interval: str) -> str:
    """Return the longest period of one file of REST rows, which has to fit into memory.

    A month of seconds has 2.7 million rows, a day 86,400.
    """
    return "1d" if interval == "1s" else "1M"


@dataclass(slots=True)
class Series:
    """Downloaded klines of one symbol and interval.

    `files` are the files that the manifest names and that exist, `gone` the names of missing ones.
    """

    folder: Path
    venue: str
    symbol: str
    interval: str
    files: dict[str, StoredFile] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, root: Path, venue: str, symbol: str, interval: str) -> Series:
        """Return the series of a manifest; an empty one where there is none.

        Raises:
            Refusal: The manifest is damaged.
        """
        # Many disks ignore case, which would confuse `1m` and `1M`; the archive writes `1mo` for
        # months.
        folder = root / venue / symbol / interval.replace("M", "mo")
        series = cls(folder, venue, symbol, interval)
        if (folder / MANIFEST).exists():
            for file in (StoredFile(**item) for item in _manifest(folder)["files"]):
                if (folder / file.name).is_file():
                    series.files[file.name] = file
                else:
                    series.gone.append(file.name)
        return series

    def ordered(self) -> list[StoredFile]:
        """Return the stored files, oldest first."""
        return sorted(self.files.values(), key=lambda item: (item.first_ts, item.name))

    def paths(self) -> list[Path]:
        """Return the paths of the stored files, oldest first."""
        return [self.folder / item.name for item in self.ordered()]

    def missing(self, from_ts: int, to_ts: int) -> list[tuple[int, int]]:
        """Return the spans within `from_ts` to `to_ts` that no stored file covers."""
        spans = []
        at = from_ts
        for item in self.ordered():
            if item.first_ts > at:
                spans.append((at, min(item.first_ts, to_ts)))
            at = max(at, item.end_ts)
            if at >= to_ts:
                break
        if at < to_ts:
            spans.append((at, to_ts))
        return [(first, end) for first, end in spans if first < end]

    def receive(self, name: str, pieces: Iterable[bytes]) -> tuple[int, str]:
        """Write a file piece by piece; return its size in bytes and its sha256.

        It is not part of the data before `name` names it in the manifest. What a killed download
        has left of it goes.
        """
        digest = hashlib.sha256()
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                yield piece

        ensure_folder(self.folder)
        remove_temps(self.folder / name)
        put_atomic(self.folder / name, counted())
        return size, digest.hexdigest()

    def discard(self, name: str) -> None:
        """Remove a received file that failed its check."""
        (self.folder / name).unlink(missing_ok=True)

    def name(self, file: StoredFile) -> None:
        """Name a file in the manifest: from now on it is part of the data."""
        self.files[file.name] = file
        self._save()

    def rest_file(self, from_ts: int) -> tuple[str, list[list[Any]]]:
        """Return the file for REST rows from `from_ts` on, and the rows it has already.

        A file that ends exactly there in the same period is continued; otherwise a new one begins.
        """
        period = rest_period(self.interval)
        for item in self.files.values():
            is_same_period = open_of(period, item.first_ts) == open_of(period, from_ts)
            if item.name.endswith(REST) and item.end_ts == from_ts and is_same_period:
                return item.name, _rows(self.folder / item.name)
        return self._rest_name(from_ts), []

    def forget_changed(self) -> list[str]:
        """Drop REST files that differ from the manifest from `files`; return their names.

        REST files are extended and cut. A file that was changed from outside must not be hashed
        anew with the added rows, and a file that was written just before a crash, without its
        manifest, holds other rows.
        """
        changed = [
            name
            for name, item in self.files.items()
            if name.endswith(REST) and self._is_changed(item)
        ]
        for name in changed:
            del self.files[name]
        return changed

    def cut(self, from_ts: int, to_ts: int) -> list[Piece]:
        """Drop REST files that reach into a period, because an archive file covers it now.

        Returns their rows outside of the period, which have to be stored again.
        """
        pieces = []
        for item in [each for each in self.files.values() if each.name.endswith(REST)]:
            if item.end_ts <= from_ts or item.first_ts >= to_ts:
                continue
            rows = _rows(self.folder / item.name)
            del self.files[item.name]
            for first_ts, end_ts in ((item.first_ts, from_ts), (to_ts, item.end_ts)):
                if first_ts < end_ts:
                    kept = [row for row in rows if first_ts <= row[0] < end_ts]
                    pieces.append(Piece(self._rest_name(first_ts), kept, first_ts, end_ts))
        return pieces

    def _rest_name(self, first_ts: int) -> str:
        moment = datetime.fromtimestamp(first_ts // 1000, UTC)
        interval = self.interval.replace("M", "mo")
        return f"{self.symbol}-{interval}-{moment:%Y-%m-%dT%H%M%S}{REST}"

    def _save(self) -> None:
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "v": 1,
            "venue": self.venue,
            "symbol": self.symbol,
            "interval": self.interval,
            "files": [asdict(item) for item in self.ordered()],
        }
        write_hashed(self.folder / MANIFEST, body)

    def changed(self) -> list[str]:
        """Return the files that differ from the manifest."""
        return [item.name for item in self.ordered() if self._is_changed(item)]

    def _is_changed(self, item: StoredFile) -> bool:
        return hash_file(self.folder / item.name)[1] != item.sha256


def _rows(path: Path) -> list[list[Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Lock the data folder: one download at a time.

    Raises:
        LockBusy: Another download is under way.
    """
    lock = WriterLock(root / LOCK)
    try:
        yield
    finally:
        lock.close()


def all_series(root: Path) -> Iterator[Series]:
    """Yield every downloaded series below a folder, by venue, symbol and interval."""
    for path in sorted(root.glob(f"*/*/*/{MANIFEST}")):
        venue, symbol, interval = path.parent.parts[-3:]
        yield Series.open(root, venue, symbol, interval.replace("mo", "M"))


def data_files(path: Path) -> list[Path]:
    """Return a file, or the data files of a folder: those its manifest names, else by suffix.

    A manifest's files without a row are left out. A file that does not exist is returned too:
    opening it is refused.

    Raises:
        Refusal: A path is no regular file, such as a FIFO, there is no data file in the folder, or
            its manifest is damaged.
    """
    if not path.is_dir():
        found = [path]
    elif (path / MANIFEST).exists():
        found = [path / str(item["name"]) for item in _manifest(path)["files"] if item["rows"]]
    else:
        found = sorted(each for each in path.iterdir() if each.name.endswith(FORMS))
    if not found:
        raise Refusal(f"{path}: no data file in this folder.", "Name files, or download some.")
    for each in found:
        if is_endless(each):
            raise Refusal(f"{each}: not a regular file.", "Name a file that exists.")
    return found


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = read_hashed(folder / MANIFEST)
    except IntegrityError as error:
        raise Refusal(f"{error.detail}.", f"Remove {folder} and download it again.") from error
    if manifest.get("schema") != SCHEMA or manifest.get("v") != 1:
        raise Refusal(f"{folder / MANIFEST}: not of {SCHEMA} v1.", "Remove it; download again.")
    return manifest
