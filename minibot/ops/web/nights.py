"""Nights for the page: the runs of a `var` with result and report."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_whole
from minibot.report.html import REPORT_FILE
from minibot.report.records import RunRecord, performance_of, read_records
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import run_folders

NIGHTS_MAX: Final = 500


class NoSuchNight(Refusal):
    """Refusal for a run or report that does not exist."""


def nights_of(var: Var) -> list[JsonObject]:
    """Return the runs of a `var`, newest first, at most `NIGHTS_MAX`."""
    return [_document(record) for record in reversed(read_records(var)[-NIGHTS_MAX:])]


def report_of(var: Var, run_id: str) -> bytes:
    """Return the report of a run as it was written.

    Raises:
        NoSuchNight: There is no such run, or it has no report.
    """
    for folder in run_folders(var.runs):
        if folder.name == run_id:
            try:
                return read_whole(_report(folder))
            except OSError as error:
                remedy = f"Write it: minibot report {run_id} --html"
                raise NoSuchNight(f"{run_id} has no report.", remedy) from error
    raise NoSuchNight("there is no such run.", "See: minibot runs")


def _document(record: RunRecord) -> JsonObject:
    figures = performance_of(record) or {}
    return {
        **record.to_json(),
        "kind": record.kind,
        "trades": figures.get("round_trips"),
        "result": figures.get("pnl"),
        "fees": figures.get("fees"),
        "has_report": _report(record.run_dir).is_file(),
    }


def _report(run_dir: Path) -> Path:
    return run_dir / "report" / REPORT_FILE
