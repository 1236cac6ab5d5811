"""The prices of trades in a row, as they are handed to a strategy that follows them."""

from __future__ import annotations

from collections.abc import Iterator
from operator import length_hint
from typing import final


@final
class Prices:
    """Prices of trades, each to be handed to a strategy once.

    Attributes:
        all: In their order.
        waiting: Those that were not taken yet.
        taken: How many were when `count` was asked last.
    """

    __slots__ = ("all", "taken", "waiting")

    def __init__(self, prices: list[float]) -> None:
        self.all: list[float] = prices
        self.waiting: Iterator[float] = iter(prices)
        self.taken: int = 0

    def count(self) -> int:
        """Count what was taken since it was asked last."""
        taken = len(self.all) - length_hint(self.waiting)
        since = taken - self.taken
        self.taken = taken
        return since
