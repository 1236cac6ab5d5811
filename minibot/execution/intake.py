"""Whether an intent becomes an order: every base field is judged again, whatever risk said.

A business no is a value, the reason code. Only an intent that names no allowing `risk_action` is
no business: somebody went round risk, and the run stops.
"""

from __future__ import annotations

from typing import Final, final

from minibot.events.messages import IntentMessage
from minibot.events.model import BUY, SELL, Event, OrderIntent
from minibot.events.native import mypyc_attr
from minibot.events.order_rules import LIMIT, MARKET, OrderRules
from minibot.events.reasons import (
    NO_INSTRUMENT,
    NO_MARK,
    NOT_TRADING,
    ORDER_TYPE_UNSUPPORTED,
    PRICE_INVALID,
    QTY_INVALID,
    SHORT_SALE,
    SOURCE_FORBIDDEN,
    STALE_TICK,
    SYMBOL_UNKNOWN,
)
from minibot.execution.fills import Touch
from minibot.execution.orders import FOK, GTC, IOC
from minibot.kernel.errors import ContractError

ENTRY: Final = "ENTRY"
EXIT: Final = "EXIT"
SIDE_OF_PURPOSE: Final = {ENTRY: BUY, EXIT: SELL}
"""Spot is long or flat: an entry buys, an exit sells."""

CAUSES_MIN: Final = 2
"""An intent names its risk_action, then the signal, tick or control event behind it."""


@mypyc_attr(acyclic=True)
@final
class Wish:
    """An intent in numbers: quantity above zero, limit above zero or None."""

    __slots__ = ("limit", "qty", "time_in_force")

    def __init__(self, qty: int, limit: int | None, time_in_force: str) -> None:
        self.qty: int = qty
        self.limit: int | None = limit
        self.time_in_force: str = time_in_force


def require_lineage(event: Event) -> None:
    """Raise unless the intent names an allowing risk_action and its cause.

    Which event the ids stand for is seen in the queues (`verify --lineage`); that both are there
    and differ is seen here, before anything is traded.

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


def read_wish(intent: OrderIntent) -> Wish | str:
    """Return the intent in numbers, or the reason code of a field that makes no sense."""
    event = Event(0, "", "", "", "", intent)
    return wish_of(IntentMessage.of(intent, event))


def wish_of(intent: IntentMessage) -> Wish | str:
    """Return what an intent wants, or the reason code of a field that makes no sense."""
    if intent.qty <= 0:
        return QTY_INVALID
    time_in_force = intent.time_in_force or GTC
    if time_in_force not in (GTC, IOC, FOK):
        return ORDER_TYPE_UNSUPPORTED
    limit = intent.limit
    if intent.order_type == MARKET and limit is None:
        return Wish(intent.qty, None, time_in_force)
    if intent.order_type != LIMIT:
        return ORDER_TYPE_UNSUPPORTED
    if limit is None or limit <= 0:
        return PRICE_INVALID
    return Wish(intent.qty, limit, time_in_force)


def side_refusal(intent: IntentMessage) -> str | None:
    """Return why side and purpose do not go together, or None."""
    if intent.side not in (BUY, SELL) or intent.purpose not in SIDE_OF_PURPOSE:
        return ORDER_TYPE_UNSUPPORTED
    if SIDE_OF_PURPOSE[intent.purpose] == intent.side:
        return None
    return SHORT_SALE if intent.side == SELL else ORDER_TYPE_UNSUPPORTED


def market_refusal(
    rules: OrderRules | None,
    touch: Touch | None,
    symbol_is_known: bool,
    tick_age_ms: int,
    tick_age_ms_max: int,
) -> str | None:
    """Return why the symbol cannot be traded now, or None; an age at the limit passes."""
    if not symbol_is_known:
        return SYMBOL_UNKNOWN
    if rules is None:
        return NO_INSTRUMENT
    if not rules.is_trading:
        return NOT_TRADING
    if touch is None or not touch.is_usable:
        return NO_MARK
    return STALE_TICK if tick_age_ms > tick_age_ms_max else None


def filter_refusal(
    intent: IntentMessage, wish: Wish, rules: OrderRules, touch: Touch, reference: int
) -> str | None:
    """Return which filter of the venue the order fails, or None.

    Args:
        intent: What is asked for.
        wish: The same in numbers.
        rules: The symbol's.
        touch: Its last one.
        reference: What the percent bands of a limit price are multiples of.
    """
    refusal = rules.qty_refusal(wish.qty, intent.order_type)
    if refusal is not None:
        return refusal
    if wish.limit is not None:
        refusal = rules.limit_refusal(intent.side, wish.limit, reference)
        if refusal is not None:
            return refusal
    price = touch.price(intent.side) if wish.limit is None else wish.limit
    return rules.notional_refusal(wish.qty, price, intent.order_type)
