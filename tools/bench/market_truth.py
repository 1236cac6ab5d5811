"""Contradictions within the recording: the venue's diffs against its own best quotes.

A role that compares its books with quotes must find exactly these contradictions, as far as it
gets. One more or one less means a wrong book or a missing comparison. A plain dictionary and a list
find them here, independent of the role.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import cache
from typing import Final

from tools.bench.market_frames import KINDS, Pieces, Recorded, read_recording

QUOTE: Final = "bookTicker"
DEPTH: Final = "depth"


class PlainSide:
    """One side of a book: quantities by price, and the best price."""

    def __init__(self, levels: list[list[str]], *, is_bid: bool) -> None:
        self._sign = 1 if is_bid else -1
        self._levels = {self._key(price): (price, qty) for price, qty in levels}
        self._best = max(self._levels)

    def _key(self, price: str) -> float:
        return self._sign * float(price)

    def take(self, rows: list[list[str]]) -> None:
        """Apply the levels of a diff."""
        for price, qty in rows:
            key = self._key(price)
            if float(qty):
                self._levels[key] = price, qty
                self._best = max(self._best, key)
            else:
                self._levels.pop(key, None)
        if self._best not in self._levels:
            self._best = max(self._levels)

    def top(self) -> tuple[str, str]:
        """Return the best price and its quantity, as text from the recording."""
        return self._levels[self._best]


def own_differences(recorded: Recorded) -> list[int]:
    """Return the places where the recording's quotes and diffs contradict each other.

    Each place is the index of the message that reveals the contradiction: the first quote newer
    than the diff. Only then is it certain which quote was the last one before the diff.
    """
    data = [(kind, json.loads(body)["data"]) for kind, body in recorded.messages]
    quotes = [(index, each) for index, (kind, each) in enumerate(data) if kind == QUOTE]
    ids = [each["u"] for _, each in quotes]
    snapshot = json.loads(recorded.snapshot)
    book_id = snapshot["lastUpdateId"]
    bids = PlainSide(snapshot["bids"], is_bid=True)
    asks = PlainSide(snapshot["asks"], is_bid=False)
    found = []
    for index, (kind, each) in enumerate(data):
        if kind != DEPTH or each["u"] <= book_id:
            continue
        bids.take(each["b"])
        asks.take(each["a"])
        book_id = each["u"]
        newer = bisect_right(ids, book_id)
        if not 0 < newer < len(ids):
            continue
        quote = quotes[newer - 1][1]
        if (*bids.top(), *asks.top()) != (quote["b"], quote["B"], quote["a"], quote["A"]):
            found.append(max(index, quotes[newer][0]))
    return found


def differences_sent(recorded: Recorded, symbols: int, sent: int, piece_bytes: int) -> int:
    """Return the number of contradictions in the first `sent` messages of the symbols."""
    pieces = Pieces(recorded, frozenset(KINDS), is_wrapped=True, piece_bytes=piece_bytes)
    left, found, begin, total = own_differences(recorded), 0, 0, 0
    for _, messages, _ in pieces.pieces:
        while left and left[0] < begin + messages:
            left.pop(0)
            # The symbols that received this piece: all, unless the sending ended within it.
            found += min(symbols, max(0, (sent - total) // messages))
        begin += messages
        total += messages * symbols
    return found


@cache
def expected_differences(symbols: int, sent: int, piece_bytes: int) -> int:
    """Return `differences_sent` of the recording that the flood server plays."""
    return differences_sent(read_recording(), symbols, sent, piece_bytes)
