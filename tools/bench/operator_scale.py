"""Arithmetic of the operator's bench: a line through two measurements, a median's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

SURE: Final = 0.95


def scaled(small: tuple[float, float], large: tuple[float, float], count: float) -> float:
    """Return the cost of so many, by the line through two measurements.

    Args:
        small: Count and figure of the smaller case, whose figure is mostly start-up.
        large: Count and figure of the larger one.
        count: The count that is asked for.

    Returns:
        Never less than the larger case: noise must not make a longer night a cheaper one.

    Raises:
        ValueError: The larger case is not larger.
    """
    if large[0] <= small[0]:
        raise ValueError(f"{large[0]:,.0f} is not larger than {small[0]:,.0f}")
    slope = (large[1] - small[1]) / (large[0] - small[0])
    return max(large[1], large[1] + slope * (count - large[0]))


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the interval of a median by ranks, lowest, highest, and how sure it is (0 to 1).

    It is the narrowest pair of ranks, as far from below as from above, that holds the median with
    95 %; with fewer than six values it is all of them, and less sure.

    Raises:
        ValueError: There is no value.
    """
    if not values:
        raise ValueError("no value has no median")
    ordered, count = sorted(values), len(values)
    below, found = 0.0, 0
    for rank in range((count + 1) // 2):
        below += math.comb(count, rank) / 2**count
        if 1 - 2 * below < SURE:
            break
        found = rank
    outside = sum(math.comb(count, rank) for rank in range(found + 1)) / 2**count
    return ordered[found], ordered[count - 1 - found], max(0.0, 1 - 2 * outside)


def ratios(over: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return the ratio of each pair; a pair with nothing in it is left out."""
    return [a / b for a, b in zip(over, base, strict=True) if a and b]
