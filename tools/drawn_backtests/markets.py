"""Profiles and bars of a drawn backtest."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.portfolio import Merged
from minibot.engine.bar_series import BarSeries
from minibot.engine.intrabar import Candle
from minibot.events.model import JsonObject
from minibot.events.money import UNIT
from minibot.events.unit_sizes import MINUTE_MS
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import Config, config_with
from tools.risk_storm.profiles import DRAWS_MAX, drawn_profile

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
INTERVALS: Final = ("1m", "5m", "15m")
MONDAY_MS: Final = 1_735_516_800_000
"""2024-12-30 00:00 UTC."""
STARTS: Final = (0, 1_200, 6 * 1_440 + 1_200)
"""Minutes behind `MONDAY_MS` at which a market begins: midnight, or a day's or a week's end."""
ROWS: Final = (150, 400, 800)
BANDS: Final = {"period": 5, "below": 45, "above": 55, "warm": 5}
STRATEGIES: Final = (
    *("wild", "wild", "wild", "wild", "wild", "rsi_band", "rsi_band"),
    *("maker_grid", "dca", "trail_pullback", "ema_cross", "nore_strategy_v1"),
)
GATES: Final = ("vadr_", "fatigue_", "depth_")
"""Gates that need more than some hundred bars: mostly left out, so that there are trades."""
Source = BarSource | Merged


def drawn(rng: random.Random) -> tuple[Config, Source]:
    """Return a profile and its market; what `config check` or the source refuses is drawn again.

    Raises:
        ConfigError: Fifty draws in a row were refused.
    """
    for left in range(DRAWS_MAX, 0, -1):
        try:
            config = _config(rng)
            return config, _source(rng, config)
        except ConfigError:
            if left == 1:
                raise
    raise AssertionError("no draw was made")


def _config(rng: random.Random) -> Config:
    raw = drawn_profile(rng)
    own, trend = rng.sample(INTERVALS, 2)
    raw["market"]["bar_intervals"] = sorted({own, trend, *raw["market"]["bar_intervals"]} - {"1s"})
    raw["strategy"] |= {"bar_interval": own, "trend_interval": trend}
    leave_gates_out(rng, raw)
    keys = strategy_keys(rng, rng.choice(STRATEGIES)) | _times(rng) | _scanner(rng, raw)
    # What is short beside a bar would leave most entries unfilled, as would a lack of edge.
    for key in ("maker_patience_market_ms", "late_fill_market_ms"):
        if raw["risk"].get(key) is not None and rng.random() < 0.7:
            raw["risk"][key] = 100_000
    if raw["risk"].get("sizing") == "kelly" and rng.random() < 0.7:
        raw["risk"]["sizing"] = "share"
    return config_with(raw, [f"{name}={json.dumps(value)}" for name, value in keys.items()])


def leave_gates_out(rng: random.Random, raw: JsonObject) -> None:
    """Leave `GATES` out of nine profiles of ten."""
    if rng.random() < 0.9:
        raw["market"]["book_depth"] = False
        risk = raw["risk"]
        raw["risk"] = {key: risk[key] for key in risk if not key.startswith(GATES)}


def strategy_keys(rng: random.Random, name: str) -> JsonObject:
    """Return a strategy's name and drawn parameters, by the keys of a profile."""
    keys: JsonObject = {"strategy.name": name}
    if name == "wild":
        keys["strategy.folder"] = str(Path(__file__).parent)
        keys["strategy.parameters.kind"] = rng.randrange(10**6)
        keys["strategy.parameters.often"] = rng.choice([1, 2, 4, 20])
    elif name == "rsi_band":
        keys |= {f"strategy.parameters.{key}": value for key, value in BANDS.items()}
    elif name == "maker_grid":
        keys["strategy.parameters.step"] = "0.04"
    elif name == "nore_strategy_v1":
        keys |= {"strategy.momentum_bps_min": "0.5", "strategy.cost_gate": False}
    return keys


def _scanner(rng: random.Random, raw: JsonObject) -> JsonObject:
    """Draw a scanner for one profile of four: what reads its ranks and its regime, too."""
    if rng.random() < 0.75:
        return {}
    scanner: JsonObject = {
        "bar_interval": rng.choice(raw["market"]["bar_intervals"]),
        "mode": rng.choice(["time", "event"]),
        "every_market_ms": rng.choice([60_000, 90_000, 300_000, 3_600_000]),
    }
    keys: JsonObject = {"scanner": scanner}
    if rng.random() < 0.4:
        keys["strategy.rank_max"] = rng.choice([1, 2, 3])
    if rng.random() < 0.2:
        keys["risk.entry_regimes"] = ["mixed"]
    return keys


def _times(rng: random.Random) -> JsonObject:
    """Draw lives and delays; most orders live until the next bar, where its first tick meets."""
    keys: JsonObject = {"risk.signal_age_ms_max": rng.choice([3_000, 60_000])}
    if rng.random() < 0.85:
        keys |= {
            "risk.intent_ttl_ms": 100_000,
            "risk.tick_age_ms_max": 100_000,
            "execution.tick_age_ms_max": 100_000,
            "execution.order_ttl_market_ms": rng.choice([100_000, 180_000, 3_600_000]),
        }
    some: JsonObject = {
        "backtest.night_ms": rng.choice([3_600_000, 25_200_000]),
        "backtest.spread_bps": rng.choice(["0.1", "3", "7.5"]),
        "backtest.size_percent": rng.choice([1, 50, 100]),
        "portfolio.close_market_ms": rng.choice([1_000, 600_000]),
        "risk.time_exit_ms": rng.choice([60_000, 300_000, 1_200_000]),
    }
    return keys | {key: value for key, value in some.items() if rng.random() < 0.4}


def _source(rng: random.Random, config: Config) -> Source:
    """Draw the bars of one to four symbols; only one of several has holes."""
    count, first, rows = rng.choice([1, 1, 2, 3, 4]), rng.choice(STARTS), rng.choice(ROWS)
    holes = rng.choice([0.0, 0.02, 0.15])
    sources = []
    for at in range(count):
        share = holes if at == min(1, count - 1) else 0.0
        candles = list(_candles(rng, first, rows - 7 * at, share))
        sources.append(BarSource(series(candles, SYMBOLS[at]), config))
    return sources[0] if count == 1 else Merged(sources)


def _candles(rng: random.Random, first: int, rows: int, holes: float) -> Iterator[Candle]:
    """Yield minutes of a random walk with flat ones, jumps, and some without a trade."""
    price, calm = rng.choice([40_000.0, 100.0, 3.0]), rng.choice([0.0003, 0.0008, 0.003])
    for number in range(first, first + rows):
        move = 10 * calm if rng.random() < 0.01 else calm
        opened = price if rng.random() < 0.6 else price * (1 + rng.gauss(0, move))
        low = opened * (1 - abs(rng.gauss(0, move)) * (rng.random() < 0.8))
        high = opened * (1 + abs(rng.gauss(0, move)) * (rng.random() < 0.8))
        price = rng.choice([low, high, rng.uniform(low, high)])
        volume = 0.0 if rng.random() < 0.03 else rng.uniform(0, 900)
        # The first bar stands, so that all symbols begin at one time.
        if number == first or rng.random() >= holes:
            amounts = [round(round(each, 2) * UNIT) for each in (opened, high, low, price, volume)]
            start = MONDAY_MS + MINUTE_MS * number
            yield Candle(*(start, start + MINUTE_MS, *amounts))


def series(candles: list[Candle], symbol: str) -> BarSeries:
    """Return minutes as a file of them gives them."""
    first, last = candles[0].open_ts, candles[-1].end_ts
    return BarSeries("drawn", symbol, "1m", first, last, "0.01", "0.00001", lambda: candles)
