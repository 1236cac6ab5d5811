"""Wilder's smoothing, one value at a time."""

from __future__ import annotations

from typing import Any

from minibot.features.indicator import Indicator, period_of
from minibot.features.lossless import float_from, float_text


class WilderMean(Indicator):
    """Wilder's mean: each value moves it 1 / `period` of the way, in the unit of its input.

    Methods:
        update(value): takes the next value. `value`: the mean.
    Formula:
        mean = (mean * (period - 1) + x) / period.
    Seed:
        The plain mean of the first `period` values.
    Warm-up:
        `period` values.

    Source:
        J. Welles Wilder, New Concepts in Technical Trading Systems, 1978.
    """

    __slots__ = ("_mean", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self.period: int = period_of(period)
        self._mean: float = 0.0
        super().__init__(period)

    def update(self, value: float) -> None:
        """Take the next value."""
        self.count += 1
        if self.count > self.warmup:
            self._mean = (self._mean * (self.period - 1) + value) / self.period
            return
        self._mean = self._mean + value
        if self.count == self.warmup:
            self._mean = self._mean / self.period

    @property
    def value(self) -> float | None:
        """The mean, or None before it is ready."""
        return self._mean if self.count >= self.warmup else None

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {"count": self.count, "mean": float_text(self._mean), "period": self.period}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> WilderMean:
        """Return the mean that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._mean = float_from(state["mean"])
        return restored
