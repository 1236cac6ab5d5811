"""Counts of events and failures over a sliding window of time."""

from __future__ import annotations

from collections import deque


class Window:
    """Counter of events within the last `span_ms`; times may only grow."""

    def __init__(self, span_ms: int) -> None:
        self.span_ms = span_ms
        self._times: deque[int] = deque()

    def add(self, now_ms: int) -> None:
        """Count one event."""
        self._times.append(now_ms)

    def count(self, now_ms: int) -> int:
        """Return the number of events in the window."""
        times, oldest = self._times, now_ms - self.span_ms
        while times and times[0] <= oldest:
            times.popleft()
        return len(times)

    def free_at_ms(self, now_ms: int, count_max: int) -> int:
        """Return the first time with fewer than `count_max` events; `now_ms` if that is now."""
        surplus = self.count(now_ms) - count_max
        return now_ms if surplus < 0 else self._times[surplus] + self.span_ms


class RateWindow:
    """Share of failed samples among those of the last `span_ms`."""

    def __init__(self, span_ms: int) -> None:
        self._all = Window(span_ms)
        self._failed = Window(span_ms)

    def add(self, now_ms: int, *, ok: bool) -> None:
        """Count one sample."""
        self._all.add(now_ms)
        if not ok:
            self._failed.add(now_ms)

    def counts(self, now_ms: int) -> tuple[int, int]:
        """Return the number of failed samples and of all samples in the window."""
        return self._failed.count(now_ms), self._all.count(now_ms)
