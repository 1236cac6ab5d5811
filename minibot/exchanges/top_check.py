"""Continuous check of a book: its top has to equal the venue's own stream of best quotes."""

from __future__ import annotations

from collections import deque
from typing import Final

from minibot.exchanges.base import Quote

WAITING_MAX: Final = 4096
# Real recordings show single disagreements (2 in 6,492); a wrong book disagrees every time.
MISMATCHES_MAX: Final = 5

Top = tuple[str, str, str, str]
"""Bid, its quantity, ask, its quantity."""


class TopCheck:
    """Comparison of the top of the book after each diff with the stream of best quotes.

    After the diff ending at update X the top has to equal the latest quote whose update is not
    newer than X. Quotes run ahead of diffs or behind them, so both wait for each other: a quote is
    known to be the latest one only once a quote newer than X has come.
    """

    def __init__(self) -> None:
        self.checks = 0
        self.mismatches = 0
        self.in_row = 0
        self._quotes: deque[Quote] = deque(maxlen=WAITING_MAX)
        self._tops: deque[tuple[int, Top]] = deque(maxlen=WAITING_MAX)

    def __len__(self) -> int:
        """Return the number of waiting quotes."""
        return len(self._quotes)

    def on_book(self, book_id: int, top: Top) -> None:
        """Note the top of the book after a diff."""
        self._tops.append((book_id, top))
        self._settle()

    def on_quote(self, quote: Quote) -> None:
        """Take a quote."""
        self._quotes.append(quote)
        if self._tops:
            self._settle()

    def _settle(self) -> None:
        quotes, tops = self._quotes, self._tops
        while tops:
            book_id, top = tops[0]
            while len(quotes) > 1 and quotes[1].update_id <= book_id:
                quotes.popleft()
            if not quotes or quotes[-1].update_id <= book_id:
                return
            tops.popleft()
            quote = quotes[0]
            if quote.update_id <= book_id:
                self._compare(top, quote)

    def _compare(self, top: Top, quote: Quote) -> None:
        self.checks += 1
        if top == (quote.bid, quote.bid_qty, quote.ask, quote.ask_qty):
            self.in_row = 0
            return
        self.mismatches += 1
        self.in_row += 1

    def forget(self) -> None:
        """Start over after a break: nothing is compared across it."""
        self.in_row = 0
        self._quotes.clear()
        self._tops.clear()
