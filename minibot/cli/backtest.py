"""minibot backtest: what the profile's cores would have done on history."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from minibot.backtest.driver import run_backtest
from minibot.backtest.jobs import Job
from minibot.backtest.result import BacktestResult
from minibot.backtest.span import ALL, parse_span
from minibot.backtest.words import open_market, run_of
from minibot.cli.output import progress_bar, show
from minibot.cli.searching import add_flags, search
from minibot.cli.selection import add_profile
from minibot.events.money import amount_text
from minibot.report.figures import counted, date_clock, money
from minibot.runtime.config import Config, config_with, load_config
from minibot.runtime.paths import PROJECT

HELP = "run the same cores on history: tape, klines, columns, recorded run or made market"
EXAMPLE = "minibot backtest --source tape:demo --set strategy.rsi_period=21"
DEFAULT_PROFILE: Final = PROJECT.joinpath("config", "nore-demo.v1.json").relative_to(PROJECT)
DEFAULT_SOURCE: Final = "tape:demo"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_profile(command, DEFAULT_PROFILE)
    command.add_argument(
        "--source",
        action="append",
        help="tape:FILE, klines:FILE, columns:DIR, run:DIR or generator:SEED; "
        f"several are one portfolio (default: {DEFAULT_SOURCE})",
    )
    command.add_argument(
        "--timerange",
        default="",
        metavar="FROM-TO",
        help="trade this part alone; what lies before warms up the indicators: 20250101-20250701",
    )
    add_flags(command)


def run(arguments: argparse.Namespace) -> int:
    """Backtest; 0 when it came to its end, 1 when risk stopped it."""
    words = arguments.source or [DEFAULT_SOURCE]
    config = profile_of(arguments, words)
    span = parse_span(arguments.timerange) if arguments.timerange else ALL
    done = search(arguments, Job(tuple(words), config.raw, span=span))
    if done is not None:
        return done
    market = open_market(words, config, span)
    with progress_bar(f"backtest {market.name}") as show_progress:
        result = run_backtest(market, config, show_progress)
    show(arguments, as_json(result), lines(result))
    return 1 if result.stop else 0


def profile_of(arguments: argparse.Namespace, words: list[str]) -> Config:
    """Return the profile: the named one, or that of the night where a recorded run is taken."""
    recorded = run_of(words)
    if recorded is not None and arguments.config is DEFAULT_PROFILE:
        return config_with(recorded.manifest.config, arguments.set)
    return load_config(Path(arguments.config), arguments.set)


def as_json(result: BacktestResult) -> dict[str, object]:
    """Return the figures as one JSON object."""
    performance = result.performance
    return {
        "sources": list(result.sources),
        "from_ts": result.from_ts,
        "to_ts": result.to_ts,
        "inputs": result.inputs,
        "assumptions": list(result.assumptions),
        "fills": len(result.of("fills")),
        "equity_start": amount_text(performance.equity_start),
        "equity": amount_text(performance.equity),
        "round_trips": len(performance.trips),
        "stop": result.stop or None,
        "digest": result.digest,
    }


def lines(result: BacktestResult) -> list[str]:
    """Return the figures in words."""
    performance = result.performance
    events = sum(result.inputs.values())
    ending = f"STOPPED by {result.stop}" if result.stop else "done"
    return [
        f"source        {', '.join(result.sources)}",
        f"span          {date_clock(result.from_ts)} to {date_clock(result.to_ts)} UTC",
        f"market        {counted(events, 'event')} in {result.elapsed_s:.2f} s",
        *(f"assumed       {text}" for text in result.assumptions),
        f"fills         {len(result.of('fills'))}, {len(performance.trips)} round trips",
        f"equity        {money(amount_text(performance.equity_start))} -> "
        f"{money(amount_text(performance.equity))}",
        f"backtest {ending}, digest {result.digest}",
    ]
