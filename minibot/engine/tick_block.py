"""Block of rows of ticks, prepared for walking: the changes of each row, and its values.

Amounts become floats by one correctly rounded division, which gives the same bits as parsing their
decimal text: all of a block in one go if each row is shown, else only those of the shown rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from minibot.cores.scaled_tick import Extremes
from minibot.engine.cells import EXACT_MAX, exact_quotient, float_cells, int_cells
from minibot.events.cells import CELL, float_at, int_at
from minibot.events.money import UNIT
from minibot.strategies.prices import Prices
from minibot.strategies.tick import Tick

if TYPE_CHECKING:
    from mypy_extensions import i64

IS_TRADE: Final = 1
IS_TAKER_SELL: Final = 2
KIND: Final = IS_TRADE | IS_TAKER_SELL
PRICE: Final = 8
BID: Final = 16
BID_QTY: Final = 32
ASK: Final = 64
ASK_QTY: Final = 128
NEW_BID: Final = BID | BID_QTY
NEW_ASK: Final = ASK | ASK_QTY
TOUCHED: Final = PRICE
"""The lowest bit of price and touch: a row with any such change has at least this value."""
BITS: Final = (
    *(("price", PRICE), ("bid", BID), ("bid_qty", BID_QTY), ("ask", ASK), ("ask_qty", ASK_QTY)),
)

Column = Any  # A one-dimensional array of numpy.


@final
class Amounts:
    """Amounts of a block's rows for the strategy, as floats.

    Attributes:
        qty: Quantity of each row.
    """

    __slots__ = ("_ask", "_ask_qty", "_bid", "_bid_qty", "_price", "qty")

    def __init__(self, columns: Mapping[str, Column], first: int, last: int) -> None:
        """Take rows `first` to `last` (excluded)."""
        read = slice(first, last)
        self._price: bytes = float_cells(columns["price"][read])
        self.qty: bytes = float_cells(columns["qty"][read])
        self._bid: bytes = float_cells(columns["bid"][read])
        self._bid_qty: bytes = float_cells(columns["bid_qty"][read])
        self._ask: bytes = float_cells(columns["ask"][read])
        self._ask_qty: bytes = float_cells(columns["ask_qty"][read])

    def touch(self, tick: Tick, change: i64, at: i64) -> None:
        """Write the changes of a row's price and touch into the strategy's tick.

        Args:
            tick: The tick, as the row before left it.
            change: The row's bits.
            at: Offset of its cells.
        """
        if change & PRICE:
            tick.price = float_at(self._price, at)
        if change & BID:
            tick.bid = float_at(self._bid, at)
        if change & BID_QTY:
            tick.bid_qty = float_at(self._bid_qty, at)
        if change & ASK:
            tick.ask = float_at(self._ask, at)
        if change & ASK_QTY:
            tick.ask_qty = float_at(self._ask_qty, at)


@final
class Block:
    """Some rows as cells: the changes of each row, and its values.

    Attributes:
        changes: A byte a row: the bits of this module.
        extremes: Lowest and highest bid, lowest and highest sum of bid and ask, and the last time.
            If a touch is crossed, the lowest bid is -1, outside any quiet range, so that each row
            is examined.
        ts, exchange_ts, bid, bid_qty, ask, ask_qty: Whole numbers of each row.
        trades: Its trades by their prices; None if they are not needed, or if times fall.
    """

    __slots__ = (
        *("_amounts", "_columns", "_first", "_last", "_price", "_qty", "ask", "ask_qty", "bid"),
        *("bid_qty", "changes", "exchange_ts", "extremes", "trades", "ts"),
    )

    def __init__(
        self, columns: Mapping[str, Column], first: int, last: int, by_price: bool = False
    ) -> None:
        """Compare rows with those before.

        Args:
            columns: All rows.
            first: First row of the block.
            last: The row after the block.
            by_price: Whether its trades are shown by their prices.
        """
        self._columns: Mapping[str, Column] = columns
        self._first: int = first
        self._last: int = last
        self._amounts: Amounts | None = None
        flags = columns["flags"][first:last].astype(np.uint8)
        changes = (flags & np.uint8(KIND)) * (flags & np.uint8(IS_TRADE))
        # One row more, if there is one, with which the first is compared.
        start = max(0, first - 1)
        is_new = np.ones(last - first, dtype=bool)
        bits = np.empty(last - first, dtype=np.uint8)
        for name, bit in BITS:
            values = columns[name][start:last]
            np.not_equal(values[1:], values[:-1], out=is_new if first else is_new[1:])
            changes |= np.multiply(is_new.view(np.uint8), np.uint8(bit), out=bits)
        self.changes: bytes = changes.tobytes()
        self.ts: bytes = int_cells(columns["ts"][first:last])
        self.exchange_ts: bytes = int_cells(columns["exchange_ts"][first:last])
        self.bid: bytes = int_cells(columns["bid"][first:last])
        self.bid_qty: bytes = int_cells(columns["bid_qty"][first:last])
        self.ask: bytes = int_cells(columns["ask"][first:last])
        self.ask_qty: bytes = int_cells(columns["ask_qty"][first:last])
        self._price: bytes = int_cells(columns["price"][first:last])
        self._qty: bytes = int_cells(columns["qty"][first:last])
        self.extremes: Extremes = _extremes(columns, first, last)
        times = columns["ts"][first:last]
        is_in_order = by_price and not (times[1:] < times[:-1]).any()
        self.trades: Trades | None = (
            Trades(columns["price"][first:last], changes) if is_in_order else None
        )

    @property
    def amounts(self) -> Amounts:
        """Amounts of all rows, computed when they are first needed."""
        if self._amounts is None:
            self._amounts = Amounts(self._columns, self._first, self._last)
        return self._amounts

    def show(self, tick: Tick, place: i64) -> None:
        """Set the strategy's tick to a row, whatever it was before."""
        at = CELL * place
        tick.price = _amount(int_at(self._price, at))
        tick.bid = _amount(int_at(self.bid, at))
        tick.bid_qty = _amount(int_at(self.bid_qty, at))
        tick.ask = _amount(int_at(self.ask, at))
        tick.ask_qty = _amount(int_at(self.ask_qty, at))
        tick.ts = int_at(self.ts, at)
        tick.exchange_ts = int_at(self.exchange_ts, at)
        kind: i64 = self.changes[place] & KIND
        tick.is_trade = kind != 0
        tick.is_taker_buy = kind == IS_TRADE
        tick.qty = _amount(int_at(self._qty, at)) if kind != 0 else 0.0


def _amount(units: int) -> float:
    """Return an amount as the nearest float."""
    # Compiled code would round a larger number to a float before the division.
    return units / UNIT if units <= EXACT_MAX else exact_quotient(units)


@final
class Trades:
    """Trades of a block: price and row of each, and the rows in which the touch moves.

    Attributes:
        prices: Price of each trade, a float.
        places: Row of each trade in the block.
    """

    __slots__ = ("_ask_moves", "_bid_moves", "_until", "places", "prices")

    def __init__(self, prices: Column, changes: Column) -> None:
        """Take the prices of all rows, and their bits."""
        is_trade = changes & np.uint8(KIND) != 0
        if is_trade.all():  # A file of trades; counting and choosing would take twice as long.
            places, until = np.arange(len(prices)), np.arange(1, len(prices) + 1)
        else:
            places, until = np.flatnonzero(is_trade), np.cumsum(is_trade)
            prices = prices[places]
        self.prices: bytes = float_cells(prices)
        self.places: bytes = int_cells(places)
        # Number of trades up to each row.
        self._until: bytes = int_cells(until)
        # One byte per row: whether bid and ask move.
        self._bid_moves: bytes = (changes & np.uint8(NEW_BID) != 0).tobytes()
        self._ask_moves: bytes = (changes & np.uint8(NEW_ASK) != 0).tobytes()

    def before(self, place: i64) -> i64:
        """Return the number of trades before a row."""
        return int_at(self._until, CELL * (place - 1)) if place > 0 else 0

    def moves(self, start: int, last: int) -> tuple[bool, bool]:
        """Return whether bid and ask, price or size, change in rows `start` to before `last`."""
        bids, asks = self._bid_moves, self._ask_moves
        return bids.find(1, start, last) >= 0, asks.find(1, start, last) >= 0


def _extremes(columns: Mapping[str, Column], first: int, last: int) -> Extremes:
    bids, asks = columns["bid"][first:last], columns["ask"][first:last]
    if not len(bids) or (bids > asks).any():
        return -1, 0, 0, 0, 0
    sums = bids + asks
    last_ts = int(columns["ts"][first:last].max())
    return int(bids.min()), int(bids.max()), int(sums.min()), int(sums.max()), last_ts


@final
class RowPrices(Prices):
    """Trades of a block's rows, shown to the strategy by their prices.

    Args:
        tick: The core's tick of their symbol.
        block: The block.
        trades: The trades of the block.

    Attributes:
        trades: The trades of the block.
        place: Row in the block of the trade that fills the tick.
    """

    __slots__ = ("_block", "_delay_ms", "_first_line", "_since", "place", "trades")

    def __init__(self, tick: Tick, block: Block, trades: Trades) -> None:
        super().__init__(tick)
        self.cells = trades.prices
        self._block: Block = block
        self.trades: Trades = trades
        self.place: int = 0
        self._first_line: int = 0
        self._since: int = 0
        self._delay_ms: int = 0

    def begin(self, first: int, last: int, line: int, since: int, delay_ms: int) -> None:
        """Begin with some trades of the block.

        Args:
            first: Index of the first of them.
            last: Index after the last of them.
            line: Line of the block's first row.
            since: Market time before them, ms.
            delay_ms: Time from each trade until the strategy takes it.
        """
        self.first = CELL * first
        self.last = CELL * last
        self._first_line = line
        self._since = since
        self._delay_ms = delay_ms

    def fill_tick(self) -> None:
        """Fill the tick with the last trade taken."""
        place, tick = int_at(self.trades.places, self.at), self.tick
        self.place = place
        self._block.show(tick, place)
        self.line = self._first_line + place
        self.ts = max(self._since, tick.ts) + self._delay_ms
