"""minibot list-data: what has been downloaded, how far it goes, and what is missing in it."""

from __future__ import annotations

import argparse
from typing import Any

from minibot.cli.output import show
from minibot.cli.selection import var_of
from minibot.data.kline import bars_between
from minibot.data.store import Series, all_series
from minibot.data.treatment import clock_text
from minibot.kernel.errors import Refusal

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
    lines: list[str] = []
    code = 0
    for series in all_series(root):
        document = facts(series)
        if arguments.verify:
            document["changed"] = series.changed()
            code = 1 if document["changed"] else code
        documents.append(document)
        lines += _lines(document, is_with_gaps=arguments.gaps)
    if not documents:
        raise Refusal(f"nothing has been downloaded into {root}.", "See: minibot download-data")
    show(arguments, documents, lines)
    return code


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


def _lines(document: dict[str, Any], *, is_with_gaps: bool) -> list[str]:
    span = f"{clock_text(document['first_ts'])} .. {clock_text(document['end_ts'])}"
    said = [
        f"{document['venue']:<8} {document['symbol']:<10} {document['interval']:<4} "
        f"{document['rows']:>9} rows  {span}  {document['files']} files, "
        f"{document['bars_missing']} bars missing, {document['zero_volume']} without volume"
    ]
    if is_with_gaps:
        said += [
            f"  missing  {clock_text(first)} .. {clock_text(end)}"
            for first, end in document["spans_missing"]
        ]
        said += [
            f"  missing  {gaps} bars in {name}; minibot data check "
            f"{document['folder']}/{name} says where"
            for name, gaps in document["files_with_gaps"].items()
        ]
    said += [
        f"  CHANGED  {name}: not what the manifest says" for name in document.get("changed", ())
    ]
    return said
