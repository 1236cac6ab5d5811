"""Common part of the indicators: their count, their warm-up and the check of their periods."""

from __future__ import annotations


class Indicator:
    """Count of updates, and whether there were enough of them for a value."""

    __slots__ = ("count", "warmup")

    def __init__(self, warmup: int) -> None:
        """Start empty; `warmup` is the number of updates that the first value needs."""
        self.warmup: int = warmup
        self.count: int = 0

    @property
    def is_ready(self) -> bool:
        """True once `warmup` updates have been taken."""
        return self.count >= self.warmup


def period_of(period: int, name: str = "period") -> int:
    """Return a period; raises ValueError, which names it, below 1."""
    if period < 1:
        raise ValueError(f"{name}: expected at least 1, found {period}")
    return period
