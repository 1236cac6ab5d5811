"""Session of the market role against a loopback exchange, for M5 and M6.

No queue and no disk: the session writes to a `World` of the bench, which judges every event. The
exchange is a separate process on the same clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minibot.events.model import Payload
from minibot.events.reasons import CONNECTION_LOST
from minibot.exchanges.base import Stream
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.binance.streams import combined_url
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.websocket_stream import WebSocketStream
from minibot.kernel.errors import RunStop
from minibot.market.elapsed_clock import MarketClock
from minibot.market.notices import (
    CONNECTED,
    CONTROL_REFUSED,
    DATA_LATE,
    RENEWAL,
    SERVER_SHUTDOWN,
    Notice,
)
from minibot.market.opening import Opening
from minibot.market.session import Session, SessionConfig
from minibot.market.shard_health import LinkLimits
from minibot.market.symbol import FeedConfig
from minibot.runtime.clock import RunClock, machine_ns, write_clock
from minibot.simulator.server.remote import RunningExchange
from tools.bench.machine import PROJECT

REQUESTS_AT_ONCE = 4
TIMEOUT_S = 5.0
# The exchange shares its core here, and the judge calls it, not the session.
ANSWER_S = 30.0
READY_S_MAX = 120.0
LOOK_S = 0.005
# Lines of output that are shown when a run ends unexpectedly.
OF_CONNECTIONS = frozenset(
    {CONNECTED, CONNECTION_LOST, CONTROL_REFUSED, DATA_LATE, RENEWAL, SERVER_SHUTDOWN}
)


class Exchange:
    """Process of the bench's exchange; its frames begin with the clock of `folder`."""

    def __init__(self, folder: Path, symbols: int, rate: int, speed: str) -> None:
        words = [sys.executable, "-m", "tools.bench.market_exchange", "--run", str(folder)]
        words += ["--symbols", str(symbols), "--rate", str(rate), "--speed", speed]
        self._process = subprocess.Popen(
            words, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        facts = json.loads(self._process.stdout.readline())
        self.port = int(facts["port"])
        self._running = RunningExchange(self.port, ANSWER_S)
        self.origin_ms = int(facts["origin_ms"])
        self.symbols = tuple(facts["symbols"])

    def fault(self, name: str, **fields: Any) -> None:
        """Put a fault into force."""
        self._running.fault(name, fields)

    def status(self) -> dict[str, Any]:
        """Return the exchange's counts."""
        return self._running.status()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


class BenchWorld:
    """World around the session: hands events to `judge`, counts the rest."""

    def __init__(
        self, clock: RunClock, judge: Callable[[Sequence[tuple[Payload, int]]], None]
    ) -> None:
        self._clock = clock
        self._judge = judge
        self.notices: Counter[str] = Counter()
        self.last: list[str] = []
        self.events = 0
        self.is_ready = threading.Event()
        self.code: int | None = None

    @property
    def clock(self) -> MarketClock:
        """The run's clock."""
        return self._clock

    def machine_ns(self) -> int:
        """Return monotonic time."""
        return machine_ns()

    def write(self, payloads: list[tuple[Payload, int]]) -> None:
        """Judge events."""
        self.events += len(payloads)
        self._judge(payloads)

    def incident(self, notice: Notice) -> None:
        """Count an incident."""
        self.notices[notice.kind] += 1
        if notice.kind in OF_CONNECTIONS:
            said = f"{self._clock.now_ms() % 10**8} {notice.kind}: {notice.detail}"
            self.last = [*self.last[-19:], said]

    def health(self, state: str, fields: Mapping[str, Any]) -> None:
        """Ignore health."""

    def ready(self) -> None:
        """Note that history and subscriptions are ready."""
        self.is_ready.set()

    def turn(self, waiting: int) -> None:
        """Ignore the end of a turn."""

    def still_ms(self) -> int:
        """Return 0, because a bench never stands still."""
        return 0

    def end_code(self) -> int | None:
        """Return the exit code with which the session has to end."""
        return self.code


class Running:
    """A session in a thread, and the exchange that it is connected to."""

    def __init__(
        self,
        symbols: int,
        rate: int,
        speed: str,
        judge: Callable[[Sequence[tuple[Payload, int]]], None],
        book_interval_ms: int = 1000,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="minibot-bench-")
        folder = Path(self._folder.name)
        self.speed = speed
        self.exchange = Exchange(folder, symbols, rate, speed)
        self.folder = folder
        clock = RunClock(folder, self.exchange.origin_ms, speed)
        self.clock = clock
        self.world = BenchWorld(clock, judge)
        self.session = Session(
            _config(self.exchange, book_interval_ms),
            self.world,
            BINANCE,
            [_rest(self.exchange.port) for _ in range(REQUESTS_AT_ONCE)],
            self._open_stream,
        )
        self.stopped: RunStop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _open_stream(self, streams: Sequence[str]) -> Stream:
        url = combined_url(f"ws://127.0.0.1:{self.exchange.port}", streams)
        return WebSocketStream(url, connect_timeout_s=TIMEOUT_S, machine_ns=machine_ns)

    def _run(self) -> None:
        try:
            if Opening(self.session).run() is None:
                self.session.run()
        except RunStop as error:
            self.stopped = error
        finally:
            self.session.close()

    def __enter__(self) -> Running:
        self._thread.start()
        self.wait(self.world.is_ready.is_set, READY_S_MAX, "ready")
        write_clock(self.folder, self.exchange.origin_ms, self.speed)
        return self

    def __exit__(self, *_: object) -> None:
        self.world.code = 0
        self._thread.join(30)
        self.exchange.close()
        self._folder.cleanup()

    @property
    def has_ended(self) -> bool:
        """True when the session is over, which should not happen by itself."""
        return not self._thread.is_alive()

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait for a condition.

        Raises:
            OSError: The condition did not come true in time, or the session has ended.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if self.has_ended or time.monotonic() > deadline:
                raise OSError(f"not {what} after {seconds} s: {self.stopped} {self.world.last}")
            time.sleep(LOOK_S)


def _rest(port: int) -> BinanceRest:
    return BinanceRest(
        f"http://127.0.0.1:{port}",
        connect_timeout_s=TIMEOUT_S,
        total_timeout_s=TIMEOUT_S,
        machine_ns=machine_ns,
    )


def _config(exchange: Exchange, book_interval_ms: int) -> SessionConfig:
    """Return the night profile's values, with the longest outage that it may allow."""
    return SessionConfig(
        feed=FeedConfig(
            symbols=exchange.symbols,
            intervals=("1m",),
            origin_ms=exchange.origin_ms,
            book_interval_ms=book_interval_ms,
        ),
        link=LinkLimits(
            seed=1,
            outage_stop_ms=300_000,
            error_window_ms=300_000,
            error_rate_max_percent=20,
            error_samples_min=10,
            reconnects_max=30,
            reconnect_window_ms=300_000,
            backoff_min_ms=500,
            backoff_max_ms=60_000,
            tick_stale_ms=5_000,
            renew_after_ms=82_800_000,
            feed_invalid_max=100,
        ),
        warmup_bars=1,
        ping_interval_ms=10_000,
        instrument_interval_ms=600_000,
        skew_max_ms=5_000,
        weight_share_max_percent=50,
    )
