"""Distance of trade prints from the best quote of the same symbol: a third check of its streams.

Quote and trade of one moment come on two streams, and in a fast market trades print slightly
outside the touch that was read before. Consecutive prints far away from it mean that one of the two
streams is delayed or shows another market, although both are alive. Pure.
"""

from __future__ import annotations

from typing import Final

from minibot.events.unit_sizes import BPS
from minibot.exchanges.base import Quote, Trade

# Ten times what a burst in a liquid symbol trades through; less than a typical stop or target.
OFF_BPS: Final = 50
# One print may be a sweep through a thin book; five in a row are not.
IN_ROW: Final = 5


class PrintDrift:
    """Counter of consecutive trades that print away from the touch."""

    def __init__(self) -> None:
        self.off = 0
        self._in_row = 0

    def is_due(self, trade: Trade, quote: Quote) -> bool:
        """Compare a trade with the quote before it; True once, when enough in a row are off."""
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
