"""`python -m minibot.exchanges.embedded`: the loopback exchange as a process.

The first line on standard output says what is played and where; then one line a second. It exits
with 0 when its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson

from minibot.exchanges.embedded.clock import PlayClock, machine_ns
from minibot.exchanges.embedded.injector import read_script
from minibot.exchanges.embedded.instruments import symbol_infos
from minibot.exchanges.embedded.server import ExchangeServer
from minibot.exchanges.embedded.sources import find, open_history, open_source
from minibot.exchanges.embedded.venue import Venue
from minibot.kernel import canonical
from minibot.kernel.errors import ConfigError, Refusal

REPORT_INTERVAL_S = 1.0
# A made market of more messages than this a second would not be made in time at high speed.
RATE_PER_S_MAX = 1000
# A day in a second: beyond it nothing but the end of the source can be seen.
SPEED_MAX = 100_000


def main(argv: list[str] | None = None) -> int:
    """Run the exchange; return its exit code: 0 ended, 2 cannot run, 4 configuration."""
    options = _options(argv)
    try:
        _fill(options)
        server = make_server(options)
        return asyncio.run(serve(server, options.port, keep_open=options.keep_open))
    except Refusal as refusal:
        text = "; ".join([str(refusal), *getattr(refusal, "violations", ())])
        print(f"embedded exchange: {text}", file=sys.stderr)
        _print_line({"ready": False, "error": text, "exit_code": refusal.exit_code})
        return refusal.exit_code


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m minibot.exchanges.embedded",
        description="A loopback exchange that speaks Binance Spot's public protocol.",
        epilog="Example: python -m minibot.exchanges.embedded --source tape:demo --speed 10",
    )
    parser.add_argument("--run", type=Path, help="folder of the run whose clock.json counts")
    parser.add_argument(
        "--source", help="tape:FILE, tape:demo, klines:FILE, run:DIR, generator:SEED"
    )
    parser.add_argument("--speed", help="market seconds per machine second")
    parser.add_argument("--port", type=int, help="0 takes a free one")
    parser.add_argument("--rate", type=int, help="messages per market second of made markets")
    parser.add_argument("--history", help="klines:FILE, for the time before the origin")
    parser.add_argument("--faults", help="a fault script")
    parser.add_argument(
        "--start",
        choices=("reader", "now"),
        default="reader",
        help="without a run: play when the first reader has subscribed, or now",
    )
    parser.add_argument(
        "--keep-open", action="store_true", help="stay when the standard input closes"
    )
    return parser.parse_args(argv)


def _fill(options: argparse.Namespace) -> None:
    """Fill what the command line leaves out from the run's manifest, then from defaults."""
    settings: dict[str, Any] = {"source": "tape:demo", "speed": "1", "port": 0, "rate_per_s": 20}
    if options.run is not None and options.source is None:
        settings |= _manifest_settings(options.run / "manifest.json")
    for name, key in (("source",) * 2, ("speed",) * 2, ("port",) * 2, ("rate", "rate_per_s")):
        if getattr(options, name) is None:
            setattr(options, name, settings[key])
    for name in ("history", "faults"):
        text = getattr(options, name)
        setattr(options, name, (settings.get(name) if text is None else text) or None)


def _manifest_settings(path: Path) -> dict[str, Any]:
    """Return the section `embedded` of the run's configuration."""
    try:
        settings: dict[str, Any] = orjson.loads(path.read_bytes())["config"]["embedded"]
    except (OSError, orjson.JSONDecodeError, KeyError) as error:
        raise Refusal(f"{path}: no section embedded in it ({error}).", "Give --source.") from error
    return settings


def _speed(text: str) -> Fraction:
    try:
        speed = Fraction(text)
    except (ValueError, ZeroDivisionError):
        speed = Fraction(0)
    if not 0 < speed <= SPEED_MAX:
        raise ConfigError(
            f"embedded.speed: {text!r} is no speed.", [f"a number above 0, at most {SPEED_MAX}"]
        )
    return speed


def make_server(options: argparse.Namespace) -> ExchangeServer:
    """Return the server that the options describe, not yet listening."""
    speed = _speed(options.speed)
    if not 1 <= options.rate <= RATE_PER_S_MAX:
        allowed = f"a whole number from 1 to {RATE_PER_S_MAX}"
        raise ConfigError(f"embedded.rate_per_s: {options.rate} is no rate.", [allowed])
    source = open_source(options.source, options.rate)
    facts = source.facts
    infos = symbol_infos(facts.symbols, facts.symbol_infos, facts.first_trades)
    clock = PlayClock(facts.origin_ms, speed)
    history = open_history(options.history, facts) if options.history else {}
    venue = Venue(source, infos, clock, history)
    script = [] if options.faults is None else read_script(find(options.faults))
    if options.run is not None:
        clock_path = options.run / "clock.json"
        return ExchangeServer(venue, script, lambda server: _start_from(clock, clock_path))
    return ExchangeServer(
        venue, script, lambda server: _start_alone(server, now=options.start == "now")
    )


def _start_from(clock: PlayClock, path: Path) -> bool:
    """Start the clock as soon as the launcher has written its file; it appears whole."""
    try:
        data = orjson.loads(path.read_bytes())
    except (FileNotFoundError, PermissionError):
        return False  # Windows denies access while the file is being put in its place.
    clock.start(data["machine_origin_ns"], data["market_origin_ms"], Fraction(data["speed"]))
    return True


def _start_alone(server: ExchangeServer, *, now: bool) -> bool:
    if not now and not server.hub.has_readers:
        return False
    clock = server.venue.clock
    clock.start(machine_ns(), clock.market_origin_ms, clock.speed)
    return True


async def serve(server: ExchangeServer, port: int, *, keep_open: bool) -> int:
    """Listen, say so, play, and end with the standard input."""
    await server.listen(port)
    _print_line(ready_line(server))
    done = asyncio.Event()
    if not keep_open:
        _watch_stdin(asyncio.get_running_loop(), done)
    tasks = [
        asyncio.create_task(server.player.run()),
        asyncio.create_task(_report(server)),
        asyncio.create_task(_wait(done)),
    ]
    finished, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await server.close()
    for task in finished:
        task.result()  # A player that failed must not look like an orderly end.
    return 0


def ready_line(server: ExchangeServer) -> dict[str, Any]:
    """Return the line that says what is served."""
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


async def _wait(done: asyncio.Event) -> None:
    await done.wait()


async def _report(server: ExchangeServer) -> None:
    told_end = False
    player = server.player
    while True:
        # The end is told at once; it is what a run waits for.
        with contextlib.suppress(TimeoutError):
            waiting = asyncio.sleep(3600) if told_end else player.ended.wait()
            await asyncio.wait_for(waiting, REPORT_INTERVAL_S)
        told_end = player.has_ended
        counters = server.venue.counters
        _print_line(
            {
                "order_calls": counters["order_calls"],
                "sent": counters["sent"],
                "ended": told_end,
            }
        )


def _watch_stdin(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    def watch() -> None:
        # Not sys.stdin: its lock, held by a thread that waits, aborts the interpreter at its end.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        loop.call_soon_threadsafe(done.set)

    # A thread, because the event loop of Windows cannot wait for a pipe; a daemon, because a
    # terminal's input may never end.
    threading.Thread(target=watch, daemon=True, name="stdin").start()


def _print_line(fields: dict[str, Any]) -> None:
    sys.stdout.write(canonical.encode(fields).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
