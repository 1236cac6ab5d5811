"""Trades that came a second time, or after their place was given up: dropped, counted, told.

While a connection is being replaced every trade comes twice, which is how none is missed; those
repeats are told by nobody. Pure; times are market milliseconds.
"""

from __future__ import annotations

from typing import Final

from minibot.market.feed import Feed
from minibot.market.notices import TRADES_REPEATED

LOOK_MS: Final = 1_000
TELL_MS: Final = 60_000
# What a replaced connection brought last may still wait when it has gone.
SETTLE_MS: Final = 5_000


class DuplicateTrades:
    """Tells of repeated trades, at most once a minute."""

    def __init__(self, feed: Feed) -> None:
        """Start without any; they are told on the feed's board."""
        self._feed = feed
        self._told = 0
        self._look_due = self._tell_due = self._renewed_until = 0

    def look(self, now_ms: int, *, is_renewing: bool) -> None:
        """Look, once a second, at how many trades were repeats."""
        if now_ms < self._look_due:
            return
        self._look_due = now_ms + LOOK_MS
        if is_renewing:
            self._renewed_until = now_ms + SETTLE_MS
        repeated = self._feed.duplicate_trades
        count = repeated - self._told
        if count < 0 or now_ms < self._renewed_until:  # A symbol that left took its count along.
            self._told = repeated
        elif count and now_ms >= self._tell_due:
            self._told, self._tell_due = repeated, now_ms + TELL_MS
            detail = f"{count} trades came a second time, or too late; they were dropped"
            self._feed.board.add(now_ms, TRADES_REPEATED, detail)
