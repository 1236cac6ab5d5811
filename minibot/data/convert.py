"""Conversion of data files of any form into column files, and their reports.

One file for each series: `BTCUSDT-1m.columns` for klines, `BTCUSDT-trades.columns` for trades,
`BTCUSDT-ticks.columns` for market ticks with their touch. Several inputs of one series become one
file, in order of time; rows where they meet are judged like the rows of one file.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from minibot.data.columns import SUFFIX, Column, Columns, amounts, write_columns
from minibot.data.kline import Kline
from minibot.data.klines import (
    KLINES,
    KlineSet,
    audit_klines,
    first_interval,
    inspect_klines,
    merged,
    open_klines,
    report_of,
)
from minibot.data.ticks import (
    AMOUNTS,
    TickColumns,
    inspect_trades,
    is_trades_file,
    joined,
    open_trades,
)
from minibot.data.treatment import ORDER, DataReport, Treatment
from minibot.events.money import PLACES
from minibot.kernel.errors import Refusal
from minibot.kernel.files import hash_file
from minibot.simulator.sources.kline_files import named_interval

_EXACT: Final = frozenset({"open_ts", "close_ts", "trades"})


@dataclass(frozen=True, slots=True)
class Converted:
    """One column file that was written, its contents, and the report on its source."""

    path: Path
    sha256: str
    report: DataReport

    def to_json(self) -> dict[str, Any]:
        """Return the conversion as JSON."""
        found = self.report.to_json()
        return {**found, "from": found["path"], "path": str(self.path), "sha256": self.sha256}


class Origin(NamedTuple):
    """Origin of a column file: a source file with its sha256, or a run with its seal's root."""

    name: str
    sha256: str
    rows: int


def origin(report: DataReport) -> Origin:
    """Return the origin that a report is about."""
    return Origin(report.path.name, hash_file(report.path)[1], report.rows)


def convert(
    paths: Sequence[Path],
    out: Path,
    treatment: Treatment | None = None,
    *,
    symbol: str = "",
    interval: str = "",
) -> list[Converted]:
    """Write the klines and trades of data files as columns; return the files written.

    Args:
        paths: Files of klines or of trades, in any order; no folders (`store.data_files` lists
            the files of one).
        out: Folder of the new files.
        treatment: Treatment of each kind of trouble; refuses by default.
        symbol: Symbol of the files, where names do not tell it.
        interval: Interval of the klines, where rows and names do not tell it.

    Raises:
        Refusal: A file cannot be used, or has trouble that the treatment refuses: nothing is
            written. Where files of one series meet, trouble is found when its turn comes, klines
            before trades: nothing of it is written, and series written before it stay.
        RunStop: A path is a folder of several files, or the disk refused a write.
    """
    treatment = treatment or Treatment()
    klines: dict[tuple[str, str], list[KlineSet]] = {}
    trades: dict[str, list[TickColumns]] = {}
    for path in paths:
        if is_trades_file(path):
            table = open_trades(path, treatment, symbol=symbol)
            trades.setdefault(table.symbol, []).append(table)
        else:
            found = open_klines(path, treatment, symbol=symbol, interval=interval)
            klines.setdefault((found.symbol, found.interval), []).append(found)
    written = [
        write_klines(
            merged(sets, treatment), out, treatment, [origin(each.report) for each in sets]
        )
        for sets in klines.values()
    ]
    written += [
        write_ticks(
            joined(tables, treatment), out, treatment, [origin(each.report) for each in tables]
        )
        for tables in trades.values()
    ]
    return written


def columns_path(out: Path, symbol: str, what: str) -> Path:
    """Return the path of a series: `what` is the interval of klines, else the kind."""
    return out / f"{symbol}-{what}{SUFFIX}"


def write_klines(
    found: KlineSet, out: Path, treatment: Treatment, sources: Sequence[Origin]
) -> Converted:
    """Write klines as columns; return the conversion."""
    path = columns_path(out, found.symbol, found.interval)
    columns = []
    for name, values in zip(Kline._fields, zip(*found.klines, strict=True), strict=True):
        if name in _EXACT:
            columns.append(Column(name, array("q", values)))
            continue
        try:
            columns.append(amounts(name, values))
        except Refusal as refusal:
            what = f"{found.report.path}: {refusal.message}"
            raise Refusal(what, "A backtest takes the file itself: klines:FILE.") from refusal
    about = _about(KLINES, found.report, treatment, sources)
    return Converted(path, write_columns(path, about, columns), found.report)


def write_ticks(
    table: TickColumns,
    out: Path,
    treatment: Treatment,
    sources: Sequence[Origin] = (),
    *,
    skew_ms: int | None = None,
) -> Converted:
    """Write ticks or trades as columns; return the conversion.

    `skew_ms` is exchange time minus the time of receipt, where the source knows it.
    """
    kind = table.report.kind
    path = columns_path(out, table.symbol, kind)
    columns = [
        Column(name, values, PLACES if name in AMOUNTS else 0)
        for name, values in table.columns.items()
    ]
    about = _about(kind, table.report, treatment, sources)
    if skew_ms is not None:
        about["skew_ms"] = skew_ms
    return Converted(path, write_columns(path, about, columns), table.report)


def _about(
    kind: str, report: DataReport, treatment: Treatment, sources: Sequence[Origin]
) -> dict[str, Any]:
    return {
        "kind": kind,
        "symbol": report.symbol,
        "interval": report.interval,
        "first_ts": report.first_ts,
        "end_ts": report.end_ts,
        "price_increment": report.price_increment,
        "qty_increment": report.qty_increment,
        "sources": [source._asdict() for source in sources],
        "treatment": treatment.to_json(),
    }


def check(path: Path, treatment: Treatment, *, symbol: str = "", interval: str = "") -> DataReport:
    """Return the report of a data file of any form; judging it is left to the caller.

    Raises:
        Refusal: It cannot be read at all, or a column file has been changed.
    """
    if path.suffix == SUFFIX:
        with Columns(path) as columns:
            return report_of(columns)
    if is_trades_file(path):
        return inspect_trades(path, treatment, symbol=symbol).report
    named = interval or (first_interval(path) if named_interval(path) else "")
    if named:
        report = audit_klines(path, treatment, symbol=symbol, interval=named)
        if ORDER not in report.troubles:  # Once sorted, rows have other holes.
            return report
    return inspect_klines(path, treatment, symbol=symbol, interval=interval).report
