"""Correlation of two symbols by the returns of their closed bars."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Final

from minibot.features.bar_returns import BarReturns, Sample, sample_of

CORRELATION_UNIT: Final = 10_000
"""A correlation of one."""


def correlation(first: BarReturns, second: BarReturns, count: int) -> int | None:
    """Return the correlation over the last `count` bars that both symbols have.

    It is in ten-thousandths. Bars are paired by their open time: bars that are newer than the other
    symbol's last one are left out. None: one of them has too few bars without a hole, did not move,
    or opens at other times.

    Raises:
        ValueError: Their bars are not of one length.
    """
    if first.length_ms != second.length_ms:
        raise ValueError(
            f"correlation: expected bars of one length, found {first.length_ms} and"
            f" {second.length_ms} ms"
        )
    end = first.open_ts if first.open_ts < second.open_ts else second.open_ts
    found: list[Sample] = []
    for returns in (first, second):
        newer, rest = divmod(returns.open_ts - end, returns.length_ms)
        sample = None if rest else returns.sample(count, newer)
        if sample is None:
            return None
        found.append(sample)
    return _pearson(*found)


def correlation_of(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Return the correlation of numbers in pairs, in ten-thousandths; None for no movement."""
    return _pearson(sample_of(first), sample_of(second))


def _pearson(first: Sample, second: Sample) -> int | None:
    """Return Pearson's correlation in ten-thousandths, rounded up; None where one stands still.

    Formula:
        (n Sxy - Sx Sy) / sqrt((n Sxx - Sx Sx) (n Syy - Sy Sy)), with S the sum over all n pairs.
        Sums, products and the root are of whole numbers, so that only the result is rounded.

    Source:
        K. Pearson, Notes on regression and inheritance in the case of two parents, 1895.
    """
    n, xy = len(first.values), 0
    for one, other in zip(first.values, second.values, strict=True):
        xy += one * other
    x, y = first.total, second.total
    spread = (n * first.squares - x * x) * (n * second.squares - y * y)
    if not spread:
        return None
    shared = n * xy - x * y
    square = shared * shared * CORRELATION_UNIT * CORRELATION_UNIT
    if shared <= 0:
        return -isqrt(square // spread)
    # The least whole number whose square is no less.
    return isqrt((square - 1) // spread) + 1
