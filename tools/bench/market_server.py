"""Exchange of the market bench: one process, as fast as a client reads or at a given rate.

    python -m tools.bench.market_server --core 0

The first line says the port. Commands come as lines of JSON on standard input, one at a time:
`{"seconds": 60}` floods, with `"rate"` at so many messages a second, with `"single"` each in a
write of its own, with `"phases": [[rate, seconds], ...]` one rate after the other. The answer is a
line of JSON when it is done. REST knows what a client asks for before it listens.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from tools.bench.market_frames import KINDS, MARK, Pieces, Recorded, frame, read_recording

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PIECE_BYTES: Final = 8 * 1024
# Interval at which a paced server sends; shorter than a client can distinguish.
TURN_S: Final = 0.0005
STREAM: Final = re.compile(r"([a-z0-9]+)@(\w+)")
LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.I)
KEY: Final = re.compile(rb"sec-websocket-key: *(\S+)", re.I)


class Client:
    """One connection of a client, from its first byte on."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self._sock = sock
        self._server = server
        self._buffer = b""
        self._sending = threading.Lock()
        self.is_stream = False
        self.is_wrapped = True
        self.symbols: dict[str, None] = {}
        self.kinds: set[str] = set()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Answer until the client is gone."""
        try:
            while data := self._sock.recv(65536):
                self._buffer += data
                while self._take():
                    pass
        except OSError:
            pass  # Every connection here ends by the client's going.
        self._server.gone(self)
        self._sock.close()

    def send(self, data: bytes) -> None:
        """Send whole frames; blocks while the client does not read."""
        with self._sending:
            self._sock.sendall(data)

    def _take(self) -> bool:
        return self._take_frame() if self.is_stream else self._take_request()

    def _take_request(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        found = LENGTH.search(head)
        size = int(found[1]) if found else 0
        if not end or len(rest) < size:
            return False
        self._buffer = rest[size:]
        path = head.split(b" ")[1].decode()
        key = KEY.search(head)
        if key is None:
            body = self._server.answer(path)
            kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            self.send(kind + str(len(body)).encode() + b"\r\n\r\n" + body)
            return True
        accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
        upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        self.is_stream, self.is_wrapped = True, "/stream" in path
        self._add(path.replace("%40", "@"))
        self.send(upgrade + b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self._server.came(self)
        return True

    def _add(self, text: str) -> None:
        for symbol, kind in STREAM.findall(text):
            self.symbols[symbol.upper()] = None
            self.kinds.add(kind)

    def _take_frame(self) -> bool:
        data = self._buffer
        if len(data) < 2:
            return False
        size, at = data[1] & 127, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        key = data[at : at + 4] if data[1] & 128 else bytes(4)
        at += 4 if data[1] & 128 else 0
        if len(data) < at + size:
            return False
        self._buffer = data[at + size :]
        self._on_frame(data[0] & 15, bytes(b ^ key[n & 3] for n, b in enumerate(data[at:][:size])))
        return True

    def _on_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            self.send(frame(payload, 10))
        elif opcode == 8:
            self.send(frame(payload[:2], 8))
        elif opcode == 1:
            asked = json.loads(payload)
            if asked.get("method") == "SUBSCRIBE":
                self._add(" ".join(asked["params"]))
            self.send(frame(json.dumps({"result": None, "id": asked.get("id")}).encode()))


class Server:
    """All connections of the server, and the frames for their readers."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self._clients: list[Client] = []
        self._pieces: dict[tuple[frozenset[str], bool, int], Pieces] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        # Frames are built before anybody waits for them.
        self.pieces_of(frozenset(KINDS), True, PIECE_BYTES)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._socket.accept()
            threading.Thread(target=Client(sock, self).run, daemon=True).start()

    def came(self, client: Client) -> None:
        """Register a client that reads."""
        self._clients.append(client)

    def gone(self, client: Client) -> None:
        """Remove a client that has gone."""
        if client in self._clients:
            self._clients.remove(client)

    def pieces_of(self, kinds: frozenset[str], is_wrapped: bool, piece_bytes: int) -> Pieces:
        """Return the frames of some kinds, built once."""
        key = kinds, is_wrapped, piece_bytes
        if key not in self._pieces:
            self._pieces[key] = Pieces(
                self._recorded, kinds, is_wrapped=is_wrapped, piece_bytes=piece_bytes
            )
        return self._pieces[key]

    # --- REST ---------------------------------------------------------------------------------

    def answer(self, path: str) -> bytes:
        """Return the body of a REST answer."""
        name, _, query = path.replace("%22", '"').replace("%2C", ",").partition("?")
        if name.endswith("/depth"):
            return self._recorded.snapshot
        if name.endswith("/exchangeInfo"):
            return _exchange_info(re.findall(r"[A-Z]{3}USDT", query) or ["BTCUSDT"])
        if name.endswith("/time"):
            return b'{"serverTime":%d}' % (time.time_ns() // 1_000_000)
        return b"{}" if name.endswith("/ping") else b"[]"

    # --- streams ------------------------------------------------------------------------------

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out a command; return the number of sent messages and the times (monotonic ns)."""
        wanted = int(command.get("clients", 1))
        kinds = int(command.get("kinds", 1))
        while len(self._clients) < wanted or any(len(c.kinds) < kinds for c in self._clients):
            time.sleep(0.01)
        is_single = bool(command.get("single"))
        streams = [self._walk(each, 1 if is_single else PIECE_BYTES) for each in self._clients]
        clients = list(self._clients)
        report: dict[str, Any] = {"sent": 0, "trades": 0, "bytes": 0, "behind_ms": 0.0}
        report |= {"phases_end_ns": [], "phase_sent": []}
        report["begin_ns"] = time.monotonic_ns()
        phases = command.get("phases") or [[command.get("rate", 0), command.get("seconds", 1e9)]]
        for rate, seconds in phases:
            before = report["sent"]
            report["ended"] = self._phase(clients, streams, rate, seconds, report)
            report["phases_end_ns"].append(time.monotonic_ns())
            report["phase_sent"].append(report["sent"] - before)
        report["end_ns"] = time.monotonic_ns()
        return report

    def _walk(self, client: Client, piece_bytes: int) -> Iterator[tuple[bytes, int, int]]:
        pieces = self.pieces_of(frozenset(client.kinds), client.is_wrapped, piece_bytes)
        return pieces.walk(list(client.symbols))

    def _phase(
        self,
        clients: list[Client],
        streams: list[Iterator[tuple[bytes, int, int]]],
        rate: float,
        seconds: float,
        report: dict[str, Any],
    ) -> bool:
        """Send for some seconds, at full speed or at a rate; return True when frames run out."""
        begin, sent = time.perf_counter(), 0
        while True:
            for client, stream in zip(clients, streams, strict=True):
                passed = time.perf_counter() - begin
                if passed >= seconds:
                    # Checked before a piece is drawn, because a drawn piece that is not sent would
                    # be lost.
                    return False
                piece = next(stream, None)
                if piece is None:
                    return True
                if rate and sent / rate > passed:
                    _until(begin + sent / rate)
                elif rate:
                    report["behind_ms"] = max(report["behind_ms"], 1000 * (passed - sent / rate))
                data, messages, trades = piece
                now = b"%d" % (time.time_ns() // 1_000_000)
                try:
                    client.send(data.replace(MARK, now))
                except OSError:
                    return True  # The client has read all that it wanted.
                sent += messages
                report["sent"] += messages
                report["trades"] += trades
                report["bytes"] += len(data)


def _until(moment: float) -> None:
    """Return at a moment of `perf_counter` by spinning, as sleeping is not that exact."""
    left = moment - time.perf_counter()
    if left > 4 * TURN_S:
        time.sleep(left - 2 * TURN_S)
    while time.perf_counter() < moment:
        time.sleep(0)


def _exchange_info(symbols: list[str]) -> bytes:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000"},
    ]
    filters[0]["tickSize"] = "0.01000000"
    filters[1]["stepSize"] = "0.00001000"
    entries = [
        {
            "symbol": symbol,
            "status": "TRADING",
            "baseAsset": symbol[:3],
            "baseAssetPrecision": 8,
            "quoteAsset": "USDT",
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "icebergAllowed": True,
            "ocoAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "permissions": ["SPOT"],
            "permissionSets": [["SPOT"]],
            "filters": filters,
        }
        for symbol in symbols
    ]
    limits = {"rateLimits": [], "exchangeFilters": [], "symbols": entries}
    return json.dumps({"timezone": "UTC", "serverTime": time.time_ns() // 10**6, **limits}).encode()


def main() -> int:
    """Serve until standard input is closed."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.market_server")
    parser.add_argument("--core", type=int)
    arguments = parser.parse_args()
    if arguments.core is not None and sys.platform == "linux":
        os.sched_setaffinity(0, {arguments.core})
    recorded = read_recording()
    server = Server(recorded)
    counts = {kind: recorded.count(kind) for kind in KINDS}
    print(json.dumps({"port": server.port, "recorded": counts}), flush=True)
    for line in sys.stdin:
        print(json.dumps(server.run(json.loads(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
