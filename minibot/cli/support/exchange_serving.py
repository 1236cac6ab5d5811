"""Serving half of `minibot exchange`: the simulator on loopback until Ctrl-C, and its lines."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from minibot.cli.support.certificate import CERTIFICATE, certificate_in
from minibot.cli.support.numbers import PORT_MAX
from minibot.cli.support.output import show
from minibot.kernel.errors import ConfigError
from minibot.report.figures import counted, date_clock, listed
from minibot.runtime.paths import shown_path
from minibot.simulator.server.guard import print_line
from minibot.simulator.server.server import ExchangeServer
from minibot.simulator.server.service import Settings, make_server, ready_line, serve, tls_context

STATUS_S: Final = 60.0
SYMBOLS_SHOWN_MAX: Final = 8


def serve_market(arguments: argparse.Namespace) -> int:
    """Serve the market that the flags name until it is ended; return 0.

    Raises:
        ConfigError: TLS is to be served above the highest port.
    """
    if arguments.tls_dir is not None and arguments.port == PORT_MAX:
        allowed = [f"0 to {PORT_MAX - 1}, since --tls-dir takes the port above"]
        raise ConfigError(f"exchange serve: --port {PORT_MAX} together with --tls-dir.", allowed)
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
                on_ready=lambda: _show_ready(arguments, server),
                beside=lambda: _report(server),
                done=done,
            )

    asyncio.run(serving())
    print_line(_now(server))
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


def _show_ready(arguments: argparse.Namespace, server: ExchangeServer) -> None:
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
    end = "without an end" if facts.end_ms is None else f"to {date_clock(facts.end_ms)} UTC"
    symbols = facts.symbols
    more = (
        f" and {len(symbols) - SYMBOLS_SHOWN_MAX} more" if len(symbols) > SYMBOLS_SHOWN_MAX else ""
    )
    found = _addresses(arguments, server)
    yield f"plays    {facts.name}, {date_clock(facts.origin_ms)} {end}, at speed {arguments.speed}"
    yield f"symbols  {listed(symbols[:SYMBOLS_SHOWN_MAX])}{more}"
    yield f"REST     {found['rest']}/api/v3/"
    yield f"streams  {found['streams']}/ws and {found['streams']}/stream"
    if arguments.tls_dir is not None:
        yield f"TLS      {found['tls_rest']} and {found['tls_streams']}"
        yield f"         trust {shown_path(Path(found['certificate']))}"
    yield from (f"note     {note}" for note in facts.notes)
    if not server.venue.clock.is_started and arguments.start == "client":
        yield "time     paused until the first request or subscription"
    yield f"faults   minibot exchange fault NAME --port {server.port}; Ctrl-C ends"


async def _report(server: ExchangeServer) -> None:
    has_shown_end = False
    while True:
        waiting = asyncio.sleep(STATUS_S) if has_shown_end else server.player.ended.wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(waiting, STATUS_S)
        if server.player.has_ended and not has_shown_end:
            has_shown_end = True
            print_line("the source has ended; connections stay open")
        else:
            print_line(_now(server))


def _now(server: ExchangeServer) -> str:
    counters = server.venue.counters
    return (
        f"market {date_clock(server.venue.clock.now_ms())}, "
        f"{counted(len(server.hub.connections), 'client')}, "
        f"{counted(counters['sent'], 'message')} sent, "
        f"{counted(server.venue.calls(), 'call')} answered"
    )
