"""Whether cash or position covers an order on top of what open orders may still take."""

from __future__ import annotations

from minibot.events.model import BUY
from minibot.events.money import cost_up
from minibot.events.order_rules import OrderRules
from minibot.events.portfolio import Portfolio
from minibot.events.reasons import INSUFFICIENT_CASH, SHORT_SALE
from minibot.execution.fees import TAKER, FeeRates
from minibot.execution.orders import Order


def funds_refusal(
    portfolio: Portfolio,
    orders: list[Order],
    fees: FeeRates,
    rules: OrderRules,
    side: str,
    qty: int,
    price: int,
) -> str | None:
    """Return why an order is not covered, or None; what it needs exactly is enough.

    Args:
        portfolio: What is held.
        orders: The open orders, of all symbols.
        fees: A purchase sets the taker's fee aside too.
        rules: The symbol's; they name the quote asset that pays, and the largest position.
        side: BUY or SELL.
        qty: Ordered quantity.
        price: The limit, or the touch for a market order.
    """
    if side == BUY:
        needed = cost_with_fee(fees, qty, price)
        held = portfolio.position_qty(rules.symbol)
        for order in orders:
            if order.side == BUY:
                needed += cost_with_fee(fees, order.remaining, order.reserve_price)
                if order.symbol == rules.symbol:
                    held += order.remaining
        refusal = rules.position_refusal(qty, held)
        if refusal is not None:
            return refusal
        return INSUFFICIENT_CASH if needed > portfolio.cash(rules.quote_asset) else None
    promised = qty
    for order in orders:
        if order.side != BUY and order.symbol == rules.symbol:
            promised += order.remaining
    return SHORT_SALE if promised > portfolio.position_qty(rules.symbol) else None


def cost_with_fee(fees: FeeRates, qty: int, price: int) -> int:
    """Return what a purchase costs with the fee of a taker, rounded up."""
    notional = cost_up(qty, price)
    return notional + fees.fee(notional, TAKER)
