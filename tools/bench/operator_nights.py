"""Nights of the operator's bench: one that runs beside the measurement, one that is sealed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import psutil

from minibot.events.names import SIGNALS, TICKS
from minibot.events.unit_sizes import HOUR_MS
from minibot.kernel.canonical import JsonObject
from minibot.kernel.errors import MinibotError
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.queue import open_reader
from minibot.kernel.seal import QUEUES
from minibot.ops.live_status import LiveStatus
from minibot.runtime.manifest import MANIFEST_FILE, RUN_ID_FORM, run_id_of
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import run_folders
from tools.bench.frame import Json
from tools.bench.machine import PROJECT

PROFILE: Final = "config/nore-smoke.v1.json"
NIGHT_MS: Final = 25_200_000
DEADLINE_S: Final = 180.0
LOOK_S: Final = 0.05
TICKS_MIN: Final = 200
PATIENT: Final[Json] = {"watchdog.pause_max_ms": "600000"}
"""Keys of a night that may stand still for minutes without an end."""
OPS: Final = "minibot.ops.process"

Found = TypeVar("Found")


class NightError(OSError):
    """A night of the bench did not begin, or did not end in order."""


def words_of(var: Path, sets: Json) -> list[str]:
    """Return the command of a night on a made-up market, with keys of its profile changed."""
    argv = [sys.executable, "-m", "minibot.nore_run_v1", "--config", PROFILE, "--var", str(var)]
    argv += ["--quiet", "--no-proof"]
    for key, value in sets.items():
        argv += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return argv


def environ() -> dict[str, str]:
    """Return the environment of a person's shell: without variables that steer a run."""
    return {name: text for name, text in os.environ.items() if not name.startswith("MINIBOT_")}


def sealed_run(var: Path, sets: Json) -> Path:
    """Play a night to its end; return the folder of the sealed run.

    Raises:
        NightError: It did not end in order.
    """
    var.mkdir(parents=True, mode=0o700)
    done = finished(words_of(var, sets))
    if done.returncode != 0:
        raise NightError(f"a night ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return run_folders(var / "runs")[-1]


def finished(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Return a command of a person's shell in the project's folder, once it has ended."""
    return subprocess.run(
        argv,
        cwd=PROJECT,
        env=environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def copies(run_dir: Path, runs: Path, count: int) -> None:
    """Fill a folder with copies of a sealed run, each with an id of its own, a day apart.

    The queues are links to those of the run: no verb that is measured reads them. Manifest and
    facts name the new id; the seal is the copied run's.

    Args:
        run_dir: The run.
        runs: Folder `runs` of another `var` on the same disk.
        count: How many.
    """
    first = datetime.strptime(run_dir.name, RUN_ID_FORM).replace(tzinfo=UTC)
    for number in range(count):
        began = first - timedelta(days=count - number)
        folder = runs / run_id_of(int(began.timestamp()))
        shutil.copytree(run_dir, folder, copy_function=_copied)
        manifest = dict(read_hashed(folder / MANIFEST_FILE))
        manifest |= {"run_id": folder.name, "started_ms": int(began.timestamp() * 1000)}
        (folder / MANIFEST_FILE).unlink()
        write_hashed(folder / MANIFEST_FILE, manifest)


def _copied(source: str, target: str) -> None:
    if QUEUES in Path(source).parts:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


class Night:
    """Night that runs beside the measurement, for a `with`; it is ended in order.

    Args:
        var: Its folder, which is made where it is missing.
        sets: Keys of the profile that are changed.
    """

    def __init__(self, var: Path, sets: Json) -> None:
        var.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.var = Var(var)
        self._speed = float(str(sets.get("embedded.speed", 1)))
        self._status = LiveStatus(self.var.status)
        self.process = subprocess.Popen(
            words_of(var, {"duration_ms": str(NIGHT_MS), **sets}),
            cwd=PROJECT,
            env=environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Night:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def await_trading(self) -> None:
        """Wait until the chain works.

        Raises:
            NightError: It does not.
        """
        self.until(
            lambda: self.lines(TICKS) > TICKS_MIN and self.lines(SIGNALS) > 0, "the chain works"
        )

    @property
    def hours(self) -> float:
        """Age of the night in hours of market time; 0 before its first status."""
        status = self.status()
        return (status["now_ms"] - status["origin_ms"]) / HOUR_MS if status else 0.0

    def await_age(self, hours: float) -> None:
        """Wait until the night is so old, for twice the time that its speed takes.

        Raises:
            NightError: It did not come so far.
        """
        patience_s = DEADLINE_S + 2 * hours * HOUR_MS / 1000 / self._speed
        self.until(lambda: self.hours >= hours, f"{hours} h of market time", patience_s)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let launcher, roles and `ops` stand still; the profile has to be `PATIENT`."""
        family = [psutil.Process(self.process.pid), *self.family()]
        try:
            for process in family:
                process.suspend()
            yield
        finally:
            for process in family:
                if process.is_running():
                    process.resume()

    def until(
        self, condition: Callable[[], Found | None], what: str, patience_s: float = DEADLINE_S
    ) -> Found:
        """Return the condition's first true value while the night runs.

        Raises:
            NightError: It did not come true in time, or the night ended.
        """
        deadline = time.monotonic() + patience_s
        while not (found := condition()):
            if self.process.poll() is not None:
                said = self.process.communicate()[0]
                raise NightError(f"the night ended before {what}: {said.strip()[-300:]}")
            if time.monotonic() > deadline:
                raise NightError(f"not within {patience_s:.0f} s: {what}")
            time.sleep(LOOK_S)
        return found

    def lines(self, queue: str) -> int:
        """Return the published lines of a queue; 0 before there is one."""
        try:
            return open_reader(self.var.queues, queue).head().lines
        except (MinibotError, OSError):
            return 0

    def status(self) -> JsonObject:
        """Return the newest status; empty before the first."""
        self._status.look()
        return self._status.latest or {}

    def process_of(self, name: str) -> psutil.Process | None:
        """Return the process of a role, or of `ops`; None where there is none."""
        for child in self.family():
            try:
                if name in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    def family(self) -> Sequence[psutil.Process]:
        """Return the processes that the launcher has started."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return ()

    @property
    def ticks(self) -> int:
        """Lines of the market's queue."""
        return self.lines(TICKS)

    @property
    def run_dir(self) -> Path:
        """Folder of the newest run."""
        return run_folders(self.var.runs)[-1]

    def finish(self) -> None:
        """Wait for the night's planned end.

        Raises:
            NightError: It ended otherwise.
        """
        said = self.process.communicate()[0]
        if self.process.returncode != 0:
            code = self.process.returncode
            raise NightError(f"a night ended with {code}: {said.strip()[-300:]}")

    def end(self) -> None:
        """End the night as Ctrl-C does, and kill it where that does not help."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            for process in (psutil.Process(self.process.pid), *self.family()):
                process.kill()
            self.process.communicate()
