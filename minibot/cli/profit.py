"""minibot profit: show the P&L of each finished run and the sums over all."""

from __future__ import annotations

import argparse
from decimal import Decimal
from typing import Any, Final

from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed
from minibot.report.columns import table_lines
from minibot.report.figures import date_clock, money
from minibot.report.records import RunRecord, read_records
from minibot.runtime.runfiles import METRICS_FILE

HELP = "what each finished run earned, and all of them together"
EXAMPLE = "minibot profit"
HEAD: Final = ("run", "began (UTC)", "data", "trades", "won", "fees", "result")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "-n", "--number", type=at_least(1), default=50, help="how many of the newest"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each run and the sums by quote asset; 0 also when there is none."""
    var = var_of(arguments)
    rows = [_row(record) for record in read_records(var)[-arguments.number :]]
    told = [row for row in rows if row["result"] is not None]
    sums = _sums(told)
    lines = table_lines(
        HEAD, [_cells(row) for row in told], f"no result under {var.runs}", whole=(0,)
    )
    lines += [f"{row['run_id']}: {row['trouble']}" for row in rows if row["result"] is None]
    lines += [_together(data, asset, each) for (data, asset), each in sums.items()]
    document = [
        {"data": data, "quote_asset": asset, **{name: str(value) for name, value in each.items()}}
        for (data, asset), each in sums.items()
    ]
    show(arguments, {"runs": rows, "together": document}, lines)
    return 0


def _row(record: RunRecord) -> dict[str, Any]:
    """Return the result of a run as written at its end; `trouble` says why there is none."""
    manifest = record.manifest
    row: dict[str, Any] = {"run_id": record.run_id, "result": None, "trouble": record.trouble}
    if manifest is None:
        return row
    try:
        performance = read_hashed(record.run_dir / METRICS_FILE)["performance"]
    except (OSError, RunStop) as error:
        return row | {"trouble": f"no figures: {error}; minibot metrics recomputes them"}
    return row | {
        "started_ms": manifest.started_ms,
        "data": record.kind,
        "quote_asset": manifest.config["portfolio"]["quote_asset"],
        "trades": performance["round_trips"],
        "won": performance["wins"],
        "fees": performance["fees"],
        "result": performance["pnl"],
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["run_id"],
        date_clock(row["started_ms"]),
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


def _sums(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return sums by kind of data and quote asset; simulated money is never added to real."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["data"], row["quote_asset"]
        each = sums.setdefault(
            key, {"trades": 0, "won": 0, "fees": Decimal(0), "result": Decimal(0)}
        )
        each["trades"] += row["trades"]
        each["won"] += row["won"]
        each["fees"] += Decimal(row["fees"])
        each["result"] += Decimal(row["result"])
    return sums
