"""Ticks in columns, handed to the cores row by row: nothing is parsed, no event is made.

A block of rows is compared with the rows before it in one go; then each row changes only what is
another one than in the row before, in the strategy's own tick and in the exact one that risk and
execution read. Amounts become floats by one correctly rounded division, which gives the same bits
as reading their decimal text. Rows that nothing follows from go to the strategy alone; risk and
execution are told of the last of them (`Lockstep.calm`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np

from minibot.backtest.tick_texts import tick_event
from minibot.events.exact_tick import Calm, ExactTick
from minibot.events.model import Event
from minibot.events.money import UNIT
from minibot.replay.lockstep import Lockstep
from minibot.strategies.tick import Tick

BLOCK_ROWS: Final = 8192
IS_TRADE: Final = 1
IS_TAKER_SELL: Final = 2
LAG: Final = 4
PRICE: Final = 8
BID: Final = 16
BID_QTY: Final = 32
ASK: Final = 64
ASK_QTY: Final = 128
NEW_BID: Final = BID | BID_QTY
NEW_ASK: Final = ASK | ASK_QTY
TOUCHED: Final = PRICE | BID | BID_QTY | ASK | ASK_QTY
BITS: Final = (
    *(("price", PRICE), ("bid", BID), ("bid_qty", BID_QTY), ("ask", ASK), ("ask_qty", ASK_QTY)),
    ("lag", LAG),
)
# A step that a byte does not hold stands in a list of its own.
FAR: Final = 255
# Up to here whole numbers are floats exactly, so that one division rounds once.
EXACT_MAX: Final = 2**53

Column = Any  # A one-dimensional int64 array of numpy.


class Block:
    """Some rows: how each differs from the one before, and the values that are new.

    Attributes:
        changes: A byte a row: the bits of this module.
        steps: A byte a row: `ts` since the row before; `FAR` is the next of `fars`.
        qtys: Of each trade in turn; prices, bids ... of each row that has a new one in turn, as
            `lags`, by which the exchange's time is ahead of `ts`.
    """

    __slots__ = (
        "ask",
        "ask_qty",
        "ask_qtys",
        "asks",
        "bid",
        "bid_qty",
        "bid_qtys",
        "bids",
        "changes",
        "far",
        "fars",
        "lag",
        "lags",
        "price",
        "prices",
        "qtys",
        "steps",
        "trade",
    )

    def __init__(self, columns: Mapping[str, Column], first: int, last: int) -> None:
        """Compare rows `first` to `last` (excluded) with those before."""
        flags = columns["flags"][first:last]
        is_trade = (flags & 1) != 0
        changes = (flags & 3).astype(np.uint8)
        found: dict[str, list[int]] = {}
        # One row more than is looked at, to compare the first with, where there is one.
        start = max(0, first - 1)
        wider: dict[str, Column] = {
            name: columns[name][start:last]
            for name in ("price", "bid", "bid_qty", "ask", "ask_qty")
        }
        wider["lag"] = columns["exchange_ts"][start:last] - columns["ts"][start:last]
        for name, bit in BITS:
            values = wider[name]
            is_new = np.ones(last - first, dtype=bool)
            np.not_equal(values[1:], values[:-1], out=is_new if first else is_new[1:])
            changes |= is_new.view(np.uint8) * np.uint8(bit)
            found[name] = values[first - start :][is_new].tolist() if is_new.any() else []
        ts = columns["ts"][start:last]
        steps = np.diff(ts) if first else np.diff(ts, prepend=0)
        is_far = (steps < 0) | (steps >= FAR)
        self.changes: bytes = changes.tobytes()
        self.steps: bytes = np.where(is_far, FAR, steps).astype(np.uint8).tobytes()
        self.fars: list[int] = steps[is_far].tolist()
        self.lags: list[int] = found["lag"]
        self.qtys: list[int] = columns["qty"][first:last][is_trade].tolist()
        self.prices: list[int] = found["price"]
        self.bids: list[int] = found["bid"]
        self.bid_qtys: list[int] = found["bid_qty"]
        self.asks: list[int] = found["ask"]
        self.ask_qtys: list[int] = found["ask_qty"]
        self.far: int = 0
        self.lag: int = 0
        self.trade: int = 0
        self.price: int = 0
        self.bid: int = 0
        self.bid_qty: int = 0
        self.ask: int = 0
        self.ask_qty: int = 0

    def touch(self, change: int, tick: Tick, exact: ExactTick) -> None:
        """Take over what a row has new of price and touch."""
        if change & PRICE:
            price = self.prices[self.price]
            self.price += 1
            tick.price = price / UNIT if price <= EXACT_MAX else rounded_once(price)
        if change & BID:
            bid = self.bids[self.bid]
            self.bid += 1
            exact.bid = bid
            tick.bid = bid / UNIT if bid <= EXACT_MAX else rounded_once(bid)
        if change & BID_QTY:
            qty = self.bid_qtys[self.bid_qty]
            self.bid_qty += 1
            exact.bid_qty = qty
            tick.bid_qty = qty / UNIT if qty <= EXACT_MAX else rounded_once(qty)
        if change & ASK:
            ask = self.asks[self.ask]
            self.ask += 1
            exact.ask = ask
            tick.ask = ask / UNIT if ask <= EXACT_MAX else rounded_once(ask)
        if change & ASK_QTY:
            qty = self.ask_qtys[self.ask_qty]
            self.ask_qty += 1
            exact.ask_qty = qty
            tick.ask_qty = qty / UNIT if qty <= EXACT_MAX else rounded_once(qty)


def rounded_once(units: int) -> float:
    """Return an amount as the float next to it: compiled code would round both sides first."""
    whole: Any = units
    value: float = whole / UNIT
    return value


@final
class TickRows:
    """The ticks of one symbol, walked once from the first row to the last.

    Args:
        symbol: The market.
        columns: By the names of `minibot.data.ticks.TICK_COLUMNS`, int64 arrays of one length;
            amounts in hundred-millionths.
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
        self._lag: int = 0
        self._block_first: int = 0
        self._block_last: int = 0
        self._block: Block = Block(columns, 0, 0)
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
        self._block = Block(self._columns, first, self._block_last)

    def _walk_rows(self, until: int, seq: int) -> None:
        row = self.row
        seq -= row
        while row < until:
            calm = self.lockstep.calm(self.symbol)
            if calm is not None:
                row = self._walk_calm(calm, row, until, seq)
            else:
                self._feed(row, seq + row)
                row += 1

    def _feed(self, row: int, seq: int) -> None:
        """Hand one row to all cores."""
        exact = self.exact
        block = self._block
        place = row - self._block_first
        change = block.changes[place]
        step = block.steps[place]
        if step == FAR:
            step = block.fars[block.far]
            block.far += 1
        exact.ts += step
        if change & TOUCHED:
            block.touch(change, self.tick, exact)
        self._fill(change, exact.ts)
        self.at = row
        self.lockstep.feed_tick(self.tick, exact, seq)

    def _fill(self, change: int, ts: int) -> None:
        """Set what is of this tick alone."""
        tick, block = self.tick, self._block
        if change & LAG:
            self._lag = block.lags[block.lag]
            block.lag += 1
        tick.ts = ts
        tick.exchange_ts = ts + self._lag
        if change & IS_TRADE:
            tick.is_trade = True
            tick.is_taker_buy = not change & IS_TAKER_SELL
            qty = block.qtys[block.trade]
            tick.qty = qty / UNIT if qty <= EXACT_MAX else rounded_once(qty)
            block.trade += 1
        elif tick.is_trade:
            tick.is_trade = False
            tick.is_taker_buy = False
            tick.qty = 0.0

    def _walk_calm(self, calm: Calm, first: int, until: int, seq: int) -> int:
        """Hand rows to the strategy alone, and the last of them to all; return the next row.

        Ends behind a row that something follows from, or that is beyond the calm.
        """
        block, tick, exact, lockstep = self._block, self.tick, self.exact, self.lockstep
        changes, steps, qtys, lag = block.changes, block.steps, block.qtys, self._lag
        above, below, least, most = calm.above, calm.below, calm.least, calm.most
        until_ts = calm.until
        seat = lockstep.strategy
        core = seat.core
        block_first = self._block_first
        moved = 0
        ts = exact.ts
        for row in range(first, until):
            place = row - block_first
            change = changes[place]
            step = steps[place]
            if step == FAR:
                step = block.fars[block.far]
            now_ts = ts + step
            if change & TOUCHED:
                bid = block.bids[block.bid] if change & BID else exact.bid
                ask = block.asks[block.ask] if change & ASK else exact.ask
                if not (above < bid < below and bid <= ask and least <= bid + ask <= most):
                    break
            if now_ts >= until_ts:
                break
            if change & TOUCHED:
                moved |= change
                block.touch(change, tick, exact)
            if steps[place] == FAR:
                block.far += 1
            if change & LAG:
                lag = self._lag = block.lags[block.lag]
                block.lag += 1
            ts = now_ts
            tick.ts = ts
            tick.exchange_ts = ts + lag
            if change & IS_TRADE:
                tick.is_trade = True
                tick.is_taker_buy = not change & IS_TAKER_SELL
                qty = qtys[block.trade]
                tick.qty = qty / UNIT if qty <= EXACT_MAX else rounded_once(qty)
                block.trade += 1
            elif tick.is_trade:
                tick.is_trade = False
                tick.is_taker_buy = False
                tick.qty = 0.0
            decision = core.on_tick(tick, seat.at(ts))
            if decision is not None:
                self.at = row
                exact.ts = ts
                lockstep.pass_calm(exact, seq + row, moved & NEW_BID != 0, moved & NEW_ASK != 0)
                lockstep.decided(tick, exact, seq + row, decision)
                return row + 1
        else:
            row = until
        if row > first:
            exact.ts = ts
            self.at = row - 1
            lockstep.pass_calm(exact, seq + row - 1, moved & NEW_BID != 0, moved & NEW_ASK != 0)
        if row < until:
            self._feed(row, seq + row)
            row += 1
        return row
