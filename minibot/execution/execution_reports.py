"""Execution reports of an order: state changes, refusals and fills, formatted when read."""

from __future__ import annotations

from typing import final

from minibot.accounting.order_rules import OrderRules
from minibot.cores.event_id import EventId
from minibot.cores.messages import (
    CANCEL_REJECTED,
    FILLS,
    RESULTS,
    CancelMessage,
    FillMessage,
    IntentMessage,
    ResultMessage,
)
from minibot.events.model import BUY, Fill, OrderIntent, OrderResult, Payload
from minibot.events.money import amount_text
from minibot.events.native import mypyc_attr
from minibot.execution.fills import FillModel, Touch
from minibot.execution.orders import STATE_TEXTS, Order, OrderState


@mypyc_attr(acyclic=True)
@final
class OrderMove(ResultMessage):
    """Report of an order after a change of its state; `move_of` makes one."""

    _reason: str
    _of: Order  # It may change later, so only its constants are read: symbol, quantity, places.
    _price_text: str | None = None

    def _written(self) -> Payload:
        order = self._of
        return OrderResult(
            client_order_id=self.client.text,
            order_id=self.order.text,
            result=self.result,
            symbol=order.symbol,
            reason_code=self._reason,
            filled_qty=amount_text(self.filled, order.qty_places),
            remaining_qty=amount_text(order.qty - self.filled, order.qty_places),
            trigger_price=self._price_text,
        )


def move_of(
    order: Order,
    reason: str,
    ts: int,
    tick_seq: int | None,
    also: EventId | None,
    ordinal: int,
) -> OrderMove:
    """Return the report of an order whose state has just changed, message `ordinal` of the step.

    Its causes are the order's intent and, if another event changed the order, `also`.
    """
    move = OrderMove()
    move.place = RESULTS
    move.ts = ts
    move.tick_seq = tick_seq
    move.cause = order.intent
    move.client = order.client
    move.order = order.order
    move.result = STATE_TEXTS[order.state]
    move.filled = order.filled
    move.also = also
    move.ordinal = ordinal
    move._reason = reason
    move._of = order
    return move


def triggered_by(
    order: Order,
    reason: str,
    price: int,
    rules: OrderRules,
    ts: int,
    seq: int,
    tick: EventId,
    ordinal: int,
) -> OrderMove:
    """Return the report of an order just triggered by a trade at `price`, line `seq`."""
    move = move_of(order, reason, max(order.intent_ts, ts), seq, tick, ordinal)
    move.trigger = price
    move._price_text = rules.price_text(price)
    return move


@mypyc_attr(acyclic=True)
@final
class CancelRefused(ResultMessage):
    """Refusal of a cancel, because its order has ended or already sells at the market."""

    def __init__(self, cancel: CancelMessage, order: EventId, reason: str) -> None:
        self.place = RESULTS
        self.ts = cancel.ts
        self.tick_seq = cancel.tick_seq
        self.cause = cancel.ref()
        self.client = cancel.client
        self.order = order
        self.result = CANCEL_REJECTED
        self.filled = 0
        self._symbol: str = cancel.symbol
        self._reason: str = reason

    def _written(self) -> Payload:
        return OrderResult(
            client_order_id=self.client.text,
            order_id=self.order.text,
            result=self.result,
            symbol=self._symbol,
            reason_code=self._reason,
        )


@mypyc_attr(acyclic=True)
@final
class IntentRefused(ResultMessage):
    """Refusal of an intent, which becomes no order."""

    def __init__(
        self, intent: IntentMessage, order: EventId, state: OrderState, reason: str, is_whole: bool
    ) -> None:
        self.place = RESULTS
        self.ts = intent.ts
        self.tick_seq = intent.tick_seq
        self.cause = intent.ref()
        self.client = intent.client
        self.order = order
        self.result = STATE_TEXTS[state]
        self.filled = 0
        self._intent: IntentMessage = intent
        self._reason: str = reason
        # Whether its fields are valid, so that the remaining quantity can be reported.
        self._is_whole: bool = is_whole

    def _written(self) -> Payload:
        intent = self._intent.payload()
        unfilled = intent.qty if self._is_whole and isinstance(intent, OrderIntent) else None
        return OrderResult(
            client_order_id=self.client.text,
            order_id=self.order.text,
            result=self.result,
            symbol=self._intent.symbol,
            reason_code=self._reason,
            filled_qty="0",
            remaining_qty=unfilled,
        )


@mypyc_attr(acyclic=True)
@final
class PaperFill(FillMessage):
    """A fill with its evidence: the touch it met, its displayed size and the modelled latency.

    `fill_of` makes one.
    """

    _of: Order
    _rules: OrderRules
    _liquidity: str
    _bid: int
    _ask: int
    _displayed: int

    def _written(self) -> Payload:
        rules, order = self._rules, self._of
        return Fill(
            order_id=self.order.text,
            client_order_id=self.client.text,
            symbol=self.symbol,
            side=self.side,
            qty=amount_text(self.qty, order.qty_places),
            price=rules.price_text(self.price),
            fee=amount_text(self.fee),
            fee_asset=self.fee_asset,
            liquidity=self._liquidity,
            bid=rules.price_text(self._bid),
            ask=rules.price_text(self._ask),
            displayed_qty=rules.qty_text(self._displayed),
            latency_market_ms=order.due_ts - order.intent_ts,
        )


def fill_of(
    order: Order,
    found: FillModel,
    fee: int,
    fee_asset: str,
    rules: OrderRules,
    touch: Touch,
    ts: int,
    seq: int,
    tick: EventId,
    ordinal: int,
) -> PaperFill:
    """Return the fill of an order by the model's last match, at the tick of line `seq`."""
    fill = PaperFill()
    fill.place = FILLS
    fill.ts = ts
    fill.tick_seq = seq
    fill.cause = order.intent
    fill.symbol = order.symbol
    fill.side = order.side
    fill.qty = found.qty
    fill.price = found.price
    fill.fee = fee
    fill.fee_asset = fee_asset
    fill.order = order.order
    fill.client = order.client
    fill.also = tick
    fill.ordinal = ordinal
    fill._of = order
    fill._rules = rules
    fill._liquidity = found.liquidity
    fill._bid = touch.bid
    fill._ask = touch.ask
    shown = touch.ask_qty if order.side == BUY else touch.bid_qty
    fill._displayed = found.shown or shown
    return fill
