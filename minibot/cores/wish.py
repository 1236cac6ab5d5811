"""Wish of a strategy about an entry: its size and its own levels; risk only narrows it."""

from __future__ import annotations

from typing import final

from minibot.events.native import mypyc_attr


@mypyc_attr(acyclic=True)
@final
class Wish:
    """Bounds on the cost of an entry, of which both hold, and levels of its position.

    Attributes:
        notional: Quote amount in hundred-millionths; 0 for none.
        share_bps: Share in basis points of what positions may take together; 0 for none.
        stop, target: Prices in hundred-millionths; 0 for none.
    """

    __slots__ = ("notional", "share_bps", "stop", "target")

    def __init__(self, notional: int, share_bps: int, stop: int = 0, target: int = 0) -> None:
        """Take bounds and levels, of which at least one is above zero."""
        self.notional: int = notional
        self.share_bps: int = share_bps
        self.stop: int = stop
        self.target: int = target

    @property
    def has_size(self) -> bool:
        """True where it bounds the cost."""
        return self.notional > 0 or self.share_bps > 0
