"""Block of rows of a bar table, prepared for walking: all ticks inside its bars at once.

The model is the one of `intrabar`: open, low, high and close, each a touch around its price, with
sizes from the bar before. Here it is computed for whole arrays of bars in which no order or level
can act; `intrabar` itself computes all other bars.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import gcd
from typing import Final, final

import numpy as np

from minibot.accounting.order_rules import OrderRules
from minibot.cores.scaled_tick import Extremes
from minibot.engine.bar_table import Array, BarTable
from minibot.engine.cells import float_cells, int_cells
from minibot.engine.intrabar import LATENCY_SHARE, PERCENT, Candle, TouchModel
from minibot.engine.tick_table import WIDE_MAX
from minibot.events.cells import CELL, int_at
from minibot.events.unit_sizes import BPS_UNITS, MINUTE_MS

# Bits of a row: its kind, and its changes of the touch.
NEW_BID: Final = 1
NEW_ASK: Final = 2
# Of the bars that close with the row, only its own is read; it comes last.
HAS_OWN: Final = 4
# Another bar is read too, or instead: all are delivered in their order.
HAS_MIXED: Final = 8
# A bar that closes with a row: its lane, and its number there.
ClosingBar = tuple[int, int]
PRICES: Final = ("open", "low", "high", "close")
"""Names of a bar's prices, in the order of its ticks."""
OPEN: Final = 0
LOW: Final = 1
HIGH: Final = 2
CLOSE: Final = 3


class Shapes:
    """Shapes of the ticks made from a table's bars.

    Attributes:
        lag_ms: Delay of the open after the bar's beginning, and of its end after the close.
    """

    def __init__(self, table: BarTable, rules: OrderRules, model: TouchModel) -> None:
        """Take the table and the model of its touch."""
        self.table = table
        self.rules = rules
        self._spread_bps = model.spread_bps
        self._spread_unit = BPS_UNITS * rules.price_step
        length = table.length_ms
        self.lag_ms = max(1, min(model.latency_ms, length // LATENCY_SHARE))
        # Share of a bar's volume that is displayed at either side in the next bar.
        part, whole = MINUTE_MS * model.size_percent, max(MINUTE_MS, length) * PERCENT
        common = gcd(part, whole)
        self._part, self._whole = part // common, whole // common

    @property
    def is_narrow(self) -> bool:
        """True when all products of prices and volumes fit 64 bits."""
        columns = self.table.columns
        dearest, most = int(columns["high"].max()), int(columns["volume"].max())
        return (
            int(columns["low"].min()) > 0
            and dearest * max(1, self._spread_bps) <= WIDE_MAX
            and self._spread_unit <= WIDE_MAX
            and most * self._part <= WIDE_MAX
        )

    def touch(self, name: str, first: int, last: int) -> tuple[Array, Array]:
        """Return bid and ask around a price of the rows `first` to `last` (excluded)."""
        bid, spread = self.around(self.table.columns[name][first:last])
        return bid, bid + spread

    def around(self, price: Array) -> tuple[Array, Array]:
        """Return bid and spread around prices, an array of any shape."""
        step, unit = self.rules.price_step, self._spread_unit
        # Rounding up to a whole number and then to a whole step equals rounding up to a step.
        spread = price * self._spread_bps
        spread += unit - 1
        spread //= unit
        spread *= step
        np.maximum(spread, step, out=spread)
        bid = spread >> 1
        np.subtract(price, bid, out=bid)
        bid //= step
        bid *= step
        np.maximum(bid, step, out=bid)
        return bid, spread

    def qtys(self, first: int, last: int) -> Array:
        """Return the displayed size at either side in each row: a share of the volume before."""
        rules = self.rules
        least = max(rules.qty_step, rules.qty_min)
        volume = self.table.columns["volume"][max(0, first - 1) : last - 1]
        size = volume * self._part // self._whole // rules.qty_step * rules.qty_step
        found = np.maximum(least, size)
        return np.concatenate(([least], found)) if not first else found


class Lanes:
    """The bars that close with a table's rows: a lane for each interval, in order of delivery.

    Args:
        table: The table.
        intervals: All intervals, the longest first.
        read: The intervals that the strategy or risk uses.
    """

    def __init__(self, table: BarTable, intervals: Sequence[str], read: Collection[str]) -> None:
        self.all = [table.longer(interval) for interval in intervals]
        self.read = [interval in read for interval in intervals]
        own = [interval == table.interval for interval in intervals]
        self.own = own.index(True) if any(own) else -1

    def of(self, first: int, last: int) -> tuple[Array, Array, dict[int, list[ClosingBar]]]:
        """Return kinds, numbers of unread bars, and mixed bars of some rows.

        The numbers are for rows without mixed bars; unread bars come before the row's own.
        """
        own, count = self.own, last - first
        has_own = own >= 0 and self.read[own]
        is_mixed = np.zeros(count, dtype=bool)
        unread = np.zeros(count, dtype=np.uint8)
        spans = [range(*np.searchsorted(lane.rows, (first, last)).tolist()) for lane in self.all]
        rows = [
            lane.rows[span.start : span.stop] - first
            for lane, span in zip(self.all, spans, strict=True)
        ]
        for number, is_read in enumerate(self.read):
            if is_read:
                if number != own:
                    is_mixed[rows[number]] = True
            else:
                # Of the array's own type: each value of another type would be converted separately.
                np.add.at(unread, rows[number], np.uint8(1))
        mixed: dict[int, list[ClosingBar]] = {}
        for number, span in enumerate(spans if is_mixed.any() else ()):
            chosen = np.flatnonzero(is_mixed[rows[number]])
            for row, place in zip(rows[number][chosen].tolist(), chosen.tolist(), strict=True):
                mixed.setdefault(row + first, []).append((number, span.start + place))
        kinds = np.full(count, HAS_OWN if has_own else 0, dtype=np.uint8)
        kinds[is_mixed] = HAS_MIXED
        return kinds, unread, mixed


@final
class BarBlock:
    """Rows of a table and figures of their ticks: a byte per row, or a cell of `events.cells`.

    Attributes:
        first, last: The rows, `last` excluded.
        kinds: Bytes: the bits of this module, the touch compared with the row before.
        counts: Bytes: number of ticks of each row.
        lows: Bytes: whether one of them is at the low.
        unread: Bytes: number of unread bars that close with it; not for `HAS_MIXED`.
        mixed: All bars of a row with `HAS_MIXED`, in order of delivery.
        open_ts: Whole numbers, Unix ms.
        close_units, bid_units, ask_units, qty_units: The close, and the touch and size of the last
            tick, in hundred-millionths.
        least_bid, most_bid, least_sum, most_sum: Lowest and highest bid, and sum of bid and ask,
            over all its ticks; hundred-millionths.
        extremes: The same over all rows, and the end of the last one.
        open, high, low, close, volume, bid, ask, qty: The amounts for strategies, as floats.
    """

    def __init__(self, shapes: Shapes, lanes: Lanes, first: int, last: int) -> None:
        """Compute the touches of the rows."""
        self.first: int = first
        self.last: int = last
        columns = {name: values[first:last] for name, values in shapes.table.columns.items()}
        # A line for each of the four ticks, a column for each row.
        prices = np.stack([columns[name] for name in PRICES])
        bids, spreads = shapes.around(prices)
        asks = bids + spreads
        qtys = shapes.qtys(first, last)
        self._length_ms: int = shapes.table.length_ms
        self._prices: Array = prices
        self._volumes: Array = columns["volume"]
        self._bids: Array = bids
        self._spreads: Array = spreads
        # The spread grows with the price, and so does the bid while the spread stays: between low
        # and high the bid is outside theirs by no more than the growth of the spread.
        narrow, wide = spreads[LOW], spreads[HIGH]
        least_bid, most_bid = bids[LOW] - (wide - narrow), bids[HIGH] + (wide - narrow)
        is_moved = prices[1:3] != prices[:2]
        self.counts: bytes = (is_moved.sum(0, dtype=np.uint8) + np.uint8(2)).tobytes()
        self.lows: bytes = is_moved[0].tobytes()
        kinds, unread, self.mixed = lanes.of(first, last)
        before = None
        if first:
            before = (*shapes.touch(PRICES[-1], first - 1, first), shapes.qtys(first - 1, first))
        self.kinds: bytes = (kinds | _moves(bids, asks, qtys, before)).tobytes()
        self.unread: bytes = unread.tobytes()
        self.open_ts: bytes = int_cells(columns["open_ts"])
        self.close_units: bytes = int_cells(columns["close"])
        self.bid_units: bytes = int_cells(bids[CLOSE])
        self.ask_units: bytes = int_cells(asks[CLOSE])
        self.qty_units: bytes = int_cells(qtys)
        least_sum, most_sum = 2 * least_bid + narrow, 2 * most_bid + wide
        self.least_bid: bytes = int_cells(least_bid)
        self.most_bid: bytes = int_cells(most_bid)
        self.least_sum: bytes = int_cells(least_sum)
        self.most_sum: bytes = int_cells(most_sum)
        self.extremes: Extremes = (
            int(least_bid.min()),
            int(most_bid.max()),
            int(least_sum.min()),
            int(most_sum.max()),
            int(columns["open_ts"][-1]) + self._length_ms,
        )
        self.open: bytes = float_cells(columns["open"])
        self.high: bytes = float_cells(columns["high"])
        self.low: bytes = float_cells(columns["low"])
        self.close: bytes = float_cells(columns["close"])
        self.volume: bytes = float_cells(columns["volume"])
        self.bid: bytes = float_cells(bids[CLOSE])
        self.ask: bytes = float_cells(asks[CLOSE])
        self.qty: bytes = float_cells(qtys)
        self._mids: bytes | None = None
        self._touches: tuple[bytes, bytes] | None = None

    def candle(self, row: int) -> Candle:
        """Return one of the bars."""
        place = row - self.first
        start = int_at(self.open_ts, CELL * place)
        prices, volume = self._prices[:, place].tolist(), int(self._volumes[place])
        ends = prices[OPEN], prices[HIGH], prices[LOW], prices[CLOSE]
        return Candle(start, start + self._length_ms, *ends, volume)

    def shown_bids(self, row: int) -> list[int]:
        """Return the bids of a row's ticks without orders: low and high only if the price moves."""
        place = row - self.first
        prices, bids = self._prices[:, place].tolist(), self._bids[:, place].tolist()
        return [
            bid
            for number, bid in enumerate(bids)
            if number in (OPEN, CLOSE) or prices[number] != prices[number - 1]
        ]

    def mids(self, first: int, last: int) -> bytes:
        """Return the mid at each of the four ticks of some rows, as cells."""
        size = CELL * len(PRICES)
        return self.all_mids()[size * (first - self.first) : size * (last - self.first)]

    def all_mids(self) -> bytes:
        """Return the mid at each of the four ticks of each row, as cells."""
        if self._mids is None:
            self._mids = int_cells((self._bids + (self._spreads >> 1)).T)
        return self._mids

    def touches(self) -> tuple[bytes, bytes]:
        """Return the bids and the asks at the four ticks of each row, as cells."""
        if self._touches is None:
            self._touches = int_cells(self._bids.T), int_cells((self._bids + self._spreads).T)
        return self._touches


def _moves(
    bids: Array, asks: Array, qtys: Array, before: tuple[Array, Array, Array] | None
) -> Array:
    """Return for each row which sides of the touch change at any of its ticks.

    Args:
        bids: A line for each tick of a row.
        asks: Likewise.
        qtys: Size of each row.
        before: Bid, ask and size of the last tick before; None for none.
    """
    is_other = np.ones(len(qtys), dtype=bool)
    np.not_equal(qtys[1:], qtys[:-1], out=is_other[1:])
    if before is not None:
        is_other[0] = qtys[0] != before[2][0]
    kinds = np.zeros(len(qtys), dtype=np.uint8)
    for number, (side, bit) in enumerate(((bids, NEW_BID), (asks, NEW_ASK))):
        is_new = (side[1:] != side[:-1]).any(0) | is_other
        is_new[1:] |= side[0, 1:] != side[-1, :-1]
        is_new[0] |= before is None or side[0, 0] != before[number][0]
        kinds |= is_new.view(np.uint8) * np.uint8(bit)
    return kinds
