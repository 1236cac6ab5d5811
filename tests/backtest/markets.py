"""Small markets and profiles for the tests of backtests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

from minibot.backtest.sources.span import Span
from minibot.engine.bar_series import BarSeries
from minibot.engine.intrabar import Candle
from minibot.runtime.configuration.config import Config, load_config

PROFILE = "config/nore-demo.v1.json"
MINUTE_MS = 60_000
START_MS = 1_735_689_600_000  # 2025-01-01
UNIT = 10**8


WAITS = (
    *("risk.intent_ttl_ms=100000", "execution.order_ttl_market_ms=100000"),
    *("risk.tick_age_ms_max=100000", "execution.tick_age_ms_max=100000"),
)
"""Lives of orders and ticks that outlast a latency of seconds, so that what is slow fills."""


def bar_profile(*sets: str, interval: str = "1m", trend: str = "15m") -> Config:
    """Return the demo's profile on bars of an interval."""
    texts = [
        f'market.bar_intervals=["{interval}","{trend}"]',
        f"strategy.bar_interval={interval}",
        f"strategy.trend_interval={trend}",
    ]
    return load_config(PROFILE, [*texts, *sets])


def candle(number: int, prices: Sequence[float], volume: float = 600.0) -> Candle:
    """Return the bar of a minute with its open, high, low and close."""
    start = START_MS + number * MINUTE_MS
    first, high, low, last = (round(price * UNIT) for price in prices)
    return Candle(start, start + MINUTE_MS, first, high, low, last, round(volume * UNIT))


def walk(count: int, seed: int = 1, around: float = 40_000.0) -> list[Candle]:
    """Return bars of a random walk that turns often enough for trades."""
    random = Random(seed)
    price, bars = around, []
    for number in range(count):
        moves = [random.gauss(0, around / 2000) for _ in range(3)]
        path = [price, price + moves[0], price + moves[1], price + moves[2]]
        bars.append(candle(number, [round(p, 2) for p in (path[0], max(path), min(path), path[3])]))
        price = round(path[3], 2)
    return bars


def gathered(bars: Sequence[Candle]) -> Candle:
    """Return adjacent bars as one longer bar."""
    high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
    volume = sum(bar.volume for bar in bars)
    return Candle(
        *(bars[0].open_ts, bars[-1].end_ts, bars[0].open, high, low, bars[-1].close, volume)
    )


def minutes(first: int, last: int | None = None) -> Span:
    """Return the span of some minutes of the market."""
    return Span(START_MS + first * MINUTE_MS, None if last is None else START_MS + last * MINUTE_MS)


def series(bars: Iterable[Candle], symbol: str = "BTCUSDT", interval: str = "1m") -> BarSeries:
    """Return bars as a bar series, as a file of them gives it."""
    kept = list(bars)
    return BarSeries(
        *(f"klines:{symbol}", symbol, interval, kept[0].open_ts, kept[-1].end_ts),
        *("0.01", "0.00001", lambda: kept),
    )


def write_klines(folder: Path, bars: Iterable[Candle], name: str = "BTCUSDT-1m.csv") -> Path:
    """Write bars as a CSV of the public archive."""
    rows = [
        ",".join(
            [
                str(bar.open_ts),
                *(f"{amount / UNIT:.2f}" for amount in (bar.open, bar.high, bar.low, bar.close)),
                f"{bar.volume / UNIT:.5f}",
                str(bar.end_ts - 1),
                *("1.0", "10", "1.0", "1.0", "0"),
            ]
        )
        for bar in bars
    ]
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path
