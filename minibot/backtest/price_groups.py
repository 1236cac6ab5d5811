"""Rows in groups, for a strategy that follows the prices of trades: what holds for all of a group.

Whether a group lies within a calm is seen by the extremes of its touches, so that its prices go to
the strategy in one call; a group that does not is walked row by row.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np

from minibot.backtest.cells import floats_of, int_cells
from minibot.data.ticks import IS_TRADE
from minibot.events.cells import CELL, int_at
from minibot.events.exact_tick import Calm

GROUP: Final = 64
"""Rows: about as many as are handed on by one call, and looked at one by one beside a bound."""


@final
class PriceGroups:
    """The groups of one block of rows; rows are counted from the block's first.

    Args:
        columns: As `tick_rows.TickRows` takes them, in order of time.
        first, last: The rows of the block, the last one excluded.
    """

    __slots__ = (
        *("_bid_least", "_bid_most", "_is_straight", "_prices", "_sum_least", "_sum_most"),
        *("_trades", "_trades_before"),
    )

    def __init__(self, columns: Mapping[str, Any], first: int, last: int) -> None:
        bids, asks = columns["bid"][first:last], columns["ask"][first:last]
        starts = np.arange(0, last - first, GROUP)
        both = bids + asks
        self._bid_least: list[int] = np.minimum.reduceat(bids, starts).tolist()
        self._bid_most: list[int] = np.maximum.reduceat(bids, starts).tolist()
        self._sum_least: list[int] = np.minimum.reduceat(both, starts).tolist()
        self._sum_most: list[int] = np.maximum.reduceat(both, starts).tolist()
        self._is_straight: list[bool] = np.logical_and.reduceat(bids <= asks, starts).tolist()
        prices = columns["price"][first:last]
        is_trade = (columns["flags"][first:last] & IS_TRADE).astype(bool)
        # Empty where every row is a trade.
        self._trades: bytes = b""
        self._trades_before: bytes = b""
        if not is_trade.all():
            trades = np.flatnonzero(is_trade)
            self._trades = int_cells(trades)
            before = np.zeros(last - first + 1, dtype=np.int64)
            np.cumsum(is_trade, out=before[1:])
            self._trades_before = int_cells(before)
            prices = prices[trades]
        self._prices: array[float] = array("d", floats_of(prices).tobytes())

    def within(self, calm: Calm, place: int, last: int) -> int:
        """Return up to which row (excluded, at most `last`) all rows lie within a calm.

        That is the end of the group of `place`, or `place` itself where one of the group does not.
        """
        group = place // GROUP
        if (
            self._is_straight[group]
            and calm.above < self._bid_least[group]
            and self._bid_most[group] < calm.below
            and calm.least <= self._sum_least[group]
            and self._sum_most[group] <= calm.most
        ):
            end = (group + 1) * GROUP
            return end if end < last else last
        return place

    @staticmethod
    def end(place: int) -> int:
        """Return where the group of a row ends."""
        return (place // GROUP + 1) * GROUP

    def prices(self, place: int, end: int) -> list[float]:
        """Return the prices of the trades among rows."""
        before = self._trades_before
        if before:
            place, end = int_at(before, CELL * place), int_at(before, CELL * end)
        return self._prices[place:end].tolist()

    def row_of(self, place: int, trade: int) -> int:
        """Return the row of a trade, counted from the first trade that is not before `place`."""
        before = self._trades_before
        if before:
            return int_at(self._trades, CELL * (int_at(before, CELL * place) + trade))
        return place + trade
