"""Wish of a strategy about the size of an entry; risk only narrows it."""

from __future__ import annotations

from typing import final

from minibot.events.native import mypyc_attr


@mypyc_attr(acyclic=True)
@final
class Wish:
    """Bounds on the cost of an entry; both hold where both are given.

    Attributes:
        notional: Quote amount in hundred-millionths; 0 for none.
        share_bps: Share in basis points of what positions may take together; 0 for none.
    """

    __slots__ = ("notional", "share_bps")

    def __init__(self, notional: int, share_bps: int) -> None:
        """Take both bounds, of which at least one is above zero."""
        self.notional: int = notional
        self.share_bps: int = share_bps
