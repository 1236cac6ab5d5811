"""Service of the loopback exchange: settings made into a server, and served.

Used by `python -m minibot.simulator`, which a run starts, and by `minibot exchange serve`, which
anyone may start.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import orjson

from minibot.exchanges.tapes.clock import PlayClock
from minibot.exchanges.tapes.frames import Source
from minibot.exchanges.tapes.kline_bars import Bar
from minibot.exchanges.units import plain
from minibot.kernel.errors import ConfigError, Refusal
from minibot.kernel.system import machine_ns
from minibot.simulator.faults.script import read_script
from minibot.simulator.server.server import ExchangeServer
from minibot.simulator.sources.rebase import Rebased
from minibot.simulator.sources.sources import find, open_history, open_source
from minibot.simulator.venue.instruments import symbol_infos
from minibot.simulator.venue.venue import Venue

# Four hundred symbols at fifty messages a second each: about the capacity of one core.
RATE_PER_S_MAX: Final = 20_000
# A day in a second: beyond it only the end of the source is visible.
SPEED_MAX: Final = 100_000
STARTS: Final = ("reader", "client", "now")
"""Start of play of a server without a run: at a subscription, at a request, at once."""

Start = Callable[[ExchangeServer], bool]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the simulator; `run` is the folder of the run whose clock.json is used."""

    source: str
    speed: str = "1"
    rate_per_s: int = 20
    history: str | None = None
    faults: str | None = None
    start: str = "reader"
    run: Path | None = None
    is_rebased: bool = False
    has_paper_account: bool = False


def make_server(settings: Settings) -> ExchangeServer:
    """Return the server that the settings describe, not yet listening.

    Raises:
        ConfigError: A setting is invalid, a run wants a paper account, or the fault script cannot
            be played.
        Refusal: The source or its history cannot be played.
    """
    speed = _speed(settings)
    if not 1 <= settings.rate_per_s <= RATE_PER_S_MAX:
        allowed = f"a whole number from 1 to {RATE_PER_S_MAX}"
        raise ConfigError(f"embedded.rate_per_s: {settings.rate_per_s} is not a rate.", [allowed])
    if settings.has_paper_account and settings.run is not None:
        allowed = "the bot itself calls no order endpoint: serve it without a run"
        raise ConfigError("embedded: a paper account together with a run.", [allowed])
    source = open_source(settings.source, settings.rate_per_s)
    history = open_history(settings.history, source.facts) if settings.history else {}
    moved_ns, wall_ms = machine_ns(), time.time_ns() // 1_000_000
    if settings.is_rebased:
        source, history = _rebased(source, history, wall_ms)
    facts = source.facts
    infos = symbol_infos(facts.symbols, facts.symbol_infos, facts.samples)
    clock = PlayClock(facts.origin_ms, speed)
    venue = Venue(source, infos, clock, history)
    script = [] if settings.faults is None else read_script(find(settings.faults))
    if settings.is_rebased:
        clock.start(moved_ns, wall_ms, speed)
    start = _from_run(clock, settings.run) if settings.run else _alone(settings.start)
    return ExchangeServer(venue, script, start, has_paper_account=settings.has_paper_account)


def _speed(settings: Settings) -> Fraction:
    text = settings.speed
    try:
        speed = Fraction(plain(text))  # Of `1e999999999` it would make every digit.
    except ValueError:
        speed = Fraction(0)
    if not 0 < speed <= SPEED_MAX:
        raise ConfigError(
            f"embedded.speed: {text!r} is not a speed.", [f"a number above 0, at most {SPEED_MAX}"]
        )
    if settings.is_rebased and speed != 1:
        allowed = "1, because the wall clock runs at it: leave --speed or --rebase-to-now out"
        raise ConfigError(f"embedded.speed: {text} together with --rebase-to-now.", [allowed])
    return speed


def _rebased(
    source: Source, history: dict[str, tuple[str, list[Bar]]], wall_ms: int
) -> tuple[Source, dict[str, tuple[str, list[Bar]]]]:
    rebased = Rebased(source, wall_ms)
    return rebased, rebased.history(history)


def _from_run(clock: PlayClock, run: Path) -> Start:
    """Start the clock as soon as the launcher has written its file, which appears atomically."""
    path = run / "clock.json"

    def start(server: ExchangeServer) -> bool:
        try:
            if not path.is_file():
                return False  # Not there yet; reading a FIFO in its place would never end.
            data = orjson.loads(path.read_bytes())
        except (FileNotFoundError, PermissionError):
            return False  # Windows denies access while the file is being replaced.
        clock.start(data["machine_origin_ns"], data["market_origin_ms"], Fraction(data["speed"]))
        return True

    return start


def _alone(word: str) -> Start:
    def start(server: ExchangeServer) -> bool:
        is_asked = word == "client" and server.venue.calls() > 0
        if word != "now" and not is_asked and not server.hub.has_readers:
            return False
        clock = server.venue.clock
        clock.start(machine_ns(), clock.market_origin_ms, clock.speed)
        return True

    return start


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a TLS listener.

    Raises:
        Refusal: The files are no certificate with its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Refusal(
            f"{certificate} and {key.name} beside it cannot be used ({error}).",
            "Remove both, and new ones are made; or name another folder with --tls-dir.",
        ) from error
    return context


async def serve(
    server: ExchangeServer,
    port: int,
    *,
    tls: tuple[ssl.SSLContext, int] | None = None,
    on_ready: Callable[[], None],
    beside: Callable[[], Awaitable[None]],
    done: asyncio.Event,
) -> None:
    """Listen, report it, and play until `done` is set or `beside` ends.

    Args:
        server: From `make_server`.
        port: On loopback; 0 takes a free one.
        tls: Context and port of a second listener, for TLS.
        on_ready: Called when it listens.
        beside: Reports while it plays.
        done: Set from outside to end it.

    Raises:
        Refusal: A port is taken, or the source broke while it was played.
        ConfigError: The fault script did.
    """
    await server.listen(port, tls)
    on_ready()
    tasks = [
        asyncio.ensure_future(waited) for waited in (server.player.run(), beside(), done.wait())
    ]
    try:
        finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await server.close()
    for task in finished:
        task.result()  # A failed player must not look like an orderly end.


def ready_line(server: ExchangeServer) -> dict[str, Any]:
    """Return the first line on standard output: the port, and the facts of the source."""
    facts = server.venue.facts
    origins = {symbol: info["origin"] for symbol, info in server.venue.infos.items()}
    return {
        "ready": True,
        "port": server.port,
        "origin_ms": facts.origin_ms,
        "end_ms": facts.end_ms,
        "symbols": list(facts.symbols),
        "has_depth": facts.has_depth,
        "has_exchange_info": "exchange" in origins.values(),
        "instrument_origins": origins,
        "notes": facts.notes,
    }
