"""Drawn cases: closed trades under drawn protections, all of it from a seed.

Ratios, profits and limits are whole parts of 256, which decimals of eight places and floats hold
exactly. Freqtrade adds floats, so that a sum of other ratios may pass a limit that it only meets.
Trades close at the ends of look-backs and locks, a second before and behind them, or together.
Weekly bars are not drawn: freqtrade's begin on Thursday.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, Final

from minibot.events.intervals import INTERVAL_MS
from tests.risk.freqtrade_locks import Case, Closed

TRADES_OF_CASE: Final = 30
INTERVALS: Final = ("1m", "5m", "15m", "1h", "4h", "1d")
SYMBOLS: Final = ("AAA", "BBB", "CCC", "DDD")
REASONS: Final = (
    *("stop_loss", "stop_loss", "stop_loss", "trailing_stop", "hard_stop", "break_even"),
    *("signal_stop", "take_profit", "signal_exit"),
)
DENOMINATOR: Final = 256
RATIOS: Final = (-16, -8, -8, -4, 0, 4, 8, 12)
"""Ratios of trades in parts of 256: few, so that sums often meet a limit."""
SPENT: Final = (64, 256, 512)
SPAN_BARS_MAX: Final = 24


def drawn_cases(seed: int, trades: int) -> list[Case]:
    """Return cases with so many trades together; the locks behind each trade are left out."""
    chance = random.Random(seed)
    cases = []
    for begin in range(0, trades, TRADES_OF_CASE):
        interval = chance.choice(INTERVALS)
        bar_s = INTERVAL_MS[interval] // 1000
        drawn = [_protection(chance, bar_s // 60) for _ in range(chance.randint(1, 5))]
        spans = [bar_s, *(span for _, spans in drawn for span in spans)]
        seconds = _seconds(chance, min(TRADES_OF_CASE, trades - begin), bar_s, spans)
        closed = tuple(_closed(chance, second) for second in seconds)
        name = f"seed {seed}, trades from {begin}"
        cases.append(Case(name, interval, [row for row, _ in drawn], closed))
    return cases


def _protection(chance: random.Random, bar_minutes: int) -> tuple[dict[str, Any], list[int]]:
    """Return a protection as the profile has it, and its spans of time in seconds."""
    method = chance.choice(("StoplossGuard", "CooldownPeriod", "MaxDrawdown", "LowProfitPairs"))
    row: dict[str, Any] = {"method": method}
    spans = []
    if method != "CooldownPeriod":
        spans.append(_span(chance, row, "lookback_period", bar_minutes))
        row["trade_limit"] = chance.randint(1, 5)
    if chance.random() < 0.2:
        row["unlock_at"] = f"{chance.randrange(24):02}:{chance.randrange(60):02}"
    else:
        spans.append(_span(chance, row, "stop_duration", bar_minutes))
    if method == "LowProfitPairs" or (method == "StoplossGuard" and chance.random() < 0.5):
        row["required_profit"] = _part(4 * chance.randint(-4, 2))
    if method == "StoplossGuard" and chance.random() < 0.5:
        row["only_per_pair"] = chance.random() < 0.8
    if method == "MaxDrawdown":
        row["max_allowed_drawdown"] = _part(4 * chance.randint(0, 12))
        if chance.random() < 0.6:
            row["calculation_mode"] = chance.choice(("ratios", "equity"))
    return row, spans


def _span(chance: random.Random, row: dict[str, Any], key: str, bar_minutes: int) -> int:
    """Add a span to a protection, in bars or in minutes; return it in seconds."""
    if chance.random() < 0.5:
        bars = row[f"{key}_candles"] = chance.randint(1, SPAN_BARS_MAX)
        return bars * bar_minutes * 60
    minutes = row[key] = chance.randint(1, SPAN_BARS_MAX * bar_minutes)
    return minutes * 60


def _seconds(chance: random.Random, size: int, bar_s: int, spans: list[int]) -> list[int]:
    """Return the seconds of the closes, each at or behind the one before."""
    made = [0]
    while len(made) < size:
        second = chance.choice(made[-8:]) + chance.choice(spans) + chance.choice((-1, 0, 0, 1))
        if chance.random() < 0.1:
            second -= second % bar_s
        if second < made[-1] or chance.random() < 0.3:
            second = made[-1] + chance.choice((0, 1, 60, chance.randint(1, 3 * bar_s)))
        made.append(second)
    return made


def _closed(chance: random.Random, second: int) -> Closed:
    parts = chance.choice(RATIOS)
    profit = _part(parts * chance.choice(SPENT))
    return Closed(chance.choice(SYMBOLS), second, chance.choice(REASONS), _part(parts), profit, ())


def _part(parts: int) -> str:
    """Return so many parts of 256 as a decimal number."""
    return f"{Decimal(parts) / DENOMINATOR:f}"
