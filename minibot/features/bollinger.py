"""Bollinger bands: a simple moving average, and standard deviations around it."""

from __future__ import annotations

from typing import Any

from minibot.features.lossless import float_from, float_text
from minibot.features.sma import Sma


class BollingerBands(Sma):
    """Mean of the last `period` values, and bands at `width` standard deviations around it.

    Methods:
        update(value): takes the next value. `value`: the middle band; `upper`, `lower`;
        `deviation`: one standard deviation.
    Formula:
        value +- width * sqrt(sum((x - value) * (x - value)) / period): the deviation is that of
        the population, as John Bollinger defines it.
    Seed:
        None: a value leaves no trace once it is `period` updates old.
    Warm-up:
        `period` values.
    """

    __slots__ = ("width",)

    def __init__(self, period: int, width: float = 2.0) -> None:
        """Start empty; raises ValueError for a period below 1 or a width below 0."""
        super().__init__(period)
        if not width >= 0.0:
            raise ValueError(f"width: expected at least 0, found {width}")
        self.width: float = width

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the values from their mean, or None before it is ready."""
        return self._window.deviation() if self.count >= self.warmup else None

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
        return {**super().state(), "width": float_text(self.width)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BollingerBands:
        """Return the bands that `state` described."""
        restored = cls(state["period"], float_from(state["width"]))
        restored._resume(state)
        return restored
