"""What happens when more comes than can be written: newest best quote wins, trades all stay.

Every frame is still read, judged and counted: books take every diff and are held against every
quote, bars take every trade, and every trade makes its tick, which carries the touch of its own
moment. Only of the best quotes of one symbol that were taken together the last one alone makes a
tick; the others are counted (`quotes_coalesced`). Beginning and end are incidents. Nothing is ever
thrown away unread: when even this is too slow, readers wait, the venue's side of the socket fills,
and what the venue then drops shows as a gap in the ids of trades and updates.
"""

from __future__ import annotations

from typing import Final

from minibot.market.feed import Feed
from minibot.market.notices import OVERLOAD_ENDED, OVERLOADED

# Messages that wait behind those just taken: two more writes, some 100 ms of work. A socket's
# buffer holds more of them nearly everywhere (Linux: 6 MB at most), so that this is reached even
# where a reader gets too little of its core to bring them here.
OVERLOAD_FROM: Final = 8192
# Less than one write waits: what comes can be written again.
OVERLOAD_UNTIL: Final = 4096


class Overload:
    """Switches the rule on and off by what waits.

    Args:
        feed: Follows the rule while it is on.
        waiting_from: From so many waiting messages on it is on.
        waiting_until: Below so many it is off again.
    """

    def __init__(
        self,
        feed: Feed,
        waiting_from: int = OVERLOAD_FROM,
        waiting_until: int = OVERLOAD_UNTIL,
    ) -> None:
        self._feed = feed
        self._from = waiting_from
        self._until = waiting_until
        self._since_ms = 0
        self._before = 0

    def look(self, waiting: int, now_ms: int) -> None:
        """Judge what waits, here and unread in sockets, before the next messages are decided on."""
        feed = self._feed
        if feed.is_coalescing:
            if waiting < self._until:
                self._end(now_ms)
        elif waiting >= self._from:
            feed.is_coalescing = True
            self._since_ms, self._before = now_ms, feed.quotes_coalesced
            detail = (
                f"{waiting} messages wait: of best quotes that come together only the newest makes "
                "a tick; every trade and every update of a book is taken"
            )
            feed.board.add(now_ms, OVERLOADED, detail)

    def _end(self, now_ms: int) -> None:
        feed = self._feed
        feed.is_coalescing = False
        count = feed.quotes_coalesced - self._before
        detail = f"{count} best quotes made no tick within {now_ms - self._since_ms} ms"
        feed.board.add(now_ms, OVERLOAD_ENDED, detail)
