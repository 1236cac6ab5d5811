"""Request that changes a running night; the launcher records it."""

from __future__ import annotations

import argparse
from typing import Final

from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.ops.operator import operator_text, require_unstopped, who
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.request_file import leave_request

REASON: Final = "operator"


def add_reason(command: argparse.ArgumentParser, default: str = REASON) -> None:
    """Add `--reason`, which is optional so that an order in a hurry works without it."""
    command.add_argument(
        "--reason",
        type=lambda text: operator_text(text) or default,
        default=default,
        help=f"why; recorded (default: {default})",
    )


def ask(arguments: argparse.Namespace, kind: str, done: str, **fields: object) -> int:
    """Leave a request for the running run and print what was requested.

    Raises:
        Refusal: No run is running (exit 3).
    """
    var = var_of(arguments)
    run_id = require_unstopped(var)
    leave_request(var.requests, run_id, kind, who=who(), why=arguments.reason, **fields)
    document = {"run_id": run_id, "request": kind, **fields}
    show(arguments, document, [f"{run_id}: {done}; recorded in control."])
    return 0


def traded_symbol(var: Var, name: str) -> str:
    """Return the symbol of the running run that a person names, as `BTCUSDT` or `BTC/USDT`.

    Raises:
        Refusal: No run is running (exit 3), or it does not trade this symbol.
    """
    return Manifest.load(var.run(require_unstopped(var))).named_symbol(name)
