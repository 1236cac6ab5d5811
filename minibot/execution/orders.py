"""A paper order and its state changes, as one table.

An order is identified by its intent; each change of state becomes one `order_result`. A change that
the table does not contain raises and changes nothing. Filled and remaining quantity always add up
to the ordered quantity. Amounts are hundred-millionths (`events.money`).

A resting order waits, ACCEPTED, for a trade at or below its stop, or at or above its target. An OCO
is one order with both: it reserves its quantity once, and the trade that triggers one leg ends the
other before anything is filled. Then the order is TRIGGERED and trades as a market order, from the
touch of that same tick on, at any price after a gap. Only a fill or the end of the run ends it,
and a halt of the symbol under `execution.left_trading: cancel`. STOP_LOSS_LIMIT and
TAKE_PROFIT_LIMIT become limit orders instead: after a gap past the limit they stay unsold until the
price is back, and they may be cancelled and replaced. A trailing stop follows the highest trade.

An OCO with a limit is the venue's pair of STOP_LOSS_LIMIT and LIMIT_MAKER: the limit belongs to the
stop, and the target rests as a maker-only quote. No trade triggers that quote: it fills by the fill
model, and its first fill, however small, counts as the trade at the target that triggers the order
and ends the stop. A trade at the stop ends the quote. The quantity that the remaining leg does not
sell keeps resting until risk replaces it (`risk.resting_exits`).

If two inputs compete in one tick, the one that the executor takes first wins; its input log records
the order. In a lockstep a tick comes before risk's answer to it.

| taken first | then | outcome |
| --- | --- | --- |
| trade at a trigger | `order_cancel` | order keeps selling; `CANCEL_REJECTED`, `order_triggered` |
| trade at a trigger | `order_replace` | the same; the new one is `REJECTED`, `order_triggered` |
| last fill | `order_cancel` | `CANCEL_REJECTED`, `order_ended` |
| last fill | `order_replace` | the new one `REJECTED`, `order_ended` |
| partial fill of an entry | `order_cancel` | the rest `CANCELLED`; the fill stands |
| `order_cancel` of an entry's quote | an ask at its limit | nothing: it is `CANCELLED` |
| end of a quote's time | an ask at its limit | nothing: it is `EXPIRED` |
| `order_cancel` | trade at a trigger | nothing: the order is `CANCELLED` |
| refused `order_replace` | trade at a trigger | the former order triggers: it never ended |
| accepted `order_replace` | trade at its trigger | it triggers after its latency |
| the same, during its latency | trade at triggers of both | it triggers, and sells at once |
| trade at stop and target at once | - | cannot be: a trade has one price, and stop < target |
| first part of its target's quote | trade at its stop | the rest stays quoted; the stop has ended |
| STOP | anything | nothing: resting orders stay as they are, listed |
| planned end | trade at a trigger | nothing: open orders are `EXPIRED` |

Under `carry` risk places stop and target again in the next run. `risk.quotes` lists when risk
cancels an entry's quote.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, final

from minibot.accounting.order_rules import LIMIT_MAKER, OCO, OrderRules
from minibot.cores.event_id import EventId, derived, named
from minibot.cores.messages import IntentMessage
from minibot.events.model import BUY, JsonObject
from minibot.events.native import mypyc_attr
from minibot.events.reasons import (
    EXPIRED,
    INVARIANT_BROKEN,
    LATE_FILL,
    UNFILLED_FOK,
    UNFILLED_IOC,
)
from minibot.events.unit_sizes import BPS
from minibot.kernel.errors import InvariantError

GTC: Final = "GTC"
IOC: Final = "IOC"
FOK: Final = "FOK"

MAKER_ONLY: Final = LIMIT_MAKER
"""Time in force of an order that waits like GTC, but may not take."""

UNFILLED: Final = {IOC: UNFILLED_IOC, FOK: UNFILLED_FOK}
"""Reason codes of orders that end with their first tick for want of size; cash has its own."""

RESTS_UNTIL: Final = 1 << 60
"""Expiry of a resting order: later than any run."""

ORDER_ROLE: Final = "paper_executor_nore_v1"
"""Takes the place of a role in order ids, so that none equals the id of an event."""


class OrderState(StrEnum):
    """State of an order; NEW is an intent before it is judged, all others appear in results.

    An `Order` begins as ACCEPTED; an intent that is refused or late never becomes an order.
    """

    NEW = "NEW"
    ACCEPTED = "ACCEPTED"
    TRIGGERED = "TRIGGERED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"

    # An enum hashes its name each time; a text caches its hash.
    __hash__ = str.__hash__


STATE_TEXTS: Final[Mapping[OrderState, str]] = {state: str(state.value) for state in OrderState}
"""Name of each state in results, without a look-up in the enum."""

# Members as constants, as the enum searches for a member at each access.
_ACCEPTED: Final = OrderState.ACCEPTED
_TRIGGERED: Final = OrderState.TRIGGERED
_PARTIALLY_FILLED: Final = OrderState.PARTIALLY_FILLED
_FILLED: Final = OrderState.FILLED

TERMINAL_STATES: Final = frozenset(
    {OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED}
)

NEXT_STATES: Final[Mapping[OrderState, frozenset[OrderState]]] = {
    OrderState.NEW: frozenset({OrderState.ACCEPTED, OrderState.REJECTED, OrderState.EXPIRED}),
    OrderState.ACCEPTED: frozenset(
        {
            OrderState.TRIGGERED,
            OrderState.PARTIALLY_FILLED,
            OrderState.FILLED,
            OrderState.CANCELLED,
            OrderState.EXPIRED,
        }
    ),
    OrderState.TRIGGERED: frozenset(
        {
            OrderState.PARTIALLY_FILLED,
            OrderState.FILLED,
            OrderState.CANCELLED,
            OrderState.EXPIRED,
        }
    ),
    OrderState.PARTIALLY_FILLED: frozenset(
        {
            OrderState.PARTIALLY_FILLED,
            OrderState.FILLED,
            OrderState.CANCELLED,
            OrderState.EXPIRED,
        }
    ),
    **{terminal: frozenset() for terminal in TERMINAL_STATES},
}

FILLABLE_STATES: Final = frozenset(
    {state for state, after in NEXT_STATES.items() if {_PARTIALLY_FILLED, _FILLED} <= after}
)
"""States in which an order may be filled."""


@mypyc_attr(acyclic=True)
@final
class Order:
    """One order of the paper executor; `order_of` makes one.

    Attributes:
        intent, intent_ts: The id of the `order_intent` event, and its `ts`.
        order, client: Its own id, derived from the intent, and the id that risk chose.
        qty, limit: The ordered quantity, and its worst price; None for a market order.
        qty_places, qty_step: The venue's quantity step, and its places in texts; every fill is a
            multiple of it.
        reserve_price: Price at which cash is reserved for the rest of a purchase.
        time_in_force: GTC, IOC, FOK or `MAKER_ONLY`.
        due_ts: Earliest `ts` of a tick that may fill it, after the modelled latency.
        expires_ts: Market time from which it expires; `RESTS_UNTIL` for a resting order.
        is_late_at_end: Whether it ends then as too late for its signal, not as expired.
        state: Its state; only `move` and `fill` change it.
        filled: The executed quantity.
        has_met_market: Whether it has met a tick; from then on a limit order is a maker.
        stop, target: A trade at or below the stop, or at or above the target, triggers a resting
            order; a target that is a quote does so by its first fill. None for off.
        rests: Whether it has a stop or a target.
        trail: Distance of a trailing stop below the highest trade in basis points; None for a fixed
            stop.
        stop_limit: The limit of the stop of a waiting OCO whose target rests as a quote at `limit`;
            None for any other order.
        was_reached: Whether the last trade during its latency would trigger it; then the first tick
            after the latency does, even a quote, unless it is a trade elsewhere.
        early_ts: Time from which a trade at `early_stop` or `early_target` triggers it before it is
            due, see `take_over`; None for an order that replaces no resting order.
    """

    __slots__ = (
        *("client", "due_ts", "early_stop", "early_target", "early_ts", "expires_ts", "filled"),
        *("has_met_market", "intent", "intent_ts", "is_late_at_end", "was_reached"),
        *("limit", "order", "qty", "qty_places", "qty_step", "reserve_price", "rests", "side"),
        *("state", "stop", "stop_limit", "symbol", "target", "time_in_force", "trail"),
    )

    intent: EventId
    intent_ts: int
    order: EventId
    client: EventId
    symbol: str
    side: str
    qty: int
    qty_places: int
    qty_step: int
    reserve_price: int
    limit: int | None
    time_in_force: str
    due_ts: int
    expires_ts: int
    is_late_at_end: bool
    state: OrderState
    filled: int
    has_met_market: bool
    stop: int | None
    target: int | None
    stop_limit: int | None
    rests: bool
    trail: int | None
    was_reached: bool
    early_ts: int | None
    early_stop: int | None
    early_target: int | None

    @property
    def order_id(self) -> str:
        """Its own id as text."""
        return self.order.text

    @property
    def remaining(self) -> int:
        """The quantity that is not filled yet."""
        return self.qty - self.filled

    @property
    def is_waiting(self) -> bool:
        """True while it rests and has not been triggered."""
        return self.rests and self.state is _ACCEPTED

    @property
    def is_triggered(self) -> bool:
        """True for a resting order that a trade has triggered and that now sells at the market.

        A triggered order with a limit is an ordinary limit order instead.
        """
        return self.rests and self.limit is None and self.state is not _ACCEPTED

    def is_reached(self, price: int) -> bool:
        """Return whether a trade at a price triggers it; a target that is a quote is ignored."""
        stop, target = self.stop, self.target
        if stop is not None and price <= stop:
            return True
        return target is not None and price >= target and self.stop_limit is None

    def take_over(self, former: Order) -> None:
        """During the latency, trigger at the levels that the replaced resting order shares.

        At the venue the former order acts until its replacement arrives. If the former order had
        not arrived itself, the levels that it took over act instead. A target that is a quote does
        not act meanwhile.
        """
        if not self.rests or not former.is_waiting or self.due_ts <= self.intent_ts:
            return
        stop, target, self.early_ts = former.stop, former.target, former.due_ts
        if former.early_ts is not None and self.intent_ts < former.due_ts:
            stop, target, self.early_ts = former.early_stop, former.early_target, former.early_ts
        if stop is not None and self.stop is not None:
            self.early_stop = min(stop, self.stop)
        is_quote = self.stop_limit is not None or former.stop_limit is not None
        if target is not None and self.target is not None and not is_quote:
            self.early_target = max(target, self.target)

    def is_reached_early(self, price: int, ts: int) -> bool:
        """Return whether a trade triggers it before it is due."""
        if self.early_ts is None or ts < self.early_ts:
            return False
        stop, target = self.early_stop, self.early_target
        return (stop is not None and price <= stop) or (target is not None and price >= target)

    def would_take(self, price: int) -> bool:
        """Return whether a LIMIT_MAKER order at its first tick would take at a price."""
        limit = self.limit
        if limit is None or self.has_met_market or self.time_in_force != MAKER_ONLY:
            return False
        return price <= limit if self.side == BUY else price >= limit

    def follow(self, price: int, price_step: int) -> None:
        """Raise a trailing stop after a trade, rounded up to a whole step; it is never lowered."""
        if self.trail is None or self.stop is None:
            return
        stop = -(-(price * (BPS - self.trail)) // (BPS * price_step)) * price_step
        if stop > self.stop:
            self.stop = stop

    def trigger(self, is_stop: bool) -> None:
        """Set the state TRIGGERED; of an OCO with a limit, one leg continues as a limit order.

        Args:
            is_stop: Whether the stop was reached, else the target.

        Raises:
            InvariantError: The order does not wait for a trigger.
        """
        self.move(_TRIGGERED)
        if self.stop_limit is None:
            return
        if is_stop:
            # It is a limit order at its first tick: it takes prices as good as its limit.
            self.limit, self.has_met_market = self.stop_limit, False
        self.stop_limit, self.time_in_force = None, GTC

    def move(self, state: OrderState) -> None:
        """Set the next state.

        Raises:
            InvariantError: The table has no such change, or the order has no trigger.
        """
        if state not in NEXT_STATES[self.state] or (state is _TRIGGERED and not self.rests):
            raise self._no_move(state)
        self.state = state

    def _no_move(self, state: OrderState) -> InvariantError:
        return InvariantError(
            "execution",
            INVARIANT_BROKEN,
            f"order {self.order_id}: {self.state} cannot become {state}",
        )

    def fill(self, qty: int) -> bool:
        """Add an executed quantity and set the state; return whether the order is filled.

        Raises:
            InvariantError: The quantity is not above zero or more than remains, or the state allows
                no fill.
        """
        filled = self.filled + qty
        left = self.qty - filled
        if qty <= 0 or left < 0:
            raise InvariantError(
                "execution",
                INVARIANT_BROKEN,
                f"order {self.order_id}: fill of {qty} with {self.remaining} remaining",
            )
        is_whole = not left
        state = _FILLED if is_whole else _PARTIALLY_FILLED
        if self.state not in FILLABLE_STATES or (self.rests and self.state is _ACCEPTED):
            raise self._no_move(state)
        self.state = state
        self.filled = filled
        return is_whole

    @property
    def end_reason(self) -> str:
        """The reason code of its end at `expires_ts`."""
        return LATE_FILL if self.is_late_at_end else EXPIRED

    def to_json(self) -> JsonObject:
        """Return the order as canonical JSON values; triggers only for a resting order."""
        triggers: JsonObject = {}
        if self.rests:
            triggers = {"stop": self.stop, "target": self.target}
        if self.trail is not None:
            triggers["trail"] = self.trail
        if self.stop_limit is not None:
            triggers["stop_limit"] = self.stop_limit
        if self.was_reached:
            triggers["was_reached"] = True
        if self.early_ts is not None:
            triggers["early"] = [self.early_ts, self.early_stop, self.early_target]
        return triggers | {
            "intent_id": self.intent.text,
            "intent_ts": self.intent_ts,
            "order_id": self.order.text,
            "client_order_id": self.client.text,
            "symbol": self.symbol,
            "side": self.side,
            "qty": self.qty,
            "qty_places": self.qty_places,
            "qty_step": self.qty_step,
            "reserve_price": self.reserve_price,
            "limit": self.limit,
            "time_in_force": self.time_in_force,
            "due_ts": self.due_ts,
            "expires_ts": self.expires_ts,
            **({"is_late_at_end": True} if self.is_late_at_end else {}),
            "state": self.state.value,
            "filled": self.filled,
            "has_met_market": self.has_met_market,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Order:
        """Return the order of `to_json`."""
        order = Order()
        order.intent = named(data["intent_id"])
        order.intent_ts = data["intent_ts"]
        order.order = named(data["order_id"])
        order.client = named(data["client_order_id"])
        order.symbol = data["symbol"]
        order.side = data["side"]
        order.qty = data["qty"]
        order.qty_places = data["qty_places"]
        order.qty_step = data["qty_step"]
        order.reserve_price = data["reserve_price"]
        order.limit = data["limit"]
        order.time_in_force = data["time_in_force"]
        order.due_ts = data["due_ts"]
        order.expires_ts = data["expires_ts"]
        order.is_late_at_end = bool(data.get("is_late_at_end"))
        order.state = OrderState(data["state"])
        order.filled = data["filled"]
        order.has_met_market = data["has_met_market"]
        order.stop = data.get("stop")
        order.target = data.get("target")
        order.trail = data.get("trail")
        order.stop_limit = data.get("stop_limit")
        order.was_reached = bool(data.get("was_reached"))
        order.early_ts, order.early_stop, order.early_target = data.get("early", (None,) * 3)
        order.rests = order.stop is not None or order.target is not None
        return order


def is_late_first(intent: IntentMessage, expires_ts: int) -> bool:
    """Return whether an intent is too late for its signal before it expires."""
    return intent.late_ts is not None and intent.late_ts < expires_ts


def order_of(
    intent: IntentMessage, rules: OrderRules, reserve_price: int, due_ts: int, expires_ts: int
) -> Order:
    """Return the order of an intent with valid fields: accepted, nothing filled.

    A resting order never expires by time. `rules` are the venue's for the symbol; the attributes of
    `Order` explain the other arguments.
    """
    order = Order()
    asked = order.intent = intent.ref()
    order.intent_ts = intent.ts
    order.order = derived(ORDER_ROLE, asked, 0)
    order.client = intent.client
    order.symbol = intent.symbol
    order.side = intent.side
    order.qty = intent.qty
    order.qty_places = rules.qty_places
    order.qty_step = rules.qty_step
    order.reserve_price = reserve_price
    order.limit = intent.limit
    order.time_in_force = intent.time_in_force or GTC
    order.due_ts = due_ts
    order.expires_ts = expires_ts
    order.state = _ACCEPTED
    order.filled = 0
    order.has_met_market = False
    order.stop = intent.stop
    order.target = intent.target
    order.trail = intent.trail
    order.stop_limit = None
    order.was_reached = False
    order.early_ts = order.early_stop = order.early_target = None
    if intent.order_type == MAKER_ONLY:
        order.time_in_force = MAKER_ONLY
    if intent.order_type == OCO and intent.limit is not None:
        order.limit, order.stop_limit, order.time_in_force = intent.target, intent.limit, MAKER_ONLY
    order.rests = order.stop is not None or order.target is not None
    order.is_late_at_end = is_late_first(intent, expires_ts)
    if order.rests:
        order.expires_ts = RESTS_UNTIL
    elif order.is_late_at_end and intent.late_ts is not None:
        order.expires_ts = intent.late_ts
    return order
