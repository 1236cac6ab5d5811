"""Ladder: how a position is left in parts, half of it first, then three tenths, then the rest."""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import Bounds
from minibot.events.money import cost_up

FIRST_PERCENT: Final = 50
SECOND_PERCENT: Final = 30
WHOLE_PERCENT: Final = 100

Parts = tuple[int, int, int]
"""Quantities of the first part, the second and the rest."""


def parts_of(original: int, bounds: Bounds, prices: tuple[int, int, int]) -> Parts:
    """Return the parts of a quantity in whole steps; together they are all of its whole steps.

    The first two parts are rounded down. From the last one on, a part too small to sell joins the
    part before it; a first part that is too small even so joins the next one that is left.

    Args:
        original: All that was bought.
        bounds: The venue's, of a sale.
        prices: Those that value each part: both rungs, and for the rest the hard stop.
    """
    step = bounds.qty_step
    whole = original // step * step
    first = whole * FIRST_PERCENT // WHOLE_PERCENT // step * step
    second = whole * SECOND_PERCENT // WHOLE_PERCENT // step * step
    rest = whole - first - second
    if is_too_small(rest, bounds, prices[2]):
        second, rest = second + rest, 0
    if is_too_small(second, bounds, prices[1]):
        first, second = first + second, 0
    if is_too_small(first, bounds, prices[0]):
        if second:
            return 0, first + second, rest
        return 0, 0, first + rest
    return first, second, rest


def is_too_small(qty: int, bounds: Bounds, price: int) -> bool:
    """Return whether a quantity is less than the venue takes at a price."""
    return qty <= 0 or qty < bounds.qty_min or cost_up(qty, price) < bounds.notional_min
