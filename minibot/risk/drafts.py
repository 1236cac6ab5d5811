"""What risk says: a judged action, and the intent that an action allows."""

from __future__ import annotations

from typing import Final, final

from minibot.events.exact_tick import ExactTick
from minibot.events.messages import (
    ACTIONS,
    INTENTS,
    WRITERS,
    ActionMessage,
    IntentMessage,
    Message,
)
from minibot.events.model import BUY, Event, OrderIntent, Payload, RiskAction
from minibot.events.native import mypyc_attr
from minibot.events.order_rules import MARKET, OrderRules
from minibot.events.reasons import RISK_LIMIT
from minibot.events.reference import Ref, derived, named
from minibot.risk.checks import Checklist
from minibot.risk.headroom import Headroom
from minibot.risk.positions import sent_order
from minibot.risk.situation import Situation

ORDER_ROLE: Final = "risk_role/client_order"
"""Stands where ids of drafts name a role, so that no client order id equals an event's id."""

ALLOW: Final = "ALLOW"
BLOCK: Final = "BLOCK"
REDUCE: Final = "REDUCE"
EXIT: Final = "EXIT"
STOP: Final = "STOP"
ENTRY: Final = "ENTRY"


@mypyc_attr(acyclic=True)
@final
class Cause:
    """Because of which event something is said, and to which tick that goes back."""

    ref: Ref
    ts: int
    tick_seq: int | None
    signal: Ref | None

    @staticmethod
    def of_tick(tick: ExactTick, seq: int) -> Cause:
        """Return a tick, line `seq`, as the cause."""
        return because(tick.ref(seq), tick.ts, seq)

    @staticmethod
    def of_event(event: Event) -> Cause:
        """Return a fill or a control event as the cause."""
        return because(named(event.id, event.run_id), event.ts, event.tick_seq)

    def going_back_to(self, tick_seq: int) -> Cause:
        """Return the same cause, which goes back to another tick."""
        return because(self.ref, self.ts, tick_seq, self.signal)


def because(ref: Ref, ts: int, tick_seq: int | None, signal: Ref | None = None) -> Cause:
    """Return an event as a cause; `signal` is the same event where that is one."""
    cause = Cause()
    cause.ref = ref
    cause.ts = ts
    cause.tick_seq = tick_seq
    cause.signal = signal
    return cause


@mypyc_attr(acyclic=True)
@final
class Verdict(ActionMessage):
    """A `risk_action` with its checks, profile and headroom."""

    checks: Checklist
    signal: Ref | None
    left: Headroom

    def tells_headroom(self) -> bool:
        """Return whether it says what is left of each limit: always."""
        return True

    def headroom(self) -> dict[str, str] | None:
        """Return what is left of each limit."""
        return self.left.texts()

    def _written(self) -> Payload:
        return RiskAction(
            action=self.action,
            reason_code=self.reason_code,
            symbol=self.symbol,
            signal_id=None if self.signal is None else self.signal.text,
            checks=self.checks.written(),
            profile=self.left.limits.profile,
            headroom=self.left.texts(),
        )


@mypyc_attr(acyclic=True)
@final
class AllowedIntent(IntentMessage):
    """The `order_intent` behind a verdict."""

    rules: OrderRules

    def _written(self) -> Payload:
        return OrderIntent(
            symbol=self.symbol,
            side=self.side,
            qty=self.rules.qty_text(self.qty),
            order_type=self.order_type,
            client_order_id=self.client.text,
            purpose=self.purpose,
            expires_ts=self.expires_ts,
        )


def action(
    situation: Situation,
    kind: str,
    reason: str,
    symbol: str,
    checks: Checklist,
    cause: Cause,
    left: Headroom,
    ordinal: int = 0,
) -> Verdict:
    """Return a `risk_action`.

    Args:
        situation: The state.
        kind: What is done.
        reason: A reason code.
        symbol: The market.
        checks: What was judged.
        cause: The signal, tick or control event.
        left: What the decision looked at of each limit.
        ordinal: Its place among what this step says.
    """
    situation.reason = reason
    verdict = Verdict()
    verdict.place = ACTIONS
    verdict.ts = cause.ts
    verdict.tick_seq = cause.tick_seq
    verdict.cause = cause.ref
    verdict.symbol = symbol
    verdict.action = kind
    verdict.reason_code = reason
    verdict.ordinal = ordinal
    verdict.checks = checks
    verdict.signal = cause.signal
    verdict.left = left
    return verdict


def stop(situation: Situation, breaches: Checklist, symbol: str, cause: Cause) -> Verdict:
    """Return the `risk_action` STOP of exceeded hard limits; the core says nothing after it."""
    situation.is_stopped = True
    situation.budgets.midnight = 0  # No step goes by without asking any more.
    left = situation.headroom(symbol)
    return action(situation, STOP, RISK_LIMIT, symbol, breaches, cause, left)


def allow(
    situation: Situation,
    kind: str,
    reason: str,
    symbol: str,
    side: str,
    qty: int,
    price: int,
    checks: Checklist,
    cause: Cause,
    left: Headroom,
    ordinal: int = 0,
) -> list[Message]:
    """Return a `risk_action` and the `order_intent` that it allows, and count and keep the order.

    Args:
        situation: The state.
        kind: ALLOW, REDUCE or EXIT.
        reason: A reason code.
        symbol: The market.
        side: Of the market order.
        qty: How much.
        price: Of the side of the touch that it takes.
        checks: What was judged.
        cause: The signal, tick or control event.
        left: What the decision looked at of each limit.
        ordinal: Of the action among what this step says; the intent is the next.
    """
    positions = situation.positions
    allowed = action(situation, kind, reason, symbol, checks, cause, left, ordinal)
    client = derived(ORDER_ROLE, cause.ref, ordinal)
    positions.orders.append(sent_order(client, symbol, side, qty, price))
    situation.budgets.on_order(situation.now, left.orders)
    intent = AllowedIntent()
    intent.place = INTENTS
    intent.ts = cause.ts
    intent.tick_seq = cause.tick_seq
    intent.cause = cause.ref
    intent._ref = derived(WRITERS[INTENTS], cause.ref, ordinal + 1)  # Which the executor asks for.
    intent.symbol = symbol
    intent.side = side
    intent.purpose = ENTRY if side == BUY else EXIT
    intent.ordinal = ordinal + 1
    intent.behind = allowed
    intent.qty = qty
    intent.order_type = MARKET
    intent.limit = None
    intent.time_in_force = ""
    intent.client = client
    intent.expires_ts = cause.ts + situation.limits.intent_ttl_ms
    intent.rules = positions.rules[symbol]
    return [allowed, intent]
