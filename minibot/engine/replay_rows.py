"""Rows of market events through one replayed core: of ticks without effect, only the last.

A core's `step` is behind an event what its `on_tick` is behind a tick. Here ticks reach `on_tick`
without an answer in drafts for each, and risk and execution are told of the last of those ticks
that, by their own word, leave them as the last one does (`cores.scaled_tick.Calm`), as in a
backtest by `Lockstep.calm`. Whatever is no such tick goes through `step`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Final, cast

from minibot.cores.event_id import named
from minibot.cores.input_order import Core
from minibot.cores.messages import drafts_of
from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.events.decimals import NumberError
from minibot.events.model import Draft, Event, MarketTick, Payload
from minibot.events.names import TICKS
from minibot.events.parse_cache import ParseCache
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.risk.core import RiskCore
from minibot.strategies.core import StrategyCore

# To ask a core for its calm costs as much as a few ticks do.
ROW_MIN: Final = 4
# So many ticks go one by one after a core was asked in vain.
PAUSE: Final = 16
# More places than amounts have, or zeros behind them.
_too_fine: Final = re.compile(r"\.\d{9}").search


class Row:
    """Inputs in a row of `market_ticks`, one by one.

    Attributes:
        core: What takes them.
        at: How many have been taken; the one at this place is under way where something raises.
        now: Market time of the last that was taken, which never goes back.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.at = 0
        self.now = 0
        self.events: Sequence[Event] = ()
        self._first_seq = 0

    def begin(self, events: Sequence[Event], first_seq: int, now: int) -> None:
        """Take over inputs, the first of them line `first_seq`, to be taken not before `now`."""
        self.events = events
        self.at = 0
        self.now = now
        self._first_seq = first_seq

    def go(self) -> list[Draft]:
        """Take inputs up to the next one that something follows from; return what follows."""
        while self.at < len(self.events):
            drafts = self._one()
            if drafts:
                return drafts
        return []

    def _one(self) -> list[Draft]:
        event = self.events[self.at]
        self.now = max(self.now, event.ts)
        drafts = self.core.step(TICKS, self._first_seq + self.at, event, self.now)
        self.at += 1
        return drafts


class StrategyRow(Row):
    """The strategy sees each tick."""

    def __init__(self, core: StrategyCore) -> None:
        super().__init__(core)
        self._strategy = core

    def go(self) -> list[Draft]:
        """Take inputs up to the next one that something follows from; return what follows."""
        core, now = self._strategy, self.now
        on_tick = core.on_tick
        for event in self.events[self.at :]:
            ts, payload = event.ts, event.payload
            if ts > now:
                now = ts
            self.now = now
            if type(payload) is MarketTick:
                tick = core.tick(payload.symbol)
                tick.fill(payload, ts)
                decision = on_tick(tick, now)
                self.at += 1
                if decision is not None:
                    seq = self._first_seq + self.at - 1
                    cause = named(event.id, event.run_id)
                    signal = core.signal(payload.symbol, decision, ts, cause, seq)
                    return drafts_of([signal])
            elif drafts := self._one():
                return drafts
        return []


class _Touches:
    """The touches of ticks in a row, of one symbol; numbers are read of what is asked for."""

    def __init__(self, ticks: Sequence[MarketTick], times: list[int], amounts: ParseCache) -> None:
        self.times = times
        self._read = amounts.__getitem__
        self._bids = [tick.bid for tick in ticks]
        self._asks = [tick.ask for tick in ticks]
        self._bid_qtys = [tick.bid_qty for tick in ticks]
        self._ask_qtys = [tick.ask_qty for tick in ticks]

    @property
    def is_readable(self) -> bool:
        """True when no size has more places than amounts; prices are checked as they are read."""
        return _too_fine(",".join(self._bid_qtys + self._ask_qtys)) is None

    def within(self, calm: QuietRange, first: int, now: int) -> int:
        """Return how many ticks from `first` on, taken from market time `now` on, are calm.

        Raises:
            NumberError: A price has more places than amounts have.
        """
        touches = list(zip(self._bids[first:], self._asks[first:], strict=True))
        times, read = self.times[first:], self._read
        above, below, least, most = calm.above, calm.below, calm.least, calm.most
        beyond = set()
        for touch in set(touches):
            bid, ask = read(touch[0]), read(touch[1])
            if not (above < bid < below and bid <= ask and least <= bid + ask <= most):
                beyond.add(touch)
        if not beyond and max(now, *times) < calm.until:
            return len(touches)
        for count, (touch, ts) in enumerate(zip(touches, times, strict=True)):
            now = max(now, ts)
            if touch in beyond or now >= calm.until:
                return count
        return len(touches)

    def is_new(self, first: int, last: int) -> tuple[bool, bool]:
        """Return whether bid and ask, price or size, change among these ticks."""
        return (
            self._changes(self._bids[first:last]) or self._changes(self._bid_qtys[first:last]),
            self._changes(self._asks[first:last]) or self._changes(self._ask_qtys[first:last]),
        )

    def _changes(self, texts: Sequence[str]) -> bool:
        if texts.count(texts[0]) == len(texts):
            return False
        value = self._read(texts[0])
        return any(self._read(text) != value for text in texts)


class QuietRow(Row):
    """A core that says within which touches nothing follows from ticks in a row."""

    def __init__(self, core: Core, amounts: ParseCache) -> None:
        super().__init__(core)
        self._exact = ScaledTick()
        self._amounts = amounts
        self._pause = 0
        # Places of ticks of one symbol in a row, and the numbers of those that were come to.
        self._rows: list[tuple[int, int]] = []
        self._touches: _Touches | None = None

    def begin(self, events: Sequence[Event], first_seq: int, now: int) -> None:
        """Take over inputs, the first of them line `first_seq`, to be taken not before `now`."""
        super().begin(events, first_seq, now)
        self._rows = _rows_of(events)
        self._touches = None

    def go(self) -> list[Draft]:
        """Take inputs up to the next one that something follows from; return what follows."""
        while self.at < len(self.events):
            drafts = self._pass() if self._may_pass() else self._one()
            if drafts:
                return drafts
        return []

    def _may_pass(self) -> bool:
        """Return whether enough ticks in a row begin here, and have their numbers at hand."""
        while self._rows and self._rows[0][1] <= self.at:
            del self._rows[0]
            self._touches = None
        if not self._rows:
            return False
        first, last = self._rows[0]
        if first > self.at or last - self.at < ROW_MIN:
            return False
        if self._pause:
            self._pause -= 1
            return False
        if self._touches is None:
            events = self.events[first:last]
            ticks = [cast("MarketTick", event.payload) for event in events]
            touches = _Touches(ticks, [event.ts for event in events], self._amounts)
            if not touches.is_readable:
                del self._rows[0]  # The core meets the one that cannot be read, in its turn.
                return False
            self._touches = touches
        return True

    def _pass(self) -> list[Draft]:
        """Tell the core of the last of calm ticks; of the first alone where it is not calm."""
        touches, first = self._touches, self._rows[0][0]
        event = self.events[self.at]
        calm = self._calm(cast("MarketTick", event.payload).symbol)
        at = self.at - first
        try:
            count = 0 if touches is None or calm is None else touches.within(calm, at, self.now)
        except NumberError:
            count = 0
        if touches is None or not count:
            self._pause = PAUSE
            return self._one()
        last = self.events[self.at + count - 1]
        self._exact.fill(cast("MarketTick", last.payload), last)
        self.now = max(self.now, *touches.times[at : at + count])
        self.at += count - 1
        drafts = self._told(self._first_seq + self.at, *touches.is_new(at, at + count))
        self.at += 1
        return drafts

    def _calm(self, symbol: str) -> QuietRange | None:
        raise NotImplementedError

    def _told(self, seq: int, is_bid_new: bool, is_ask_new: bool) -> list[Draft]:
        """Tell the core of the tick that is filled, line `seq`; return what follows."""
        raise NotImplementedError


class RiskRow(QuietRow):
    """Risk's: it bounds bid, equity and time."""

    def __init__(self, core: RiskCore, amounts: ParseCache) -> None:
        super().__init__(core, amounts)
        self._risk = core

    def _calm(self, symbol: str) -> QuietRange | None:
        return self._risk.calm(symbol, self.now)

    def _told(self, seq: int, is_bid_new: bool, is_ask_new: bool) -> list[Draft]:
        return drafts_of(self._risk.on_tick(self._exact, seq, self.now) or [])


class ExecutionRow(QuietRow):
    """The executor's: calm while no order waits for a tick."""

    def __init__(self, core: PaperExecutorNoreV1, amounts: ParseCache) -> None:
        super().__init__(core, amounts)
        self._executor = core
        self._any = QuietRange()

    def _calm(self, symbol: str) -> QuietRange | None:
        return None if self._executor.orders else self._any

    def _told(self, seq: int, is_bid_new: bool, is_ask_new: bool) -> list[Draft]:
        self._executor.on_calm(self._exact, seq, is_bid_new, is_ask_new)
        return []


def _rows_of(events: Sequence[Event]) -> list[tuple[int, int]]:
    """Return from where to where (excluded) ticks of one symbol stand in a row."""
    payloads = [event.payload for event in events]
    if set(map(type, payloads)) == {MarketTick}:
        ticks = cast("list[MarketTick]", payloads)
        if len({tick.symbol for tick in ticks}) == 1:
            return [(0, len(ticks))]
    rows, at = [], 0
    for symbol, group in groupby(payloads, _symbol_of):
        size = len(list(group))
        if symbol is not None:
            rows.append((at, at + size))
        at += size
    return rows


def _symbol_of(payload: Payload) -> str | None:
    return payload.symbol if type(payload) is MarketTick else None


def row_of(core: Core, amounts: ParseCache) -> Row:
    """Return the row walker of a core."""
    if isinstance(core, StrategyCore):
        return StrategyRow(core)
    if isinstance(core, RiskCore):
        return RiskRow(core, amounts)
    if isinstance(core, PaperExecutorNoreV1):
        return ExecutionRow(core, amounts)
    return Row(core)
