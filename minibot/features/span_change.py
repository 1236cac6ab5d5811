"""Change over a span of time, such as 24 hours, from closed bars."""

from __future__ import annotations

from collections import deque
from typing import Any

from minibot.features.indicator import period_of
from minibot.features.lossless import float_from, float_text


class SpanChange:
    """Change of the last close against that of a span before, as a ratio; 0.01 is one percent up.

    Methods:
        update(open_ts, close): takes the next closed bar. `value`: the change.
    Formula:
        (close - former) / former, with former the close of the bar that opened a span earlier.
        A hole at that very bar gives None; other holes do not matter. A bar seen before is left
        out.
    Warm-up:
        All bars of the span, and one more; `is_ready` asks only for the first and the last of them.
    """

    __slots__ = ("_closes", "_times", "length_ms", "span_ms", "warmup")

    def __init__(self, length_ms: int, span_ms: int) -> None:
        """Start empty; raises ValueError where bars of this length do not make up the span."""
        self.length_ms: int = period_of(length_ms, "length_ms")
        self.span_ms: int = period_of(span_ms, "span_ms")
        if span_ms % length_ms:
            raise ValueError(f"length_ms: expected a part of {span_ms}, found {length_ms}")
        self.warmup: int = span_ms // length_ms + 1
        self._times: deque[int] = deque()
        self._closes: deque[float] = deque()

    def update(self, open_ts: int, close: float) -> None:
        """Take the next closed bar."""
        times = self._times
        if times and open_ts <= times[-1]:
            return
        times.append(open_ts)
        self._closes.append(close)
        while times[0] < open_ts - self.span_ms:
            times.popleft()
            self._closes.popleft()

    @property
    def count(self) -> int:
        """Number of bars kept: those that opened at most a span before the last one."""
        return len(self._times)

    @property
    def is_ready(self) -> bool:
        """True while the bar that opened a span before the last one is known."""
        return self.count > 0 and self._times[0] == self._times[-1] - self.span_ms

    @property
    def value(self) -> float | None:
        """The change as a ratio; None before it is ready, or against a close of zero."""
        if not self.is_ready or self._closes[0] == 0.0:
            return None
        return (self._closes[-1] - self._closes[0]) / self._closes[0]

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        bars = zip(self._times, self._closes, strict=True)
        return {
            "bars": [[open_ts, float_text(close)] for open_ts, close in bars],
            "length_ms": self.length_ms,
            "span_ms": self.span_ms,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SpanChange:
        """Return the change that `state` described."""
        restored = cls(state["length_ms"], state["span_ms"])
        for open_ts, close in state["bars"]:
            restored.update(open_ts, float_from(close))
        return restored
