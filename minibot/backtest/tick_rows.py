"""Ticks in columns, handed to the cores row by row: nothing is parsed, no event is made.

A block of rows is compared with the rows before it in one go; then each row changes only what is
another one than in the row before, in the strategy's own tick and in the exact one that risk and
execution read. Amounts become floats by one correctly rounded division, which gives the same bits
as reading their decimal text: all of a block in one go, or where one is read if few are. Rows that
nothing follows from go to the strategy alone; risk and execution are told of the last of them
(`Lockstep.calm`). A strategy that follows the prices of trades gets those of such rows by the group
(`backtest.price_groups`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from minibot.backtest.cells import EXACT_MAX, exact_quotient, float_cells, int_cells
from minibot.backtest.price_groups import PriceGroups
from minibot.backtest.tick_texts import tick_event
from minibot.events.cells import CELL, float_at, int_at
from minibot.events.exact_tick import Calm, ExactTick
from minibot.events.model import Event
from minibot.events.money import UNIT
from minibot.replay.lockstep import Lockstep
from minibot.strategies.decision import Decision
from minibot.strategies.tick import Tick

if TYPE_CHECKING:
    from mypy_extensions import i64

BLOCK_ROWS: Final = 8192
IS_TRADE: Final = 1
IS_TAKER_SELL: Final = 2
PRICE: Final = 8
BID: Final = 16
BID_QTY: Final = 32
ASK: Final = 64
ASK_QTY: Final = 128
NEW_BID: Final = BID | BID_QTY
NEW_ASK: Final = ASK | ASK_QTY
TOUCHED: Final = PRICE | NEW_BID | NEW_ASK
BITS: Final = (
    *(("price", PRICE), ("bid", BID), ("bid_qty", BID_QTY), ("ask", ASK), ("ask_qty", ASK_QTY)),
)

Column = Any  # A one-dimensional int64 array of numpy.


@final
class Block:
    """Some rows as `cells` reads them: what each has new, and its values.

    Attributes:
        changes: A byte a row: the bits of this module.
        any_change: The bits of all of them, with which `fill` takes a whole row over.
        new_bids, new_asks: A byte a row, above zero where price or size of that side is new.
        ts, exchange_ts, bid, bid_qty, ask, ask_qty: Of each row, whole numbers.
    """

    __slots__ = (
        *("_ask", "_ask_qty", "_bid", "_bid_qty", "_has_floats", "_price", "_qty"),
        *("any_change", "ask", "ask_qty", "bid", "bid_qty", "changes", "exchange_ts"),
        *("new_asks", "new_bids", "ts"),
    )

    def __init__(
        self, columns: Mapping[str, Column], first: int, last: int, *, reads_all: bool
    ) -> None:
        """Compare rows with those before.

        Args:
            columns: All rows.
            first: Of the block.
            last: Behind it.
            reads_all: Whether each row is handed over, so that amounts become floats in one go;
                else where one is read.
        """
        changes = (columns["flags"][first:last] & (IS_TRADE | IS_TAKER_SELL)).astype(np.uint8)
        # One row more than is looked at, to compare the first with, where there is one.
        start = max(0, first - 1)
        for name, bit in BITS:
            values = columns[name][start:last]
            is_new = np.ones(last - first, dtype=bool)
            np.not_equal(values[1:], values[:-1], out=is_new if first else is_new[1:])
            changes |= is_new.view(np.uint8) * np.uint8(bit)
        self.changes: bytes = changes.tobytes()
        self.any_change: int = int(np.bitwise_or.reduce(changes)) & TOUCHED
        self.new_bids: bytes = (changes & NEW_BID).astype(bool).tobytes()
        self.new_asks: bytes = (changes & NEW_ASK).astype(bool).tobytes()
        self.ts: bytes = int_cells(columns["ts"][first:last])
        self.exchange_ts: bytes = int_cells(columns["exchange_ts"][first:last])
        self.bid: bytes = int_cells(columns["bid"][first:last])
        self.bid_qty: bytes = int_cells(columns["bid_qty"][first:last])
        self.ask: bytes = int_cells(columns["ask"][first:last])
        self.ask_qty: bytes = int_cells(columns["ask_qty"][first:last])
        # Of amounts as the strategy reads them: floats, or whole numbers that become floats then.
        amounts = float_cells if reads_all else int_cells
        self._has_floats: bool = reads_all
        self._price: bytes = amounts(columns["price"][first:last])
        self._qty: bytes = amounts(columns["qty"][first:last])
        self._bid: bytes = amounts(columns["bid"][first:last])
        self._bid_qty: bytes = amounts(columns["bid_qty"][first:last])
        self._ask: bytes = amounts(columns["ask"][first:last])
        self._ask_qty: bytes = amounts(columns["ask_qty"][first:last])

    def fill(self, tick: Tick, ts: int, change: i64, at: i64) -> None:
        """Make the strategy's tick that of a row, of which `change` says what is new.

        Args:
            tick: As the row before has left it.
            ts: Of the row.
            change: The row's.
            at: Where its cells begin.
        """
        quick = self._has_floats
        if change & TOUCHED:
            if change & PRICE:
                tick.price = (
                    float_at(self._price, at) if quick else float_of(int_at(self._price, at))
                )
            if change & BID:
                tick.bid = float_at(self._bid, at) if quick else float_of(int_at(self._bid, at))
            if change & BID_QTY:
                tick.bid_qty = (
                    float_at(self._bid_qty, at) if quick else float_of(int_at(self._bid_qty, at))
                )
            if change & ASK:
                tick.ask = float_at(self._ask, at) if quick else float_of(int_at(self._ask, at))
            if change & ASK_QTY:
                tick.ask_qty = (
                    float_at(self._ask_qty, at) if quick else float_of(int_at(self._ask_qty, at))
                )
        tick.ts = ts
        tick.exchange_ts = int_at(self.exchange_ts, at)
        if change & IS_TRADE:
            tick.is_trade = True
            tick.is_taker_buy = not change & IS_TAKER_SELL
            tick.qty = float_at(self._qty, at) if quick else float_of(int_at(self._qty, at))
        elif tick.is_trade:
            tick.is_trade = False
            tick.is_taker_buy = False
            tick.qty = 0.0

    def fill_exact(self, tick: ExactTick, at: i64) -> None:
        """Make the exact tick that of a row, whose cells begin `at` there."""
        tick.ts = int_at(self.ts, at)
        tick.bid = int_at(self.bid, at)
        tick.bid_qty = int_at(self.bid_qty, at)
        tick.ask = int_at(self.ask, at)
        tick.ask_qty = int_at(self.ask_qty, at)


def float_of(units: i64) -> float:
    """Return an amount in hundred-millionths as the float next to it."""
    return units / UNIT if units <= EXACT_MAX else exact_quotient(units)


@final
class TickRows:
    """The ticks of one symbol, walked once from the first row to the last.

    Args:
        symbol: The market.
        columns: By the names of `minibot.data.ticks.TICK_COLUMNS`, int64 arrays of one length, in
            order of time; amounts in hundred-millionths.
        lockstep: Whose cores take the ticks.
        run_id, cmdline_hash: What the event of a tick says, where one is asked for.
    """

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
        self._block: Block = Block(columns, 0, 0, reads_all=True)
        # Only for a strategy that follows prices.
        self._groups: PriceGroups | None = None
        self.exact: ExactTick = ExactTick(symbol, self, run_id)
        self.tick: Tick = lockstep.strategy_tick(symbol) or Tick(symbol)

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
        follows = self.lockstep.follows(self.symbol)
        self._block = Block(self._columns, first, self._block_last, reads_all=not follows)
        self._groups = PriceGroups(self._columns, first, self._block_last) if follows else None

    def _walk_rows(self, until: int, seq: int) -> None:
        row = self.row
        seq -= row
        while row < until:
            calm = self.lockstep.calm(self.symbol)
            if calm is None:
                self._feed(row, seq + row)
                row += 1
            elif self._groups is None:
                row = self._walk_calm(calm, row, until, seq)
            else:
                row = self._follow(self._groups, calm, row, until, seq)

    def _feed(self, row: int, seq: int) -> None:
        """Hand one row to all cores."""
        block, exact, place = self._block, self.exact, row - self._block_first
        block.fill_exact(exact, CELL * place)
        block.fill(self.tick, exact.ts, block.changes[place], CELL * place)
        self.at = row
        self.lockstep.feed_tick(self.tick, exact, seq)

    def _walk_calm(self, calm: Calm, first: int, until: int, seq: int) -> int:
        """Hand rows to the strategy alone, and the last of them to all; return the next row.

        Ends behind a row that something follows from, or that is beyond the calm.
        """
        block, tick, seat = self._block, self.tick, self.lockstep.strategy
        changes, times, bids, asks = block.changes, block.ts, block.bid, block.ask
        above: i64 = calm.above
        below: i64 = calm.below
        least: i64 = calm.least
        most: i64 = calm.most
        until_ts: i64 = calm.until
        core = seat.core
        decision: Decision | None = None
        moved: i64 = 0
        place: i64 = first - self._block_first
        last: i64 = until - self._block_first
        while place < last and decision is None:
            at = CELL * place
            change: i64 = changes[place]
            ts = int_at(times, at)
            if ts >= until_ts:
                break
            if change & TOUCHED:
                bid, ask = int_at(bids, at), int_at(asks, at)
                if not (above < bid < below and bid <= ask and least <= bid + ask <= most):
                    break
                moved |= change
            block.fill(tick, ts, change, at)
            decision = core.on_tick(tick, seat.at(ts))
            place += 1
        row = self._block_first + place
        if row > first:
            self._pass_calm(row - 1, seq + row - 1, moved & NEW_BID != 0, moved & NEW_ASK != 0)
        if decision is not None:
            self.lockstep.decided(tick, self.exact, seq + row - 1, decision)
        elif row < until:
            self._feed(row, seq + row)
            row += 1
        return row

    def _follow(self, groups: PriceGroups, calm: Calm, first: int, until: int, seq: int) -> int:
        """Hand the prices of rows to a strategy that follows them; return the next row.

        Ends behind the row at which it decides; and beside a bound of the calm, where the rest of
        the group is walked row by row.
        """
        block, tick, seat = self._block, self.tick, self.lockstep.strategy
        start, last = first - self._block_first, until - self._block_first
        place, is_asked = start, False
        while place < last and not is_asked:
            end = groups.within(calm, place, last)
            if end == place or int_at(block.ts, CELL * (end - 1)) >= calm.until:
                break
            prices = groups.prices(place, end)
            if prices:
                asked = seat.core.follow(tick, prices)
                if asked < len(prices):
                    end = groups.row_of(place, asked) + 1
                    is_asked = True
            place = end
        if place == start:
            group_end = self._block_first + groups.end(place)
            return self._walk_calm(calm, first, min(until, group_end), seq)
        at, row = place - 1, self._block_first + place
        ts = int_at(block.ts, CELL * at)
        block.fill(tick, ts, block.any_change | block.changes[at], CELL * at)
        decision = seat.core.pass_to(tick, seat.at(ts), is_asked)
        is_bid_new = block.new_bids.find(1, start, place) >= 0
        is_ask_new = block.new_asks.find(1, start, place) >= 0
        self._pass_calm(row - 1, seq + row - 1, is_bid_new, is_ask_new)
        if decision is not None:
            self.lockstep.decided(tick, self.exact, seq + row - 1, decision)
        return row

    def _pass_calm(self, row: int, seq: int, is_bid_new: bool, is_ask_new: bool) -> None:
        """Tell risk and execution of the last of the rows that went to the strategy alone."""
        exact = self.exact
        self._block.fill_exact(exact, CELL * (row - self._block_first))
        self.at = row
        self.lockstep.pass_calm(exact, seq, is_bid_new, is_ask_new)
