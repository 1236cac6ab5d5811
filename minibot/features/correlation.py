"""Correlation of two symbols by the returns of their closed bars."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Final

from minibot.features.bar_returns import BarReturns, Sample

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
    one, other = _until(first, end, count), _until(second, end, count)
    return None if one is None or other is None else _pearson(one, other)


def correlation_of(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Return the correlation of numbers in pairs, in ten-thousandths; None for no movement."""
    if len(first) != len(second):
        raise ValueError(f"correlation: expected pairs, found {len(first)} and {len(second)}")
    return _pearson(Sample(list(first)), Sample(list(second)))


def _until(returns: BarReturns, end: int, count: int) -> Sample | None:
    """Return the last `count` returns up to the bar that opened at `end`; None for fewer."""
    ahead = returns.open_ts - end
    if not ahead:
        return returns.sample(count)
    length_ms = returns.length_ms
    return None if ahead % length_ms else returns.sample(count, ahead // length_ms)


def _pearson(first: Sample, second: Sample) -> int | None:
    """Return Pearson's correlation in ten-thousandths, rounded up; None if one does not move.

    Formula:
        (n Sxy - Sx Sy) / sqrt((n Sxx - Sx Sx) (n Syy - Sy Sy)), with S the sum over all n pairs.
        Sums, products and the root are of whole numbers, so that only the result is rounded.

    Source:
        K. Pearson, Notes on regression and inheritance in the case of two parents, 1895.
    """
    others = second.values
    n, xy = len(others), 0
    # Compiled, a place in a list takes a seventh of a pair of `zip`; interpreted, the same.
    for place, value in enumerate(first.values):
        xy += value * others[place]
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
