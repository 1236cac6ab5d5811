"""Simple moving average, one value at a time."""

from __future__ import annotations

from typing import Any

from minibot.features.indicator import Indicator
from minibot.features.window import Window


class Sma(Indicator):
    """Simple moving average over `period` values, in the unit of its input.

    Methods:
        update(value): takes the next value. `value`: the average.
    Formula:
        (x[0] + ... + x[period - 1]) / period over the last `period` values, summed oldest first.
    Seed:
        None: a value leaves no trace once it is `period` updates old.
    Warm-up:
        `period` values.
    """

    __slots__ = ("_window", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self._window: Window = Window(period)
        self.period: int = period
        super().__init__(period)

    def update(self, value: float) -> None:
        """Take the next value."""
        self.count += 1
        self._window.append(value)

    @property
    def value(self) -> float | None:
        """The average, or None before it is ready."""
        return self._window.mean() if self.count >= self.warmup else None

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {"count": self.count, "period": self.period, "values": self._window.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Sma:
        """Return the average that `state` described."""
        restored = cls(state["period"])
        restored._resume(state)
        return restored

    def _resume(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        self._window.restore(state["values"])
