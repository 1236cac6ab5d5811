"""Returns of closed bars as whole numbers, which decide exactly and sum without drift."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, final

from minibot.features.indicator import period_of

RETURN_UNIT: Final = 100_000_000
"""A return of one: the price doubled."""


@final
class Sample:
    """Whole numbers above the least of them, their sum, and the sum of their squares.

    No correlation depends on where they count from. Compiled, the product of two small numbers that
    are not negative takes a tenth of any other.
    """

    __slots__ = ("squares", "total", "values")

    def __init__(self, values: list[int]) -> None:
        least = min(values, default=0)
        total = squares = 0
        above = [value - least for value in values]
        for value in above:
            total += value
            squares += value * value
        self.values: list[int] = above
        self.total: int = total
        self.squares: int = squares


class BarReturns:
    """Last `period` simple returns of consecutive bars, oldest first, in hundred-millionths.

    Methods:
        update(open_ts, close): takes the next closed bar. `last(count)`: the newest returns.
    Formula:
        (close - former) * 10**8 / former, rounded down. Closes are whole numbers of any unit.
    Holes:
        A bar that does not open where the former one closed begins anew, so that all returns are
        of one bar and those of two symbols stand side by side. So does a bar after a close of zero.
        A bar seen before is left out.
    Warm-up:
        `period` + 1 bars without a hole.
    """

    __slots__ = ("_sample", "close", "length_ms", "open_ts", "period", "values", "warmup")

    def __init__(self, period: int, length_ms: int) -> None:
        """Start empty, for bars of this length; raises ValueError for either below 1."""
        self.period: int = period_of(period)
        self.length_ms: int = period_of(length_ms, "length_ms")
        self.warmup: int = period + 1
        self.open_ts: int = -1
        self.close: int = 0
        self.values: deque[int] = deque(maxlen=period)
        # The newest returns of the last call of `sample`; None after another bar.
        self._sample: Sample | None = None

    def update(self, open_ts: int, close: int) -> None:
        """Take the next closed bar."""
        if open_ts <= self.open_ts:
            return
        former = self.close
        if former > 0 and open_ts == self.open_ts + self.length_ms:
            self.values.append((close - former) * RETURN_UNIT // former)
        else:
            self.values.clear()
        self._sample = None
        self.open_ts = open_ts
        self.close = close

    @property
    def count(self) -> int:
        """Number of returns kept; a hole sets it to 0."""
        return len(self.values)

    @property
    def is_ready(self) -> bool:
        """True while `period` returns are kept."""
        return len(self.values) == self.period

    @property
    def closed_ts(self) -> int:
        """End of the last bar, Unix ms; `length_ms` - 1 before the first bar."""
        return self.open_ts + self.length_ms

    def last(self, count: int, skipped: int = 0) -> list[int] | None:
        """Return the newest `count` returns before `skipped` newer ones; None for fewer."""
        first = len(self.values) - skipped - count
        return None if first < 0 else list(self.values)[first : first + count]

    def sample(self, count: int, skipped: int = 0) -> Sample | None:
        """Return the same with their sums, which one bar's entries ask for with each other symbol.

        They are summed once until the next bar, unless newer ones are skipped.
        """
        known = self._sample
        if known is not None and not skipped and len(known.values) == count:
            return known
        values = self.last(count, skipped)
        if values is None:
            return None
        found = Sample(values)
        if not skipped:
            self._sample = found
        return found

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "close": self.close,
            "length_ms": self.length_ms,
            "open_ts": self.open_ts,
            "period": self.period,
            "values": list(self.values),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BarReturns:
        """Return the returns that `state` described."""
        restored = cls(state["period"], state["length_ms"])
        restored.open_ts, restored.close = state["open_ts"], state["close"]
        restored.values.extend(state["values"])
        return restored
