"""Intake of intents as orders: every base field is checked again, whatever risk decided.

A refusal for the sake of business is a value, the reason code, and the run goes on. An intent event
without the two causes that risk gives it is no such case: somebody went round risk, and the run
stops.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import LIMIT, MARKET
from minibot.cores.messages import IntentMessage
from minibot.events.model import BUY, ENTRY, EXIT, SELL, Event
from minibot.events.reasons import (
    ORDER_TYPE_UNSUPPORTED,
    PRICE_INVALID,
    QTY_INVALID,
    SHORT_SALE,
    SOURCE_FORBIDDEN,
)
from minibot.execution.orders import FOK, GTC, IOC
from minibot.kernel.errors import ContractError

SIDE_OF_PURPOSE: Final = {ENTRY: BUY, EXIT: SELL}
"""Spot is long or flat: an entry buys, an exit sells."""

TIMES_IN_FORCE: Final = frozenset({"", GTC, IOC, FOK})
"""None named is GTC."""

CAUSES_MIN: Final = 2
"""An intent names its risk_action, then the signal, tick or control event behind it."""


def require_lineage(event: Event) -> None:
    """Raise unless the intent names two different causes, as risk does.

    Their number is checked here, before anything is traded; that they are an allowing risk_action
    and the event behind it, is checked in the queues (`verify --lineage`).

    Raises:
        ContractError: STOP with SOURCE_FORBIDDEN.
    """
    causes = event.cause_ids or ()
    if len(set(causes)) < CAUSES_MIN:
        raise ContractError(
            "execution",
            SOURCE_FORBIDDEN,
            f"order_intent {event.id}: expected a risk_action and its cause, found {len(causes)}",
        )


def field_refusal(intent: IntentMessage) -> str | None:
    """Return the reason code of an invalid field, or None.

    After None the quantity is above zero, and so is the limit, which a LIMIT order has and a MARKET
    order has not.
    """
    if intent.qty <= 0:
        return QTY_INVALID
    if intent.time_in_force not in TIMES_IN_FORCE:
        return ORDER_TYPE_UNSUPPORTED
    limit = intent.limit
    if limit is None and intent.order_type == MARKET:
        return None
    if intent.order_type != LIMIT:
        return ORDER_TYPE_UNSUPPORTED
    return PRICE_INVALID if limit is None or limit <= 0 else None


def side_refusal(intent: IntentMessage) -> str:
    """Return why an intent is refused whose side is not that of its purpose."""
    is_short = intent.purpose == ENTRY and intent.side == SELL
    return SHORT_SALE if is_short else ORDER_TYPE_UNSUPPORTED
