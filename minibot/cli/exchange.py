"""minibot exchange: the simulator alone on loopback, for this bot or any other client."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Final

from minibot.cli.support.numbers import PORT_MAX, between
from minibot.cli.support.output import show
from minibot.kernel.errors import ConfigError
from minibot.report.figures import date_clock
from minibot.simulator.server.remote import RunningExchange

HELP = "the loopback exchange alone, for any client of Binance Spot: serve, status, fault"
EXAMPLE = "minibot exchange serve --source tape:demo --speed 10"

PORT: Final = 18457
_WHOLE: Final = re.compile(r"-?\d{1,18}", re.ASCII)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("action", choices=["serve", "status", "fault"], help="what to do")
    command.add_argument(
        "words", nargs="*", metavar="NAME [KEY=VALUE ...]", help="of a fault: drop, stall ms=5000"
    )
    command.add_argument(
        "--port",
        type=between(0, PORT_MAX),
        default=PORT,
        help=f"on 127.0.0.1, {PORT} by default; 0 a free one",
    )
    serving = command.add_argument_group("serve")
    serving.add_argument(
        "--source",
        default="tape:demo",
        help="tape:FILE, tape:demo (default), klines:FILE, run:DIR, generator:SEED, "
        "generator:SEED:SYMBOL,... or generator:SEED:COUNT",
    )
    serving.add_argument("--speed", default="1", help="market seconds in a second (default: 1)")
    serving.add_argument(
        "--rate",
        type=int,
        default=20,
        help="messages in a market second, of synthetic markets (default: 20)",
    )
    serving.add_argument("--history", help="klines:FILE[,FILE], for the time before the source")
    serving.add_argument("--faults", metavar="FILE", help="a fault script (JSON)")
    serving.add_argument(
        "--start",
        choices=["client", "now"],
        default="client",
        help="time begins with the first call or subscription (default), or now",
    )
    serving.add_argument(
        "--rebase-to-now",
        action="store_true",
        help="move all times to now, for clients that only know the wall clock; speed 1",
    )
    serving.add_argument(
        "--paper-account",
        action="store_true",
        help="answer account and order calls from a wallet of paper",
    )
    serving.add_argument(
        "--tls-dir",
        type=Path,
        metavar="DIR",
        help="serve TLS too, on the port above, with a certificate kept in DIR",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the action; 2 if nothing answers on the port, or a fault has no name."""
    if arguments.action == "fault":
        return _fault(arguments)
    if arguments.words:
        raise ConfigError(f"exchange {arguments.action}: takes no name.", [*arguments.words])
    if arguments.action == "status":
        return _status(arguments)
    # Imported here because only a server needs aiohttp and certificates.
    from minibot.cli.support.exchange_serving import serve_market

    return serve_market(arguments)


def _fault(arguments: argparse.Namespace) -> int:
    """Inject a fault; without a name, list those that the running exchange knows, and return 2."""
    name, *pairs = arguments.words or [""]
    if not name:
        names = RunningExchange(arguments.port).status()["faults"]
        show(arguments, names, ["Name one of these:", *(f"  {each}" for each in names)])
        return 2
    fields: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"exchange fault: {pair!r} has no value.", ["key=value, as ms=5000"])
        fields[key] = int(value) if _WHOLE.fullmatch(value) else value
    RunningExchange(arguments.port).fault(name, fields)
    named = "".join(f" {key}={value}" for key, value in fields.items())
    show(arguments, {"fault": name, **fields}, [f"in force: {name}{named}"])
    return 0


def _status(arguments: argparse.Namespace) -> int:
    status = RunningExchange(arguments.port).status()
    calls = sorted(status["requests"].items(), key=lambda entry: -entry[1])
    lines = [
        f"plays    {status['source']}{', which has ended' if status['ended'] else ''}",
        f"market   {date_clock(status['now_ms'])} UTC"
        f"{'' if status['is_started'] else ', paused until the first request'}",
        f"clients  {status['clients']}, {status['sent']:,} messages sent",
        f"weight   {status['weight_used']:,} in this minute",
        *(f"  {count:>9,}  {path}" for path, count in calls),
        *(
            f"  {each['streams']:>9,}  streams of a client, {each['sent']:,} messages"
            for each in status["connections"]
        ),
    ]
    show(arguments, status, lines)
    return 0
