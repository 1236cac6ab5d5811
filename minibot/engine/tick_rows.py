"""Walk of ticks in columns through the cores, row by row: no parsing, no events.

A block of rows is compared with the rows before it in one go; then each row changes only what is
another one than in the row before, in the strategy's own tick and in the exact one that risk and
execution read. Amounts become floats by one correctly rounded division, which gives the same bits
as reading their decimal text: all of a block in one go, or where one is read if few are. Rows that
nothing follows from go to the strategy alone; risk and execution are told of the last of them
(`Lockstep.calm`). A strategy that follows the prices of trades is handed those first, up to the row
at which it asks; then the others come to that row (`engine.price_groups`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.engine.cells import EXACT_MAX, exact_quotient, float_cells, int_cells
from minibot.engine.lockstep import Lockstep
from minibot.engine.lockstep_ports import StrategyPort
from minibot.engine.price_groups import PriceGroups
from minibot.engine.tick_texts import tick_event
from minibot.events.cells import CELL, float_at, int_at
from minibot.events.model import Event
from minibot.events.money import UNIT
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
        new_bids, new_asks: A byte a row, above zero where price or size of that side is new.
        ts, exchange_ts, price, qty, bid, bid_qty, ask, ask_qty: Of each row, whole numbers.
    """

    __slots__ = (
        *("_ask", "_ask_qty", "_bid", "_bid_qty", "_price", "_qty"),
        *("ask", "ask_qty", "bid", "bid_qty", "changes", "exchange_ts"),
        *("new_asks", "new_bids", "price", "qty", "ts"),
    )

    def __init__(
        self, columns: Mapping[str, Column], first: int, last: int, *, reads_all: bool
    ) -> None:
        """Compare rows with those before.

        Args:
            columns: All rows.
            first: Of the block.
            last: Behind it.
            reads_all: Whether each row is handed over (`fill`), so that amounts become floats in
                one go; else where one is shown (`show`).
        """
        changes = columns["flags"][first:last].astype(np.uint8) & np.uint8(IS_TRADE | IS_TAKER_SELL)
        # One row more than is looked at, to compare the first with, where there is one.
        start = max(0, first - 1)
        for name, bit in BITS:
            values = columns[name][start:last]
            is_new = np.ones(last - first, dtype=bool)
            np.not_equal(values[1:], values[:-1], out=is_new if first else is_new[1:])
            changes |= is_new.view(np.uint8) * np.uint8(bit)
        self.changes: bytes = changes.tobytes()
        self.new_bids: bytes = (changes & NEW_BID).astype(bool).tobytes()
        self.new_asks: bytes = (changes & NEW_ASK).astype(bool).tobytes()
        self.ts: bytes = int_cells(columns["ts"][first:last])
        self.exchange_ts: bytes = int_cells(columns["exchange_ts"][first:last])
        self.bid: bytes = int_cells(columns["bid"][first:last])
        self.bid_qty: bytes = int_cells(columns["bid_qty"][first:last])
        self.ask: bytes = int_cells(columns["ask"][first:last])
        self.ask_qty: bytes = int_cells(columns["ask_qty"][first:last])
        self.price: bytes = int_cells(columns["price"][first:last])
        self.qty: bytes = int_cells(columns["qty"][first:last])
        # Amounts as the strategy reads them.
        read = slice(first, last) if reads_all else slice(0, 0)
        self._price: bytes = float_cells(columns["price"][read])
        self._qty: bytes = float_cells(columns["qty"][read])
        self._bid: bytes = float_cells(columns["bid"][read])
        self._bid_qty: bytes = float_cells(columns["bid_qty"][read])
        self._ask: bytes = float_cells(columns["ask"][read])
        self._ask_qty: bytes = float_cells(columns["ask_qty"][read])

    def fill(self, tick: Tick, ts: int, change: i64, at: i64) -> None:
        """Make the strategy's tick that of a row, of which `change` says what is new.

        Args:
            tick: As the row before has left it.
            ts: Of the row.
            change: The row's.
            at: Where its cells begin.
        """
        if change & TOUCHED:
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
        tick.ts = ts
        tick.exchange_ts = int_at(self.exchange_ts, at)
        if change & IS_TRADE:
            tick.is_trade = True
            tick.is_taker_buy = not change & IS_TAKER_SELL
            tick.qty = float_at(self._qty, at)
        elif tick.is_trade:
            tick.is_trade = False
            tick.is_taker_buy = False
            tick.qty = 0.0

    def show(self, tick: Tick, exact: ScaledTick, place: i64) -> None:
        """Make the strategy's tick that of a row, as the exact one is already."""
        at = CELL * place
        price, bid, bid_qty = int_at(self.price, at), exact.bid, exact.bid_qty
        ask, ask_qty = exact.ask, exact.ask_qty
        tick.ts = exact.ts
        tick.exchange_ts = int_at(self.exchange_ts, at)
        tick.price = price / UNIT if price <= EXACT_MAX else exact_quotient(price)
        tick.bid = bid / UNIT if bid <= EXACT_MAX else exact_quotient(bid)
        tick.bid_qty = bid_qty / UNIT if bid_qty <= EXACT_MAX else exact_quotient(bid_qty)
        tick.ask = ask / UNIT if ask <= EXACT_MAX else exact_quotient(ask)
        tick.ask_qty = ask_qty / UNIT if ask_qty <= EXACT_MAX else exact_quotient(ask_qty)
        change: i64 = self.changes[place]
        is_trade = change & IS_TRADE != 0
        tick.is_trade = is_trade
        tick.is_taker_buy = is_trade and not change & IS_TAKER_SELL
        tick.qty = 0.0
        if is_trade:
            qty = int_at(self.qty, at)
            tick.qty = qty / UNIT if qty <= EXACT_MAX else exact_quotient(qty)


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

    __slots__ = (
        *("_block", "_block_first", "_block_last", "_cmdline_hash", "_columns", "_groups"),
        *("_run_id", "at", "exact", "lockstep", "row", "rows", "symbol", "tick"),
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
        self._block: Block = Block(columns, 0, 0, reads_all=True)
        # Only for a strategy that follows prices.
        self._groups: PriceGroups | None = None
        self.exact: ScaledTick = ScaledTick(symbol, self, run_id)
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
        if self._groups is not None:
            self._walk_followed(self._groups, until, seq)
            return
        row = self.row
        seq -= row
        while row < until:
            calm = self.lockstep.calm(self.symbol)
            if calm is None:
                self._feed(row, seq + row)
                row += 1
            else:
                row = self._walk_calm(calm, row, until, seq)

    def _feed(self, row: int, seq: int) -> None:
        """Hand one row to all cores."""
        block, exact, place = self._block, self.exact, row - self._block_first
        self._set_exact(place)
        block.fill(self.tick, exact.ts, block.changes[place], CELL * place)
        self.lockstep.feed_tick(self.tick, exact, seq)

    def _set_exact(self, place: int) -> None:
        """Make the exact tick that of a row of the block, from which something may follow."""
        block, exact, at = self._block, self.exact, CELL * place
        exact.ts = int_at(block.ts, at)
        exact.bid = int_at(block.bid, at)
        exact.bid_qty = int_at(block.bid_qty, at)
        exact.ask = int_at(block.ask, at)
        exact.ask_qty = int_at(block.ask_qty, at)
        self.at = self._block_first + place

    def _walk_calm(self, calm: QuietRange, first: int, until: int, seq: int) -> int:
        """Hand rows to the strategy alone, and the last of them to all; return the next row.

        Ends behind a row that something follows from, or that is beyond the calm.
        """
        block, tick, seat = self._block, self.tick, self.lockstep.own.strategy
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
            self._set_exact(place - 1)
            is_bid_new, is_ask_new = moved & NEW_BID != 0, moved & NEW_ASK != 0
            self.lockstep.pass_calm(self.exact, seq + row - 1, is_bid_new, is_ask_new, decision)
        if decision is None and row < until:
            self._feed(row, seq + row)
            row += 1
        return row

    # --- for a strategy that follows prices ---------------------------------------------------

    def _walk_followed(self, groups: PriceGroups, until: int, seq: int) -> None:
        """Hand the strategy prices up to the row at which it asks, then the others those rows."""
        tick, seat = self.tick, self.lockstep.own.strategy
        start, last = self.row - self._block_first, until - self._block_first
        seq -= start
        prices = groups.prices(start, last)
        place, is_asked = start, False
        while place < last:
            is_asked = seat.core.follow(tick, prices)
            end = groups.row_of(start, prices.taken - 1) + 1 if is_asked else last
            self._tell_followed(groups, place, end, seq, seat if is_asked else None)
            place = end
        if not is_asked:
            self._block.show(tick, self.exact, last - 1)
            seat.core.come_to(tick, seat.at(tick.ts))

    def _tell_followed(
        self, groups: PriceGroups, place: int, end: int, seq: int, asks: StrategyPort | None
    ) -> None:
        """Tell risk and execution of rows whose prices the strategy has; at the last it may ask.

        Args:
            groups: Of the block.
            place: The first row, counted from the block's first.
            end: Behind the last one.
            seq: Of the block's first row.
            asks: Who decides at the last row; None where nobody does.
        """
        block, lockstep = self._block, self.lockstep
        tick, exact = self.tick, self.exact
        while place < end:
            calm, first = lockstep.calm(self.symbol), place
            if calm is not None:
                place = groups.reached(calm, first, end)
                if place == first:
                    place = self._reached_in_group(groups, calm, first, end)
            is_calm = place > first
            if not is_calm:
                place += 1
            self._set_exact(place - 1)
            decision: Decision | None = None
            if asks is not None and place == end:
                block.show(tick, exact, place - 1)
                decision = asks.core.decide(tick, asks.at(exact.ts))
            if is_calm:
                is_bid_new = 1 in block.new_bids[first:place]
                is_ask_new = 1 in block.new_asks[first:place]
                lockstep.pass_calm(exact, seq + place - 1, is_bid_new, is_ask_new, decision)
            else:
                lockstep.tell_tick(exact, seq + place - 1, decision)

    def _reached_in_group(self, groups: PriceGroups, calm: QuietRange, place: int, end: int) -> int:
        """Return up to which row of a group beside a bound (at most `end`) nothing follows."""
        times, bids, asks = self._block.ts, self._block.bid, self._block.ask
        reached = min(end, groups.end(place))
        while place < reached and int_at(times, CELL * place) < calm.until:
            bid, ask = int_at(bids, CELL * place), int_at(asks, CELL * place)
            if not (calm.above < bid < calm.below and bid <= ask):
                break
            if not calm.least <= bid + ask <= calm.most:
                break
            place += 1
        return place
