"""Donchian channel: the highest high and the lowest low of the last bars."""

from __future__ import annotations

from typing import Any

from minibot.features.indicator import Indicator
from minibot.features.window import Window


class Donchian(Indicator):
    """Channel between the extremes of the last `period` bars, in the unit of price.

    Methods:
        update(high, low): takes the next bar. `upper`, `lower`: the channel; `value`: its middle.
    Formula:
        upper = max(high), lower = min(low), value = (upper + lower) / 2 over the last `period`
        bars, the newest among them. A breakout is a close beyond the channel of the bars before it:
        read the channel, then update it.
    Seed:
        None: a bar leaves no trace once it is `period` updates old.
    Warm-up:
        `period` bars.

    Source:
        Richard Donchian's four-week rule.
    """

    __slots__ = ("_highs", "_lows", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self._highs: Window = Window(period)
        self._lows: Window = Window(period)
        self.period: int = period
        super().__init__(period)

    def update(self, high: float, low: float) -> None:
        """Take the next bar."""
        self.count += 1
        self._highs.append(high)
        self._lows.append(low)

    @property
    def upper(self) -> float | None:
        """The highest high, or None before it is ready."""
        return self._highs.highest() if self.count >= self.warmup else None

    @property
    def lower(self) -> float | None:
        """The lowest low, or None before it is ready."""
        return self._lows.lowest() if self.count >= self.warmup else None

    @property
    def value(self) -> float | None:
        """The middle of the channel, or None before it is ready."""
        upper, lower = self.upper, self.lower
        return None if upper is None or lower is None else (upper + lower) / 2.0

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "count": self.count,
            "highs": self._highs.state(),
            "lows": self._lows.state(),
            "period": self.period,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Donchian:
        """Return the channel that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._highs.restore(state["highs"])
        restored._lows.restore(state["lows"])
        return restored
