"""minibot list-data: list downloaded data with its span and its gaps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.data.kline import bars_between
from minibot.data.store import Series, all_series
from minibot.data.treatment import clock_text
from minibot.kernel.errors import Refusal
from minibot.report.columns import table_lines
from minibot.report.figures import date_clock
from minibot.runtime.paths import shown_path
from minibot.runtime.runfiles import refuse_closed

HELP = "list downloaded data: series, span, rows; --gaps names what is missing; --verify hashes it"
EXAMPLE = "minibot list-data --gaps"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--gaps", action="store_true", help="name the spans that are missing")
    command.add_argument(
        "--verify", action="store_true", help="compare every file with the manifest's sha256"
    )


def run(arguments: argparse.Namespace) -> int:
    """List the data; 1 if `--verify` finds a file that is changed or gone."""
    root = var_of(arguments).root / "data"
    refuse_closed(root)
    documents: list[dict[str, Any]] = []
    for series in all_series(root):
        changed = series.changed() if arguments.verify else []
        documents.append({**facts(series), "changed": changed})
    if not documents:
        raise Refusal(f"nothing has been downloaded into {root}.", "See: minibot download-data")
    show(arguments, documents, _lines(documents, is_with_gaps=arguments.gaps))
    is_wrong = any(document["changed"] or document["gone"] for document in documents)
    return 1 if arguments.verify and is_wrong else 0


def facts(series: Series) -> dict[str, Any]:
    """Return the facts of a series from its manifest; without a file left it has no span."""
    files = series.ordered()
    first_ts = min((each.first_ts for each in files), default=0)
    end_ts = max((each.end_ts for each in files), default=0)
    spans = [span for each in files for span in each.edges]
    spans = joined([*spans, *series.missing(first_ts, end_ts)], series.interval)
    return {
        "venue": series.venue,
        "symbol": series.symbol,
        "interval": series.interval,
        "folder": str(series.folder),
        "files": len(files),
        "gone": series.gone,
        "rows": sum(each.rows for each in files),
        "first_ts": first_ts if files else None,
        "end_ts": end_ts if files else None,
        "bars_missing": sum(each.gaps for each in files)
        + sum(bars_between(series.interval, *span) for span in spans),
        "zero_volume": sum(each.zero_volume for each in files),
        "spans_missing": [list(span) for span in spans],
        "files_with_gaps": {each.name: each.gaps for each in files if each.gaps},
    }


def joined(spans: list[tuple[int, int]], interval: str) -> list[tuple[int, int]]:
    """Return spans in order, adjacent ones joined, without those in which no bar opens."""
    found: list[tuple[int, int]] = []
    for first_ts, end_ts in sorted(spans):
        if not bars_between(interval, first_ts, end_ts):
            continue
        if found and first_ts <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end_ts))
        else:
            found.append((first_ts, end_ts))
    return found


def _lines(documents: list[dict[str, Any]], *, is_with_gaps: bool) -> list[str]:
    rows = [
        [
            *(document["venue"], document["symbol"], document["interval"]),
            *(f"{document['rows']:,}", *_span(document), str(document["bars_missing"])),
            *(str(document["zero_volume"]), str(document["files"])),
        ]
        for document in documents
    ]
    head = ("venue", "symbol", "bars", "rows", "from (UTC)", "to", "missing", "quiet", "files")
    lines = table_lines(head, rows, "nothing", texts=(0, 1, 2))
    for document in documents:
        lines += _trouble(document, is_with_gaps=is_with_gaps)
    return lines


def _span(document: dict[str, Any]) -> list[str]:
    """Return the beginning and end of a series as texts; dashes where no file of it is left."""
    spans = (document["first_ts"], document["end_ts"]) if document["files"] else ()
    return [date_clock(ts)[:16] for ts in spans] or ["-", "-"]


def _trouble(document: dict[str, Any], *, is_with_gaps: bool) -> list[str]:
    name = f"{document['symbol']} {document['interval']}"
    lines = []
    if is_with_gaps:
        lines += [
            f"  {name}: missing {clock_text(first)} .. {clock_text(end)}"
            for first, end in document["spans_missing"]
        ]
        lines += [
            f"  {name}: {gaps} bars missing in {file}; where: minibot data check "
            f"{shown_path(Path(document['folder']) / file)}"
            for file, gaps in document["files_with_gaps"].items()
        ]
    lines += [
        f"  {name}: GONE {file}: the manifest names it; download-data asks for it again"
        for file in document["gone"]
    ]
    lines += [
        f"  {name}: CHANGED {file}: not what the manifest says; remove it and call download-data"
        for file in document["changed"]
    ]
    return lines
