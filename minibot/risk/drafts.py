"""What risk says: a judged action, and the intent that an action allows."""

from __future__ import annotations

from typing import Final, final

from minibot.events.exact_tick import ExactTick
from minibot.events.messages import ACTIONS, INTENTS, ActionMessage, IntentMessage, Message
from minibot.events.model import BUY, Event, OrderIntent, Payload, RiskAction
from minibot.events.native import mypyc_attr
from minibot.events.order_rules import MARKET, OrderRules
from minibot.events.reasons import RISK_LIMIT
from minibot.events.reference import Ref
from minibot.risk.checks import Checklist
from minibot.risk.headroom import Headroom
from minibot.risk.positions import SentOrder
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

    __slots__ = ("ref", "run_id", "signal", "tick_seq", "ts")

    def __init__(
        self, ref: Ref, ts: int, run_id: str, tick_seq: int | None, signal: Ref | None = None
    ) -> None:
        self.ref: Ref = ref
        self.ts: int = ts
        self.run_id: str = run_id
        self.tick_seq: int | None = tick_seq
        self.signal: Ref | None = signal

    @staticmethod
    def of_tick(tick: ExactTick, seq: int) -> Cause:
        """Return a tick, line `seq`, as the cause."""
        return Cause(tick.ref(seq), tick.ts, tick.run_id, seq)

    @staticmethod
    def of_event(event: Event) -> Cause:
        """Return a fill or a control event as the cause."""
        return Cause(Ref(event.id), event.ts, event.run_id, event.tick_seq)

    def going_back_to(self, tick_seq: int) -> Cause:
        """Return the same cause, which goes back to another tick."""
        return Cause(self.ref, self.ts, self.run_id, tick_seq, self.signal)


@mypyc_attr(acyclic=True)
@final
class Verdict(ActionMessage):
    """A `risk_action` with its checks, profile and headroom."""

    def __init__(
        self,
        kind: str,
        reason: str,
        symbol: str,
        checks: Checklist,
        cause: Cause,
        left: Headroom,
        ordinal: int,
    ) -> None:
        # Here and in `AllowedIntent` all in one place: of three constructors one above the other
        # each costs a call.
        self.place = ACTIONS
        self.ts = cause.ts
        self.tick_seq = cause.tick_seq
        self.cause = cause.ref
        self.symbol = symbol
        self.action = kind
        self.reason_code = reason
        self.ordinal = ordinal
        self._checks: Checklist = checks
        self._signal: Ref | None = cause.signal
        self.left: Headroom = left

    @property
    def tells_headroom(self) -> bool:
        """Whether it says what is left of each limit: always."""
        return True

    def headroom(self) -> dict[str, str] | None:
        """Return what is left of each limit."""
        return self.left.texts()

    def _written(self) -> Payload:
        return RiskAction(
            action=self.action,
            reason_code=self.reason_code,
            symbol=self.symbol,
            signal_id=None if self._signal is None else self._signal.text,
            checks=self._checks.written(),
            profile=self.left.limits.profile,
            headroom=self.left.texts(),
        )


@mypyc_attr(acyclic=True)
@final
class AllowedIntent(IntentMessage):
    """The `order_intent` behind a verdict."""

    def __init__(
        self, order: SentOrder, rules: OrderRules, cause: Cause, allowed: Verdict, expires_ts: int
    ) -> None:
        self.place = INTENTS
        self.ts = cause.ts
        self.tick_seq = cause.tick_seq
        self.cause = cause.ref
        self.symbol = order.symbol
        self.side = order.side
        self.purpose = ENTRY if order.side == BUY else EXIT
        self.ordinal = allowed.ordinal + 1
        self.behind = allowed
        self.qty = order.qty
        self.order_type = MARKET
        self.client = order.client
        self.expires_ts = expires_ts
        self._rules: OrderRules = rules

    def _written(self) -> Payload:
        return OrderIntent(
            symbol=self.symbol,
            side=self.side,
            qty=self._rules.qty_text(self.qty),
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
    return Verdict(kind, reason, symbol, checks, cause, left, ordinal)


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
    situation.reason = reason
    positions = situation.positions
    allowed = Verdict(kind, reason, symbol, checks, cause, left, ordinal)
    client = Ref("", cause.run_id, ORDER_ROLE, cause.ref, ordinal)
    order = SentOrder(client, symbol, side, qty, price)
    positions.orders.append(order)
    situation.budgets.on_order(situation.now, left.orders)
    expires_ts = cause.ts + situation.limits.intent_ttl_ms
    return [allowed, AllowedIntent(order, positions.rules[symbol], cause, allowed, expires_ts)]
