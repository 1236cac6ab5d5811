"""Data files for tests: rows of klines and trades, in every form that a reader meets."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

OPEN_MS = 1_735_689_600_000  # 2025-01-01 00:00 UTC, when the archive changed to microseconds.
MINUTE_MS = 60_000

Row = list[Any]


def row(
    number: int, prices: str = "100.00 101.50 99.25 100.75", volume: str = "12.345", per_ms: int = 1
) -> Row:
    """Return the REST row of a one-minute bar, a number of minutes after the first.

    `per_ms` is 1000 for the times of the archive in microseconds.
    """
    open_ms = OPEN_MS + number * MINUTE_MS
    close = (open_ms + MINUTE_MS) * per_ms - 1
    return [
        *(open_ms * per_ms, *prices.split(), volume, close, "1240.5", 40, "6.1", "612.25", "0"),
    ]


def csv_text(rows: list[Row], header: str = "") -> str:
    """Return rows as CSV."""
    lines = [",".join(str(cell) for cell in cells) for cells in rows]
    return "\n".join([header, *lines] if header else lines) + "\n"


def zipped(name: str, text: str) -> bytes:
    """Return a zip of one file, always with the same bytes."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), text)
    return body.getvalue()


def write_rows(path: Path, rows: list[Row]) -> Path:
    """Write rows in the form that the file's name implies."""
    if path.suffix == ".zip":
        path.write_bytes(zipped(path.stem + ".csv", csv_text(rows)))
        return path
    text = csv_text(rows) if ".csv" in path.name else "\n".join(map(json.dumps, rows)) + "\n"
    text = json.dumps(rows) if ".json" in path.suffixes else text
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path
