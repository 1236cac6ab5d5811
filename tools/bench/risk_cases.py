"""Cases of the risk bench, each in a separate process by `tools.bench.worker`."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from typing import Any, Final

from minibot.backtest.driver import run_backtest
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.portfolio import Merged
from minibot.cores.closed_bar import ClosedBar
from minibot.engine.collector import spared_collector
from minibot.engine.decision_record import DecisionRecord
from minibot.engine.run_result import BacktestResult
from minibot.events.intervals import REGIME_INTERVAL
from minibot.events.model import (
    BUY,
    Bar,
    Event,
    Fill,
    Instrument,
    MarketTick,
    Payload,
    RunOpening,
    Signal,
)
from minibot.events.money import UNIT, amount_text
from minibot.events.names import CONTROL, MARKET_ROLE, STRATEGY_ROLE, TICKS, WATCHDOG_ROLE
from minibot.risk.core import core_from_config, core_from_state
from minibot.runtime.configuration.config import Config, load_config
from minibot.runtime.paths import PROJECT
from minibot.strategies.bars import interval_ms
from minibot.strategies.scanner.factors import BARS_MIN
from minibot.strategies.scanner.regime import REGIME_BARS_MIN
from minibot.strategies.scanner.scanner import Scanner
from minibot.strategies.scanner.settings import ScannerSettings
from tools.bench.risk_market import CENT, INTERVAL, MINUTE_MS, ORIGIN_MS, columns, pairs, symbols
from tools.bench.worker import Answer
from tools.risk_storm.__main__ import play

PROFILE: Final = PROJECT / "config" / "portfolio.v1.json"
PLENTY: Final = "1000000000"
CASH: Final = "1000000"
"""So much that no drawdown halts the run, and every gate goes on judging to its end."""
LOSS: Final = "40000"
HELD: Final = 10
"""The most that the policy allows."""
SETS: Final = (
    "strategy.name=rsi_band",
    "strategy.parameters.period=7",
    "strategy.parameters.below=35",
    "strategy.parameters.above=65",
    f"strategy.bar_interval={INTERVAL}",
    "universe=null",
    "scanner=null",
    "strategy.rank_max=null",
    "risk.exits_at=role",
    "portfolio.cash=" + CASH,
    "risk.profile=aggressive",
    f"risk.positions_max={HELD}",
    "risk.night_notional_soft=" + PLENTY,
    "risk.night_notional_hard=" + PLENTY,
    "risk.day_notional_soft=" + PLENTY,
    "risk.day_notional_hard=" + PLENTY,
    "risk.night_loss_soft=" + LOSS,
    "risk.night_loss_hard=" + LOSS,
    "risk.day_loss_soft=" + LOSS,
    "risk.day_loss_hard=" + LOSS,
)
GATES: Final = (
    "risk.entry_spread_bps_max=50",
    "risk.size_atr_bps_full=1000",
    f"risk.week_notional_soft={PLENTY}",
    f"risk.week_notional_hard={PLENTY}",
    f"risk.week_loss_soft={PLENTY}",
    f"risk.week_loss_hard={PLENTY}",
    "risk.benchmark_symbol=P000USDT",
    "risk.correlation_bars=60",
    "risk.correlation_max=0.99",
    "risk.benchmark_correlation_max=0.99",
    "risk.cluster_correlation_min=0.95",
    "risk.cluster_share_bps_max=2000",
    "risk.volatility_bars_short=30",
    "risk.volatility_bars_long=120",
    "risk.volatility_ratio_max=1.99",
    "risk.drift_bars=60",
    "risk.drift_reference_bars=60",
    "risk.drift_max=0.9",
)
"""Gates that the portfolio profile leaves off, at bounds that let entries pass."""
AMOUNTS: Final = ("open", "high", "low", "close", "volume")
RUN_ID: Final = "20240101_000000"
HASH: Final = "0" * 64


def profile(*sets: str) -> Config:
    """Return the portfolio profile with limits out of reach and further changes."""
    return load_config(PROFILE, [*SETS, *sets], {})


def pinned(core: int | None) -> None:
    """Run on this processor core alone, where the system can, and leave the past to itself."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    gc.collect()
    gc.freeze()  # Every role does this at its start.


# --- R1 ---------------------------------------------------------------------------------------


def portfolio(count: int, bars: int, core: int | None = None) -> Answer:
    """R1: a portfolio of made-up pairs through the live cores, as `minibot backtest` does it.

    `per_s` counts the work that peers do too, as in B8: every signal, gate, order, fill and exit in
    whole numbers, equity and drawdown. `written_per_s` is a second pass, which also writes each
    decision as text and digests it, as no peer does.

    Args:
        count: Number of pairs.
        bars: Of each.
        core: Processor core.
    """
    config = profile()
    pinned(core)
    with spared_collector(is_last=True):
        decided, wall_s, cpu_s = _passed(config, count, bars, None)
        decided.derived = []  # Hundreds of thousands of messages, kept until they are read.
        record = DecisionRecord(is_for_page=False)
        result, _, written_cpu_s = _passed(config, count, bars, record)
    bought: dict[str, int] = {}
    for event in result.of("fills"):
        if isinstance(event.payload, Fill) and event.payload.side == BUY:
            bought[event.payload.symbol] = bought.get(event.payload.symbol, 0) + 1
    return {
        "bars": count * bars,
        "per_s": count * bars / cpu_s,
        "written_per_s": count * bars / written_cpu_s,
        "wall_s": wall_s,
        "traded": len(bought),
        "entries": sum(bought.values()),
        "blocks": sum(result.log.blocks.values()),
        "digest": result.digest,
        "stop": result.stop,
    }


def _passed(
    config: Config, count: int, bars: int, record: DecisionRecord | None
) -> tuple[BacktestResult, float, float]:
    """Return the result of one pass, and its seconds of wall-clock and CPU time."""
    source = Merged([BarSource(each, config) for each in pairs(count, bars)])
    gc.collect()
    gc.freeze()  # As after the imports and the reading of a command.
    began, cpu_began = time.perf_counter(), time.process_time()
    result = run_backtest(source, config, record=record)
    return result, time.perf_counter() - began, time.process_time() - cpu_began


# --- R3 ---------------------------------------------------------------------------------------


class Fed:
    """Core of risk that is fed events, each with its line's number."""

    def __init__(self, config: Config) -> None:
        self.core = core_from_config(config.raw)
        self.seq = 0

    def say(self, payload: Payload, ts: int, queue: str = TICKS, writer: str = MARKET_ROLE) -> Any:
        """Feed an event; return what follows from it."""
        self.seq += 1
        event = Event(ts, f"{queue}:{self.seq}", writer, RUN_ID, HASH, payload)
        return self.core.process(event, self.seq, ts)


def judge(batches: int, core: int | None = None) -> Answer:
    """R3: a judged BUY with ten positions held and every gate of the profile on.

    Each batch takes the core from its snapshot anew, judges one entry of another symbol that is
    allowed as well, so that code and caches are warm, and then the one that is timed.

    Args:
        batches: How many.
        core: Processor core.
    """
    config = profile(*GATES)
    # No policy allows an entry beside ten positions; cores take limits as they are given.
    config.raw["risk"]["positions_max"] = HELD + 2
    names = symbols(HELD + 2)
    fed, now = ready(config, names)
    snapshot = fed.core.state()
    held = len(fed.core.facts()["open_positions"])
    signals = [entry(symbol, now, fed.seq + at) for at, symbol in enumerate(names[HELD:], 1)]
    pinned(core)
    took: list[float] = []
    written: list[float] = []
    reasons: set[str] = set()
    for _ in range(batches):
        risk = core_from_state(config.raw, snapshot)
        for number, signal in enumerate(signals, 1):
            began = time.perf_counter_ns()
            said = risk.process(signal, number, now)
            done = time.perf_counter_ns()
            events = [message.event(HASH) for message in said or []]
            after = time.perf_counter_ns()
        took.append((done - began) / 1000)
        written.append((after - began) / 1000)
        reasons.add(" ".join(event.type for event in events))
    checks = len(getattr(events[0].payload, "checks", None) or ()) if events else 0
    return {
        "us": took,
        "written_us": written,
        "held": held,
        "said": sorted(reasons),
        "checks": checks,
    }


def ready(config: Config, names: list[str]) -> tuple[Fed, int]:
    """Return risk that holds the first ten symbols and knows market and history of all."""
    fed = Fed(config)
    lots = [
        {"symbol": name, "qty": "1", "price": "100", "ts": ORIGIN_MS - 1, "fill_id": name}
        for name in names[:HELD]
    ]
    fed.say(
        RunOpening(cash={"USDT": CASH}, lots=tuple(lots), budgets_used={}),
        *(ORIGIN_MS, CONTROL, WATCHDOG_ROLE),
    )
    warm = 200
    for name in names:
        fed.say(rules(name), ORIGIN_MS)
    table = {name: columns(name, warm) for name in names}
    now = ORIGIN_MS
    for row in range(warm):
        now = ORIGIN_MS + MINUTE_MS * (row + 1)
        for name in names:
            fed.say(bar(name, table[name], row), now)
            fed.say(tick(name, int(table[name]["close"][row]), now), now)
    return fed, now


def rules(symbol: str) -> Instrument:
    """Return a made-up pair's rules."""
    return Instrument(
        symbol=symbol,
        base_asset=symbol.removesuffix("USDT"),
        quote_asset="USDT",
        status="TRADING",
        price_increment="0.01",
        qty_increment="0.001",
        qty_min="0.001",
        qty_max="9000",
        notional_min="1",
        origin="table",
    )


def bar(symbol: str, table: dict[str, Any], row: int) -> Bar:
    """Return a closed bar of a table."""
    opened, high, low, close, volume = (amount_text(int(table[name][row])) for name in AMOUNTS)
    begins, ends = int(table["open_ts"][row]), int(table["end_ts"][row])
    return Bar(symbol, INTERVAL, begins, ends - 1, opened, high, low, close, volume, False)


def tick(symbol: str, price: int, ts: int) -> MarketTick:
    """Return a tick with a spread of a cent."""
    bid, ask = amount_text(price), amount_text(price + CENT)
    shown = amount_text(1000 * UNIT)
    return MarketTick(
        symbol=symbol,
        price=bid,
        kind="trade",
        bid=bid,
        bid_qty=shown,
        ask=ask,
        ask_qty=shown,
        recv_mono_ns=ts * 10**6,
        exchange_ts=ts,
    )


def entry(symbol: str, ts: int, seq: int) -> Event:
    """Return a BUY as risk reads it from its queue."""
    payload = Signal(
        symbol=symbol,
        side=BUY,
        score=80,
        confidence=80,
        horizon_ms=60_000,
        reason="BUY: made up",
        reason_code="rsi_oversold",
        checks=(),
    )
    return Event(
        *(ts, f"signals:{seq}", STRATEGY_ROLE, RUN_ID, HASH),
        payload,
        tick_seq=seq,
    )


# --- R5 ---------------------------------------------------------------------------------------


def rank(count: int, scans: int, core: int | None = None) -> Answer:
    """R5: symbols ranked by the scanner, a new bar of each between two scans.

    Args:
        count: Number of symbols.
        scans: How many.
        core: Processor core.
    """
    settings = ScannerSettings()
    length = interval_ms(settings.interval)
    names = symbols(count)
    rows = BARS_MIN + scans
    tables = {name: columns(name, rows) for name in names}
    regime = {name: columns(f"{name}-regime", REGIME_BARS_MIN) for name in names}
    pinned(core)
    tracemalloc.start()
    scanner = Scanner(settings, names)
    for name in names:
        for row in range(REGIME_BARS_MIN):
            scanner.take_bar(name, closed(regime[name], row, REGIME_INTERVAL))
        for row in range(BARS_MIN):
            scanner.take_bar(name, closed(tables[name], row, settings.interval))
    now = ORIGIN_MS + BARS_MIN * length
    scored = len(scanner.scan(now).order)
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    took: list[float] = []
    fed: list[float] = []
    for row in range(BARS_MIN, rows):
        now += length
        began = time.perf_counter_ns()
        for name in names:
            scanner.take_bar(name, closed(tables[name], row, settings.interval))
        between = time.perf_counter_ns()
        scored = min(scored, len(scanner.scan(now).order))
        took.append((time.perf_counter_ns() - between) / 1e6)
        fed.append((between - began) / 1e3 / count)
    return {"ms": took, "bar_us": fed, "memory_mb": memory / 1e6, "scored": scored}


def closed(table: dict[str, Any], row: int, interval: str) -> ClosedBar:
    """Return a row as a closed bar of an interval."""
    opened, high, low, close, volume = (int(table[name][row]) / UNIT for name in AMOUNTS)
    begins = ORIGIN_MS + row * interval_ms(interval)
    return ClosedBar(interval, begins, opened, high, low, close, volume, True)


# --- R7 ---------------------------------------------------------------------------------------


def storm(events: int, seed: int, core: int | None = None) -> Answer:
    """R7: hostile nights until so many events have passed; how fast, and what was broken."""
    pinned(core)
    began, cpu_began = time.perf_counter(), time.process_time()
    seen = nights = 0
    found: list[str] = []
    while seen < events:
        night = play(seed, nights)
        nights += 1
        seen += night.events
        found += [f"seed {seed}, night {nights - 1}: {text}" for text in night.found]
    cpu = time.process_time() - cpu_began
    return {
        "events": seen,
        "nights": nights,
        "per_s": seen / cpu,
        "wall_s": time.perf_counter() - began,
        "violations": len(found),
        "found": found[:10],
    }
