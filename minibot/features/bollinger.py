"""Bollinger bands: a simple moving average, and standard deviations around it."""

from __future__ import annotations

from collections import deque
from math import sqrt
from typing import Any

from minibot.features.lossless import float_from, float_text, floats_from, floats_text


class BollingerBands:
    """Mean of the last `period` values, and bands at `width` standard deviations around it.

    The deviation is that of the population (divided by `period`), as John Bollinger defines it.
    """

    __slots__ = ("_values", "count", "period", "warmup", "width")

    def __init__(self, period: int, width: float = 2.0) -> None:
        """Start empty; raises ValueError for a period below 1 or a width below 0."""
        if period < 1:
            raise ValueError(f"period: expected at least 1, found {period}")
        if not width >= 0.0:
            raise ValueError(f"width: expected at least 0, found {width}")
        self.period: int = period
        self.width: float = width
        self.warmup: int = period
        self.count: int = 0
        self._values: deque[float] = deque(maxlen=period)

    def update(self, value: float) -> None:
        """Take the next value."""
        self.count += 1
        self._values.append(value)

    @property
    def is_ready(self) -> bool:
        """True once `warmup` values have been taken."""
        return self.count >= self.warmup

    @property
    def value(self) -> float | None:
        """The middle band, or None before it is ready."""
        if self.count < self.warmup:
            return None
        # Summed afresh from the oldest on: a running sum would drift.
        total = 0.0
        for value in self._values:
            total = total + value
        return total / self.period

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the values from their mean, or None before it is ready."""
        middle = self.value
        if middle is None:
            return None
        total = 0.0
        for value in self._values:
            total = total + (value - middle) * (value - middle)
        return sqrt(total / self.period)

    @property
    def upper(self) -> float | None:
        """The upper band, or None before it is ready."""
        middle, deviation = self.value, self.deviation
        return None if middle is None or deviation is None else middle + self.width * deviation

    @property
    def lower(self) -> float | None:
        """The lower band, or None before it is ready."""
        middle, deviation = self.value, self.deviation
        return None if middle is None or deviation is None else middle - self.width * deviation

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "count": self.count,
            "period": self.period,
            "values": floats_text(self._values),
            "width": float_text(self.width),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BollingerBands:
        """Return the bands that `state` described."""
        restored = cls(state["period"], float_from(state["width"]))
        restored.count = state["count"]
        restored._values.extend(floats_from(state["values"]))
        return restored
