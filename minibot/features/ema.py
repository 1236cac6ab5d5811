"""Exponential moving average, one value at a time."""

from __future__ import annotations

from collections.abc import Iterator
from operator import length_hint
from typing import Any, Final

from minibot.features.lossless import float_from, float_text

LIST_ITERATOR: Final = type(iter([0.0]))
"""Of which `length_hint` says exactly how many values are left; so it does of an array reversed."""


class Ema:
    """Exponential moving average over `period` values, in the unit of its input.

    It starts as the plain mean of the first `period` values; from then on each value moves it by
    2 / (period + 1) of the distance. Until then `mean` is their sum. A NaN, once fed, stays:
    callers check what they read.
    """

    __slots__ = ("_weight", "count", "mean", "period", "warmup")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        if period < 1:
            raise ValueError(f"period: expected at least 1, found {period}")
        self.period: int = period
        self.warmup: int = period
        self.count: int = 0
        self._weight: float = 2.0 / (period + 1)
        self.mean: float = 0.0

    def feed(self, value: float) -> bool:
        """Take the next value; return whether `mean` is the average."""
        count = self.count + 1
        self.count = count
        if count > self.warmup:
            self.mean = self.mean + self._weight * (value - self.mean)
            return True
        self.mean = self.mean + value
        if count < self.warmup:
            return False
        self.mean = self.mean / self.period
        return True

    def update(self, value: float) -> float | None:
        """Take the next value; return the average, or None before it is ready."""
        return self.mean if self.feed(value) else None

    @property
    def is_ready(self) -> bool:
        """True once `warmup` values have been taken."""
        return self.count >= self.warmup

    @property
    def value(self) -> float | None:
        """The average, or None before it is ready."""
        return self.mean if self.count >= self.warmup else None

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {"count": self.count, "mean": float_text(self.mean), "period": self.period}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ema:
        """Return the average that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored.mean = float_from(state["mean"])
        return restored


def cross(fast: Ema, slow: Ema, is_above: bool, values: Iterator[float]) -> bool:
    """Feed two averages, up to the value at which the fast one changes its side.

    It does what calling `feed` on both with each value would, without the calls.

    Args:
        fast: Takes every value consumed.
        slow: Takes the same values.
        is_above: Whether the fast one was above the slow one.
        values: The iterator of a list, or an array `reversed`; values behind the crossing are left
            in it.

    Returns:
        True if it crossed at the last value taken; False if no value is left.

    Raises:
        ValueError: Another kind of iterator, which does not tell how many values were taken.
    """
    kind = type(values)
    if kind is not reversed and kind is not LIST_ITERATOR:
        expected = "the iterator of a list or an array reversed"
        raise ValueError(f"cross(): expected {expected}, found {kind.__name__}")
    while fast.count < fast.warmup or slow.count < slow.warmup:
        for value in values:
            is_ready = fast.feed(value)
            if slow.feed(value) and is_ready and (fast.mean > slow.mean) is not is_above:
                return True
            break
        else:
            return False
    if is_above:
        above, below = fast, slow
    else:
        above, below = slow, fast
    upper, lower = above.mean, below.mean
    upper_weight, lower_weight = above._weight, below._weight
    taken = length_hint(values)
    crossed = False
    for value in values:
        upper = upper + upper_weight * (value - upper)
        lower = lower + lower_weight * (value - lower)
        if lower < upper:
            continue
        # Where they are equal, or one is NaN, the fast one is not above.
        if is_above or lower > upper:
            crossed = True
            taken -= length_hint(values)
            break
    above.mean, below.mean = upper, lower
    fast.count += taken
    slow.count += taken
    return crossed
