"""Realised volatility: the size of a typical step."""

from __future__ import annotations

from collections import deque
from math import sqrt
from typing import Any

from minibot.features.lossless import floats_from, floats_text, optional_from, optional_text


class RealisedVolatility:
    """Root of the mean square of the last `period` simple returns, as a ratio per step.

    Simple returns, not logarithms, because a logarithm is libm's and differs between systems,
    while sqrt is rounded exactly everywhere (IEEE 754). Not annualised; the mean is not
    subtracted, because over short windows it is noise. A former value of zero makes the return of
    that step zero.
    """

    __slots__ = ("_former", "_squares", "count", "period", "warmup")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        if period < 1:
            raise ValueError(f"period: expected at least 1, found {period}")
        self.period: int = period
        self.warmup: int = period + 1
        self.count: int = 0
        self._former: float | None = None
        self._squares: deque[float] = deque(maxlen=period)

    def update(self, value: float) -> None:
        """Take the next value."""
        self.count += 1
        former = self._former
        self._former = value
        if former is None:
            return
        change = 0.0 if former == 0.0 else (value - former) / former
        self._squares.append(change * change)

    @property
    def is_ready(self) -> bool:
        """True once `warmup` values have been taken."""
        return self.count >= self.warmup

    @property
    def value(self) -> float | None:
        """The volatility per step as a ratio, or None before it is ready."""
        if self.count < self.warmup:
            return None
        # Summed afresh from the oldest on: a running sum would drift and could go below zero.
        total = 0.0
        for square in self._squares:
            total = total + square
        return sqrt(total / self.period)

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "count": self.count,
            "former": optional_text(self._former),
            "period": self.period,
            "squares": floats_text(self._squares),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RealisedVolatility:
        """Return the volatility that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._former = optional_from(state["former"])
        restored._squares.extend(floats_from(state["squares"]))
        return restored
