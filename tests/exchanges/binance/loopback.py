"""Loopback servers that answer with exactly the bytes of a test."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from minibot.exchanges import deadline

Talk = Callable[[socket.socket, bytes], None]
Wrap = Callable[[socket.socket], socket.socket]

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Loopback:
    """Server on a free port; `talk` handles each connection in its own thread.

    `talk` gets the socket and the request up to the empty line; the socket is closed after it.
    `wrap` puts TLS around a connection before anything is read from it.
    """

    def __init__(self, talk: Talk, wrap: Wrap | None = None) -> None:
        self._talk = talk
        self._wrap = wrap
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._wrap is not None:
                sock = self._wrap(sock)
            while (request := _read_head(sock)) is not None:
                self.requests.append(request)
                self._talk(sock, request)
                if b"pgrade: websocket" in request:
                    break
        except OSError:
            pass  # The client went away, as many tests want.
        finally:
            sock.close()


several_dead = pytest.mark.parametrize(
    ("count", "family"), [(1, socket.AF_INET), (6, socket.AF_INET6)], ids=["one", "all-of-IPv6"]
)


@contextmanager
def first_address_dead(
    monkeypatch: pytest.MonkeyPatch,
    port: int,
    count: int = 1,
    family: socket.AddressFamily = socket.AF_INET,
) -> Iterator[None]:
    """Let each name have addresses that drop what comes, and behind them this port."""
    with ExitStack() as stack:
        dead = stack.enter_context(socket.socket(family))
        try:
            dead.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        except OSError as error:
            pytest.skip(f"this machine has no such address: {error}")
        dead.listen(0)
        for _ in range(3):  # More than its queue takes: further ones get no answer at all.
            waiting = stack.enter_context(socket.socket(family))
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(dead.getsockname())
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        found = [(family, *kind, dead.getsockname())] * count
        found.append((socket.AF_INET, *kind, ("127.0.0.1", port)))

        def resolve(*args: Any, **options: Any) -> Any:
            return found

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        yield


def addresses_tried(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with each address to which a connection is tried."""
    tried: list[Any] = []
    connected_to = deadline._connected_to

    def counted(kind: tuple[int, int, int], address: Any, timeout_s: float | None) -> socket.socket:
        tried.append(address)
        return connected_to(kind, address, timeout_s)

    monkeypatch.setattr(deadline, "_connected_to", counted)
    return tried


def _read_head(sock: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(4096)
        if not piece:
            return None
        data += piece
    return data


def answer(
    body: bytes,
    status: str = "200 OK",
    headers: dict[str, str] | None = None,
    content_type: str = "application/json;charset=UTF-8",
) -> bytes:
    """Return an HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def accept(sock: socket.socket, request: bytes) -> None:
    """Answer a WebSocket handshake."""
    key = next(
        line.partition(b": ")[2]
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    digest = base64.b64encode(hashlib.sha1(key + GUID).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
    )


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, first_bits: int = 0) -> bytes:
    """Return an unmasked WebSocket frame, as a server sends it."""
    first = (0x80 if fin else 0) | first_bits | opcode
    if len(payload) < 126:
        head = struct.pack("!BB", first, len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, 127, len(payload))
    return head + payload


def read_client_frame(sock: socket.socket) -> tuple[int, bytes]:
    """Return opcode and payload of one short masked frame of a client."""
    head = _exactly(sock, 2)
    length = head[1] & 0x7F
    mask = _exactly(sock, 4)
    payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(_exactly(sock, length)))
    return head[0] & 0x0F, payload


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise OSError("the client is gone")
        data += piece
    return data
