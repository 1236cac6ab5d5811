"""Stage for the real `ai_role` process: a run's folders, queues fed by the test, its answers.

Manifest, queues, clock, codec and the role's process are a run's own; the test plays only market,
strategy and launcher.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

from msgspec.structs import replace

from minibot.events.codec import Codec
from minibot.events.model import (
    Bar,
    Beat,
    Book,
    Event,
    MarketTick,
    Payload,
    RunOpening,
    Signal,
)
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.journal import JournalReader
from minibot.kernel.queue import make_queue, open_reader, open_writer
from minibot.runtime.clock import write_clock
from minibot.runtime.configuration.config import load_config
from minibot.runtime.context import Output
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import PROJECT, Var
from minibot.watchdog.run_manifest import child_environ
from minibot.watchdog.spawn import spawn_role
from tests.kernel.kernel_support import drain
from tests.manifests import made_manifest
from tests.waiting import DEADLINE_S, wait_until

RUN_ID = "20251120_000000"
START_TS = 1_763_596_800_000
SYMBOL = "BTCUSDT"
LEVEL_HERE = {"linux": "jail", "win32": "advisory"}.get(sys.platform, "off")


class Stage:
    """One run's `var`, with its queues open for the test to write."""

    def __init__(self, root: Path, ai: Mapping[str, Any] | None = None, chaos: Any = None) -> None:
        self.var = Var(root)
        self.run_dir = self.var.run(RUN_ID)
        self.run_dir.mkdir(parents=True, mode=0o700)
        for folder in (self.var.stop, self.var.requests, self.var.logs):
            folder.mkdir(mode=0o700)
        config = load_config(PROJECT / "config" / "nore-demo.v1.json", [], {}).raw
        config = {**config, "ai": {**config["ai"], **(ai or {})}, "chaos": chaos}
        self.roles = Roles.load(PROJECT / "config" / "roles.v1.json")
        self.manifest = self._manifest(config)
        self.manifest.write(self.run_dir)
        write_clock(self.run_dir, START_TS, "1")
        for name, entry in self.roles.queues.items():
            parts = self.roles.writers(name) if entry.parts else ()
            make_queue(self.var.queues, name, entry.primary_reader, parts=parts)
        contracts = Contracts.of_project()
        self.codec = Codec(contracts, self.roles, RUN_ID, self.manifest.cmdline_hashes())
        self._outputs = {
            name: self._output(name, role)
            for name, role in (
                ("control", "watchdog_role"),
                ("market_ticks", "market_role"),
                ("signals", "strategy_role"),
                ("fills", "execution_role"),
            )
        }
        self.process: Popen[bytes] | None = None
        self.write("control", RunOpening({"USDT": "10000"}, (), {}), START_TS)

    def _manifest(self, config: dict[str, Any]) -> Manifest:
        commands = {role: self.argv(role) for role in self.roles.roles}
        return made_manifest(RUN_ID, config, commands, START_TS)

    def argv(self, role: str) -> list[str]:
        """Return the command line of a role of this run."""
        return [sys.executable, "-m", "minibot.runtime.role", role, "--run", str(self.run_dir)]

    def _output(self, queue: str, role: str) -> Output:
        writer = open_writer(self.var.queues, queue)
        hash_ = self.manifest.processes[role].cmdline_hash
        return Output(queue, role, RUN_ID, hash_, self.codec, writer)

    # --- writing ------------------------------------------------------------------------------

    def write(self, queue: str, payload: Payload, ts: int, **lineage: Any) -> Event:
        """Append one event to a queue and return it."""
        return self.write_all(queue, [(payload, ts)], **lineage)[0]

    def write_all(
        self, queue: str, payloads: list[tuple[Payload, int]], **lineage: Any
    ) -> list[Event]:
        """Append events to a queue and return them."""
        output = self._outputs[queue]
        events = [replace(event, **lineage) for event in output.roots(payloads)]
        output.append(events)
        return events

    def write_broken(self, queue: str, payload: Payload, ts: int) -> None:
        """Append an event without its payload, as a broken writer would."""
        output = self._outputs[queue]
        (event,) = output.roots([(payload, ts)])
        output.writer.append_json([canonical.encode({**event.to_json(), "payload": {}})])

    @property
    def tick_seq(self) -> int:
        """The last line of market_ticks."""
        return self._outputs["market_ticks"].writer.position.seq

    def feed(self, seconds: Iterator[list[tuple[Payload, int]]]) -> None:
        """Append a market, second by second."""
        for batch in seconds:
            self.write_all("market_ticks", batch)

    # --- the role -----------------------------------------------------------------------------

    def start(self, before: str = "") -> Popen[bytes]:
        """Start `ai_role` as the launcher does; `before` is Python code to run in it first."""
        with (self.var.logs / "ai_role.err.log").open("ab") as errors:
            self.process = spawn_role(
                self.argv("ai_role") if not before else self._patched(before),
                child_environ(os.environ),
                errors.fileno(),
            )
        return self.process

    def _patched(self, before: str) -> list[str]:
        code = f"{before}; import sys; from minibot.runtime.role import main; sys.exit(main())"
        return [sys.executable, "-c", code, "ai_role", "--run", str(self.run_dir)]

    def start_ready(self) -> None:
        """Start the role and return once its worker has proven its sandbox."""
        said = self.ready_count()
        self.start()
        wait_until(lambda: self.ready_count() > said, f"ready: {self.detail()}")

    def ready_count(self) -> int:
        """Return how often the role's health has named the isolation of a ready worker."""
        return sum(str(item.detail).startswith("isolation") for item in self.health())

    def drain(self) -> int:
        """Tell the role to drain and return its exit code."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(b"drain\n")
        self.process.stdin.flush()
        code = self.process.wait(DEADLINE_S)
        self._close_pipes()
        return code

    def end(self) -> None:
        """Kill what still runs and close the queues."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)
        self._close_pipes()
        for output in self._outputs.values():
            output.writer.close()

    def _close_pipes(self) -> None:
        if self.process is not None:
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None and not stream.closed:
                    stream.close()

    # --- reading ------------------------------------------------------------------------------

    def events(self, queue: str, part: str | None = None) -> list[Event]:
        """Return all events of a queue, verified."""
        reader = open_reader(self.var.queues, queue, part=part)
        try:
            return [self.codec.decode(queue, line.json) for line in drain(reader)]
        finally:
            reader.close()

    def health(self) -> list[Any]:
        """Return the health payloads of the role, oldest first."""
        return [event.payload for event in self.events("health", part="ai_role")]

    def detail(self) -> str:
        """Return the role's newest detail in its health."""
        listed = self.health()
        return "" if not listed else f"{listed[-1].state}: {listed[-1].detail}"

    def dead_letters(self, queue: str = "market_ticks") -> list[Any]:
        """Return the dead letters of the clerk beside one of its inputs."""
        folder = self.var.queues / queue / "readers" / "ai_role"
        if not (folder / "deadletter.head").exists():
            return []
        reader = JournalReader(folder, "deadletter")
        try:
            lines = drain(reader)
            return [self.codec.decode(f"{queue}/deadletter", line.json).payload for line in lines]
        finally:
            reader.close()

    def stops(self) -> list[Any]:
        """Return the role's records in its part of stop_journal."""
        return [event.payload for event in self.events("stop_journal", part="ai_role")]


def market(
    first: int, last: int, *, prices: Callable[[int], float], is_history: bool = False
) -> Iterator[list[tuple[Payload, int]]]:
    """Yield, for each second, a quote, a book, closed bars and a beat."""
    for second in range(first, last):
        ts = START_TS + second * 1000
        price = prices(second)
        batch: list[tuple[Payload, int]] = []
        if not is_history:
            batch += [(quote(price), ts), (book(price, second), ts)]
        batch.append((bar("1s", price, ts, is_history), ts))
        if second % 60 == 0:
            batch.append((bar("1m", price, ts, is_history), ts))
        if not is_history:
            batch.append((Beat(second + 1, {SYMBOL: 0}), ts))
        yield batch


def history(prices: Callable[[int], float]) -> Iterator[list[tuple[Payload, int]]]:
    """Return sixty closed bars of each interval, which the market role writes first."""
    for number in range(60):
        price = prices(-60 + number)
        yield [(bar("1m", price, START_TS, True), START_TS)]
    for number in range(60):
        price = prices(-60 + number)
        yield [(bar("1s", price, START_TS, True), START_TS)]


def quote(price: float) -> MarketTick:
    """Return a quote around a price."""
    text = f"{price:.2f}"
    return MarketTick(
        symbol=SYMBOL,
        price=text,
        kind="quote",
        bid=f"{price - 0.01:.2f}",
        bid_qty="2.00000",
        ask=f"{price + 0.01:.2f}",
        ask_qty="1.00000",
        recv_mono_ns=1,
    )


def book(price: float, number: int) -> Book:
    """Return a book of two levels."""
    bids = ((f"{price - 0.01:.2f}", "2.00000"), (f"{price - 0.02:.2f}", "3.00000"))
    asks = ((f"{price + 0.01:.2f}", "1.00000"), (f"{price + 0.02:.2f}", "3.00000"))
    return Book(SYMBOL, bids, asks, number + 1, "interval")


def bar(interval: str, price: float, ts: int, is_history: bool = False) -> Bar:
    """Return a closed bar at a price."""
    return Bar(
        symbol=SYMBOL,
        interval=interval,
        open_ts=ts - 1000,
        close_ts=ts - 1,
        open=f"{price:.2f}",
        high=f"{price + 1:.2f}",
        low=f"{price - 1:.2f}",
        close=f"{price:.2f}",
        volume="1.50000",
        is_history=is_history,
        taker_buy_volume="0.75000",
    )


def signal(side: str = "BUY") -> Signal:
    """Return a signal as the strategy writes it."""
    return Signal(
        symbol=SYMBOL,
        side=side,
        score=70,
        confidence=60,
        horizon_ms=60_000,
        reason="the fast average rose above the slow one",
        reason_code="momentum_up",
        checks=(),
    )
