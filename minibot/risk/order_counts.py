"""Order counts: the venue's bounds on how many orders of a symbol may rest.

An OCO counts as two orders and one list. Both of its legs have a trigger, unless the stop has a
limit: then the target is a quote without a trigger. A market order, also a triggered one, does not
rest. The executor counts again (`execution.intake`), as its orders may be ahead of risk's.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import OrderRules
from minibot.events.reasons import ALGO_ORDERS_MAX, ORDER_LISTS_MAX, ORDERS_MAX
from minibot.risk.checks import SKIPPED, Gate, Row
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
    """Return the checks of the venue's order counts for an order that is to rest.

    Args:
        state: The state.
        market: The market of the order.
        rules: The venue's rules for the symbol; without a bound there is no check.
        algos: Number of its legs that wait for a trigger: 0 for a quote, 2 for an OCO.
        former: The resting order that it replaces.
        quotes: Number of these legs that are quotes, without a trigger.
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
        (OPEN_ORDERS, SKIPPED if orders_max is None else orders, orders_max or 0),
        (ALGO_ORDERS, SKIPPED if algos_max is None else algos, algos_max or 0),
        (ORDER_LISTS, SKIPPED if lists_max is None else lists, lists_max or 0),
    )


def _most(rules: OrderRules | None) -> tuple[int | None, int | None, int | None]:
    if rules is None:
        return None, None, None
    return rules.orders_max, rules.algo_orders_max, rules.order_lists_max
