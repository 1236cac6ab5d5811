"""One pass of the three cores over a source, in rule order.

`now` of an event is its own `ts`; fills come no earlier than `execution.latency_market_ms` after
their intent, exactly as in a night. Before the end of the source `run_ending` is said as early as a
night says it, so that positions can still be closed; a recorded run says its opening and its ending
itself. A STOP by risk ends the pass, as it ends a night. `night` is for a run with its own profile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from minibot.backtest.drawing import PriceCharts
from minibot.backtest.night import night_of
from minibot.backtest.recorded_run import RunSource
from minibot.backtest.result import BacktestResult, Derived, EquityPoint
from minibot.backtest.sources import MarketSource, Root
from minibot.events.model import (
    Event,
    Fill,
    MarketTick,
    Payload,
    RiskAction,
    RunEnding,
    RunOpening,
)
from minibot.events.order import CONTROL, TICKS, Core
from minibot.events.performance import Performance
from minibot.events.roles import Roles
from minibot.replay.decisions import DecisionDigest
from minibot.replay.engine import CORE_ROLES
from minibot.replay.lockstep import Lockstep, fresh_cores
from minibot.risk.core import RiskCore
from minibot.runtime.config import Config
from minibot.runtime.paths import PROJECT

# No process has made these events; the field is part of every event.
NO_CMDLINE: Final = "0" * 64
PROGRESS_EVERY: Final = 4096
MARKET, WATCHDOG = "market_role", "watchdog_role"
NEVER: Final = 1 << 62

Progress = Callable[[int, int], None]
"""Told now and then how much of how much market time has passed, ms; 0 for an unknown whole."""


def run_backtest(
    source: MarketSource,
    config: Config,
    progress: Progress = lambda done, whole: None,
    cores: Mapping[str, Core] | None = None,
) -> BacktestResult:
    """Return what the cores of a profile do on a source.

    A recorded run with its own profile goes in the order that its night logged.

    Args:
        source: The market's history.
        config: The resolved profile.
        progress: Told now and then how far it is.
        cores: Fresh ones by role, for who wants to look at them; by default the profile's.

    Raises:
        RunStop: A core found something that cannot be.
    """
    started = time.perf_counter()
    if cores is None and isinstance(source, RunSource) and source.is_night_of(config):
        result = night_of(source, config, progress)
    else:
        book = _Pass(source, config, cores or fresh_cores(config.raw))
        book.run(progress)
        result = book.result
    result.elapsed_s = time.perf_counter() - started
    return result


class _Pass:
    """The state of one pass: the cores, and what is kept for the report."""

    def __init__(self, source: MarketSource, config: Config, cores: Mapping[str, Core]) -> None:
        self._source = source
        self._config = config
        self._run_id = run_id_of(source.origin_ms)
        portfolio = config.portfolio
        self._opening = RunOpening(
            cash={portfolio.quote_asset: portfolio.cash}, lots=(), budgets_used={}
        )
        self.result = BacktestResult(
            config.raw, (source.name,), Performance(self._opening, portfolio.quote_asset)
        )
        self.result.assumptions = source.assumptions
        self._digest = DecisionDigest()
        self._seqs = {TICKS: 0, CONTROL: 0}
        self._charts = PriceCharts(self.result.prices, source.interval_ms)
        self._lockstep = Lockstep(
            cores,
            Roles.load(PROJECT / "config" / "roles.v1.json"),
            run_id=self._run_id,
            cmdline_hashes=dict.fromkeys(CORE_ROLES, NO_CMDLINE),
            take=self._on_derived,
        )

    def run(self, progress: Progress) -> None:
        """Feed opening, market and ending."""
        source, result = self._source, self.result
        result.from_ts = result.to_ts = source.origin_ms
        whole = 0 if source.end_ms is None else source.end_ms - source.origin_ms
        close_ts = NEVER
        if source.end_ms is not None:
            close_ts = source.end_ms - self._config.portfolio.close_market_ms
        inputs: dict[str, int] = {}
        roots = source.roots(_RiskWatch(self._lockstep.cores["risk_role"]))
        for count, root in enumerate(self._opened(roots)):
            if root.ts >= close_ts:
                self._announce_end(max(close_ts, result.to_ts), source.end_ms or root.ts)
                close_ts = NEVER
            if root.queue == CONTROL:
                self._feed(CONTROL, WATCHDOG, root.payload, root.ts)
            else:
                kind = root.payload.TYPE
                inputs[kind] = inputs.get(kind, 0) + 1
                self._market(root.payload, root.ts)
            if count % PROGRESS_EVERY == 0:
                progress(result.to_ts - source.origin_ms, whole)
            if result.stop:
                break
        progress(whole, whole)
        result.inputs = dict(sorted(inputs.items()))
        self._mark(result.to_ts)
        result.digest = self._digest.hex

    def _opened(self, roots: Iterator[Root]) -> Iterator[Root]:
        """Yield the roots behind a `run_opening`: the record's own, else the profile's."""
        first = next(roots, None)
        if first is None:
            return
        opening = first.payload
        if isinstance(opening, RunOpening):
            self._opening = opening
            quote_asset = self._config.portfolio.quote_asset
            performance = self.result.performance = Performance(opening, quote_asset)
            held = performance.portfolio
            self.result.carried = {name: held.position_qty(name) for name in held.symbols()}
        else:
            yield Root(self._opening, self._source.origin_ms, CONTROL)
        yield first
        yield from roots

    def _announce_end(self, ts: int, until_ts: int) -> None:
        """No entries from now on; what is open closes as `portfolio.at_end` says."""
        ending = RunEnding(who="backtest", why="SOURCE_ENDED", until_ts=until_ts)
        self._feed(CONTROL, WATCHDOG, ending, ts)

    def _market(self, payload: Payload, ts: int) -> None:
        result = self.result
        if ts > result.to_ts:
            result.to_ts = ts
        if type(payload) is MarketTick:
            result.performance.on_tick(payload)
            if self._charts.on_tick(payload, ts):
                self._mark(ts - ts % self._source.interval_ms)
        self._feed(TICKS, MARKET, payload, ts)

    def _feed(self, queue: str, source: str, payload: Payload, ts: int) -> None:
        seq = self._seqs[queue] = self._seqs[queue] + 1
        # An id need not be derived where nobody else can make the same event: its place is enough.
        event = Event(ts, f"{queue}:{seq}", source, self._run_id, NO_CMDLINE, payload)
        self._lockstep.feed(queue, seq, event)

    def _on_derived(self, queue: str, seq: int, event: Event) -> None:
        self.result.derived.append(Derived(queue, seq, event))
        self._digest.add(queue, seq, event)
        payload = event.payload
        if isinstance(payload, Fill):
            self.result.performance.on_fill(payload, event.ts)
        elif isinstance(payload, RiskAction) and payload.action == "STOP":
            self.result.stop = payload.reason_code

    def _mark(self, ts: int) -> None:
        self.result.equity.append(EquityPoint(ts, self.result.performance.equity))


class _RiskWatch:
    """What a source may ask of the bot, answered by its risk core."""

    def __init__(self, core: Core) -> None:
        self._core = core if isinstance(core, RiskCore) else None

    def levels(self, symbol: str) -> Sequence[int]:
        return () if self._core is None else self._core.exit_levels(symbol)

    def is_waiting(self, symbol: str) -> bool:
        return self._core is not None and self._core.has_order(symbol)


def run_id_of(origin_ms: int) -> str:
    """Return the id of a backtest, which the time of its first event gives."""
    return f"{datetime.fromtimestamp(origin_ms // 1000, UTC):%Y%m%d_%H%M%S}"
