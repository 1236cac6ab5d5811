"""Relative strength index after Wilder, one close at a time."""

from __future__ import annotations

from typing import Any

from minibot.features.indicator import Indicator, period_of
from minibot.features.lossless import float_from, float_text


class WilderRsi(Indicator):
    """Relative strength index, 0 to 100, of closes.

    Methods:
        update(close): takes the next close. `value`: the index.
    Formula:
        100 * (gain / (gain + loss)) of Wilder's means of gains and losses, which equals
        100 - 100 / (1 + gain / loss) and needs no special case without losses. Without any movement
        at all it is 50: neither side is stronger (TA-Lib has 0).
    Seed:
        The plain means of the first `period` gains and losses; from then on both are smoothed by
        1 / period.
    Warm-up:
        `period` + 1 closes.

    Source:
        J. Welles Wilder, New Concepts in Technical Trading Systems, 1978.
    """

    __slots__ = ("_close", "_gain", "_loss", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self.period: int = period_of(period)
        super().__init__(period + 1)
        self._close: float = 0.0
        self._gain: float = 0.0
        self._loss: float = 0.0

    def update(self, close: float) -> None:
        """Take the next close."""
        count = self.count + 1
        self.count = count
        change = close - self._close
        self._close = close
        gain, loss = 0.0, 0.0
        # A NaN change must reach a mean, so it counts as a gain instead of vanishing in a
        # comparison.
        if change < 0.0:
            loss = -change
        else:
            gain = change
        period = self.period
        if count > self.warmup:
            kept = period - 1
            self._gain = (self._gain * kept + gain) / period
            self._loss = (self._loss * kept + loss) / period
            return
        if count == 1:
            return  # There is no change before it.
        self._gain = self._gain + gain
        self._loss = self._loss + loss
        if count == self.warmup:
            self._gain = self._gain / period
            self._loss = self._loss / period

    @property
    def value(self) -> float | None:
        """The index from 0 to 100, or None before it is ready."""
        if self.count < self.warmup:
            return None
        gain = self._gain
        movement = gain + self._loss
        if movement == 0.0:
            return 50.0
        return 100.0 * (gain / movement)

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "close": float_text(self._close),
            "count": self.count,
            "gain": float_text(self._gain),
            "loss": float_text(self._loss),
            "period": self.period,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> WilderRsi:
        """Return the index that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._close = float_from(state["close"])
        restored._gain = float_from(state["gain"])
        restored._loss = float_from(state["loss"])
        return restored
