"""Consecutive market events through one replayed core; of ticks in its quiet range, only the last.

As in a backtest, a core gets only the last of several ticks within its `Core.quiet_range`. Every
other event is processed separately.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Final, cast

from minibot.cores.messages import Message
from minibot.cores.protocol import Core
from minibot.cores.scaled_tick import QuietRange, ScaledTick
from minibot.events.decimals import NumberError
from minibot.events.model import Event, MarketTick, Payload
from minibot.events.parse_cache import ParseCache

# A call of `quiet_range` costs as much as a few ticks.
ROW_MIN: Final = 4
# Number of ticks processed one by one after a call without a range.
PAUSE: Final = 16
# Texts with more places than amounts have, or with trailing zeros.
_too_fine: Final = re.compile(r"\.\d{9}").search


class Row:
    """Consecutive inputs of `market_ticks` through one core.

    Args:
        core: The core that processes them.
        amounts: Amounts by their text; if empty, each input is processed separately.

    Attributes:
        at: Number of inputs taken; if an error is raised, the input at this index caused it.
        now: Market time of the last input taken, which never goes back.
    """

    def __init__(self, core: Core, amounts: ParseCache | None = None) -> None:
        self.at = 0
        self.now = 0
        self._core = core
        self._amounts = amounts
        self._events: Sequence[Event] = ()
        self._first_seq = 0
        self._tick = ScaledTick()
        self._pause = 0
        # Bounds of runs of ticks of one symbol, and the touches of the present run.
        self._rows: list[tuple[int, int]] = []
        self._touches: _Touches | None = None

    def begin(self, events: Sequence[Event], first_seq: int, now: int) -> None:
        """Set the inputs, the first of them line `first_seq`, to be taken at `now` or later."""
        self.at = 0
        self.now = now
        self._events = events
        self._first_seq = first_seq
        self._rows = [] if self._amounts is None else _rows_of(events)
        self._touches = None

    def go(self) -> list[Message] | None:
        """Process inputs up to the next one with an effect; return the messages that follow."""
        size = len(self._events)
        while self.at < size:
            if not (self._may_skip() and self._skip()) and (messages := self._one()):
                return messages
        return None

    def _one(self) -> list[Message] | None:
        event = self._events[self.at]
        if event.ts > self.now:
            self.now = event.ts
        messages = self._core.process(event, self._first_seq + self.at, self.now)
        self.at += 1
        return messages

    def _may_skip(self) -> bool:
        """Return whether enough ticks in a row begin here, and the core may be called again."""
        if self._pause:
            self._pause -= 1
            return False
        while self._rows and self._rows[0][1] <= self.at:
            del self._rows[0]
            self._touches = None
        if not self._rows:
            return False
        first, last = self._rows[0]
        return first <= self.at and last - self.at >= ROW_MIN

    def _skip(self) -> bool:
        """Pass the last tick within the quiet range to the core; False if the first is outside."""
        first, event = self._rows[0][0], self._events[self.at]
        at = self.at - first
        quiet = self._core.quiet_range(cast("MarketTick", event.payload).symbol, self.now)
        touches = None if quiet is None else self._read_touches()
        try:
            count = 0 if touches is None or quiet is None else touches.within(quiet, at, self.now)
        except NumberError:
            count = 0
        if touches is None or not count:
            self._pause = PAUSE
            return False
        last = self._events[self.at + count - 1]
        self._tick.fill(cast("MarketTick", last.payload), last)
        self.now = max(self.now, *touches.times[at : at + count])
        self.at += count - 1
        seq = self._first_seq + self.at
        self._core.skip_to(self._tick, seq, self.now, *touches.is_new(at, at + count))
        self.at += 1
        return True

    def _read_touches(self) -> _Touches | None:
        """Return the touches of the present run; None if one cannot be read."""
        if self._touches is None and self._amounts is not None:
            first, last = self._rows[0]
            events = self._events[first:last]
            ticks = [cast("MarketTick", event.payload) for event in events]
            touches = _Touches(ticks, [event.ts for event in events], self._amounts)
            if not touches.is_readable:
                del self._rows[0]  # The core meets the unreadable one in its turn.
                return None
            self._touches = touches
        return self._touches


class _Touches:
    """The touches of consecutive ticks of one symbol; numbers are read only when needed."""

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

    def within(self, quiet: QuietRange, first: int, now: int) -> int:
        """Return how many ticks from `first` on, taken from market time `now` on, have no effect.

        Raises:
            NumberError: A price has more places than amounts have.
        """
        touches = list(zip(self._bids[first:], self._asks[first:], strict=True))
        times, read, contains = self.times[first:], self._read, quiet.contains
        # Few touches differ from the one before, so each is checked once, at the first tick's time;
        # whether the range has ended by then is checked afterwards.
        beyond = {
            touch for touch in set(touches) if not contains(read(touch[0]), read(touch[1]), now)
        }
        if not beyond and max(now, *times) < quiet.until:
            return len(touches)
        for count, (touch, ts) in enumerate(zip(touches, times, strict=True)):
            now = max(now, ts)
            if touch in beyond or now >= quiet.until:
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


def _rows_of(events: Sequence[Event]) -> list[tuple[int, int]]:
    """Return the bounds (last excluded) of each run of ticks of one symbol."""
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
