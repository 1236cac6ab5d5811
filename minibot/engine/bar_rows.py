"""Walk of bars in columns through the cores: no events, no texts, and only ticks with an effect.

While no order is open and the touches of a bar change nothing for the cores
(`Lockstep.quiet_range`), the bar's ticks are skipped. Strategy and risk take each closed bar, the
strategy with the bar's last touch; risk and execution take one touch, the last of all skipped bars.
A hold has no effect and does not end this. Any other bar is delivered tick by tick, as `intrabar`
makes them. Most orders are filled at its open: its other ticks are then skipped if they change
nothing. A strategy that takes trades always gets each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, final

from minibot.cores.closed_bar import BarInput, ClosedBar
from minibot.cores.event_id import place_id
from minibot.cores.messages import Message, SignalMessage
from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.engine.bar_block import (
    CLOSE,
    HAS_MIXED,
    HAS_OWN,
    LOW,
    NEW_ASK,
    NEW_BID,
    OPEN,
    PRICES,
    BarBlock,
)
from minibot.engine.bar_market import BarMarket
from minibot.engine.intrabar import Intrabar, Shown
from minibot.engine.lockstep import Lockstep
from minibot.engine.market_source import Watch
from minibot.engine.run_result import NO_CMDLINE, BacktestResult
from minibot.engine.tick_rows import tick_of
from minibot.events.cells import CELL, float_at, int_at
from minibot.events.model import HOLD, Beat, Event
from minibot.events.money import UNIT, proceeds_down
from minibot.events.names import MARKET_ROLE
from minibot.events.unit_sizes import NEVER
from minibot.strategies.core import StrategyCore
from minibot.strategies.tick import Tick

if TYPE_CHECKING:
    from mypy_extensions import i64

# No core reads the number of a beat.
BEAT: Final = Beat(1, {})
SHOWN: Final = -1
"""Marks that the tick is filled already."""
NO_BAR: Final = ClosedBar("", 0, 0.0, 0.0, 0.0, 0.0, 0.0, False)


class Listener:
    """Listener that keeps the report's data while bars are walked.

    Args:
        result: Result of the backtest, which gets the data at the end.
        announce: Announces the end before the events of a time; called once.
        close_ts: Time of the announcement.

    Attributes:
        is_stopped: Set once risk has stopped the run: the walk ends after the present input.
        to_ts: Time of the last event, Unix ms.
    """

    def __init__(
        self, result: BacktestResult, announce: Callable[[int], None], close_ts: int
    ) -> None:
        self._result: BacktestResult = result
        self._announce: Callable[[int], None] = announce
        self._close_ts: int = close_ts
        self.is_stopped: bool = bool(result.stop)
        self.to_ts: int = result.to_ts

    def on_rows(self, first: int, last: int, block: BarBlock) -> None:
        """Take the skipped rows `first` to `last` (excluded); their last touch is delivered next.

        The bars that close with them were delivered, except perhaps those of the last row. The
        first row may be skipped from its low on; its open was then the last tick delivered.
        """
        raise NotImplementedError

    def on_row(self, row: int) -> None:
        """Begin a row whose ticks are delivered one by one."""
        raise NotImplementedError

    def on_shown(self, shown: Shown) -> None:
        """Take the tick that is delivered next."""
        raise NotImplementedError

    def on_time(self, ts: int) -> None:
        """Take the time of the next event, Unix ms; announce the end first if its time has come."""
        if ts >= self._close_ts:
            self._announce(ts)
            self._close_ts = NEVER
        if ts > self.to_ts:
            self.to_ts = ts


@final
class BarRows:
    """The bars of one symbol, walked once from the first row to the last.

    Args:
        market: The bars.
        lockstep: The lockstep of the cores.
        run_id: The run in the event of a tick, if one is needed.
        watch: Levels and open orders of risk.
        listener: Receives the rows that are walked.
        close_ts: When the end is announced: from then on nothing is skipped.

    Attributes:
        row: The next row.
        seq: The last line of `market_ticks` that was delivered or counted.
        ticks, beats: Numbers of those delivered or counted.
        opens_ts: When the next row opens, Unix ms; `NEVER` after the last row, and while its ticks
            are delivered. This and the next are set only while rows of several symbols are walked
            together.
        count: Number of ticks of the next row, without orders or levels in it.
        quiet_until: Until when ticks affect no core, by the walk of several symbols.
        ends_ts: End of the row whose ticks are delivered, likewise.
    """

    def __init__(
        self,
        market: BarMarket,
        lockstep: Lockstep,
        run_id: str,
        watch: Watch,
        listener: Listener,
        close_ts: int,
    ) -> None:
        self._market: BarMarket = market
        self._lockstep: Lockstep = lockstep
        self._run_id: str = run_id
        self._watch: Watch = watch
        self._listener: Listener = listener
        self._close_ts: int = close_ts
        self.seq: int = 0
        self.row: int = market.first
        self.ticks: int = 0
        self.beats: int = 0
        self.opens_ts: int = NEVER
        self.count: int = 0
        self.quiet_until: int = 0
        self.ends_ts: int = 0
        self._place: i64 = 0  # Index of the next row in the block; set likewise.
        self._symbol: str = market.symbol
        self._interval: str = market.interval
        self._length_ms: int = market.length_ms
        self._lag_ms: int = market.lag_ms
        self._to_close_ms: int = market.length_ms - 1 - market.lag_ms
        self._intrabar: Intrabar = market.intrabar()
        self._block: BarBlock = market.block(self.row)
        # Time of the last tick.
        self._at: int = 0
        core = lockstep.strategy.core
        self._is_deaf: bool = isinstance(core, StrategyCore) and core.is_deaf_to_trades
        self._tick: Tick = tick_of(lockstep, market.symbol)
        self._exact: ScaledTick = ScaledTick(market.symbol, self, run_id)
        self._tick.scaled = self._exact
        self._tick.filler = self
        # Row of the block whose last touch fills the tick as soon as it is read.
        self._unshown: i64 = SHOWN
        # Of rows skipped among other symbols': line of the last tick, and the sides that moved.
        self._passed_seq: int = 0
        self._moved: i64 = 0
        # The first skipped tick of the next row; those before it were delivered.
        self._rest: int = OPEN
        # Bar of the present row; refilled for each.
        self._bar_input: BarInput = BarInput(market.symbol, NO_BAR, 0, 0, run_id)
        self._read_next()

    def event(self, seq: int) -> Event:
        """Return the event of the tick that was delivered last."""
        exact = self._exact
        shown = Shown(exact.bid, exact.ask, exact.bid_qty, exact.ts)
        payload = shown.payload(self._symbol)
        return Event(exact.ts, place_id(seq), MARKET_ROLE, self._run_id, NO_CMDLINE, payload)

    def last_price(self) -> int:
        """Return the price of the tick that was delivered last: trades meet the bid."""
        return self._exact.bid

    def is_trade(self) -> bool:
        """Return True: all ticks inside bars are trades."""
        return True

    def end_of(self, row: int) -> int:
        """Return the end of a row of the current block, Unix ms."""
        block = self._block
        return int_at(block.open_ts, CELL * (row - block.first)) + self._length_ms

    def walk(self) -> bool:
        """Walk some rows; return whether there are more and risk has not stopped the run."""
        row = self.row
        if row >= self._market.last:
            return False
        if row >= self._block.last:
            self._block = self._market.block(row)
        quiet = self._lockstep.quiet_range(self._symbol) if self._is_deaf else None
        if quiet is not None and quiet.is_lasting:
            self._pass(quiet, row)
        if self.row == row:
            self._deliver_row(row)
        return not self._listener.is_stopped

    # --- skipped rows ---------------------------------------------------------------------------

    def _pass(self, quiet: QuietRange, first: int) -> None:
        """Pass rows only to the strategy, as long as they have no other effect.

        The first row is skipped from tick `_rest` on.
        """
        block, lockstep, bar_input = self._block, self._lockstep, self._bar_input
        kinds, counts, unread, opened = block.kinds, block.counts, block.unread, block.open_ts
        least_bid, most_bid = block.least_bid, block.most_bid
        least_sum, most_sum = block.least_sum, block.most_sum
        length: i64 = self._length_ms
        close_ts: i64 = self._close_ts
        # Usually all rows of the block are within the range, and none has to be examined.
        bid_least, bid_most, sum_least, sum_most, last_ts = block.extremes
        is_within = quiet.contains_all(bid_least, bid_most, sum_least, sum_most, last_ts)
        rest: i64 = self._rest
        seq: i64 = self.seq - rest
        tick_seq: i64 = seq
        moved: i64 = 0
        place: i64 = first - block.first
        last: i64 = block.last - block.first
        begun: i64 = place if rest else -1
        if not rest and self._at >= int_at(opened, CELL * place) + self._lag_ms:
            return  # The last delivered event is later than this row's open would be.
        while place < last:
            at = CELL * place
            end_ts = int_at(opened, at) + length
            if end_ts >= close_ts:
                break
            if not is_within and not quiet.contains_all(
                int_at(least_bid, at),
                int_at(most_bid, at),
                int_at(least_sum, at),
                int_at(most_sum, at),
                end_ts,
            ):
                break
            kind: i64 = kinds[place]
            moved |= kind if place != begun else self._moves_from(place, rest)
            tick_seq = seq + counts[place]
            if kind & HAS_MIXED:
                self._passed(first, place, tick_seq, moved)
                self._deliver_bars(place)
                return
            seq = tick_seq + unread[place]
            if kind & HAS_OWN:
                seq += 1
                self._unshown = place
                bar_input.bar = self._own_bar(place)
                bar_input.close_units = int_at(block.close_units, at)
                bar_input.ts = end_ts
                messages = lockstep.answer(bar_input, seq)
                if messages and not _is_hold(messages):
                    self._passed(first, place, tick_seq, moved)
                    self._decided(place, messages)
                    return
                lockstep.pass_on(bar_input, seq, messages)
            seq += 1
            place += 1
        if block.first + place > first:
            self._passed(first, place - 1, tick_seq, moved)
            self.seq = seq
            self.beats += 1

    def fill_tick(self) -> None:
        """Fill the strategy's tick with the last touch of a row, if that is still due."""
        if self._unshown != SHOWN:
            self._show(self._unshown)

    def _show(self, place: i64) -> None:
        """Fill the strategy's tick with the last touch of a row."""
        self._unshown = SHOWN
        block, tick, at = self._block, self._tick, CELL * place
        tick.ts = tick.exchange_ts = int_at(block.open_ts, at) + self._to_close_ms
        tick.price = tick.bid = float_at(block.bid, at)
        tick.ask = float_at(block.ask, at)
        tick.bid_qty = tick.ask_qty = float_at(block.qty, at)
        tick.is_trade = True

    def _own_bar(self, place: i64) -> ClosedBar:
        """Return the bar of a row in the strategy's form."""
        block, at = self._block, CELL * place
        return ClosedBar(
            self._interval,
            int_at(block.open_ts, at),
            float_at(block.open, at),
            float_at(block.high, at),
            float_at(block.low, at),
            float_at(block.close, at),
            float_at(block.volume, at),
            True,
        )

    def _passed(self, first: int, place: i64, seq: int, moved: i64) -> None:
        """Count skipped rows and deliver their last touch; the bars but the last row's were sent.

        Args:
            first: The first of them.
            place: Index of the last one in the block.
            seq: Line of its last tick.
            moved: Sides of the touch that they moved.
        """
        block, exact, at = self._block, self._exact, CELL * place
        self._show(place)
        self.ticks += sum(block.counts[first - block.first : place + 1]) - self._rest
        self._rest = OPEN
        self.row = block.first + place + 1
        self.beats += self.row - first - 1
        self.seq = seq
        self._at = exact.ts = self._tick.ts
        exact.bid = int_at(block.bid_units, at)
        exact.ask = int_at(block.ask_units, at)
        exact.bid_qty = exact.ask_qty = int_at(block.qty_units, at)
        self._listener.on_rows(first, self.row, block)
        self._lockstep.skip_to(exact, seq, moved & NEW_BID != 0, moved & NEW_ASK != 0)

    def _decided(self, place: i64, messages: list[Message]) -> None:
        """Deliver the strategy's messages on the own bar of the last skipped row."""
        self.seq += self._block.unread[place] + 1
        self._lockstep.pass_on(self._bar_input, self.seq, messages)
        if not self._listener.is_stopped:
            self._deliver_beat(self._bar_input.ts)

    # --- one row at a time, among those of other symbols --------------------------------------

    @property
    def last_ts(self) -> int:
        """Time of the last tick, Unix ms."""
        return self._at

    def last_mid(self) -> int:
        """Return the mid of the touch that risk and execution took last, hundred-millionths."""
        exact = self._exact
        return (exact.bid + exact.ask) // 2

    def _read_next(self) -> None:
        """Read when the next row opens and how many ticks it has."""
        row, block = self.row, self._block
        if row >= block.last:
            if row >= self._market.last:
                self.opens_ts = NEVER
                return
            self.settle()
            block = self._block = self._market.block(row)
        place: i64 = row - block.first
        self._place = place
        self.opens_ts = int_at(block.open_ts, CELL * place)
        self.count = block.counts[place]

    def has_tick(self, tick: int) -> bool:
        """Return whether the next row has one of its four ticks, without orders or levels."""
        if tick in (OPEN, CLOSE) or self.count == len(PRICES):
            return True
        # Of three ticks one is at the low or at the high; a row of two does not move.
        return self.count > 2 and (self._block.lows[self._place] != 0) == (tick == LOW)

    def ticks_in_row(self) -> list[int]:
        """Return which of its four ticks the next row has without orders or levels, in order."""
        return [tick for tick in range(len(PRICES)) if self.has_tick(tick)]

    def bids_in_row(self, count: int) -> list[int]:
        """Return the bids of the first ticks of the next row without orders or levels."""
        return self._block.shown_bids(self.row)[:count]

    def mid_in_row(self, tick: int) -> int:
        """Return the mid at one of the next row's four ticks, in hundred-millionths."""
        return int_at(self._block.all_mids(), CELL * (len(PRICES) * self._place + tick))

    def mark(self, tick: int, at: int, seq: int) -> None:
        """Deliver one of the next row's four ticks only to the cores that value positions.

        Args:
            tick: Index of the tick.
            at: Time of the tick, Unix ms.
            seq: Line of the tick.
        """
        block, exact, place = self._block, self._exact, self._place
        bids, asks = block.touches()
        cell = CELL * (len(PRICES) * place + tick)
        exact.ts = at
        exact.bid = int_at(bids, cell)
        exact.ask = int_at(asks, cell)
        exact.bid_qty = exact.ask_qty = int_at(block.qty_units, CELL * place)
        self._lockstep.mark(exact, seq)

    def move_in_row(self, quiet: QuietRange, end_ts: int) -> tuple[int, int] | None:
        """Return how far a position may fall and rise within the next row; None if it is not quiet.

        Args:
            quiet: The quiet range of the symbol, with its position.
            end_ts: End of the row.
        """
        block, at = self._block, CELL * self._place
        least, most = int_at(block.least_sum, at), int_at(block.most_sum, at)
        bid_least, bid_most = int_at(block.least_bid, at), int_at(block.most_bid, at)
        if not quiet.contains_all(bid_least, bid_most, least, most, end_ts):
            return None
        fall = quiet.value - proceeds_down(quiet.qty, least // 2)
        rise = proceeds_down(quiet.qty, most // 2) - quiet.value
        return max(0, fall), max(0, rise)

    def shown_in_row(self) -> Iterator[Shown]:
        """Return the ticks of the next row one by one, as `intrabar` makes them."""
        self.settle()
        block = self._block
        self._intrabar.resume(self._at, int_at(block.qty_units, CELL * self._place))
        return self._intrabar.ticks(block.candle(self.row), self._watch)

    @property
    def is_high_first(self) -> bool:
        """True when the row whose ticks are delivered has its high before its low."""
        return self._intrabar.is_high_first

    def show_row(self) -> None:
        """Mark the strategy's tick to be filled with the last touch of the next row when read.

        The row's ticks are skipped; strategies of other symbols may read the touch before its bars.
        """
        self._unshown = self._place

    def show_tick(self, tick: int, ts: int) -> None:
        """Fill the strategy's tick with one of the next row's four ticks, whose time is `ts`."""
        block, shown, place = self._block, self._tick, self._place
        bids, asks = block.touches()
        cell = CELL * (len(PRICES) * place + tick)
        self._unshown = SHOWN
        shown.ts = shown.exchange_ts = ts
        shown.price = shown.bid = int_at(bids, cell) / UNIT
        shown.ask = int_at(asks, cell) / UNIT
        shown.bid_qty = shown.ask_qty = float_at(block.qty, CELL * place)
        shown.is_trade = True

    def pass_row(self, tick_seq: int, seq: int) -> bool:
        """Skip the ticks of the next row and deliver its bars; return whether any message followed.

        Call `show_row` first.

        Args:
            tick_seq: The line of its last tick.
            seq: The line before its first bar.
        """
        block, lockstep, bar_input = self._block, self._lockstep, self._bar_input
        place = self._place
        kind: i64 = block.kinds[place]
        self.row += 1
        self._passed_seq = tick_seq
        self._moved |= kind
        if kind & HAS_MIXED:
            self.seq = seq
            self.settle()
            self._deliver_closed(place)
            self._read_next()
            return True
        followed = False
        seq += block.unread[place]
        if kind & HAS_OWN:
            seq += 1
            bar_input.bar = self._own_bar(place)
            bar_input.close_units = int_at(block.close_units, CELL * place)
            bar_input.ts = self.opens_ts + self._length_ms
            messages = lockstep.answer(bar_input, seq)
            if messages and not _is_hold(messages):
                followed = True
                self.settle()
            lockstep.pass_on(bar_input, seq, messages)
            if followed and self._listener.is_stopped:
                self.seq = seq
                return True
        self.seq = seq
        self._read_next()
        return followed

    def settle(self) -> None:
        """Deliver the last touch of the rows skipped since the last call, if any."""
        if self._passed_seq:
            self._settle(self.row - 1 - self._block.first)

    def pass_from(self, tick: int) -> None:
        """Skip the next row from one of its four ticks on; those before it were delivered."""
        self._rest = tick

    def settle_row(self, tick_seq: int) -> None:
        """Deliver the last touch of the next row, whose ticks are skipped, before its bars.

        Args:
            tick_seq: The line of its last tick.
        """
        self._passed_seq = tick_seq
        if self._rest == OPEN:
            self._moved |= self._block.kinds[self._place]
        else:
            self._moved |= self._moves_from(self._place, self._rest)
            self._rest = OPEN
        self._settle(self._place)

    def _moves_from(self, place: i64, tick: i64) -> i64:
        """Return which sides of the last delivered touch change from a tick of a row on.

        Earlier moves do not count: orders filled at the last delivered touch have taken from its
        size since.
        """
        exact = self._exact
        moved: i64 = 0
        bids, asks = self._block.touches()
        for number in range(tick, len(PRICES)):
            cell = CELL * (len(PRICES) * place + number)
            if int_at(bids, cell) != exact.bid:
                moved |= NEW_BID
            if int_at(asks, cell) != exact.ask:
                moved |= NEW_ASK
        return moved

    def _settle(self, place: i64) -> None:
        """Deliver the last touch of a row of the block."""
        seq, moved = self._passed_seq, self._moved
        self._passed_seq = self._moved = 0
        block, exact = self._block, self._exact
        at = CELL * place
        self._show(place)
        self._at = exact.ts = self._tick.ts
        exact.bid = int_at(block.bid_units, at)
        exact.ask = int_at(block.ask_units, at)
        exact.bid_qty = exact.ask_qty = int_at(block.qty_units, at)
        self._lockstep.skip_to(exact, seq, moved & NEW_BID != 0, moved & NEW_ASK != 0)

    def deliver_shown(self, shown: Shown, seq: int) -> None:
        """Deliver a tick of the next row as a line."""
        self.seq = seq - 1
        self._deliver_tick(shown)

    def deliver_closed(self, seq: int) -> None:
        """Deliver the bars that close with the next row, after line `seq` and after its ticks."""
        self.row += 1
        self.seq = seq
        self._deliver_closed(self._place)
        self._read_next()

    # --- rows delivered tick by tick ----------------------------------------------------------

    def _deliver_row(self, row: int) -> None:
        """Deliver the ticks of a row one by one, then the bars that close with it.

        After its open, usually no order is left: then it is skipped from its low on, and the rows
        behind it with it.
        """
        listener, intrabar = self._listener, self._intrabar
        listener.on_row(row)
        place = row - self._block.first
        intrabar.resume(self._at, int_at(self._block.qty_units, CELL * place))
        is_open = self._is_deaf
        for shown in intrabar.ticks(self._block.candle(row), self._watch):
            listener.on_shown(shown)
            self._deliver_tick(shown)
            if listener.is_stopped:
                return
            if is_open:
                is_open = False
                quiet = self._lockstep.quiet_range(self._symbol)
                if quiet is not None and quiet.is_lasting:
                    self._rest = LOW
                    self._pass(quiet, row)
                    if self.row > row:
                        return
                    self._rest = OPEN
        self.row = row + 1
        self._deliver_bars(place)

    def _deliver_tick(self, shown: Shown) -> None:
        bid, ask, qty, at = shown.bid, shown.ask, shown.qty, shown.at
        tick, exact = self._tick, self._exact
        self.seq += 1
        self.ticks += 1
        self._at = tick.ts = tick.exchange_ts = at
        tick.price = tick.bid = bid / UNIT
        tick.ask = ask / UNIT
        tick.bid_qty = tick.ask_qty = qty / UNIT
        tick.is_trade = True
        exact.ts = at
        exact.bid = bid
        exact.ask = ask
        exact.bid_qty = exact.ask_qty = qty
        self._lockstep.process(tick, self.seq)

    def _deliver_bars(self, place: i64) -> None:
        """Deliver the bars that close with a row of the block, and the beat after them."""
        self._deliver_closed(place)
        if not self._listener.is_stopped:
            self._deliver_beat(int_at(self._block.open_ts, CELL * place) + self._length_ms)

    def _deliver_closed(self, place: i64) -> None:
        """Deliver the bars that close with a row of the block."""
        block, market = self._block, self._market
        at = CELL * place
        end_ts = int_at(block.open_ts, at) + self._length_ms
        self._listener.on_time(end_ts)
        kind: i64 = block.kinds[place]
        if not kind & HAS_MIXED:
            self.seq += block.unread[place]
            if kind & HAS_OWN:
                self.seq += 1
                self._deliver_bar(self._own_bar(place), int_at(block.close_units, at), end_ts)
            return
        for lane, number in block.mixed[block.first + place]:
            self.seq += 1
            if market.is_read(lane):
                if lane == market.own:
                    bar, units = self._own_bar(place), int_at(block.close_units, at)
                else:
                    bar, units = market.bar(lane, number)
                self._deliver_bar(bar, units, end_ts)
                if self._listener.is_stopped:
                    return

    def _deliver_bar(self, bar: ClosedBar, close_units: int, end_ts: int) -> None:
        whole = BarInput(self._symbol, bar, close_units, end_ts, self._run_id)
        self._lockstep.process(whole, self.seq)

    def _deliver_beat(self, ts: int) -> None:
        self.seq += 1
        self.beats += 1
        beat = Event(ts, place_id(self.seq), MARKET_ROLE, self._run_id, NO_CMDLINE, BEAT)
        self._lockstep.process(beat, self.seq)


def _is_hold(messages: list[Message]) -> bool:
    """Return whether the strategy holds, so that a quiet range stays valid."""
    first = messages[0]
    return len(messages) == 1 and isinstance(first, SignalMessage) and first.side == HOLD
