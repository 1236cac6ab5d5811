"""A page served over a loopback port for tests: its `var`, its token, and raw requests to it."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibot.kernel import canonical
from minibot.kernel.files import ensure_folder
from minibot.ops.one_time_code import Codes
from minibot.ops.web.page_server import PageServer
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.running import RunLock, note_current
from minibot.runtime.stop import OPERATOR, arm
from tests.runs import ShortRun

# A page answers at once; one that does not fails the test.
ANSWER_S = 60


@dataclass(frozen=True)
class Answer:
    """Answer of the page."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON of the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """Page of a run on a port of its own; `running` is its server where a test feeds it."""

    port: int
    var: Var
    run_id: str
    running: PageServer | None = None

    @property
    def server(self) -> PageServer:
        """The server of a running run's page."""
        assert self.running is not None
        return self.running

    def status(self) -> dict[str, Any]:
        """Return a status of the run as while it was running, the caller's own."""
        return _running(self.var)

    @property
    def token(self) -> str:
        """The token of this `var`."""
        return self.var.page_token.read_text("ascii").strip()

    @property
    def host(self) -> str:
        """Name and port of the page."""
        return f"127.0.0.1:{self.port}"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> Answer:
        """Return the answer to a request with these headers, `x_minibot` for `x-minibot`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=named)
            said = connection.getresponse()
            fields = {name.lower(): value for name, value in said.getheaders()}
            return Answer(said.status, fields, said.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """Return the operator's own view of a path."""
        return self.ask(path, authorization=f"Bearer {self.token}")

    def post(self, path: str, body: object = None) -> Answer:
        """Return the answer to an operator's order."""
        data = json.dumps(body).encode()
        kind = {"content_type": "application/json", "authorization": f"Bearer {self.token}"}
        return self.ask(path, "POST", data, **kind)

    def log_in(self) -> str:
        """Return the cookie that a one-time code is exchanged for."""
        code = Codes(self.var.page_code).make()
        answer = self.ask("/login", "POST", f"code={code}".encode())
        assert answer.status == 303
        return answer.headers["set-cookie"].partition(";")[0]

    def connect(self) -> socket.socket:
        """Return a bare connection to the page."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_S)

    def asked(self) -> list[dict[str, Any]]:
        """Return every request that was left for the run, oldest first, and remove them.

        The flag that a kill raises goes too: a stopped run takes no further request.
        """
        found = []
        for path in sorted(self.var.requests.glob("*.json"), key=lambda each: each.stat().st_mtime):
            found.append(json.loads(path.read_bytes()))
            path.unlink()
        self.var.flag.unlink(missing_ok=True)
        return found


def status_of(run: ShortRun, **changes: Any) -> dict[str, Any]:
    """Return the run's last status as while it was running, with some keys changed."""
    return _running(Var(run.var)) | changes


def _running(var: Var) -> dict[str, Any]:
    found: dict[str, Any] = canonical.decode(var.status.read_bytes().rstrip(b"\n"))
    return found | {"ended": None, "phase": "running"}


@contextmanager
def served(run: ShortRun, folder: Path, **changes: Any) -> Iterator[Served]:
    """Serve a copy of a short run as if it were running, within a `with`."""
    var = Var(Path(shutil.copytree(run.var, folder / "var")))
    ensure_folder(var.requests)
    manifest = Manifest.load(var.run(run.run_id))
    with RunLock(var):
        note_current(var, run.run_id)
        arm(var.stop, run.run_id, OPERATOR)
        server = PageServer(manifest, var, 0)
        try:
            server.take(status_of(run, **changes))
            yield Served(server.port, var, run.run_id, server)
        finally:
            server.close()
