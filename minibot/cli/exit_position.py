"""minibot exit-position (also forceexit): close a position of the running night."""

from __future__ import annotations

import argparse

from minibot.cli.support.request import add_reason, ask, traded_symbol
from minibot.cli.support.selection import var_of
from minibot.ops.operator import require_unstopped

HELP = "close the position in a symbol of the running night, on paper"
EXAMPLE = 'minibot exit-position BTC/USDT --reason "enough"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("symbol", help="as BTCUSDT or BTC/USDT")
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Leave the request; 2 without position and open entry, 3 when no run is running."""
    # Imported here because `--help` needs none of it.
    from minibot.ops.no_effect import refuse_exit_of_nothing

    var = var_of(arguments)
    symbol = traded_symbol(var, arguments.symbol)
    refuse_exit_of_nothing(var.run(require_unstopped(var)), symbol)
    return ask(arguments, "exit_position", f"{symbol} is to be closed", symbol=symbol)
