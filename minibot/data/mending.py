"""Repair of klines as far as the `Treatment` allows: order, duplicates, bad rows, holes.

All trouble is counted in the report with its place, also trouble that the treatment settles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd
from typing import Final

from minibot.data.kline import Kline, bars_between, flat_bars, increment
from minibot.data.treatment import (
    DUPLICATES,
    GAPS,
    MISALIGNED,
    ORDER,
    PRICES,
    ROWS,
    ZERO_VOLUME,
    DataReport,
    Treatment,
    clock_text,
)
from minibot.events.decimals import format_fixed
from minibot.events.money import PLACES
from minibot.exchanges.tapes.kline_bars import next_open, open_of
from minibot.kernel.errors import Refusal

# A longer hole is no hole but another file, or an error in its times.
FLAT_BARS_MAX: Final = 1_000_000

Numbered = tuple[int, Kline]
"""A kline with the number of its row, from 1."""


def treat(rows: Iterable[Numbered], report: DataReport, treatment: Treatment) -> list[Kline]:
    """Return the klines after the treatment, in order; all trouble is in the report.

    Raises:
        Refusal: A hole is too long to be filled.
    """
    ordered = list(_watched(rows, report))
    if ORDER in report.troubles:
        ordered.sort(key=lambda row: row[1].open_ts)
    return list(_treated(ordered, report, treatment))


def audit(rows: Iterable[Numbered], report: DataReport, treatment: Treatment) -> None:
    """Complete the report of rows that nobody keeps, in the memory of a few.

    The rows are not sorted. If some are older than the one before, `order` counts them; holes and
    duplicates are then those between neighbours, not those of the sorted rows.

    Raises:
        Refusal: A hole is too long to be filled.
    """
    for _ in _treated(_watched(rows, report), report, treatment):
        pass


def _treated(rows: Iterable[Numbered], report: DataReport, treatment: Treatment) -> Iterator[Kline]:
    """Yield the klines of rows one by one; with the last of them the report is whole."""
    sound = (row for row in _once(rows, report, treatment) if _is_sound(row, report, treatment))
    report.rows = price = qty = 0
    for kline in _without_holes(sound, report, treatment):
        if not report.rows:
            report.first_ts = kline.open_ts
        report.rows += 1
        if price != 1:
            price = gcd(price, kline.open, kline.high, kline.low, kline.close)
        if qty != 1:
            qty = gcd(qty, kline.volume)
        yield kline
    if report.rows:
        report.end_ts = next_open(report.interval, kline.open_ts)
        report.price_increment, report.qty_increment = increment([price]), increment([qty])


def _watched(rows: Iterable[Numbered], report: DataReport) -> Iterator[Numbered]:
    """Yield rows as they are, and count those that are older than the one before."""
    former_ts = 0
    for row in rows:
        open_ts = row[1].open_ts
        if open_ts < former_ts:
            report.add(ORDER, row[0], open_ts, f"after {clock_text(former_ts)}")
        former_ts = open_ts
        yield row


def _once(rows: Iterable[Numbered], report: DataReport, treatment: Treatment) -> Iterator[Numbered]:
    kept: Numbered | None = None
    for row in rows:
        number, kline = row
        if kept is None or kept[1].open_ts != kline.open_ts:
            if kept is not None:
                yield kept
            kept = row
            continue
        how = "identical to" if kept[1] == kline else "contradicts"
        report.add(DUPLICATES, number, kline.open_ts, f"{how} row {kept[0]}")
        if treatment.duplicates == "last":
            kept = row
    if kept is not None:
        yield kept


def _is_sound(row: Numbered, report: DataReport, treatment: Treatment) -> bool:
    """Count the trouble of one row; return whether the row stays."""
    number, kline = row
    ts = kline.open_ts
    if open_of(report.interval, ts) != ts:
        report.add(MISALIGNED, number, ts, f"no multiple of {report.interval}")
        return treatment.misaligned != "drop"
    low, high = kline.low, kline.high
    if not 0 < low <= min(kline.open, kline.close) <= max(kline.open, kline.close) <= high:
        report.add(PRICES, number, ts, _prices_text(kline))
        return treatment.prices != "drop"
    counts = (kline.volume, kline.quote_volume, kline.trades, kline.taker_volume, kline.taker_quote)
    if min(counts) < 0:
        report.add(ROWS, number, ts, "a volume or a count below zero")
        return treatment.rows != "drop"
    if kline.volume == 0:
        report.add(ZERO_VOLUME, number, ts, "no volume")
        return treatment.zero_volume != "drop"
    return True


def _prices_text(kline: Kline) -> str:
    names = ("open", "high", "low", "close")
    return ", ".join(f"{name} {format_fixed(getattr(kline, name), PLACES)}" for name in names)


def _without_holes(
    rows: Iterable[Numbered], report: DataReport, treatment: Treatment
) -> Iterator[Kline]:
    """Count the holes, fill them if the treatment says so, and give each bar a close time."""
    interval = report.interval
    due = close = 0
    for number, kline in rows:
        if due and kline.open_ts > due:
            missing = bars_between(interval, due, kline.open_ts)
            what = f"{missing} missing from {clock_text(due)}"
            report.add(GAPS, number, kline.open_ts, what, missing)
            if treatment.gaps == "flat":
                if missing > FLAT_BARS_MAX:
                    raise Refusal(
                        f"{report.path}: row {number}: {what}, more than --gaps flat fills.",
                        "Divide the file there, or keep the hole: --gaps keep.",
                    )
                yield from flat_bars(close, interval, due, kline.open_ts)
        due, close = next_open(interval, kline.open_ts), kline.close
        yield kline if kline.close_ts else kline._replace(close_ts=due - 1)
