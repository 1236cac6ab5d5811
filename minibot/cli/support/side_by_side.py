"""Two results side by side: `show A B` of runs and of backtests, on the screen or as a page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from minibot.cli.support.output import progress_bar, show, wrapped
from minibot.cli.support.selection import find_run, is_run_named, var_of
from minibot.kernel.errors import Refusal
from minibot.report.records import RunRecord, read_record
from minibot.runtime.paths import shown_path
from minibot.runtime.runfiles import LATEST, refuse_closed

if TYPE_CHECKING:
    from pathlib import Path

    from minibot.backtest.report.sides import Side
    from minibot.backtest.report.store import Kept
    from minibot.runtime.paths import Var

OF_RUNS: Final = "run"
OF_BACKTESTS: Final = "backtest"
SIDES: Final = 2
NAMED: Final = "a run or a backtest; run:latest and backtest:latest are the newest of either"


def add_html(command: argparse.ArgumentParser) -> None:
    """Add `--html`, which makes a page of two results."""
    command.add_argument(
        "--html",
        action="store_true",
        help="show A B: write one page with the charts and trades of both",
    )


def show_pair(arguments: argparse.Namespace, names: Sequence[str], own: str) -> int:
    """Print two results side by side, or write their page; 0.

    Args:
        arguments: Arguments with the flag of `add_html`.
        names: Two names of runs or backtests.
        own: The kind that a bare name is looked for first: `run` or `backtest`.

    Raises:
        Refusal: A name is neither, or its result cannot be read.
    """
    # Imported here because only this verb compares.
    from minibot.backtest.report.kept_comparison import compare, compare_lines
    from minibot.backtest.report.sides import run_document

    var = var_of(arguments)
    found = [find_result(name, var, own) for name in names]
    if not arguments.html:
        first, second = (
            run_document(each) if isinstance(each, RunRecord) else each.document for each in found
        )
        show(arguments, compare(first, second), wrapped(compare_lines(first, second)))
        return 0
    sides = [_side(each) for each in found]
    path = _write(sides, var)
    documents = [side.document for side in sides]
    document = {**compare(documents[0], documents[1]), "page": str(path)}
    show(arguments, document, [f"page  {shown_path(path)}"])
    return 0


def find_result(word: str, var: Var, own: str) -> RunRecord | Kept:
    """Return a run or a kept backtest by its name, with or without `run:` or `backtest:`.

    Raises:
        Refusal: There is none, several ids begin so, or it cannot be read.
    """
    from minibot.backtest.report.store import find_kept, folders_named

    kind, _, name = word.partition(":")
    if kind not in (OF_RUNS, OF_BACKTESTS):
        name = word
        is_run, is_backtest = is_run_named(name, var), bool(folders_named(name, var))
        if name == LATEST or is_run == is_backtest:
            kind = own
        else:
            kind = OF_RUNS if is_run else OF_BACKTESTS
        if name != LATEST and not (is_run or is_backtest):
            refuse_closed(var.runs)
            refuse_closed(var.backtests)
            raise Refusal(
                f"{name or repr(name)} is not a run under {var.runs} and no backtest under "
                f"{var.backtests}.",
                "See: minibot runs, minibot backtests",
            )
    return read_record(find_run(name, var)) if kind == OF_RUNS else find_kept(name, var)


def _side(found: RunRecord | Kept) -> Side:
    from minibot.backtest.report.sides import backtest_side, run_side
    from minibot.report.night import Night

    if not isinstance(found, RunRecord):
        return backtest_side(found)
    with progress_bar(f"reading {found.run_id}") as progress:
        return run_side(found, Night.open(found.run_dir, progress))


def _write(sides: Sequence[Side], var: Var) -> Path:
    from minibot.backtest.report.comparison_page import page
    from minibot.kernel.files import ensure_folder, write_atomic

    ensure_folder(var.comparisons)
    names = "_beside_".join(side.document["id"] for side in sides)
    path = var.comparisons / f"{names}.html"
    write_atomic(path, page(sides[0], sides[1]).encode("utf-8"))
    return path
