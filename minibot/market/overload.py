"""Overload rule: when messages come faster than events can be written, only quotes are dropped.

Every frame is still read, judged and counted: books take every diff and are compared with every
quote, bars take every trade, and every trade makes its tick, with the touch at its own moment. Of
the best quotes of one symbol that were taken together, the last makes a tick, and the first too
where there was no touch before it; the others are counted (`quotes_coalesced`). Beginning and end
are incidents. Nothing is ever discarded unread: when even this is too slow, readers wait, the
venue's side of the socket fills, and messages that the venue then drops show as gaps in the ids of
trades and updates.
"""

from __future__ import annotations

from typing import Final

from minibot.market.feed import Feed
from minibot.market.notices import OVERLOAD_ENDED, OVERLOADED

# Messages behind those just taken: two more writes, some 100 ms of work. A socket's buffer holds
# more than that nearly everywhere (Linux: 6 MB at most), so the limit is reached even where a
# reader gets too little CPU to bring the messages here.
OVERLOAD_FROM: Final = 8192
# Less than one write is waiting: the load is manageable again.
OVERLOAD_UNTIL: Final = 4096


class Overload:
    """Switch of the overload rule, by the number of waiting messages.

    Args:
        feed: Applies the rule while it is on.
        waiting_from: Turn it on from this many waiting messages.
        waiting_until: Turn it off below this many.
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
        """Check the number of waiting messages, also those unread in sockets, before deciding."""
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
