"""Prices of trades in a row, for a strategy that answers each by its price alone (`on_price`)."""

from __future__ import annotations

from minibot.cores.protocol import ShownTick
from minibot.strategies.tick import Tick


class Prices(ShownTick):
    """Trades of one symbol in a row; a base class for whoever has them in columns.

    Nothing but the strategy's own answer happens between them. The core takes one price after the
    other; `fill_tick` works out the rest of the last one taken for those who ask.

    Attributes:
        cells: The prices, floats as `float_at` reads them.
        first, last: Where those begin that are not taken yet, and where they end, in bytes.
        at: Where the last one taken begins.
        tick: The core's own tick of the symbol.
        ts: Market time at which the strategy takes the one that fills the tick, ms.
        line: The number of its line.
    """

    __slots__ = ("at", "cells", "first", "last", "line", "tick")

    def __init__(self, tick: Tick) -> None:
        """Start without prices."""
        super().__init__()
        self.tick: Tick = tick
        self.cells: bytes = b""
        self.first: int = 0
        self.last: int = 0
        self.at: int = 0
        self.line: int = 0

    def fill_tick(self) -> None:
        """Fill the tick with the last trade taken."""
        raise NotImplementedError
