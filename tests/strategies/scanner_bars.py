"""Bars for the scanner's tests."""

from __future__ import annotations

import random

from minibot.cores.closed_bar import ClosedBar
from minibot.events.intervals import REGIME_INTERVAL
from minibot.strategies.bars import interval_ms
from minibot.strategies.scanner.factors import BARS_MIN
from minibot.strategies.scanner.regime import REGIME_BARS_MIN
from minibot.strategies.scanner.scanner import Scanner

MINUTES_15 = "15m"
DAY = 86_400_000
MIDNIGHT = 20_000 * DAY
"""A midnight UTC, the end of most of these bars."""


def bars(
    closes: list[float], end_ts: int = MIDNIGHT, interval: str = MINUTES_15, volume: float = 100.0
) -> list[ClosedBar]:
    """Return bars with these closes, the last of which ends at `end_ts`; each 0.1 % wide."""
    length = interval_ms(interval)
    return [
        ClosedBar(
            interval,
            end_ts - (len(closes) - at) * length,
            close,
            close * 1.0005,
            close * 0.9995,
            close,
            volume,
            False,
        )
        for at, close in enumerate(closes)
    ]


def walk(seed: int, count: int, drift: float = 0.0) -> list[float]:
    """Return a random walk of closes."""
    chance = random.Random(seed)
    closes = [100.0]
    while len(closes) < count:
        closes.append(closes[-1] * (1.0 + drift + chance.uniform(-0.004, 0.004)))
    return closes


def feed(scanner: Scanner, symbol: str, seed: int, end_ts: int = MIDNIGHT) -> None:
    """Feed all bars that a score and a say in the regime need."""
    chance = random.Random(f"{seed} volume")
    for bar in bars(walk(seed, BARS_MIN), end_ts):
        bar.volume = chance.uniform(50.0, 500.0)
        scanner.take_bar(symbol, bar)
    for bar in bars(walk(seed, REGIME_BARS_MIN), end_ts, REGIME_INTERVAL):
        scanner.take_bar(symbol, bar)
