"""Rules between keys of a profile: limits, speed, hosts, processes; both sides of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from minibot.cores.core_profile import ExecutionSection, RiskSection
from minibot.cores.profile_keys import DECIMAL, DECIMAL_POSITIVE, FEE_BPS, OPTIONAL_OR_NULL
from minibot.events.decimals import NumberError
from minibot.events.field_types import NUMBER
from minibot.events.money import parse_amount
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import config_of_manifest, load_config
from minibot.runtime.configuration.config_rules import CASH_DIGITS_MAX

PROJECT = Path(__file__).resolve().parents[2]
DEMO = PROJECT / "config" / "nore-demo.v1.json"
NIGHT = PROJECT / "config" / "nore.v1.json"
PORTFOLIO = PROJECT / "config" / "portfolio.v1.json"


def violations(path: Path, *sets: str) -> tuple[str, ...]:
    """Return the profile's violations; empty when it loads."""
    try:
        load_config(path, sets)
    except ConfigError as refusal:
        return refusal.violations
    return ()


RUNGS = ("risk.hard_stop_bps=500", "risk.exit_policy=ladder")
CAMPAIGN = (
    *("risk.campaign_loss_max=10", "risk.campaign_entries_max=2"),
    *("risk.exit_policy=campaign", "risk.hard_stop_bps=500"),
)
HOLD = (*CAMPAIGN, 'risk.recovery=[["499.9999", "hold"]]')
HORIZON = (
    *("risk.hard_stop_bps=500", "risk.horizon_ms=60000", "risk.horizon_ms_min=60000"),
    *("risk.horizon_ms_max=90000", "risk.horizon_bars_short=3", "risk.horizon_bars_long=4"),
)
REDUCE = 'risk.recovery=[["100", "hold"], ["200", "de-risk"], ["300", "exit"]]'


@pytest.mark.row("U-06")
@pytest.mark.parametrize(
    ("sets", "is_allowed"),
    [
        (["embedded.speed=60"], True),
        (["embedded.speed=60.000001"], False),
        (["embedded.speed=61"], False),
        (["embedded.speed=100", "binance.outage_stop_market_ms=200000"], True),
        (["embedded.speed=150", "binance.outage_stop_market_ms=300000"], True),
        (["embedded.speed=151", "binance.outage_stop_market_ms=300000"], False),
        (
            [
                "embedded.speed=50",
                "binance.error_window_market_ms=99999",
                "binance.error_samples_min=9",
                "binance.outage_stop_market_ms=300000",
            ],
            False,
        ),
        (["embedded.speed=0.001"], True),
    ],
)
def test_speed_that_makes_a_stop_threshold_shorter_than_two_seconds_is_refused(
    sets: list[str], is_allowed: bool
) -> None:
    """A STOP threshold in market time lasts at least two seconds of wall-clock time."""
    found = violations(DEMO, *sets)

    assert (found == ()) is is_allowed
    assert is_allowed or "embedded.speed" in found[0]


@pytest.mark.row("X-22")
@pytest.mark.parametrize(
    "limit",
    [
        "night_notional",
        "day_notional",
        "night_loss",
        "day_loss",
        "drawdown_bps",
        "orders_per_minute",
    ],
)
def test_soft_limit_above_the_hard_one_is_refused_and_equal_is_allowed(limit: str) -> None:
    """A soft limit above the hard one is refused, an equal one allowed, as numbers."""
    assert violations(DEMO, f"risk.{limit}_soft=1000", f"risk.{limit}_hard=1000") == ()
    found = violations(DEMO, f"risk.{limit}_soft=1001", f"risk.{limit}_hard=1000")
    assert len(found) == 1
    assert found[0].startswith(f"risk.{limit}_soft")
    assert f"risk.{limit}_hard" in found[0]


BUCKETS = ["risk.bucket_active_bps=6000", "risk.bucket_reserve_bps=3000"]
CORRELATED = ["risk.correlation_bars=96", "risk.correlation_max=0.7"]
VOLATILE = [
    "risk.benchmark_symbol=BTCUSDT",
    "risk.volatility_bars_short=25",
    "risk.volatility_bars_long=100",
]
WATCHING = ['scanner={"bar_interval": "1m", "watched_bars": true}']
UNIVERSE = (
    'universe={"mode": "MODE", "bases": "all", "exclude": [], "quote_volume_min": "1", '
    '"traded_max": 2, "interval_market_ms": 60000}'
)
VADR = [
    "risk.vadr_bars=20",
    "risk.vadr_min=1.75",
    'market.bar_intervals=["1s","1m","4h"]',
    "risk.vadr_bar_interval=4h",
]
DRIFTING = ["risk.drift_bars=64", "risk.drift_reference_bars=64"]
TIRED = [
    "risk.fatigue_bar_interval=3m",
    "risk.fatigue_change_bps_max=1200",
    "risk.fatigue_rsi_max=70",
    'market.bar_intervals=["1s","1m","3m"]',
    "market.warmup_bars=481",
]
SLOW_HEARTBEATS = ["watchdog.heartbeat_interval_ms=2500", "watchdog.hung_execution_ms=5000"]
WINDOW = [
    *("binance.error_window_market_ms=60000", "binance.error_samples_min=1"),
    "embedded.speed=30",
]
SIZED = ["backtest.size_percent=5"]
MAKER = [
    "risk.maker_requotes=3",
    "risk.entry=maker",
    "risk.maker_patience_market_ms=5000",
    "risk.maker_end=take",
]
MONTHS = ['market.bar_intervals=["1w","1M"]', "strategy.trend_interval=1M"]
KELLY = [
    "risk.kelly_trades_min=20",
    "risk.sizing=kelly",
    "risk.kelly_window_market_ms=86400000",
    "risk.position_share_bps_min=100",
    "risk.position_share_bps_max=2000",
]


@pytest.mark.parametrize(
    ("good", "bad", "key"),
    [
        (["risk.order_notional=1000"], ["risk.order_notional=1000.01"], "risk.order_notional"),
        (
            ["risk.position_notional_max=100", "risk.sizing=share"],
            ["risk.position_notional_max=100", "risk.sizing=fixed"],
            "risk.order_notional",
        ),
        (["risk.positions_max=20"], ["risk.positions_max=21"], "risk.positions_max"),
        (["strategy.ema_fast=20"], ["strategy.ema_fast=21"], "strategy.ema_fast"),
        (
            ["acceptance.latency_ms_p95_max=80", "acceptance.latency_ms_p99_max=80"],
            ["acceptance.latency_ms_p95_max=81", "acceptance.latency_ms_p99_max=80"],
            "acceptance.latency_ms_p95_max",
        ),
        (["strategy.rsi_oversold=69.9"], ["strategy.rsi_oversold=70"], "strategy.rsi_oversold"),
        (
            ["binance.backoff_min_market_ms=60000"],
            ["binance.backoff_min_market_ms=60000", "binance.backoff_max_market_ms=59999"],
            "binance.backoff_min_market_ms",
        ),
        (["watchdog.lease_ms=2000"], ["watchdog.lease_ms=1999"], "watchdog.lease_ms"),
        (
            [*SLOW_HEARTBEATS, "watchdog.lease_ms=2501"],
            [*SLOW_HEARTBEATS, "watchdog.lease_ms=2500"],
            "watchdog.heartbeat_interval_ms",
        ),
        (
            ["watchdog.hung_execution_ms=2000"],
            ["watchdog.hung_execution_ms=1999"],
            "watchdog.hung_execution_ms",
        ),
        (["watchdog.hung_ms=2000"], ["watchdog.hung_ms=1999"], "watchdog.hung_ms"),
        (
            ["binance.error_samples_min=30"],
            ["binance.error_samples_min=31"],
            "binance.error_samples_min",
        ),
        (
            ["binance.ping_interval_market_ms=30000"],
            ["binance.ping_interval_market_ms=30001"],
            "binance.error_samples_min",
        ),
        (
            ["binance.error_window_market_ms=100000", "embedded.speed=50"],
            ["binance.error_window_market_ms=99999", "embedded.speed=49"],
            "binance.error_samples_min",
        ),
        (
            ["binance.ping_interval_market_ms=59999", *WINDOW],
            ["binance.ping_interval_market_ms=60000", *WINDOW],
            "binance.ping_interval_market_ms",
        ),
        (
            ["execution.latency_market_ms=4999"],
            ["execution.latency_market_ms=5000"],
            "execution.latency_market_ms",
        ),
        (["risk.intent_ttl_ms=51"], ["risk.intent_ttl_ms=50"], "execution.latency_market_ms"),
        (
            ["execution.order_ttl_market_ms=51"],
            ["execution.order_ttl_market_ms=50"],
            "execution.latency_market_ms",
        ),
        (
            # Drawn latencies replace the fixed one.
            ["execution.latency_market_ms=5000", "execution.latency_drawn_market_ms=[20,4999]"],
            ["execution.latency_drawn_market_ms=[20,5000,4999]"],
            "execution.latency_drawn_market_ms.1",
        ),
        (
            ['ai.permitted_queues=["fills","market_ticks","signals"]'],
            ['ai.permitted_queues=["control","market_ticks"]'],
            "ai.permitted_queues",
        ),
        (
            [*SIZED, 'backtest.spread_bps="9999.990"'],
            [*SIZED, 'backtest.spread_bps="10000"'],
            "backtest.spread_bps",
        ),
        (
            [*SIZED, 'backtest.spread_bps="0.12"'],
            [*SIZED, 'backtest.spread_bps="0.125"'],
            "backtest.spread_bps",
        ),
        (
            [f"portfolio.cash={'9' * 20}"],
            [f"portfolio.cash={'9' * 21}"],
            "portfolio.cash",
        ),
        (["duration_ms=10001"], ["duration_ms=10000"], "duration_ms"),
        (["strategy.bar_interval=1m"], ["strategy.bar_interval=5m"], "strategy.bar_interval"),
        (
            [*MONTHS, "strategy.bar_interval=1w"],
            [*MONTHS, "strategy.bar_interval=1M"],
            "strategy.bar_interval",
        ),
        (["ai.enabled=false"], ["ai.enabled=false", "ai.required=true"], "ai.required"),
        (
            ["risk.stop_atr_mult=null"],
            ["risk.stop_atr_mult=null", "risk.signal_exit=false"],
            "risk.stop_atr_mult",
        ),
        (["risk.stop_atr_mult=null", "risk.stop_bps=50"], ["risk.stop_bps=50"], "risk.stop_bps"),
        (
            ["risk.take_profit_atr_mult=null", "risk.take_profit_bps=50"],
            ["risk.take_profit_bps=50"],
            "risk.take_profit_bps",
        ),
        (
            ["risk.stop_atr_mult=null", "risk.signal_exit=false", "risk.stop_bps=50"],
            ["risk.stop_atr_mult=null", "risk.signal_exit=false", "risk.stop_bps=null"],
            "risk.stop_atr_mult",
        ),
        (
            ["risk.stop_atr_mult=null", "risk.signal_exit=false", "risk.time_exit_ms=60000"],
            ["risk.stop_atr_mult=null", "risk.signal_exit=false", "risk.time_exit_ms=null"],
            "risk.stop_atr_mult",
        ),
        (
            ["risk.exits_at=venue", "risk.stop_limit_bps=0.0001"],
            ["risk.stop_limit_bps=0.0001"],
            "risk.stop_limit_bps",
        ),
        (
            ["risk.exits_at=venue", "risk.stop_limit_bps=9999.9999"],
            ["risk.exits_at=role", "risk.stop_limit_bps=9999.9999"],
            "risk.stop_limit_bps",
        ),
        (
            ["risk.stop_limit_bps=null"],
            ["risk.exits_at=venue", "risk.stop_limit_bps=10000"],
            "risk.stop_limit_bps",
        ),
        (
            ["risk.exits_at=venue", "risk.stop_limit_bps=null"],
            ["risk.exits_at=venue", "risk.stop_limit_bps=0"],
            "risk.stop_limit_bps",
        ),
        (
            ["risk.hard_stop_bps=500", "risk.trail_bps=100"],
            ["risk.trail_bps=100"],
            "risk.hard_stop_bps",
        ),
        (
            ["risk.hard_stop_bps=500", "risk.stop_atr_mult=null", "risk.stop_bps=500"],
            ["risk.hard_stop_bps=499", "risk.stop_atr_mult=null", "risk.stop_bps=500"],
            "risk.stop_bps",
        ),
        (
            ["risk.hard_stop_bps=500", "risk.trail_atr_mult=2", "risk.trail_from_bps=10"],
            ["risk.hard_stop_bps=500", "risk.trail_from_bps=10"],
            "risk.trail_from_bps",
        ),
        (
            ["risk.hard_stop_bps=500", "risk.trail_bps=10"],
            ["risk.hard_stop_bps=500", "risk.trail_bps=10", "risk.trail_atr_mult=2"],
            "risk.trail_bps",
        ),
        (
            ["risk.hard_stop_bps=500", 'risk.targets_by_age=[[0,"3"],[1,"2.5"]]'],
            ["risk.hard_stop_bps=500", 'risk.targets_by_age=[[0,"3"],[1,"3"]]'],
            "risk.targets_by_age",
        ),
        (
            ["risk.hard_stop_bps=500", 'risk.targets_by_age=[[0,"3"],[1,"2"]]'],
            ["risk.hard_stop_bps=500", 'risk.targets_by_age=[[1,"3"],[1,"2"]]'],
            "risk.targets_by_age",
        ),
        (
            ["risk.hard_stop_bps=500", "risk.stop_atr_mult=null", "risk.signal_exit=false"],
            ["risk.hard_stop_bps=null"],
            "risk.hard_stop_bps",
        ),
        (
            [*RUNGS, "risk.ladder_1_bps=10", "risk.ladder_2_bps=10.5"],
            [*RUNGS, "risk.ladder_1_bps=10.5", "risk.ladder_2_bps=10.5"],
            "risk.ladder_1_bps",
        ),
        (
            [*RUNGS, "risk.ladder_1_bps=10", "risk.ladder_2_atr_mult=1"],
            [*RUNGS, "risk.ladder_1_bps=10"],
            "risk.ladder_2_bps",
        ),
        (
            [*RUNGS, "risk.ladder_1_bps=10", "risk.ladder_2_atr_mult=1"],
            ["risk.hard_stop_bps=500", "risk.ladder_1_bps=10"],
            "risk.ladder_1_bps",
        ),
        (
            ["risk.hard_stop_bps=500", "risk.silent_exit_ms=5000"],
            ["risk.silent_exit_ms=5000"],
            "risk.hard_stop_bps",
        ),
        (HORIZON, HORIZON[1:], "risk.hard_stop_bps"),
        (HORIZON, [*HORIZON, "risk.horizon_ms_min=60001"], "risk.horizon_ms"),
        (
            [*HORIZON, "risk.horizon_ms_max=60000"],
            [*HORIZON, "risk.horizon_ms_max=59999"],
            "risk.horizon_ms",
        ),
        (HORIZON, [*HORIZON, "risk.horizon_bars_long=3"], "risk.horizon_bars_short"),
        (HORIZON, HORIZON[:-1], "risk.horizon_bars_long:"),
        (
            [*HORIZON, "risk.horizon_thesis_bps=5"],
            ["risk.horizon_thesis_bps=5"],
            "risk.horizon_thesis_bps",
        ),
        (CAMPAIGN, CAMPAIGN[1:], "risk.campaign_loss_max:"),
        (CAMPAIGN, (CAMPAIGN[0], *CAMPAIGN[2:]), "risk.campaign_entries_max:"),
        (CAMPAIGN, CAMPAIGN[:3], "risk.hard_stop_bps"),
        ([], CAMPAIGN[1:2], "risk.campaign_entries_max"),
        (
            CAMPAIGN,
            [*RUNGS, "risk.ladder_1_bps=1", "risk.ladder_2_bps=2", *CAMPAIGN[:1]],
            "risk.campaign_loss_max",
        ),
        (
            [*CAMPAIGN, "risk.ladder_1_bps=10", "risk.ladder_2_bps=10.5"],
            [*CAMPAIGN, "risk.ladder_1_bps=10"],
            "risk.ladder_2_bps",
        ),
        (CAMPAIGN, [*CAMPAIGN, "risk.campaign_entries_max=0"], "risk.campaign_entries_max"),
        (CAMPAIGN, [*CAMPAIGN, "risk.campaign_loss_max=0"], "risk.campaign_loss_max"),
        (HOLD, [*CAMPAIGN, 'risk.recovery=[["500", "hold"]]'], "risk.recovery"),
        (HOLD, HOLD[4:], "risk.recovery"),
        (HOLD, [*CAMPAIGN, 'risk.recovery=[["100", "wait"]]'], "risk.recovery.0.1"),
        (HOLD, [*CAMPAIGN, 'risk.recovery=[["0", "hold"]]'], "risk.recovery.0.0"),
        (HOLD, [*CAMPAIGN, "risk.recovery=[]"], "risk.recovery"),
        (
            [*CAMPAIGN, 'risk.recovery=[["100", "hold"], ["100.0001", "exit"]]'],
            [*CAMPAIGN, 'risk.recovery=[["100", "hold"], ["100.0", "exit"]]'],
            "risk.recovery",
        ),
        (
            [*CAMPAIGN, 'risk.recovery=[["100", "hold"], ["200", "exit"]]'],
            [*CAMPAIGN, 'risk.recovery=[["100", "exit"], ["200", "hold"]]'],
            "risk.recovery",
        ),
        (
            [*CAMPAIGN, REDUCE, "risk.recovery_part_percent=99"],
            [*CAMPAIGN, REDUCE],
            "risk.recovery_part_percent:",
        ),
        (
            [*CAMPAIGN, REDUCE, "risk.recovery_part_percent=1"],
            [*CAMPAIGN, REDUCE, "risk.recovery_part_percent=100"],
            "risk.recovery_part_percent",
        ),
        (HOLD, [*HOLD, "risk.recovery_part_percent=50"], "risk.recovery_part_percent"),
        (['binance.symbols=["ETHUSDT"]'], ['binance.symbols=["ETHBTC"]'], "binance.symbols"),
        (
            ['binance.symbols=["TUSDT"]', "execution.fee_asset=quote"],
            ['binance.symbols=["TUSDT"]', "execution.fee_asset=base"],
            "binance.symbols",
        ),
        (
            ["risk.sizing=risk", "risk.risk_per_trade_bps=50"],
            ["risk.sizing=risk"],
            "risk.sizing",
        ),
        (
            ["risk.sizing=risk", "risk.risk_per_trade_bps=50"],
            ["risk.sizing=risk", "risk.risk_per_trade_bps=50", "risk.stop_atr_mult=null"],
            "risk.sizing",
        ),
        (["risk.sizing=share"], ["risk.risk_per_trade_bps=50"], "risk.risk_per_trade_bps"),
        (
            ["risk.late_fill_market_ms=1000", "execution.latency_market_ms=999"],
            ["risk.late_fill_market_ms=1000", "execution.latency_market_ms=1000"],
            "execution.latency_market_ms",
        ),
        (
            ["risk.late_fill_market_ms=1000", "execution.latency_drawn_market_ms=[9,2000]"],
            ["risk.late_fill_market_ms=1000", "execution.latency_drawn_market_ms=[1000,2000]"],
            "execution.latency_drawn_market_ms.0",
        ),
        (KELLY, [*KELLY, "risk.position_share_bps_min=2001"], "risk.position_share_bps_min"),
        (KELLY, KELLY[1:], "risk.sizing"),
        (MAKER, MAKER[1:], "risk.entry"),
        (MAKER, [*MAKER, "risk.maker_patience_market_ms=5001"], "risk.maker_patience_market_ms"),
        (
            ["risk.entry=market"],
            ["risk.entry=market", "risk.maker_end=give_up"],
            "risk.maker_end",
        ),
        (
            [*BUCKETS, "risk.bucket_buffer_bps=1000"],
            [*BUCKETS, "risk.bucket_buffer_bps=999"],
            "risk.bucket_active_bps",
        ),
        (CORRELATED, CORRELATED[1:], "risk.correlation_bars:"),
        (CORRELATED, CORRELATED[:1], "risk.correlation_bars"),
        (
            [*CORRELATED, "risk.cluster_correlation_min=0.7", "risk.cluster_share_bps_max=800"],
            [*CORRELATED, "risk.cluster_correlation_min=0.7"],
            "risk.cluster_share_bps_max:",
        ),
        (
            [*CORRELATED, "risk.benchmark_symbol=BTCUSDT", "risk.benchmark_correlation_max=1.0"],
            [*CORRELATED, "risk.benchmark_symbol=BTCUSDT"],
            "risk.benchmark_symbol",
        ),
        (
            [*VOLATILE, "risk.volatility_ratio_max=1.9999"],
            [*VOLATILE, "risk.volatility_ratio_max=2"],
            "risk.volatility_ratio_max",
        ),
        (
            [*VOLATILE, "risk.volatility_ratio_max=1.5"],
            [*VOLATILE[1:], "risk.volatility_ratio_max=1.5"],
            "risk.benchmark_symbol:",
        ),
        (
            [*VOLATILE, "risk.volatility_ratio_max=1.5"],
            [*VOLATILE, "risk.volatility_ratio_max=1.5", "risk.volatility_bars_short=100"],
            "risk.volatility_bars_short",
        ),
        (
            [*DRIFTING, "risk.drift_max=0.2401"],
            [*DRIFTING, "risk.drift_max=0.24"],
            "risk.drift_max",
        ),
        (TIRED, TIRED[1:], "risk.fatigue_bar_interval:"),
        (TIRED, [TIRED[0], *TIRED[2:]], "risk.fatigue_change_bps_max:"),
        (TIRED, [*TIRED[:3], TIRED[4]], "risk.fatigue_bar_interval"),
        (TIRED, [*TIRED[:4], "market.warmup_bars=480"], "risk.fatigue_bar_interval"),
        (
            [*WATCHING, UNIVERSE.replace("MODE", "dynamic")],
            [*WATCHING, UNIVERSE.replace("MODE", "static")],
            "scanner.watched_bars",
        ),
        (['scanner={"bar_interval": "1m"}'], WATCHING, "scanner.watched_bars"),
        (
            ['scanner={"bar_interval": "1m"}', "strategy.rank_max=3"],
            ["strategy.rank_max=3"],
            "strategy.rank_max",
        ),
        (VADR, VADR[1:], "risk.vadr_bars:"),
        (VADR, [*VADR, "risk.vadr_bars=19"], "risk.vadr_bars"),
        (
            [*VADR, 'market.warmup_bars={"1m": 60, "4h": 25}'],
            [*VADR, 'market.warmup_bars={"1m": 60, "4h": 24}'],
            "risk.vadr_bars",
        ),
        (
            [*VADR, "risk.vadr_bars=55"],
            [*VADR, "risk.vadr_bars=56"],
            "risk.vadr_bars",
        ),
        (VADR, [*VADR, "risk.vadr_bar_interval=1h"], "risk.vadr_bar_interval"),
        (
            [*VADR, 'market.bar_intervals=["1s","1m","1d"]', "risk.vadr_bar_interval=1d"],
            [*VADR, 'market.bar_intervals=["1s","1m","3d"]', "risk.vadr_bar_interval=3d"],
            "risk.vadr_bar_interval",
        ),
        (
            ["risk.depth_min=100000", "market.book_depth=true"],
            ["risk.depth_min=100000", "market.book_depth=false"],
            "risk.depth_min",
        ),
        (["market.book_depth=true"], ["risk.depth_min=100000"], "risk.depth_min"),
        (
            ['risk.symbol_notional_max={"ETHUSDT": "1"}'],
            ['risk.symbol_notional_max={"ETHBTC": "1"}'],
            "risk.symbol_notional_max.ETHBTC",
        ),
    ],
)
def test_related_keys_are_held_together_on_both_sides_of_the_line(
    good: list[str], bad: list[str], key: str
) -> None:
    """Each relation passes at its limit and is refused just beyond it."""
    assert violations(DEMO, *good) == ()
    found = violations(DEMO, *bad)
    assert [text.split(" ")[0] for text in found] == [key]


@pytest.mark.parametrize("key", ["stop_atr_mult", "take_profit_atr_mult"])
def test_distance_in_atrs_is_exact_and_above_zero_or_null(key: str) -> None:
    """A value of more than four places is refused before a start, not in it."""
    for good in ("null", "3", "0.0001", "3.000000", "999999.9999"):
        assert violations(DEMO, f"risk.{key}={good}") == (), good
    for bad in ("0", "-1", "3.00001", "0.00001", "1000000", '"3\\n"', '""', "[]", "true"):
        assert len(violations(DEMO, f"risk.{key}={bad}")) == 1, bad


def test_keys_of_risk_that_may_be_null_are_taken_as_null() -> None:
    """Keys declared as optional or null can be written as null, which undoes a base's value."""
    keys = [key for key in fields(RiskSection) if OPTIONAL_OR_NULL.items() <= key.metadata.items()]

    refused = [key.name for key in keys if violations(NIGHT, f"risk.{key.name}=null")]

    assert keys
    assert refused == []


def test_stop_in_basis_points_stays_below_the_whole_price() -> None:
    """A distance of the price itself would be no stop; a target has no such bound."""
    for kind, most, beyond in (("stop", "9999.9999", "10000"), ("take_profit", "999999", "1e6")):
        sets = (f"risk.{kind}_atr_mult=null", f"risk.{kind}_bps={most}")
        assert violations(DEMO, *sets) == ()
        assert len(violations(DEMO, *sets, f"risk.{kind}_bps={beyond}")) == 1
        assert len(violations(DEMO, *sets, f"risk.{kind}_bps=0.00001")) == 1


@pytest.mark.parametrize(
    ("rest", "stream", "refused"),
    [
        ("https://data-api.binance.vision", "wss://data-stream.binance.vision", ()),
        ("https://data-api.binance.vision:443/", "wss://data-stream.binance.vision:9443", ()),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080", ()),
        ("http://localhost:1", "ws://[::1]:1", ()),
        ("http://data-api.binance.vision", "wss://x.example", ("rest_url",)),
        ("https://x.example", "ws://x.example", ("stream_url",)),
        ("https://user:pw@x.example", "wss://x.example", ("rest_url",)),
        ("https://x.example?key=1", "wss://x.example#a", ("rest_url", "stream_url")),
        ("wss://x.example", "https://x.example", ("rest_url", "stream_url")),
        ("file:///etc/passwd", "wss://x.example", ("rest_url",)),
        ("x.example", "", ("stream_url",)),
        ("https://x.example:99999", "wss://x.example", ("rest_url",)),
        ("http://127.0.0.1.example.org", "wss://x.example", ("rest_url",)),
        ("embedded", "embedded", ("rest_url", "stream_url")),
    ],
)
def test_hosts_are_encrypted_or_loopback(rest: str, stream: str, refused: tuple[str, ...]) -> None:
    """A real host needs https or wss, without users, queries or fragments."""
    found = violations(NIGHT, f"binance.rest_url={rest}", f"binance.stream_url={stream}")

    if stream:
        assert [text.split(" ")[0] for text in found] == [f"binance.{key}" for key in refused]
    else:
        assert any("binance.stream_url" in text for text in found)


def test_hosts_and_embedded_exchange_exclude_each_other() -> None:
    """Hosts and embedded exchange exclude each other."""
    found = violations(DEMO, "binance.rest_url=https://data-api.binance.vision")
    assert [text.split(" ")[0] for text in found] == ["binance.rest_url"]
    found = violations(DEMO, "embedded=null")
    assert {text.split(" ")[0] for text in found} == {"binance.rest_url", "binance.stream_url"}
    found = violations(NIGHT, "embedded.speed=3")
    assert len(found) == 1
    assert "embedded is null" in found[0]


@pytest.mark.row("N-36")
@pytest.mark.parametrize(
    ("processes", "words"),
    [
        ({"a": ["ai_role", "strategy_role"]}, ["processes.a", "ai_role", "N-36"]),
        ({"all": ["risk_role", "execution_role", "ai_role"]}, ["processes.all", "N-36"]),
        ({"b": ["risk_role", "execution_role"]}, ["processes.b", "process of its own"]),
        ({"c": ["ai_role"], "d": ["risk_role"]}, []),
        ({}, []),
    ],
)
def test_processes_that_merge_roles_are_refused(
    processes: dict[str, list[str]], words: list[str]
) -> None:
    """Merged roles are refused, the AI's above all."""
    found = violations(DEMO, f"processes={json.dumps(processes)}")

    assert (found == ()) is (words == [])
    assert all(word in found[0] for word in words)


@pytest.mark.row("N-92")
def test_queue_names_are_those_of_the_role_table() -> None:
    """A missing or unknown queue name is refused."""
    names = load_config(DEMO).raw["queues"]["names"]
    for changed in (names[1:], [*names, "rumours"]):
        found = violations(DEMO, f"queues.names={json.dumps(changed)}")
        assert [text.split(" ")[0] for text in found] == ["queues.names"]


@pytest.mark.slow
def test_every_key_of_a_profile_is_read_by_the_product() -> None:
    """The product reads every key of a profile."""
    read = b"".join(
        path.read_bytes()
        for path in (PROJECT / "minibot").rglob("*.py")
        if path.name not in ("config_sections.py", "config_rules.py")
    )
    # A key of which a rule allows one value alone needs no reader.
    ruled = {("queues", "base_dir"), ("queues", "names"), ("ai", "base_dir")}
    unread = []
    for section, keys in json.loads(NIGHT.read_bytes()).items():
        for key in keys if isinstance(keys, dict) else ():
            # Keys that are read in pairs.
            name = key.removesuffix("_soft").removesuffix("_hard").encode()
            if (section, key) not in ruled and not re.search(rb"[.\"']%s\b" % name, read):
                unread.append(f"{section}.{key}")

    assert unread == []


@pytest.mark.parametrize(
    ("section", "is_allowed"),
    [
        ('{"bar_interval":"1m"}', True),
        ('{"bar_interval":"1h","range_bps_min":"2","range_bps_max":"2"}', True),
        ("{}", False),
        ('{"bar_interval":"15m"}', False),
        ('{"bar_interval":"1h","range_bps_min":"3","range_bps_max":"2"}', False),
        ('{"bar_interval":"1h","mode":"often"}', False),
        ('{"bar_interval":"1h","every_market_ms":59999}', False),
    ],
)
def test_scanner_reads_bars_that_are_made_and_a_range_that_exists(
    section: str, is_allowed: bool
) -> None:
    """The night makes bars of 1m and 1h: no other can be ranked by."""
    found = violations(NIGHT, f"scanner={section}")

    assert (not found) is is_allowed
    assert all(text.startswith("scanner.") for text in found)


@pytest.mark.parametrize(
    ("every_ms", "refused"), [(14_400_000, []), (14_400_001, ["risk.entry_regimes"])]
)
def test_entries_by_regime_need_a_scan_in_each_regime(every_ms: int, refused: list[str]) -> None:
    """A regime holds four hours, and only a scan decides the next one."""
    scanner = f'scanner={{"bar_interval":"1m","every_market_ms":{every_ms}}}'
    bars = 'market.bar_intervals=["1m","1h","4h"]'
    found = violations(NIGHT, scanner, bars, 'risk.entry_regimes=["trending"]')

    assert [text.split(" ")[0] for text in found] == refused
    assert violations(NIGHT, scanner) == ()


@pytest.mark.parametrize(
    ("regimes", "bars", "refused"),
    [
        ('["trending","mixed"]', '["1m","1h"]', []),
        ('["trending"]', '["1m","1h","4h"]', []),
        ('["trending"]', '["1m","1h"]', ["risk.entry_regimes"]),
    ],
)
def test_entries_by_regime_need_bars_of_which_one_is_told(
    regimes: str, bars: str, refused: list[str]
) -> None:
    """Without bars of 4h the regime is mixed for ever, so a profile without it never enters."""
    sets = (f"risk.entry_regimes={regimes}", f"market.bar_intervals={bars}")
    found = violations(NIGHT, 'scanner={"bar_interval":"1m"}', *sets)

    assert [text.split(" ")[0] for text in found] == refused


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ('{"1m": 1001}', "market.warmup_bars.1m"),
        ('{"1m": 0}', "market.warmup_bars.1m"),
        ('{"7m": 60}', "market.warmup_bars"),
        ("{}", "market.warmup_bars"),
        ("1001", "market.warmup_bars"),
        ("null", "market.warmup_bars"),
    ],
)
def test_warm_up_is_a_number_or_a_table_that_one_request_each_can_bring(
    table: str, key: str
) -> None:
    """A thousand bars are what one answer has: more, none and unknown lengths are refused."""
    assert violations(DEMO, 'market.warmup_bars={"1m": 1000, "4h": 1}') == ()

    (found,) = violations(DEMO, f"market.warmup_bars={table}")
    assert found.startswith(f"{key} = ")


@pytest.mark.row("C-06")
@pytest.mark.parametrize("name", ["coingecko", "coinmarketcap", "dexscreener"])
def test_aggregator_is_no_venue_of_a_profile(name: str) -> None:
    """A profile names an exchange whose own book and trades are read; no other name is known."""
    (found,) = violations(DEMO, f"venue={name}")

    assert found.startswith(f'venue = "{name}"')


DECIMALS = sorted(
    f"{section}.{key}"
    for section, of in (("risk", RiskSection), ("execution", ExecutionSection))
    for key, hint in get_type_hints(of, include_extras=True).items()
    if {DECIMAL["$ref"], DECIMAL_POSITIVE["$ref"], FEE_BPS["$ref"]}
    & {each.get("$ref") for each in get_args(hint)[1:] if isinstance(each, Mapping)}
)


@pytest.mark.parametrize("key", DECIMALS)
def test_amount_with_more_places_than_are_counted_is_refused(key: str) -> None:
    """A decimal of more than eight places is refused where it stands, not by a core that fails."""
    lines = violations(PORTFOLIO, f"{key}=1.123456789")

    assert [line for line in lines if line.startswith(key) and "places" in line]


@pytest.mark.parametrize("key", DECIMALS)
def test_amount_with_more_zeros_than_a_reader_takes_is_refused(key: str) -> None:
    """Zeros behind the point count: a profile allows as many as `parse_amount` takes."""
    for zeros, is_taken in ((18, True), (19, False)):
        text = f"1.{'0' * zeros}"
        lines = [line for line in violations(PORTFOLIO, f'{key}="{text}"') if "places" in line]

        assert [line.split(" ")[0] for line in lines] == ([] if is_taken else [key])
        with nullcontext() if is_taken else pytest.raises(NumberError):
            parse_amount(text)


def test_cash_has_as_many_digits_as_an_event_holds() -> None:
    """The cash of a profile opens a run in an event, whose numbers are bounded."""
    for digits, is_held in ((CASH_DIGITS_MAX, True), (CASH_DIGITS_MAX + 1, False)):
        assert (re.search(NUMBER["pattern"], "9" * digits) is not None) is is_held


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("execution.latency_market_ms", 5000),
        ("binance.error_samples_min", 31),
        ("ai.permitted_queues", ["control", "fills"]),
        ("watchdog.lease_ms", 1001),
        ("watchdog.hung_ms", 1001),
        ("portfolio.cash", "9" * 21),
        ("risk.order_notional", f"1.{'0' * 19}"),
    ],
)
def test_manifest_of_a_run_with_a_value_that_is_refused_since_stays_readable(
    key: str, value: object
) -> None:
    """Rules judge what is to be started, not what was recorded."""
    raw = json.loads(json.dumps(load_config(DEMO).raw))
    section, _, name = key.partition(".")
    raw[section][name] = value

    assert violations(DEMO, f"{key}={json.dumps(value)}")
    assert config_of_manifest(raw).raw == raw


@pytest.mark.parametrize("key", ["execution.maker_fee_bps", "execution.taker_fee_bps"])
def test_fee_is_exact_and_takes_less_than_a_tenth(key: str) -> None:
    """Fees have four places and stay below 1000 bps."""
    assert violations(PORTFOLIO, f"{key}=1.23456")
    assert violations(PORTFOLIO, f"{key}=1000")
    for valid in ("0", "7.5", "0.0001", "999.9999", "1.50000000"):
        assert violations(PORTFOLIO, f"{key}={valid}") == ()
