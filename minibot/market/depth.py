"""The book of one symbol as the market role keeps it: synced, checked, written once a second.

The rule of the book itself is the venue's (`exchanges.base.BookKeeper`).
Here: when to ask for a snapshot, and the continuous proof that the top of the book equals the
stream of best quotes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from minibot.events.model import Book, BookWhy, JsonObject
from minibot.events.money import PLACES, amount_text
from minibot.exchanges.base import (
    APPLIED,
    GAP,
    IGNORED,
    TOO_OLD,
    BookKeeper,
    Diff,
    FrameInvalid,
    Level,
    Quote,
    Snapshot,
)
from minibot.exchanges.base import Book as KeptBook
from minibot.exchanges.top_check import MISMATCHES_MAX, TopCheck
from minibot.exchanges.units import units
from minibot.market.trades import ANEW_MS

INTERVAL: Final = "interval"
RESYNC: Final = "resync"

# A snapshot comes from a cache of the venue that may lag behind the stream by some hundred ms.
RETRY_MS_MIN: Final = 250
RETRY_MS_MAX: Final = 60_000
# A fresh snapshot is worth its request weight at most this often.
REFRESH_MS: Final = 60_000
# Depth counts the levels so near to the mid.
DEPTH_PERCENT: Final = 2
# No book is worth more in hundred-millionths; the part of a side beyond it is not written.
DEPTH_UNITS_MAX: Final = 10**17 * 10**PLACES

Bounds = tuple[int, int]
"""Lowest bid and highest ask that count as depth, in hundred-millionths."""


class Change(NamedTuple):
    """Effect of a message on the book: none (""), or the book is lost, with the reason in `why`."""

    kind: str
    why: str = ""


LOST: Final = "lost"
NOTHING: Final = Change("")


class SymbolDepth:
    """Book, snapshot requests and checks of one symbol.

    Args:
        symbol: In the venue's own spelling.
        levels: Number of levels a side in a `book` event.
        keeper: The venue's book keeper, new.
        venue: Name of the venue, to write it and the depth within 2 % of the mid into `book`;
            empty to write neither.
    """

    def __init__(self, symbol: str, levels: int, keeper: BookKeeper, venue: str = "") -> None:
        self.symbol = symbol
        self.levels = levels
        self.keeper = keeper
        self.venue = venue
        self.check = TopCheck()
        self.resyncs = 0
        self.refused = 0  # Diffs that the book refused as contradictory.
        self.failures = 0
        self.diff_ms: int | None = None  # Of the last diff that was not older than the book.
        self._ignored_ms: int | None = None  # Of the first older one since.
        self.is_asked = False
        self._is_new = False
        self._due_ms = 0
        self._refreshed_ms = 0
        self._owes_resync = False
        # Whether the last snapshot held less than 2 %; None before the first book after it.
        self._was_short: bool | None = None

    @property
    def is_valid(self) -> bool:
        """Return True while there is a valid book."""
        return self.keeper.book is not None

    # --- messages -----------------------------------------------------------------------------

    def on_diff(self, diff: Diff, now_ms: int) -> Change:
        """Take one diff of the stream."""
        try:
            result = self.keeper.on_diff(diff)
        except FrameInvalid as error:
            self.diff_ms = now_ms
            self.refused += 1
            return self._lost(now_ms, str(error))
        if result == IGNORED:
            return self._ignored(diff, now_ms)
        self.diff_ms, self._ignored_ms = now_ms, None
        if result == GAP and self._owes_resync:
            return NOTHING  # A snapshot that never met the stream; that book was never published.
        if result == GAP:
            return self._lost(now_ms, f"updates missing before {diff.first_id}")
        if result == APPLIED:
            self._note_top()
        return NOTHING

    def _ignored(self, diff: Diff, now_ms: int) -> Change:
        """Note a diff older than the book; nothing else for ANEW_MS means that ids restarted."""
        if self._owes_resync:
            return NOTHING  # The snapshot is ahead of the stream, which will catch up.
        if self._ignored_ms is None:
            self._ignored_ms = now_ms
        if now_ms - self._ignored_ms < ANEW_MS:
            return NOTHING
        book = self.keeper.book
        book_id = 0 if book is None else book.book_id
        self.keeper.reset()
        self.keeper.on_diff(diff)  # The first of a new buffer.
        self.diff_ms = now_ms
        return self._lost(now_ms, f"updates began anew at {diff.first_id} after {book_id}")

    def on_quote(self, quote: Quote, now_ms: int) -> Change:
        """Check the book against a best quote; several disagreements in a row lose the book."""
        if self.keeper.book is None:
            return NOTHING  # A new book is compared with quotes that come after it.
        check = self.check
        check.on_quote(quote)
        if check.in_row < MISMATCHES_MAX:
            return NOTHING
        self.keeper.reset()
        return self._lost(now_ms, f"top of book differs from {check.in_row} best quotes in a row")

    def on_snapshot(self, snapshot: Snapshot, now_ms: int) -> Change:
        """Take a requested snapshot."""
        self.is_asked = False
        if not snapshot.bids or not snapshot.asks:
            self.on_failure(now_ms)
            return NOTHING
        was_valid = self.is_valid
        try:
            result = self.keeper.on_snapshot(snapshot)
        except FrameInvalid as error:
            self.on_failure(now_ms)
            return self._lost(now_ms, f"snapshot: {error}") if was_valid else NOTHING
        if result in (TOO_OLD, GAP):
            self.on_failure(now_ms)
            return NOTHING
        return self._synced(now_ms, was_valid=was_valid)

    def on_streamed_snapshot(self, snapshot: Snapshot, now_ms: int) -> Change:
        """Take a snapshot from the stream: it is in sync with the diffs already."""
        self.diff_ms = now_ms
        return self.on_snapshot(snapshot, now_ms)

    def on_unread(self, now_ms: int, why: str) -> Change:
        """Lose the book: an unusable frame may have been a diff, and no update number shows it."""
        if not self.is_valid:
            return NOTHING
        self.keeper.reset()
        return self._lost(now_ms, why)

    def on_failure(self, now_ms: int) -> None:
        """Schedule the next request after a failed or unusable snapshot, with growing waits."""
        self.is_asked = False
        self._due_ms = now_ms + min(RETRY_MS_MIN << min(self.failures, 20), RETRY_MS_MAX)
        self.failures += 1

    def on_disconnected(self, now_ms: int) -> None:
        """Reset the book: its stream is gone."""
        self.keeper.reset()
        self.check.forget()
        self.diff_ms = self._ignored_ms = None
        self._owes_resync = False
        self.failures, self._due_ms = 0, now_ms

    def on_connected(self, now_ms: int) -> None:
        """Request one snapshot at once, before the first diff of the new stream."""
        self._is_new = True
        self._due_ms = now_ms

    def _note_top(self) -> None:
        book = self.keeper.book
        top = None if book is None else book.touch()
        if book is not None and top is not None:
            self.check.on_book(book.book_id, top)

    def _lost(self, now_ms: int, why: str) -> Change:
        self.check.forget()
        self._ignored_ms = None
        self._owes_resync = False
        self.failures, self._due_ms = 0, now_ms
        return Change(LOST, why)

    def _synced(self, now_ms: int, *, was_valid: bool) -> Change:
        self.failures = 0
        self._ignored_ms = None
        self._refreshed_ms = now_ms
        self._was_short = None
        if not was_valid:
            self._owes_resync = True
            self.check.forget()
        return NOTHING

    # --- now and then -------------------------------------------------------------------------

    def wants_snapshot(self, now_ms: int) -> bool:
        """Return whether to request a snapshot now; True counts as the request.

        After the first one, diffs have to come first: a snapshot can only be joined to a buffered
        stream, and a source without diffs is not asked again and again.
        """
        if self.is_asked or now_ms < self._due_ms or not self.keeper.wants_snapshot:
            return False
        if self.diff_ms is None and not self._is_new:
            return False
        self.is_asked, self._is_new = True, False
        return True

    def written(self, now_ms: int, age_ms_max: int) -> Book | None:
        """Return the book to write this second; None without a valid and fresh one."""
        book = self.keeper.book
        if book is None or self._owes_resync:
            return None
        if self.diff_ms is None or now_ms - self.diff_ms > age_ms_max:
            return None
        bids, asks = book.bids.top(self.levels), book.asks.top(self.levels)
        bounds = bounds_of(book) if self.venue else None
        is_due = now_ms - self._refreshed_ms >= REFRESH_MS
        # The first book after a snapshot tells how far that one reached.
        has_left = (is_due or self._was_short is None) and self._has_left(book, bounds)
        if is_due and (has_left or book.is_beyond_edge(bids, asks)):
            self._refreshed_ms = now_ms
            self.keeper.refresh()
        return self._event(book, bids, asks, INTERVAL, bounds)

    def _has_left(self, book: KeptBook, bounds: Bounds | None) -> bool:
        """Return whether the market moved so far that the last snapshot holds less than 2 % of it.

        A snapshot that never held so much is not worth another one.
        """
        if bounds is None:
            return False
        low, high = ((amount_text(price), "0") for price in bounds)
        is_short = book.is_beyond_edge([low], [high])
        if self._was_short is None:
            self._was_short = is_short
        return is_short and not self._was_short

    def written_resync(self) -> Book | None:
        """Return the first book after a sync, once the connection has brought any update of it.

        A streamed snapshot is one. A diff may be older than the snapshot: the first later one
        shows whether the two meet.
        """
        book = self.keeper.book
        if not self._owes_resync or book is None or self.diff_ms is None:
            return None
        self._owes_resync = False
        self.resyncs += 1
        bids, asks = book.bids.top(self.levels), book.asks.top(self.levels)
        bounds = bounds_of(book) if self.venue else None
        return self._event(book, bids, asks, RESYNC, bounds)

    def _event(
        self,
        book: KeptBook,
        bids: tuple[Level, ...],
        asks: tuple[Level, ...],
        why: BookWhy,
        bounds: Bounds | None,
    ) -> Book:
        event = Book(symbol=self.symbol, bids=bids, asks=asks, last_update_id=book.book_id, why=why)
        if not self.venue:
            return event
        return replace(event, venue=self.venue, **depth_within(book, bounds))


def bounds_of(book: KeptBook) -> Bounds | None:
    """Return the lowest bid and the highest ask within 2 % of the mid, in hundred-millionths.

    It is None without a touch, or with prices of more than eight places: no tick has them either.
    """
    touch = book.touch()
    if touch is None:
        return None
    try:
        twice_mid = units(touch[0]) + units(touch[2])
    except ValueError:
        return None
    low = -(twice_mid * (100 - DEPTH_PERCENT) // -200)
    return low, twice_mid * (100 + DEPTH_PERCENT) // 200


def depth_within(book: KeptBook, bounds: Bounds | None) -> JsonObject:
    """Return the depth of a book within bounds, as fields of a `book` event.

    Every kept level counts, also one that the event leaves out. Values are rounded down to
    hundred-millionths. Without bounds there are no fields.
    """
    if bounds is None:
        return {}
    low, high = bounds
    is_bid_whole, is_ask_whole = book.reaches(low, high)
    return {
        "bid_depth": _amount(book.bids.worth(low)),
        "is_bid_whole": is_bid_whole,
        "ask_depth": _amount(book.asks.worth(high)),
        "is_ask_whole": is_ask_whole,
    }


def _amount(worth: int) -> str:
    """Return a quote amount in 10**-16 as text in hundred-millionths."""
    return amount_text(min(worth // 10**PLACES, DEPTH_UNITS_MAX))
