"""Window of the last values, and plain figures over them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import sqrt

from minibot.features.indicator import period_of
from minibot.features.lossless import floats_from, floats_text


class Window:
    """Last `period` values, oldest first.

    Every figure is computed afresh from the oldest value on: a running sum would drift with the
    length of the night. Callers ask for them once the window is full; nothing checks it.
    """

    __slots__ = ("period", "values")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self.period: int = period_of(period)
        self.values: deque[float] = deque(maxlen=period)

    def append(self, value: float) -> None:
        """Take the next value; the oldest leaves a full window."""
        self.values.append(value)

    @property
    def is_full(self) -> bool:
        """True once `period` values are kept."""
        return len(self.values) == self.period

    def total(self) -> float:
        """Return the sum of the values."""
        total = 0.0
        for value in self.values:
            total = total + value
        return total

    def mean(self) -> float:
        """Return the plain mean of the values."""
        return self.total() / self.period

    def deviation(self) -> float:
        """Return the standard deviation of the population: divided by `period`."""
        mean = self.mean()
        total = 0.0
        for value in self.values:
            total = total + (value - mean) * (value - mean)
        return sqrt(total / self.period)

    def highest(self) -> float:
        """Return the greatest value, or NaN if one is among them."""
        top = self.values[0]
        for value in self.values:
            if value > top or value != value:
                top = value
        return top

    def lowest(self) -> float:
        """Return the least value, or NaN if one is among them."""
        bottom = self.values[0]
        for value in self.values:
            if value < bottom or value != value:
                bottom = value
        return bottom

    def state(self) -> list[str]:
        """Return the values as lossless text."""
        return floats_text(self.values)

    def restore(self, state: list[str]) -> None:
        """Take over the values that `state` described."""
        self.values.clear()
        self.values.extend(floats_from(state))


def total(values: Sequence[float]) -> float:
    """Return the sum from the first to the last, rounded at each step, in every version alike."""
    found = 0.0
    for value in values:
        found = found + value
    return found
