"""Messages between cores, in whole numbers; an event is made only when one is needed.

A core answers with messages. `draft` formats one as text: payload, checks, amounts and ids, so a
message that is neither journaled nor compared costs no formatting. An event is parsed once into
the same kind of message (`of`), so that a core handles both in one way. Amounts are
hundred-millionths (`events.money`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from minibot.cores.event_id import NOBODY, EventId, derived, named
from minibot.cores.wish import Wish
from minibot.events import names
from minibot.events.decimals import NumberError, parse_fixed
from minibot.events.model import (
    Draft,
    Event,
    Fill,
    OrderCancel,
    OrderIntent,
    OrderReplace,
    OrderResult,
    Payload,
    RiskAction,
    Signal,
)
from minibot.events.money import RATE_PLACES, parse_amount
from minibot.events.native import mypyc_attr

FILLS: Final = 0
RESULTS: Final = 1
SIGNALS: Final = 2
INTENTS: Final = 3
ACTIONS: Final = 4
"""Kinds of messages as numbers, for tables; `roles.v1.json` says which kind is taken first."""


@mypyc_attr(acyclic=True)
class Message:
    """Message of a core; subclasses add its content.

    Most have no constructor: a function sets their attributes, because `__init__` takes twice as
    long when interpreted, and each fill causes six messages. A few subclasses of risk and execution
    have one.

    Attributes:
        place: Index of its kind in `QUEUES` and `WRITERS`.
        ts: The highest `ts` among its causes.
        tick_seq: The line of `market_ticks` from which it follows.
        cause: Event from which it follows; the input of the step, unless `also` is set. `NOBODY`
            in a message that was read from an event, which is never drafted again.
        also: A second event from which it follows, then the input of the step; None without one.
        behind: An earlier message of the same step that is its first cause.
        ordinal: Its index in the step.
        number: Its line in its queue. Only `engine.lockstep` sets it, and only for a listener;
            else it is 0.
    """

    place: int
    ts: int
    tick_seq: int | None
    cause: EventId
    also: EventId | None = None
    behind: Message | None = None
    ordinal: int = 0
    number: int = 0
    _ref: EventId | None = None
    _payload: Payload | None = None

    def take_event(self, place: int, event: Event) -> None:
        """Take over id, times and payload of the event that this message represents; no causes.

        Neither `draft` nor `event` nor `causes` may be called after that.
        """
        self.place = place
        self.ts = event.ts
        self.tick_seq = event.tick_seq
        self.cause = NOBODY
        self._ref = named(event.id, event.run_id)
        self._payload = event.payload

    def ref(self) -> EventId:
        """Return the id of its event."""
        ref = self._ref
        if ref is None:
            taken = self.cause if self.also is None else self.also
            ref = self._ref = derived(WRITERS[self.place], taken, self.ordinal)
        return ref

    def payload(self) -> Payload:
        """Return its content as the payload of its event."""
        if self._payload is None:
            self._payload = self._written()
        return self._payload

    def _written(self) -> Payload:
        raise NotImplementedError

    def draft(self) -> Draft:
        """Return the draft of its event."""
        causes: list[str | int] = []
        if self.behind is not None:
            causes.append(self.behind.ordinal)
        causes.append(self.cause.text)
        if self.also is not None:
            causes.append(self.also.text)
        return Draft(QUEUES[self.place], self.payload(), self.ts, tuple(causes), self.tick_seq)

    def causes(self) -> list[EventId]:
        """Return the ids of the events from which it follows."""
        causes = [self.cause] if self.behind is None else [self.behind.ref(), self.cause]
        if self.also is not None:
            causes.append(self.also)
        return causes

    def event(self, cmdline_hash: str) -> Event:
        """Return the event of a core's message; `cores.finalize` makes the same from its draft."""
        ref = self.ref()
        return Event(
            self.ts,
            ref.text,
            WRITERS[self.place],
            ref.run_id,
            cmdline_hash,
            self.payload(),
            tuple([cause.text for cause in self.causes()]),
            self.tick_seq,
        )


def drafts_of(messages: Sequence[Message]) -> list[Draft]:
    """Return the drafts of a step."""
    return [message.draft() for message in messages]


@mypyc_attr(acyclic=True)
class SignalMessage(Message):
    """Signal of the strategy."""

    QUEUE: ClassVar[str] = names.SIGNALS
    WRITER: ClassVar[str] = names.STRATEGY_ROLE

    symbol: str
    side: str
    confidence: int
    horizon_ms: int
    wish: Wish | None

    @staticmethod
    def of(signal: Signal, event: Event) -> SignalMessage:
        """Return the message of an event."""
        message = SignalMessage()
        message.take_event(SIGNALS, event)
        message.symbol = signal.symbol
        message.side = signal.side
        message.confidence = signal.confidence
        message.horizon_ms = signal.horizon_ms
        message.wish = None
        wanted = (
            parse_amount(signal.notional or "0"),
            signal.share_bps or 0,
            parse_amount(signal.stop_price or "0"),
            parse_amount(signal.target_price or "0"),
            parse_amount(signal.trail_distance or "0"),
            parse_fixed(signal.trail_bps or "0", RATE_PLACES),
            parse_fixed(signal.trail_atr or "0", RATE_PLACES),
            parse_amount(signal.limit_price or "0"),
            parse_amount(signal.qty or "0"),
        )
        if any(wanted):
            message.wish = Wish(*wanted)
        return message


@mypyc_attr(acyclic=True)
class ActionMessage(Message):
    """Risk action: decision of risk on a signal, a tick or an operator's request."""

    QUEUE: ClassVar[str] = names.RISK_ACTIONS
    WRITER: ClassVar[str] = names.RISK_ROLE

    symbol: str | None
    action: str
    reason_code: str

    @staticmethod
    def of(action: RiskAction, event: Event) -> ActionMessage:
        """Return the message of an event."""
        message = ActionMessage()
        message.take_event(ACTIONS, event)
        message.symbol = action.symbol
        message.action = action.action
        message.reason_code = action.reason_code
        return message

    def has_headroom(self) -> bool:
        """Return whether it carries the headroom of each limit."""
        return self.headroom() is not None

    def headroom(self) -> Mapping[str, str] | None:
        """Return the headroom of each limit as text; None if the message carries none."""
        payload = self.payload()
        return payload.headroom if isinstance(payload, RiskAction) else None


@mypyc_attr(acyclic=True)
class ReportMessage(Message):
    """Report: standing of the account, plan of a position, recovery, scan or regime.

    No message follows from one at once. Risk keeps the regime for its gate, and the strategy keeps
    the plan of a position, so that later decisions may depend on them.

    Attributes:
        report: The content; None if a subclass writes it when it is read.
    """

    report: Payload | None = None

    @staticmethod
    def caused_by(
        cause: EventId,
        ts: int,
        tick_seq: int | None,
        ordinal: int,
        report: Payload,
        place: int = ACTIONS,
    ) -> ReportMessage:
        """Return the message with a report caused by an event, number `ordinal` of the step."""
        message = ReportMessage()
        message.place = place
        message.ts = ts
        message.tick_seq = tick_seq
        message.cause = cause
        message.ordinal = ordinal
        message.report = report
        return message

    def _written(self) -> Payload:
        if self.report is None:
            raise NotImplementedError
        return self.report


@mypyc_attr(acyclic=True)
class IntentMessage(Message):
    """Order intent: an order that risk allowed.

    Attributes:
        qty, limit: Quantity and limit; an order that trades at the market, at once or once a trade
            triggers it, has no limit.
        stop, target: Prices of trades that trigger a resting order; None for off. `of` reads any of
            the four as 0 if its text is not a number, or has more than eight significant places.
        trail: Distance of a trailing stop below the highest trade in basis points; None for a fixed
            stop.
        expires_ts: Market time from which it is refused, and no part of it is filled any more; one
            that rests until a trade triggers it stays.
        late_ts: Market time from which its signal is too old for a fill; None without such a bound.
        client: Risk's id for the order.
        replaces: The id of the open order that it replaces.
        campaign: The id of its campaign; None without one.
    """

    QUEUE: ClassVar[str] = names.ORDER_INTENTS
    WRITER: ClassVar[str] = names.RISK_ROLE

    symbol: str
    side: str
    qty: int = 0
    limit: int | None = None
    stop: int | None = None
    target: int | None = None
    trail: int | None = None
    order_type: str = ""
    time_in_force: str = ""
    purpose: str = ""
    expires_ts: int | None = None
    late_ts: int | None = None
    client: EventId
    replaces: EventId | None = None
    campaign: EventId | None = None

    @staticmethod
    def of(intent: OrderIntent, event: Event) -> IntentMessage:
        """Return the message of an event."""
        message = IntentMessage()
        message.take_event(INTENTS, event)
        message.symbol = intent.symbol
        message.side = intent.side
        message.qty = _number(intent.qty)
        message.limit = None if intent.limit_price is None else _number(intent.limit_price)
        message.stop = None if intent.stop_price is None else _number(intent.stop_price)
        message.target = None if intent.target_price is None else _number(intent.target_price)
        message.trail = intent.trailing_delta
        message.order_type = intent.order_type
        message.time_in_force = intent.time_in_force or ""
        message.purpose = intent.purpose
        message.expires_ts = intent.expires_ts
        message.late_ts = intent.late_ts
        message.client = named(intent.client_order_id)
        if intent.campaign_id is not None:
            message.campaign = named(intent.campaign_id)
        if isinstance(intent, OrderReplace):
            message.replaces = named(intent.replaces)
        return message


@mypyc_attr(acyclic=True)
class CancelMessage(Message):
    """Order cancel: risk's request to end an open order."""

    symbol: str
    client: EventId

    @staticmethod
    def of(cancel: OrderCancel, event: Event) -> CancelMessage:
        """Return the message of an event."""
        message = CancelMessage()
        message.take_event(INTENTS, event)
        message.symbol = cancel.symbol
        message.client = named(cancel.client_order_id)
        return message

    def _written(self) -> Payload:
        return OrderCancel(self.symbol, self.client.text)


TRIGGERED: Final = "TRIGGERED"
"""The result of a resting order when a trade triggers it; from then on it sells."""

CANCEL_REJECTED: Final = "CANCEL_REJECTED"
"""The result of a cancel that changes nothing."""


@mypyc_attr(acyclic=True)
class ResultMessage(Message):
    """Order result: one change of an order's state.

    Attributes:
        trigger: Price of the trade that triggered the order; 0 in all other results.
    """

    QUEUE: ClassVar[str] = names.ORDER_RESULTS
    WRITER: ClassVar[str] = names.EXECUTION_ROLE

    client: EventId
    order: EventId
    result: str
    filled: int
    trigger: int = 0

    @staticmethod
    def of(result: OrderResult, event: Event) -> ResultMessage:
        """Return the message of an event."""
        message = ResultMessage()
        message.take_event(RESULTS, event)
        message.client = named(result.client_order_id)
        message.order = named(result.order_id)
        message.result = result.result
        message.filled = parse_amount(result.filled_qty or "0")
        message.trigger = parse_amount(result.trigger_price or "0")
        return message


@mypyc_attr(acyclic=True)
class FillMessage(Message):
    """Fill: one execution.

    Attributes:
        fee: Amount in `fee_asset`: the quote asset or, for a purchase, perhaps the base asset.
        order, client: Ids of the order: the executor's and risk's.
    """

    QUEUE: ClassVar[str] = names.FILLS
    WRITER: ClassVar[str] = names.EXECUTION_ROLE

    symbol: str
    side: str
    qty: int
    price: int
    fee: int
    fee_asset: str
    order: EventId
    client: EventId

    @staticmethod
    def read(fill: Fill, ts: int = 0) -> FillMessage:
        """Return a fill in numbers, ready to be booked."""
        message = FillMessage()
        message.place = FILLS
        message.ts = ts
        message.tick_seq = None
        message.cause = NOBODY
        message.symbol = fill.symbol
        message.side = fill.side
        message.qty = parse_amount(fill.qty)
        message.price = parse_amount(fill.price)
        message.fee = parse_amount(fill.fee)
        message.fee_asset = fill.fee_asset
        message.order = named(fill.order_id)
        message.client = named(fill.client_order_id)
        message._payload = fill
        return message

    @staticmethod
    def of(fill: Fill, event: Event) -> FillMessage:
        """Return the message of an event."""
        message = FillMessage.read(fill)
        message.take_event(FILLS, event)
        return message

    @property
    def pays_in_base(self) -> bool:
        """True if the fee was paid in the base asset, not in quote."""
        return is_base_fee(self.symbol, self.fee_asset)

    @property
    def quote_asset(self) -> str:
        """The quote asset: the fee's asset, unless the fee was paid in the base asset."""
        if self.pays_in_base:
            return self.symbol.removeprefix(self.fee_asset)
        return self.fee_asset


def is_base_fee(symbol: str, fee_asset: str) -> bool:
    """Return whether a fill's fee was paid in the base asset of its symbol, not in quote."""
    return symbol.startswith(fee_asset) and not symbol.endswith(fee_asset)


def can_detect_fee_in_base(symbol: str, base_asset: str) -> bool:
    """Return whether `is_base_fee` can detect a fee in the base asset of a symbol.

    It cannot for TUSDT, whose name both begins and ends with its base asset T.
    """
    return not symbol.endswith(base_asset)


_KINDS: Final = (FillMessage, ResultMessage, SignalMessage, IntentMessage, ActionMessage)

QUEUES: Final = tuple([kind.QUEUE for kind in _KINDS])
"""Queue of each kind of message, by place."""

WRITERS: Final = tuple([kind.WRITER for kind in _KINDS])
"""Writer of each queue, by place: each queue has one."""


def stop_in(message: Message) -> str:
    """Return the reason code if this message is a STOP of risk, else an empty text."""
    if isinstance(message, ActionMessage) and message.action == "STOP":
        return message.reason_code
    return ""


def _number(text: str) -> int:
    try:
        return parse_amount(text)
    except NumberError:
        return 0
