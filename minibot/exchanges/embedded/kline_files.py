"""Files of klines: rows of the REST endpoint, CSV of data.binance.vision, and feather.

`.jsonl` and `.csv` may be packed as `.gz` (and CSV as the `.zip` it comes in). Archive times of
2025 and later are microseconds; each row is told apart by its size. What a file does not say
about itself is read from its name: `BTCUSDT-1m-2025-01-01.csv`, `BTC_USDT-1m.feather`.
"""

from __future__ import annotations

import importlib
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import orjson

from minibot.exchanges.embedded.bars import INTERVALS, Bar, next_open, open_of
from minibot.exchanges.embedded.decimals import SCALE, to_units
from minibot.exchanges.embedded.tape import lines_of
from minibot.kernel.errors import Refusal

_NAME: Final = re.compile(r"^([A-Za-z0-9]+?)(?:_([A-Za-z0-9]+))?-")
_MICROS_MIN: Final = 10**14
_COLUMNS: Final = 12


@dataclass(frozen=True, slots=True)
class KlineFile:
    """A file of klines: whose, how long, from when to when, and with how many decimals."""

    path: Path
    symbol: str
    interval: str
    first_ms: int
    end_ms: int
    price_places: int
    qty_places: int

    def bars(self) -> Iterator[Bar]:
        """Yield the bars, oldest first.

        Raises:
            Refusal: A row is not a kline, or the rows are out of order.
        """
        last_ms = -1
        for number, row in _rows(self.path):
            bar = _bar(self.path, number, row, self.interval)
            if bar.open_ms <= last_ms:
                raise _refusal(self.path, number, "opens no later than the row before")
            last_ms = bar.open_ms
            yield bar


def open_klines(path: Path) -> KlineFile:
    """Return what a file of klines says about itself; every row is looked at.

    Raises:
        Refusal: Missing, damaged, not klines, empty, or its symbol or interval cannot be told.
    """
    match = _NAME.match(path.name)
    if match is None:
        raise Refusal(
            f"{path}: the name does not begin with a symbol.",
            "Name it like BTCUSDT-1m-2025-01-01.csv.",
        )
    opens: list[int] = []
    price_places = qty_places = 0
    for number, row in _rows(path):
        opens.append(_time_ms(path, number, row[0]))
        price_places = max(price_places, *(_places(text) for text in row[1:5]))
        qty_places = max(qty_places, _places(row[5]))
    if not opens:
        raise Refusal(f"{path}: a kline file without any row.", "Name another one.")
    interval = _interval(path, opens)
    symbol = "".join(part for part in match.groups() if part).upper()
    file = KlineFile(
        *(path, symbol, interval, opens[0], next_open(interval, opens[-1])),
        *(price_places, qty_places),
    )
    for _ in file.bars():
        pass
    return file


def _places(text: str) -> int:
    return len(text.partition(".")[2].rstrip("0"))


def _interval(path: Path, opens: list[int]) -> str:
    """Return the interval: the shortest step between rows, else what the name says."""
    gaps_ms = [later - former for former, later in pairwise(opens) if later > former]
    gap_ms = min(gaps_ms, default=0)
    for name, length_ms in INTERVALS.items():
        if length_ms == gap_ms and gap_ms:
            return name
    named = re.search(r"-(\d+(?:mo|[smhdwM]))(?:[-.]|$)", path.name)
    name = named.group(1).replace("mo", "M") if named else ""
    # A lone row, months, or so many holes that no two rows follow each other.
    if name in INTERVALS and gap_ms % (INTERVALS[name] or 1) == 0:
        return name
    raise Refusal(
        f"{path}: rows {gap_ms} ms apart are no interval of the venue.",
        f"Known: {', '.join(INTERVALS)}.",
    )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells as text) without a header line."""
    if path.suffix == ".feather":
        yield from _feather_rows(path)
        return
    lines = _zip_lines(path) if path.suffix == ".zip" else lines_of(path)
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if text.startswith(b"["):
            yield number, _json_cells(path, number, text)
            continue
        cells = text.decode("ascii", "replace").split(",")
        if number == 1 and len(cells) == _COLUMNS and not cells[0].isdigit():
            continue  # A header.
        if len(cells) != _COLUMNS or not cells[0].isdigit():
            raise _refusal(path, number, "is not a kline of 12 columns")
        yield number, cells


def _json_cells(path: Path, number: int, text: bytes) -> list[str]:
    try:
        cells = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _refusal(path, number, f"is not JSON ({error})") from error
    if len(cells) != _COLUMNS or not all(isinstance(cell, str) for cell in cells[1:6]):
        raise _refusal(path, number, "is not a kline of 12 elements")
    return [str(cell) for cell in cells]


def _zip_lines(path: Path) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise Refusal(f"{path}: one CSV expected in it, found {len(names)} files.", "")
            with archive.open(names[0]) as file:
                yield from file
    except (OSError, zipfile.BadZipFile) as error:
        raise Refusal(f"{path}: cannot be read ({error}).", "Name a file that is whole.") from error


def _feather_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield rows of a feather file: date, open, high, low, close, volume."""
    try:
        feather: Any = importlib.import_module("pyarrow.feather")
    except ImportError as error:
        raise Refusal(
            f"{path}: feather files need pyarrow, which is not installed.",
            "pip install pyarrow, or give the klines as .jsonl or .csv.",
        ) from error
    try:
        columns = feather.read_table(path).to_pydict()
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: cannot be read ({error}).", "Name a feather file.") from error
    names = ("open", "high", "low", "close", "volume")
    for number, date in enumerate(columns["date"], 1):
        # The file holds binary floats; their shortest form is what the venue had written.
        cells = [f"{columns[name][number - 1]:.8f}" for name in names]
        open_ms = round(date.timestamp() * 1000)
        yield number, [str(open_ms), *cells, "0", "0", "0", "0", "0", "0"]


def _time_ms(path: Path, number: int, text: str) -> int:
    if not text.isdigit():
        raise _refusal(path, number, f"has no open time but {text!r}")
    value = int(text)
    return value // 1000 if value >= _MICROS_MIN else value


def _bar(path: Path, number: int, row: list[str], interval: str) -> Bar:
    open_ms = _time_ms(path, number, row[0])
    if open_of(interval, open_ms) != open_ms:
        raise _refusal(path, number, f"does not open on a multiple of {interval}")
    try:
        open_, high, low, close, volume = (to_units(text) for text in row[1:6])
        quote, taker, taker_quote = (to_units(row[index]) for index in (7, 9, 10))
        trades = int(row[8])
    except ValueError as error:
        raise _refusal(path, number, f"has no number ({error})") from error
    if not 0 < low <= min(open_, close) <= max(open_, close) <= high or volume < 0:
        raise _refusal(path, number, "has prices that do not lie between its low and its high")
    return Bar(
        *(open_ms, next_open(interval, open_ms), open_, high, low, close, volume),
        *(quote * SCALE, trades, taker, taker_quote * SCALE),
    )


def _refusal(path: Path, number: int, what: str) -> Refusal:
    return Refusal(f"{path}: row {number} {what}.", "Name a file of Binance klines.")
