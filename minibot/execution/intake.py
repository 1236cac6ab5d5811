"""Intake of intents as orders: every basic field is checked again, whatever risk decided.

A business refusal is a value, the reason code, and the run goes on. An intent event without the two
causes that risk gives it means that it bypassed risk: the run stops.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import (
    LIMIT,
    MARKET,
    OCO,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    OrderRules,
)
from minibot.cores.messages import IntentMessage
from minibot.events.model import BUY, ENTRY, EXIT, SELL, Event
from minibot.events.reasons import (
    ORDER_TYPE_UNSUPPORTED,
    PRICE_INVALID,
    QTY_INVALID,
    SHORT_SALE,
    SOURCE_FORBIDDEN,
    WOULD_TRIGGER,
)
from minibot.execution.orders import FOK, GTC, IOC, MAKER_ONLY, Order
from minibot.kernel.errors import ContractError

SIDE_OF_PURPOSE: Final = {ENTRY: BUY, EXIT: SELL}
"""Spot is long or flat: an entry buys, an exit sells."""

TIMES_IN_FORCE: Final = frozenset({"", GTC, IOC, FOK})
"""The times in force of an intent; an empty one means GTC."""

TRIGGERS: Final = {
    STOP_LOSS: ((True, False, False),),
    "TAKE_PROFIT": ((False, True, False),),
    OCO: ((True, True, False), (True, True, True)),
    STOP_LOSS_LIMIT: ((True, False, True),),
    "TAKE_PROFIT_LIMIT": ((False, True, True),),
}
"""By type of a resting order, whether it has a stop, a target and a limit; an OCO has two forms."""

CAUSES_MIN: Final = 2
"""An intent names its risk_action, then the signal, tick or control event behind it."""


def require_lineage(event: Event) -> None:
    """Raise unless the intent names two different causes, as risk does.

    Only their number is checked here, before any trade. `verify --lineage` checks in the queues
    that they are an allowing risk_action and the event from which it follows.

    Raises:
        ContractError: STOP with SOURCE_FORBIDDEN.
    """
    causes = event.cause_ids or ()
    if len(set(causes)) < CAUSES_MIN:
        raise ContractError(
            "execution",
            SOURCE_FORBIDDEN,
            f"{event.type} {event.id}: expected a risk_action and its cause, found {len(causes)}",
        )


def field_refusal(intent: IntentMessage) -> str | None:
    """Return the reason code of an invalid field, or None.

    In a valid intent quantity, limit and triggers are above zero. The types with LIMIT in their
    name have a limit, an OCO may have one, other types have none. A resting order is a sale with
    the triggers of its type; its stop is below its target, and the limit of the stop at or below
    the stop. Only a STOP_LOSS may trail. A resting order and a LIMIT_MAKER have no time in force.
    """
    if intent.qty <= 0:
        return QTY_INVALID
    if intent.time_in_force not in TIMES_IN_FORCE:
        return ORDER_TYPE_UNSUPPORTED
    limit, stop, target = intent.limit, intent.stop, intent.target
    if stop is None and target is None:
        if intent.trail is not None:
            return ORDER_TYPE_UNSUPPORTED
        if limit is None and intent.order_type == MARKET:
            return None
        if intent.order_type == MAKER_ONLY:
            if intent.time_in_force:
                return ORDER_TYPE_UNSUPPORTED
        elif intent.order_type != LIMIT:
            return ORDER_TYPE_UNSUPPORTED
        return PRICE_INVALID if limit is None or limit <= 0 else None
    has = (stop is not None, target is not None, limit is not None)
    forms = TRIGGERS.get(intent.order_type, ())
    if has not in forms or (intent.trail is not None and not has[0]):
        return ORDER_TYPE_UNSUPPORTED
    if intent.trail is not None and intent.order_type != STOP_LOSS:
        return ORDER_TYPE_UNSUPPORTED
    if intent.time_in_force or intent.side != SELL:
        return ORDER_TYPE_UNSUPPORTED
    if limit is not None and (limit <= 0 or (stop is not None and limit > stop)):
        return PRICE_INVALID
    if (stop is not None and stop <= 0) or (target is not None and target <= 0):
        return PRICE_INVALID
    return PRICE_INVALID if stop is not None and target is not None and stop >= target else None


def trigger_refusal(order: IntentMessage, rules: OrderRules, last: int) -> str | None:
    """Return the reason code if the triggers of a sale are not allowed now, or None.

    Args:
        order: An intent with valid fields.
        rules: The venue's rules for its symbol.
        last: Price of the last trade, the bid before the first; 0 where no orders rest here.
    """
    for price in (order.stop, order.target):
        refusal = None if price is None else rules.trigger_refusal(price)
        if refusal is not None:
            return refusal
    if order.trail is not None:
        refusal = rules.trail_refusal(order.trail)
        if refusal is not None:
            return refusal
    if last and order.stop is not None and last <= order.stop:
        return WOULD_TRIGGER
    return WOULD_TRIGGER if last and order.target is not None and last >= order.target else None


def count_refusal(order: IntentMessage, others: list[Order], rules: OrderRules) -> str | None:
    """Return the reason code if a symbol has too many resting orders for one more, or None.

    An OCO counts as two orders and one list; both of its legs have a trigger, except a target that
    is a quote. A market order, also a triggered one, does not rest and is not counted.
    """
    legs = (order.stop is not None) + (order.target is not None)
    orders, algos, lists = max(1, legs), legs - is_quoted_pair(order), legs // 2
    for other in others:
        if other.symbol == order.symbol and (other.limit is not None or other.is_waiting):
            legs = (other.stop is not None) + (other.target is not None) if other.is_waiting else 0
            orders, lists = orders + max(1, legs), lists + legs // 2
            algos += legs - (other.stop_limit is not None)
    return rules.count_refusal(orders, algos, lists)


def is_quoted_pair(order: IntentMessage) -> bool:
    """Return whether an order is an OCO with a limit, whose target rests as a quote."""
    return order.order_type == OCO and order.limit is not None


def side_refusal(intent: IntentMessage) -> str:
    """Return the reason code for an intent whose side does not fit its purpose."""
    is_short = intent.purpose == ENTRY and intent.side == SELL
    return SHORT_SALE if is_short else ORDER_TYPE_UNSUPPORTED
