"""Realised volatility: the size of a typical step."""

from __future__ import annotations

from math import sqrt
from typing import Any

from minibot.features.indicator import Indicator, period_of
from minibot.features.lossless import optional_from, optional_text
from minibot.features.window import Window


class RealisedVolatility(Indicator):
    """Root of the mean square of the last `period` simple returns, as a ratio per step.

    Simple returns, not logarithms, because a logarithm is libm's and differs between systems,
    while sqrt is rounded exactly everywhere (IEEE 754). Not annualised; the mean is not
    subtracted, because over short windows it is noise. A former value of zero makes the return of
    that step zero.
    """

    __slots__ = ("_former", "_squares", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self.period: int = period_of(period)
        super().__init__(period + 1)
        self._former: float | None = None
        self._squares: Window = Window(period)

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
    def value(self) -> float | None:
        """The volatility per step as a ratio, or None before it is ready."""
        if self.count < self.warmup:
            return None
        return sqrt(self._squares.mean())

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "count": self.count,
            "former": optional_text(self._former),
            "period": self.period,
            "squares": self._squares.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RealisedVolatility:
        """Return the volatility that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._former = optional_from(state["former"])
        restored._squares.restore(state["squares"])
        return restored
