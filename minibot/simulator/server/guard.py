"""Guard between a client's bytes and the HTTP server: limits on time and on frames.

A client that sends half a request would hold a connection forever, and a frame without a mask is a
protocol error that hides a broken client (RFC 6455, section 5.1). Both end the connection, and each
disconnected client is reported in one line.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from minibot.simulator.server.wire import close_frame

REQUEST_S_MAX: Final = 10.0
PROTOCOL_ERROR: Final = 1002
# A web page may resolve its own host name to loopback; its requests then carry that name.
OWN_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

SHOWN_BYTES: Final = 60

_HEAD_END: Final = b"\r\n\r\n"
_MASKED: Final = 0x80
_LENGTH_BYTES: Final = {126: 2, 127: 8}
_MASK_BYTES: Final = 4

Note = Callable[[str], None]


def is_own_host(host: str | None) -> bool:
    """Return whether a request names this exchange by a loopback name, or names no host.

    Only one of HTTP/1.0 may name none: the HTTP server answers any other without a host with 400.
    """
    if host is None:
        return True
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    is_with_port = bool(name) and port.isascii() and port.isdigit()
    return (name if is_with_port else host).lower() in OWN_NAMES


def print_line(text: str) -> None:
    """Write one line with the time of day to standard error."""
    print(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}", file=sys.stderr, flush=True)


def error_logger(note: Note) -> logging.Logger:
    """Return a logger for the HTTP server: its own errors with their traceback.

    Errors of a client are left out here, as the client's guard reports them.
    """
    logger = logging.Logger("minibot.exchange", logging.WARNING)
    logger.addHandler(_OwnErrors(note))
    return logger


class _OwnErrors(logging.Handler):
    def __init__(self, note: Note) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            self._note(self.format(record))


class GuardedProtocol(asyncio.Protocol):
    """Guard of one connection: passes everything on to the HTTP server and checks the input.

    Args:
        inner: The HTTP server's protocol of this connection.
        note: Takes one line about a client that is disconnected.
        request_s_max: Machine seconds from the first byte of a request to its last header.
    """

    def __init__(self, inner: asyncio.Protocol, note: Note, request_s_max: float) -> None:
        self._inner = inner
        self._note = note
        self._request_s_max = request_s_max
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._head = bytearray()
        self._is_busy = False
        self._is_noted = False
        self._frames: FrameCheck | None = None

    # --- calls of the HTTP server -----------------------------------------------------------

    def request_begins(self) -> None:
        """Note that all headers have come and the request is being answered."""
        self._is_busy = True
        self._disarm()
        self._head = self._head.partition(_HEAD_END)[2]

    def request_ends(self) -> None:
        """Note that the answer was sent: the next byte begins another request."""
        self._is_busy = False
        self._head.clear()

    def becomes_stream(self) -> None:
        """Note that the client sends WebSocket frames from here on."""
        self._frames = FrameCheck()
        early, self._head = bytes(self._head), bytearray()
        self._check_frames(early)

    # --- asyncio.Protocol -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass the call on."""
        self._transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the call on; report a client that has gone before it sent a whole request."""
        self._disarm()
        if self._head and not self._is_noted and not self._is_busy:
            self.note(f"no whole HTTP request: {bytes(self._head[:SHOWN_BYTES])!r}")
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass allowed data on; end the connection at a frame without a mask."""
        if self._frames is not None:
            if not self._check_frames(data):
                return
        else:
            self._head += data
            if not self._is_busy:
                self._arm()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass the call on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass the call on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass the call on."""
        self._inner.resume_writing()

    # --- limits -----------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._request_s_max, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self.cut_off(f"half a request after {self._request_s_max:g} s ({len(self._head)} bytes)")

    def _check_frames(self, data: bytes) -> bool:
        if self._frames is None or self._frames.feed(data):
            return True
        if self._transport is not None:
            self._transport.write(close_frame(PROTOCOL_ERROR, "frames have to be masked"))
        self._end("a WebSocket frame without a mask")
        return False

    def cut_off(self, why: str) -> None:
        """End the connection at once, and report it in one line."""
        if self._transport is not None and not self._transport.is_closing():
            self._end(why)
            self._transport.abort()

    def _end(self, why: str) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self.note(f"{why}: disconnected")
        self._transport.close()

    def note(self, what: str) -> None:
        """Report this client's error in one line."""
        self._is_noted = True
        transport = self._transport
        peer = (transport.get_extra_info("peername") if transport is not None else None) or "?"
        where = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else peer
        self._note(f"bad client {where}: {what}")


class FrameCheck:
    """Check that every frame of a client is masked, without keeping the frames."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip = 0

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return False at the first frame without a mask."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            self._header.append(data[at])
            at += 1
            if len(self._header) < 2:
                continue
            if not self._header[1] & _MASKED:
                return False
            short = self._header[1] & ~_MASKED
            size = _LENGTH_BYTES.get(short, 0)
            if len(self._header) == 2 + size:
                length = int.from_bytes(self._header[2:]) if size else short
                self._skip = length + _MASK_BYTES
                self._header.clear()
        return True


def guard_of(request: web.Request) -> GuardedProtocol | None:
    """Return the guard of a request's connection; None once that is gone."""
    transport = request.transport
    protocol = transport.get_protocol() if isinstance(transport, asyncio.Transport) else None
    return protocol if isinstance(protocol, GuardedProtocol) else None
