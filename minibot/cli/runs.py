"""minibot runs (also list-runs): list the runs of this `var`, show two side by side, add nights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.cli.support.output import show
from minibot.cli.support.run_filters import STATES, add_filters, add_number, filtered, older_lines
from minibot.cli.support.selection import find_run, var_of
from minibot.cli.support.side_by_side import NAMED, OF_RUNS, SIDES, add_html, show_pair
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.replay.run_status import called, is_going
from minibot.report.choices import changed_keys, changed_words, strategy_of
from minibot.report.columns import table_lines
from minibot.report.figures import NONE, change, date_clock, duration, listed, megabytes, signed
from minibot.report.night_sum import night_sum, sum_lines
from minibot.report.records import (
    UNSEALED,
    RunRecord,
    bytes_of,
    facts_of,
    performance_of,
    read_record,
    read_records,
    symbols_in,
)

HELP = "list the runs: when, what, how each ended; show A, or A B side by side; --sum adds up"
EXAMPLE = "minibot runs --sum"
HEAD: Final = (
    *("run", "began (UTC)", "trades", "result", "market"),
    *("ended", "took", "profile", "strategy", "pairs", "changed", "accept"),
    "same decisions as",
)
FIGURES: Final = 5
BELOW: Final = range(FIGURES, len(HEAD))
SHOWN: Final = 3
NOT_JUDGED: Final = "none"
VERDICTS: Final = ("pass", "fail", "not-a-night", NOT_JUDGED)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "what",
        nargs="?",
        default="list",
        choices=["list", "show"],
        help="list them, oldest first (default), or show one, or two side by side",
    )
    command.add_argument(
        "names",
        nargs="*",
        metavar="RUN",
        help=f"show: run id, directory or latest; of two each is {NAMED}",
    )
    add_html(command)
    add_filters(command)
    command.add_argument(
        "--state", choices=STATES, metavar="STATE", help=f"runs that ended so: {', '.join(STATES)}"
    )
    command.add_argument(
        "--verdict",
        choices=VERDICTS,
        metavar="VERDICT",
        help=f"runs that accept judged so: {', '.join(VERDICTS)}",
    )
    command.add_argument("--size", action="store_true", help="also how much disk each takes")
    add_number(command)
    command.add_argument(
        "--sum", action="store_true", help="the nights that ready counts, added up"
    )


def run(arguments: argparse.Namespace) -> int:
    """List the runs, or sum up those among them that `ready` counts; 0 also when there is none."""
    var = var_of(arguments)
    count, is_list = len(arguments.names), arguments.what == "list"
    if count not in ((0,) if is_list else (1, SIDES)) or (arguments.sum and not is_list):
        text = (
            "runs list takes no RUN" if is_list else "runs show takes one run or two, and no --sum"
        )
        raise Refusal(f"{text}.", "See: minibot runs")
    if arguments.html and count != SIDES:
        raise Refusal("--html compares two.", "Use: minibot runs show A B --html")
    if count == SIDES:
        return show_pair(arguments, arguments.names, OF_RUNS)
    if count:
        return _show_one(arguments, find_run(arguments.names[0], var))
    records = [
        record
        for record in filtered(arguments, var)
        if arguments.state in (None, record.state)
        if arguments.verdict in (None, _verdict_of(record))
    ]
    if arguments.sum:
        found = night_sum(records)
        show(arguments, found, sum_lines(found))
        return 0
    older = len(records[: -arguments.number])
    rows = _documents(records)[-arguments.number :]
    records = records[-arguments.number :]
    cells = [_cells(row, record) for row, record in zip(rows, records, strict=True)]
    head: tuple[str, ...] = HEAD
    below = BELOW
    if arguments.size:
        head, below = (*HEAD[:FIGURES], "size", *HEAD[FIGURES:]), range(FIGURES + 1, len(HEAD) + 1)
        for row, record, texts in zip(rows, records, cells, strict=True):
            row["bytes"] = bytes_of(record.run_dir)
            texts.insert(FIGURES, megabytes(row["bytes"]))
    lines = table_lines(
        head,
        cells,
        f"no such run under {var.runs}",
        texts=(0, 1, *below),
        whole=(0, 1),
        below=below,
    )
    if arguments.size:
        lines += ["", f"together {megabytes(sum(row['bytes'] for row in rows))}"]
    if unknown := [row["run_id"] for row in rows if row["state"] == "sealed" and not row["digest"]]:
        some = listed(unknown[:SHOWN]) + (" and more" if len(unknown) > SHOWN else "")
        lines += ["", f"no market change on record: {some}; minibot report RUN --html finds it"]
    lines += older_lines(older, len(records))
    show(arguments, {"runs": rows, "older": older}, lines)
    return 0


def _show_one(arguments: argparse.Namespace, run_dir: Path) -> int:
    """Show a run's row as a separate table; 0."""
    record = read_record(run_dir)
    records = read_records(var_of(arguments))
    # By folder: a copy has the id of the run that it was made of.
    folders = [each.run_dir.resolve() for each in records]
    kept = dict(zip(folders, _documents(records), strict=True))
    row = kept.get(run_dir.resolve()) or _documents([record])[0]
    cells = zip(HEAD, _cells(row, record), strict=True)
    lines = table_lines(("", ""), [list(pair) for pair in cells if pair[1]], "", texts=(0, 1))
    show(arguments, row, [*lines[2:], "", f"more  minibot report {called(run_dir)}"])
    return 0


def _documents(records: Sequence[RunRecord]) -> list[JsonObject]:
    """Return each run as one JSON object, with the earlier runs that decided the same."""
    rows = [_document(record) for record in records]
    named: dict[str, list[str]] = {}
    for row in rows:
        same = named.setdefault(row["digest"], []) if row["digest"] else []
        row["same_decisions_as"] = list(same)
        same.append(row["run_id"])
    return rows


def _document(record: RunRecord) -> JsonObject:
    manifest, figures = record.manifest, performance_of(record) or {}
    facts = facts_of(record) or {}
    return {
        **record.to_json(),
        "strategy": None if manifest is None else strategy_of(manifest.config),
        "changed": None if manifest is None else changed_keys(manifest.config),
        "symbols": None if manifest is None else symbols_in(manifest, facts),
        "trades": figures.get("round_trips"),
        "result": figures.get("pnl"),
        "fees": figures.get("fees"),
        "market_change": facts.get("market", {}).get("change"),
        "digest": facts.get("digest"),
    }


def _verdict_of(record: RunRecord) -> str:
    """Return the verdict of `accept` as a value of `--verdict`; a drill's pass is a pass."""
    if record.acceptance is None:
        return NOT_JUDGED
    return str(record.acceptance["verdict"]).partition(" (")[0].lower().replace(" ", "-")


def _end_of(record: RunRecord) -> str:
    if record.state == UNSEALED and is_going(record.run_dir):
        return "not yet: still going"
    return f"{record.state} {record.reason_code}".strip()


def _cells(found: JsonObject, record: RunRecord) -> list[str]:
    """Return a run's cells in the order of `HEAD`."""
    manifest = record.manifest
    if manifest is None:
        texts = [f"damaged: {record.trouble}", *[""] * (len(BELOW) - 1)]
        return [record.run_id, *[NONE] * 4, *texts]
    return [
        record.run_id,
        date_clock(manifest.started_ms),
        NONE if found["trades"] is None else f"{found['trades']:,}",
        NONE if found["result"] is None else signed(found["result"]),
        change(found["market_change"]),
        _end_of(record),
        NONE if record.wall_ms is None else duration(record.wall_ms),
        f"{manifest.profile} ({record.kind})",
        str(found["strategy"]),
        ", ".join(found["symbols"]),
        changed_words(manifest.config),
        "" if record.acceptance is None else str(record.acceptance["verdict"]),
        ", ".join(found["same_decisions_as"]),
    ]
