"""minibot lock-symbol: forbid entries in a symbol of a night, for a time or to its end."""

from __future__ import annotations

import argparse

from minibot.cli.support.numbers import between
from minibot.cli.support.request import add_reason, ask, traded_symbol
from minibot.cli.support.selection import var_of
from minibot.events.unit_sizes import MINUTE_MS
from minibot.ops.operator import require_unstopped
from minibot.runtime.clock import RunClock
from minibot.runtime.manifest import Manifest

HELP = "no entries in one symbol of the running night, for a time or to its end"
EXAMPLE = 'minibot lock-symbol BTC/USDT --minutes 30 --reason "thin book"'
MINUTES_MAX = 1_000_000


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("symbol", help="as BTCUSDT or BTC/USDT")
    command.add_argument(
        "--minutes", type=between(1, MINUTES_MAX), help="of market time (default: to the run's end)"
    )
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Leave the request; 3 when no run is running."""
    var = var_of(arguments)
    symbol = traded_symbol(var, arguments.symbol)
    if arguments.minutes is None:
        return ask(arguments, "lock_symbol", f"no entries in {symbol}", symbol=symbol)
    run_dir = var.run(require_unstopped(var))
    manifest = Manifest.load(run_dir)
    now_ms = RunClock(run_dir, manifest.clock_origin_ms, manifest.clock_speed).now_ms()
    return ask(
        arguments,
        "lock_symbol",
        f"no entries in {symbol} for {arguments.minutes} min",
        symbol=symbol,
        until_ts=now_ms + arguments.minutes * MINUTE_MS,
    )
