"""Market role as a process of a run: queue, channels, kill and restart."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from minibot.events.roles import Roles
from minibot.kernel.queue import make_queue, open_reader
from minibot.market.resume_point import read_resume_point
from minibot.runtime.clock import write_clock
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import Var
from tests.manifests import made_manifest
from tests.market.exchange_process import ExchangeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.process

RUN_ID = "20260101_000000"
SPEED = "20"
MARKET = "market_role"


class RoleProcess:
    """One process of the market role with its two channels."""

    def __init__(self, run_dir: Path) -> None:
        self._process = subprocess.Popen(
            argv(run_dir),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.beats: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        self.beats.extend(json.loads(line) for line in self._process.stdout)

    @property
    def is_ready(self) -> bool:
        return any(beat["market_ready"] for beat in list(self.beats))

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and standard error."""
        assert self._process.stderr is not None
        text = self._process.stderr.read()
        return self._process.wait(20), text


def argv(run_dir: Path) -> list[str]:
    return [sys.executable, "-m", "minibot.runtime.role", MARKET, "--run", str(run_dir)]


@pytest.fixture
def run_dir(var_dir: Path) -> Path:
    """Folder of a run with its queues; the manifest follows with the exchange."""
    folder = var_dir / "runs" / RUN_ID
    folder.mkdir(parents=True, mode=0o700)
    roles = Roles.load(Path(__file__).parents[2] / "config" / "roles.v1.json")
    var = Var(var_dir)
    for path in (var.queues, var.stop, var.logs):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, entry in roles.queues.items():
        parts = roles.writers(name) if entry.parts else ()
        make_queue(var.queues, name, entry.primary_reader, parts=parts)
    return folder


def write_manifest(run_dir: Path, running: ExchangeProcess, *sets: str) -> None:
    """Write the manifest as the launcher would for this exchange."""
    config = load_config("config/nore-demo.v1.json", [f"embedded.speed={SPEED}", *sets])
    manifest = made_manifest(
        RUN_ID,
        config.raw,
        {MARKET: argv(run_dir)},
        running.origin_ms,
        seed=config.seed,
        clock_speed=SPEED,
        symbols=running.symbols,
        hosts=(f"127.0.0.1:{running.port}",),
        embedded=running.facts,
    )
    manifest.write(run_dir)


@contextmanager
def exchange(run_dir: Path, source: str = "generator:1") -> Iterator[ExchangeProcess]:
    with ExchangeProcess(run_dir, source, SPEED) as running:
        write_manifest(run_dir, running)
        yield running


def events(run_dir: Path, queue: str = "market_ticks", part: str | None = None) -> list[Any]:
    """Return the envelopes of a queue, every line verified."""
    reader = open_reader(run_dir.parents[1] / "queues", queue, part=part)
    found = []
    while lines := reader.read(4096):
        found += [json.loads(line.json) for line in lines]
    reader.close()
    return found


def count(run_dir: Path) -> int:
    reader = open_reader(run_dir.parents[1] / "queues", "market_ticks")
    lines: int = reader.head().lines
    reader.close()
    return lines


@pytest.mark.row("N-30", "N-52")
def test_role_fills_its_queue_and_drains(run_dir: Path) -> None:
    """Every line of the queue is the role's own, valid and in time; drain exits 0."""
    with exchange(run_dir) as running:
        role = RoleProcess(run_dir)
        wait_until(lambda: role.is_ready, "ready")
        write_clock(run_dir, running.origin_ms, SPEED)
        wait_until(lambda: count(run_dir) > 500, "five hundred lines")
        role.tell("drain")
        code, text = role.end()

    assert (code, text) == (0, "")
    lines = events(run_dir)
    assert {line["source"] for line in lines} == {MARKET}
    assert {"instrument", "bar", "market_tick", "book", "beat"} <= {line["type"] for line in lines}
    assert all(before["ts"] <= after["ts"] for before, after in pairwise(lines))
    assert len({line["id"] for line in lines}) == len(lines)
    health = [line["payload"] for line in events(run_dir, "health", MARKET)]
    assert any(item.get("latency_us") for item in health)
    assert health[-1]["state"] == "STOPPED"


def test_role_that_was_killed_goes_on_with_a_marked_gap(run_dir: Path) -> None:
    """A role restarted after kill -9 repeats and misses no bar, and reports the gap."""
    with exchange(run_dir) as running:
        role = RoleProcess(run_dir)
        wait_until(lambda: role.is_ready, "ready")
        write_clock(run_dir, running.origin_ms, SPEED)
        wait_until(lambda: count(run_dir) > 600, "lines before")
        role.kill()
        before = count(run_dir)
        follower = RoleProcess(run_dir)
        wait_until(lambda: follower.is_ready, "ready again")
        wait_until(lambda: count(run_dir) > before + 800, "lines after")
        follower.tell("drain")
        code, _ = follower.end()

    assert code == 0
    lines = events(run_dir)
    assert all(first["ts"] <= second["ts"] for first, second in pairwise(lines))
    assert len({line["id"] for line in lines}) == len(lines)
    for interval, step in (("1s", 1_000), ("1m", 60_000)):
        opens = [
            line["payload"]["open_ts"]
            for line in lines
            if line["type"] == "bar" and line["payload"]["interval"] == interval
        ]
        assert {second - first for first, second in pairwise(opens)} == {step}
    gaps = [line["payload"]["stream"] for line in lines if line["type"] == "gap"]
    assert set(gaps) == {"trade", "bookTicker", "depth"}
    assert gaps[0] == "depth"  # At once: quotes go on before the book does.
    kinds = [line["payload"]["kind"] for line in events(run_dir, "incidents", MARKET)]
    assert "restarted" in kinds
    numbers = [line["payload"]["n"] for line in lines if line["type"] == "beat"]
    assert numbers == sorted(set(numbers))


@pytest.mark.row("F103")
def test_role_that_cannot_go_on_leaves_a_stop(run_dir: Path) -> None:
    """A STOP's reason stands in stop_journal, flag and exit code."""
    with exchange(run_dir) as running:
        role = RoleProcess(run_dir)
        wait_until(lambda: role.is_ready, "ready")
        write_clock(run_dir, running.origin_ms, SPEED)
        wait_until(lambda: count(run_dir) > 300, "lines")
        running.fault("garbage", kind="text", n=400)
        code, text = role.end()

    assert code == 10
    assert "FEED_INVALID" in text
    (stop,) = events(run_dir, "stop_journal", MARKET)
    assert stop["payload"]["reason_code"] == "FEED_INVALID"
    assert (run_dir.parents[1] / "STOP.flag").exists()


def test_tail_of_an_empty_queue_is_a_first_start(run_dir: Path) -> None:
    """An empty queue means a first start, without gap or restart."""
    tail = read_resume_point(run_dir.parents[1] / "queues" / "market_ticks")

    assert (tail.last_ts, tail.trade_ids, tail.bar_ends) == (0, {}, {})
