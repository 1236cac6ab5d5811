"""Plain klines: a clean file of rows, read as whole columns at once.

Most files of klines are clean: rows of plain decimals, one after the other without a hole, as CSV
or as the JSON of the REST endpoint. Such a file needs no look at each row. `plain_klines` reads
what it is sure of, and leaves every other file to `klines.open_klines`, which looks at each row and
says what is wrong with it: a test holds both against each other. Bytes are cut into cells and
checked as arrays; nothing is ever a float.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from minibot.data.kline import increment
from minibot.data.klines import interval_of
from minibot.data.store import FORMS
from minibot.events.money import PLACES
from minibot.exchanges.tapes.kline_bars import INTERVALS, open_of
from minibot.exchanges.tapes.tape import lines_of
from minibot.kernel.errors import Refusal
from minibot.simulator.sources.kline_files import symbol_of
from minibot.simulator.sources.kline_rows import COLUMNS, NEEDED, places_of, split, zip_lines

Array = Any  # A one-dimensional array of numpy.

# Bytes of rows that are checked at once: small enough for a processor's cache.
BLOCK_BYTES: Final = 1 << 20
# All digits of a cell without its point, so that no sum needs more than 63 bits.
DIGITS_MAX: Final = 18
# Digits of Unix times and how many make a millisecond (`kline_rows.time_of`): the archive writes
# microseconds since 2025.
TIME_DIGITS: Final = (((12, 13, 14), 1), ((15, 16, 17), 1000))
COMMA, DOT, NEWLINE, ZERO, NINE = b",.\n09"
NEXT_CELL: Final = bytes.maketrans(b"\n", b",")
AMOUNTS: Final = ("open", "high", "low", "close", "volume")
# Rows of the REST endpoint, each as the venue writes it. Possessive, so that none is tried twice.
_WHOLE, _DECIMAL = rb"(?:0|[1-9][0-9]*+)", rb'"[0-9.]++"'
_REST_ROW: Final = [_DECIMAL] * len(COLUMNS)
_REST_ROW[0] = _REST_ROW[6] = _REST_ROW[8] = _WHOLE
REST_ROWS: Final = re.compile(rb"(?:\[%s\]\n)++" % b",".join(_REST_ROW))
REST_MARKS: Final = b'["]'
LARGEST: Final = (1 << 62) // 10**PLACES
"""Above every amount that is certain to fit when it is counted in hundred-millionths."""


class PlainKlines(NamedTuple):
    """A clean series of klines as columns.

    Attributes:
        columns: `open_ts`, `open`, `high`, `low`, `close` and `volume` by name; amounts in
            hundred-millionths.
        price_increment, qty_increment: As the numbers show it.
    """

    symbol: str
    interval: str
    columns: dict[str, Array]
    price_increment: str
    qty_increment: str


class _OtherRows(Exception):
    """The file holds something that is not certain to be a clean row."""


def plain_klines(path: Path) -> PlainKlines | None:
    """Return a file's klines; None for a file that has to be read row by row.

    None is not a verdict: the file may be clean in another form, or missing.
    """
    if not path.is_file() or not path.name.endswith(FORMS) or path.suffix == ".feather":
        return None
    try:
        data = _text_of(path)
        columns = _columns(data)
        symbol = symbol_of(path)
        interval = interval_of(path, columns["open_ts"][:2].tolist())
    except (OSError, Refusal, _OtherRows):
        return None
    if not _is_clean(columns, interval):
        return None
    prices = np.concatenate([columns[name] for name in AMOUNTS[:4]])
    return PlainKlines(
        *(symbol, interval, columns),
        *(_increment(prices), _increment(columns["volume"])),
    )


def _text_of(path: Path) -> bytes:
    if path.suffix == ".csv":
        return path.read_bytes()
    return b"".join(zip_lines(path) if path.suffix == ".zip" else lines_of(path))


def _columns(data: bytes) -> dict[str, Array]:
    """Return open times and amounts of all rows.

    Raises:
        _OtherRows: Not all rows are plain.
    """
    if not data.endswith(b"\n"):
        data += b"\n"
    if data.startswith(b"["):
        if not REST_ROWS.fullmatch(data):
            raise _OtherRows
        data = data.translate(None, REST_MARKS)
    first = data[: data.index(b"\n")]
    width = first.count(b",") + 1
    if width not in (NEEDED, len(COLUMNS)):
        raise _OtherRows
    at = 0
    if not first[:1].isdigit():
        if (places_of(split(first)) or [])[:width] != list(range(width)):
            raise _OtherRows
        at = len(first) + 1
    blocks: list[list[Array]] = []
    units: set[int] = set()
    while at < len(data):
        end = data.rfind(b"\n", at, at + BLOCK_BYTES) + 1
        if not end:
            raise _OtherRows
        found, unit = _block(np.frombuffer(data, np.uint8, end - at, at), width)
        blocks.append(found)
        units.add(unit)
        at = end
    if len(units) != 1:
        raise _OtherRows
    columns = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
    return dict(zip(("open_ts", *AMOUNTS), columns, strict=True))


def _block(text: Array, width: int) -> tuple[list[Array], int]:
    """Return open times and amounts of some whole rows, and the unit of their times.

    Raises:
        _OtherRows: One of them is not `width` cells of plain numbers.
    """
    is_comma, is_end, is_dot = text == COMMA, text == NEWLINE, text == DOT
    is_digit = (text >= ZERO) & (text <= NINE)
    is_mark = is_comma | is_end | is_dot
    if not (is_digit | is_mark).all():
        raise _OtherRows
    marks = np.flatnonzero(is_mark)
    ends = marks[~is_dot[marks]]
    if len(ends) % width or not is_end[ends[width - 1 :: width]].all():
        raise _OtherRows
    if is_end.sum() * width != len(ends):
        raise _OtherRows
    starts = np.concatenate(([0], ends[:-1] + 1))
    # A point in a cell, and at most one; the place behind the last digit where there is none.
    dots = np.flatnonzero(is_dot[marks])
    cells = dots - np.arange(len(dots))
    if (cells[1:] == cells[:-1]).any():
        raise _OtherRows
    points = ends.copy()
    points[cells] = marks[dots]
    has_point = points < ends
    places = np.where(has_point, ends - points - 1, 0)
    digits = ends - starts - has_point
    is_sound = (points > starts) & (places <= PLACES) & (digits <= DIGITS_MAX)
    if not (is_sound & (~has_point | (places > 0))).all():
        raise _OtherRows
    for whole in (0,) if width == NEEDED else (0, 6, 8):
        if has_point[whole::width].any():
            raise _OtherRows
    counts, unit = next((each for each in TIME_DIGITS if digits[0] in each[0]), ((), 0))
    for time in (0,) if width == NEEDED else (0, 6):
        if not np.isin(digits[time::width], counts).all():
            raise _OtherRows
        if (text[starts[time::width]] == ZERO).any():
            raise _OtherRows
    # The digits of each cell as a whole number, as if there were no point.
    units = np.fromstring(text.tobytes().translate(NEXT_CELL, b"."), np.int64, sep=",")
    found = [units[::width] // unit]
    for number in range(1, NEEDED):
        amounts, powers = units[number::width], 10 ** places[number::width]
        if (amounts > LARGEST * powers).any():
            raise _OtherRows
        found.append(amounts * (10**PLACES // powers))
    return found, unit


def _is_clean(columns: dict[str, Array], interval: str) -> bool:
    """Return whether the rows are bars of one interval on its grid, without hole or quiet one."""
    length = INTERVALS[interval]
    if not length:
        return False
    opened = columns["open_ts"]
    first, high, low, close, volume = (columns[name] for name in AMOUNTS)
    return bool(
        open_of(interval, int(opened[0])) == opened[0]
        and (opened[1:] - opened[:-1] == length).all()
        and (low > 0).all()
        and (low <= np.minimum(first, close)).all()
        and (np.maximum(first, close) <= high).all()
        and (volume > 0).all()
    )


def _increment(amounts: Array) -> str:
    return increment([int(np.gcd.reduce(amounts))])
