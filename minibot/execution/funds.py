"""Check that cash or position covers an order beside what open orders may still take."""

from __future__ import annotations

from minibot.accounting.order_rules import OrderRules
from minibot.accounting.portfolio import Portfolio
from minibot.events.model import BUY
from minibot.events.money import cost_up
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
    notional: int,
) -> str | None:
    """Return why an order is not covered, or None; exactly enough is covered.

    Args:
        portfolio: What is held.
        orders: The open orders, of all symbols.
        fees: A purchase sets the taker's fee aside too.
        rules: The symbol's; they name the quote asset that pays, and the largest position.
        side: BUY or SELL.
        qty: Ordered quantity.
        notional: What that costs at the limit, or at the touch for a market order.
    """
    if side == BUY:
        needed, bought = notional + fees.fee(notional, TAKER), 0
        for order in orders:
            if order.side == BUY:
                open_notional = cost_up(order.remaining, order.reserve_price)
                needed += open_notional + fees.fee(open_notional, TAKER)
                if order.symbol == rules.symbol:
                    bought += order.remaining
        if rules.position_max is not None:
            refusal = rules.position_refusal(qty, portfolio.position_qty(rules.symbol) + bought)
            if refusal is not None:
                return refusal
        return INSUFFICIENT_CASH if needed > portfolio.balances.get(rules.quote_asset, 0) else None
    promised = qty
    for order in orders:
        if order.side != BUY and order.symbol == rules.symbol:
            promised += order.remaining
    return SHORT_SALE if promised > portfolio.position_qty(rules.symbol) else None
