"""Order counts: how many orders of a symbol may rest, by the venue's bounds of that symbol.

An OCO is two orders and one list; both have a trigger, but for a target that is a quote, beside a
stop with a limit. An order at the market, also a triggered one, does not rest. The executor counts
again (`execution.intake`): what it holds may differ from what risk has been told.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import OrderRules
from minibot.events.reasons import ALGO_ORDERS_MAX, ORDER_LISTS_MAX, ORDERS_MAX
from minibot.risk.checks import NOT_ASKED, Gate, Row
from minibot.risk.positions import Market, WorkingOrder
from minibot.risk.risk_state import RiskState

OPEN_ORDERS: Final = Gate("open_orders", ORDERS_MAX)
ALGO_ORDERS: Final = Gate("algo_orders", ALGO_ORDERS_MAX)
ORDER_LISTS: Final = Gate("order_lists", ORDER_LISTS_MAX)


def count_rows(
    state: RiskState,
    market: Market,
    rules: OrderRules | None,
    algos: int,
    former: WorkingOrder | None = None,
    quotes: int = 0,
) -> tuple[Row, ...]:
    """Return the venue's bounds on an order that is to rest, with those that rest already.

    Args:
        state: The state.
        market: Of the order.
        rules: The venue's, of its symbol; without a bound nothing is asked.
        algos: How many legs it has that wait: 0 for a quote, 2 for an OCO.
        former: The resting order in whose place it comes.
        quotes: How many of these legs are quotes, without a trigger.
    """
    orders, lists = max(1, algos), algos // 2
    algos -= quotes
    most = _most(rules)
    if most == (None, None, None):
        return ()
    for order in state.positions.orders:
        if order.market is not market or order is former or order.final_filled is not None:
            continue
        if order.rests:
            legs = (order.stop is not None) + (order.target is not None)
            orders, lists = orders + legs, lists + legs // 2
            algos += legs - order.has_quote
        elif (order.is_triggered and order.limit is not None) or state.quotes.of(order) is not None:
            orders += 1
    orders_max, algos_max, lists_max = most
    return (
        (OPEN_ORDERS, NOT_ASKED if orders_max is None else orders, orders_max or 0),
        (ALGO_ORDERS, NOT_ASKED if algos_max is None else algos, algos_max or 0),
        (ORDER_LISTS, NOT_ASKED if lists_max is None else lists, lists_max or 0),
    )


def _most(rules: OrderRules | None) -> tuple[int | None, int | None, int | None]:
    if rules is None:
        return None, None, None
    return rules.orders_max, rules.algo_orders_max, rules.order_lists_max
