"""Kline files as a source: every row in order and well-formed, or the file is refused.

The formats are those of `kline_rows`. Archive times of 2025 and later are microseconds; the unit is
recognised row by row, by size. Facts that a file does not contain are read from its name:
`BTCUSDT-1m-2025-01-01.csv`, `BTC_USDT-1m.feather`. To repair a file, use `minibot data convert`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from minibot.events.money import UNIT
from minibot.exchanges.tapes.decimals import to_units
from minibot.exchanges.tapes.kline_bars import INTERVALS, Bar, next_open, open_of
from minibot.kernel.errors import Refusal
from minibot.simulator.sources.kline_rows import BadRow, rows_of, time_of
from minibot.simulator.venue.instruments import QUOTE_ASSETS

# A dash as well may stand between base and quote; behind a whole symbol stands another word.
_QUOTE: Final = "|".join(QUOTE_ASSETS)
_NAME: Final = re.compile(
    rf"^([A-Za-z0-9]+?)(?:_([A-Za-z0-9]+)-|-((?i:{_QUOTE}))(?=[-_.])|-)", re.ASCII
)
_NAMED_INTERVAL: Final = re.compile(r"-(\d+(?:mo|[smhdwM]))(?:[-.]|$)")


@dataclass(frozen=True, slots=True)
class KlineFile:
    """A file of klines: symbol, interval, span, and decimal places."""

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
    """Return a file of klines with its facts, after checking every row.

    Raises:
        Refusal: Missing, damaged, not klines, empty, or symbol or interval cannot be determined.
    """
    symbol = symbol_of(path)
    opens: list[int] = []
    price_places = qty_places = 0
    for number, row in _rows(path):
        opens.append(_time_ms(path, number, row[0]))
        price_places = max(price_places, *(_places(text) for text in row[1:5]))
        qty_places = max(qty_places, _places(row[5]))
    if not opens:
        raise Refusal(f"{path}: a kline file without any row.", "Name another one.")
    interval = _interval(path, opens)
    file = KlineFile(
        *(path, symbol, interval, opens[0], next_open(interval, opens[-1])),
        *(price_places, qty_places),
    )
    for _ in file.bars():
        pass
    return file


def symbol_of(path: Path) -> str:
    """Return the symbol at the beginning of a file's name, such as `BTCUSDT-1m...`.

    `BTC_USDT-1m...` and `btc-usdt-1m...` are the same one.

    Raises:
        Refusal: The name does not begin with a symbol.
    """
    match = _NAME.match(path.name)
    if match is None:
        if not path.exists():
            raise Refusal(f"{path}: there is no such file.", "Name a file that exists.")
        raise Refusal(
            f"{path}: the name does not begin with a symbol.",
            "Name it like BTCUSDT-1m-2025-01-01.csv.",
        )
    return "".join(part for part in match.groups() if part).upper()


def named_interval(path: Path) -> str:
    """Return the interval in a file's name; empty where there is none."""
    named = _NAMED_INTERVAL.search(path.name)
    name = named.group(1).replace("mo", "M") if named else ""
    return name if name in INTERVALS else ""


def _places(text: str) -> int:
    return len(text.partition(".")[2].rstrip("0"))


def _interval(path: Path, opens: list[int]) -> str:
    """Return the interval: the shortest step between rows, else the one in the name."""
    gaps_ms = [later - former for former, later in pairwise(opens) if later > former]
    gap_ms = min(gaps_ms, default=0)
    for name, length_ms in INTERVALS.items():
        if length_ms == gap_ms and gap_ms:
            return name
    name = named_interval(path)
    # A single row, months, or so many holes that no two rows are consecutive.
    if name and gap_ms % (INTERVALS[name] or 1) == 0:
        return name
    raise Refusal(
        f"{path}: rows {gap_ms} ms apart are not an interval of the venue.",
        f"Known: {', '.join(INTERVALS)}.",
    )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, cells as text); refuse the file at a row that is not a kline."""
    for number, cells in rows_of(path):
        if isinstance(cells, BadRow):
            raise _refusal(path, number, cells.why)
        # Values that a file lacks count as zero.
        yield number, [cell or "0" for cell in cells]


def _time_ms(path: Path, number: int, text: str) -> int:
    time = time_of(text)
    if time is None:
        raise _refusal(path, number, f"has no open time but {text!r}")
    return time[0]


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
    if not 0 < low <= min(open_, close) <= max(open_, close) <= high:
        raise _refusal(path, number, "has prices that do not lie between its low and its high")
    if min(volume, quote, trades, taker, taker_quote) < 0:
        raise _refusal(path, number, "has a volume or a count below zero")
    return Bar(
        *(open_ms, next_open(interval, open_ms), open_, high, low, close, volume),
        *(quote * UNIT, trades, taker, taker_quote * UNIT),
    )


def _refusal(path: Path, number: int, what: str) -> Refusal:
    return Refusal(f"{path}: row {number} {what}.", "Name a file of Binance klines.")
