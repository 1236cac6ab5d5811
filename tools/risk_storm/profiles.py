"""Profiles of a storm: entries, exits, sizing, protections and fills, drawn anew each night."""

from __future__ import annotations

import json
import random
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import config_with, load_config

PROFILE: Final = "config/nore-demo.v1.json"
DRAWS_MAX: Final = 50
DAYS_BARS: Final = 60
"""Bars of each length that a night knows at its start: a day of hours, VADR's readings, RSI."""

Keys = dict[str, Any]


def drawn_profile(rng: random.Random) -> JsonObject:
    """Return a resolved profile; what `config check` refuses is drawn again.

    Raises:
        ConfigError: Fifty draws in a row were refused.
    """
    base = load_config(PROFILE).raw
    for left in range(DRAWS_MAX, 0, -1):
        keys = _limits(rng) | _exits(rng) | _sizing(rng) | _standing(rng) | _execution(rng)
        keys |= _entry(rng) | _returns(rng) | _late(rng) | _depth(rng)
        # Chance of its own, so that a night without these gates is as it was without them.
        rest = random.Random(json.dumps(keys, sort_keys=True))
        keys |= _days(rest) | _times(rest)
        if keys.get("risk.exits_at") == "venue":
            keys |= _some(rest, 0.6, {"risk.stop_limit_bps": rest.choice(["1", "15", "200"])})
        sets = [f"{name}={json.dumps(value)}" for name, value in keys.items()]
        try:
            return config_with(base, sets).raw
        except ConfigError:
            if left == 1:
                raise
    raise AssertionError("no draw was made")


def _limits(rng: random.Random) -> Keys:
    order = rng.choice(["50", "500", "2500"])
    night = rng.choice([3_000, 40_000, 2_000_000])
    loss = rng.choice([2, 20, 500, 9_000, 9_000])
    rate = rng.choice([4, 20, 300])
    return {
        "portfolio.cash": rng.choice(["600", "10000"]),
        "portfolio.at_end": rng.choice(["close", "carry"]),
        "strategy.bar_interval": "1s",
        "strategy.atr_period": rng.choice([2, 5]),
        "risk.order_notional": order,
        "risk.position_notional_max": rng.choice([order, "6000"]),
        "risk.positions_max": rng.choice([1, 2, 3]),
        "risk.exposure_ratio_max_bps": rng.choice([2_000, 10_000]),
        **{f"risk.{span}_notional_soft": str(night) for span in ("night", "day")},
        **{f"risk.{span}_notional_hard": str(night * 2) for span in ("night", "day")},
        **{f"risk.{span}_loss_soft": str(loss) for span in ("night", "day")},
        **{f"risk.{span}_loss_hard": str(loss * 2) for span in ("night", "day")},
        "risk.drawdown_bps_soft": 9_000,
        "risk.drawdown_bps_hard": 9_500,
        "risk.orders_per_minute_soft": rate,
        "risk.orders_per_minute_hard": rate * 2,
        "risk.signal_age_ms_max": 3_000,
        "risk.tick_age_ms_max": rng.choice([2_000, 60_000]),
        "risk.intent_ttl_ms": rng.choice([500, 5_000]),
        "risk.left_trading": rng.choice(["hold", "close"]),
        "risk.reference_deviation_bps_max": 10_000,
        **_some(rng, 0.3, {"risk.entry_spread_bps_max": 50}),
    }


def _exits(rng: random.Random) -> Keys:
    """Draw exits; a hard stop always stands."""
    in_atr = rng.random() < 0.3
    stop = {"risk.stop_atr_mult": "3.0", "risk.take_profit_atr_mult": None}
    if not in_atr:
        stop = {"risk.stop_atr_mult": None, "risk.take_profit_atr_mult": None}
        stop |= _some(rng, 0.6, {"risk.stop_bps": rng.choice(["30", "200", "500"])})
        stop |= _some(rng, 0.5, {"risk.take_profit_bps": rng.choice(["40", "300"])})
    rungs = {"risk.ladder_1_bps": "60", "risk.ladder_2_bps": rng.choice(["90", "400"])}
    hard = rng.choice(["60", "500", "1000"])
    policy = _policy(rng, int(hard), rungs)
    if "risk.recovery" in policy and rng.random() < 0.7:
        # No stop stands before the rows of the recovery.
        return {
            "risk.hard_stop_bps": "1000",
            **{"risk.stop_atr_mult": None, "risk.take_profit_atr_mult": None},
            **policy,
            **_some(rng, 0.3, {"risk.exits_at": "venue"}),
            "risk.signal_exit": rng.random() < 0.3,
            "risk.time_exit_ms": None,
        }
    return {
        "risk.hard_stop_bps": hard,
        **stop,
        **_some(rng, 0.6, {"risk.trail_bps": rng.choice(["25", "150", "300"])}),
        **_some(rng, 0.3, {"risk.trail_from_bps": "80"}),
        **_some(rng, 0.4, {"risk.break_even_bps": rng.choice(["40", "120"])}),
        **_some(rng, 0.3, {"risk.targets_by_age": [[0, "200"], [1, "60"], [3, "10"]]}),
        **_some(rng, 0.3, {"risk.stale_exit_ms": 5_000}),
        **policy,
        **_some(rng, 0.6, {"risk.exits_at": rng.choice(["role", "venue"])}),
        "risk.signal_exit": rng.random() < 0.7,
        "risk.time_exit_ms": rng.choice([None, 20_000, 300_000]),
    }


def _policy(rng: random.Random, hard_bps: int, rungs: Keys) -> Keys:
    """Draw the exit policy; the rows of a recovery stand before the hard stop."""
    draw = rng.random()
    if draw < 0.3:
        return {"risk.exit_policy": "ladder", **rungs}
    if draw < 0.5:
        return {}
    whole = ["hold", "de-risk", "exit"]
    choices = rng.choice([["hold"], whole, ["de-risk", "hold"], ["de-risk", "exit"]])
    losses = sorted(rng.sample(range(1, min(hard_bps, 80)), len(choices)))
    recovery = [[str(loss), choice] for loss, choice in zip(losses, choices, strict=True)]
    part = {"risk.recovery_part_percent": rng.choice([5, 50, 99])} if "de-risk" in choices else {}
    return {
        "risk.exit_policy": "campaign",
        "risk.campaign_entries_max": rng.choice([1, 2, 5, 100]),
        "risk.campaign_loss_max": rng.choice(["2", "20", "300", "3000"]),
        # Room for further entries.
        **_some(rng, 0.7, {"risk.position_notional_max": "6000"}),
        **_some(rng, 0.6, {"risk.campaign_entry_wait_market_ms": rng.choice([300, 60_000])}),
        **_some(rng, 0.7, {"risk.recovery": recovery, **part}),
        **_some(rng, 0.5, rungs),
    }


def _sizing(rng: random.Random) -> Keys:
    kind = rng.choice([None, "share", "risk", "kelly"])
    if kind is None:
        return {}
    buckets = {"active": 6_000, "reserve": 3_000, "buffer": 1_000}
    keys: Keys = {f"risk.bucket_{name}_bps": share for name, share in buckets.items()}
    keys["risk.sizing"] = kind
    if kind == "risk":
        keys["risk.risk_per_trade_bps"] = rng.choice([10, 200])
    if kind == "kelly":
        keys |= {
            "risk.position_share_bps_min": 100,
            "risk.kelly_window_market_ms": rng.choice([60_000, 3_600_000]),
            "risk.kelly_trades_min": rng.choice([1, 5]),
        }
    return keys | _some(rng, 0.4, {"risk.position_share_bps_max": 2_500})


def _standing(rng: random.Random) -> Keys:
    guards = [
        {"method": "CooldownPeriod", "stop_duration_candles": 20},
        {
            "method": "StoplossGuard",
            "lookback_period_candles": 600,
            "trade_limit": 2,
            "stop_duration_candles": 90,
        },
        {"method": "LossesInRow", "trade_limit": 3, "stop_duration_candles": 120},
    ]
    tiers = [
        {"state": "REDUCING", "drawdown_bps": 50, "back_bps": 20, "entry_percent": 50},
        {"state": "HALTED", "drawdown_bps": 300, "back_bps": 200},
    ]
    account = {"risk.drawdown_tiers": tiers, "risk.account_drawdown_bps_hard": 2_000}
    some = rng.sample(guards, rng.randint(1, len(guards)))
    return _some(rng, 0.4, {"risk.protections": some}) | _some(rng, 0.4, account)


def _returns(rng: random.Random) -> Keys:
    """Draw gates by closed bars; most limits let some entries through."""
    cluster = {"risk.cluster_correlation_min": "0.3", "risk.cluster_share_bps_max": 900}
    volatility = {
        "risk.benchmark_symbol": "BTCUSDT",
        "risk.volatility_bars_short": 3,
        "risk.volatility_bars_long": 12,
        "risk.volatility_ratio_max": rng.choice(["1.1", "1.9"]),
    }
    drift = {"risk.drift_bars": 10, "risk.drift_reference_bars": 20, "risk.drift_max": "0.7"}
    like = {"risk.correlation_max": rng.choice(["0.2", "0.8"])}
    keys = _some(rng, 0.2, cluster) | _some(rng, 0.1, like)
    if keys:
        keys["risk.correlation_bars"] = 10
    return keys | _some(rng, 0.1, volatility) | _some(rng, 0.1, drift)


def _late(rng: random.Random) -> Keys:
    """Draw gates of late entries; most limits let some entries through."""
    confidence = {"risk.confidence_min": rng.choice([20, 60])}
    bars = {"risk.bars_late_max": rng.choice([0, 3])}
    move = {"risk.price_move_atr_max": rng.choice(["0.5", "3"])}
    return _some(rng, 0.1, confidence) | _some(rng, 0.1, bars) | _some(rng, 0.1, move)


def _depth(rng: random.Random) -> Keys:
    return _some(rng, 0.15, {"market.book_depth": True, "risk.depth_min": "1500"})


def _days(rng: random.Random) -> Keys:
    """Draw gates by bars of the last days; most limits let some entries through."""
    vadr = {
        "risk.vadr_bar_interval": "1h",
        "risk.vadr_bars": 20,
        "risk.vadr_min": rng.choice(["0.6", "1.05"]),
    }
    fatigue = {
        "risk.fatigue_bar_interval": rng.choice(["1h", "4h"]),
        "risk.fatigue_change_bps_max": rng.choice([50, 400]),
        "risk.fatigue_rsi_max": rng.choice([40, 70]),
        **_some(rng, 0.5, {"risk.fatigue_acceleration_bps_min": rng.choice([1, 80])}),
    }
    keys = _some(rng, 0.2, vadr) | _some(rng, 0.2, fatigue)
    if keys:
        built = ["1s", "1m", "1h", "4h"]
        keys |= {"market.bar_intervals": built, "market.warmup_bars": DAYS_BARS}
    return keys


def _times(rng: random.Random) -> Keys:
    """Draw exits by time: a silence, and a horizon that follows volatility and thesis."""
    horizon = {
        "risk.horizon_ms": 30_000,
        "risk.horizon_ms_min": rng.choice([5_000, 30_000]),
        "risk.horizon_ms_max": rng.choice([30_000, 400_000]),
        "risk.horizon_bars_short": 3,
        "risk.horizon_bars_long": 12,
        **_some(rng, 0.5, {"risk.horizon_thesis_bps": rng.choice(["1", "60"])}),
    }
    silent = {"risk.silent_exit_ms": rng.choice([8_000, 200_000])}
    return _some(rng, 0.2, silent) | _some(rng, 0.2, horizon)


def _execution(rng: random.Random) -> Keys:
    return {
        "execution.latency_market_ms": rng.choice([0, 50, 900]),
        "execution.maker_fee_bps": "7.5",
        "execution.taker_fee_bps": rng.choice(["0", "10"]),
        "execution.tick_age_ms_max": rng.choice([2_000, 60_000]),
        "execution.order_ttl_market_ms": rng.choice([500, 5_000, 60_000]),
        "execution.left_trading": rng.choice(["hold", "cancel"]),
        "execution.fill_model": rng.choice(["touch", "worse", "queue", "book"]),
        **_some(rng, 0.3, {"execution.fee_asset": rng.choice(["quote", "base"])}),
        **_some(rng, 0.3, {"execution.latency_drawn_market_ms": [0, 20, 70, 1_500]}),
    }


def _entry(rng: random.Random) -> Keys:
    maker = {
        "risk.entry": "maker",
        "risk.maker_patience_market_ms": rng.choice([100, 400]),
        "risk.maker_requotes": rng.choice([0, 1, 4, 20]),
        "risk.maker_end": rng.choice(["give_up", "take"]),
    }
    limits = {"risk.limit_entries_max": rng.choice([2, 3, 10])}
    late = {"risk.late_fill_market_ms": rng.choice([1_000, 3_000])}
    return _some(rng, 0.5, maker) | _some(rng, 0.4, limits) | _some(rng, 0.1, late)


def _some(rng: random.Random, share: float, keys: Keys) -> Keys:
    return keys if rng.random() < share else {}
