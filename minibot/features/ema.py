"""Exponential moving average, one value at a time."""

from __future__ import annotations

from typing import Any

from minibot.features.indicator import Indicator, period_of
from minibot.features.lossless import float_from, float_text


class Ema(Indicator):
    """Exponential moving average over `period` values, in the unit of its input.

    Methods:
        update(value): takes the next value and returns the average. `value`: the average.
        feed(value): takes the next value faster; returns whether `mean` is the average.
    Formula:
        mean = mean + 2 / (period + 1) * (x - mean).
    Seed:
        The plain mean of the first `period` values; until then `mean` is their sum. A NaN, once
        fed, stays: callers check what they read.
    Warm-up:
        `period` values.
    """

    __slots__ = ("_is_ready", "_weight", "mean", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self.period: int = period_of(period)
        super().__init__(period)
        self._weight: float = 2.0 / (period + 1)
        self.mean: float = 0.0
        self._is_ready: bool = False

    def feed(self, value: float) -> bool:
        """Take the next value; return whether `mean` is the average."""
        mean = self.mean
        self.count += 1
        if self._is_ready:
            self.mean = mean + self._weight * (value - mean)
            return True
        self.mean = mean + value
        if self.count < self.warmup:
            return False
        self.mean /= self.period
        self._is_ready = True
        return True

    def update(self, value: float) -> float | None:
        """Take the next value; return the average, or None before it is ready."""
        return self.mean if self.feed(value) else None

    @property
    def value(self) -> float | None:
        """The average, or None before it is ready."""
        return self.mean if self._is_ready else None

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {"count": self.count, "mean": float_text(self.mean), "period": self.period}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ema:
        """Return the average that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored.mean = float_from(state["mean"])
        restored._is_ready = restored.count >= restored.warmup
        return restored
