"""Made-up pairs of the risk bench: bars from sha256 of seed and symbol, the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from minibot.engine.bar_series import BarSeries
from minibot.engine.bar_table import BAR_COLUMNS, BarTable

SEED: Final = 20240101
ORIGIN_MS: Final = 1_704_067_200_000  # 2024-01-01T00:00:00Z
MINUTE_MS: Final = 60_000
INTERVAL: Final = "1m"
PAIRS: Final = 50
BARS: Final = 20_000
CENT: Final = 10**6
LOT: Final = 10**5
"""A cent and a thousandth of a coin, in hundred-millionths."""
PRICE: Final = 10_000
"""Cents at which every pair begins; it never falls below a tenth of them."""
MOVE: Final = 8
"""Cents by which a close leaves the open at most; high and low lie as far beyond at most."""
DRAWS: Final = 4
"""Draws of a bar: move, high, low, volume."""
Array = Any


def symbols(count: int = PAIRS) -> list[str]:
    """Return the names of so many pairs."""
    return [f"P{number:03d}USDT" for number in range(count)]


def draws(word: str, count: int) -> Array:
    """Return whole numbers of 0 to 65,535, two bytes each of sha256 of `word:0`, `word:1` ..."""
    blocks = -(-2 * count // hashlib.sha256().digest_size)
    told = b"".join(hashlib.sha256(f"{word}:{at}".encode()).digest() for at in range(blocks))
    return np.frombuffer(told, dtype="<u2")[:count].astype(np.int64)


def columns(symbol: str, count: int, seed: int = SEED) -> dict[str, Array]:
    """Return a pair's bars as columns of whole numbers: Unix ms, hundred-millionths."""
    drawn = draws(f"{seed}:{symbol}", DRAWS * count).reshape(count, DRAWS)
    moves = drawn[:, 0] % (2 * MOVE + 1) - MOVE
    close = np.maximum(PRICE + np.cumsum(moves), PRICE // 10)
    opened = np.concatenate(([PRICE], close[:-1]))
    high = np.maximum(opened, close) + drawn[:, 1] % (MOVE + 1)
    low = np.minimum(opened, close) - drawn[:, 2] % (MOVE + 1)
    volume = 50_000 + drawn[:, 3]
    start = ORIGIN_MS + MINUTE_MS * np.arange(count, dtype=np.int64)
    amounts = [*(price * CENT for price in (opened, high, low, close)), volume * LOT]
    return dict(zip(BAR_COLUMNS, (start, start + MINUTE_MS, *amounts), strict=True))


def pairs(count: int, bars: int, seed: int = SEED) -> Iterator[BarSeries]:
    """Yield so many pairs with so many bars each."""
    for symbol in symbols(count):
        yield series(symbol, columns(symbol, bars, seed))


def series(symbol: str, found: dict[str, Array]) -> BarSeries:
    """Return columns of one pair as a source of a backtest takes them."""
    table = BarTable(INTERVAL, found)
    return BarSeries(
        *("made", symbol, INTERVAL, int(found["open_ts"][0]), int(found["end_ts"][-1])),
        *("0.01", "0.001"),
        candles=lambda: map(table.candle, range(table.rows)),
        columns=lambda: found,
    )
