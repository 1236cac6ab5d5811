"""Server of the page: one thread of `ops`, on 127.0.0.1 alone."""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Final
from urllib.parse import urlsplit

import uvicorn

from minibot.events.model import JsonObject
from minibot.exchanges.loopback import LOOPBACK, bound
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed, read_whole, write_atomic
from minibot.ops.one_time_code import Codes
from minibot.ops.web.access import token_of
from minibot.ops.web.app import Live, app_of, guarded
from minibot.ops.web.connections import CONNECTIONS_MAX, BoundedHttp
from minibot.ops.web.run_history import RunHistory
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import METRICS_FILE

IDLE_S: Final = 5
CLOSE_S: Final = 3


class PortTaken(Exception):
    """Another program listens on the port of the page."""


class PageServer:
    """Service that serves the page of one run; its thread begins with it.

    Args:
        manifest: Of the run.
        var: Its folder.
        port: Port of the page; 0 takes a free one.

    Raises:
        PortTaken: Another program listens there.
        RunStop: Token or address cannot be written.
    """

    def __init__(self, manifest: Manifest, var: Var, port: int) -> None:
        self._var = var
        self._live = Live()
        self._history = RunHistory(var.run(manifest.run_id))
        self._socket = _listening(port or _port_before(var, manifest.run_id))
        self.port: int = self._socket.getsockname()[1]
        token = token_of(var.page_token)
        app = app_of(manifest, var, self._live, self._history, Codes(var.page_code), self._metrics)
        self._server = uvicorn.Server(
            uvicorn.Config(
                guarded(app, token, self.port, manifest.run_id),
                http=BoundedHttp,
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="off",
                timeout_keep_alive=IDLE_S,
                timeout_graceful_shutdown=CLOSE_S,
                h11_max_incomplete_event_size=16_384,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="page", daemon=True
        )
        self._thread.start()
        address = {"run_id": manifest.run_id, "url": f"http://{LOOPBACK}:{self.port}/"}
        write_atomic(var.page_address, encode(address) + b"\n", is_durable=False)
        os.chmod(var.page_address, 0o600)

    @property
    def connections(self) -> int:
        """Number of connections that are open."""
        return len(self._server.server_state.connections)

    def take(self, status: JsonObject) -> None:
        """Take a new status."""
        self._history.take(status)
        self._live.take(status)
        if status["ended"] is not None:
            # The end of the run moves its queues.
            self._history.close()

    def close(self) -> None:
        """End the server and take its address away."""
        self._live.is_closed = True
        self._server.should_exit = True
        self._thread.join(CLOSE_S + 1)
        self._var.page_address.unlink(missing_ok=True)

    def _metrics(self) -> JsonObject:
        try:
            return read_hashed(self._var.metrics / METRICS_FILE)
        except (OSError, RunStop):
            return {}


def address_of(var: Var) -> JsonObject:
    """Return run and address of the page that serves a `var`; empty without one."""
    try:
        return decode(read_whole(var.page_address).rstrip(b"\n"))
    except (OSError, RunStop, ValueError):
        return {}


def _port_before(var: Var, run_id: str) -> int:
    """Return the port that this run's page had before `ops` died, if it is free; else 0."""
    before = address_of(var)
    port = urlsplit(str(before.get("url", ""))).port if before.get("run_id") == run_id else None
    try:
        _listening(port or 0).close()
    except PortTaken:
        return 0
    return port or 0


def _listening(port: int) -> socket.socket:
    try:
        found = bound(port)
        found.listen(CONNECTIONS_MAX)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortTaken(f"port {port} of {LOOPBACK} is taken") from error
        raise
    return found
