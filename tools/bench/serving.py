"""Messages a second that the embedded exchange makes and sends, on one core.

    python -m tools.bench.serving                           400 symbols x 3 streams, and one symbol
    python -m tools.bench.serving --symbols 400 --readers 4 the same streams read four times

The exchange is a separate process, asked to play faster than it can. Readers discard everything, so
that the figure is the exchange's own. It counts its CPU time (user and system), not wall-clock
time: a message costs the same on a busy machine. The books, bars and trades behind REST are kept
meanwhile, as always.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

from minibot.simulator.server.remote import RunningExchange
from minibot.simulator.sources.sources import made_symbols
from tools.bench.machine import describe

KINDS: Final = ("trade", "bookTicker", "depth@100ms")
STREAMS_MAX: Final = 900
WARM_S: Final = 2.0
READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Figure:
    """Figure: messages sent, and CPU time of the exchange for them."""

    symbols: int
    readers: int
    messages: int
    cpu_s: float
    wall_s: float
    memory_mb: float

    def line(self) -> str:
        """Return the figure as a printed line."""
        per_s = self.messages / self.cpu_s
        return (
            f"{self.symbols:>4} symbols, {self.readers} reading each: {per_s:>9,.0f} messages "
            f"per second of CPU, {1e6 / per_s:.1f} us each, {self.messages / self.wall_s:,.0f}/s "
            f"by the clock, {self.memory_mb:.0f} MB"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--symbols", type=int, nargs="+", default=[400, 1])
    parser.add_argument("--readers", type=int, default=1, help="connections that read each stream")
    parser.add_argument("--rate", type=int, default=20_000, help="messages in a market second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    figures = [measure(count, options) for count in options.symbols]
    if options.json:
        rows = [{name: getattr(each, name) for name in Figure.__slots__} for each in figures]
        print(json.dumps({"machine": describe(), "figures": rows}))
    else:
        for each in figures:
            print(each.line())
    return 0


def measure(symbols: int, options: argparse.Namespace) -> Figure:
    """Serve synthetic symbols to readers that discard everything; return the cost."""
    rate = min(options.rate, 1000) if symbols == 1 else options.rate
    command = [
        *(sys.executable, "-m", "minibot.simulator"),
        *("--source", f"generator:1:{symbols}", "--rate", str(rate), "--speed", "1000"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        # A reader that discards everything answers no pings.
        RunningExchange(ready["port"]).fault("no_ping", {"ms": 10**12})
        readers = [
            reader for _ in range(options.readers) for reader in _subscribe(ready["port"], symbols)
        ]
        return _counted(process, ready["port"], readers, symbols, options)
    finally:
        process.kill()
        process.communicate()


def _counted(
    process: subprocess.Popen[str],
    port: int,
    readers: list[socket.socket],
    symbols: int,
    options: argparse.Namespace,
) -> Figure:
    system, exchange = psutil.Process(process.pid), RunningExchange(port)
    with selectors.DefaultSelector() as ready:
        for reader in readers:
            reader.setblocking(False)
            ready.register(reader, selectors.EVENT_READ)
        _throw_away(ready, WARM_S)
        before, times, began = exchange.status(), system.cpu_times(), time.monotonic()
        _throw_away(ready, options.seconds)
        after, later, ended = exchange.status(), system.cpu_times(), time.monotonic()
    cpu_s = later.user + later.system - times.user - times.system
    if after["clients"] != len(readers):
        raise SystemExit("a reader was too slow and has been cut off: the figure means nothing")
    return Figure(
        symbols,
        options.readers,
        after["sent"] - before["sent"],
        cpu_s,
        ended - began,
        system.memory_info().rss / 1e6,
    )


def _subscribe(port: int, symbols: int) -> list[socket.socket]:
    """Return connections that read every stream of the symbols once."""
    names = [f"{symbol.lower()}@{kind}" for symbol in made_symbols("", symbols) for kind in KINDS]
    found = []
    for begin in range(0, len(names), STREAMS_MAX):
        connection = _handshake(port)
        message = {"method": "SUBSCRIBE", "params": names[begin : begin + STREAMS_MAX], "id": 1}
        connection.sendall(_masked(json.dumps(message).encode()))
        found.append(connection)
    return found


def _handshake(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        "".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1)
    return connection


def _masked(payload: bytes) -> bytes:
    """Return a client's text frame, masked with zeros."""
    size = len(payload)
    length = bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    if size < 126:
        length = bytes((0x80 | size,))
    return b"\x81" + length + bytes(4) + payload


def _throw_away(ready: selectors.BaseSelector, seconds: float) -> None:
    end = time.monotonic() + seconds
    into = bytearray(READ_BYTES)
    while time.monotonic() < end:
        for key, _ in ready.select(0.1):
            reader: Any = key.fileobj
            if not reader.recv_into(into):
                raise SystemExit("the exchange closed a connection: the figure means nothing")


if __name__ == "__main__":
    sys.exit(main())
