"""minibot backtest: what the profile's cores would have done on history."""

from __future__ import annotations

import argparse
from pathlib import Path

from minibot.backtest.driver import run_backtest
from minibot.backtest.result import BacktestResult
from minibot.backtest.sources import FrameSource
from minibot.cli.output import show
from minibot.cli.selection import add_profile
from minibot.events.money import amount_text
from minibot.exchanges.embedded.sources import open_source
from minibot.report.figures import counted, date_clock, money
from minibot.runtime.config import load_config
from minibot.runtime.paths import PROJECT

HELP = "run the same cores on history: tape, klines, recorded run or made market"
EXAMPLE = "minibot backtest --source tape:demo"
# Messages per second of market time, for sources that make their own.
RATE_PER_S = 20


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_profile(command, PROJECT.joinpath("config", "nore-demo.v1.json").relative_to(PROJECT))
    command.add_argument(
        "--source",
        default="tape:demo",
        help="tape:FILE, tape:demo, klines:FILE, run:DIR or generator:SEED",
    )


def run(arguments: argparse.Namespace) -> int:
    """Backtest; 0 when it came to its end, 1 when risk stopped it."""
    config = load_config(Path(arguments.config), arguments.set)
    result = run_backtest(FrameSource(open_source(arguments.source, RATE_PER_S), config), config)
    show(arguments, as_json(result), lines(result))
    return 1 if result.stop else 0


def as_json(result: BacktestResult) -> dict[str, object]:
    """Return the figures as one JSON object."""
    performance = result.performance
    return {
        "sources": list(result.sources),
        "from_ts": result.from_ts,
        "to_ts": result.to_ts,
        "inputs": result.inputs,
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
    verdict = f"STOPPED by {result.stop}" if result.stop else "done"
    return [
        f"source        {', '.join(result.sources)}",
        f"span          {date_clock(result.from_ts)} to {date_clock(result.to_ts)} UTC",
        f"market        {counted(events, 'event')} in {result.elapsed_s:.2f} s",
        f"fills         {len(result.of('fills'))}, {len(performance.trips)} round trips",
        f"equity        {money(amount_text(performance.equity_start))} -> "
        f"{money(amount_text(performance.equity))}",
        f"backtest {verdict}, digest {result.digest}",
    ]
