"""Where downloaded data stands: `var/data/<venue>/<symbol>/<interval>/`, with a manifest.

The manifest names each file with its sha256, rows, span, and where it came from. A file that it
does not name is no part of the data: it was never finished. Files are written before the manifest
names them, both atomically, so an interruption costs at most the file in hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from minibot.data.columns import SUFFIX
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import ensure_folder, hash_file, read_hashed, write_atomic, write_hashed

MANIFEST: Final = "manifest.json"
SCHEMA: Final = "minibot.data"
FORMS: Final = (".zip", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json", ".feather", SUFFIX)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a series: what it is called, what is in it, and where it came from.

    `checksum` is `verified`, `missing` (the venue publishes none) or `none` (REST).
    """

    name: str
    source: str
    sha256: str
    rows: int
    first_ts: int
    end_ts: int
    checksum: str


@dataclass(slots=True)
class Series:
    """The downloaded klines of one symbol and interval."""

    folder: Path
    venue: str
    symbol: str
    interval: str
    files: dict[str, StoredFile] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, venue: str, symbol: str, interval: str) -> Series:
        """Return the series as its manifest tells it; an empty one where there is none.

        Raises:
            Refusal: The manifest is damaged.
        """
        series = cls(root / venue / symbol / interval, venue, symbol, interval)
        if (series.folder / MANIFEST).exists():
            manifest = _manifest(series.folder)
            series.files = {item["name"]: StoredFile(**item) for item in manifest["files"]}
        return series

    def has(self, name: str) -> bool:
        """Tell whether a file is stored and stands."""
        return name in self.files and (self.folder / name).is_file()

    def put(self, file: StoredFile, data: bytes) -> None:
        """Store a file, then name it in the manifest.

        Raises:
            RunStop: The disk refuses.
        """
        ensure_folder(self.folder)
        write_atomic(self.folder / file.name, data)
        self.files[file.name] = file
        self._save()

    def drop(self, name: str) -> None:
        """Take a file out of the manifest; what stands of it is left to be overwritten."""
        if self.files.pop(name, None) is not None:
            self._save()

    def _save(self) -> None:
        ordered = sorted(self.files.values(), key=lambda item: (item.first_ts, item.name))
        body: dict[str, Any] = {
            "schema": SCHEMA,
            "v": 1,
            "venue": self.venue,
            "symbol": self.symbol,
            "interval": self.interval,
            "files": [asdict(item) for item in ordered],
        }
        write_hashed(self.folder / MANIFEST, body)

    def paths(self) -> list[Path]:
        """Return the stored files, oldest first."""
        ordered = sorted(self.files.values(), key=lambda item: (item.first_ts, item.name))
        return [self.folder / item.name for item in ordered]

    def changed(self) -> list[str]:
        """Return the files that are missing or no longer what the manifest says."""
        return [
            item.name
            for item in self.files.values()
            if not (self.folder / item.name).is_file()
            or hash_file(self.folder / item.name)[1] != item.sha256
        ]


def all_series(root: Path) -> Iterator[Series]:
    """Yield every downloaded series below a folder, by venue, symbol and interval."""
    for path in sorted(root.glob(f"*/*/*/{MANIFEST}")):
        venue, symbol, interval = path.parent.parts[-3:]
        yield Series.open(root, venue, symbol, interval)


def data_files(path: Path) -> list[Path]:
    """Return a file, or the data files of a folder: those its manifest names, else by their form.

    Raises:
        Refusal: There is no such path, or no data file in the folder.
    """
    if not path.is_dir():
        return [path]
    if (path / MANIFEST).exists():
        found = [path / str(item["name"]) for item in _manifest(path)["files"]]
    else:
        found = sorted(each for each in path.iterdir() if each.name.endswith(FORMS))
    if not found:
        raise Refusal(f"{path}: no data file in this folder.", "Name files, or download some.")
    return found


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = read_hashed(folder / MANIFEST)
    except IntegrityError as error:
        raise Refusal(f"{error.detail}.", f"Remove {folder} and download it again.") from error
    if manifest.get("schema") != SCHEMA or manifest.get("v") != 1:
        raise Refusal(f"{folder / MANIFEST}: not of {SCHEMA} v1.", "Remove it; download again.")
    return manifest
