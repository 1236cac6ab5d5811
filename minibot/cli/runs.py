"""minibot runs (also list-runs): list the runs of this `var`, show two side by side, add nights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import show
from minibot.cli.support.selection import find_run, var_of
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.report.choices import (
    VALUE_LENGTH,
    changed_keys,
    changed_words,
    differing,
    strategy_of,
)
from minibot.report.columns import table_lines
from minibot.report.figures import NONE, date_clock, duration, plain_text, share, signed
from minibot.report.night_sum import night_sum, sum_lines
from minibot.report.records import RunRecord, performance_of, read_record, read_records

HELP = "list the runs: when, what, how each ended; show A B side by side; add nights up"
EXAMPLE = "minibot runs --sum"
HEAD: Final = (
    *("run", "began (UTC)", "trades", "result", "market"),
    *("ended", "took", "profile", "strategy", "pairs", "changed", "accept"),
)
BELOW: Final = range(5, len(HEAD))
SIDES: Final = 2


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "what",
        nargs="?",
        default="list",
        choices=["list", "show"],
        help="list them, oldest first (default), or show two side by side",
    )
    command.add_argument("names", nargs="*", metavar="RUN", help="show: two runs")
    command.add_argument(
        "-n", "--number", type=at_least(1), default=50, help="how many of the newest"
    )
    command.add_argument(
        "--sum", action="store_true", help="the nights that ready counts, added up"
    )


def run(arguments: argparse.Namespace) -> int:
    """List the runs; 0 also when there is none."""
    var = var_of(arguments)
    wanted = SIDES if arguments.what == "show" else 0
    if len(arguments.names) != wanted or (arguments.sum and wanted):
        said = "runs show takes two runs, and no --sum" if wanted else "runs list takes no RUN"
        raise Refusal(f"{said}.", "See: minibot runs")
    if arguments.what == "show":
        return _show(arguments, [read_record(find_run(name, var)) for name in arguments.names])
    records = read_records(var)
    if arguments.sum:
        found = night_sum(records)
        show(arguments, found, sum_lines(found))
        return 0
    records = records[-arguments.number :]
    lines = table_lines(
        HEAD,
        [_cells(record) for record in records],
        f"no run under {var.runs}",
        texts=(0, 1, *BELOW),
        whole=(0, 1),
        below=BELOW,
    )
    show(arguments, {"runs": [_document(record) for record in records]}, lines)
    return 0


def _document(record: RunRecord) -> JsonObject:
    manifest, figures = record.manifest, performance_of(record) or {}
    return {
        **record.to_json(),
        "strategy": None if manifest is None else strategy_of(manifest.config),
        "changed": None if manifest is None else changed_keys(manifest.config),
        "symbols": None if manifest is None else list(manifest.symbols),
        "trades": figures.get("round_trips"),
        "result": figures.get("pnl"),
        "fees": figures.get("fees"),
        "market_change": figures.get("market_change"),
    }


def _cells(record: RunRecord) -> list[str]:
    """Return a run's cells in the order of `HEAD`."""
    manifest = record.manifest
    if manifest is None:
        texts = [f"damaged: {record.trouble}", *[""] * (len(BELOW) - 1)]
        return [record.run_id, *[NONE] * 4, *texts]
    found = _document(record)
    kind = "real" if record.is_real else "drill" if not manifest.simulated else "simulated"
    return [
        record.run_id,
        date_clock(manifest.started_ms),
        NONE if found["trades"] is None else f"{found['trades']:,}",
        NONE if found["result"] is None else signed(found["result"]),
        share(found["market_change"]),
        f"{record.state} {record.reason_code}".strip(),
        NONE if record.wall_ms is None else duration(record.wall_ms),
        f"{manifest.profile} ({kind})",
        str(found["strategy"]),
        ", ".join(manifest.symbols),
        changed_words(manifest.config),
        "" if record.acceptance is None else str(record.acceptance["verdict"]),
    ]


def _show(arguments: argparse.Namespace, records: Sequence[RunRecord]) -> int:
    """Show two runs side by side, then every key in which their profiles differ."""
    manifests = [record.manifest for record in records]
    configs = [{} if each is None else each.config for each in manifests]
    settings = differing(configs[0], configs[1])
    columns = [_cells(record) for record in records]
    rows = [[name, *each] for name, *each in zip(HEAD, *columns, strict=True) if any(each)]
    lines = [
        *table_lines(("", "A", "B"), rows, "", texts=(0, 1, 2)),
        "",
        "Settings that differ",
        *table_lines(
            ("", "A", "B"),
            [
                [name, *(plain_text(value, VALUE_LENGTH) for value in pair)]
                for name, pair in settings.items()
            ],
            "None.",
            texts=(0, 1, 2),
        ),
    ]
    document = {
        "runs": [_document(record) for record in records],
        "settings": {name: list(pair) for name, pair in settings.items()},
    }
    show(arguments, document, lines)
    return 0
