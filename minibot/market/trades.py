"""Trades of one symbol in the order of their ids: duplicates dropped, gaps found.

Ids of the venue step by exactly one, so a jump means that something is missing. Within a connection
a missing trade may still come, so later trades wait for it for a moment; after a lost connection
nothing is ever sent again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from minibot.exchanges.base import FrameInvalid, Trade

# Frames of one connection are ordered; a longer wait would only delay the following ticks.
WINDOW_MS: Final = 200
HELD_MAX: Final = 256
# Five minutes of outage at thirty thousand trades a second: a larger jump is no trade id.
JUMP_MAX: Final = 10_000_000
# Two connections overlap for two seconds and repeat each other, so one brings ids that the other
# already brought. If only older ids come for longer, ids restarted, or an earlier one was wrong.
ANEW_MS: Final = 5_000
# Test networks restart their ids. A lower id that is this much younger is no duplicate.
RESTART_MS: Final = 60_000


class Arrival(NamedTuple):
    """One trade in order, with the machine time of its socket read."""

    trade: Trade
    recv_mono_ns: int


class Missing(NamedTuple):
    """Gap of trades before the next arrival: from_id..to_id never came.

    Where ids began anew, the missing ids are unknown: both are the id of that arrival.
    """

    from_id: int
    to_id: int


Passed = list[Arrival | Missing]


class TradeOrder:
    """Ordering of the trades of one symbol.

    Attributes:
        lower_since_ms: When, after the last trade that passed, the first one came that has a lower
            id but a later time; None for none.
    """

    def __init__(self) -> None:
        self.last_id: int | None = None
        self.duplicates = 0
        self.is_resuming = False
        self.lower_since_ms: int | None = None
        self._last_ts = 0
        self._held: dict[int, Arrival] = {}
        self._held_since_ms = 0

    @property
    def due_ms(self) -> int | None:
        """Return the market time at which held trades pass without the missing one, or None."""
        return self._held_since_ms + WINDOW_MS if self._held else None

    @property
    def last_ts(self) -> int:
        """Return the exchange time of the latest trade so far; 0 before the first."""
        return self._last_ts

    def resume(self) -> None:
        """Expect a gap after a lost connection: the next trade shows whether any is missing."""
        self.is_resuming = True
        self.lower_since_ms = None

    def follows(self, trade: Trade) -> bool:
        """Return whether this trade directly follows the last one, with none held."""
        last = self.last_id
        return last is not None and trade.trade_id == last + 1 and not self._held

    def pass_next(self, trade: Trade) -> None:
        """Note a trade that directly follows: it passes at once."""
        self._advance(trade)

    def take(self, trade: Trade, recv_mono_ns: int, now_ms: int) -> Passed:
        """Take one trade and return the trades that pass now, in order.

        Raises:
            FrameInvalid: The id is too far ahead to be one.
        """
        arrival = Arrival(trade, recv_mono_ns)
        last = self.last_id
        if last is None or trade.trade_id == last + 1:
            self._advance(trade)
            return [arrival, *self._following()]
        if trade.trade_id <= last:
            return self._lower(arrival, now_ms)
        if trade.trade_id - last > JUMP_MAX:
            raise FrameInvalid(f"trade id {trade.trade_id} after {last}")
        if trade.trade_id in self._held:
            self.duplicates += 1
            return []
        if not self._held:
            self._held_since_ms = now_ms
        self._held[trade.trade_id] = arrival
        return self.flush() if self.is_resuming or len(self._held) >= HELD_MAX else []

    def _lower(self, arrival: Arrival, now_ms: int) -> Passed:
        if not self._begins_anew(arrival.trade.trade_ts - self._last_ts, now_ms):
            self.duplicates += 1
            return []
        passed = self.flush()
        missing = Missing(arrival.trade.trade_id, arrival.trade.trade_id)
        self._advance(arrival.trade)
        return [*passed, missing, arrival]

    def _begins_anew(self, younger_ms: int, now_ms: int) -> bool:
        """Return whether a lower id shows that the venue's ids restarted."""
        if younger_ms <= 0:
            return False  # A repeat, as of a connection that sends the last trades again.
        if self.lower_since_ms is None:
            self.lower_since_ms = now_ms
        return younger_ms >= RESTART_MS or now_ms - self.lower_since_ms >= ANEW_MS

    def due(self, now_ms: int) -> Passed:
        """Return held trades whose wait is over, with the gaps before them."""
        due = self.due_ms
        return self.flush() if due is not None and now_ms >= due else []

    def flush(self) -> Passed:
        """Return all held trades in order, with the gaps before them."""
        passed: Passed = []
        for trade_id in sorted(self._held):
            arrival = self._held.pop(trade_id)
            if self.last_id is not None and trade_id > self.last_id + 1:
                passed.append(Missing(self.last_id + 1, trade_id - 1))
            self._advance(arrival.trade)
            passed.append(arrival)
        return passed

    def _following(self) -> Passed:
        passed: Passed = []
        while self._held and self.last_id is not None:
            arrival = self._held.pop(self.last_id + 1, None)
            if arrival is None:
                break
            self._advance(arrival.trade)
            passed.append(arrival)
        return passed

    def _advance(self, trade: Trade) -> None:
        self.last_id = trade.trade_id
        self.is_resuming = False
        self.lower_since_ms = None
        self._last_ts = max(self._last_ts, trade.trade_ts)
