"""How far trades print from the best quote of their own stream: a third witness of one symbol.

Quote and trade of one moment come on two streams, and a fast market prints a little outside of the
touch that was read before. Prints that lie far off it one after the other mean that one of both
streams tells of another time, or of another market, although both are alive. Pure.
"""

from __future__ import annotations

from typing import Final

from minibot.events.unit_sizes import BPS
from minibot.exchanges.base import Quote, Trade

# Ten times what liquid symbols trade through in one breath; below what a stop or target is worth.
OFF_BPS: Final = 50
# One print may be a sweep through a thin book; five are no sweep of the same touch.
IN_ROW: Final = 5


class PrintDrift:
    """Counts trades that print off the touch, and says when they go on doing so."""

    def __init__(self) -> None:
        self.off = 0
        self._in_row = 0

    def is_told(self, trade: Trade, quote: Quote) -> bool:
        """Take a trade beside the quote before it; True once, when so many in a row are off."""
        price = trade.price_units
        bid, ask = quote.bid_units, quote.ask_units
        if bid <= price <= ask:
            self._in_row = 0
            return False
        distance = bid - price if price < bid else price - ask
        if distance * BPS <= OFF_BPS * price:
            self._in_row = 0
            return False
        self.off += 1
        self._in_row += 1
        return self._in_row == IN_ROW
