"""`python -m minibot.simulator`: the loopback exchange as a process of a run.

The first line on standard output states the port and the source's facts; then comes one line a
second. It exits with 0 when its standard input closes. For use by hand, `minibot exchange serve` is
friendlier.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import orjson

from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from minibot.kernel.threads import DaemonThread
from minibot.simulator.server.server import ExchangeServer
from minibot.simulator.server.service import STARTS, Settings, make_server, ready_line, serve

REPORT_INTERVAL_S = 1.0


def main(argv: list[str] | None = None) -> int:
    """Run the exchange; return its exit code: 0 ended, 2 cannot run, 4 configuration."""
    options = _options(argv)
    try:
        _fill(options)
        server = make_server(
            Settings(
                source=options.source,
                speed=options.speed,
                rate_per_s=options.rate,
                history=options.history,
                faults=options.faults,
                start=options.start,
                run=options.run,
            )
        )
        asyncio.run(_serve(server, options.port, keep_open=options.keep_open))
        return 0
    except Refusal as refusal:
        text = "; ".join([str(refusal), *getattr(refusal, "violations", ())])
        print(f"embedded exchange: {text}", file=sys.stderr)
        _print_line({"ready": False, "error": text, "exit_code": refusal.exit_code})
        return refusal.exit_code


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m minibot.simulator",
        description="A loopback exchange that speaks Binance Spot's public protocol.",
        epilog="Example: python -m minibot.simulator --source tape:demo --speed 10",
    )
    parser.add_argument("--run", type=Path, help="folder of the run whose clock.json counts")
    parser.add_argument(
        "--source", help="tape:FILE, tape:demo, klines:FILE, run:DIR, generator:SEED"
    )
    parser.add_argument("--speed", help="market seconds per wall-clock second")
    parser.add_argument("--port", type=int, help="0 takes a free one")
    parser.add_argument("--rate", type=int, help="messages per market second of synthetic markets")
    parser.add_argument("--history", help="klines:FILE, for the time before the origin")
    parser.add_argument("--faults", help="a fault script")
    parser.add_argument(
        "--start",
        choices=STARTS,
        default="reader",
        help="without a run: play when the first reader has subscribed, a client has asked, or now",
    )
    parser.add_argument(
        "--keep-open", action="store_true", help="stay when the standard input closes"
    )
    return parser.parse_args(argv)


def _fill(options: argparse.Namespace) -> None:
    """Fill options missing on the command line from the run's manifest, then from defaults."""
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


async def _serve(server: ExchangeServer, port: int, *, keep_open: bool) -> None:
    """Serve until the standard input closes."""
    done = asyncio.Event()

    def on_ready() -> None:
        _print_line(ready_line(server))
        if not keep_open:
            _watch_stdin(asyncio.get_running_loop(), done)

    await serve(server, port, on_ready=on_ready, beside=lambda: _report(server), done=done)
    with contextlib.suppress(OSError):  # The launcher has gone.
        _print_line(_counted(server))  # Also the calls since the last report.


async def _report(server: ExchangeServer) -> None:
    has_shown_end = False
    player = server.player
    while True:
        # The end is reported at once; a run waits for it.
        with contextlib.suppress(TimeoutError):
            waiting = asyncio.sleep(3600) if has_shown_end else player.ended.wait()
            await asyncio.wait_for(waiting, REPORT_INTERVAL_S)
        has_shown_end = player.has_ended
        _print_line(_counted(server))


def _counted(server: ExchangeServer) -> dict[str, Any]:
    counters = server.venue.counters
    return {
        "order_calls": counters["order_calls"],
        "sent": counters["sent"],
        "ended": server.player.has_ended,
    }


def _watch_stdin(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    def watch() -> None:
        # Not sys.stdin: its lock, held by a waiting thread, aborts the interpreter at its end.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        loop.call_soon_threadsafe(done.set)

    # A thread, because the event loop of Windows cannot wait for a pipe; a daemon, because a
    # terminal's input may never end.
    DaemonThread(watch, "stdin").start()


def _print_line(fields: dict[str, Any]) -> None:
    sys.stdout.write(canonical.encode(fields).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
