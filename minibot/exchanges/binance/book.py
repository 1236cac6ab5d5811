"""Local order book of one symbol, kept by the venue's documented rule.

`BookSide` holds levels, `LocalBook` both sides and the update id, `BookKeeper` the procedure:
buffer diffs, take a snapshot, drop the diffs that it includes, apply the rest, and start over at a
gap while the buffer stays. Source: "How to manage a local order book correctly" of the venue's
web-socket-streams.md as corrected on 2025-11-12. One addition is ours: a snapshot whose id is
exactly one below the first buffered `U` is accepted, because the gap rule proves it continuous.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heapify, heappop, heappush, nlargest, nsmallest
from typing import Final

from minibot.exchanges.base import (
    APPLIED,
    BUFFERED,
    GAP,
    IGNORED,
    SYNCED,
    TOO_OLD,
    Diff,
    Edges,
    FrameInvalid,
    Level,
    Rows,
    Snapshot,
)
from minibot.exchanges.binance.messages import AMOUNTS, PRICES
from minibot.exchanges.binance.side_worth import SideWorth
from minibot.exchanges.units import plain, units_down

# Ten diffs a second, so two minutes: a snapshot comes within seconds of its request, and is as new
# as its answer. Hundreds of symbols without a snapshot must not fill the memory.
BUFFER_DIFFS_MAX: Final = 1200
# Removed levels stay in the heap until they surface; beyond this surplus the heap is rebuilt.
HEAP_SURPLUS_MAX: Final = 4096
# Most levels that the venue gives in a snapshot. Through a night of diffs a side would grow without
# end: prices that the market has left are hardly ever removed.
LEVELS_MAX: Final = 5000

_NO_EDGE: Final = 2**63


def _is_shown(qty: str) -> int:
    """Return 0 for a quantity of zero, else 1.

    A level's size is kept as the venue wrote it, so it may have more decimals than our arithmetic.

    Raises:
        ValueError, TypeError: Not a plain decimal without a sign.
    """
    return 1 if plain(qty).strip("0.") else 0


class BookSide:
    """Levels of one side, keyed by price in hundred-millionths; texts are the venue's own.

    The best price comes from a heap with lazy deletion: setting or removing a level needs no
    search, and a removed price is skipped when it surfaces. Changes are noted for `worth` from its
    first question on.
    """

    __slots__ = ("_heap", "_sign", "_worth", "levels")

    def __init__(self, *, is_bid: bool) -> None:
        self.levels: dict[int, list[str]] = {}
        self._sign = -1 if is_bid else 1
        self._heap: list[int] = []
        self._worth: SideWorth | None = None

    def apply(self, rows: Rows) -> None:
        """Set every level of `rows` to its quantity; zero removes, an unknown removal is normal.

        Raises:
            ValueError, TypeError, AttributeError: A row is not a level; the side is half changed.
        """
        levels, heap, sign, prices, amounts = self.levels, self._heap, self._sign, PRICES, AMOUNTS
        changes = None if self._worth is None else self._worth.changes
        fine: list[int] = []
        for row in rows:
            if type(row) is not list:  # Two keys of an object, or two characters, would unpack too.
                raise TypeError(f"expected [price, quantity], found {type(row).__name__}")
            price, qty = row
            key = prices[price]
            try:
                size = amounts[qty]
            except ValueError:
                size = _is_shown(qty)
                fine.append(key)
            if changes is not None:
                changes[key] = size
            if size:
                if key not in levels:
                    heappush(heap, sign * key)
                levels[key] = row
            elif key in levels:
                del levels[key]
        if len(heap) > 2 * len(levels) + HEAP_SURPLUS_MAX:
            self._heap = [sign * key for key in levels]
            heapify(self._heap)
        if changes is not None:
            for key in fine:
                changes[key] = units_down(levels[key][1]) if key in levels else 0
            if len(changes) > LEVELS_MAX:
                self._worth = None  # No longer wanted.

    def cut(self) -> int | None:
        """Forget levels far from the touch if there are very many; return the last level kept."""
        if len(self.levels) <= 2 * LEVELS_MAX:
            return None
        pick = nlargest if self._sign < 0 else nsmallest
        kept = pick(LEVELS_MAX, self.levels)
        self.levels = {key: self.levels[key] for key in kept}
        self._heap = [self._sign * key for key in kept]  # Sorted, so already a heap.
        self._worth = None
        return kept[-1]

    def best(self) -> int:
        """Return the best price in hundred-millionths, 0 when the side is empty."""
        levels, heap, sign = self.levels, self._heap, self._sign
        while heap:
            key = sign * heap[0]
            if key in levels:
                return key
            heappop(heap)
        return 0

    def top(self, count: int) -> tuple[Level, ...]:
        """Return the best `count` levels, best first."""
        pick = nlargest if self._sign < 0 else nsmallest
        return tuple(
            (row[0], row[1]) for row in map(self.levels.__getitem__, pick(count, self.levels))
        )

    def worth(self, bound: int) -> int:
        """Return the value of all kept levels at `bound` or better, see `base.Levels`."""
        if self._worth is None:
            self._worth = SideWorth(is_bid=self._sign < 0)
        return self._worth.of(self.levels, bound)


class LocalBook:
    """Both sides at update `book_id`."""

    __slots__ = ("_ask_edge", "_bid_edge", "asks", "bids", "book_id")

    def __init__(self, snapshot: Snapshot) -> None:
        """Build the book of a snapshot.

        Raises:
            FrameInvalid: A row is not a level, or the sides cross.
        """
        self.book_id = snapshot.last_update_id
        self.bids = BookSide(is_bid=True)
        self.asks = BookSide(is_bid=False)
        self._set(snapshot.bids, snapshot.asks)
        bid_edge, ask_edge = self._known(snapshot) if snapshot.edges is None else snapshot.edges
        self._bid_edge = 0 if bid_edge is None else bid_edge
        self._ask_edge = _NO_EDGE if ask_edge is None else ask_edge

    def _known(self, snapshot: Snapshot) -> Edges:
        """Return the edges of an answer: beyond them, levels are unknown until they change.

        It cuts both sides at one number, so that the side with fewer levels was not cut.
        """
        counts = (len(snapshot.bids), len(snapshot.asks))
        cut = 0 if snapshot.is_whole else max(counts)
        return (
            min(self.bids.levels, default=None) if counts[0] == cut else None,
            max(self.asks.levels, default=None) if counts[1] == cut else None,
        )

    @property
    def edges(self) -> Edges:
        """Return how far each side is known, as in a snapshot."""
        return self._bid_edge or None, None if self._ask_edge == _NO_EDGE else self._ask_edge

    def _set(self, bids: Rows, asks: Rows) -> None:
        try:
            self.bids.apply(bids)
            self.asks.apply(asks)
        except (ValueError, TypeError, AttributeError) as error:
            raise FrameInvalid(f"book level: {error}") from error
        bid, ask = self.bids.best(), self.asks.best()
        if bid and ask and bid >= ask:
            raise FrameInvalid(f"book crossed after update: bid {bid}, ask {ask} (1e-8)")

    def apply(self, diff: Diff) -> str:
        """Apply one diff and return APPLIED, IGNORED (older than the book) or GAP (unchanged).

        Raises:
            FrameInvalid: The diff is contradictory; the book must not be used any more.
        """
        if diff.last_id < self.book_id:
            return IGNORED
        if diff.first_id > self.book_id + 1:
            return GAP
        self._set(diff.bids, diff.asks)
        self.book_id = diff.last_id
        self._cut()
        return APPLIED

    def _cut(self) -> None:
        """Limit both sides; forgotten levels are as unknown as those that were never shown."""
        bid, ask = self.bids.cut(), self.asks.cut()
        if bid is not None:
            self._bid_edge = max(self._bid_edge, bid)
        if ask is not None:
            self._ask_edge = min(self._ask_edge, ask)

    def touch(self) -> tuple[str, str, str, str] | None:
        """Return bid, its quantity, ask, its quantity; None while a side is empty."""
        bid, ask = self.bids.best(), self.asks.best()
        if not bid or not ask:
            return None
        bid_row, ask_row = self.bids.levels[bid], self.asks.levels[ask]
        return bid_row[0], bid_row[1], ask_row[0], ask_row[1]

    def is_beyond_edge(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
        """Return whether the given best levels reach beyond the snapshot's."""
        last_bid = PRICES[bids[-1][0]] if bids else 0
        last_ask = PRICES[asks[-1][0]] if asks else _NO_EDGE
        return last_bid < self._bid_edge or last_ask > self._ask_edge

    def reaches(self, low: int, high: int) -> tuple[bool, bool]:
        """Return whether all bids from `low` up, and all asks up to `high`, are kept."""
        return low >= self._bid_edge, high <= self._ask_edge


class BookKeeper:
    """Keeper of one symbol's book: valid, or absent.

    `book` is None until a snapshot has met the buffered diffs. While `refreshing`, the valid book
    goes on and diffs are buffered as well, so that a new snapshot can replace it without a hole.
    """

    def __init__(self) -> None:
        self.book: LocalBook | None = None
        self.refreshing = False
        self._buffer: deque[Diff] = deque(maxlen=BUFFER_DIFFS_MAX)

    @property
    def wants_snapshot(self) -> bool:
        """Return True while there is no valid book, or a fresh snapshot is to replace it."""
        return self.book is None or self.refreshing

    def on_diff(self, diff: Diff) -> str:
        """Take one diff and return BUFFERED, APPLIED, IGNORED or GAP.

        After GAP the book is lost and the diff stays in the buffer: as its first, or, during a
        refresh, behind the diffs since `refresh`.

        Raises:
            FrameInvalid: The diff is contradictory; the book is lost.
        """
        book = self.book
        if book is None:
            self._buffer.append(diff)
            return BUFFERED
        if self.refreshing:
            self._buffer.append(diff)
        try:
            result = book.apply(diff)
        except FrameInvalid:
            self.reset()
            raise
        if result == GAP:
            if not self.refreshing:
                self._buffer.append(diff)
            self.book, self.refreshing = None, False
        return result

    def on_snapshot(self, snapshot: Snapshot) -> str:
        """Take a snapshot and return SYNCED, TOO_OLD (request another; the buffer stays) or GAP.

        TOO_OLD ends before the buffered diffs begin, or, with them, before the book in use ends.

        Raises:
            FrameInvalid: Snapshot or a buffered diff is contradictory; both are discarded.
        """
        buffer = self._buffer
        if buffer and snapshot.last_update_id + 1 < buffer[0].first_id:
            return TOO_OLD
        try:
            book = LocalBook(snapshot)
            gap = self._catch_up(book)
        except FrameInvalid:
            self.reset()
            raise
        if gap:
            return GAP
        current = self.book
        if current is not None and book.book_id < current.book_id:
            return TOO_OLD
        self.book, self.refreshing = book, False
        buffer.clear()
        return SYNCED

    def _catch_up(self, book: LocalBook) -> bool:
        """Apply the diffs after the snapshot; True at a gap, with the buffer cut to start there."""
        snapshot_id = book.book_id
        for index, diff in enumerate(self._buffer):
            if diff.last_id <= snapshot_id:
                continue
            if book.apply(diff) == GAP:
                for _ in range(index):
                    self._buffer.popleft()
                self.book = None
                return True
        return False

    def refresh(self) -> None:
        """Buffer diffs from now on, so that the next snapshot replaces the valid book."""
        if self.book is not None:
            self._buffer.clear()
            self.refreshing = True

    def reset(self) -> None:
        """Discard everything: the connection was lost or the stream was contradictory."""
        self.book, self.refreshing = None, False
        self._buffer.clear()
