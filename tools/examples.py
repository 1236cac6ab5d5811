"""Results of the example strategies on the shipped bars, as a table of the guide.

    python -m tools.examples            print the table
    python -m tools.examples --write    write it into docs/STRATEGIES.md

Nothing is tuned to these bars: every example runs with its own defaults, which are round numbers.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable
from typing import Final, NamedTuple

from minibot.backtest.driver import run_backtest
from minibot.backtest.report.review import Review
from minibot.backtest.search.backtest_job import Job
from minibot.backtest.sources.source_interval import interval_sets
from minibot.cli.backtest import DEFAULT_PROFILE, as_nights
from minibot.cli.new_strategy import LIBRARY, NEEDED
from minibot.kernel.files import write_atomic
from minibot.report.figures import share, signed
from minibot.runtime.configuration.config import config_with, load_config
from minibot.runtime.paths import PROJECT

PAGE: Final = PROJECT / "docs" / "STRATEGIES.md"
SOURCES: Final = ("klines:btcusdt-1m", "klines:ethusdt-1m")
TIMEFRAME: Final = "15m"
OWN_EXITS: Final = ("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null")
BEGIN: Final = "<!-- generated: examples, by python -m tools.examples -->"
END: Final = "<!-- end of generated -->"


class Told(NamedTuple):
    """Texts of an example's docstring: the idea, and when it loses."""

    idea: str
    loses: str


def told(example: str) -> Told:
    """Return the idea of an example, and when it loses, from its docstring."""
    path = PROJECT / "minibot" / "strategies" / "examples" / f"{example}.py"
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first, _, rest = said.partition("\n\n")
    idea = " ".join(first.partition(": ")[2].split()).rstrip(".")
    loses = " ".join(rest.split()).removeprefix("It loses ").rstrip(".")
    return Told(idea, loses)


def reviewed(example: str, source: str) -> Review:
    """Return the review of an example with its own defaults and exits on one file of bars."""
    base = load_config(PROJECT / DEFAULT_PROFILE)
    sets = [f"strategy.name={example}", *interval_sets(TIMEFRAME, base), *OWN_EXITS]
    sets += NEEDED.get(example, ())
    config = as_nights(config_with(base.raw, sets))
    job = Job((source,), config.raw)
    return Review.of(run_backtest(job.open(), job.config))


def _flags(example: str) -> str:
    """Return an example's name, and the keys that it needs."""
    return " ".join(f"`{text}`" for text in (example, *NEEDED.get(example, ())))


def result(example: str, source: str) -> str:
    """Return an example's profit and number of trades on one file of bars, as the page says it."""
    figures = reviewed(example, source).figures
    return f"{signed(figures['pnl'])} in {figures['trades']}"


def _market(source: str) -> str:
    """Return the heading of a column: the symbol, and the change of its market."""
    symbol = source.partition(":")[2].partition("-")[0].upper()
    figures = reviewed(next(iter(LIBRARY)), source).figures
    return f"{symbol}, market {share(figures['market_change'])}"


def table(result_of: Callable[[str, str], str] = result) -> str:
    """Return the generated part of the page, with the results that `result_of` returns."""
    head = ["`--from`", "idea", "loses", *map(_market, SOURCES)]
    rows = [
        [_flags(example), *told(example), *(result_of(example, source) for source in SOURCES)]
        for example in LIBRARY
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([BEGIN, "", *(f"| {' | '.join(cells)} |" for cells in lines), "", END])


def written(page: str, result_of: Callable[[str, str], str] = result) -> str:
    """Return a page with its generated part made anew."""
    before, rest = page.split(BEGIN)
    return before + table(result_of) + rest.split(END, 1)[1]


def main() -> int:
    """Print or write the table; 0."""
    command = argparse.ArgumentParser(prog="python -m tools.examples", description=__doc__)
    command.add_argument("--write", action="store_true", help="write docs/STRATEGIES.md")
    if command.parse_args().write:
        write_atomic(PAGE, written(PAGE.read_text(encoding="utf-8")).encode())
    else:
        print(table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
