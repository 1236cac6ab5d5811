"""Connections of the page: few at a time, each with a deadline, so that none can hold memory.

A client that sends its request slowly, or takes its answer slowly, loses its connection. A stream
of live figures stays open as long as its reader keeps up.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from minibot.ops.web.access import HEADERS

CONNECTIONS_MAX: Final = 100
"""Connections at a time; a further one is closed before a byte of it is read."""
REQUEST_S: Final = 10.0
"""Longest wall-clock time from a connection or an answer to the next whole request.

Bytes of a request do not extend it. A connection on which nothing comes after an answer ends
sooner, after `http_server.IDLE_S`.
"""
STALL_S: Final = 10.0
"""Longest wall-clock time for which a client may leave written bytes unread."""


class BoundedHttp(H11Protocol):
    """HTTP of one connection, which it closes when its client is too slow."""

    _request_by: asyncio.TimerHandle | None = None
    _read_by: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or close it where there are too many."""
        if len(self.connections) >= CONNECTIONS_MAX:
            self.transport = transport  # Closed once more by `connection_lost`.
            transport.abort()
            return
        super().connection_made(transport)
        self._request_by = self.loop.call_later(REQUEST_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines of a connection that is gone."""
        self._forget(self._request_by, self._read_by)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle what came; a whole request ends the wait for it."""
        super().handle_events()
        cycle = self.cycle
        if cycle is not None and not cycle.more_body and not cycle.response_complete:
            self._forget(self._request_by)

    def on_response_complete(self) -> None:
        """Wait for the next request, for a bounded time."""
        super().on_response_complete()
        # A request that came with the one before it is answered already now.
        if self.cycle.response_complete and not self.transport.is_closing():
            self._forget(self._request_by)
            self._request_by = self.loop.call_later(REQUEST_S, self.transport.abort)

    def pause_writing(self) -> None:
        """Give a client that leaves written bytes unread a bounded time."""
        super().pause_writing()
        self._forget(self._read_by)
        self._read_by = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read what was written."""
        self._forget(self._read_by)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request, with the headers of every answer."""
        lines = [b"HTTP/1.1 400 Bad Request", b"content-type: text/plain; charset=utf-8"]
        lines += [name + b": " + value for name, value in HEADERS]
        lines += [b"connection: close", b"", msg.encode("ascii")]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    @staticmethod
    def _forget(*deadlines: asyncio.TimerHandle | None) -> None:
        for each in deadlines:
            if each is not None:
                each.cancel()
