"""Comparison of symbols: each factor as distance from the mean, less the factors before it."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final

from minibot.features.window import total
from minibot.strategies.scanner.factors import is_noise

DISTANCE_MAX: Final = 3.0
"""Deviations at which a distance is cut, so that one outlier does not dominate."""

# Below this share of its length a residual is only rounding: the factor adds nothing.
_REST_MIN: Final = 1e-9


def standardised(values: Sequence[float]) -> list[float]:
    """Return (value - mean) / deviation of the population, cut to +-3; all 0 if all are equal."""
    mean = total(values) / len(values)
    deviation = sqrt(total([(one - mean) * (one - mean) for one in values]) / len(values))
    if is_noise(deviation, max(map(abs, values))):
        return [0.0] * len(values)
    return [max(-DISTANCE_MAX, min(DISTANCE_MAX, (one - mean) / deviation)) for one in values]


def orthogonal(columns: Sequence[list[float]]) -> list[list[float]]:
    """Return orthogonal factors, by Gram-Schmidt in the order given.

    The first factor, MomentumCore, is protected: it stays unchanged. Each further factor keeps the
    part that the factors before it do not explain, `v - (v . b) / (b . b) * b` for each residual
    `b` before it. Two passes reduce the dot products to rounding (modified Gram-Schmidt, Bjorck
    1994).

    Args:
        columns: One list per factor, with one value per symbol.
    """
    found: list[list[float]] = []
    for column in columns:
        found.append(residual(column, found) if found else column)
    return found


def residual(column: list[float], bases: Sequence[list[float]]) -> list[float]:
    """Return the part of a factor that other, orthogonal ones do not explain; 0 for none."""
    rest = column
    for _ in range(2):
        for base in bases:
            length = dot(base, base)
            if length > 0.0:
                share = dot(rest, base) / length
                rest = [one - share * other for one, other in zip(rest, base, strict=True)]
    if sqrt(dot(rest, rest)) <= _REST_MIN * sqrt(dot(column, column)):
        return [0.0] * len(column)
    return rest


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the sum of the products, from the first symbol to the last."""
    found = 0.0
    for one, other in zip(left, right, strict=True):
        found = found + one * other
    return found
