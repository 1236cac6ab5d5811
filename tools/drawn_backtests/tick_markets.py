"""Profiles and ticks of a drawn backtest."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from minibot.backtest.sources.ticks import TickSource
from minibot.data.columns import Columns
from minibot.data.convert import write_ticks
from minibot.data.ticks import (
    HAS_EXCHANGE_TS,
    IS_TAKER_SELL,
    IS_TRADE,
    TICK_COLUMNS,
    TICKS,
    TRADE_COLUMNS,
    TRADES,
    TickColumns,
    empty_columns,
    sum_up,
)
from minibot.data.treatment import DataReport, Treatment
from minibot.events.model import JsonObject
from minibot.events.money import UNIT
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import Config, config_with
from tools.drawn_backtests.markets import MONDAY_MS, STARTS, SYMBOLS, leave_gates_out, strategy_keys
from tools.risk_storm.profiles import DRAWS_MAX, drawn_profile

STRATEGIES: Final = (
    *("wild", "wild", "wild", "wild", "rsi_band"),
    *("maker_grid", "dca", "trail_pullback", "ema_cross", "ema_cross", "nore_strategy_v1"),
)
ROWS: Final = (1_500, 3_000, 5_000)
STEP: Final = UNIT // 100
PAUSES_MS: Final = (0, 0, 0, 3, 40, 90, 300)
"""Time from one tick to the next; many come within one millisecond."""


def drawn_ticks(rng: random.Random, folder: Path) -> tuple[Config, TickSource]:
    """Return a profile and a file of ticks or trades in a folder, as a source.

    Raises:
        ConfigError: Fifty draws in a row were refused.
    """
    for left in range(DRAWS_MAX, 0, -1):
        try:
            config = _config(rng)
        except ConfigError:
            if left == 1:
                raise
            continue
        return config, TickSource(Columns(_written(rng, folder)), config, "drawn")
    raise AssertionError("no draw was made")


def _config(rng: random.Random) -> Config:
    raw = drawn_profile(rng)
    leave_gates_out(rng, raw)
    raw["market"]["book_depth"] = False  # Files of ticks hold no book.
    keys = strategy_keys(rng, rng.choice(STRATEGIES)) | _eased(rng)
    if rng.random() < 0.3:
        keys["backtest.spread_bps"] = rng.choice(["0.1", "3", "7.5"])
    return config_with(raw, [f"{name}={json.dumps(value)}" for name, value in keys.items()])


def _eased(rng: random.Random) -> JsonObject:
    """Ease some of what would leave most markets without a trade."""
    keys: JsonObject = {
        "risk.tick_age_ms_max": 60_000,
        "execution.tick_age_ms_max": 60_000,
        "risk.orders_per_minute_soft": 300,
        "risk.orders_per_minute_hard": 600,
        "risk.late_fill_market_ms": None,
        "risk.sizing": "share",
        "risk.order_notional": "500",
    }
    return {key: value for key, value in keys.items() if rng.random() < 0.7}


def _written(rng: random.Random, folder: Path) -> Path:
    """Write a drawn market; return the path of its file."""
    kind = rng.choice([TICKS, TICKS, TICKS, TRADES])
    symbol = rng.choice(SYMBOLS)
    names = TRADE_COLUMNS if kind == TRADES else TICK_COLUMNS
    table = TickColumns(symbol, empty_columns(names), DataReport(folder, kind, symbol))
    for row in _rows(rng, rng.choice(ROWS), is_bare=kind == TRADES):
        for name, value in zip(names, row, strict=False):
            table.columns[name].append(value)
    sum_up(table)
    return write_ticks(table, folder, Treatment()).path


def _rows(rng: random.Random, count: int, *, is_bare: bool) -> Iterator[tuple[int, ...]]:
    """Yield ticks of a walk in price steps: bursts, pauses, jumps, and quotes among the trades.

    Args:
        rng: Draws them.
        count: Number of ticks.
        is_bare: True for trades alone, which have no touch.
    """
    price = 100 * rng.choice([40_000, 900, 100])
    wide, calm = rng.choice([1, 3, 8]), rng.choice([0.2, 0.5, 0.9])
    longest = max(1, price // 20_000)
    quotes = 0.0 if is_bare else rng.choice([0.0, 0.4, 0.8])
    untimed = 0.0 if is_bare else rng.choice([0.0, 0.0, 0.3])
    ts = MONDAY_MS + 60_000 * rng.choice(STARTS)
    sizes = [rng.randint(1, 900) * UNIT // 1_000 for _ in range(4)]
    bid_qty = ask_qty = sizes[0]
    for number in range(count):
        # The first tick stands, so that the pauses lie between ticks.
        ts += 0 if not number else rng.choice(PAUSES_MS) + (rng.random() < 0.001) * 90_000
        if rng.random() > calm:
            price = max(longest + 1, price + rng.randint(-longest, longest))
        if rng.random() < 0.004:
            price = max(longest + 1, price * (10_000 + rng.randint(-80, 80)) // 10_000)
        ask = price + rng.randint(1, wide)
        if rng.random() > calm:
            bid_qty, ask_qty = rng.choice(sizes), rng.choice(sizes)
        flags = 0 if rng.random() < quotes else IS_TRADE
        is_sell = rng.random() < 0.5
        flags |= IS_TAKER_SELL if flags and is_sell else 0
        flags |= 0 if rng.random() < untimed else HAS_EXCHANGE_TS
        traded = price if is_sell else ask
        qty = rng.choice(sizes) if flags & IS_TRADE else 0
        exchange_ts = ts - rng.randint(0, 4) if flags & HAS_EXCHANGE_TS else 0
        yield (
            *(ts, traded * STEP, qty, number + 1, flags),
            *(price * STEP, bid_qty, ask * STEP, ask_qty, exchange_ts),
        )
