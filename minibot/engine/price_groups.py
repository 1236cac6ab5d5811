"""Groups of rows for a strategy that follows trade prices, with facts that hold for a group.

Whether a group lies within a calm is seen by its extremes, so that risk and execution are told of
many rows by their last one; a group that does not is looked at row by row.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np

from minibot.cores.scaled_tick import QuietRange
from minibot.data.ticks import IS_TRADE
from minibot.engine.cells import floats_of, int_cells
from minibot.events.cells import CELL, int_at
from minibot.strategies.prices import Prices

Extremes = tuple[int, int, int, int, int]
"""Of rows: the least and the highest bid, the same of bid and ask together, and the last time."""

GROUP: Final = 64
"""Rows: as many are looked at one by one beside a bound."""


@final
class PriceGroups:
    """The groups of one block of rows; rows are counted from the block's first.

    Args:
        columns: As `tick_rows.TickRows` takes them, in order of time.
        first, last: The rows of the block, the last one excluded.
    """

    __slots__ = (
        *("_asks", "_backwards", "_bids", "_extremes", "_times", "_trades", "_trades_before"),
        "_whole",
    )

    def __init__(self, columns: Mapping[str, Any], first: int, last: int) -> None:
        bids, asks, times = (columns[name][first:last] for name in ("bid", "ask", "ts"))
        both = bids + asks
        self._bids: Any = bids
        self._asks: Any = asks
        self._times: Any = times
        # No calm reaches below zero: rows with a crossed touch lie within none.
        self._whole: Extremes = (
            -1 if (bids > asks).any() else int(bids.min()),
            int(bids.max()),
            int(both.min()),
            int(both.max()),
            int(times[-1]),
        )
        # The same of each group, once somebody asks for less than all of them.
        self._extremes: list[Extremes] = []
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
        # From the last to the first, as `Prices` hands them on.
        self._backwards: array[float] = array("d", floats_of(prices)[::-1].tobytes())

    def reached(self, calm: QuietRange, place: int, end: int) -> int:
        """Return up to which row (excluded, at most `end`) all rows lie within a calm.

        That is `end` or where a group begins; `place` where one of its group does not.
        """
        if _are_calm(self._whole, calm):
            return end
        if not self._extremes:
            self._extremes = self._of_groups()
        while place < end:
            group = place // GROUP
            if not _are_calm(self._extremes[group], calm):
                return place
            place = (group + 1) * GROUP
        return end

    def _of_groups(self) -> list[Extremes]:
        """Return of each group what `_whole` is of all rows."""
        bids, asks = self._bids, self._asks
        starts, both = np.arange(0, len(bids), GROUP), bids + asks
        ends = np.minimum(starts + GROUP, len(bids))
        extremes = (
            np.minimum.reduceat(np.where(bids <= asks, bids, -1), starts),
            np.maximum.reduceat(bids, starts),
            np.minimum.reduceat(both, starts),
            np.maximum.reduceat(both, starts),
            self._times[ends - 1],
        )
        return list(zip(*(values.tolist() for values in extremes), strict=True))

    @staticmethod
    def end(place: int) -> int:
        """Return where the group of a row ends."""
        return (place // GROUP + 1) * GROUP

    def prices(self, place: int, end: int) -> Prices:
        """Return the prices of the trades among rows."""
        before = self._trades_before
        if before:
            place, end = int_at(before, CELL * place), int_at(before, CELL * end)
        count = len(self._backwards)
        return Prices.of_array(self._backwards[count - end : count - place])

    def row_of(self, place: int, trade: int) -> int:
        """Return the row of a trade, counted from the first trade that is not before `place`."""
        before = self._trades_before
        if before:
            return int_at(self._trades, CELL * (int_at(before, CELL * place) + trade))
        return place + trade


def _are_calm(rows: Extremes, calm: QuietRange) -> bool:
    """Return whether rows lie within a calm."""
    bid_least, bid_most, sum_least, sum_most, last_ts = rows
    return (
        calm.above < bid_least
        and bid_most < calm.below
        and calm.least <= sum_least
        and sum_most <= calm.most
        and last_ts < calm.until
    )
