"""Walk of ticks in columns through the cores, row by row: no parsing, no events.

A block of rows is compared with the rows before it in one go; then each row changes only what is
another one than in the row before, in the strategy's own tick and in the exact one that risk and
execution read. Amounts become floats by one correctly rounded division, which gives the same bits
as reading their decimal text: all of a block in one go. Rows that change nothing go to the strategy
alone; risk and execution are told of the last of them (`Lockstep.quiet_range`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from minibot.cores.messages import Message
from minibot.cores.scaled_tick import Extremes, QuietRange, ScaledTick
from minibot.data.columns import BLOCK_ROWS
from minibot.engine.cells import float_cells, int_cells
from minibot.engine.lockstep import Lockstep
from minibot.engine.tick_texts import tick_event
from minibot.events.cells import CELL, float_at, int_at
from minibot.events.model import Event
from minibot.strategies.core import StrategyCore
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
"""The least of the bits of price and touch: a row with any of them has at least this."""
BITS: Final = (
    *(("price", PRICE), ("bid", BID), ("bid_qty", BID_QTY), ("ask", ASK), ("ask_qty", ASK_QTY)),
)

Column = Any  # A one-dimensional array of numpy.


@final
class Block:
    """Some rows as `cells` reads them: what each has new, and its values.

    Attributes:
        changes: A byte a row: the bits of this module.
        extremes: Lowest and highest bid, the same of bid and ask together, and the last time. Where
            a touch is crossed the lowest bid is -1, in no quiet range: each row is looked at.
        ts, exchange_ts, bid, bid_qty, ask, ask_qty: Of each row, whole numbers.
        qty: Of each row, a float.
    """

    __slots__ = (
        *("_ask", "_ask_qty", "_bid", "_bid_qty", "_price", "ask", "ask_qty", "bid", "bid_qty"),
        *("changes", "exchange_ts", "extremes", "qty", "ts"),
    )

    def __init__(self, columns: Mapping[str, Column], first: int, last: int) -> None:
        """Compare rows with those before.

        Args:
            columns: All rows.
            first: Of the block.
            last: Behind it.
        """
        flags = columns["flags"][first:last].astype(np.uint8)
        changes = (flags & np.uint8(KIND)) * (flags & np.uint8(IS_TRADE))
        # One row more than is looked at, to compare the first with, where there is one.
        start = max(0, first - 1)
        for name, bit in BITS:
            values = columns[name][start:last]
            is_new = np.ones(last - first, dtype=bool)
            np.not_equal(values[1:], values[:-1], out=is_new if first else is_new[1:])
            changes |= is_new.view(np.uint8) * np.uint8(bit)
        self.changes: bytes = changes.tobytes()
        self.ts: bytes = int_cells(columns["ts"][first:last])
        self.exchange_ts: bytes = int_cells(columns["exchange_ts"][first:last])
        self.bid: bytes = int_cells(columns["bid"][first:last])
        self.bid_qty: bytes = int_cells(columns["bid_qty"][first:last])
        self.ask: bytes = int_cells(columns["ask"][first:last])
        self.ask_qty: bytes = int_cells(columns["ask_qty"][first:last])
        self.extremes: Extremes = _extremes(columns, first, last)
        # Amounts as the strategy reads them.
        read = slice(first, last)
        self._price: bytes = float_cells(columns["price"][read])
        self.qty: bytes = float_cells(columns["qty"][read])
        self._bid: bytes = float_cells(columns["bid"][read])
        self._bid_qty: bytes = float_cells(columns["bid_qty"][read])
        self._ask: bytes = float_cells(columns["ask"][read])
        self._ask_qty: bytes = float_cells(columns["ask_qty"][read])

    def touch(self, tick: Tick, change: i64, at: i64) -> None:
        """Give the strategy's tick what is new in price and touch of a row.

        Args:
            tick: As the row before has left it.
            change: The row's bits.
            at: Where its cells begin.
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


def _extremes(columns: Mapping[str, Column], first: int, last: int) -> Extremes:
    bids, asks = columns["bid"][first:last], columns["ask"][first:last]
    if not len(bids) or (bids > asks).any():
        return -1, 0, 0, 0, 0
    sums = bids + asks
    last_ts = int(columns["ts"][first:last].max())
    return int(bids.min()), int(bids.max()), int(sums.min()), int(sums.max()), last_ts


@final
class TickRows:
    """The ticks of one symbol, walked once from the first row to the last.

    Args:
        symbol: The market.
        columns: By the names of `minibot.data.ticks.TICK_COLUMNS`, arrays of whole numbers (int64,
            `flags` also uint8) of one length, in order of time; amounts in hundred-millionths.
        lockstep: Whose cores take the ticks.
        run_id, cmdline_hash: What the event of a tick says, where one is asked for.
    """

    __slots__ = (
        *("_block", "_block_first", "_block_last", "_cmdline_hash", "_columns", "_run_id", "at"),
        *("exact", "lockstep", "row", "rows", "symbol", "tick"),
    )

    def __init__(
        self,
        symbol: str,
        columns: Mapping[str, Column],
        lockstep: Lockstep,
        run_id: str,
        cmdline_hash: str,
    ) -> None:
        self._columns: Mapping[str, Column] = columns
        self.lockstep: Lockstep = lockstep
        self._run_id: str = run_id
        self._cmdline_hash: str = cmdline_hash
        self.symbol: str = symbol
        self.rows: int = len(columns["ts"])
        self.row: int = 0
        self.at: int = 0
        self._block_first: int = 0
        self._block_last: int = 0
        self._block: Block = Block(columns, 0, 0)
        self.exact: ScaledTick = ScaledTick(symbol, self, run_id)
        self.tick: Tick = tick_of(lockstep, symbol)
        self.tick.scaled = self.exact

    def event(self, seq: int) -> Event:
        """Return the event of the row that was handed over last."""
        row = {name: int(column[self.at]) for name, column in self._columns.items()}
        return tick_event(self.symbol, row, seq, self._run_id, self._cmdline_hash)

    def walk(self, last: int, seq: int) -> None:
        """Hand rows to the cores, from where the last walk ended up to row `last` (excluded).

        Args:
            last: At most `rows`.
            seq: Of the first of these rows, in `market_ticks`.
        """
        while self.row < last:
            if self.row == self._block_last:
                self._next_block()
            until = min(last, self._block_last)
            self._walk_rows(until, seq)
            seq += until - self.row
            self.row = until

    def _next_block(self) -> None:
        first = self.row
        self._block_first = first
        self._block_last = min(self.rows, first + BLOCK_ROWS)
        self._block = Block(self._columns, first, self._block_last)

    def _walk_rows(self, until: int, seq: int) -> None:
        row = self.row
        seq -= row
        while row < until:
            quiet = self.lockstep.quiet_range(self.symbol)
            row = self._walk_range(quiet, row, row + 1 if quiet is None else until, seq)

    def _set_exact(self, place: int) -> None:
        """Make the exact tick that of a row of the block, from which something may follow."""
        block, exact, at = self._block, self.exact, CELL * place
        exact.ts = int_at(block.ts, at)
        exact.bid = int_at(block.bid, at)
        exact.bid_qty = int_at(block.bid_qty, at)
        exact.ask = int_at(block.ask, at)
        exact.ask_qty = int_at(block.ask_qty, at)
        self.at = self._block_first + place

    def _walk_range(self, quiet: QuietRange | None, first: int, until: int, seq: int) -> int:
        """Hand rows to the strategy alone, and the last of them to all; return the next row.

        Ends behind a row that something follows from, or that is beyond the quiet range. Without a
        range each row matters to all: then only one may be asked for.
        """
        block, tick, port = self._block, self.tick, self.lockstep.strategy
        changes, times, bids, asks = block.changes, block.ts, block.bid, block.ask
        core = port.core
        tick.read_from(block.exchange_ts, block.qty)
        said: list[Message] | None = None
        is_within = True
        if quiet is not None:
            # Most often all rows of the block lie within, so that none has to be looked at.
            bid_least, bid_most, sum_least, sum_most, last_ts = block.extremes
            is_within = quiet.contains_all(bid_least, bid_most, sum_least, sum_most, last_ts)
        delay_ms: i64 = port.delay_ms
        latest = port.at(0) - delay_ms
        moved: i64 = 0
        start: i64 = first - self._block_first
        last: i64 = until - self._block_first
        done: i64 = last
        seq += self._block_first
        for place in range(start, last):
            at = CELL * place
            ts = int_at(times, at)
            if (
                not is_within
                and quiet is not None
                and not quiet.contains(int_at(bids, at), int_at(asks, at), ts)
            ):
                done = place
                break
            change: i64 = changes[place]
            if change >= TOUCHED:
                moved |= change
                block.touch(tick, change, at)
            tick.ts = ts
            tick.at = at
            kind: i64 = change & KIND
            tick.is_trade = kind != 0
            tick.is_taker_buy = kind == IS_TRADE
            if ts > latest:
                latest = ts
            said = core.process(tick, seq + place, latest + delay_ms if delay_ms else latest)
            if said:
                done = place + 1
                break
        row = self._block_first + done
        if row > first:
            self._set_exact(done - 1)
            last_seq = seq + done - 1
            if quiet is None:
                self.lockstep.tell(self.exact, last_seq, said)
            else:
                is_bid_new, is_ask_new = moved & NEW_BID != 0, moved & NEW_ASK != 0
                self.lockstep.skip_to(self.exact, last_seq, is_bid_new, is_ask_new, said)
        if quiet is not None and not said and row < until:
            return self._walk_range(None, row, row + 1, seq - self._block_first)
        return row


def tick_of(lockstep: Lockstep, symbol: str) -> Tick:
    """Return the tick of a symbol that the strategy's core wants filled.

    Another core than the shipped one has none: it refuses to process the one returned.
    """
    core = lockstep.strategy.core
    return core.view(symbol).tick if isinstance(core, StrategyCore) else Tick(symbol)
