"""Readings of a symbol's indicators at one moment, in the units that the rules use."""

from __future__ import annotations

from typing import final

from minibot.features.lossless import is_finite
from minibot.strategies.bar_indicators import BarIndicators


@final
class Readings:
    """Values over the closed bars of one interval; bps are hundredths of a percent.

    Attributes:
        rsi: 0 to 100.
        momentum_bps: The fast average above (or, negative, below) the slow one.
        return_bps: Change of the close over `return_bars` bars.
        reversion_bps: The close below (or, negative, above) the slow average.
        atr_bps: Average true range in bps of the close.
    """

    __slots__ = ("atr_bps", "momentum_bps", "return_bps", "reversion_bps", "rsi")

    # `read` makes one per bar: a constructor would cost another call.
    rsi: float
    momentum_bps: float
    return_bps: float
    reversion_bps: float
    atr_bps: float


def read(bars: BarIndicators) -> Readings | None:
    """Return the readings; None if any of them is missing, NaN or infinite."""
    rsi = bars.rsi.value
    fast = bars.fast.value
    slow = bars.slow.value
    atr = bars.atr.value
    momentum = bars.momentum.value
    if rsi is None or fast is None or slow is None or atr is None or momentum is None:
        return None
    if bars.last is None or not slow > 0.0:
        return None
    close = bars.last.close
    readings = Readings()
    readings.rsi = rsi
    readings.momentum_bps = momentum_bps = (fast - slow) / slow * 10_000.0
    readings.return_bps = return_bps = momentum * 10_000.0
    readings.reversion_bps = reversion_bps = (slow - close) / slow * 10_000.0
    readings.atr_bps = atr_bps = atr / close * 10_000.0
    # A NaN or an infinity in any term makes the sum NaN or infinite.
    total = rsi + momentum_bps + return_bps + reversion_bps + atr_bps
    return readings if is_finite(total) else None


def trend_bps(bars: BarIndicators) -> float | None:
    """Return fast average over slow average in bps; None while bars are missing."""
    fast = bars.fast.value
    slow = bars.slow.value
    if fast is None or slow is None or not slow > 0.0:
        return None
    distance = (fast - slow) / slow * 10_000.0
    return distance if is_finite(distance) else None
