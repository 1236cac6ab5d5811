"""The prices of trades in a row, as they are handed to a strategy that follows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final


@final
class Prices:
    """Prices of trades, each to be handed to a strategy once.

    Attributes:
        all: In their order.
        waiting: Those that were not taken yet.
        taken: How many were, as who handed them counted last.
    """

    __slots__ = ("all", "taken", "waiting")

    def __init__(self, prices: list[float]) -> None:
        self.all: list[float] = prices
        self.waiting: Iterator[float] = iter(prices)
        self.taken: int = 0
