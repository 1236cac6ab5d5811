"""Feature packs: `var/ai/packs/<version>/` with rows.jsonl, manifest.json and sha256.

A pack is the frozen input of one training: each line a row in the line format of the queues, the
manifest with version, features, source queues and the sha256 of the rows. A pack is read only whole
and unchanged; a single changed byte refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from minibot.ai.dataset import Dataset
from minibot.ai.row_ring import Row
from minibot.ai.vector import FEATURES, FEATURES_VERSION
from minibot.kernel import canonical
from minibot.kernel.errors import RunStop
from minibot.kernel.files import (
    ensure_folder,
    parse_hashed,
    put_atomic,
    read_whole,
    write_atomic,
    write_hashed,
)
from minibot.kernel.line import LineError, decode_line, encode_line

ROWS_FILE: Final = "rows.jsonl"
MANIFEST_FILE: Final = "manifest.json"
SUMS_FILE: Final = "sha256"
_SCHEMA: Final = "minibot.feature_pack"
_VERSION: Final = re.compile(r"features-v[0-9]{1,4}-[0-9a-f]{16}", re.ASCII)
ROWS_BYTES_MAX: Final = 128 << 20  # A training takes some 270,000 rows of at most 500 bytes.
_SMALL_BYTES_MAX: Final = 8 << 20
_LINES_PER_PIECE: Final = 250


class FeaturePackRefused(Exception):
    """A pack that may not be used; the message has the reason."""


@dataclass(frozen=True, slots=True)
class FeaturePack:
    """A pack with verified hashes."""

    version: str
    rows: Sequence[Row]
    manifest: Mapping[str, Any]


def _folder(ai_root: Path, version: str) -> Path:
    if _VERSION.fullmatch(version) is None:
        raise FeaturePackRefused(f"{version[:80]!r} is not a version of a pack")
    return ai_root / "packs" / version


def write_pack(ai_root: Path, dataset: Dataset, *, created_ts: int) -> str:
    """Write the rows of a dataset as a pack; return its version, which depends on the rows only."""
    # Encoded twice rather than held whole: a night of rows is tens of megabytes.
    hashed, size = sha256(), 0
    for piece in _pieces(dataset.rows):
        hashed.update(piece)
        size += len(piece)
    digest = hashed.hexdigest()
    version = f"{FEATURES_VERSION}-{digest[:16]}"
    folder = _folder(ai_root, version)
    if (folder / SUMS_FILE).exists():
        return version
    ensure_folder(folder)
    put_atomic(folder / ROWS_FILE, _pieces(dataset.rows))
    manifest = {
        "schema": _SCHEMA,
        "v": 1,
        "version": version,
        "features": list(FEATURES),
        "features_version": FEATURES_VERSION,
        "created_ts": created_ts,
        "file": {"name": ROWS_FILE, "bytes": size, "sha256": digest},
        "dataset": dataset.manifest(),
    }
    # Without the sums it is no pack yet: a manifest that is there may be damaged, and is replaced.
    write_hashed(folder / MANIFEST_FILE, manifest, generation=1)
    raw = read_whole(folder / MANIFEST_FILE)
    write_atomic(folder / SUMS_FILE, _sums(digest, raw))
    return version


def read_pack(ai_root: Path, version: str) -> FeaturePack:
    """Return a pack after checking all of it; for people and tests, as no training reads one.

    Raises:
        FeaturePackRefused: A file is missing or changed, or the pack was made for other features.
    """
    folder = _folder(ai_root, version)
    try:
        data = read_whole(folder / ROWS_FILE, size_max=ROWS_BYTES_MAX)
        raw = read_whole(folder / MANIFEST_FILE, size_max=_SMALL_BYTES_MAX)
        sums = read_whole(folder / SUMS_FILE, size_max=_SMALL_BYTES_MAX)
        manifest = parse_hashed(raw, folder / MANIFEST_FILE)
    except (OSError, RunStop) as error:
        raise FeaturePackRefused(f"{version}: {error}") from error
    digest = sha256(data).hexdigest()
    if sums != _sums(digest, raw):
        raise FeaturePackRefused(f"{version}: {SUMS_FILE} does not fit the files beside it")
    wanted = {
        "schema": _SCHEMA,
        "version": version,
        "features": list(FEATURES),
        "file": {"name": ROWS_FILE, "bytes": len(data), "sha256": digest},
    }
    for name, value in wanted.items():
        if manifest.get(name) != value:
            raise FeaturePackRefused(f"{version}: {MANIFEST_FILE}: {name} does not fit")
    return FeaturePack(version, tuple(_rows(data, version)), manifest)


def _pieces(rows: Sequence[Row]) -> Iterator[bytes]:
    """Yield the bytes of the rows' file, some hundred lines at a time."""
    for at in range(0, len(rows), _LINES_PER_PIECE):
        yield b"".join(_lines(rows[at : at + _LINES_PER_PIECE]))


def _lines(rows: Sequence[Row]) -> Iterator[bytes]:
    for row in rows:
        yield encode_line(
            canonical.encode(
                {
                    "ts": row.ts,
                    "symbol": row.symbol,
                    "features": list(row.features),
                    "label": row.label,
                }
            )
        )


def _rows(data: bytes, version: str) -> Iterator[Row]:
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        try:
            row = canonical.decode(decode_line(line)[1])
            features = row["features"]
            if len(features) != len(FEATURES):
                raise ValueError("not one value per feature")
            yield Row(row["ts"], row["symbol"], tuple(features), row["label"])
        except (LineError, ValueError, KeyError, TypeError) as error:
            raise FeaturePackRefused(f"{version}: {ROWS_FILE}, line {number}: {error}") from error


def _sums(digest: str, manifest: bytes) -> bytes:
    lines = (f"{digest}  {ROWS_FILE}\n", f"{sha256(manifest).hexdigest()}  {MANIFEST_FILE}\n")
    return "".join(lines).encode()
