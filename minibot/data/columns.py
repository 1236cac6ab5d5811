"""Column files: our own format of market data, fixed-width integers by column, memory-mapped.

A file is a magic, the length of a header, the header (canonical JSON), the columns, and the sha256
of everything before it. A column is a sequence of little-endian 64-bit signed integers, or of bytes
for flags; it begins at a multiple of 64. The header names symbol, kind, rows, span, increments and
sources, and for each column its place, type and decimal places: an amount is its integer times
10**-places. Prices and quantities have eight places, as in the cores. A column of klines has fewer
if a number would not fit 64 bits otherwise; a trade or tick with such a number is refused. Nothing
is ever rounded. A file is written atomically and never changed; another one that is written to its
path replaces it.
"""

from __future__ import annotations

import mmap
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from minibot.events.money import PLACES
from minibot.kernel import canonical
from minibot.kernel.canonical import CanonicalError, JsonObject
from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, put_atomic

MAGIC: Final = b"minibot1"
SUFFIX: Final = ".columns"
SCHEMA: Final = "minibot.columns"
ALIGNMENT: Final = 64
DIGEST_BYTES: Final = 32
HEADER_BYTES_MAX: Final = 1 << 20
CHUNK_BYTES: Final = 1 << 20
# As many rows as fit the second-level cache with a few columns of Python integers.
BLOCK_ROWS: Final = 8192
WIDTHS: Final[Mapping[str, int]] = {"q": 8, "B": 1}
LARGEST: Final = 2**63 - 1
_REMEDY: Final = "Convert the data again: minibot data convert."


@dataclass(frozen=True, slots=True)
class Column:
    """One column to be written: its name, its numbers, and their decimal places."""

    name: str
    values: array[int]
    places: int = 0


def amounts(name: str, values: Iterable[int]) -> Column:
    """Return a column of amounts in units of 10**-8, or with fewer places if 64 bits require it.

    Raises:
        Refusal: A number does not fit 64 bits without rounding.
    """
    numbers = values if isinstance(values, list) else list(values)
    places = PLACES
    while numbers and max(max(numbers), -min(numbers)) > LARGEST:
        if not places or any(number % 10 for number in numbers):
            raise Refusal(f"column {name}: a number does not fit 64 bits.", "")
        numbers, places = [number // 10 for number in numbers], places - 1
    return Column(name, array("q", numbers), places)


def write_columns(path: Path, about: JsonObject, columns: Sequence[Column]) -> str:
    """Write a file of columns; return its sha256, which is also written at its end.

    Args:
        path: Path of the file; folders are created.
        about: Header fields besides the columns: kind, symbol, span, sources.
        columns: All of one length.

    Raises:
        RunStop: The disk refused a write.
    """
    rows = len(columns[0].values)
    entries: list[JsonObject] = []
    at = 0
    for column in columns:
        width = WIDTHS[column.values.typecode]
        entry = {"name": column.name, "type": column.values.typecode, "at": at}
        entries.append({**entry, "places": column.places})
        at += _padded_size(rows * width)
    header = canonical.encode(
        {**about, "schema": SCHEMA, "v": 1, "rows": rows, "columns": entries, "bytes": at}
    )
    head = MAGIC + len(header).to_bytes(8, "little") + header
    digest = sha256()
    ensure_folder(path.parent)
    put_atomic(path, _chunks(_padded(head), columns, digest))
    return digest.hexdigest()


def _chunks(head: bytes, columns: Sequence[Column], digest: Any) -> Iterator[bytes]:
    digest.update(head)
    yield head
    for column in columns:
        values = column.values
        if sys.byteorder == "big":
            values = array(values.typecode, values)
            values.byteswap()
        data = memoryview(values).cast("B")
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = bytes(data[start : start + CHUNK_BYTES])
            digest.update(chunk)
            yield chunk
        padding = bytes(-len(data) % ALIGNMENT)
        digest.update(padding)
        yield padding
    yield digest.digest()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)


def _is_sound(header: JsonObject) -> bool:
    """Return whether the columns of a header lie as `write_columns` puts them, one after another.

    Another place would read other bytes, such as the sha256, as numbers.
    """
    rows, entries, at = header["rows"], header["columns"], 0
    if type(rows) is not int or rows < 0 or not isinstance(entries, list):
        return False
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            return False
        width = WIDTHS.get(str(entry.get("type")))
        if width is None or type(entry.get("places")) is not int or entry.get("at") != at:
            return False
        at += _padded_size(rows * width)
    return bool(header["bytes"] == at)


def _padded_size(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class Columns:
    """A file of columns, open for reading; numbers are read from the map on demand.

    Iteration goes by blocks of Python lists, which is the fastest way to walk rows one by one.
    """

    def __init__(self, path: Path, *, is_verified: bool = True) -> None:
        """Map the file.

        Args:
            path: A file that `write_columns` wrote.
            is_verified: Whether to check the sha256 of the whole file (a second a gigabyte); only
                then the attribute `sha256` is set.

        Raises:
            Refusal: Missing, not such a file, cut short, or changed.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise Refusal(f"{path}: cannot be read ({error}).", _REMEDY) from error
        self._views: list[memoryview] = []
        try:
            if is_verified:
                self._verify()
            self.header, self._body_at = self._parsed()
        except Refusal:
            self._map.close()
            raise
        self.rows = int(self.header["rows"])
        self.symbol = str(self.header["symbol"])
        self.kind = str(self.header["kind"])
        self.interval = str(self.header.get("interval", ""))
        self._entries = {str(entry["name"]): entry for entry in self.header["columns"]}

    def __enter__(self) -> Columns:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; views taken from it become invalid."""
        for view in self._views:
            view.release()
        self._views = []
        self._map.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all columns, in order."""
        return tuple(self._entries)

    def places(self, name: str) -> int:
        """Return the decimal places of a column's integers."""
        return int(self._entries[name]["places"])

    def column(self, name: str) -> memoryview[int]:
        """Return one whole column as integers, without copying; invalid once this is closed.

        Raises:
            KeyError: There is no such column.
        """
        entry = self._entries[name]
        width = WIDTHS[str(entry["type"])]
        start = self._body_at + int(entry["at"])
        whole = memoryview(self._map)
        part = whole[start : start + width * self.rows]
        self._views += [whole, part]
        if sys.byteorder == "big" and width > 1:
            swapped = array(str(entry["type"]), part.tobytes())
            swapped.byteswap()
            return memoryview(swapped)
        # The format is a text of the file, one of `WIDTHS`; mypy asks for a literal.
        view: memoryview[Any] = part.cast(str(entry["type"]))  # type: ignore[call-overload]
        self._views.append(view)
        return view

    def blocks(
        self, names: Sequence[str], first: int = 0, last: int | None = None, rows: int = BLOCK_ROWS
    ) -> Iterator[list[list[int]]]:
        """Yield blocks of rows `first` to `last` (excluded), each one list per named column."""
        views = [self.column(name) for name in names]
        end = self.rows if last is None else min(last, self.rows)
        for start in range(first, end, rows):
            stop = min(start + rows, end)
            yield [view[start:stop].tolist() for view in views]

    def walk(
        self, names: Sequence[str], first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, ...]]:
        """Yield rows as tuples of the named columns' integers."""
        for block in self.blocks(names, first, last):
            yield from zip(*block, strict=True)

    def _parsed(self) -> tuple[JsonObject, int]:
        """Return the header and the start of the columns, after checking the sizes."""
        size = int.from_bytes(self._map[8:16], "little")
        if self._map[:8] != MAGIC or not 0 < size <= HEADER_BYTES_MAX:
            raise Refusal(f"{self.path}: not a file of columns.", _REMEDY)
        try:
            header = canonical.decode(self._map[16 : 16 + size])
        except CanonicalError as error:
            raise Refusal(f"{self.path}: its header is damaged ({error}).", _REMEDY) from error
        if header.get("schema") != SCHEMA or header.get("v") != 1:
            found = f"{header.get('schema')} v{header.get('v')}"
            raise Refusal(f"{self.path}: {found!r} is not {SCHEMA} v1.", _REMEDY)
        missing = [
            name for name in ("bytes", "rows", "symbol", "kind", "columns") if name not in header
        ]
        if missing:
            raise Refusal(f"{self.path}: its header lacks {', '.join(missing)}.", _REMEDY)
        if not _is_sound(header):
            raise Refusal(f"{self.path}: its header names columns that are not in it.", _REMEDY)
        body_at = _padded_size(16 + size)
        wanted = body_at + int(header["bytes"]) + DIGEST_BYTES
        if len(self._map) != wanted:
            what = f"{len(self._map)} bytes where its header wants {wanted}"
            raise Refusal(f"{self.path}: {what}: cut short or added to.", _REMEDY)
        return header, body_at

    def _verify(self) -> None:
        if self._map[:8] != MAGIC:
            raise Refusal(f"{self.path}: not a file of columns.", _REMEDY)
        digest = sha256()
        end = len(self._map) - DIGEST_BYTES
        for start in range(0, end, CHUNK_BYTES):
            digest.update(self._map[start : min(start + CHUNK_BYTES, end)])
        if end < 0 or digest.digest() != self._map[end:]:
            raise Refusal(f"{self.path}: its sha256 is wrong: changed or cut short.", _REMEDY)
        self.sha256 = digest.hexdigest()
