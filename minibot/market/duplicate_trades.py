"""Trades that came twice, or after they were given up as missing: dropped, counted, reported.

While a connection is being replaced every trade comes twice, so that none is missed; those repeats
are not reported. Pure; times are market milliseconds.
"""

from __future__ import annotations

from typing import Final

from minibot.market.feed import Feed
from minibot.market.notices import TRADES_REPEATED

LOOK_MS: Final = 1_000
REPORT_MS: Final = 60_000
# Last messages of a replaced connection may still wait after it has gone.
SETTLE_MS: Final = 5_000


class DuplicateTrades:
    """Reporter of repeated trades, at most once a minute."""

    def __init__(self, feed: Feed) -> None:
        """Start without any; notices go to the feed's board."""
        self._feed = feed
        self._reported = 0
        self._look_due = self._report_due = self._renewed_until = 0

    def look(self, now_ms: int, *, is_renewing: bool) -> None:
        """Check, once a second, how many trades were repeats."""
        if now_ms < self._look_due:
            return
        self._look_due = now_ms + LOOK_MS
        if is_renewing:
            self._renewed_until = now_ms + SETTLE_MS
        repeated = self._feed.duplicate_trades
        count = repeated - self._reported
        if count < 0 or now_ms < self._renewed_until:  # A symbol that left took its count along.
            self._reported = repeated
        elif count and now_ms >= self._report_due:
            self._reported, self._report_due = repeated, now_ms + REPORT_MS
            detail = f"{count} trades came a second time, or too late; they were dropped"
            self._feed.board.add(now_ms, TRADES_REPEATED, detail)
