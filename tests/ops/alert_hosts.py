"""Hosts of alerts for tests: an HTTP server on loopback that answers, fails, redirects or hangs."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass
class Got:
    """Request that a host got.

    Attributes:
        path: Its path.
        headers: Its headers.
        body: Its body.
        status: The answer; 0 before it, and for none.
    """

    path: str
    headers: dict[str, str]
    body: str
    status: int = 0

    @property
    def json(self) -> Any:
        """Its body as JSON."""
        return json.loads(self.body)


@dataclass
class WebHost:
    """HTTP server on a free loopback port; `answer` says what it does with each request.

    Attributes:
        got: Every request with a body, in order.
        status: What it answers; 0 hangs until the host is closed.
        location: Where a redirect leads to.
        answer: What it sends back as JSON, by the request.
        port: Its port; 0 takes a free one.
    """

    status: int = 200
    location: str = ""
    answer: Callable[[Got], Any] = lambda got: {}
    got: list[Got] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        """Start the server."""
        host, self.closed = self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size).decode()
                got = Got(self.path, dict(self.headers), body)
                host.got.append(got)
                if host.status == 0:
                    host.closed.wait()
                    return
                data = json.dumps(host.answer(got)).encode()
                got.status = host.status  # What `answer` made of it.
                self.send_response(got.status)
                if host.location:
                    self.send_header("Location", host.location)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._handler = Handler
        self.open()

    def open(self) -> None:
        """Listen, at the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Refuse every connection."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, scheme: str = "json", path: str = "/hook/sesame-opens") -> str:
        """Return the address of this host for Apprise."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def titles(self) -> list[str]:
        """Return the titles of the alerts that it took."""
        return [got.json["title"] for got in self.got if got.status == 200]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.close()


@contextmanager
def broken_host(answer: Iterable[bytes]) -> Iterator[str]:
    """Listen on loopback within a `with`: one request gets these bytes, then the connection ends.

    Yields:
        The address of the host for Apprise.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            # The client may go before it has read all, or never come.
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    for piece in answer:
                        connection.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"json://127.0.0.1:{listening.getsockname()[1]}/hook"
        thread.join()
