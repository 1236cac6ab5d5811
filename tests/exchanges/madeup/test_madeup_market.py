"""Market of the made-up venue: what its nights rely on."""

from __future__ import annotations

from minibot.exchanges.base import Rows
from tests.exchanges.madeup.server import Market
from tests.exchanges.madeup.venue import BookSide, checksum


def test_missed_update_always_shows_in_the_next_checksum() -> None:
    """A night waits for the loss of a book; an update that sets the same levels again hid it."""
    market, hidden = Market("btc:usdt", 120_000, 0), []
    for missed in range(2_000):
        books = [BookSide(is_bid=True), BookSide(is_bid=False)]
        levels: list[Rows] = [[[*row] for row in s.items()] for s in (market.bids, market.asks)]
        for side, rows in zip(books, levels, strict=True):
            side.apply(rows)
        market.rows()
        if missed % 3 == 0:
            market.trade(0)
        for side, rows in zip(books, market.rows(), strict=True):
            side.apply(rows)
        if checksum(books[0].top(10), books[1].top(10)) == market.sum():
            hidden.append(missed)

    assert hidden == []
