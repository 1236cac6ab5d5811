"""What risk says: a judged action, and the intent that an action allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from minibot.events.ids import derive_id
from minibot.events.model import Check, Draft, Event, OrderIntent, RiskAction
from minibot.events.order_rules import MARKET
from minibot.events.reasons import RISK_LIMIT
from minibot.risk.budgets import breach
from minibot.risk.positions import SentOrder
from minibot.risk.situation import Situation

RISK_ACTIONS: Final = "risk_actions"
ORDER_INTENTS: Final = "order_intents"
ORDER_ROLE: Final = "risk_role/client_order"
"""Stands where ids of drafts name a role, so that no client order id equals an event's id."""

ALLOW: Final = "ALLOW"
BLOCK: Final = "BLOCK"
REDUCE: Final = "REDUCE"
EXIT: Final = "EXIT"
STOP: Final = "STOP"
ENTRY: Final = "ENTRY"


@dataclass(frozen=True, slots=True)
class Cause:
    """Because of which event something is said, and to which tick that goes back."""

    event: Event
    tick_seq: int | None
    signal_id: str | None = None

    @classmethod
    def of_signal(cls, event: Event) -> Cause:
        """Return a signal as the cause."""
        return cls(event, event.tick_seq, event.id)


def action(
    situation: Situation,
    kind: str,
    reason: str,
    symbol: str,
    checks: Sequence[Check],
    cause: Cause,
) -> Draft:
    """Return a `risk_action` with its checks, profile and headroom."""
    situation.reason = reason
    payload = RiskAction(
        action=kind,
        reason_code=reason,
        symbol=symbol,
        signal_id=cause.signal_id,
        checks=tuple(checks),
        profile=situation.limits.profile,
        headroom=situation.headroom(symbol),
    )
    return Draft(RISK_ACTIONS, payload, cause.event.ts, (cause.event.id,), cause.tick_seq)


def stop(situation: Situation, breaches: Sequence[Check], symbol: str, cause: Cause) -> Draft:
    """Return the `risk_action` STOP of exceeded hard limits; the core says nothing after it."""
    situation.is_stopped = True
    return action(situation, STOP, RISK_LIMIT, symbol, breaches, cause)


def intent(
    situation: Situation,
    order: SentOrder,
    purpose: str,
    cause: Cause,
    action_ordinal: int,
) -> Draft:
    """Return the `order_intent` that draft `action_ordinal` of this step allows; it counts as sent.

    Args:
        situation: The state, in which the order is remembered and counted.
        order: What is sent; see `new_order`.
        purpose: ENTRY or EXIT.
        cause: The signal, tick or control event.
        action_ordinal: Place of the allowing `risk_action` among the drafts of this step.
    """
    event = cause.event
    payload = OrderIntent(
        symbol=order.symbol,
        side=order.side,
        qty=situation.positions.rules[order.symbol].qty_text(order.qty),
        order_type=MARKET,
        client_order_id=order.client_order_id,
        purpose=purpose,
        expires_ts=event.ts + situation.limits.intent_ttl_ms,
    )
    situation.positions.on_sent(order)
    situation.budgets.on_order(situation.now)
    return Draft(ORDER_INTENTS, payload, event.ts, (action_ordinal, event.id), cause.tick_seq)


def new_order(
    cause: Cause, action_ordinal: int, symbol: str, side: str, qty: int, price: int
) -> SentOrder:
    """Return an order whose id derives from its cause and its place in the step."""
    client_order_id = derive_id(cause.event.run_id, ORDER_ROLE, cause.event.id, action_ordinal)
    return SentOrder(client_order_id, symbol, side, qty, price)


def rate_breaches(situation: Situation) -> list[Check]:
    """Return a failed check if one more order would exceed the hard order rate."""
    rate, value = situation.limits.order_rate, situation.budgets.orders(situation.now) + 1
    return [breach(rate, value)] if rate.is_breached(value) else []
