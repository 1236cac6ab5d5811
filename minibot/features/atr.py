"""Average true range after Wilder, one bar at a time."""

from __future__ import annotations

from typing import Any

from minibot.features.indicator import Indicator, period_of
from minibot.features.lossless import float_from, float_text


class WilderAtr(Indicator):
    """Average true range of bars, in the unit of price.

    Methods:
        update(high, low, close): takes the next bar. `value`: the average.
    Formula:
        mean = (mean * (period - 1) + range) / period. The true range is the distance from the
        higher of high and former close to the lower of low and former close.
    Seed:
        The plain mean of the first `period` true ranges; of the first bar, which has no former
        close, the range is high - low. TA-Lib leaves that bar out, so both agree only after a
        while.
    Warm-up:
        `period` bars.

    Source:
        J. Welles Wilder, New Concepts in Technical Trading Systems, 1978.
    """

    __slots__ = ("_close", "_mean", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self.period: int = period_of(period)
        super().__init__(period)
        self._close: float = 0.0
        self._mean: float = 0.0

    def update(self, high: float, low: float, close: float) -> None:
        """Take the next bar."""
        count, before = self.count + 1, self._close
        self.count = count
        top = high
        bottom = low
        if count > 1:
            if before > top:
                top = before
            if before < bottom:
                bottom = before
        self._close = close
        true_range, period = top - bottom, self.period
        if count > self.warmup:
            self._mean = (self._mean * (period - 1) + true_range) / period
            return
        self._mean = self._mean + true_range
        if count == self.warmup:
            self._mean = self._mean / period

    @property
    def value(self) -> float | None:
        """The average true range, or None before it is ready."""
        return self._mean if self.count >= self.warmup else None

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "close": float_text(self._close),
            "count": self.count,
            "mean": float_text(self._mean),
            "period": self.period,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> WilderAtr:
        """Return the average that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._close = float_from(state["close"])
        restored._mean = float_from(state["mean"])
        return restored
