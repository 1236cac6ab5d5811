"""Backtest drawn profiles in several ways, which have to give the same to the byte.

    python3 tools/with_env.py -m tools.drawn_backtests --count 1000 --seed 1
    python3 tools/with_env.py -m tools.drawn_backtests --count 1000 --seed 1 --market ticks
    python3 tools/with_env.py -m tools.drawn_backtests --seed 1 --number 17     one again

A backtest has a profile of its own (`tools.risk_storm.profiles`), a strategy that wishes for
anything or a shipped one, and the bars of one to four symbols, or the ticks or trades of one. It is
run with its market as rows, with every tick as an event, with cores that restart from their states
at any input, and with a record instead of all messages. Compared are messages, equity, candles,
figures, the review of a page, and the cores' last states; also the other of the assumptions `touch`
and `queue`, whose decisions `minibot backtest` takes from the first if no order had a limit. The
last line says `N backtests, F fills, D differences`; exit code 1 where D is not 0.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from minibot.backtest.driver import run_cores
from minibot.backtest.report.review import Review
from minibot.backtest.search.assumptions import KEY
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.ticks import TickSource
from minibot.engine.decision_record import DecisionRecord
from minibot.engine.lockstep import fresh_cores
from minibot.engine.run_result import BacktestResult
from minibot.execution.fills import QUEUE, TOUCH
from minibot.runtime.configuration.config import Config, config_with
from tools.drawn_backtests.markets import drawn
from tools.drawn_backtests.tick_markets import drawn_ticks
from tools.drawn_backtests.ways import noted, restarted, walked

PARTS: Final = (
    *("derived", "digest", "inputs", "equity", "prices", "from_ts", "to_ts", "stop"),
    *("entered_at_low", "lines"),
)
"""Parts of a result that rows and events have in common."""
BARS, TICKS = "bars", "ticks"
Source = BarSource | Merged | TickSource
TWINS: Final = {TOUCH: QUEUE, QUEUE: TOUCH}


class Compared(NamedTuple):
    """Outcome of one drawn backtest: its fills, and in what its ways differ."""

    fills: int
    differences: list[str]


def play(seed: int, number: int, market: str) -> Compared:
    """Run a drawn backtest in all ways; the same arguments draw the same one."""
    word = f"{seed}:{number}"
    chance = random.Random(f"{word}:restarts")
    if market == BARS:
        return compared(*drawn(random.Random(word)), chance)
    # A file that is still mapped cannot be deleted on every system.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return compared(*drawn_ticks(random.Random(word), Path(folder)), chance)


def compared(config: Config, source: Source, chance: random.Random) -> Compared:
    """Run a backtest in all ways.

    Args:
        config: The profile.
        source: The market.
        chance: Draws where cores restart.
    """
    rows, states = walked(config, source)
    events, others, roots = noted(config, source)
    found = [name for name in PARTS if getattr(rows, name) != getattr(events, name)]
    if rows.performance.to_json() != events.performance.to_json():
        found.append("performance")
    if rows.closes != events.closes:
        found.append("closes")
    # A STOP leaves the cores within a bar, whose ticks a core may not have been shown.
    if not rows.stop and states != others:
        found.append("states")
    digest, lasting, changed = restarted(config, roots, chance)
    if digest != events.digest or lasting != others:
        found.append("restarts")
    found += [f"state of {role}" for role in sorted(set(changed))]
    return Compared(len(rows.of("fills")), [*found, *_recorded(config, source, rows)])


def _recorded(config: Config, source: Source, rows: BacktestResult) -> Iterator[str]:
    """Yield what a record, and the twin of the fill assumption, make of the same backtest."""
    whole = Review.of(rows)
    for is_for_page in (True, False):
        record = DecisionRecord(is_for_page=is_for_page)
        review = Review.of(run_cores(source, config, fresh_cores(config.raw), record=record))
        if is_for_page and review.to_json() != whole.to_json():
            yield "review"
        figures = (review.result.digest, review.figures, review.signals, review.refusals)
        if figures != (rows.digest, whole.figures, whole.signals, whole.refusals):
            yield "figures"
    twin = TWINS.get(config.execution.fill_model)
    if twin is not None and not whole.has_limit_orders:
        changed = config_with(config.raw, [f"{KEY}={twin}"])
        other = run_cores(source, changed, fresh_cores(changed.raw))
        results = [(one.digest, one.performance.to_json()) for one in (rows, other)]
        if results[0] != results[1]:
            yield f"{twin} without an order with a limit"


def main(argv: Sequence[str] | None = None) -> int:
    """Play so many drawn backtests; return the exit code."""
    about = "backtest drawn profiles in several ways, which have to give the same"
    parser = argparse.ArgumentParser(prog="tools.drawn_backtests", description=about)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, help="this one alone")
    parser.add_argument("--market", choices=(BARS, TICKS), default=BARS)
    words = parser.parse_args(argv)
    numbers = range(words.count) if words.number is None else [words.number]
    begun_s, fills, differences = time.monotonic(), 0, 0
    for number in numbers:
        played = play(words.seed, number, words.market)
        fills += played.fills
        differences += len(played.differences)
        if played.differences:
            text = ", ".join(played.differences)
            print(f"seed {words.seed}, number {number}: {text}", flush=True)
    print(f"{words.market} drawn by seed {words.seed}: {time.monotonic() - begun_s:.1f} s")
    print(f"{len(numbers):,} backtests, {fills:,} fills, {differences:,} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
