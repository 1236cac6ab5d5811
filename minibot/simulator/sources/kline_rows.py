"""Rows of a kline file of any format, as twelve cells of text.

Formats: rows of the REST endpoint (one JSON array per line, or a whole answer), CSV with or without
a header, both plain, as `.gz` or in the `.zip` of data.binance.vision, and feather. A bad row is
yielded as such and not raised: the caller decides about it. Cells keep their text; a file without
some of the twelve columns has empty cells there.
"""

from __future__ import annotations

import importlib
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from minibot.exchanges.tapes.tape import lines_of
from minibot.exchanges.tapes.unpacking import bounded_lines
from minibot.kernel.errors import Refusal

COLUMNS: Final = (
    *("open_time", "open", "high", "low", "close", "volume"),
    *("close_time", "quote_volume", "trades", "taker_volume", "taker_quote", "ignore"),
)
NEEDED: Final = 6
# Byte order mark that some programs put at the beginning of a file.
BOM: Final = b"\xef\xbb\xbf"
# Other names of the columns, in small letters with everything else as an underline.
OTHER_NAMES: Final = {
    **dict.fromkeys(("timestamp", "date", "time", "datetime", "unix", "opentime"), "open_time"),
    **dict.fromkeys(("closetime",), "close_time"),
    **dict.fromkeys(("quote_asset_volume", "quotevolume"), "quote_volume"),
    **dict.fromkeys(("count", "number_of_trades", "num_trades"), "trades"),
    **dict.fromkeys(("taker_buy_volume", "taker_buy_base_asset_volume"), "taker_volume"),
    **dict.fromkeys(("taker_buy_quote_volume", "taker_buy_quote_asset_volume"), "taker_quote"),
}
# Unix times from 1973 to 5138 in s, ms, us and ns do not overlap: (below, name, how many in a ms).
SECONDS_BELOW: Final = 10**11
_FINER: Final = ((10**14, "ms", 1), (10**17, "us", 1000), (10**20, "ns", 10**6))
# Errors of the library for zips that are damaged, encrypted, or of an unknown compression.
_BAD_ZIP: Final = (
    *(OSError, EOFError, RuntimeError, ValueError, OverflowError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)
# The archive packs by deflate alone. Of bzip2 and LZMA the library unpacks a whole chunk before a
# byte of it can be counted: a few hundred bytes would take all memory.
_BOUNDED_KINDS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# The archive's own names look like this; a path, a blank or a control character is suspicious.
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_FEATHER_STREAM_AT: Final = 8  # An IPC file is its magic, padding, and then an IPC stream.
_FEATHER_MAGIC: Final = b"ARROW1"


class BadRow(NamedTuple):
    """A row that is not a kline, and the reason."""

    why: str


Cells = list[str]
Row = tuple[int, Cells | BadRow]


def rows_of(path: Path) -> Iterator[Row]:
    """Yield (row number from 1, twelve cells or a bad row); a header is not a row.

    Raises:
        Refusal: The file is missing, damaged or cut short, or has other columns.
    """
    if path.suffix == ".feather":
        yield from _feather_rows(path)
        return
    lines = zip_lines(path) if path.suffix == ".zip" else lines_of(path)
    first = next((line for line in lines if line.strip()), b"").lstrip(BOM).strip()
    if not first:
        return
    if first == b"[" or first.startswith(b"[["):
        yield from _body_rows(path, b"".join(chain((first,), lines)))
    elif first.startswith(b"["):
        yield from _numbered(chain((first,), lines), _json_cells, 1)
    else:
        yield from _csv_rows(path, first, lines)


def time_of(text: str) -> tuple[int, str] | None:
    """Return a time in Unix milliseconds and the unit it was written in; None if invalid."""
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    value = int(text)
    if value < SECONDS_BELOW:
        return value * 1000, "s"
    for below, unit, per_ms in _FINER:
        if value < below:
            return value // per_ms, unit
    return None


def zip_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of the one file in a zip.

    Raises:
        Refusal: No zip, cut short, damaged, not exactly one file with a plain name in it, one
            packed by anything but deflate, or one that unpacks to more than market data does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise Refusal(f"{path}: one CSV expected in it, found {len(members)} files.", "")
            name = members[0].filename
            if not _PLAIN_NAME.fullmatch(name):
                raise Refusal(
                    f"{path}: one CSV expected in it, found {name[:80]!r}.",
                    "Name a file as the archive publishes it.",
                )
            if members[0].compress_type not in _BOUNDED_KINDS:
                raise Refusal(
                    f"{path}: cannot be read: expected a zip packed by deflate, found method "
                    f"{members[0].compress_type}.",
                    "Name a file as the archive publishes it, or pack it anew.",
                )
            with archive.open(members[0]) as file:
                yield from bounded_lines(path, file)
    except _BAD_ZIP as error:
        raise Refusal(f"{path}: cannot be read ({error}).", "Name a file that is whole.") from error


def _numbered(
    lines: Iterator[bytes], cells_of: Callable[[bytes], Cells | BadRow], first: int
) -> Iterator[Row]:
    for number, line in enumerate(lines, first):
        text = line.strip()
        if text:
            yield number, cells_of(text)


def _csv_rows(path: Path, first: bytes, lines: Iterator[bytes]) -> Iterator[Row]:
    head = split(first)
    if head[0][:1].isdigit():
        yield from _numbered(chain((first,), lines), _plain_cells, 1)
        return
    places = places_of(head)
    if places is None:
        raise Refusal(
            f"{path}: row 1 names other columns than a kline's: {', '.join(head)[:200]}.",
            f"Needed: {', '.join(COLUMNS[:NEEDED])}.",
        )
    yield from _numbered(lines, lambda text: _placed_cells(places, len(head), split(text)), 2)


def split(text: bytes) -> Cells:
    """Return the cells of a row."""
    return [cell.strip(' "') for cell in text.decode("utf-8", "replace").split(",")]


def _plain_cells(text: bytes) -> Cells | BadRow:
    cells = text.decode("ascii", "replace").split(",")
    if len(cells) != len(COLUMNS) and len(cells) != NEEDED:
        return BadRow(f"has {len(cells)} columns, not {NEEDED} or {len(COLUMNS)}")
    if not cells[0].isdigit():
        return BadRow(f"has no open time but {cells[0][:40]!r}")
    return cells + [""] * (len(COLUMNS) - len(cells))


def places_of(head: Sequence[str]) -> list[int] | None:
    """Return positions of the twelve columns, -1 for none; None if a needed one is missing."""
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in head]
    known = [OTHER_NAMES.get(name, name) for name in names]
    if tuple(known[:NEEDED]) == COLUMNS[:NEEDED] and len(known) == len(COLUMNS):
        return list(range(len(COLUMNS)))
    places = [known.index(name) if name in known else -1 for name in COLUMNS]
    return None if -1 in places[:NEEDED] else places


def _placed_cells(places: Sequence[int], width: int, found: Cells) -> Cells | BadRow:
    # A comma within a number, even a quoted one, would move every cell after it.
    if len(found) != width:
        return BadRow(f"has {len(found)} columns, not {width} as the header")
    cells = [found[place] if place >= 0 else "" for place in places]
    if not cells[0].isdigit():
        cells[0] = _digits_of_date(cells[0])
    return cells if cells[0] else BadRow(f"has no open time but {found[places[0]][:40]!r}")


def _digits_of_date(text: str) -> str:
    """Return an ISO date as Unix milliseconds, UTC without a zone; empty if it is not a date."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return str(_unix_ms(moment))


def _unix_ms(moment: datetime) -> int:
    """Return Unix milliseconds; a moment without a zone is UTC, whatever the machine's zone."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _json_cells(text: bytes) -> Cells | BadRow:
    try:
        return _elements(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        return BadRow(f"is not JSON ({error})")


def _elements(row: object) -> Cells | BadRow:
    if (
        not isinstance(row, list)
        or len(row) != len(COLUMNS)
        or not all(isinstance(cell, str) for cell in row[1:NEEDED])
    ):
        return BadRow("is not a kline of 12 elements")
    return [str(cell) for cell in row]


def _body_rows(path: Path, body: bytes) -> Iterator[Row]:
    try:
        rows = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(f"{path}: is not JSON ({error}).", "Name a file that is whole.") from error
    for number, row in enumerate(rows, 1):
        yield number, _elements(row)


def _feather_rows(path: Path) -> Iterator[Row]:
    """Yield rows of a feather file: date, open, high, low, close, volume."""
    names, columns = _feather_columns(path)
    known = places_of(names)
    if known is None:
        raise Refusal(
            f"{path}: other columns than a kline's: {', '.join(names)[:200]}.",
            "Needed: date, open, high, low, close, volume.",
        )
    dates, *numbers = (columns[place] for place in known[:NEEDED])
    for number, row in enumerate(zip(dates, *numbers, strict=True), 1):
        date = row[0]
        is_whole = isinstance(date, datetime | int) and all(
            isinstance(amount, float | int) for amount in row[1:]
        )
        if not is_whole:
            yield number, BadRow("has an empty cell, or one that is not a number")
            continue
        at = _unix_ms(date) if isinstance(date, datetime) else date
        yield number, [str(at), *map(_decimal, row[1:]), *[""] * NEEDED]


def _decimal(value: float) -> str:
    """Return the shortest text that parses as this float, which is the venue's own text."""
    text = repr(float(value))
    if "e" in text or len(text.partition(".")[2]) > 8:
        return f"{value:.8f}"
    return text


def _feather_columns(path: Path) -> tuple[list[str], list[Any]]:
    try:
        arrow: Any = importlib.import_module("nanoarrow")
    except ImportError as error:
        raise Refusal(
            f"{path}: feather files need nanoarrow, which is not installed.",
            'In the project folder: pip install ".[feather]"; or give klines as .jsonl or .csv.',
        ) from error
    try:
        data = path.read_bytes()
        if not data.startswith(_FEATHER_MAGIC) or not data.endswith(_FEATHER_MAGIC):
            raise ValueError("not an Arrow file, or cut short")
        stream = arrow.ArrayStream.from_readable(BytesIO(data[_FEATHER_STREAM_AT:]))
        names, columns = stream.to_columns_pysequence()
    except (OSError, ValueError, RuntimeError) as error:
        raise Refusal(f"{path}: cannot be read ({error}).", "Name a feather file.") from error
    return list(names), [list(column) for column in columns]
