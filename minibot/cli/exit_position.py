"""minibot exit-position (also forceexit): close a position of the running night."""

from __future__ import annotations

import argparse

from minibot.cli.support.request import add_reason, ask, traded_symbol
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal, RunStop
from minibot.ops.operator import require_running
from minibot.runtime.paths import Var

HELP = "close the position in a symbol of the running night, on paper"
EXAMPLE = 'minibot exit-position BTC/USDT --reason "enough"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("symbol", help="as BTCUSDT or BTC/USDT")
    add_reason(command)


def run(arguments: argparse.Namespace) -> int:
    """Leave the request; 2 without a position in the symbol, 3 when no run is running."""
    var = var_of(arguments)
    symbol = traded_symbol(var, arguments.symbol)
    _require_held(var, symbol)
    return ask(arguments, "exit_position", f"{symbol} is to be closed", symbol=symbol)


def _require_held(var: Var, symbol: str) -> None:
    """Refuse without a position: the answer would read as if one had been closed.

    If the queues cannot be read, the request is left all the same: risk knows its positions.
    """
    # Imported here because `--help` needs none of it.
    from minibot.cli.support.standing import ALWAYS_MS
    from minibot.engine.portfolio_at import portfolio_at
    from minibot.engine.recorded_run import Recorded

    run_id = require_running(var)
    try:
        held = portfolio_at(Recorded.open(var.run(run_id)), ALWAYS_MS)
    except (RunStop, StopIteration):
        return
    if not held.has_lots(symbol):
        raise Refusal(
            f"{run_id} holds nothing in {symbol}: there is nothing to close, and nothing was sent.",
            "See what it holds: minibot status",
        )
