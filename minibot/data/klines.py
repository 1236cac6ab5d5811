"""Klines of any form as exact whole numbers: prices and amounts in units of 10**-8, times in ms.

`open_klines` reads a file, looks at every row, and gives the klines in order, each once; whatever
is wrong is in the report, and refuses the file unless the `Treatment` settles it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import Final, NamedTuple

from minibot.data.treatment import (
    DAMAGED,
    DUPLICATES,
    GAPS,
    MISALIGNED,
    ORDER,
    PRICES,
    ROWS,
    UNITS,
    ZERO_VOLUME,
    DataReport,
    Treatment,
    clock_text,
)
from minibot.events.numbers import format_fixed
from minibot.exchanges.embedded.bars import INTERVALS, next_open, open_of
from minibot.exchanges.embedded.decimals import PLACES, to_units
from minibot.exchanges.embedded.kline_rows import BadRow, Cells, rows_of, time_of
from minibot.kernel.errors import Refusal

_NAME: Final = re.compile(r"^([A-Za-z0-9]+?)(?:_([A-Za-z0-9]+))?-")
_NAMED_INTERVAL: Final = re.compile(r"-(\d+(?:mo|[smhdwM]))(?:[-.]|$)")
# A hole as long as this is no hole but another file, or an error of its times.
FLAT_BARS_MAX: Final = 1_000_000


class Kline(NamedTuple):
    """One kline; `open_ts` and `close_ts` in Unix ms, all amounts in units of 10**-8."""

    open_ts: int
    close_ts: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    taker_volume: int
    taker_quote: int


@dataclass(slots=True)
class KlineSet:
    """The klines of one symbol and interval, oldest first, and what was found in their file."""

    symbol: str
    interval: str
    klines: list[Kline]
    report: DataReport

    def __iter__(self) -> Iterator[Kline]:
        return iter(self.klines)

    def __len__(self) -> int:
        return len(self.klines)


Numbered = tuple[int, Kline]


def open_klines(
    path: Path, treatment: Treatment | None = None, *, symbol: str = "", interval: str = ""
) -> KlineSet:
    """Return the klines of a file.

    Args:
        path: JSON rows, CSV, archive zip, or feather.
        treatment: What to do with what is wrong; refuses by default.
        symbol: Whose they are; by default what the file's name begins with.
        interval: How long a bar is; by default the shortest step between rows, else the name's.

    Raises:
        Refusal: Missing, damaged, empty, no klines, or trouble that the treatment refuses.
    """
    treatment = treatment or Treatment()
    found = inspect_klines(path, treatment, symbol=symbol, interval=interval)
    found.report.judge(treatment)
    if not found.klines:
        raise Refusal(f"{path}: a kline file without any row.", "Name another one.")
    return found


def inspect_klines(
    path: Path, treatment: Treatment, *, symbol: str = "", interval: str = ""
) -> KlineSet:
    """Return the klines of a file with its report, which has not been judged yet.

    Raises:
        Refusal: Missing, other columns altogether, or its symbol or interval cannot be told.
    """
    report = DataReport(path, "klines", symbol or symbol_of(path))
    rows = list(_read(path, report))
    if not rows and not report.troubles:
        raise Refusal(f"{path}: a kline file without any row.", "Name another one.")
    report.interval = interval or _interval(path, [kline.open_ts for _, kline in rows])
    klines = treat(rows, report, treatment)
    return KlineSet(report.symbol, report.interval, klines, report)


def symbol_of(path: Path) -> str:
    """Return the symbol that a file's name begins with: `BTCUSDT-1m...`, `BTC_USDT-1m...`.

    Raises:
        Refusal: It begins otherwise.
    """
    match = _NAME.match(path.name)
    if match is None:
        raise Refusal(
            f"{path}: the name does not begin with a symbol.",
            "Name it like BTCUSDT-1m-2025-01-01.csv.",
        )
    return "".join(part for part in match.groups() if part).upper()


def named_interval(path: Path) -> str:
    """Return the interval in a file's name, empty where there is none."""
    named = _NAMED_INTERVAL.search(path.name)
    name = named.group(1).replace("mo", "M") if named else ""
    return name if name in INTERVALS else ""


def _interval(path: Path, opens: list[int]) -> str:
    """Return the interval: the name's where the rows allow it, else the rows' shortest step."""
    steps_ms = [later - former for former, later in pairwise(sorted(set(opens)))]
    step_ms = min(steps_ms, default=0)
    name = named_interval(path)
    if name and step_ms >= INTERVALS[name] and step_ms % (INTERVALS[name] or 1) == 0:
        return name
    for known, length_ms in INTERVALS.items():
        if length_ms == step_ms and step_ms:
            return known
    if name and not opens:
        return name
    raise Refusal(
        f"{path}: rows {step_ms} ms apart are no interval of the venue.",
        f"Known: {', '.join(INTERVALS)}.",
    )


# --- reading ---------------------------------------------------------------------------------


def _read(path: Path, report: DataReport) -> Iterator[Numbered]:
    """Yield the rows that are klines; the others, and damage, stand in the report."""
    number = 0
    first_unit = ""
    try:
        for number, cells in rows_of(path):
            taken = kline_of(cells)
            if isinstance(taken, BadRow):
                report.add(ROWS, number, 0, taken.why)
                continue
            kline, unit = taken
            first_unit = first_unit or unit
            if unit != first_unit:
                what = f"times in {unit}, the first row's in {first_unit}"
                report.add(UNITS, number, kline.open_ts, what)
            yield number, kline
    except Refusal as refusal:
        # A file that never gave a row is refused as what it is; one that broke off is damaged.
        if not number:
            raise
        report.add(DAMAGED, number, 0, f"last whole row; {refusal.message}")


def kline_of(cells: Cells | BadRow) -> tuple[Kline, str] | BadRow:
    """Return the kline of twelve cells with the unit of its times, or what is wrong with them.

    A file that tells no close time closes its bars a millisecond before the next one opens; what
    else it does not tell is zero.
    """
    if isinstance(cells, BadRow):
        return cells
    opened = time_of(cells[0])
    if opened is None:
        return BadRow(f"has no open time but {cells[0][:40]!r}")
    closed = time_of(cells[6]) if cells[6] not in ("", "0") else (0, opened[1])
    if closed is None or closed[1] != opened[1]:
        return BadRow(f"has no close time but {cells[6][:40]!r}")
    try:
        open_, high, low, close, volume = map(_units, cells[1:6])
        quote, taker, taker_quote = (_units(cells[index] or "0") for index in (7, 9, 10))
        trades = int(cells[8] or "0")
    except ValueError as error:
        return BadRow(f"has no number ({error})")
    return (
        Kline(
            *(opened[0], closed[0], open_, high, low, close, volume),
            *(quote, trades, taker, taker_quote),
        ),
        opened[1],
    )


def _units(text: str) -> int:
    """Return a decimal string in units of 10**-8; a minus is taken, to be told apart later."""
    if not text.replace(".", "", 1).removeprefix("-").isdigit() or not text.isascii():
        raise ValueError(f"{text[:40]!r}")
    return -to_units(text[1:]) if text[0] == "-" else to_units(text)


# --- treating --------------------------------------------------------------------------------


def treat(rows: list[Numbered], report: DataReport, treatment: Treatment) -> list[Kline]:
    """Return the klines that the treatment leaves, in order; what was found is in the report."""
    rows = _in_order(rows, report)
    rows = _once(rows, report, treatment)
    rows = [row for row in rows if _is_sound(row, report, treatment)]
    klines = _without_holes(rows, report, treatment)
    report.rows = len(klines)
    if klines:
        report.first_ts = klines[0].open_ts
        report.end_ts = next_open(report.interval, klines[-1].open_ts)
        report.price_increment = increment(
            amount
            for kline in klines
            for amount in (kline.open, kline.high, kline.low, kline.close)
        )
        report.qty_increment = increment(kline.volume for kline in klines)
    return klines


def _in_order(rows: list[Numbered], report: DataReport) -> list[Numbered]:
    is_sorted = True
    for (_, former), (number, later) in pairwise(rows):
        if later.open_ts < former.open_ts:
            is_sorted = False
            report.add(ORDER, number, later.open_ts, f"after {clock_text(former.open_ts)}")
    return rows if is_sorted else sorted(rows, key=lambda row: row[1].open_ts)


def _once(rows: list[Numbered], report: DataReport, treatment: Treatment) -> list[Numbered]:
    kept: list[Numbered] = []
    for number, kline in rows:
        if not kept or kept[-1][1].open_ts != kline.open_ts:
            kept.append((number, kline))
            continue
        former = kept[-1]
        how = "the same again" if former[1] == kline else "otherwise"
        report.add(DUPLICATES, number, kline.open_ts, f"{how}, row {former[0]} stands already")
        if treatment.duplicates == "last":
            kept[-1] = (number, kline)
    return kept


def _is_sound(row: Numbered, report: DataReport, treatment: Treatment) -> bool:
    """Count what is wrong with one row; return whether it stays."""
    number, kline = row
    ts = kline.open_ts
    if open_of(report.interval, ts) != ts:
        report.add(MISALIGNED, number, ts, f"no multiple of {report.interval}")
        return treatment.misaligned != "drop"
    low, high = kline.low, kline.high
    if not 0 < low <= min(kline.open, kline.close) <= max(kline.open, kline.close) <= high:
        report.add(PRICES, number, ts, _prices_text(kline))
        return treatment.prices != "drop"
    if min(kline.volume, kline.quote_volume, kline.trades) < 0:
        report.add(ROWS, number, ts, "a volume or a count below zero")
        return treatment.rows != "drop"
    if kline.volume == 0:
        report.add(ZERO_VOLUME, number, ts, "no volume")
        return treatment.zero_volume != "drop"
    return True


def _prices_text(kline: Kline) -> str:
    names = ("open", "high", "low", "close")
    return ", ".join(f"{name} {format_fixed(getattr(kline, name), PLACES)}" for name in names)


def _without_holes(rows: list[Numbered], report: DataReport, treatment: Treatment) -> list[Kline]:
    """Count the holes, fill them where wanted, and give each bar a close time."""
    interval = report.interval
    klines: list[Kline] = []
    due = rows[0][1].open_ts if rows else 0
    for number, kline in rows:
        if kline.open_ts > due:
            missing = bars_between(interval, due, kline.open_ts)
            what = f"{missing} missing from {clock_text(due)}"
            report.add(GAPS, number, kline.open_ts, what, missing)
            if treatment.gaps == "flat" and missing <= FLAT_BARS_MAX:
                klines += flat_bars(klines[-1].close, interval, due, kline.open_ts)
        due = next_open(interval, kline.open_ts)
        klines.append(kline if kline.close_ts else kline._replace(close_ts=due - 1))
    return klines


def bars_between(interval: str, from_ts: int, to_ts: int) -> int:
    """Return how many bars open from `from_ts` on and before `to_ts`."""
    length_ms = INTERVALS[interval]
    if length_ms:
        return -(-(to_ts - from_ts) // length_ms)
    count = 0
    while from_ts < to_ts:
        from_ts, count = next_open(interval, from_ts), count + 1
    return count


def flat_bars(price: int, interval: str, from_ts: int, to_ts: int) -> Iterator[Kline]:
    """Yield bars without volume at a price, for a hole."""
    while from_ts < to_ts:
        until = next_open(interval, from_ts)
        yield Kline(from_ts, until - 1, price, price, price, price, 0, 0, 0, 0, 0)
        from_ts = until


def increment(amounts: Iterable[int]) -> str:
    """Return the finest power of ten that the amounts need, as decimal text: `0.01`."""
    common = 0
    for amount in amounts:
        common = gcd(common, amount)
        if common == 1:
            break
    places = PLACES
    while places and common and common % 10 == 0:
        common, places = common // 10, places - 1
    return format_fixed(1, places)


def merged(sets: list[KlineSet], treatment: Treatment) -> KlineSet:
    """Return several sets of one symbol and interval as one, judged again where they meet.

    Raises:
        Refusal: They are of several symbols or intervals, or meet with a gap or twice.
    """
    first = sets[0]
    if any((each.symbol, each.interval) != (first.symbol, first.interval) for each in sets):
        names = sorted({f"{each.symbol} {each.interval}" for each in sets})
        raise Refusal(f"several series at once: {', '.join(names)}.", "Name files of one.")
    if len(sets) == 1:
        return first
    ordered = sorted(sets, key=lambda each: each.klines[0].open_ts)
    rows = list(enumerate((kline for each in ordered for kline in each), 1))
    report = replace(first.report, path=first.report.path.parent, troubles={}, notes=[])
    klines = treat(rows, report, replace(treatment, zero_volume="keep"))
    report.troubles.pop(ZERO_VOLUME, None)  # Settled file by file.
    report.judge(treatment)
    return KlineSet(first.symbol, first.interval, klines, report)
