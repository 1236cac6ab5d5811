"""Outputs of risk: the judged action, and the order intent that an action allows."""

from __future__ import annotations

from typing import Final, final

from msgspec.structs import asdict

from minibot.accounting.order_rules import (
    LIMIT_MAKER,
    MARKET,
    OCO,
    STOP_LOSS,
    STOP_LOSS_LIMIT,
    OrderRules,
)
from minibot.cores.event_id import EventId, derived, named
from minibot.cores.messages import (
    ACTIONS,
    INTENTS,
    WRITERS,
    ActionMessage,
    CancelMessage,
    IntentMessage,
    Message,
    SignalMessage,
)
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.model import (
    BUY,
    ENTRY,
    EXIT,
    Event,
    OrderIntent,
    OrderReplace,
    Payload,
    RiskAction,
)
from minibot.events.native import mypyc_attr
from minibot.events.reasons import RISK_LIMIT
from minibot.risk.checks import Checklist
from minibot.risk.headroom import Headroom
from minibot.risk.positions import Market, WorkingOrder
from minibot.risk.risk_state import RiskState

ORDER_ROLE: Final = "risk_role/client_order"
"""Takes the place of a role in client order ids, so that none equals the id of an event."""

WRITER: Final = WRITERS[INTENTS]

ALLOW: Final = "ALLOW"
REDUCE: Final = "REDUCE"
STOP: Final = "STOP"
PROTECT: Final = "PROTECT"
WITHDRAW: Final = "WITHDRAW"

TAKE_PROFIT: Final = "TAKE_PROFIT"


@mypyc_attr(acyclic=True)
@final
class Verdict(ActionMessage):
    """A `risk_action` with its checks, profile and headroom.

    It begins undecided: a decision judges `checks`, and `action` sets the outcome.
    """

    checks: Checklist
    signal: EventId | None
    left: Headroom
    campaign: EventId | None = None

    def __init__(
        self,
        cause: EventId,
        ts: int,
        tick_seq: int | None,
        symbol: str,
        signal: EventId | None,
        left: Headroom,
    ) -> None:
        """Start without a check and without an outcome; `new_verdict` explains the arguments."""
        self.place = ACTIONS
        self.ts = ts
        self.tick_seq = tick_seq
        self.cause = cause
        self.symbol = symbol
        self.action = ""
        self.reason_code = ""
        self.signal = signal
        self.left = left
        self.checks = Checklist()

    def has_headroom(self) -> bool:
        """Return True: every action of risk states how much of each limit remains."""
        return True

    def headroom(self) -> dict[str, str] | None:
        """Return how much of each limit remains."""
        return self.left.texts()

    def _written(self) -> Payload:
        limits = self.left.limits
        return RiskAction(
            action=self.action,
            reason_code=self.reason_code,
            symbol=self.symbol,
            signal_id=None if self.signal is None else self.signal.text,
            checks=self.checks.written(),
            profile=limits.profile,
            policy_version=limits.policy_version,
            profile_sha256=limits.profile_sha256 or None,
            headroom=self.left.texts(),
            campaign_id=None if self.campaign is None else self.campaign.text,
        )


@mypyc_attr(acyclic=True)
@final
class AllowedIntent(IntentMessage):
    """The `order_intent` that follows the verdict which allows it; a market order at first.

    `rest` makes it wait for a trigger, `quote` makes it rest at its limit. With `replaces` set it
    is an `order_replace`.

    Args:
        verdict: The action that allows it; the intent is the next message of the step.
        market: The market of the order.
        side: BUY, an entry, or SELL, an exit.
        qty: Quantity in hundred-millionths of base.
        client: The client order id.
        rules: The venue's rules for the symbol.
        expires_ts: Market time from which the executor refuses the intent, or expires the rest of
            its order; a resting order does not expire.
    """

    rules: OrderRules

    def __init__(
        self,
        verdict: Verdict,
        market: Market,
        side: str,
        qty: int,
        client: EventId,
        rules: OrderRules,
        expires_ts: int,
    ) -> None:
        cause, ordinal = verdict.cause, verdict.ordinal + 1
        self.place = INTENTS
        self.ts = verdict.ts
        self.tick_seq = verdict.tick_seq
        self.cause = cause
        self.also = verdict.also
        # The executor uses it at once.
        self._ref = derived(WRITER, cause if verdict.also is None else verdict.also, ordinal)
        self.behind = verdict
        self.ordinal = ordinal
        self.symbol = market.symbol
        self.side = side
        self.purpose = ENTRY if side == BUY else EXIT
        self.qty = qty
        self.order_type = MARKET
        self.limit = None
        self.time_in_force = ""
        self.client = client
        self.expires_ts = expires_ts
        self.rules = rules
        self.campaign = verdict.campaign

    def rest(self, stop: int | None, target: int | None, limit: int | None) -> None:
        """Make it wait for a trade: OCO with both levels, else STOP_LOSS or TAKE_PROFIT.

        If the stop has a limit, it is a STOP_LOSS_LIMIT, or an OCO whose target is a quote.
        """
        self.stop, self.target, self.limit = stop, target, limit
        self.order_type = STOP_LOSS if limit is None else STOP_LOSS_LIMIT
        if target is not None:
            self.order_type = TAKE_PROFIT if stop is None else OCO

    def quote(self, limit: int, expires_ts: int) -> None:
        """Make it a maker-only order that rests at a price until a market time."""
        self.order_type, self.limit, self.expires_ts = LIMIT_MAKER, limit, expires_ts

    def _written(self) -> Payload:
        intent = OrderIntent(
            symbol=self.symbol,
            side=self.side,
            qty=self.rules.qty_text(self.qty),
            order_type=self.order_type,
            client_order_id=self.client.text,
            purpose=self.purpose,
            limit_price=self._price(self.limit),
            expires_ts=self.expires_ts,
            late_ts=self.late_ts,
            stop_price=self._price(self.stop),
            target_price=self._price(self.target),
            campaign_id=None if self.campaign is None else self.campaign.text,
        )
        if self.replaces is None:
            return intent
        return OrderReplace(**asdict(intent), replaces=self.replaces.text)

    def _price(self, price: int | None) -> str | None:
        return None if price is None else self.rules.price_text(price)


def cancel_of(order: WorkingOrder, verdict: Verdict, ordinal: int) -> CancelMessage:
    """Return the `order_cancel` of an open order, as message `ordinal` after a verdict."""
    cancel = CancelMessage()
    cancel.place = INTENTS
    cancel.ts = verdict.ts
    cancel.tick_seq = verdict.tick_seq
    cancel.cause = verdict.cause
    cancel.also = verdict.also
    cancel.behind = verdict
    cancel.ordinal = ordinal
    cancel.symbol = order.market.symbol
    cancel.client = order.client
    return cancel


def new_verdict(
    state: RiskState,
    cause: EventId,
    ts: int,
    tick_seq: int | None,
    symbol: str,
    signal: EventId | None = None,
) -> Verdict:
    """Return an undecided action caused by an event, with the present headroom.

    Args:
        state: The state.
        cause: Id of the event.
        ts: Time of the event.
        tick_seq: Line of the tick from which the event follows; None for none.
        symbol: The market.
        signal: Id of the event again if it is a signal; else None.
    """
    verdict = Verdict(cause, ts, tick_seq, symbol, signal, state.headroom(symbol))
    if state.exits.rules.campaign.is_on:
        campaign = state.campaign_of(state.positions.of(symbol))
        verdict.campaign = None if campaign is None else campaign.ref
    return verdict


def verdict_for_tick(state: RiskState, tick: ScaledTick, seq: int) -> Verdict:
    """Return an undecided action caused by a tick, line `seq` of its queue."""
    return new_verdict(state, tick.ref(seq), tick.ts, seq, tick.symbol)


def verdict_for_event(state: RiskState, event: Event, symbol: str) -> Verdict:
    """Return an undecided action caused by a price mark or a control event."""
    return new_verdict(state, named(event.id, event.run_id), event.ts, event.tick_seq, symbol)


def action(state: RiskState, kind: str, reason: str, verdict: Verdict) -> Verdict:
    """Set action and reason of a verdict, and return it.

    Args:
        state: The state.
        kind: The action, such as BLOCK.
        reason: A reason code.
        verdict: The undecided action.
    """
    state.reason = reason
    verdict.action = kind
    verdict.reason_code = reason
    return verdict


def bound_by_signal(state: RiskState, messages: list[Message], signal: SignalMessage) -> None:
    """Set when the entry of the last message becomes too late for its signal."""
    intent = messages[-1]
    if state.limits.late_fill_ms and isinstance(intent, AllowedIntent):
        intent.late_ts = signal.ts + state.limits.late_fill_ms


def stop(state: RiskState, breaches: Checklist, verdict: Verdict) -> Verdict:
    """Return the `risk_action` STOP of exceeded hard limits; later inputs get no answer.

    An order that its step approved before is not sent, though it still counts as open.
    """
    state.is_stopped = True
    state.budgets.midnight = 0  # From now on every step checks whether the run is stopped.
    verdict.checks = breaches
    verdict.ordinal = 0  # It is the only message of its step.
    return action(state, STOP, RISK_LIMIT, verdict)


def approve(
    state: RiskState,
    kind: str,
    reason: str,
    side: str,
    qty: int,
    market: Market,
    rules: OrderRules,
    verdict: Verdict,
    former: WorkingOrder | None = None,
    stop: int | None = None,
    target: int | None = None,
) -> list[Message]:
    """Return a `risk_action` and the `order_intent` that it allows; count and keep the order.

    Args:
        state: The state.
        kind: ALLOW, REDUCE, EXIT or PROTECT.
        reason: A reason code.
        side: BUY or SELL.
        qty: Quantity of the order.
        market: Market of the order, valued at the ask for BUY, at the bid for SELL.
        rules: The venue's rules for the symbol.
        verdict: The undecided action.
        former: The resting order that this one replaces; None for none.
        stop: A trade at or below it triggers the order. Without stop and target it is a market
            order.
        target: A trade at or above it triggers the order.
    """
    taken = verdict.cause if verdict.also is None else verdict.also
    client = derived(ORDER_ROLE, taken, verdict.ordinal)
    price = market.ask if side == BUY else market.bid
    order = WorkingOrder(client, market, side, qty, price)
    state.positions.orders.append(order)
    if side == BUY:
        order.atr = state.sized_atr(market)
    state.budgets.on_order(state.now, verdict.left.orders)
    expires_ts = verdict.ts + state.limits.intent_ttl_ms
    intent = AllowedIntent(verdict, market, side, qty, client, rules, expires_ts)
    if former is not None:
        order.is_replacing = True
        intent.replaces = former.client
    if stop is not None or target is not None:
        limit = state.exits.rules.limit_of(stop, rules.price_step)
        intent.rest(stop, target, limit)
        order.stop, order.target, order.limit, order.intent = stop, target, limit, intent.ref()
    if kind == EXIT and state.protections.is_on:
        state.protections.on_exit(market.symbol, reason)
    return [action(state, kind, reason, verdict), intent]
