"""A paper order and the moves it may make, as a table that can be read whole.

An order is told by its intent; every move it makes becomes one `order_result`. A move that the
table lacks raises and changes nothing. Quantities add up at every moment: filled and remaining
are the ordered quantity. Amounts are hundred-millionths (`events.money`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.errors import InvariantError

GTC: Final = "GTC"
IOC: Final = "IOC"
FOK: Final = "FOK"


class OrderState(StrEnum):
    """Where an order stands; all but NEW are results that are published."""

    NEW = "NEW"
    ACCEPTED = "ACCEPTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"


TERMINAL_STATES: Final = frozenset(
    {OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED}
)

NEXT_STATES: Final[Mapping[OrderState, frozenset[OrderState]]] = {
    OrderState.NEW: frozenset({OrderState.ACCEPTED, OrderState.REJECTED, OrderState.EXPIRED}),
    OrderState.ACCEPTED: frozenset(
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


@dataclass(slots=True)
class Order:
    """One order of the paper executor; it starts as NEW with nothing filled.

    Args:
        intent_id: The id of the `order_intent` event.
        intent_ts: Its `ts`.
        order_id: Derived from the intent.
        client_order_id: As risk chose it.
        symbol: What is traded.
        side: BUY or SELL.
        qty: Above zero.
        qty_places: Places of the venue's quantity step, for texts.
        qty_step: The venue's quantity step; every fill is a multiple of it.
        reserve_price: At which price cash is set aside for what remains of a purchase.
        limit: Limit price, or None for a market order.
        time_in_force: GTC, IOC or FOK.
        due_ts: Earliest `ts` of a tick that may fill it: the modelled latency has passed.
        expires_ts: What is open at this time expires.
        state: Where it stands; `move` and `fill` alone change it.
        filled: The quantity that is executed.
        has_met_market: Whether it met a tick; what rests after that is a maker.
    """

    intent_id: str
    intent_ts: int
    order_id: str
    client_order_id: str
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
    state: OrderState = OrderState.NEW
    filled: int = 0
    has_met_market: bool = False

    @property
    def remaining(self) -> int:
        """The quantity that is not filled."""
        return self.qty - self.filled

    @property
    def is_open(self) -> bool:
        """Whether it may still be filled."""
        return self.state not in TERMINAL_STATES

    def move(self, state: OrderState) -> None:
        """Take the next state.

        Raises:
            InvariantError: The table has no such move.
        """
        if state not in NEXT_STATES[self.state]:
            raise InvariantError(
                "execution",
                INVARIANT_BROKEN,
                f"order {self.order_id}: {self.state} cannot become {state}",
            )
        self.state = state

    def fill(self, qty: int) -> None:
        """Add an executed quantity and take the state that follows from it.

        Raises:
            InvariantError: Nothing, or more than remains.
        """
        if not 0 < qty <= self.remaining:
            raise InvariantError(
                "execution",
                INVARIANT_BROKEN,
                f"order {self.order_id}: fill of {qty} with {self.remaining} remaining",
            )
        is_whole = qty == self.remaining
        self.move(OrderState.FILLED if is_whole else OrderState.PARTIALLY_FILLED)
        self.filled += qty

    def to_json(self) -> JsonObject:
        """Return the order as canonical JSON values."""
        data: JsonObject = {field.name: getattr(self, field.name) for field in fields(self)}
        data["state"] = self.state.value
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Order:
        """Return the order of `to_json`."""
        return cls(**{**data, "state": OrderState(data["state"])})
