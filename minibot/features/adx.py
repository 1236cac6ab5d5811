"""Average directional index after Wilder, one bar at a time."""

from __future__ import annotations

from typing import Any

from minibot.features.indicator import Indicator
from minibot.features.lossless import float_from, float_text
from minibot.features.wilder import WilderMean


class Adx(Indicator):
    """Strength of a trend, 0 to 100, whichever its direction.

    Methods:
        update(high, low, close): takes the next bar. `value`: ADX; `plus`, `minus`: the directional
        indices +DI and -DI.
    Formula:
        up = high - former high, down = former low - low. The movement +DM is up where up > down and
        up > 0, else 0; -DM is down where down > up and down > 0, else 0. With Wilder's means of
        both and of the true range, +DI = 100 * mean(+DM) / mean(range), -DI likewise,
        DX = 100 * |+DI - -DI| / (+DI + -DI), and ADX is Wilder's mean of DX. A mean range of 0
        gives indices of 0, two indices of 0 a DX of 0.
    Seed:
        Each mean starts as the plain one of its first `period` values. TA-Lib starts the movements
        with `period` - 1 values, so both agree only after a while.
    Warm-up:
        2 * `period` bars: `period` + 1 for the first indices, which `period` changes give, and
        `period` - 1 more for the mean of `period` indices.

    Source:
        J. Welles Wilder, New Concepts in Technical Trading Systems, 1978.
    """

    __slots__ = ("_close", "_dx", "_high", "_low", "_minus", "_plus", "_range", "period")

    def __init__(self, period: int = 14) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self._plus: WilderMean = WilderMean(period)
        self._minus: WilderMean = WilderMean(period)
        self._range: WilderMean = WilderMean(period)
        self._dx: WilderMean = WilderMean(period)
        self.period: int = period
        self._high: float = 0.0
        self._low: float = 0.0
        self._close: float = 0.0
        super().__init__(2 * period)

    def update(self, high: float, low: float, close: float) -> None:
        """Take the next bar."""
        self.count += 1
        up = high - self._high
        down = self._low - low
        top = self._close if self._close > high else high
        bottom = self._close if self._close < low else low
        self._high, self._low, self._close = high, low, close
        if self.count == 1:
            return
        self._plus.update(up if up > down and up > 0.0 else 0.0)
        self._minus.update(down if down > up and down > 0.0 else 0.0)
        self._range.update(top - bottom)
        if self._range.is_ready:
            plus, minus = self._index(self._plus), self._index(self._minus)
            both = plus + minus
            distance = plus - minus if plus > minus else minus - plus
            self._dx.update(0.0 if both == 0.0 else 100.0 * (distance / both))

    @property
    def value(self) -> float | None:
        """ADX from 0 to 100, or None before it is ready."""
        return self._dx.value

    @property
    def plus(self) -> float | None:
        """+DI from 0 to 100, or None before the index is ready."""
        return self._index(self._plus) if self.count >= self.warmup else None

    @property
    def minus(self) -> float | None:
        """-DI from 0 to 100, or None before the index is ready."""
        return self._index(self._minus) if self.count >= self.warmup else None

    def _index(self, movement: WilderMean) -> float:
        moved, span = movement.value, self._range.value
        if moved is None or span is None or span == 0.0:
            return 0.0
        return 100.0 * (moved / span)

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "close": float_text(self._close),
            "count": self.count,
            "dx": self._dx.state(),
            "high": float_text(self._high),
            "low": float_text(self._low),
            "minus": self._minus.state(),
            "period": self.period,
            "plus": self._plus.state(),
            "range": self._range.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Adx:
        """Return the index that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._close = float_from(state["close"])
        restored._high = float_from(state["high"])
        restored._low = float_from(state["low"])
        restored._dx = WilderMean.from_state(state["dx"])
        restored._minus = WilderMean.from_state(state["minus"])
        restored._plus = WilderMean.from_state(state["plus"])
        restored._range = WilderMean.from_state(state["range"])
        return restored
