"""Equity of a run over time in bounded memory: lowest and last value of each stretch of time.

A night has millions of marks and a picture a few hundred points. Stretches grow with the run: when
there are too many, pairs are joined. The lowest value of each is kept, so no drawdown is hidden.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

STRETCHES_MAX = 600
STRETCH_MS_START = 100


@dataclass(slots=True)
class Point:
    """One stretch of time: its beginning, its lowest and last equity, its largest drawdown."""

    ts: int
    low: int
    last: int
    drawdown: int


class EquityCurve:
    """Equity in hundred-millionths of quote over market time."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._width_ms = STRETCH_MS_START
        # When the last stretch is over.
        self._until = 0

    def add(self, ts: int, equity: int, high_water_mark: int) -> None:
        """Add the equity at a market time, which never goes back."""
        drawdown = high_water_mark - equity
        if ts < self._until:
            last = self.points[-1]
            last.last = equity
            if equity < last.low:
                last.low = equity
            if drawdown > last.drawdown:
                last.drawdown = drawdown
            return
        start = ts - ts % self._width_ms
        self.points.append(Point(start, equity, equity, drawdown))
        while len(self.points) > STRETCHES_MAX:
            self._widen()
        self._until = self.points[-1].ts + self._width_ms

    def add_all(self, times: Sequence[int], equity: int, high_water_mark: int) -> None:
        """Add the same equity at one or more market times, in order."""
        at = 0
        while at < len(times):
            self.add(times[at], equity, high_water_mark)
            # Another one within the same stretch adds nothing.
            at = bisect_left(times, self._until, at + 1)

    def shift(self, moved: int) -> None:
        """Add the same to the equity of every stretch; no drawdown changes."""
        for point in self.points:
            point.low += moved
            point.last += moved

    def _widen(self) -> None:
        self._width_ms *= 2
        wider: list[Point] = []
        for point in self.points:
            start = point.ts - point.ts % self._width_ms
            if wider and wider[-1].ts == start:
                wider[-1].low = min(wider[-1].low, point.low)
                wider[-1].last = point.last
                wider[-1].drawdown = max(wider[-1].drawdown, point.drawdown)
            else:
                wider.append(Point(start, point.low, point.last, point.drawdown))
        self.points = wider
