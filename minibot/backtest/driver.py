"""One pass of the three cores over a source, in rule order.

`now` of an event is its own `ts` plus `delays` of the role that takes it; fills come no earlier
than `execution.latency_market_ms` after their intent, exactly as in a night. Before the end of the
source `run_ending` is said as early as a night says it, so that positions can still be closed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from minibot.backtest.result import BacktestResult, Derived, EquityPoint, PriceBar
from minibot.backtest.sources import MarketSource, Root
from minibot.events.ids import position_id
from minibot.events.model import (
    Event,
    Fill,
    MarketTick,
    Payload,
    RiskAction,
    RunEnding,
    RunOpening,
)
from minibot.events.order import CONTROL, TICKS
from minibot.events.performance import Performance
from minibot.events.roles import Roles
from minibot.replay.decisions import DecisionDigest
from minibot.replay.engine import CORE_ROLES
from minibot.replay.lockstep import Lockstep, fresh_cores
from minibot.runtime.config import Config
from minibot.runtime.paths import PROJECT

# No process has made these events; the field is part of every event.
NO_CMDLINE: Final = "0" * 64
MINUTE_MS: Final = 60_000
PROGRESS_EVERY: Final = 4096

Progress = Callable[[int], None]


def run_backtest(
    source: MarketSource, config: Config, progress: Progress = lambda inputs: None
) -> BacktestResult:
    """Return what the cores of a profile do on a source.

    Args:
        source: The market's history.
        config: The resolved profile.
        progress: Told now and then how many market events have been taken.

    Raises:
        RunStop: A core found something that cannot be.
    """
    opening = RunOpening(
        cash={config.portfolio.quote_asset: config.portfolio.cash}, lots=(), budgets_used={}
    )
    book = _Pass(source, config, opening)
    started = time.perf_counter()
    book.run(progress)
    book.result.elapsed_s = time.perf_counter() - started
    return book.result


class _Pass:
    """The state of one pass: the cores, and what is kept for the report."""

    def __init__(self, source: MarketSource, config: Config, opening: RunOpening) -> None:
        self._source = source
        self._config = config
        self._opening = opening
        self._run_id = run_id_of(source.origin_ms)
        performance = Performance(opening, config.portfolio.quote_asset)
        self.result = BacktestResult(config.raw, (source.name,), performance)
        self._digest = DecisionDigest()
        self._inputs: Counter[str] = Counter()
        self._seqs: Counter[str] = Counter()
        self._lockstep = Lockstep(
            fresh_cores(config.raw),
            Roles.load(PROJECT / "config" / "roles.v1.json"),
            run_id=self._run_id,
            cmdline_hashes=dict.fromkeys(CORE_ROLES, NO_CMDLINE),
            take=self._on_derived,
        )

    def run(self, progress: Progress) -> None:
        """Feed opening, market and ending."""
        result, count = self.result, 0
        result.from_ts = self._source.origin_ms
        self._feed(CONTROL, "watchdog_role", self._opening, result.from_ts)
        end_ms = self._source.end_ms
        close_ts = None if end_ms is None else end_ms - self._config.portfolio.close_market_ms
        for root in self._source.roots():
            if close_ts is not None and root.ts >= close_ts:
                self._announce_end(max(close_ts, result.to_ts), end_ms or root.ts)
                close_ts = None
            self._market(root)
            count += 1
            if count % PROGRESS_EVERY == 0:
                progress(count)
            if result.stop:
                break
        progress(count)
        result.inputs = dict(sorted(self._inputs.items()))
        self._mark(result.to_ts)
        result.digest = self._digest.hex

    def _announce_end(self, ts: int, until_ts: int) -> None:
        """No entries from now on; what is open closes as `portfolio.at_end` says."""
        ending = RunEnding(who="backtest", why="SOURCE_ENDED", until_ts=until_ts)
        self._feed(CONTROL, "watchdog_role", ending, ts)

    def _market(self, root: Root) -> None:
        payload = root.payload
        self._inputs[payload.TYPE] += 1
        self.result.to_ts = max(self.result.to_ts, root.ts)
        if isinstance(payload, MarketTick):
            self.result.performance.on_tick(payload)
            self._draw(payload, root.ts)
        self._feed(TICKS, "market_role", payload, root.ts)

    def _feed(self, queue: str, source: str, payload: Payload, ts: int) -> None:
        self._seqs[queue] += 1
        seq = self._seqs[queue]
        event = Event(
            ts=ts,
            id=position_id(self._run_id, source, queue, seq),
            source=source,
            run_id=self._run_id,
            cmdline_hash=NO_CMDLINE,
            payload=payload,
        )
        self._lockstep.feed(queue, seq, event)

    def _on_derived(self, queue: str, seq: int, event: Event) -> None:
        self.result.derived.append(Derived(queue, seq, event))
        self._digest.add(queue, seq, event)
        payload = event.payload
        if isinstance(payload, Fill):
            self.result.performance.on_fill(payload, event.ts)
        elif isinstance(payload, RiskAction) and payload.action == "STOP":
            self.result.stop = payload.reason_code

    # --- for the report -----------------------------------------------------------------------

    def _draw(self, tick: MarketTick, ts: int) -> None:
        bars = self.result.prices.setdefault(tick.symbol, [])
        price, start = float(tick.price), ts - ts % MINUTE_MS
        if bars and bars[-1].ts == start:
            bar = bars[-1]
            bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
            return
        if bars:
            self._mark(start)
        bars.append(PriceBar(start, price, price, price, price))

    def _mark(self, ts: int) -> None:
        self.result.equity.append(EquityPoint(ts, self.result.performance.equity))


def run_id_of(origin_ms: int) -> str:
    """Return the id of a backtest, which the time of its first event gives."""
    return f"{datetime.fromtimestamp(origin_ms // 1000, UTC):%Y%m%d_%H%M%S}"
