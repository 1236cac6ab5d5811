"""VADR: today's liveliness of a market relative to its usual one."""

from __future__ import annotations

from math import sqrt
from typing import Any, Final

from minibot.features.indicator import period_of
from minibot.features.window import Window

SPAN_MS: Final = 86_400_000
"""The 24 hours of one reading."""


class Vadr:
    """Reading of 24 hours (range / close * sqrt(volume)) against the median of such readings.

    Methods:
        update(open_ts, high, low, close, volume): takes the next closed bar. `value`: the ratio.
    Formula:
        reading / median of the last `readings` readings, the newest among them. A reading is
        (highest high - lowest low) / close * sqrt(volume), all of the bars of 24 hours. Volume is
        of any unit, as it cancels out; a negative one is a ValueError of sqrt. The median of an
        even number is the mean of the two in the middle. A close of zero gives a reading of zero. A
        median of zero, of a market that stands still, gives None.
    Holes:
        A bar that does not open where the former one closed begins anew, so that 24 hours are 24
        hours. A bar seen before is left out.
    Warm-up:
        The bars of 24 hours, and one for each reading but the first.
    Cost:
        Highs, lows and volumes of 24 hours are walked at each bar, the readings are sorted when the
        value is asked for.
    """

    __slots__ = (
        "_highs",
        "_lows",
        "_median",
        "_readings",
        "_volumes",
        "length_ms",
        "open_ts",
        "warmup",
    )

    def __init__(self, length_ms: int, readings: int) -> None:
        """Start empty; raises ValueError where bars of this length do not make up 24 hours."""
        self.length_ms: int = period_of(length_ms, "length_ms")
        if SPAN_MS % length_ms:
            raise ValueError(f"length_ms: expected a part of {SPAN_MS}, found {length_ms}")
        bars = SPAN_MS // length_ms
        self.warmup: int = bars + period_of(readings, "readings") - 1
        self.open_ts: int = -1
        self._highs: Window = Window(bars)
        self._lows: Window = Window(bars)
        self._volumes: Window = Window(bars)
        self._readings: Window = Window(readings)
        # Median of the readings, computed on demand; None until then.
        self._median: float | None = None

    def update(self, open_ts: int, high: float, low: float, close: float, volume: float) -> None:
        """Take the next closed bar."""
        if open_ts <= self.open_ts:
            return
        if open_ts != self.open_ts + self.length_ms:
            for window in (self._highs, self._lows, self._volumes, self._readings):
                window.values.clear()
        self.open_ts = open_ts
        self._highs.append(high)
        self._lows.append(low)
        self._volumes.append(volume)
        if not self._highs.is_full:
            return
        width = self._highs.highest() - self._lows.lowest()
        self._readings.append(width / close * sqrt(self._volumes.total()) if close else 0.0)
        self._median = None

    @property
    def count(self) -> int:
        """Number of readings kept; a hole drops those before it."""
        return len(self._readings.values)

    @property
    def is_ready(self) -> bool:
        """True while all readings of the median are kept."""
        return self._readings.is_full

    @property
    def closed_ts(self) -> int:
        """End of the last bar, Unix ms; `length_ms` - 1 before the first bar."""
        return self.open_ts + self.length_ms

    @property
    def value(self) -> float | None:
        """The ratio; None before it is ready, and where the median is zero."""
        if not self.is_ready:
            return None
        if self._median is None:
            self._median = _median(list(self._readings.values))
        return self._readings.values[-1] / self._median if self._median > 0.0 else None

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "highs": self._highs.state(),
            "length_ms": self.length_ms,
            "lows": self._lows.state(),
            "open_ts": self.open_ts,
            "period": self._readings.period,
            "readings": self._readings.state(),
            "volumes": self._volumes.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Vadr:
        """Return the ratio that `state` described."""
        restored = cls(state["length_ms"], state["period"])
        restored.open_ts = state["open_ts"]
        restored._highs.restore(state["highs"])
        restored._lows.restore(state["lows"])
        restored._volumes.restore(state["volumes"])
        restored._readings.restore(state["readings"])
        return restored


def _median(values: list[float]) -> float:
    values.sort()
    middle = len(values) // 2
    if len(values) % 2:
        return values[middle]
    return (values[middle - 1] + values[middle]) / 2.0
