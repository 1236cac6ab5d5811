"""Moving average convergence and divergence, one value at a time."""

from __future__ import annotations

from typing import Any

from minibot.features.ema import Ema
from minibot.features.indicator import Indicator, period_of


class Macd(Indicator):
    """Distance of a fast exponential average from a slow one, in the unit of its input.

    Methods:
        update(value): takes the next value. `value`: the distance; `signal`: its own average;
        `histogram`: the difference of both.
    Formula:
        value = Ema(fast) - Ema(slow), signal = Ema(signal) of value, histogram = value - signal.
    Seed:
        Each average starts as the plain mean of its own first values. TA-Lib starts the fast one
        later, on the values before the slow one's first, so both agree only after a while.
    Warm-up:
        `slow` + `signal` - 1 values.

    Source:
        Gerald Appel.
    """

    __slots__ = ("_fast", "_signal", "_slow")

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        """Start empty; raises ValueError for a period below 1 or a fast one that is not faster."""
        if period_of(fast, "fast period") >= slow:
            raise ValueError(f"slow period: expected more than {fast}, found {slow}")
        self._fast: Ema = Ema(fast)
        self._slow: Ema = Ema(slow)
        self._signal: Ema = Ema(period_of(signal, "signal period"))
        super().__init__(slow + signal - 1)

    def update(self, value: float) -> None:
        """Take the next value."""
        self.count += 1
        self._fast.feed(value)
        if self._slow.feed(value):
            self._signal.feed(self._fast.mean - self._slow.mean)

    @property
    def value(self) -> float | None:
        """The distance of the averages, or None before it is ready."""
        return self._fast.mean - self._slow.mean if self.count >= self.warmup else None

    @property
    def signal(self) -> float | None:
        """The average of the distance, or None before it is ready."""
        return self._signal.value

    @property
    def histogram(self) -> float | None:
        """The distance less its average, or None before it is ready."""
        value, signal = self.value, self._signal.value
        return None if value is None or signal is None else value - signal

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "count": self.count,
            "fast": self._fast.state(),
            "signal": self._signal.state(),
            "slow": self._slow.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Macd:
        """Return the indicator that `state` described."""
        parts = state["fast"], state["slow"], state["signal"]
        restored = cls(*[part["period"] for part in parts])
        restored.count = state["count"]
        restored._fast, restored._slow, restored._signal = [Ema.from_state(part) for part in parts]
        return restored
