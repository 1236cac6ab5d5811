"""minibot exit-position (also forceexit): close what is held in a symbol of the running night."""

from __future__ import annotations

import argparse

from minibot.cli.request import ask, traded_symbol
from minibot.cli.selection import var_of

HELP = "close the position in a symbol of the running night, on paper"
EXAMPLE = 'minibot exit-position BTC/USDT --reason "enough"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("symbol", help="as BTCUSDT or BTC/USDT")
    command.add_argument("--reason", required=True, help="why; journaled")


def run(arguments: argparse.Namespace) -> int:
    """Leave the request; 3 when nothing runs."""
    symbol = traded_symbol(var_of(arguments), arguments.symbol)
    return ask(arguments, "exit_position", f"{symbol} is to be closed", symbol=symbol)
