"""Prices of consecutive trades, for a strategy that answers each by price alone (`on_price`)."""

from __future__ import annotations

from minibot.cores.protocol import ShownTick
from minibot.strategies.tick import Tick


class Prices(ShownTick):
    """Consecutive trades of one symbol; a base class for sources with trades in columns.

    Only the strategy's answers happen between them. The core takes one price after another;
    `fill_tick` fills in the rest of the last trade taken when it is needed.

    Attributes:
        cells: The prices as cells of floats, for `float_at`.
        first, last: Beginning and end of the trades not taken yet, in bytes.
        at: Offset of the last trade taken.
        tick: The core's own tick of the symbol.
        ts: Market time at which the strategy takes the trade that fills the tick, ms.
        line: Line of that trade.
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
