"""Resting orders and dust besides open positions, as a STOP or an end lists them."""

from __future__ import annotations

from minibot.accounting.order_rules import OrderRules
from minibot.events.money import amount_text, parse_amount


def with_resting(
    position: dict[str, str], qty: int, stop: int | None, target: int | None
) -> dict[str, str]:
    """Return a listed position with the order that rests for it.

    Args:
        position: As `Portfolio.open_positions` lists it.
        qty: How much of it the order sells, in hundred-millionths.
        stop: A trade here or below triggers the order; None for no stop.
        target: A trade here or above triggers it; None for no target.
    """
    fields = {"resting_qty": amount_text(qty)}
    if stop is not None:
        fields["resting_stop"] = amount_text(stop)
    if target is not None:
        fields["resting_target"] = amount_text(target)
    return position | fields


def with_dust(position: dict[str, str], rules: OrderRules) -> dict[str, str]:
    """Return a listed position, named dust where it is below the least quantity of an order."""
    qty = position["qty"]
    if parse_amount(qty) >= rules.market_bounds.qty_least:
        return position
    return position | {"dust_qty": qty}
