"""minibot profit: show the P&L of each finished run and the sums over all; --by groups trades."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Final

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.run_filters import add_filters, add_number, filtered, older_lines
from minibot.cli.support.selection import add_zone, var_of
from minibot.kernel.errors import RunStop
from minibot.replay.time_arguments import zone_of
from minibot.report.closed_trades import (
    GROUPS,
    ClosedTrade,
    TradeSum,
    group_of,
    sums_by,
    trades_of,
)
from minibot.report.columns import table_lines
from minibot.report.figures import counted, date_clock, money, signed
from minibot.report.night_sum import BETWEEN, moved_between
from minibot.report.records import COPY, UNSEALED, RunRecord, final_performance

HELP = "what each finished run earned, and all of them together; --by day, pair, reason or exit"
EXAMPLE = "minibot profit --since 7d --by pair"
HEAD: Final = ("data", "trades", "won", "fees", "result")
AMOUNTS: Final = ("fees", "result", "between")
UNENDED: Final = "not sealed yet; minibot report {} counts it so far"
Kind = tuple[str, str]
"""The kind of a run's data and its quote asset; sums of two kinds are never added."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_number(command)
    command.add_argument(
        "--by", choices=GROUPS, help="closed trades by day, pair, signal's reason or exit"
    )
    add_filters(command)
    add_zone(command)


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each run or group, and the sums by quote asset; 0 also without any."""
    var, (zone, zone_name) = var_of(arguments), zone_of(arguments.zone)
    found = filtered(arguments, var, zone)
    records = found[-arguments.number :]
    older = len(found) - len(records)
    if arguments.by:
        return _show_groups(arguments, records, older, zone)
    moved = moved_between(records)
    rows = [_row(record) | {"between": moved.get(record.run_id)} for record in records]
    shown = [row for row in rows if row["result"] is not None]
    sums = _sums(shown)
    head = ("run", f"began ({zone_name})", *HEAD)
    cells = [_cells(row, zone) for row in shown]
    lines = table_lines(head, cells, f"no result under {var.runs}", whole=(0,))
    lines += [f"{row['run_id']}: {row['trouble']}" for row in rows if row["result"] is None]
    for (data, asset), each in sums.items():
        lines += [_together(data, asset, each), *_in_all(asset, each)]
    document = [
        {"data": data, "quote_asset": asset, **each} | {name: str(each[name]) for name in AMOUNTS}
        for (data, asset), each in sums.items()
    ]
    lines += older_lines(older, len(records))
    show(arguments, {"runs": rows, "together": document, "older": older}, lines)
    return 0


# --- by group ---------------------------------------------------------------------------------


def _show_groups(
    arguments: argparse.Namespace, records: Sequence[RunRecord], older: int, zone: tzinfo
) -> int:
    """Print the closed trades of sealed runs by group; 0 also without any."""
    trades: dict[Kind, list[ClosedTrade]] = {}
    troubles = []
    with progress_bar("reading trades") as progress:
        for number, record in enumerate(records, 1):
            if record.manifest is None or record.is_copy or record.state == UNSEALED:
                left_out = COPY if record.is_copy else UNENDED.format(record.run_id)
                troubles.append((record.run_id, record.trouble or left_out))
                continue
            kind = record.kind, str(record.manifest.config["portfolio"]["quote_asset"])
            try:
                found = trades_of(record)
            except RunStop as error:
                troubles.append((record.run_id, f"{error}; see: minibot verify {record.run_id}"))
                continue
            trades.setdefault(kind, []).extend(found)
            progress(number)
    tables = {kind: sums_by(each, group_of(arguments.by, zone)) for kind, each in trades.items()}
    lines: list[str] = []
    for (data, asset), groups in tables.items():
        total = _total(groups.values())
        lines += [
            f"{data}, {counted(total.trades, 'closed trade')}",
            *table_lines(
                (arguments.by, "trades", "won", f"fees, {asset}", f"result, {asset}"),
                [_group_cells(name or "-", each) for name, each in groups.items()],
                "no closed trade",
                whole=(0,),
            ),
            f"together: {signed(str(total.net))} {asset} after {money(str(total.fees))} of fees",
            "",
        ]
    lines += [f"{run_id} left out: {trouble}" for run_id, trouble in troubles]
    document = {
        "by": arguments.by,
        "groups": [
            {"data": data, "quote_asset": asset, "group": name, **each.to_json()}
            for (data, asset), groups in tables.items()
            for name, each in groups.items()
        ],
        "left_out": [{"run_id": run_id, "trouble": trouble} for run_id, trouble in troubles],
        "older": older,
    }
    lines = lines or ["no closed trade"]
    show(arguments, document, [*lines, *older_lines(older, len(records))])
    return 0


def _total(sums: Iterable[TradeSum]) -> TradeSum:
    total = TradeSum()
    for each in sums:
        total.merge(each)
    return total


def _group_cells(name: str, each: TradeSum) -> tuple[str, ...]:
    return (
        name,
        str(each.trades),
        str(each.won),
        money(str(each.fees)),
        signed(str(each.net)),
    )


# --- by run -----------------------------------------------------------------------------------


def _row(record: RunRecord) -> dict[str, Any]:
    """Return a run's result as written at its end, sealed or not; without one `trouble` tells."""
    manifest = record.manifest
    row: dict[str, Any] = {"run_id": record.run_id, "result": None, "trouble": record.trouble}
    if manifest is None:
        return row
    if record.is_copy:
        return row | {"trouble": COPY}
    try:
        performance = final_performance(record)
    except (OSError, RunStop) as error:
        damaged = f"{error}; minibot metrics {record.run_id} recomputes them"
        text = UNENDED.format(record.run_id) if record.state == UNSEALED else damaged
        return row | {"trouble": f"no figures: {text}"}
    return row | {
        "started_ms": manifest.started_ms,
        "data": record.kind,
        "quote_asset": manifest.config["portfolio"]["quote_asset"],
        "trades": performance["round_trips"],
        "won": performance["wins"],
        "fees": performance["fees"],
        "result": performance["pnl"],
    }


def _cells(row: dict[str, Any], zone: tzinfo) -> tuple[str, ...]:
    return (
        row["run_id"],
        date_clock(row["started_ms"], zone),
        row["data"],
        str(row["trades"]),
        str(row["won"]),
        money(row["fees"]),
        money(row["result"]),
    )


def _together(data: str, asset: str, each: dict[str, Any]) -> str:
    result, fees = money(str(each["result"])), money(str(each["fees"]))
    won = f"{each['won']} of {each['trades']} trades won"
    return f"together, {data}: {result} {asset} after {fees} of fees, {won}"


def _in_all(asset: str, each: dict[str, Any]) -> list[str]:
    """Return the sum with the moves between runs, where positions were carried over them."""
    if not each["between"]:
        return []
    between, whole = money(str(each["between"])), money(str(each["result"] + each["between"]))
    return [f"  and {between} {asset} {BETWEEN}: {whole} {asset} in all"]


def _sums(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return sums by kind of data and quote asset; simulated money is never added to real."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["data"], row["quote_asset"]
        each = sums.setdefault(
            key,
            {
                **{"trades": 0, "won": 0},
                **{name: Decimal(0) for name in AMOUNTS},
            },
        )
        each["trades"] += row["trades"]
        each["won"] += row["won"]
        each["fees"] += Decimal(row["fees"])
        each["result"] += Decimal(row["result"])
        each["between"] += Decimal(row["between"] or 0)
    return sums
