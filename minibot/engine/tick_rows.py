"""Walk of ticks in columns through the cores, row by row: no parsing, no events.

A block of rows is compared with the rows before it in one go; then each row writes only the values
that differ from the row before, into the strategy's tick and the exact tick of risk and execution
(`tick_block`). Rows within the quiet range go only to the strategy; risk and execution get the last
of them (`Lockstep.quiet_range`). A strategy that answers trades by price alone gets the prices
without a tick for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from minibot.cores.messages import Message
from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.data.columns import BLOCK_ROWS
from minibot.engine.lockstep import Lockstep
from minibot.engine.tick_block import (
    IS_TRADE,
    KIND,
    NEW_ASK,
    NEW_BID,
    TOUCHED,
    Block,
    Column,
    RowPrices,
)
from minibot.engine.tick_texts import tick_event
from minibot.events.cells import CELL, int_at
from minibot.events.model import Event
from minibot.strategies.core import StrategyCore
from minibot.strategies.tick import Tick

if TYPE_CHECKING:
    from mypy_extensions import i64


@final
class TickRows:
    """The ticks of one symbol, walked once from the first row to the last.

    Args:
        symbol: The market.
        columns: By the names of `minibot.data.ticks.TICK_COLUMNS`: arrays of whole numbers (int64,
            `flags` also uint8) of one length, in order of time; amounts in hundred-millionths.
        lockstep: The lockstep of the cores.
        run_id, cmdline_hash: Fields of the event of a tick, if one is needed.

    Attributes:
        is_stopped: Set by a listener once risk has stopped the run: the walk ends after the present
            row.
    """

    __slots__ = (
        *("_block", "_block_first", "_block_last", "_by_price", "_cmdline_hash", "_columns"),
        *("_prices", "_run_id", "at", "exact", "is_stopped", "lockstep", "row", "rows"),
        *("symbol", "tick"),
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
        self.is_stopped: bool = False
        self._block_first: int = 0
        self._block_last: int = 0
        self._block: Block = Block(columns, 0, 0)
        self.exact: ScaledTick = ScaledTick(symbol, self, run_id)
        self.tick: Tick = tick_of(lockstep, symbol)
        self.tick.scaled = self.exact
        core = lockstep.strategy.core
        self._by_price: bool = isinstance(core, StrategyCore) and core.takes_prices
        # Prices of the block; None if each tick is shown.
        self._prices: RowPrices | None = None

    def event(self, seq: int) -> Event:
        """Return the event of the row delivered last."""
        row = {name: int(column[self.at]) for name, column in self._columns.items()}
        return tick_event(self.symbol, row, seq, self._run_id, self._cmdline_hash)

    def last_price(self) -> int:
        """Return the price of the row delivered last, in hundred-millionths."""
        return int(self._columns["price"][self.at])

    def is_trade(self) -> bool:
        """Return whether the row delivered last is a trade."""
        return int(self._columns["flags"][self.at]) & IS_TRADE != 0

    def walk(self, last: int, seq: int) -> None:
        """Deliver rows to the cores, from the end of the last walk up to row `last` (excluded).

        It ends after the row at which risk stopped the run.

        Args:
            last: At most `rows`.
            seq: Line of the first of these rows in `market_ticks`.
        """
        while self.row < last and not self.is_stopped:
            if self.row == self._block_last:
                self._next_block()
            until = min(last, self._block_last)
            row = self._walk_rows(until, seq)
            seq += row - self.row
            self.row = row

    def _next_block(self) -> None:
        first = self.row
        self._block_first = first
        self._block_last = min(self.rows, first + BLOCK_ROWS)
        block = self._block = Block(self._columns, first, self._block_last, self._by_price)
        trades = block.trades
        self._prices = None if trades is None else RowPrices(self.tick, block, trades)

    def _walk_rows(self, until: int, seq: int) -> int:
        """Deliver rows of the block to the cores; return the next row."""
        row = self.row
        seq -= row
        while row < until and not self.is_stopped:
            quiet = self.lockstep.quiet_range(self.symbol)
            if quiet is None:
                self._walk_row(row, seq)
                row += 1
            elif self._prices is not None and self._is_within(quiet):
                row = self._walk_prices(self._prices, row, until, seq)
            else:
                row = self._walk_quiet(quiet, row, until, seq)
        return row

    def _is_within(self, quiet: QuietRange) -> bool:
        """Return whether all rows of the block are within the range, as they usually are."""
        bid_least, bid_most, sum_least, sum_most, last_ts = self._block.extremes
        return quiet.contains_all(bid_least, bid_most, sum_least, sum_most, last_ts)

    def _set_exact(self, place: int) -> None:
        """Set the exact tick to a row of the block."""
        block, exact, at = self._block, self.exact, CELL * place
        exact.ts = int_at(block.ts, at)
        exact.bid = int_at(block.bid, at)
        exact.bid_qty = int_at(block.bid_qty, at)
        exact.ask = int_at(block.ask, at)
        exact.ask_qty = int_at(block.ask_qty, at)
        self.at = self._block_first + place

    def _walk_prices(self, prices: RowPrices, first: int, until: int, seq: int) -> int:
        """Show the trades of quiet rows by price to the strategy; return the next row.

        It ends after a row that has an effect. The last row goes to all cores.
        """
        block, port = self._block, self.lockstep.strategy
        trades = prices.trades
        start, last = first - self._block_first, until - self._block_first
        seq += self._block_first
        begin, end = trades.before(start), trades.before(last)
        messages: list[Message] | None = None
        if begin < end:
            since = port.at(0) - port.delay_ms
            prices.begin(begin, end, seq, since, port.delay_ms)
            messages = port.core.process(prices, seq + start, since + port.delay_ms)
        if messages:
            last = prices.place + 1
        elif begin == end or prices.place < last - 1:  # A quote, of which only the time counts.
            block.show(self.tick, last - 1)
            port.core.process(self.tick, seq + last - 1, port.at(self.tick.ts))
        self._set_exact(last - 1)
        is_bid_new, is_ask_new = trades.moves(start, last)
        self.lockstep.skip_to(self.exact, seq + last - 1, is_bid_new, is_ask_new, messages)
        return self._block_first + last

    def _walk_row(self, row: int, seq: int) -> None:
        """Deliver a row to all cores."""
        place = row - self._block_first
        self._block.show(self.tick, place)
        self._set_exact(place)
        self.lockstep.process(self.tick, seq + row)

    def _walk_quiet(self, quiet: QuietRange, first: int, until: int, seq: int) -> int:
        """Deliver rows only to the strategy, and the last of them to all; return the next row.

        It ends after a row that has an effect or is outside the quiet range.
        """
        block, tick, port = self._block, self.tick, self.lockstep.strategy
        changes, times, bids, asks = block.changes, block.ts, block.bid, block.ask
        amounts = block.amounts
        tick.read_from(block.exchange_ts, amounts.qty)
        core = port.core
        messages: list[Message] | None = None
        is_within = self._is_within(quiet)
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
            if not (is_within or quiet.contains(int_at(bids, at), int_at(asks, at), ts)):
                done = place
                break
            change: i64 = changes[place]
            if change >= TOUCHED:
                moved |= change
                amounts.touch(tick, change, at)
            tick.ts = ts
            tick.at = at
            kind: i64 = change & KIND
            tick.is_trade = kind != 0
            tick.is_taker_buy = kind == IS_TRADE
            if ts > latest:
                latest = ts
            messages = core.process(tick, seq + place, latest + delay_ms if delay_ms else latest)
            if messages:
                done = place + 1
                break
        row = self._block_first + done
        if row > first:
            self._set_exact(done - 1)
            is_bid_new, is_ask_new = moved & NEW_BID != 0, moved & NEW_ASK != 0
            self.lockstep.skip_to(self.exact, seq + done - 1, is_bid_new, is_ask_new, messages)
        if not messages and row < until:  # The row outside the range.
            self._walk_row(row, seq - self._block_first)
            return row + 1
        return row


def tick_of(lockstep: Lockstep, symbol: str) -> Tick:
    """Return the tick of a symbol that the strategy's core reads, to be filled.

    A core other than the shipped one has none; it refuses to process the one returned.
    """
    core = lockstep.strategy.core
    return core.view(symbol).tick if isinstance(core, StrategyCore) else Tick(symbol)
