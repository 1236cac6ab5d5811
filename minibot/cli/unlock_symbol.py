"""minibot unlock-symbol: lift an operator's lock of a symbol; no lock that a limit set."""

from __future__ import annotations

import argparse

from minibot.cli.support.request import add_reason, ask, traded_symbol
from minibot.cli.support.selection import var_of
from minibot.events.model import LockSymbol
from minibot.ops.operator import require_unstopped
from minibot.runtime.clock import RunClock
from minibot.runtime.manifest import Manifest

HELP = "allow entries again in a symbol that lock-symbol locked"
EXAMPLE = 'minibot unlock-symbol BTC/USDT --reason "book is back"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("symbol", help="as BTCUSDT or BTC/USDT")
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Leave the request: a lock that ends now; 2 without an operator's lock, 3 without a run."""
    # Imported here because `--help` needs none of it.
    from minibot.ops.no_effect import refuse_unlock_of_nothing

    var = var_of(arguments)
    symbol = traded_symbol(var, arguments.symbol)
    run_id = require_unstopped(var)
    run_dir = var.run(run_id)
    manifest = Manifest.load(run_dir)
    now_ms = RunClock(run_dir, manifest.clock_origin_ms, manifest.clock_speed).now_ms()
    refuse_unlock_of_nothing(run_dir, symbol, now_ms)
    text = f"the operator's lock of {symbol} ends; locks of limits stay"
    return ask(arguments, LockSymbol.TYPE, text, symbol=symbol, until_ts=now_ms)
