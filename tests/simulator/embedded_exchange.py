"""Embedded exchange as its users see it: a process, its REST calls, its streams; and tapes."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import requests
import websocket

from tests.waiting import DEADLINE_S, wait_until

ORIGIN_MS = 1_700_000_000_000

Message = dict[str, Any]


class Exchange:
    """A running `python -m minibot.simulator`."""

    def __init__(self, source: str, *arguments: str, speed: str = "10") -> None:
        command = [sys.executable, "-m", "minibot.simulator", "--source", source]
        self.process = subprocess.Popen(
            [*command, "--speed", speed, "--port", "0", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready: Message = json.loads(line) if line else {}
        self.session = requests.Session()
        self._sockets: list[websocket.WebSocket] = []

    def __enter__(self) -> Exchange:
        assert self.ready.get("ready"), self.process.communicate()
        return self

    def hang_up(self) -> None:
        """Drop every stream connection without a close frame."""
        for socket in self._sockets:
            socket.shutdown()  # type: ignore[no-untyped-call]
        self._sockets = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hang_up()
        self.session.close()
        if self.process.poll() is not None:
            return
        try:
            _, stderr = self.process.communicate(timeout=DEADLINE_S)
        finally:
            self.process.kill()
        if kind is None:
            assert stderr == "", stderr
            assert self.process.returncode == 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.ready['port']}"

    def get(self, path: str, **query: object) -> requests.Response:
        return self.session.get(f"{self.base}/api/v3/{path}", params=query, timeout=DEADLINE_S)  # type: ignore[arg-type]

    def json(self, path: str, **query: object) -> Any:
        response = self.get(path, **query)
        assert response.status_code == 200, response.text
        return response.json()

    def status(self) -> Message:
        body: Message = self.session.get(f"{self.base}/minibot/status", timeout=DEADLINE_S).json()
        return body

    def fault(self, name: str, **fields: object) -> None:
        response = self.session.post(
            f"{self.base}/minibot/fault", json={"name": name, **fields}, timeout=DEADLINE_S
        )
        assert response.status_code == 200, response.text

    def connect(self, path: str) -> websocket.WebSocket:
        socket = websocket.create_connection(
            f"ws://127.0.0.1:{self.ready['port']}{path}", timeout=DEADLINE_S
        )
        self._sockets.append(socket)
        return socket

    def stream(self, *names: str) -> websocket.WebSocket:
        return self.connect("/stream?streams=" + "/".join(names))


def cleared(running: Exchange) -> Iterator[Exchange]:
    """Lend a running exchange, without faults and connections."""
    running.fault("clear")
    yield running
    running.hang_up()
    wait_until(lambda: running.status()["clients"] == 0, "nobody is connected")


def texts(socket: websocket.WebSocket) -> Iterator[bytes]:
    """Yield text messages as they come; fail when none comes, whatever pings do."""
    last_s = time.monotonic()
    while True:
        # `recv` alone would answer pings for ever.
        opcode, frame = socket.recv_data_frame(True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise websocket.WebSocketConnectionClosedException("closed by the exchange")
        if opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            last_s = time.monotonic()
            yield frame.data
        elif time.monotonic() - last_s > DEADLINE_S:
            raise AssertionError("no message came, only pings")


def messages(socket: websocket.WebSocket) -> Iterator[Message]:
    """Yield JSON messages as they come."""
    return map(orjson.loads, texts(socket))


def take(socket: websocket.WebSocket, count: int) -> list[Message]:
    """Return the next messages."""
    source = messages(socket)
    return [next(source) for _ in range(count)]


def ask(socket: websocket.WebSocket, **message: object) -> Message:
    """Send one control message and return its reply."""
    socket.send(json.dumps(message))
    for reply in messages(socket):
        if "stream" not in reply and "e" not in reply:
            return reply
    raise AssertionError("no reply")


def closing_code(socket: websocket.WebSocket) -> int:
    """Read to the close frame and return its code."""
    while True:
        opcode, frame = socket.recv_data_frame(True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(frame.data[:2], "big")


# --- tapes ------------------------------------------------------------------------------------


def trade(at_ms: int, number: int, price: str = "100.00", **changes: object) -> tuple[int, Message]:
    """Return a trade a number of ms after the origin."""
    time_ms = ORIGIN_MS + at_ms
    data = {"e": "trade", "E": time_ms, "s": "BTCUSDT", "t": number, "p": price, "q": "0.01000"}
    data |= {"T": time_ms, "m": False, "M": True, **changes}
    return at_ms, {"stream": f"{str(data['s']).lower()}@trade", "data": data}


def quote(at_ms: int, number: int, bid: str = "99.99", ask: str = "100.01") -> tuple[int, Message]:
    """Return a bookTicker a number of ms after the origin."""
    data = {"u": number, "s": "BTCUSDT", "b": bid, "B": "1.00000", "a": ask, "A": "2.00000"}
    return at_ms, {"stream": "btcusdt@bookTicker", "data": data}


def diff(
    at_ms: int, first: int, last: int, bids: object = (), asks: object = (), symbol: str = "BTCUSDT"
) -> tuple[int, Message]:
    """Return a depth diff a number of ms after the origin."""
    data = {"e": "depthUpdate", "E": ORIGIN_MS + at_ms, "s": symbol, "U": first, "u": last}
    stream = f"{symbol.lower()}@depth@100ms"
    return at_ms, {"stream": stream, "data": data | {"b": bids, "a": asks}}


def snapshot(at_ms: int, number: int) -> tuple[int, Message]:
    """Return an unwrapped depth body a number of ms after the origin."""
    bids = [["99.99000000", "1.00000000"], ["99.00000000", "3.00000000"]]
    asks = [["100.01000000", "2.00000000"], ["101.00000000", "4.00000000"]]
    return at_ms, {"lastUpdateId": number, "bids": bids, "asks": asks}


def write_tape(path: Path, lines: Iterable[tuple[int, Message]]) -> Path:
    """Write a gzip tape of (ms after the origin, message)."""
    with gzip.open(path, "wt") as file:
        file.writelines(tape_lines(lines))
    return path


def write_plain_tape(path: Path, lines: Iterable[tuple[int, Message]]) -> Path:
    """Write an unpacked tape of (ms after the origin, message)."""
    with path.open("w") as file:
        file.writelines(tape_lines(lines))
    return path


def tape_lines(lines: Iterable[tuple[int, Message]]) -> Iterator[str]:
    """Yield the lines of a tape."""
    for at_ms, message in lines:
        text = json.dumps(message, separators=(",", ":"))
        yield f"{(ORIGIN_MS + at_ms) * 1_000_000} {text}\n"


def market(seconds: int, per_second: int = 10) -> list[tuple[int, Message]]:
    """Return a small market: a snapshot, then rounds of a diff, a quote and a trade."""
    lines = [diff(0, 101, 101), snapshot(1, 101)]
    for turn in range(seconds * per_second):
        at_ms = 2 + turn * 1000 // per_second
        price = f"{100 + turn % 7 / 100:.2f}"
        level = [[f"{98 - turn % 5}.00000000", f"{turn % 3}.00000000"]]
        lines.append(diff(at_ms, 102 + turn, 102 + turn, level))
        lines.append(quote(at_ms, 102 + turn))
        lines.append(trade(at_ms, 1 + turn, price))
    return lines
