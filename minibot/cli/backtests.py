"""minibot backtests: list, show, compare and prune kept backtests."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from minibot.backtest.report import store, tables
from minibot.backtest.report.returns import BREAKDOWNS
from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.cli.support.side_by_side import NAMED, OF_BACKTESTS, SIDES, add_html, show_pair
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.report.choices import changed_keys, changed_words, strategy_of
from minibot.report.columns import table_lines
from minibot.report.figures import NONE, change, counted, signed
from minibot.runtime.paths import shown_path

HELP = "the backtests that were kept: list, show ID or A B, compare A B, prune"
EXAMPLE = "minibot backtests show A B --html"

TAKEN: Final = {"show": "one ID or two", "compare": "two IDs"}
LIST_HEAD: Final = (
    *("id", "trades", "result", "return", "market", "strategy", "pairs", "source", "changed"),
    "same decisions as",
)
BELOW: Final = range(5, len(LIST_HEAD))


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sub-verbs and their flags."""
    command.add_argument(
        "what",
        nargs="?",
        default="list",
        choices=["list", "show", "compare", "prune"],
        help="list them, newest last; show one again, or two side by side (compare); prune all but "
        "the newest",
    )
    command.add_argument(
        "ids",
        nargs="*",
        metavar="ID",
        help=f"id, its beginning or end, folder, or latest; of two each is {NAMED}",
    )
    add_html(command)
    command.add_argument(
        "--breakdown", choices=BREAKDOWNS, help="show: with a table of days, weeks or months"
    )
    command.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help=f"prune: how many of the newest stay (default: {store.KEEP_DEFAULT})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the sub-verb; 0 when it succeeds."""
    is_pair = arguments.what in ("show", "compare") and len(arguments.ids) == SIDES
    if arguments.breakdown and (is_pair or arguments.what != "show"):
        raise Refusal("--breakdown is of one backtest.", "Use: minibot backtests show ID")
    if arguments.keep is not None and arguments.what != "prune":
        raise Refusal("--keep belongs to backtests prune.", "Leave it out.")
    if arguments.html and not is_pair:
        raise Refusal("--html compares two.", "Use: minibot backtests show A B --html")
    if is_pair:
        return show_pair(arguments, arguments.ids, OF_BACKTESTS)
    wanted, do = _DOING[arguments.what]
    if len(arguments.ids) != wanted:
        takes = TAKEN.get(arguments.what, "no ID")
        text = f"backtests {arguments.what} takes {takes}, not {len(arguments.ids)}."
        raise Refusal(text, "See: minibot backtests list")
    do(arguments)
    return 0


def _list(arguments: argparse.Namespace) -> None:
    var = var_of(arguments)
    found = store.kept(var)
    lines = table_lines(
        LIST_HEAD,
        [_row(each, found) for each in found],
        f"no backtest under {var.backtests}",
        texts=(0, *BELOW),
        whole=(0,),
        below=BELOW,
    )
    from minibot.backtest.search.sweep import kept_searches

    searches = kept_searches(var)
    if searches:
        lines += ["", "Sweeps and searches", *(f"  {shown_path(path)}" for path in searches)]
    document = {
        "backtests": [_record(each, found) for each in found],
        "searches": [path.parent.name for path in searches],
    }
    show(arguments, document, lines)


def _row(kept: store.Kept, found: Sequence[store.Kept]) -> list[str]:
    if kept.trouble:
        texts = [f"damaged: {kept.trouble}", *[""] * (len(BELOW) - 1)]
        return [kept.name, *[NONE] * 4, *texts]
    document = kept.document
    figures: JsonObject = document["figures"]
    return [
        kept.name,
        f"{figures['trades']:,}",
        signed(figures["pnl"]),
        change(figures["return"]),
        change(figures.get("market_change")),
        strategy_of(document["config"]),
        ", ".join(document["symbols"]),
        ", ".join(document["sources"]),
        changed_words(document["config"]),
        ", ".join(_same_decisions(kept, found)),
    ]


def _same_decisions(kept: store.Kept, found: Sequence[store.Kept]) -> list[str]:
    """Return the earlier backtests whose trades are the same, decision by decision."""
    earlier = found[: found.index(kept)]
    digest = kept.document.get("digest")
    return [each.name for each in earlier if each.document.get("digest") == digest]


def _record(kept: store.Kept, found: Sequence[store.Kept]) -> JsonObject:
    config = kept.document.get("config")
    names = ("profile", "sources", "symbols", "from_ts", "to_ts", "stop", "digest", "figures")
    return {
        "id": kept.name,
        "folder": str(kept.folder),
        "trouble": kept.trouble or None,
        "strategy": strategy_of(config) if config else None,
        "changed": changed_keys(config) if config else None,
        "same_decisions_as": _same_decisions(kept, found) if config else [],
        **{name: kept.document.get(name) for name in names},
    }


def _show(arguments: argparse.Namespace) -> None:
    kept = store.find_kept(arguments.ids[0], var_of(arguments))
    lines = [
        *tables.lines(kept.document, arguments.breakdown),
        "",
        f"digest {kept.document['digest']}",
        f"page   {shown_path(kept.folder / store.PAGE_FILE)}",
    ]
    show(arguments, kept.document, lines)


def _prune(arguments: argparse.Namespace) -> None:
    keep = store.KEEP_DEFAULT if arguments.keep is None else arguments.keep
    if keep < 0:
        raise Refusal(f"--keep {keep} is below 0.", "Give 0 or more.")
    gone = store.prune(var_of(arguments), keep)
    lines = [f"removed {name}" for name in gone]
    show(arguments, {"removed": gone}, [*lines, f"{counted(len(gone), 'backtest')} removed"])


_DOING: Final[dict[str, tuple[int, Callable[[argparse.Namespace], None]]]] = {
    "list": (0, _list),
    "show": (1, _show),
    "compare": (SIDES, _show),  # Two ids are a pair, and handled before.
    "prune": (0, _prune),
}
