"""Table of the differences for the guide to fills: trades by class and engine, with the rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tools.fill_oracle.differences import Comparison
from tools.fill_oracle.minibot_trades import PROJECT
from tools.fill_oracle.path_rules import CLASSES, PEERS
from tools.foreign.environments import HERE

PAGE: Final = PROJECT / "docs" / "BACKTEST.md"
BEGIN: Final = "<!-- generated: fills, by python -m tools.fill_oracle --write -->"
END: Final = "<!-- end of generated -->"
NAMES: Final = {
    "freqtrade": ("freqtrade", "freqtrade"),
    "nautilus": ("NautilusTrader", "nautilus-trader"),
}
"""Name on the page and package of each engine."""


def version(engine: str) -> str:
    """Return the version of an engine that its lock names.

    Raises:
        ValueError: The lock names none.
    """
    package = NAMES[engine][1]
    text = (HERE / f"{engine}.lock").read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(package)}==([^\s;]+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{engine}.lock names no version of {package}")
    return found[1]


def part(market: str, ours: Comparison, theirs: Mapping[str, Comparison]) -> str:
    """Return the generated part of the page.

    Args:
        market: Name of the file of klines.
        ours: Comparison of minibot's exits at the venue with those at the role.
        theirs: Comparison of each engine of `PEERS`.
    """
    names = [f"{NAMES[engine][0]} {version(engine)}" for engine in PEERS]
    rows = [
        ["class", *names, "rule of that engine"],
        ["---", *["--:"] * len(names), "---"],
        ["equal", *(str(theirs[engine].same) for engine in PEERS), "entry and exit, bar and price"],
    ]
    for name, sentence in CLASSES.items():
        counts = [str(theirs[engine].classes[name] or "") for engine in PEERS]
        rows.append([name, *counts, sentence])
    head = (
        f"`{market}`, {ours.compared} trades; {ours.same} are the same with exits at role "
        "and venue.\n"
        "A trade may be of several classes."
    )
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([BEGIN, "", head, "", *lines, "", END])


def written(page: str, table: str) -> str:
    """Return a page with its generated part exchanged for a table."""
    before, rest = page.split(BEGIN)
    return before + table + rest.split(END, 1)[1]
