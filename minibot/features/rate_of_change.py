"""Momentum as rate of change: how far the price moved over `period` steps."""

from __future__ import annotations

from collections import deque
from typing import Any

from minibot.features.indicator import Indicator, period_of
from minibot.features.lossless import floats_from, floats_text


class RateOfChange(Indicator):
    """Change of a value against the one `period` steps before, as a ratio of the earlier one.

    0.01 is one percent up. An earlier value of zero gives None: there is no ratio to zero.
    """

    __slots__ = ("_window", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self.period: int = period_of(period)
        super().__init__(period + 1)
        self._window: deque[float] = deque(maxlen=period + 1)

    def update(self, value: float) -> None:
        """Take the next value."""
        self.count += 1
        self._window.append(value)

    @property
    def value(self) -> float | None:
        """The change as a ratio; None before it is ready, or against an earlier value of zero."""
        if self.count < self.warmup:
            return None
        first = self._window[0]
        return None if first == 0.0 else (self._window[-1] - first) / first

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {"count": self.count, "period": self.period, "window": floats_text(self._window)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RateOfChange:
        """Return the rate of change that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._window.extend(floats_from(state["window"]))
        return restored
