"""Kraken's book: no update numbers, a checksum after every update, and a fixed depth.

The rule: apply the entries in order, then cut each side to the subscribed depth (levels that are
pushed out get no removal), then compare the checksum over the ten best levels of each side. It is
the venue's only sign that an update was missed. Source: the venue's book and checksum pages for
version 1 and 2 of its streams; both versions share the rule.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Final

from minibot.events.money import PLACES
from minibot.exchanges.base import (
    APPLIED,
    BUFFERED,
    SYNCED,
    Diff,
    FrameInvalid,
    Level,
    Rows,
    Snapshot,
)
from minibot.exchanges.kraken.numbers import KEY_PLACES, price_key
from minibot.exchanges.units import plain, units_down

DEPTHS: Final = (10, 25, 100, 500, 1000)
# The checksum covers these, whatever the depth.
CHECKED_LEVELS: Final = 10
_KEYS_OF_UNIT: Final[int] = 10 ** (KEY_PLACES - PLACES)


class KrakenSide:
    """Levels of one side, the best ones first in `_keys`; texts are the venue's own."""

    __slots__ = ("_keys", "_levels", "_sign")

    def __init__(self, *, is_bid: bool) -> None:
        self._sign = -1 if is_bid else 1
        self._keys: list[int] = []
        self._levels: dict[int, Level] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def apply(self, rows: Rows) -> None:
        """Set every level to its quantity, in order; zero removes.

        Raises:
            ValueError, TypeError: A row is not a level; the side is half changed.
        """
        for price, qty in rows:
            key = self._sign * price_key(price)
            if plain(qty).strip("0."):
                if key not in self._levels:
                    insort(self._keys, key)
                self._levels[key] = (price, qty)
            elif self._levels.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    def cut(self, depth: int) -> None:
        """Forget levels beyond the best `depth`."""
        for key in self._keys[depth:]:
            del self._levels[key]
        del self._keys[depth:]

    def best(self) -> int | None:
        """Return the best price in units of 10**-12; None when the side is empty."""
        return self._sign * self._keys[0] if self._keys else None

    def top(self, count: int) -> tuple[Level, ...]:
        """Return the best `count` levels, best first."""
        return tuple(map(self._levels.__getitem__, self._keys[:count]))

    def worth(self, bound: int) -> int:
        """Return the value of all kept levels at `bound` or better, see `base.Levels`."""
        levels, last = self._levels, bisect_right(self._keys, self._sign * bound * _KEYS_OF_UNIT)
        keys = self._keys[:last]
        return sum([abs(key) * units_down(levels[key][1]) for key in keys]) // _KEYS_OF_UNIT

    def reaches(self, bound: int, depth: int) -> bool:
        """Return whether no level at `bound` or better lies beyond the subscribed depth."""
        if len(self._keys) < depth:
            return True
        return self._sign * bound * _KEYS_OF_UNIT <= self._keys[-1]


def checksum(asks: Sequence[Level], bids: Sequence[Level]) -> int:
    """Return the venue's CRC-32 over the best ten asks and then the best ten bids.

    The digits of each price and quantity count, without point and without leading zeros.
    """
    digits = [
        text.replace(".", "", 1).lstrip("0")
        for side in (asks, bids)
        for level in side[:CHECKED_LEVELS]
        for text in level
    ]
    return zlib.crc32("".join(digits).encode())


class KrakenBook:
    """Both sides after a number of messages; `book_id` is our own count, the venue has none."""

    __slots__ = ("_depth", "asks", "bids", "book_id")

    def __init__(self, depth: int, book_id: int, snapshot: Snapshot) -> None:
        """Build the book of a snapshot.

        Raises:
            FrameInvalid: A row is not a level, the sides cross, or the checksum differs.
        """
        self._depth = depth
        self.book_id = book_id
        self.bids = KrakenSide(is_bid=True)
        self.asks = KrakenSide(is_bid=False)
        self._set(snapshot.bids, snapshot.asks, snapshot.checksum)

    def apply(self, diff: Diff, book_id: int) -> None:
        """Apply one diff.

        Raises:
            FrameInvalid: The diff is contradictory or the checksum differs; discard the book.
        """
        self._set(diff.bids, diff.asks, diff.checksum)
        self.book_id = book_id

    def _set(self, bids: Rows, asks: Rows, expected: int | None) -> None:
        try:
            self.bids.apply(bids)
            self.asks.apply(asks)
        except (ValueError, TypeError) as error:
            raise FrameInvalid(f"book level: {error}") from error
        self.bids.cut(self._depth)
        self.asks.cut(self._depth)
        if expected is not None:
            found = checksum(self.asks.top(CHECKED_LEVELS), self.bids.top(CHECKED_LEVELS))
            if found != expected:
                raise FrameInvalid(f"checksum {expected} of the venue, {found} of the book")
        bid, ask = self.bids.best(), self.asks.best()
        if bid is not None and ask is not None and bid >= ask:
            raise FrameInvalid(f"book crossed after update: bid {bid}, ask {ask} (1e-12)")

    def touch(self) -> tuple[str, str, str, str] | None:
        """Return bid, its quantity, ask, its quantity; None while a side is empty."""
        bids, asks = self.bids.top(1), self.asks.top(1)
        return (*bids[0], *asks[0]) if bids and asks else None

    def is_beyond_edge(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
        """Return False: every level within the depth is known, and no others are kept."""
        return False

    def reaches(self, low: int, high: int) -> tuple[bool, bool]:
        """Return whether all bids from `low` up, and all asks up to `high`, are kept."""
        return self.bids.reaches(low, self._depth), self.asks.reaches(high, self._depth)


class KrakenKeeper:
    """Keeper of one symbol's book: begun by a snapshot on the stream, ended by a wrong checksum.

    Updates between a loss and the next snapshot are worthless: the snapshot includes them.

    Args:
        depth: As subscribed.
    """

    def __init__(self, depth: int) -> None:
        if depth not in DEPTHS:
            raise ValueError(f"depth {depth}: expected one of {DEPTHS}")
        self.book: KrakenBook | None = None
        self.is_refreshing = False
        self._depth = depth
        self._messages = 0

    @property
    def wants_snapshot(self) -> bool:
        """Return True while the symbol has to be subscribed again."""
        return self.book is None or self.is_refreshing

    def on_diff(self, diff: Diff) -> str:
        """Take one diff and return BUFFERED (there is no book) or APPLIED.

        Raises:
            FrameInvalid: The diff is contradictory, or the checksum differs; the book is lost.
        """
        if self.book is None:
            return BUFFERED
        self._messages += 1
        try:
            if diff.checksum is None:
                raise FrameInvalid("update without a checksum")
            self.book.apply(diff, self._messages)
        except FrameInvalid:
            self.reset()
            raise
        return APPLIED

    def on_snapshot(self, snapshot: Snapshot) -> str:
        """Take a snapshot, also an unrequested one, and return SYNCED.

        Raises:
            FrameInvalid: It is contradictory, or its checksum differs; there is no book.
        """
        self._messages += 1
        self.reset()
        self.book = KrakenBook(self._depth, self._messages, snapshot)
        return SYNCED

    def refresh(self) -> None:
        """Mark the book as in want of a new snapshot; the valid one goes on."""
        self.is_refreshing = self.book is not None

    def reset(self) -> None:
        """Discard the book."""
        self.book, self.is_refreshing = None, False
