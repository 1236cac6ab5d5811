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
from minibot.risk.positions import Market, sent_order
from minibot.risk.situation import Situation

ORDER_ROLE: Final = "risk_role/client_order"
"""Stands where ids of drafts name a role, so that no client order id equals an event's id."""

WRITER: Final = WRITERS[INTENTS]

ALLOW: Final = "ALLOW"
BLOCK: Final = "BLOCK"
REDUCE: Final = "REDUCE"
EXIT: Final = "EXIT"
STOP: Final = "STOP"
ENTRY: Final = "ENTRY"


@mypyc_attr(acyclic=True)
@final
class Verdict(ActionMessage):
    """A `risk_action` with its checks, profile and headroom.

    `because` and its like begin one with what it follows from; who decides sets what was judged and
    what was looked at of each limit, and `action` says what was decided.
    """

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


def because(
    ref: Ref, ts: int, tick_seq: int | None, symbol: str, signal: Ref | None = None
) -> Verdict:
    """Return an action that is not decided yet, because of an event.

    Args:
        ref: The event's id.
        ts: Its time.
        tick_seq: The tick that it goes back to.
        symbol: The market.
        signal: The same event where that is one.
    """
    verdict = Verdict()
    verdict.place = ACTIONS
    verdict.ts = ts
    verdict.tick_seq = tick_seq
    verdict.cause = ref
    verdict.symbol = symbol
    verdict.signal = signal
    verdict.ordinal = 0
    return verdict


def because_of_tick(tick: ExactTick, seq: int) -> Verdict:
    """Return an action because of a tick, line `seq`."""
    return because(tick.ref(seq), tick.ts, seq, tick.symbol)


def because_of_event(event: Event, symbol: str) -> Verdict:
    """Return an action because of a price or a control event."""
    return because(named(event.id, event.run_id), event.ts, event.tick_seq, symbol)


def action(situation: Situation, kind: str, reason: str, verdict: Verdict) -> Verdict:
    """Return a `risk_action`, decided.

    Args:
        situation: The state.
        kind: What is done.
        reason: A reason code.
        verdict: All but that.
    """
    situation.reason = reason
    verdict.action = kind
    verdict.reason_code = reason
    return verdict


def stop(situation: Situation, breaches: Checklist, verdict: Verdict) -> Verdict:
    """Return the `risk_action` STOP of exceeded hard limits; the core says nothing after it."""
    situation.is_stopped = True
    situation.budgets.midnight = 0  # No step goes by without asking any more.
    verdict.checks, verdict.left = breaches, situation.headroom(verdict.symbol)
    verdict.ordinal = 0  # It stands alone.
    return action(situation, STOP, RISK_LIMIT, verdict)


def allow(
    situation: Situation,
    kind: str,
    reason: str,
    side: str,
    qty: int,
    market: Market,
    rules: OrderRules,
    verdict: Verdict,
) -> list[Message]:
    """Return a `risk_action` and the `order_intent` that it allows, and count and keep the order.

    Args:
        situation: The state.
        kind: ALLOW, REDUCE or EXIT.
        reason: A reason code.
        side: Of the market order.
        qty: How much.
        market: Where; the order takes the other side of its touch.
        rules: The venue's, of its symbol.
        verdict: All but kind and reason; the intent is the next that this step says.
    """
    ts, cause, ordinal = verdict.ts, verdict.cause, verdict.ordinal
    purpose, price = (ENTRY, market.ask) if side == BUY else (EXIT, market.bid)
    situation.reason = reason
    verdict.action = kind
    verdict.reason_code = reason
    client = derived(ORDER_ROLE, cause, ordinal)
    situation.positions.orders.append(sent_order(client, market, side, qty, price))
    situation.budgets.on_order(situation.now, verdict.left.orders)
    intent = AllowedIntent()
    intent.place = INTENTS
    intent.ts = ts
    intent.tick_seq = verdict.tick_seq
    intent.cause = cause
    intent._ref = derived(WRITER, cause, ordinal + 1)  # Which the executor asks for.
    intent.symbol = market.symbol
    intent.side = side
    intent.purpose = purpose
    intent.ordinal = ordinal + 1
    intent.behind = verdict
    intent.qty = qty
    intent.order_type = MARKET
    intent.limit = None
    intent.time_in_force = ""
    intent.client = client
    intent.expires_ts = ts + situation.limits.intent_ttl_ms
    intent.rules = rules
    return [verdict, intent]
