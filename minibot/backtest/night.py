"""Backtest of a recorded run with its own profile: the night itself, event by event.

The cores process it in the order that the night recorded (`engine.joint_replay`), and must derive
the recorded events. So the fills of this backtest are the fills of the night.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minibot.accounting.market_projection import MarketProjection, by_tick
from minibot.accounting.performance import Performance
from minibot.backtest.sources.recorded_run import RunSource
from minibot.cores.protocol import Core
from minibot.engine.joint_replay import Together, run_together
from minibot.engine.price_charts import PriceCharts
from minibot.engine.run_result import BacktestResult, Derived, EquityPoint
from minibot.events.model import MarketTick, RiskAction, RunOpening
from minibot.events.names import TICKS
from minibot.events.reasons import NONDETERMINISM, SCHEMA_INVALID
from minibot.kernel.errors import IntegrityError
from minibot.replay.rule_order import world
from minibot.runtime.configuration.config import Config

Progress = Callable[[int, int], None]


def night_of(
    source: RunSource,
    config: Config,
    progress: Progress = lambda done, whole: None,
    cores: Mapping[str, Core] | None = None,
) -> BacktestResult:
    """Return the backtest of a recorded run in its recorded order.

    Args:
        source: The run.
        config: The profile, for the report; the cores have the run's own.
        progress: Called now and then with the progress.
        cores: Fresh cores of the run's own profile, which the caller may read; else made here.

    Raises:
        IntegrityError: The cores of this build deviate from the record, or a market event is
            earlier than `run_opening`.
        RunStop: A core found an impossible state, such as a control event before `run_opening`.
    """
    together = run_together(source.recorded, progress, cores)
    if not together.is_identical:
        raise IntegrityError(
            "backtest",
            NONDETERMINISM,
            f"{source.name}: this build decides differently from the record; "
            f"see: minibot parity {source.recorded.run_dir}",
        )
    return result_of(source, config, together)


def result_of(source: RunSource, config: Config, together: Together) -> BacktestResult:
    """Return a joint replay in recorded order as a backtest's result."""
    quote_asset = config.portfolio.quote_asset
    result = BacktestResult(config.raw, (source.name,), Performance(_opening(source), quote_asset))
    for made in together.made:
        result.derived.append(Derived(made.queue, made.seq, made.event))
        payload = made.event.payload
        if isinstance(payload, RiskAction) and payload.action == "STOP":
            result.stop = payload.reason_code
    _walk(source, result)
    events = len(together.made)
    equal = f"the order of the night: {events:,} of {events:,} events equal it"
    result.assumptions = (*source.assumptions, equal)
    return result


def _opening(source: RunSource) -> RunOpening:
    first = next(iter(source.roots()))
    if not isinstance(first.payload, RunOpening):
        raise IntegrityError("backtest", SCHEMA_INVALID, "control:1: expected run_opening")
    return first.payload


def _walk(source: RunSource, result: BacktestResult) -> None:
    """Mark equity at the end, and as each candle but a symbol's first begins."""
    fills = by_tick(item.event for item in result.derived)
    market = MarketProjection(result.performance, fills)
    charts = PriceCharts(result.prices, source.interval_ms)
    result.from_ts = source.origin_ms
    for queue, seq, event in world(source.recorded):
        if queue == TICKS:
            market.take(seq, event)
            if isinstance(event.payload, MarketTick):
                start = charts.on_tick(event.payload, event.ts)
                if start:
                    result.equity.append(EquityPoint(start, market.performance.equity))
    market.book_before(market.seq + 1)
    result.closes = charts.closes()
    result.to_ts = market.last_ts or result.to_ts
    result.inputs = dict(sorted(market.types.items()))
    result.equity.append(EquityPoint(result.to_ts, market.performance.equity))
