"""Return drift: distance of the latest returns from earlier ones, as distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from minibot.features.bar_returns import BarReturns

DISTANCE_UNIT: Final = 10_000
"""A distance of one: all values of one sample lie below all of the other."""


def return_drift(returns: BarReturns, recent: int, reference: int) -> int | None:
    """Return the Kolmogorov-Smirnov distance of the last `recent` returns from those before.

    It is in ten-thousandths, rounded up: of many returns, 10,000 may stand for a little less. The
    `reference` returns before the recent ones are the other sample. None: too few bars without a
    hole. Callers see to it that both counts are above zero.
    """
    values = returns.last(recent + reference)
    return None if values is None else distance_of(values[reference:], values[:reference])


def distance_of(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the Kolmogorov-Smirnov distance of two samples in ten-thousandths, rounded up.

    Formula:
        The greatest difference, over all values v, between the share of one sample that is at most
        v and that of the other. It is a difference of whole numbers over n * m, so exact.

    Source:
        N. V. Smirnov, Table for estimating the goodness of fit of empirical distributions, 1948.
    """
    n, m = len(first), len(second)
    low, high = sorted(first), sorted(second)
    i = j = most = 0
    while i < n and j < m:
        value = low[i] if low[i] < high[j] else high[j]
        while i < n and low[i] == value:
            i += 1
        while j < m and high[j] == value:
            j += 1
        apart = i * m - j * n
        if apart < 0:
            apart = -apart
        if apart > most:
            most = apart
    return -(-most * DISTANCE_UNIT // (n * m))
