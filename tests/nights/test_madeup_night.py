"""Night on a made-up venue: real launcher and roles, and a server unlike Binance."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.queue import open_reader
from tests.exchanges.madeup.installed import PROFILE, MadeUpServer, install
from tests.product import in_product, started_by_a_user
from tests.runs import LINE_PREFIX
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
CHANGES: dict[str, dict[str, Any]] = {
    "madeup": {
        "symbols": SYMBOLS,
        "tick_stale_market_ms": 2_000,
        "instrument_interval_market_ms": 60_000,
        "ping_interval_market_ms": 2_000,
        "error_rate_max_percent": 90,
    },
    "queues": {"events_per_s_min": 0},
    "ai": {"enabled": False, "required": False},
}


class MadeUpNight:
    """Launcher of a copy with the venue in it, and the content of its queues so far."""

    def __init__(self, product: Path, var: Path) -> None:
        self.product, self.var = product, var
        words = ["-m", "minibot.nore_run_v1", "--config", PROFILE, "--var", str(var), "--quiet"]
        self.process = subprocess.Popen(
            [sys.executable, *words, "--no-proof", "--set", "duration_ms=600000"],
            cwd=product,
            env=started_by_a_user(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> MadeUpNight:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.end()

    def payloads(self, queue: str, kind: str) -> list[dict[str, Any]]:
        """Return the payloads of one type in a queue that is being written."""
        folder = self.var / "queues" / queue
        parts = [*folder.glob("parts/*.jsonl")] or sorted(folder.glob("inbox*.jsonl"))
        mark = f'"type":"{kind}"'.encode()
        lines = [line for part in parts for line in part.read_bytes().splitlines(keepends=True)]
        found = [line for line in lines if mark in line and line.endswith(b"\n")]
        return [json.loads(line[LINE_PREFIX:])["payload"] for line in found]

    def incidents(self) -> list[str]:
        """Return the kinds of all incidents so far."""
        return [payload["kind"] for payload in self.payloads("incidents", "incident")]

    def count(self, kind: str) -> int:
        """Return the number of incidents of a kind so far."""
        return self.incidents().count(kind)

    def books(self) -> dict[str, int]:
        """Return the number of books of each symbol so far."""
        found = [book["symbol"] for book in self.payloads("market_ticks", "book")]
        return {symbol: found.count(symbol) for symbol in SYMBOLS}

    def statuses(self) -> list[str]:
        """Return the statuses of the first market so far."""
        instruments = self.payloads("market_ticks", "instrument")
        return [rules["status"] for rules in instruments if rules["symbol"] == "BTCUSDT"]

    def await_fact(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for a fact, or fail with the launcher's output."""
        wait_until(lambda: self.process.poll() is not None or is_so(), what)
        if self.process.poll() is not None:
            text, _ = self.process.communicate(timeout=DEADLINE_S)
            raise AssertionError(f"ended before {what}: {text}")

    def await_ticks(self, more: int) -> None:
        """Wait until the queue of ticks has grown by the given number of lines."""

        def lines() -> int:
            if not (self.var / "queues" / "market_ticks" / "inbox.head").exists():
                return 0
            return open_reader(self.var / "queues", "market_ticks").head().lines

        before = lines()
        self.await_fact(lambda: lines() >= before + more, f"{more} more ticks")

    def end(self) -> tuple[int, str]:
        """Send Ctrl-C; return exit code and output."""
        self.process.send_signal(signal.SIGINT)
        text, _ = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, text


def play(night: MadeUpNight, server: MadeUpServer) -> None:
    """Lead a night through a gap, an outage and a halt."""
    # The first book of a symbol is no resync, so a gap before it would not show.
    night.await_fact(lambda: min(night.books().values()) > 5, "books")
    resyncs = night.count("book_resync")
    server.tell("gap")
    night.await_fact(lambda: night.count("book_resync") >= resyncs + 2, "two new books")
    losses, connections = night.count("connection_lost"), night.count("connected")
    server.tell("down")
    night.await_fact(lambda: night.count("connection_lost") > losses, "an outage")
    server.tell("up")
    night.await_fact(lambda: night.count("connected") > connections, "a new connection")
    night.await_ticks(50)
    server.tell("pause")
    night.await_fact(lambda: night.statuses()[-1] == "PAUSED", "the halt")
    server.tell("open")
    night.await_fact(lambda: night.statuses()[-1] == "TRADING", "the end of the halt")
    night.await_ticks(100)


def test_night_on_a_made_up_venue_ends_in_order_and_proves_itself(tmp_path: Path) -> None:
    """A night through a gap (shown by a checksum), an outage and a halt verifies and replays."""
    product, var = tmp_path / "product", tmp_path / "var"
    product.mkdir()
    with MadeUpServer() as server:
        install(product, server.port, CHANGES)
        with MadeUpNight(product, var) as night:
            play(night, server)
            incidents, code = night.incidents(), night.end()

    assert code[0] == 0, code[1]
    assert {"book_lost", "symbol_halted", "symbol_trading"} <= set(incidents)
    (run,) = (path.parent for path in (var / "runs").glob("*/seal.json"))
    manifest = json.loads((run / "manifest.json").read_bytes())
    assert manifest["config"]["venue"] == "madeup"
    assert manifest["symbols"] == SYMBOLS
    # The run's code list names the venue's own code.
    listed = json.loads((product / "staging" / "deployed.json").read_bytes())["files"]
    assert "minibot/exchanges/madeup/venue.py" in listed
    for verb in ("verify", "replay", "parity"):
        done = in_product(product, "-m", "minibot", verb, str(run))
        assert done.code == 0, done.out + done.err
    words = ["--source", f"run:{run}", "--var", str(tmp_path / "backtest")]
    done = in_product(product, "-m", "minibot", "backtest", "--config", PROFILE, *words)
    assert done.code == 0, done.out + done.err
