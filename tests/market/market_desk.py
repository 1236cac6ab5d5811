"""Session of the market role without a run: its events are kept in lists."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibot.events.intervals import WarmupBars
from minibot.events.model import Payload
from minibot.exchanges.base import Stream
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.binance.streams import combined_url
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.websocket_stream import WebSocketStream
from minibot.kernel.errors import RunStop
from minibot.market.address import Memory
from minibot.market.elapsed_clock import MarketClock
from minibot.market.notices import Notice
from minibot.market.opening import Opening
from minibot.market.reference_refresh import Holder
from minibot.market.session import Session, SessionConfig
from minibot.market.shard_health import LinkLimits
from minibot.market.symbol import FeedConfig
from minibot.runtime.clock import RunClock, machine_ns, write_clock
from tests.waiting import wait_until


def link_limits(**changes: int) -> LinkLimits:
    """Return the limits of the night profile, with changes."""
    values: dict[str, int] = {
        "seed": 1,
        "outage_stop_ms": 120_000,
        "error_window_ms": 300_000,
        "error_rate_max_percent": 20,
        "error_samples_min": 10,
        "reconnects_max": 30,
        "reconnect_window_ms": 300_000,
        "backoff_min_ms": 500,
        "backoff_max_ms": 60_000,
        "tick_stale_ms": 5000,
        "renew_after_ms": 82_800_000,
        "feed_invalid_max": 100,
    }
    return LinkLimits(**{**values, **changes})


def session_config(
    symbols: tuple[str, ...],
    origin_ms: int,
    *,
    link: LinkLimits | None = None,
    intervals: tuple[str, ...] = ("1s", "1m"),
    warmup_bars: WarmupBars = 60,
    ping_interval_ms: int = 10_000,
    streams_max: int = 800,
) -> SessionConfig:
    """Return the values of the night profile for the given symbols."""
    return SessionConfig(
        feed=FeedConfig(symbols=symbols, intervals=intervals, origin_ms=origin_ms),
        link=link or link_limits(),
        warmup_bars=warmup_bars,
        ping_interval_ms=ping_interval_ms,
        instrument_interval_ms=600_000,
        skew_max_ms=5000,
        weight_share_max_percent=50,
        streams_per_connection_max=streams_max,
    )


@dataclass
class MemoryWorld:
    """World that keeps everything the session writes."""

    clock: MarketClock
    lines: list[tuple[Payload, int]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    healths: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    appends: int = 0
    turns: int = 0
    stood_still_ms: int = 0
    is_ready: threading.Event = field(default_factory=threading.Event)
    code: int | None = None
    calls: list[Callable[[], None]] = field(default_factory=list)

    def machine_ns(self) -> int:
        return machine_ns()

    def write(self, payloads: list[tuple[Payload, int]]) -> None:
        self.appends += 1
        self.lines += payloads

    def incident(self, notice: Notice) -> None:
        self.notices.append(notice)

    def health(self, state: str, fields: Mapping[str, Any]) -> None:
        self.healths.append((state, dict(fields)))

    def ready(self) -> None:
        self.is_ready.set()

    def turn(self, waiting: int) -> None:
        self.turns += 1

    def still_ms(self) -> int:
        return self.stood_still_ms

    def end_code(self) -> int | None:
        while self.calls:
            self.calls[0]()
            self.calls.pop(0)
        return self.code

    def of(self, kind: str) -> list[Any]:
        """Return the payloads of one event type."""
        return [payload for payload, _ in self.lines if kind == payload.TYPE]

    def kinds(self) -> list[str]:
        """Return the kinds of all incidents, in order."""
        return [notice.kind for notice in self.notices]


class Desk:
    """Session in its own thread, against an exchange at a local port."""

    def __init__(
        self,
        run_dir: Path,
        config: SessionConfig,
        port: int,
        *,
        speed: str = "1",
        rest_timeout_s: float = 5.0,
        requests_at_once: int = 1,
        memory: Memory | None = None,
        holder: Holder | None = None,
        is_restart: bool = False,
        wrap: Callable[[Sequence[str], Stream], Stream] = lambda streams, stream: stream,
    ) -> None:
        self.run_dir = run_dir
        self.speed = speed
        self.origin_ms = config.feed.origin_ms
        self.clock = RunClock(run_dir, self.origin_ms, speed)
        self.world = MemoryWorld(self.clock)
        rests = [
            BinanceRest(
                f"http://127.0.0.1:{port}",
                connect_timeout_s=rest_timeout_s,
                total_timeout_s=rest_timeout_s,
                machine_ns=machine_ns,
            )
            for _ in range(requests_at_once)
        ]

        def open_stream(streams: Sequence[str]) -> Stream:
            url = combined_url(f"ws://127.0.0.1:{port}", streams)
            stream = WebSocketStream(url, connect_timeout_s=5.0, machine_ns=machine_ns)
            return wrap(streams, stream)

        self.session = Session(config, self.world, BINANCE, rests, open_stream, memory, holder)
        self._is_restart = is_restart
        self.exit_code: int | None = None
        self.stopped: RunStop | None = None
        self.crashed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start with the opening."""
        self._thread.start()

    def start_clock(self) -> None:
        """Start the clock, as the launcher does once the role is ready."""
        wait_until(lambda: self.world.is_ready.is_set() or self.has_ended, "ready")
        write_clock(self.run_dir, self.origin_ms, self.speed)

    @property
    def has_ended(self) -> bool:
        """True when the session's thread is over."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            code = Opening(self.session, is_restart=self._is_restart).run()
            self.exit_code = self.session.run() if code is None else code
        except RunStop as error:
            self.stopped = error
        except BaseException as error:
            self.crashed = error
            raise
        finally:
            self.session.close()

    def call(self, action: Callable[[Session], None]) -> None:
        """Run a function in the session's own loop; return when it has run."""
        self.world.calls.append(lambda: action(self.session))
        wait_until(lambda: not self.world.calls or self.has_ended, "the call")

    def drain(self) -> None:
        """Ask the session to end and wait for it."""
        self.world.code = 0
        self.join()

    def join(self) -> None:
        """Wait for the session to end by itself."""
        wait_until(lambda: self.has_ended, "the session's end")
