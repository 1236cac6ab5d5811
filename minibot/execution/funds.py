"""Funds: the check that they cover an order, and the free and reserved balance of each asset.

An open purchase reserves its remaining quantity at its reserve price, with the taker's fee if that
is paid in quote. An open sale reserves its remaining coins once, also an OCO with its two legs.
"""

from __future__ import annotations

from collections.abc import Mapping

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
    """Return the reason code if funds or the venue's largest position forbid an order, or None.

    Args:
        portfolio: Cash and holdings.
        orders: The open orders of all symbols.
        fees: Fee rates; a purchase also reserves the taker's fee.
        rules: The venue's rules for the symbol, with its quote asset and largest position.
        side: BUY or SELL.
        qty: Ordered quantity.
        notional: Cost of the quantity at the limit, or at the touch for a market order.
    """
    if side == BUY:
        needed, bought = fees.with_fee(notional, TAKER), 0
        for order in orders:
            if order.side == BUY:
                needed += _reserved_cash(order, fees)
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


def _reserved_cash(order: Order, fees: FeeRates) -> int:
    """Return the cash that an open purchase reserves."""
    return fees.with_fee(cost_up(order.remaining, order.reserve_price), TAKER)


def balances_of(
    portfolio: Portfolio, orders: list[Order], fees: FeeRates, rules: Mapping[str, OrderRules]
) -> dict[str, tuple[int, int]]:
    """Return the free and the reserved balance of each asset, sorted by asset.

    Their sum is the balance: at most the balance is reserved, even if the price of a purchase has
    risen.

    Args:
        portfolio: Cash and holdings.
        orders: The open orders of all symbols.
        fees: Fee rates of purchases.
        rules: By symbol; a holding without rules is free, and listed under its symbol.
    """
    totals, reserved = dict(portfolio.balances), dict.fromkeys(portfolio.balances, 0)
    for symbol in portfolio.symbols():
        known = rules.get(symbol)
        asset = symbol if known is None else known.base_asset
        totals[asset] = totals.get(asset, 0) + portfolio.position_qty(symbol)
    for order in orders:
        of = rules[order.symbol]
        if order.side == BUY:
            asset, amount = of.quote_asset, _reserved_cash(order, fees)
        else:
            asset, amount = of.base_asset, order.remaining
        reserved[asset] = reserved.get(asset, 0) + amount
    found: dict[str, tuple[int, int]] = {}
    for asset in sorted(totals):
        total = totals[asset]
        kept = min(total, reserved.get(asset, 0))
        found[asset] = (total - kept, kept)
    return found
