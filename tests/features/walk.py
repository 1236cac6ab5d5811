"""Walk of bars made by integers alone: the same prices for TA-Lib's values and for the tests."""

from __future__ import annotations

from typing import NamedTuple

BARS = 1_500
# From this bar on, values are compared; before it, TA-Lib's other seeds still show.
FIRST = 500
STEP = 10


class WalkBar(NamedTuple):
    """One bar of the walk."""

    high: float
    low: float
    close: float
    volume: float


def walk(count: int = BARS) -> list[WalkBar]:
    """Return bars of a linear congruence, prices in cents around 60,000."""
    state, cents, bars = 1, 6_000_000, []
    for _ in range(count):
        prices = [cents]
        for _ in range(6):
            state = (state * 1_103_515_245 + 12_345) % 2**31
            cents += (state >> 8) % 2_001 - 1_000
            prices.append(cents)
        volume = (state >> 4) % 10_000
        bars.append(WalkBar(max(prices) / 100, min(prices) / 100, cents / 100, volume / 100))
    return bars


def compared() -> range:
    """Return the indices of the bars whose values are compared."""
    return range(FIRST, BARS, STEP)
