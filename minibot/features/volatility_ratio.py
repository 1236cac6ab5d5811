"""Volatility ratio: how much more a market moves now than it did over a longer time."""

from __future__ import annotations

from math import isqrt
from typing import Final

from minibot.features.bar_returns import BarReturns

RATIO_UNIT: Final = 10_000
"""A ratio of one: as volatile as over the long window."""


def volatility_ratio(returns: BarReturns, short: int, long: int) -> int | None:
    """Return realised volatility of the last `short` bars over that of the last `long` ones.

    It is in ten-thousandths, rounded up. None: too few bars without a hole, or none of them moved.
    Callers see to it that `short` is at least 1 and at most `long`; a longer one is not refused.

    Formula:
        sqrt((mean of r * r over short) / (mean of r * r over long)), with r a bar's return. The
        mean return is not subtracted, as in `RealisedVolatility`. The long window contains the
        short one, so that no ratio exceeds sqrt(long / short). Only the result is rounded.
    """
    values = returns.last(long)
    if values is None:
        return None
    total = recent = 0
    for value in values:
        total += value * value
    for value in values[long - short :]:
        recent += value * value
    if not total:
        return None
    square = recent * long * RATIO_UNIT * RATIO_UNIT
    # The least whole number whose square is no less.
    return isqrt((square - 1) // (total * short)) + 1 if square else 0
