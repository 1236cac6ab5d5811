"""Ticks by column: trades of the public archive, and recorded market ticks.

Times are Unix milliseconds, prices and quantities units of 10**-8. A table of trades has no touch;
a table of market ticks also has the bid and ask of each tick. Trouble in a file of trades is
counted and settled as in one of klines; gaps and duplicates are found by ids.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import lt
from pathlib import Path
from typing import Final

from minibot.data.columns import LARGEST, SUFFIX
from minibot.data.kline import increment, units_of
from minibot.data.treatment import (
    DAMAGED,
    DUPLICATES,
    GAPS,
    ORDER,
    PRICES,
    ROWS,
    UNITS,
    ZERO_VOLUME,
    DataReport,
    Treatment,
    clock_text,
)
from minibot.events.model import MarketTick
from minibot.exchanges.tapes.decimals import to_units
from minibot.exchanges.tapes.tape import lines_of
from minibot.kernel.errors import Refusal
from minibot.simulator.sources.kline_files import symbol_of
from minibot.simulator.sources.kline_rows import BOM, time_of, zip_lines

IS_TRADE, IS_TAKER_SELL, HAS_EXCHANGE_TS = 1, 2, 4
"""Bits of the column `flags`."""

TRADES, TICKS = "trades", "ticks"
"""Contents of a table: trades without a touch, or market ticks with theirs."""

TRADE_COLUMNS: Final = ("ts", "price", "qty", "trade_id", "flags")
TICK_COLUMNS: Final = (
    *("ts", "price", "qty", "trade_id", "flags"),
    *("bid", "bid_qty", "ask", "ask_qty", "exchange_ts"),
)
AMOUNTS: Final = frozenset({"price", "qty", "bid", "bid_qty", "ask", "ask_qty"})

# Positions of id, price, quantity, time and "the buyer was the maker", by the number of columns.
_LAYOUTS: Final = {7: (0, 1, 2, 4, 5), 8: (0, 1, 2, 5, 6)}
# Meaning of "the buyer was the maker": the taker sold where it is true.
_TAKER_BUYS: Final = IS_TRADE | HAS_EXCHANGE_TS
_FLAGS: Final = {
    **dict.fromkeys(("True", "true", "TRUE"), _TAKER_BUYS | IS_TAKER_SELL),
    **dict.fromkeys(("False", "false", "FALSE"), _TAKER_BUYS),
}


@dataclass(slots=True)
class TickColumns:
    """Ticks of one symbol, oldest first, one array per column, with their report."""

    symbol: str
    columns: dict[str, array[int]]
    report: DataReport
    # Ids of rows that the venue blanked: they are neither trades nor holes.
    blanks: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.columns["ts"])

    def rows(self) -> Iterator[tuple[int, ...]]:
        """Yield the rows as tuples, in the order of the columns."""
        return zip(*self.columns.values(), strict=True)


def empty_columns(names: Sequence[str]) -> dict[str, array[int]]:
    """Return an empty array for each column."""
    return {name: array("B" if name == "flags" else "q") for name in names}


def is_trades_file(path: Path) -> bool:
    """Return whether a file name is one of trades: `BTCUSDT-aggTrades-2025-01-01.zip`."""
    is_named_so = "-trades" in path.name or "-aggTrades" in path.name
    # Our own column files name their kind in the header.
    return is_named_so and path.suffix != SUFFIX


def open_trades(path: Path, treatment: Treatment | None = None, *, symbol: str = "") -> TickColumns:
    """Return the trades of an archive file, as CSV, `.gz` or `.zip`.

    Raises:
        Refusal: Missing, empty, no trades, or trouble that the treatment refuses.
    """
    treatment = treatment or Treatment()
    table = inspect_trades(path, treatment, symbol=symbol)
    table.report.judge(treatment)
    if not len(table):
        raise _no_row(path)
    return table


def inspect_trades(path: Path, treatment: Treatment, *, symbol: str = "") -> TickColumns:
    """Return the trades of a file with its report, which has not been judged yet.

    Raises:
        Refusal: Missing, or without any row below its header.
    """
    report = DataReport(path, TRADES, symbol or symbol_of(path))
    table = TickColumns(report.symbol, empty_columns(TRADE_COLUMNS), report)
    _read(path, table)
    if not (len(table) or table.blanks or report.troubles):
        raise _no_row(path)
    _treat(table, treatment)
    sum_up(table)
    return table


def table_of_ticks(path: Path, symbol: str, ticks: Iterable[tuple[MarketTick, int]]) -> TickColumns:
    """Return market ticks of one symbol as a table; `ts` is the run clock's time of each.

    Args:
        path: Source of the ticks, for the report.
        symbol: Symbol of the table; ticks of others are skipped.
        ticks: Tick and time, as a market role or a source of a backtest gives them.

    Raises:
        Refusal: A number does not fit 64 bits in units of 10**-8.
        ValueError: A number has more than eight places, which no market role writes.
    """
    columns = empty_columns(TICK_COLUMNS)
    appends = [columns[name].append for name in TICK_COLUMNS]
    for tick, ts in ticks:
        if tick.symbol == symbol:
            for name, append, value in zip(TICK_COLUMNS, appends, _values(tick, ts), strict=True):
                try:
                    append(value)
                except OverflowError as error:
                    raise Refusal(
                        f"{path}: {symbol}, {name} of the tick at {ts}: too large for 64 bits.",
                        "Leave that symbol out.",
                    ) from error
    table = TickColumns(symbol, columns, DataReport(path, TICKS, symbol))
    sum_up(table)
    return table


def _values(tick: MarketTick, ts: int) -> tuple[int, ...]:
    flags = IS_TRADE if tick.kind == "trade" else 0
    flags |= IS_TAKER_SELL if tick.taker_side == "SELL" else 0
    flags |= HAS_EXCHANGE_TS if tick.exchange_ts is not None else 0
    return (
        *(ts, to_units(tick.price), to_units(tick.qty or "0"), tick.trade_id or 0, flags),
        *(to_units(tick.bid), to_units(tick.bid_qty), to_units(tick.ask)),
        *(to_units(tick.ask_qty), tick.exchange_ts or 0),
    )


# --- reading ---------------------------------------------------------------------------------


def _read(path: Path, table: TickColumns) -> None:
    """Fill the columns with the rows that are trades; other rows, and damage, are reported."""
    lines = zip_lines(path) if path.suffix == ".zip" else lines_of(path)
    report = table.report
    appends = [table.columns[name].append for name in TRADE_COLUMNS]
    number = 0
    first_unit = ""
    try:
        for number, line in enumerate(lines, 1):
            text = line.lstrip(BOM) if number == 1 else line
            if not text.strip():
                continue
            row = _trade(text.decode("ascii", "replace").split(","))
            if row is None:
                # A header names its columns; any other row that is not a trade is a bad row.
                if number > 1 or not text[:1].isalpha():
                    report.add(ROWS, number, 0, f"no trade of 7 or 8 columns: {line[:60]!r}")
                continue
            values, unit = row
            first_unit = first_unit or unit
            if unit != first_unit:
                what = f"time in {unit}, the first row's in {first_unit}"
                report.add(UNITS, number, values[0], what)
            if values[1] == 0 and values[2] == 0:
                table.blanks.append(values[3])
                continue
            for append, value in zip(appends, values, strict=True):
                append(value)
    except Refusal as refusal:
        if not number:
            raise
        report.add(DAMAGED, number, 0, f"last whole row; {refusal.message}")
    if table.blanks:
        report.notes.append(f"{len(table.blanks)} rows that the venue blanked are left out")


def _trade(cells: list[str]) -> tuple[tuple[int, ...], str] | None:
    """Return the values of one row in the order of `TRADE_COLUMNS`, and its unit of time."""
    layout = _LAYOUTS.get(len(cells))
    if layout is None:
        return None
    id_at, price_at, qty_at, time_at, maker_at = layout
    trade_id, maker = cells[id_at], cells[maker_at]
    at = time_of(cells[time_at])
    flags = _FLAGS.get(maker)
    if at is None or flags is None or not trade_id.isdigit():
        return None
    try:
        numbers = units_of(cells[price_at]), units_of(cells[qty_at]), int(trade_id)
    except ValueError:
        return None
    # A column cannot hold larger numbers.
    return None if max(map(abs, numbers)) > LARGEST else ((at[0], *numbers, flags), at[1])


def _no_row(path: Path) -> Refusal:
    return Refusal(f"{path}: a file of trades without any row.", "Name another one.")


# --- treating --------------------------------------------------------------------------------


def _treat(table: TickColumns, treatment: Treatment) -> None:
    """Put the rows in order, each once; all trouble is in the report."""
    _sort(table)
    report, columns = table.report, table.columns
    blanks = sorted(table.blanks)
    dropped: set[int] = set()
    last_id, last_row = 0, -1
    for row, (ts, price, qty, trade_id) in _by_id(columns):
        if price <= 0:
            report.add(PRICES, row + 1, ts, "a price of zero or less")
            if treatment.prices == "drop":
                dropped.add(row)
                continue
        elif qty <= 0:
            report.add(ZERO_VOLUME, row + 1, ts, "a quantity of zero or less")
            if treatment.zero_volume == "drop":
                dropped.add(row)
                continue
        if last_row >= 0 and trade_id == last_id:
            report.add(DUPLICATES, row + 1, ts, f"duplicate of id {trade_id}")
            if treatment.duplicates != "last":
                dropped.add(row)
                continue
            dropped.add(last_row)
        elif last_row >= 0 and trade_id > last_id + 1:
            missing = trade_id - last_id - 1
            missing -= bisect_left(blanks, trade_id) - bisect_left(blanks, last_id)
            if missing > 0:
                what = f"{missing} ids missing after {last_id}"
                report.add(GAPS, row + 1, ts, what, missing)
        last_id, last_row = trade_id, row
    if dropped:
        _take(table, [row for row in range(len(table)) if row not in dropped])


def _by_id(columns: dict[str, array[int]]) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Return time, price, quantity and id of each row with its number, in the order of ids."""
    ids = columns["trade_id"]
    rows = enumerate(zip(columns["ts"], columns["price"], columns["qty"], ids, strict=True))
    # Sorted by time, trades may have ids that fall.
    return sorted(rows, key=lambda row: row[1][3]) if _falls(ids) else rows


def _falls(values: array[int]) -> bool:
    return any(map(lt, memoryview(values)[1:], values))


def _sort(table: TickColumns) -> None:
    """Report rows older than the one before; sort all by time, then by id."""
    times, ids = table.columns["ts"], table.columns["trade_id"]
    if not _falls(times) and not _falls(ids):
        return
    for row in range(1, len(times)):
        if (times[row], ids[row]) < (times[row - 1], ids[row - 1]):
            what = f"after {clock_text(times[row - 1])}, id {ids[row - 1]}"
            table.report.add(ORDER, row + 1, times[row], what)
    _take(table, sorted(range(len(times)), key=lambda row: (times[row], ids[row])))


def _take(table: TickColumns, rows: list[int]) -> None:
    for name, values in table.columns.items():
        table.columns[name] = array(values.typecode, [values[row] for row in rows])


def sum_up(table: TickColumns) -> None:
    """Fill rows, span and increments of a table's report from its columns."""
    report, columns = table.report, table.columns
    report.rows = len(table)
    if not report.rows:
        return
    report.first_ts, report.end_ts = columns["ts"][0], columns["ts"][-1] + 1
    # Trades may all fall on coarse prices between which the market quotes; a quote trades nothing.
    report.price_increment = increment(_all_of(columns, "price", "bid", "ask"))
    report.qty_increment = increment(_all_of(columns, "qty", "bid_qty", "ask_qty"))


def _all_of(columns: dict[str, array[int]], *names: str) -> Iterator[int]:
    """Return the values of those columns that the table has."""
    return chain.from_iterable(columns[name] for name in names if name in columns)


def joined(tables: Sequence[TickColumns], treatment: Treatment) -> TickColumns:
    """Return tables of one symbol as one, judged again where they meet.

    Raises:
        Refusal: There is a gap or overlap between them that the treatment does not settle.
    """
    if len(tables) == 1:
        return tables[0]
    ordered = sorted(tables, key=lambda table: table.columns["ts"][0])
    first = ordered[0]
    report = DataReport(first.report.path.parent, first.report.kind, first.symbol)
    columns = empty_columns(tuple(first.columns))
    for table in ordered:
        for name, values in table.columns.items():
            columns[name].extend(values)
    blanks = [number for table in ordered for number in table.blanks]
    whole = TickColumns(first.symbol, columns, report, blanks)
    _treat(whole, treatment)
    report.judge(treatment)
    found_again = {GAPS} if treatment.zero_volume == "drop" else {GAPS, ZERO_VOLUME}
    for table in ordered:
        report.take_over(table.report, *found_again)
    sum_up(whole)
    return whole
