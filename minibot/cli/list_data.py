"""minibot list-data: what has been downloaded, how far it goes, and what is missing in it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minibot.cli.output import show, shown_path
from minibot.cli.selection import var_of
from minibot.data.kline import bars_between
from minibot.data.store import Series, all_series
from minibot.data.treatment import clock_text
from minibot.kernel.errors import Refusal
from minibot.report.columns import table_lines
from minibot.report.figures import date_clock

HELP = "list downloaded data: series, span, rows; --gaps names what is missing; --verify hashes it"
EXAMPLE = "minibot list-data --gaps"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--gaps", action="store_true", help="name the spans that are missing")
    command.add_argument(
        "--verify", action="store_true", help="compare every file with the manifest's sha256"
    )


def run(arguments: argparse.Namespace) -> int:
    """List; 1 when a file is not what the manifest says."""
    root = var_of(arguments).root / "data"
    documents: list[dict[str, Any]] = []
    for series in all_series(root):
        changed = series.changed() if arguments.verify else []
        documents.append({**facts(series), "changed": changed})
    if not documents:
        raise Refusal(f"nothing has been downloaded into {root}.", "See: minibot download-data")
    show(arguments, documents, _lines(documents, is_with_gaps=arguments.gaps))
    return 1 if any(document["changed"] for document in documents) else 0


def facts(series: Series) -> dict[str, Any]:
    """Return what is known of a series from its manifest."""
    files = series.ordered()
    first_ts, end_ts = files[0].first_ts, max(each.end_ts for each in files)
    spans = series.missing(first_ts, end_ts)
    return {
        "venue": series.venue,
        "symbol": series.symbol,
        "interval": series.interval,
        "folder": str(series.folder),
        "files": len(files),
        "rows": sum(each.rows for each in files),
        "first_ts": first_ts,
        "end_ts": end_ts,
        "bars_missing": sum(each.gaps for each in files)
        + sum(bars_between(series.interval, *span) for span in spans),
        "zero_volume": sum(each.zero_volume for each in files),
        "spans_missing": [list(span) for span in spans],
        "files_with_gaps": {each.name: each.gaps for each in files if each.gaps},
    }


def _lines(documents: list[dict[str, Any]], *, is_with_gaps: bool) -> list[str]:
    rows = [
        [
            *(document["venue"], document["symbol"], document["interval"]),
            *(f"{document['rows']:,}", date_clock(document["first_ts"])[:16]),
            *(date_clock(document["end_ts"])[:16], str(document["bars_missing"])),
            *(str(document["zero_volume"]), str(document["files"])),
        ]
        for document in documents
    ]
    head = ("venue", "symbol", "bars", "rows", "from (UTC)", "to", "missing", "quiet", "files")
    said = table_lines(head, rows, "nothing", texts=(0, 1, 2))
    for document in documents:
        said += _trouble(document, is_with_gaps=is_with_gaps)
    return said


def _trouble(document: dict[str, Any], *, is_with_gaps: bool) -> list[str]:
    name = f"{document['symbol']} {document['interval']}"
    said = []
    if is_with_gaps:
        said += [
            f"  {name}: missing {clock_text(first)} .. {clock_text(end)}"
            for first, end in document["spans_missing"]
        ]
        said += [
            f"  {name}: {gaps} bars missing in {file}; where: minibot data check "
            f"{shown_path(Path(document['folder']) / file)}"
            for file, gaps in document["files_with_gaps"].items()
        ]
    said += [
        f"  {name}: CHANGED {file}: not what the manifest says" for file in document["changed"]
    ]
    return said
