"""Klines of any form as exact integers: prices and amounts in units of 10**-8, times in ms.

`open_klines` reads a file, checks every row, and returns the klines in order, each once; all
trouble is in the report, and refuses the file unless the `Treatment` settles it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

from minibot.data.columns import SUFFIX, Columns
from minibot.data.kline import Kline, kline_of
from minibot.data.mending import Numbered, audit, treat
from minibot.data.store import data_files
from minibot.data.treatment import (
    DAMAGED,
    GAPS,
    ROWS,
    UNITS,
    ZERO_VOLUME,
    DataReport,
    Treatment,
)
from minibot.events.money import PLACES
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.kernel.errors import Refusal
from minibot.simulator.sources.kline_files import named_interval, symbol_of
from minibot.simulator.sources.kline_rows import BadRow, rows_of

FIRST_ROWS: Final = 1000
KLINES: Final = "klines"
"""Kind of a file of columns that holds klines."""


@dataclass(slots=True)
class KlineSet:
    """Klines of one symbol and interval, oldest first, with the report on their file."""

    symbol: str
    interval: str
    klines: list[Kline]
    report: DataReport

    def __iter__(self) -> Iterator[Kline]:
        return iter(self.klines)

    def __len__(self) -> int:
        return len(self.klines)


def open_klines(
    path: Path, treatment: Treatment | None = None, *, symbol: str = "", interval: str = ""
) -> KlineSet:
    """Return the klines of a file, or of all files of a folder.

    A column file was judged when it was converted. A note in its report names the treatment of
    then; the trouble itself, and its counts, are not in the file. It has a symbol and an interval
    of its own; those of the call are not compared with them.

    Args:
        path: JSON rows, CSV, archive zip, feather, columns, or a folder of one series.
        treatment: Treatment of each kind of trouble; refuses by default.
        symbol: Symbol of the file; by default the beginning of its name.
        interval: Interval, not compared with the rows; by default that of `interval_of`.

    Raises:
        Refusal: Missing, damaged, empty, no klines, or trouble that the treatment refuses.
    """
    treatment = treatment or Treatment()
    names = {"symbol": symbol, "interval": interval}
    if path.is_dir():
        sets = [open_klines(each, treatment, **names) for each in data_files(path)]
        return merged(sets, treatment)
    (path,) = data_files(path)
    if path.suffix == SUFFIX:
        with Columns(path) as columns:
            klines = list(klines_of(columns))
            return KlineSet(columns.symbol, columns.interval, klines, report_of(columns))
    found = inspect_klines(path, treatment, **names)
    found.report.judge(treatment)
    if not found.klines:
        raise _no_row(path)
    return found


def inspect_klines(
    path: Path, treatment: Treatment, *, symbol: str = "", interval: str = ""
) -> KlineSet:
    """Return the klines of a file with its report, which has not been judged yet.

    Raises:
        Refusal: Missing, without a row, other columns altogether, symbol or interval cannot be
            determined, or a hole is too long to be filled.
    """
    report = DataReport(path, KLINES, symbol or symbol_of(path))
    rows = list(_read(path, report))
    if not rows and not report.troubles:
        raise _no_row(path)
    opens = [kline.open_ts for _, kline in rows]
    # No good row shows an interval: the report has to name the bad ones.
    report.interval = interval or (interval_of(path, opens) if opens else named_interval(path))
    klines = treat(rows, report, treatment)
    return KlineSet(report.symbol, report.interval, klines, report)


def audit_klines(path: Path, treatment: Treatment, *, symbol: str, interval: str) -> DataReport:
    """Return the report of `inspect_klines`, for a known interval, in the memory of a few rows.

    The rows are not sorted. If some are out of order, which `order` counts, holes and duplicates
    are those between neighbours in the file, not those of the sorted rows.

    Raises:
        Refusal: Missing, empty, other columns altogether, or a hole is too long to be filled.
    """
    report = DataReport(path, KLINES, symbol or symbol_of(path), interval)
    audit(_read(path, report), report, treatment)
    if not report.rows and not report.troubles:
        raise _no_row(path)
    return report


def first_interval(path: Path) -> str:
    """Return the interval by the first rows of a file or folder; empty where they do not tell.

    The file is not judged: faults are refused when it is opened.
    """
    try:
        first = data_files(path)[0]
        if first.suffix == SUFFIX:
            with Columns(first) as columns:
                return columns.interval
        taken = [kline_of(cells) for _, cells in islice(rows_of(first), FIRST_ROWS)]
        return interval_of(first, [row[0].open_ts for row in taken if not isinstance(row, BadRow)])
    except Refusal:
        return ""


def interval_of(path: Path, opens: list[int]) -> str:
    """Return the interval: the name's if the rows allow it, else the usual step between rows.

    The usual step is the most common one. The rows allow a name's interval that divides it.

    Raises:
        Refusal: Their step is not an interval; or neither rows nor name tell one.
    """
    steps_ms = Counter(later - former for former, later in pairwise(sorted(set(opens))))
    step_ms = steps_ms.most_common(1)[0][0] if steps_ms else 0
    name = named_interval(path)
    # A single row, months, or so many holes that hardly two rows are consecutive.
    if name and step_ms % (INTERVALS[name] or 1) == 0:
        return name
    for known, length_ms in INTERVALS.items():
        if length_ms == step_ms and step_ms:
            return known
    if not step_ms:
        raise Refusal(
            f"{path}: no two rows of different times, so that only a name shows the interval.",
            "Name it like BTCUSDT-1m-2025-01-01.csv.",
        )
    raise Refusal(
        f"{path}: rows {step_ms} ms apart are not an interval of the venue.",
        f"Known: {', '.join(INTERVALS)}.",
    )


def _no_row(path: Path) -> Refusal:
    return Refusal(f"{path}: a kline file without any row.", "Name another one.")


# --- reading ---------------------------------------------------------------------------------


def _read(path: Path, report: DataReport) -> Iterator[Numbered]:
    """Yield the rows that are klines; other rows, and damage, go into the report."""
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
        # Without any row, good or bad, the file is refused; one that breaks off later is damaged.
        if not number:
            raise
        report.add(DAMAGED, number, 0, f"last whole row; {refusal.message}")


def merged(sets: list[KlineSet], treatment: Treatment) -> KlineSet:
    """Return several sets of one symbol and interval as one, judged again where they meet.

    Raises:
        Refusal: They have several symbols or intervals, or there is a gap or overlap between them
            that the treatment does not settle. A set that begins before the last row of the set
            before it is also trouble of `order`.
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
    for each in ordered:
        # Gaps that were kept have been found again.
        report.take_over(each.report, *([GAPS] if treatment.gaps == "keep" else []))
    return KlineSet(first.symbol, first.interval, klines, report)


# --- columns ---------------------------------------------------------------------------------


def klines_of(columns: Columns) -> Iterator[Kline]:
    """Yield the klines of a column file, all amounts in units of 10**-8.

    Raises:
        Refusal: It holds another kind of data.
    """
    if columns.kind != KLINES:
        raise Refusal(f"{columns.path}: holds {columns.kind}, not klines.", "Name another one.")
    factors = [10 ** (PLACES - columns.places(name)) for name in Kline._fields[2:8]]
    taker = [10 ** (PLACES - columns.places(name)) for name in Kline._fields[9:]]
    factors_all = [1, 1, *factors, 1, *taker]
    if set(factors_all) == {1}:
        for row in columns.walk(Kline._fields):
            yield Kline._make(row)
        return
    for row in columns.walk(Kline._fields):
        yield Kline._make(value * factor for value, factor in zip(row, factors_all, strict=True))


def report_of(columns: Columns) -> DataReport:
    """Return the report that a column file carries in its header."""
    header = columns.header
    report = DataReport(columns.path, columns.kind, columns.symbol, columns.interval, columns.rows)
    report.first_ts, report.end_ts = int(header["first_ts"]), int(header["end_ts"])
    report.price_increment = str(header["price_increment"])
    report.qty_increment = str(header["qty_increment"])
    if header["treatment"]:
        treatment = ", ".join(f"{name} {word}" for name, word in header["treatment"].items())
        report.notes.append(f"treated when it was converted: {treatment}")
    return report
