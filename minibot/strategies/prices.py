"""The prices of trades in a row, as they are handed to a strategy that follows them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import final


@final
class Prices:
    """Prices of trades, each to be handed to a strategy once.

    Args:
        prices: In their order.
        backwards: Prices from the last to the first, instead of these: many of them cost less in an
            array, whose own iterator does not say how many are left, while `reversed` does.

    Attributes:
        count: How many there are.
        waiting: Those that were not taken yet, in their order.
        taken: How many were, as who handed them counted last.
    """

    __slots__ = ("_backwards", "_prices", "count", "taken", "waiting")

    def __init__(self, prices: list[float], backwards: array[float] | None = None) -> None:
        self._prices: list[float] = prices
        self._backwards: array[float] | None = backwards
        self.count: int = len(prices) if backwards is None else len(backwards)
        self.waiting: Iterator[float] = iter(prices) if backwards is None else reversed(backwards)
        self.taken: int = 0

    def some(self, most: int) -> list[float]:
        """Return the next prices, at most so many, which go on waiting."""
        if self._backwards is None:
            return self._prices[self.taken : self.taken + most]
        left = self.count - self.taken
        return self._backwards[max(0, left - most) : left].tolist()[::-1]
