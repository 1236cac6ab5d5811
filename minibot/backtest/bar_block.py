"""Some rows of a table of bars, made ready to be walked: the ticks inside them, all in one go.

The model is `intrabar`: open, low, high and close, each a touch around its price, sizes from the
bar before. Here it is for whole arrays, of bars in which nobody waits for anything; any
other bar is asked of `intrabar` itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import gcd
from typing import Final, final

import numpy as np

from minibot.backtest.bar_table import WIDE_MAX, Array, BarTable
from minibot.backtest.intrabar import (
    BPS_UNITS,
    MARGIN_SHARE,
    MINUTE_MS,
    PERCENT,
    TouchModel,
)
from minibot.events.money import UNIT
from minibot.events.order_rules import OrderRules

# What each row is, and what it does to the touch.
NEW_BID: Final = 1
NEW_ASK: Final = 2
# Of the bars that close with it one is read, its own; or others are, in their order.
HAS_OWN: Final = 4
HAS_MIXED: Final = 8
# Which lane, and which bar of it.
Told = tuple[int, int]
# Up to here whole numbers are floats exactly, so that one division rounds once.
EXACT_MAX: Final = 2**53
PRICES: Final = ("open", "low", "high", "close")
# Where a row's whole numbers and floats stand, in bytes from its first.
INT_ROW: Final = 72
CLOSE: Final = 8
BID: Final = 16
ASK: Final = 24
QTY: Final = 32
LEAST_BID: Final = 40
MOST_BID: Final = 48
LEAST_SUM: Final = 56
MOST_SUM: Final = 64
FLOAT_ROW: Final = 64


class Shapes:
    """How the bars of a table become ticks.

    Attributes:
        lag_ms: What the open comes late and the close comes early.
    """

    def __init__(self, table: BarTable, rules: OrderRules, model: TouchModel) -> None:
        """Take the table and how its touch is modelled."""
        self.table = table
        self.rules = rules
        self._spread_bps = model.spread_bps
        length = table.length_ms
        self.lag_ms = max(1, min(model.latency_ms, length // MARGIN_SHARE))
        # Of a bar's volume: how much stands at either side in the bar after it.
        part, whole = MINUTE_MS * model.size_percent, max(MINUTE_MS, length) * PERCENT
        common = gcd(part, whole)
        self._part, self._whole = part // common, whole // common

    @property
    def is_narrow(self) -> bool:
        """Whether all products of prices and volumes fit 64 bits."""
        columns = self.table.columns
        dearest, most = int(columns["high"].max()), int(columns["volume"].max())
        return (
            int(columns["low"].min()) > 0
            and dearest * max(1, self._spread_bps) <= WIDE_MAX
            and most * self._part <= WIDE_MAX
        )

    def touch(self, name: str, first: int, last: int) -> tuple[Array, Array]:
        """Return bid and ask around a price of the rows `first` to `last` (excluded)."""
        price, step = self.table.columns[name][first:last], self.rules.price_step
        spread = -(-price * self._spread_bps // BPS_UNITS)
        spread = np.maximum(step, -(-spread // step) * step)
        bid = np.maximum(step, (price - spread // 2) // step * step)
        return bid, bid + spread

    def qtys(self, first: int, last: int) -> Array:
        """Return what stands at either side in each row: a share of the volume before."""
        rules = self.rules
        least = max(rules.qty_step, rules.qty_min)
        volume = self.table.columns["volume"][max(0, first - 1) : last - 1]
        size = volume * self._part // self._whole // rules.qty_step * rules.qty_step
        found = np.maximum(least, size)
        return np.concatenate(([least], found)) if not first else found


class Lanes:
    """The bars that a table's rows close, by interval in the order in which they are told.

    Args:
        table: The table.
        intervals: In the profile's order.
        read: Those of which the strategy or risk takes anything.
    """

    def __init__(self, table: BarTable, intervals: Sequence[str], read: Collection[str]) -> None:
        self.all = [table.longer(interval) for interval in intervals]
        self.read = [interval in read for interval in intervals]
        own = [interval == table.interval for interval in intervals]
        self.own = own.index(True) if any(own) else -1

    def of(self, first: int, last: int) -> tuple[Array, Array, dict[int, list[Told]]]:
        """Return kinds, counts of bars nobody reads, and mixed bars, of some rows.

        The counts are of rows without mixed bars, and of bars behind the own one.
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
            if is_read or (has_own and number < own):
                if number != own:
                    is_mixed[rows[number]] = True
            else:
                np.add.at(unread, rows[number], 1)
        mixed: dict[int, list[Told]] = {}
        for number, span in enumerate(spans):
            chosen = np.flatnonzero(is_mixed[rows[number]])
            for row, place in zip(rows[number][chosen].tolist(), chosen.tolist(), strict=True):
                mixed.setdefault(row + first, []).append((number, span.start + place))
        own_kind = np.uint8(HAS_OWN if has_own else 0)
        return np.where(is_mixed, np.uint8(HAS_MIXED), own_kind), unread, mixed


@final
class BarBlock:
    """Rows of a table as cells to be read, and what their ticks do.

    Attributes:
        first, last: The rows, `last` excluded.
        kinds: A byte a row: the bits of this module, the touch against the row before.
        counts: A byte a row: how many ticks it has.
        unread: A byte a row: how many bars close with it that nobody reads, but its own if read.
        mixed: All bars of a row with `HAS_MIXED`, in the order in which they are told.
        ints: Whole numbers of each row, as `cells` reads them: `INT_ROW` bytes a row.
        floats: The amounts that strategies take, as floats: `FLOAT_ROW` bytes a row.
    """

    def __init__(self, shapes: Shapes, lanes: Lanes, first: int, last: int) -> None:
        """Compute the touches of the rows."""
        self.first: int = first
        self.last: int = last
        columns = {name: values[first:last] for name, values in shapes.table.columns.items()}
        sides = [shapes.touch(name, first, last) for name in PRICES]
        self._bids: list[Array] = [side[0] for side in sides]
        self._asks: list[Array] = [side[1] for side in sides]
        self._qtys: Array = shapes.qtys(first, last)
        is_low = columns["low"] != columns["open"]
        is_high = columns["high"] != columns["low"]
        self.counts: bytes = (is_low.view(np.uint8) + is_high + np.uint8(2)).tobytes()
        kinds, unread, self.mixed = lanes.of(first, last)
        self.kinds: bytes = (kinds | self._moves(shapes, first)).tobytes()
        self.unread: bytes = unread.tobytes()
        bid, ask, qty = self._bids[3], self._asks[3], self._qtys
        sums = [low + high for low, high in zip(self._bids, self._asks, strict=True)]
        ints = (
            *(columns["open_ts"], columns["close"], bid, ask, qty),
            *(np.minimum.reduce(self._bids), np.maximum.reduce(self._bids)),
            *(np.minimum.reduce(sums), np.maximum.reduce(sums)),
        )
        self.ints: bytes = np.stack(ints, 1).astype("<i8", copy=False).tobytes()
        amounts = [columns[name] for name in ("open", "high", "low", "close", "volume")]
        floats = [floats_of(each) for each in (*amounts, bid, ask, qty)]
        self.floats: bytes = np.stack(floats, 1).astype("<f8", copy=False).tobytes()
        self._mids: Array | None = None

    def _moves(self, shapes: Shapes, first: int) -> Array:
        """Return for each row which sides of the touch are others at any of its ticks."""
        is_other = np.ones(len(self._qtys), dtype=bool)
        np.not_equal(self._qtys[1:], self._qtys[:-1], out=is_other[1:])
        if first:
            is_other[0] = self._qtys[0] != shapes.qtys(first - 1, first)[0]
            before = shapes.touch("close", first - 1, first)
        kinds = np.zeros(len(self._qtys), dtype=np.uint8)
        for number, (side, bit) in enumerate(((self._bids, NEW_BID), (self._asks, NEW_ASK))):
            opened, low, high, close = side
            is_new = (low != opened) | (high != low) | (close != high) | is_other
            is_new[1:] |= opened[1:] != close[:-1]
            is_new[0] |= not first or opened[0] != before[number][0]
            kinds |= is_new.view(np.uint8) * np.uint8(bit)
        return kinds

    def mids(self, first: int, last: int) -> list[int]:
        """Return the middle of the touch at each tick of some rows, in their order."""
        if self._mids is None:
            self._mids = ((np.stack(self._bids, 1) + np.stack(self._asks, 1)) // 2).ravel()
        found: list[int] = self._mids[4 * (first - self.first) : 4 * (last - self.first)].tolist()
        return found


def floats_of(units: Array) -> Array:
    """Return amounts as the floats next to them, each rounded once."""
    if len(units) and int(np.abs(units).max()) > EXACT_MAX:
        # Numpy would round such a whole number to a float, and then the quotient.
        return np.array([value / UNIT for value in units.tolist()])
    return units / float(UNIT)


def floats(units: Array) -> list[float]:
    """Return the same as a list."""
    found: list[float] = floats_of(units).tolist()
    return found
