"""Repair of klines as far as the `Treatment` allows: order, duplicates, bad rows, holes.

All trouble is counted in the report with its place, also trouble that the treatment settles.
"""

from __future__ import annotations

from itertools import pairwise
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


def treat(rows: list[Numbered], report: DataReport, treatment: Treatment) -> list[Kline]:
    """Return the klines after the treatment, in order; all trouble is in the report.

    Raises:
        Refusal: A hole is too long to be filled.
    """
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
        how = "identical to" if former[1] == kline else "contradicts"
        report.add(DUPLICATES, number, kline.open_ts, f"{how} row {former[0]}")
        if treatment.duplicates == "last":
            kept[-1] = (number, kline)
    return kept


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
    """Count the holes, fill them if the treatment says so, and give each bar a close time."""
    interval = report.interval
    klines: list[Kline] = []
    due = rows[0][1].open_ts if rows else 0
    for number, kline in rows:
        if kline.open_ts > due:
            missing = bars_between(interval, due, kline.open_ts)
            what = f"{missing} missing from {clock_text(due)}"
            report.add(GAPS, number, kline.open_ts, what, missing)
            if treatment.gaps == "flat":
                if missing > FLAT_BARS_MAX:
                    raise Refusal(
                        f"{report.path}: row {number}: {what}, more than --gaps flat fills.",
                        "Divide the file there, or keep the hole: --gaps keep.",
                    )
                klines += flat_bars(klines[-1].close, interval, due, kline.open_ts)
        due = next_open(interval, kline.open_ts)
        klines.append(kline if kline.close_ts else kline._replace(close_ts=due - 1))
    return klines
