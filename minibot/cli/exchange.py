"""minibot exchange: the simulator alone on loopback, for this bot or any other client."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from minibot.cli.support.certificate import CERTIFICATE, certificate_in
from minibot.cli.support.numbers import between
from minibot.cli.support.output import show, shown_path
from minibot.kernel.errors import ConfigError
from minibot.report.figures import counted, listed
from minibot.simulator.server.guard import tell
from minibot.simulator.server.remote import RunningExchange
from minibot.simulator.server.server import ExchangeServer
from minibot.simulator.server.service import Settings, make_server, ready_line, serve, tls_context

HELP = "the loopback exchange alone, for any client of Binance Spot: serve, status, fault"
EXAMPLE = "minibot exchange serve --source tape:demo --speed 10"

PORT: Final = 18457
STATUS_S: Final = 60.0
SYMBOLS_TOLD_MAX: Final = 8
_WHOLE: Final = re.compile(r"-?\d{1,18}", re.ASCII)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("action", choices=["serve", "status", "fault"], help="what to do")
    command.add_argument(
        "words", nargs="*", metavar="NAME [KEY=VALUE ...]", help="of a fault: drop, stall ms=5000"
    )
    command.add_argument(
        "--port",
        type=between(0, 65_535),
        default=PORT,
        help=f"on 127.0.0.1, {PORT} by default; 0 a free one",
    )
    serving = command.add_argument_group("serve")
    serving.add_argument(
        "--source",
        default="tape:demo",
        help="tape:FILE, tape:demo, klines:FILE, run:DIR, generator:SEED, "
        "generator:SEED:SYMBOL,... or generator:SEED:COUNT",
    )
    serving.add_argument("--speed", default="1", help="market seconds in a second")
    serving.add_argument(
        "--rate", type=int, default=20, help="messages in a market second, of synthetic markets"
    )
    serving.add_argument("--history", help="klines:FILE[,FILE], for the time before the source")
    serving.add_argument("--faults", metavar="FILE", help="a fault script (JSON)")
    serving.add_argument(
        "--start",
        choices=["client", "now"],
        default="client",
        help="time begins with the first call or subscription, or now",
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
    """Run the action."""
    if arguments.action == "fault":
        return _fault(arguments)
    if arguments.words:
        raise ConfigError(f"exchange {arguments.action}: takes no name.", [*arguments.words])
    return _status(arguments) if arguments.action == "status" else _serve(arguments)


# --- asking a running one ----------------------------------------------------------------------


def _fault(arguments: argparse.Namespace) -> int:
    name, *pairs = arguments.words or [""]
    if not name:
        names = RunningExchange(arguments.port).status()["faults"]
        show(arguments, names, ["Name one of these:", *(f"  {each}" for each in names)])
        return 2
    fields: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"exchange fault: {pair!r} says nothing.", ["key=value, as ms=5000"])
        fields[key] = int(value) if _WHOLE.fullmatch(value) else value
    RunningExchange(arguments.port).fault(name, fields)
    told = "".join(f" {key}={value}" for key, value in fields.items())
    show(arguments, {"fault": name, **fields}, [f"in force: {name}{told}"])
    return 0


def _status(arguments: argparse.Namespace) -> int:
    status = RunningExchange(arguments.port).status()
    calls = sorted(status["requests"].items(), key=lambda entry: -entry[1])
    lines = [
        f"plays    {status['source']}{', which has ended' if status['ended'] else ''}",
        f"market   {_clock(status['now_ms'])} UTC"
        f"{'' if status['is_started'] else ', standing until somebody asks'}",
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


# --- serving -----------------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace) -> int:
    server = make_server(
        Settings(
            source=arguments.source,
            speed=arguments.speed,
            rate_per_s=arguments.rate,
            history=arguments.history,
            faults=arguments.faults,
            start=arguments.start,
            is_rebased=arguments.rebase_to_now,
            has_paper_account=arguments.paper_account,
        )
    )
    tls = None
    if arguments.tls_dir is not None:
        tls_port = arguments.port + 1 if arguments.port else 0
        tls = (tls_context(*certificate_in(arguments.tls_dir)), tls_port)

    async def serving() -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        with _ending(loop, done):
            await serve(
                server,
                arguments.port,
                tls=tls,
                on_ready=lambda: _tell_ready(arguments, server),
                beside=lambda: _report(server),
                done=done,
            )

    asyncio.run(serving())
    tell(_now(server))
    return 0


@contextmanager
def _ending(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> Iterator[None]:
    """End the server in order on SIGINT (Ctrl-C) or SIGTERM."""
    former = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(done.set))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _tell_ready(arguments: argparse.Namespace, server: ExchangeServer) -> None:
    document = {**ready_line(server), **_addresses(arguments, server)}
    show(arguments, document, list(_introduced(arguments, server)))
    sys.stdout.flush()


def _addresses(arguments: argparse.Namespace, server: ExchangeServer) -> dict[str, Any]:
    plain = f"127.0.0.1:{server.port}"
    found = {"rest": f"http://{plain}", "streams": f"ws://{plain}"}
    if arguments.tls_dir is not None:
        secure = f"127.0.0.1:{server.tls_port}"
        found |= {
            "tls_rest": f"https://{secure}",
            "tls_streams": f"wss://{secure}",
            "certificate": str(arguments.tls_dir / CERTIFICATE),
        }
    return found


def _introduced(arguments: argparse.Namespace, server: ExchangeServer) -> Iterator[str]:
    facts = server.venue.facts
    end = "without an end" if facts.end_ms is None else f"to {_clock(facts.end_ms)} UTC"
    symbols = facts.symbols
    more = f" and {len(symbols) - SYMBOLS_TOLD_MAX} more" if len(symbols) > SYMBOLS_TOLD_MAX else ""
    found = _addresses(arguments, server)
    yield f"plays    {facts.name}, {_clock(facts.origin_ms)} {end}, at speed {arguments.speed}"
    yield f"symbols  {listed(symbols[:SYMBOLS_TOLD_MAX])}{more}"
    yield f"REST     {found['rest']}/api/v3/"
    yield f"streams  {found['streams']}/ws and {found['streams']}/stream"
    if arguments.tls_dir is not None:
        yield f"TLS      {found['tls_rest']} and {found['tls_streams']}"
        yield f"         trust {shown_path(Path(found['certificate']))}"
    yield from (f"note     {note}" for note in facts.notes)
    if not server.venue.clock.is_started and arguments.start == "client":
        yield "time     stands until a client asks or subscribes"
    yield f"faults   minibot exchange fault NAME --port {server.port}; Ctrl-C ends"


async def _report(server: ExchangeServer) -> None:
    told_end = False
    while True:
        waiting = asyncio.sleep(STATUS_S) if told_end else server.player.ended.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(waiting, STATUS_S)
        if server.player.has_ended and not told_end:
            told_end = True
            tell("the source has ended; connections stay open")
        else:
            tell(_now(server))


def _now(server: ExchangeServer) -> str:
    counters = server.venue.counters
    return (
        f"market {_clock(server.venue.clock.now_ms())}, "
        f"{counted(len(server.hub.connections), 'client')}, "
        f"{counted(counters['sent'], 'message')} sent, "
        f"{counted(server.venue.calls(), 'call')} answered"
    )


def _clock(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
