"""O8: a night stands still until the guard's alarm, and a STOP until its alert is delivered."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Self

from minibot.exchanges.loopback import LOOPBACK
from minibot.ops.alerts.outbox import OUTBOX
from minibot.ops.night_guard import HEARD, QUIET_MS
from minibot.runtime.extras import ALERTS, ALERTS_REMEDY, missing_packages
from tools.bench.frame import Json, Limit, Measure, median
from tools.bench.machine import PROJECT
from tools.bench.operator_nights import (
    DEADLINE_S,
    LOOK_S,
    OPS,
    PATIENT,
    PROFILE,
    Night,
    NightError,
    environ,
)

NIGHT: Final[Json] = {"embedded.source": "generator:7", "embedded.speed": "5"}
STOPPED: Final = "STOPPED"
HEARS: Final = "guard: hears"
END_S: Final = 30.0


class Hook:
    """Webhook on a free loopback port that notes when which alert came, for a `with`.

    Its address stands in a secrets file of its own, which may not lie inside the project.
    """

    def __init__(self) -> None:
        got: list[tuple[float, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                got.append((time.time(), str(json.loads(body)["title"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._got = got
        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._folder = tempfile.TemporaryDirectory(prefix="minibot-hook-")
        self._secrets = Path(self._folder.name) / "secrets.env"
        self._secrets.touch(mode=0o600)
        port = self._server.server_address[1]
        self._secrets.write_text(f"HOOK=json://{LOOPBACK}:{port}/hook\n")

    @property
    def keys(self) -> Json:
        """Keys of a profile by which alerts go to it."""
        section = {"required": True, "level_min": "warning", "per_minute_max": 20}
        alerts = {**section, "targets": {"hook": "HOOK"}}
        return {"alerts": alerts, "secrets.path": str(self._secrets)}

    def came(self, words: str) -> float | None:
        """Return when the first alert with these words in its title came, Unix s; None before."""
        return next((at for at, title in self._got if words in title), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()


def alerts(repeats: int, folder: Path) -> list[Measure]:
    """Return both delays on nights of their own, each on the clock of the wall.

    Args:
        repeats: Nights for each.
        folder: Where they go, until the end.
    """
    stood, stop = (
        ("O8", f"last progress to the guard's alarm, quiet {QUIET_MS / 1000:.0f} s"),
        ("O8", "STOP to the delivery of its alert"),
    )
    limits = Limit(90, 30, is_most=True), Limit(10, 2, is_most=True)
    if missing := missing_packages(ALERTS):
        note = [f"not measured: {missing} is not installed; {ALERTS_REMEDY}"]
        return [
            Measure(*stood, None, "s", limits[0], notes=note),
            Measure(*stop, None, "s", limits[1], notes=note),
        ]
    alarms = _taken(guard_s, repeats, folder)
    told = _taken(stop_s, repeats, folder)
    frozen = "launcher and roles frozen; progress is the last status written before"
    flagged = "from the write of STOP.flag to its alert at a webhook on loopback"
    return [
        Measure(*stood, median(alarms), "s", limits[0], {"s": alarms}, notes=[frozen]),
        Measure(*stop, median(told), "s", limits[1], {"s": told}, notes=[flagged]),
    ]


def _taken(case: Callable[[Path], float], repeats: int, folder: Path) -> list[float]:
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=folder, prefix="alerts-") as made:
            found.append(case(Path(made)))
    return found


def stop_s(folder: Path) -> float:
    """Return the seconds from a STOP.flag to its alert."""
    with Hook() as hook, Night(folder / "var", NIGHT | hook.keys) as night:
        night.await_trading()
        # `ops` loads for seconds beside the roles; a night in its seventh hour has it loaded.
        night.until(lambda: night.process_of(OPS), "ops runs")
        night.until((night.var.ops / OUTBOX).exists, "the outbox stands")
        began = time.time()
        night.var.flag.write_text("bench")
        return _awaited(lambda: hook.came(STOPPED), "the alert of the STOP") - began


def guard_s(folder: Path) -> float:
    """Return the seconds from a frozen night's last status to the guard's alarm."""
    with Hook() as hook:
        sets = NIGHT | PATIENT
        with Night(folder / "var", sets) as night:
            night.await_trading()
            with _guard(folder, night, hook):
                with night.standing():
                    last_s = float(night.status()["written_ms"]) / 1000
                    came_s = _awaited(lambda: hook.came(HEARD), "the guard's alarm")
                return came_s - last_s


@contextmanager
def _guard(folder: Path, night: Night, hook: Hook) -> Iterator[None]:
    """Run `minibot guard` beside a night, once it hears of it; end it in order."""
    argv = [sys.executable, "-m", "minibot", "guard", "--config", PROFILE]
    for name, value in hook.keys.items():
        argv += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    argv += ["--set", f"guard={json.dumps({'quiet_ms': QUIET_MS})}", "--var", str(night.var.root)]
    log = folder / "guard.log"
    with log.open("w") as out:
        process = subprocess.Popen(argv, cwd=PROJECT, env=environ(), stdout=out, stderr=out)
    try:
        night.until(lambda: HEARS in log.read_text() or process.poll() is not None, HEARS)
        if process.poll() is not None:
            raise NightError(f"the guard ended: {log.read_text()[-300:]}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _awaited(come: Callable[[], float | None], what: str) -> float:
    deadline = time.monotonic() + DEADLINE_S
    while (found := come()) is None:
        if time.monotonic() > deadline:
            raise NightError(f"not within {DEADLINE_S:.0f} s: {what}")
        time.sleep(LOOK_S)
    return found
