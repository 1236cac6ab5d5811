"""Stochastic oscillator after Lane, one bar at a time."""

from __future__ import annotations

from typing import Any

from minibot.features.donchian import Donchian
from minibot.features.indicator import Indicator, period_of
from minibot.features.sma import Sma


class Stochastic(Indicator):
    """Place of the close between the extremes of the last `period` bars, 0 to 100.

    Methods:
        update(high, low, close): takes the next bar. `value`: %K; `signal`: %D.
    Formula:
        raw = 100 * (close - lowest low) / (highest high - lowest low) over the last `period` bars,
        the newest among them; %K is the simple average of the last `smooth` raw values, %D that of
        the last `signal` %K. `smooth` 1 is the fast stochastic. Where all prices of the window are
        one, raw is 50: neither side is nearer (TA-Lib has 0).
    Seed:
        None: a bar leaves no trace once it has left all three windows.
    Warm-up:
        `period` + `smooth` + `signal` - 2 bars.

    Source:
        George Lane; "slow" where `smooth` is above 1.
    """

    __slots__ = ("_channel", "_k", "_signal")

    def __init__(self, period: int = 14, smooth: int = 3, signal: int = 3) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self._channel: Donchian = Donchian(period)
        self._k: Sma = Sma(period_of(smooth, "smooth period"))
        self._signal: Sma = Sma(period_of(signal, "signal period"))
        super().__init__(period + smooth + signal - 2)

    def update(self, high: float, low: float, close: float) -> None:
        """Take the next bar."""
        self.count += 1
        self._channel.update(high, low)
        upper, lower = self._channel.upper, self._channel.lower
        if upper is None or lower is None:
            return
        span = upper - lower
        self._k.update(50.0 if span == 0.0 else 100.0 * ((close - lower) / span))
        smoothed = self._k.value
        if smoothed is not None:
            self._signal.update(smoothed)

    @property
    def value(self) -> float | None:
        """%K from 0 to 100, or None before it is ready."""
        return self._k.value if self.count >= self.warmup else None

    @property
    def signal(self) -> float | None:
        """%D from 0 to 100, or None before it is ready."""
        return self._signal.value

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "channel": self._channel.state(),
            "count": self.count,
            "k": self._k.state(),
            "signal": self._signal.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Stochastic:
        """Return the oscillator that `state` described."""
        parts = state["channel"], state["k"], state["signal"]
        restored = cls(*[part["period"] for part in parts])
        restored.count = state["count"]
        restored._channel = Donchian.from_state(state["channel"])
        restored._k = Sma.from_state(state["k"])
        restored._signal = Sma.from_state(state["signal"])
        return restored
