"""HTTP server of a page: one thread, only on 127.0.0.1, behind the guard of its token."""

from __future__ import annotations

import errno
import socket
from typing import Final

import uvicorn

from minibot.exchanges.loopback import LOOPBACK, bound
from minibot.kernel.threads import DaemonThread
from minibot.ops.one_time_code import Codes
from minibot.ops.web.access import token_of
from minibot.ops.web.app import app_of, guarded
from minibot.ops.web.bounded_http import CONNECTIONS_MAX, BoundedHttp
from minibot.ops.web.run_view import RunView

IDLE_S: Final = 5
"""How long a connection on which nothing comes is kept after an answer."""
CLOSE_S: Final = 3
"""How long the end of the server waits for answers under way."""
HEAD_BYTES_MAX: Final = 16_384


class PortTaken(Exception):
    """Another program listens on the port of the page."""


class HttpServer:
    """Server of one run's page: it has its port at once, and answers from `start` to `close`.

    Args:
        run: The run.
        codes: One-time codes for the cookie.
        port: Port of the page; 0 takes a free one.

    Attributes:
        port: The port that was taken.

    Raises:
        Refusal: The token is damaged.
        PortTaken: Another program listens there.
        RunStop: The token cannot be written.
    """

    def __init__(self, run: RunView, codes: Codes, port: int) -> None:
        self._run = run
        token = token_of(run.var.page_token)
        self._listening = listening_on(port)
        self.port: int = self._listening.getsockname()[1]
        app = guarded(app_of(run, codes), token, self.port, run)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=BoundedHttp,
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="off",
                timeout_keep_alive=IDLE_S,
                timeout_graceful_shutdown=CLOSE_S,
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            )
        )
        self._thread = DaemonThread(lambda: self._server.run([self._listening]), "page")

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{LOOPBACK}:{self.port}/"

    @property
    def connections(self) -> int:
        """Number of connections that are open."""
        return len(self._server.server_state.connections)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """End streams and server within some seconds, and leave the port."""
        self._run.live.is_closed = True
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(CLOSE_S + 1)
        self._listening.close()


def listening_on(port: int) -> socket.socket:
    """Return a socket that listens on a port of 127.0.0.1; 0 takes a free one.

    Raises:
        PortTaken: Another program listens there, or it is an administrator's.
    """
    try:
        found = bound(port)
        found.listen(CONNECTIONS_MAX)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortTaken(f"port {port} of {LOOPBACK} is taken") from error
        raise
    return found
