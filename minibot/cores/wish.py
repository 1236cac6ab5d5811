"""Wish of a strategy: size, limit and levels given with its signal; risk may only narrow it."""

from __future__ import annotations

from typing import final

from minibot.events.decimals import mul_div_down
from minibot.events.money import qty_for
from minibot.events.native import mypyc_attr
from minibot.events.unit_sizes import BPS


@mypyc_attr(acyclic=True)
@final
class Wish:
    """Bounds on the size of an order, all of which apply, and levels of a position.

    Attributes:
        notional: Quote amount in hundred-millionths that an entry may cost, or that a sale is to
            bring at the bid; 0 for none.
        share_bps: Share in basis points: of the largest exposure for an entry, of the position for
            a sale; 0 for none. The largest exposure is the lesser of the shares of equity
            `risk.exposure_ratio_max_bps` and `bucket_active_bps`, if that is set.
        qty: Quantity of a sale in hundred-millionths; 0 for none.
        stop, target: Prices in hundred-millionths; 0 for none.
        trail: Distance of a stop below the highest bid in hundred-millionths of quote; 0 for none.
        trail_bps: The same in ten-thousandths of a basis point of that bid.
        trail_atr: The same in ten-thousandths of the ATR; at most one of the three is above 0.
        limit: Price in hundred-millionths at which an entry rests; 0 for one at the market.
    """

    __slots__ = (
        *("limit", "notional", "qty", "share_bps", "stop", "target"),
        *("trail", "trail_atr", "trail_bps"),
    )

    def __init__(
        self,
        notional: int = 0,
        share_bps: int = 0,
        stop: int = 0,
        target: int = 0,
        trail: int = 0,
        trail_bps: int = 0,
        trail_atr: int = 0,
        limit: int = 0,
        qty: int = 0,
    ) -> None:
        """Take the wanted values, of which at least one is above zero."""
        self.notional: int = notional
        self.share_bps: int = share_bps
        self.stop: int = stop
        self.target: int = target
        self.trail: int = trail
        self.trail_bps: int = trail_bps
        self.trail_atr: int = trail_atr
        self.limit: int = limit
        self.qty: int = qty

    @property
    def has_size(self) -> bool:
        """True if it bounds the size of an entry."""
        return self.notional > 0 or self.share_bps > 0

    @property
    def has_trail(self) -> bool:
        """True if it wants a stop that follows the bid."""
        return self.trail > 0 or self.trail_bps > 0 or self.trail_atr > 0

    @property
    def has_levels(self) -> bool:
        """True if it names a level of the position."""
        return self.stop > 0 or self.target > 0 or self.has_trail

    def qty_of(self, held: int, bid: int) -> int:
        """Return the wanted quantity of a sale: the least of the parts it names, 0 without one.

        Args:
            held: Quantity of the position in hundred-millionths; the result may be above it.
            bid: Price at which `notional` is valued, in hundred-millionths; above 0.
        """
        parts: list[int] = []
        if self.share_bps:
            parts.append(mul_div_down(held, self.share_bps, BPS))
        if self.notional:
            parts.append(qty_for(self.notional, bid))
        if self.qty:
            parts.append(self.qty)
        return min(parts, default=0)

    def values(self) -> tuple[int, ...]:
        """Return all values, in the order of the constructor."""
        return (
            *(self.notional, self.share_bps, self.stop, self.target),
            *(self.trail, self.trail_bps, self.trail_atr, self.limit, self.qty),
        )
