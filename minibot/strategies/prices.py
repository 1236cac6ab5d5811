"""Prices of consecutive trades, for a strategy that follows them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import final


@final
class Prices:
    """Prices of trades, each to be handed to a strategy once.

    Args:
        prices: In their order.

    Attributes:
        count: How many there are.
        waiting: Those that were not taken yet, in their order.
        taken: How many were, as who handed them counted last.
    """

    __slots__ = ("_backwards", "_prices", "count", "taken", "waiting")

    def __init__(self, prices: list[float]) -> None:
        self._prices: list[float] = prices
        self._backwards: array[float] | None = None
        self.count: int = len(prices)
        self.waiting: Iterator[float] = iter(prices)
        self.taken: int = 0

    @staticmethod
    def of_array(backwards: array[float]) -> Prices:
        """Return prices that stand in an array, the last one first, and are made as they are taken.

        The iterator of an array does not say how many are left, that of one `reversed` does.
        """
        prices = Prices([])
        prices._backwards = backwards
        prices.count = len(backwards)
        prices.waiting = reversed(backwards)
        return prices

    def some(self, most: int) -> list[float]:
        """Return the next prices, at most so many, which go on waiting."""
        if self._backwards is None:
            return self._prices[self.taken : self.taken + most]
        left = self.count - self.taken
        return self._backwards[max(0, left - most) : left].tolist()[::-1]
