"""Distances of exits: shares of a price and multiples of the ATR, in whole price steps."""

from __future__ import annotations

from typing import Final, final

from minibot.events.decimals import decimal_text, div_up, parse_fixed, round_up
from minibot.events.money import PLACES, parse_rate
from minibot.events.unit_sizes import BPS

MULTIPLE_PLACES: Final = 4
MULTIPLE_UNIT: Final[int] = 10**MULTIPLE_PLACES
# A whole price in ten-thousandths of a basis point.
SHARE_UNIT: Final[int] = BPS * MULTIPLE_UNIT
NEVER: Final = 1 << 60
"""A price or time that is never reached."""


@final
class Distance:
    """A distance of the profile: a share of a price, a multiple of the ATR, or neither.

    Attributes:
        share: Share of the price in ten-thousandths of a basis point; None for none.
        multiple: Multiple of the ATR in ten-thousandths; None for none, or if a share is set.
    """

    __slots__ = ("multiple", "share")

    def __init__(self, bps: str | None, atr_mult: str | None) -> None:
        """Take both keys of the profile; if both are given, only the share counts."""
        self.share: int | None = None if bps is None else parse_rate(bps)
        self.multiple: int | None = None
        if bps is None and atr_mult is not None:
            self.multiple = parse_fixed(atr_mult, MULTIPLE_PLACES)

    @property
    def is_set(self) -> bool:
        """True if the profile gives a share or a multiple."""
        return self.share is not None or self.multiple is not None

    def of(self, price: int, atr: int | None, price_step: int) -> int | None:
        """Return the distance at a price, in whole steps; None if off or without the ATR."""
        if self.share is not None:
            return share_distance(price, self.share, price_step)
        if self.multiple is None or atr is None:
            return None
        return whole_distance(atr, self.multiple, price_step)


def exact_atr(atr: float) -> int:
    """Return an ATR in hundred-millionths, exactly as its decimal text."""
    return parse_fixed(decimal_text(atr, PLACES), PLACES)


def whole_distance(exact: int, multiple: int, price_step: int) -> int:
    """Return an ATR times a multiple as a price distance: whole steps, rounded up, at least one.

    Args:
        exact: The ATR in hundred-millionths of quote per base, not negative.
        multiple: In ten-thousandths.
        price_step: The venue's price step in hundred-millionths.
    """
    distance = round_up(div_up(exact * multiple, MULTIPLE_UNIT), price_step)
    return max(distance, price_step)


def share_distance(price: int, share: int, price_step: int) -> int:
    """Return a share of a price as a distance: whole steps, rounded up, at least one.

    Args:
        price: In hundred-millionths.
        share: In ten-thousandths of a basis point.
        price_step: The venue's price step in hundred-millionths.
    """
    distance = round_up(div_up(price * share, SHARE_UNIT), price_step)
    return max(distance, price_step)
