"""Ladder: a position sold in three parts, half of it first, then three tenths, then the rest."""

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
    """Return the parts of a quantity in whole steps; their sum is the quantity in whole steps.

    The first two parts are rounded down. A rest too small to sell joins the second part, and a
    second part too small joins the first. A first part still too small joins the next that is not
    empty.

    Args:
        original: Total quantity bought.
        bounds: The venue's bounds on an order at the market.
        prices: The prices that value the parts: lower rung, upper rung, hard stop.
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
    """Return whether a quantity at a price is below the venue's minimum quantity or notional."""
    return qty <= 0 or qty < bounds.qty_min or cost_up(qty, price) < bounds.notional_min
