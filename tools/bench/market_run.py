"""One run of the market bench: the flood server on one core, the market role on another.

The role writes into queues of a run made for it, and is asked to end when all sent messages are on
the disk. All measurements are made from outside the role.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from minibot.events.roles import Roles
from minibot.kernel.queue import make_queue, open_reader
from minibot.runtime.clock import write_clock
from minibot.runtime.cmdline import cmdline, cmdline_hash
from minibot.runtime.configuration.config import load_config
from minibot.runtime.manifest import Manifest, Process
from minibot.runtime.paths import Var
from minibot.watchdog.run_manifest import child_environ
from tools.bench.machine import PROJECT
from tools.bench.market_frames import names
from tools.bench.market_server import PIECE_BYTES
from tools.bench.market_truth import expected_differences

RUN_ID: Final = "20260101_000000"
MARKET: Final = "market_role"
TICKS: Final = "market_ticks"
SERVER_CORE: Final = 0
READY_S_MAX: Final = 60.0
DONE_S_MAX: Final = 300.0
LOOK_S: Final = 0.02
# A batch may take a while to be processed.
QUIET_LOOKS: Final = 100


@dataclass(slots=True)
class Outcome:
    """Outcome of one run.

    Attributes:
        sent: Messages sent, as the server reports them.
        wall_s: From the first byte sent to the last line durable.
        cpu_s: CPU time of the role's process meanwhile, all threads, user and system.
        lines: Lines of `market_ticks` that were written meanwhile.
        backlog: (monotonic ns, durable lines), sampled.
        counters: Counters of the role in its last health event.
        incidents: Number of incidents of each kind.
        rss_mb: Memory of the role at the end.
        trace: Rows of `market_role --trace`.
        lags: Rows of `market_role --lags`.
        own_differences: Contradictions within the sent messages, see `market_truth`.
    """

    sent: Mapping[str, Any]
    wall_s: float
    cpu_s: float
    lines: int
    backlog: list[tuple[int, int]] = field(default_factory=list)
    counters: Mapping[str, int] = field(default_factory=dict)
    incidents: Mapping[str, int] = field(default_factory=dict)
    rss_mb: float = 0.0
    trace: list[tuple[str, int, int, int]] = field(default_factory=list)
    lags: list[tuple[int, int]] = field(default_factory=list)
    own_differences: int = 0

    @property
    def per_s(self) -> float:
        """Messages a second, from the socket to the disk."""
        return float(self.sent["sent"] / self.wall_s)

    @property
    def cpu_us(self) -> float:
        """CPU time of one message in microseconds."""
        return float(1e6 * self.cpu_s / self.sent["sent"])


class ServerProcess:
    """Process of the flood server."""

    def __init__(self, core: int | None = SERVER_CORE) -> None:
        words = [sys.executable, "-m", "tools.bench.market_server"]
        words += [] if core is None else ["--core", str(core)]
        self._process = subprocess.Popen(
            words, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        facts = self._answer()
        self.port = int(facts["port"])
        self.recorded: Mapping[str, int] = facts["recorded"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError("the flood server is gone")
        found: dict[str, Any] = json.loads(line)
        return found

    def begin(self, **command: Any) -> None:
        """Start the sending."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Wait until it has sent all, and return its report."""
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def server(core: int | None = SERVER_CORE) -> Iterator[ServerProcess]:
    """Start the flood server, and end it."""
    running = ServerProcess(core)
    try:
        yield running
    finally:
        running.close()


class RoleProcess:
    """Process of the market role in a run made for it."""

    def __init__(
        self,
        folder: Path,
        port: int,
        symbols: int,
        core: int,
        *options: str,
        sets: Sequence[str] = (),
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.run_dir = folder / "runs" / RUN_ID
        self._var = Var(folder)
        self._origin_ms = time.time_ns() // 1_000_000
        _make_run(self.run_dir, self._var, port, names(symbols), self._origin_ms, sets)
        words = [sys.executable, "-m", "tools.bench.market_role", "--run", str(self.run_dir)]
        self._process = subprocess.Popen(
            [*words, "--core", str(core), *options],
            cwd=PROJECT,
            env={**os.environ, **child_environ(os.environ)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.beat: dict[str, Any] = {}
        self._said = ""
        for listen in (self._listen, self._hear):
            threading.Thread(target=listen, daemon=True).start()
        self._usage = psutil.Process(self._process.pid)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.beat = json.loads(line)

    def _hear(self) -> None:
        assert self._process.stderr is not None
        self._said = self._process.stderr.read()

    def wait_ready(self) -> None:
        """Wait for history and subscriptions, then start the clock."""
        deadline = time.monotonic() + READY_S_MAX
        while not self.beat.get("market_ready"):
            if time.monotonic() > deadline or self._process.poll() is not None:
                time.sleep(0.2)
                raise OSError(f"the role is not ready: {self._said[-800:] or self.beat}")
            time.sleep(LOOK_S)
        write_clock(self.run_dir, self._origin_ms, "1")
        self.reader = open_reader(self._var.queues, TICKS)

    def cpu_s(self) -> float:
        """CPU time so far, all threads."""
        used = self._usage.cpu_times()
        return float(used.user + used.system)

    def rss_mb(self) -> float:
        """Resident memory."""
        return float(self._usage.memory_info().rss / 1e6)

    def lines(self) -> int:
        """Durable lines of `market_ticks`."""
        if self._process.poll() is not None:
            raise OSError(f"the role has ended: {self._said[-800:]}")
        return int(self.reader.head().lines)

    def drain(self) -> int:
        """Ask it to end in order; return the exit code."""
        assert self._process.stdin is not None
        self._process.stdin.write("drain\n")
        self._process.stdin.flush()
        return self._process.wait(60)

    def close(self) -> None:
        """Kill the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def events(self, queue: str) -> list[dict[str, Any]]:
        """Return the events of the role's part of a queue."""
        reader = open_reader(self._var.queues, queue, part=MARKET)
        found: list[dict[str, Any]] = []
        while lines := reader.read(4096):
            found += [json.loads(line.json) for line in lines]
        reader.close()
        return found


def _make_run(
    run_dir: Path, var: Var, port: int, symbols: list[str], origin_ms: int, sets: Sequence[str]
) -> None:
    run_dir.mkdir(parents=True, mode=0o700)
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    for path in (var.queues, var.stop, var.logs):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, entry in roles.queues.items():
        parts = roles.writers(name) if entry.parts else ()
        make_queue(var.queues, name, entry.primary_reader, parts=parts)
    config = load_config(PROJECT / "config" / "nore-demo.v1.json", ["embedded.speed=1", *sets])
    command = ["python", "-m", "minibot.runtime.role", MARKET, "--run", str(run_dir)]
    Manifest(
        run_id=RUN_ID,
        profile=config.profile,
        config=config.raw,
        config_sha256=config.sha256,
        contracts_sha256="",
        code_sha256="",
        lock_sha256="",
        python="",
        platform="",
        versions={},
        seed=config.seed,
        clock_kind="simulated",
        clock_origin_ms=origin_ms,
        clock_speed="1",
        started_ms=0,
        symbols=tuple(symbols),
        processes={MARKET: Process(tuple(command), cmdline(command), cmdline_hash(command))},
        hosts=(f"127.0.0.1:{port}",),
        embedded={"port": port},
        simulated=True,
        pinned={},
        opening={},
    ).write(run_dir)


def run(
    folder: Path,
    symbols: int,
    core: int,
    command: Mapping[str, Any],
    *options: str,
    sets: Sequence[str] = (),
) -> Outcome:
    """Let the role take what the server sends, and measure it until the last line is durable."""
    with server() as sending:
        role = RoleProcess(folder, sending.port, symbols, core, *options, sets=sets)
        try:
            found = _measured(role, sending, command, folder)
        finally:
            role.close()
            shutil.rmtree(folder, ignore_errors=True)
    piece_bytes = 1 if command.get("single") else PIECE_BYTES
    found.own_differences = expected_differences(symbols, found.sent["sent"], piece_bytes)
    return found


def _measured(
    role: RoleProcess, sending: ServerProcess, command: Mapping[str, Any], folder: Path
) -> Outcome:
    role.wait_ready()
    time.sleep(1.0)  # The first second of the clock is not measured.
    lines, cpu_s = role.lines(), role.cpu_s()
    sent: dict[str, Any] = {}
    waiting = threading.Thread(target=lambda: sent.update(sending.end()), daemon=True)
    sending.begin(**command)
    waiting.start()
    backlog, durable_ns, cpu_end_s = _watch(role, waiting)
    rss_mb, last = role.rss_mb(), backlog[-1][1]
    code = role.drain()
    if code != 0:
        raise OSError(f"the role ended with {code}")
    healths = [event["payload"] for event in role.events("health")]
    kinds = Counter(event["payload"]["kind"] for event in role.events("incidents"))
    return Outcome(
        sent=sent,
        wall_s=(durable_ns - sent["begin_ns"]) / 1e9,
        cpu_s=cpu_end_s - cpu_s,
        lines=last - lines,
        backlog=backlog,
        counters=next(each["counters"] for each in reversed(healths) if "counters" in each),
        incidents=kinds,
        rss_mb=rss_mb,
        trace=_kept(folder / "trace.json"),
        lags=_kept(folder / "lags.json"),
    )


def _kept(path: Path) -> list[Any]:
    """Return the rows that the role was asked to record."""
    return list(json.loads(path.read_text())) if path.exists() else []


def _watch(
    role: RoleProcess, sending: threading.Thread
) -> tuple[list[tuple[int, int]], int, float]:
    """Watch the queue until it holds all sent messages; return looks, last growth and CPU time.

    Beats, books and bars never stop, so a second with less than a burst's share is the end.
    """
    backlog = [(time.monotonic_ns(), role.lines())]
    durable_ns, cpu_s = backlog[-1][0], role.cpu_s()
    deadline = time.monotonic() + DONE_S_MAX
    quiet = 0
    while quiet < QUIET_LOOKS:
        if time.monotonic() > deadline:
            raise OSError("what was sent was not taken in time")
        time.sleep(LOOK_S)
        now_ns, lines = time.monotonic_ns(), role.lines()
        grown = lines - backlog[-1][1]
        backlog.append((now_ns, lines))
        # More lines in one look than beats, books and bars of all symbols produce in it.
        if grown > 200 or sending.is_alive():
            durable_ns, cpu_s, quiet = now_ns, role.cpu_s(), 0
        else:
            quiet += 1
    return backlog, durable_ns, cpu_s


def cores() -> list[int]:
    """Return the processor cores that this process may use."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
