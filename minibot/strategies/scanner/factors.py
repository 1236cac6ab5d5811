"""Factors of one symbol from its closed bars, before symbols are compared.

Every figure is computed from the last `BARS_MIN` bars, oldest first, and depends on nothing older,
so a scanner that was restored, or started later, gives the same bits. Floats, only with + - * / and
`sqrt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final, NamedTuple

from minibot.cores.closed_bar import ClosedBar
from minibot.features.window import total

MOMENTUM_BARS: Final = (4, 16, 48, 96)
MOMENTUM_WEIGHTS: Final = (0.20, 0.35, 0.30, 0.15)
RSI_BARS: Final = 14
BAND_BARS: Final = 20
SURGE_BARS: Final = 4
DAY_BARS: Final = 96
PATH_BARS: Final = 48
RANGE_BARS: Final = 16
BARS_MIN: Final = DAY_BARS + 1
"""Closed bars without a hole that a score needs: 24 hours and one bar at 15 minutes."""

PERCENT: Final = 100.0
BPS: Final = 10_000.0


class Factors(NamedTuple):
    """Raw figures of one symbol; the first four are the factors, in the order of Gram-Schmidt.

    Attributes:
        momentum, technical, volume, quality: See the function of the same name.
        quote_volume: Quote traded in the last 96 bars, each at its close.
        range_bps: Mean of (high - low) / close over the last 16 bars, in basis points.
        change_percent: Change of the close over 96 bars.
    """

    momentum: float
    technical: float
    volume: float
    quality: float
    quote_volume: float
    range_bps: float
    change_percent: float


def factors_of(bars: Sequence[ClosedBar]) -> Factors | None:
    """Return the figures of at least `BARS_MIN` bars, oldest first; None if nothing was traded."""
    closes = [bar.close for bar in bars]
    quotes = [bar.close * bar.volume for bar in bars[-DAY_BARS:]]
    traded = total(quotes)
    if not traded > 0.0:
        return None
    return Factors(
        momentum(closes),
        technical(closes),
        volume(quotes, traded),
        quality(closes),
        traded,
        _range_bps(bars[-RANGE_BARS:]),
        change(closes, DAY_BARS),
    )


def change(closes: Sequence[float], bars: int) -> float:
    """Return the change over a number of bars in percent: 100 * (close / earlier close - 1)."""
    return PERCENT * (closes[-1] / closes[-1 - bars] - 1.0)


def momentum(closes: Sequence[float]) -> float:
    """MomentumCore: weighted changes over 4, 16, 48 and 96 bars, in percent.

    Formula:
        0.20 * R(4) + 0.35 * R(16) + 0.30 * R(48) + 0.15 * R(96), R as in `change`. Of bars of 15
        minutes these are 1, 4, 12 and 24 hours.
    """
    found = 0.0
    for weight, bars in zip(MOMENTUM_WEIGHTS, MOMENTUM_BARS, strict=True):
        found = found + weight * change(closes, bars)
    return found


def technical(closes: Sequence[float]) -> float:
    """Technical: strength of the last closes, and where the last one is in its band.

    Formula:
        (RSI - 50) / 50 + (close - mean) / (2 * deviation). RSI is Cutler's: 100 * rises /
        (rises + falls) of the last 14 changes, 50 without any movement. Mean and deviation (of the
        population) are those of the last 20 closes; without a deviation the second part is 0.
    """
    rises = falls = 0.0
    for at in range(len(closes) - RSI_BARS, len(closes)):
        step = closes[at] - closes[at - 1]
        if step > 0.0:
            rises = rises + step
        else:
            falls = falls - step
    moved = rises + falls
    strength = 0.0 if moved == 0.0 else (PERCENT * (rises / moved) - 50.0) / 50.0
    band = closes[-BAND_BARS:]
    mean = total(band) / BAND_BARS
    deviation = sqrt(total([(close - mean) * (close - mean) for close in band]) / BAND_BARS)
    if is_noise(deviation, mean):
        return strength
    return strength + (closes[-1] - mean) / (2.0 * deviation)


def volume(quotes: Sequence[float], traded: float) -> float:
    """Volume: quote traded a bar in the last 4 bars over that of the last 96, less 1.

    Args:
        quotes: Close times volume of each of the last 96 bars.
        traded: Their sum, above 0.
    """
    return total(quotes[-SURGE_BARS:]) / SURGE_BARS / (traded / DAY_BARS) - 1.0


def quality(closes: Sequence[float]) -> float:
    """Quality: Kaufman's efficiency of the path over 48 bars, from 0 to 1.

    Formula:
        |close - close 48 bars ago| / the sum of |change| of each of the 48 bars; 0 without any
        movement. A straight path has 1.

    Source:
        Perry J. Kaufman, Smarter Trading, 1995.
    """
    path = 0.0
    for at in range(len(closes) - PATH_BARS, len(closes)):
        path = path + abs(closes[at] - closes[at - 1])
    return 0.0 if path == 0.0 else abs(closes[-1] - closes[-1 - PATH_BARS]) / path


def is_noise(size: float, beside: float) -> bool:
    """Return whether a size is only rounding compared with another figure."""
    return size <= 1e-12 * abs(beside)


def _range_bps(bars: Sequence[ClosedBar]) -> float:
    return BPS * total([(bar.high - bar.low) / bar.close for bar in bars]) / RANGE_BARS
