"""Page of the running run: a service of `ops` that shows each status and notes its address."""

from __future__ import annotations

import os
import sys
from urllib.parse import urlsplit

from minibot.events.model import JsonObject
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed, read_whole, write_atomic
from minibot.ops.one_time_code import Codes
from minibot.ops.web.http_server import HttpServer, PortTaken, listening_on
from minibot.ops.web.run_history import RunHistory
from minibot.ops.web.run_view import Live, RunView
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import METRICS_FILE


class PageServer:
    """Service that serves the page of the running run.

    Args:
        manifest: Manifest of the run.
        var: Folders of the run.
        port: Port of the page; 0 takes a free one, and after a death of `ops` the one it had.

    Attributes:
        port: The port that was taken.

    Raises:
        Refusal: The token is damaged.
        PortTaken: Another program listens there.
        RunStop or OSError: Token or address cannot be read or written; nothing listens.
    """

    def __init__(self, manifest: Manifest, var: Var, port: int) -> None:
        self._var = var
        run_dir = var.run(manifest.run_id)
        history = RunHistory(run_dir)
        self._run = RunView(run_dir, manifest, var, Live(), history, self._metrics)
        port = port or _port_before(var, manifest.run_id)
        self._server = HttpServer(self._run, Codes(var.page_code, var.page_opened), port)
        self.port = self._server.port
        address = {"run_id": manifest.run_id, "url": self._server.url}
        try:
            write_atomic(var.page_address, encode(address) + b"\n", is_durable=False)
            os.chmod(var.page_address, 0o600)
        except BaseException:
            self._server.close()
            raise
        self._server.start()

    @property
    def connections(self) -> int:
        """Number of connections that are open."""
        return self._server.connections

    def take(self, status: JsonObject) -> None:
        """Take a new status."""
        self._run.history.take(status)
        self._run.live.take(status)
        if status["ended"] is not None:
            # Nothing is written any more but the seal.
            try:
                self._run.history.close()
            except RunStop as error:
                print(f"page: the record of the run's end: {error}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the server and remove its address; before that, a guard may hear of the run's end.

        The address of another run's page stays: after the death of a launcher, the next run may
        have begun.
        """
        self._run.live.await_end_sent()
        self._server.close()
        if _address_in(self._var).get("run_id") == self._run.run_id:
            self._var.page_address.unlink(missing_ok=True)

    def _metrics(self) -> JsonObject:
        """Return the run's `metrics.json`; empty before its first, also beside a former run's."""
        try:
            found = read_hashed(self._var.metrics / METRICS_FILE)
        except (OSError, RunStop):
            return {}
        return found if found.get("run_id") == self._run.run_id else {}


def _address_in(var: Var) -> JsonObject:
    """Return the address of a `var`'s page, as its server wrote it; empty without one."""
    try:
        return decode(read_whole(var.page_address).rstrip(b"\n"))
    except (OSError, RunStop, ValueError):
        return {}


def _port_before(var: Var, run_id: str) -> int:
    """Return the port that this run's page had before `ops` died, if it is free; else 0."""
    before = _address_in(var)
    if before.get("run_id") != run_id:
        return 0
    try:
        port = urlsplit(str(before["url"])).port or 0
        listening_on(port).close()
    except (OSError, ValueError, KeyError, PortTaken):
        return 0
    return port
