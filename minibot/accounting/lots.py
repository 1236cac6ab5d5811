"""Lots and trades: a purchase that is still held, and the part of one that a sale closed.

Amounts are hundred-millionths (`events.money`); `accounting.portfolio` decides which lot a sale
takes. Both are never changed once made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from minibot.cores.event_id import EventId, named
from minibot.events.decimals import mul_div_up
from minibot.events.model import BUY, Fill, JsonObject
from minibot.events.money import PLACES, UNIT, amount_text, cost_up, parse_amount
from minibot.events.native import mypyc_attr


@mypyc_attr(acyclic=True)
@final
class Lot:
    """Remainder of one purchase; `lot_of` makes one.

    Attributes:
        qty, price: Quantity that remains, and the price at which it was bought.
        cost: Cost of the remainder, without fees.
        ts: Time of the purchase, Unix ms.
        fill_n: Number of the fill that opened it, which is its line in the run's `fills`; 0 for a
            lot that the run started with.
        order: Id of the order that bought it; empty for a lot that the run started with.
    """

    __slots__ = ("cost", "fill_n", "order", "price", "qty", "symbol", "ts")

    symbol: str
    qty: int
    price: int
    cost: int
    ts: int
    fill_n: int
    order: EventId

    @property
    def order_id(self) -> str:
        """The id of the order that bought it."""
        return self.order.text

    def less(self, qty: int, cost: int) -> Lot:
        """Return the lot that remains once a quantity and its cost are taken off."""
        rest, left = self.qty - qty, self.cost - cost
        return lot_of(self.symbol, rest, self.price, left, self.ts, self.fill_n, self.order)

    def __eq__(self, other: object) -> bool:
        """Return whether the other is a lot with the same values."""
        return isinstance(other, Lot) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """Return a hash that is equal for equal lots."""
        return hash((self.symbol, self.qty, self.cost, self.ts, self.fill_n))

    def to_json(self) -> JsonObject:
        """Return the lot as canonical JSON values."""
        return {
            "symbol": self.symbol,
            "qty": amount_text(self.qty),
            "price": amount_text(self.price),
            "cost": amount_text(self.cost),
            "ts": self.ts,
            "fill_n": self.fill_n,
            "order_id": self.order_id,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Lot:
        """Return the lot of `to_json`, or of a `run_opening`, which names no fill and no order.

        Without a `cost`, which the schema does not require, it is quantity times price, rounded up.
        """
        qty, price = parse_amount(data["qty"]), parse_amount(data["price"])
        cost = data.get("cost")
        return lot_of(
            symbol=data["symbol"],
            qty=qty,
            price=price,
            cost=cost_up(qty, price) if cost is None else parse_amount(cost),
            ts=data["ts"],
            fill_n=data.get("fill_n", 0),
            order=named(data.get("order_id", "")),
        )


def lot_of(
    symbol: str, qty: int, price: int, cost: int, ts: int, fill_n: int, order: EventId
) -> Lot:
    """Return a lot; see its attributes."""
    lot = Lot()
    lot.symbol = symbol
    lot.qty = qty
    lot.price = price
    lot.cost = cost
    lot.ts = ts
    lot.fill_n = fill_n
    lot.order = order
    return lot


@final
class Holding:
    """Holding of one symbol.

    Attributes:
        lots: The open lots, oldest first.
        qty, cost: Their total quantity, and its cost without fees.
        dust_lots: How many of the oldest lots together are dust, after which the position begins;
            risk alone sets it, at each fill.
    """

    __slots__ = ("cost", "dust_lots", "lots", "qty")

    def __init__(self) -> None:
        """Start with nothing."""
        self.lots: list[Lot] = []
        self.qty: int = 0
        self.cost: int = 0
        self.dust_lots: int = 0

    @property
    def opened_ts(self) -> int:
        """Time of the purchase that opened the position, Unix ms."""
        return self.lots[self.dust_lots].ts

    def price_avg(self) -> int:
        """Return the average price of the holding, before fees, rounded up."""
        return mul_div_up(self.cost, UNIT, self.qty)

    def cost_of_newest(self, qty: int) -> int:
        """Return the cost, before fees, of so much of the newest lots."""
        cost = 0
        for lot in reversed(self.lots):
            part = min(qty, lot.qty)
            cost += cost_up(part, lot.price)
            qty -= part
        return cost


@mypyc_attr(acyclic=True)
@final
class Trade:
    """A lot, or a part of one, that a sale closed; gains are before fees."""

    __slots__ = ("_closed_by", "_lot", "close_fill_n", "closed_ts", "cost", "proceeds", "qty")

    def __init__(
        self, lot: Lot, qty: int, cost: int, proceeds: int, ts: int, fill_n: int, order: EventId
    ) -> None:
        self._lot: Lot = lot
        self.qty: int = qty
        self.cost: int = cost
        self.proceeds: int = proceeds
        self.closed_ts: int = ts
        self.close_fill_n: int = fill_n
        self._closed_by: EventId = order

    @property
    def symbol(self) -> str:
        """The symbol that was bought and sold."""
        return self._lot.symbol

    @property
    def opened_ts(self) -> int:
        """Time at which the lot was bought, Unix ms."""
        return self._lot.ts

    @property
    def open_fill_n(self) -> int:
        """The number of the fill that opened the lot."""
        return self._lot.fill_n

    @property
    def open_order_id(self) -> str:
        """The id of the order that bought it."""
        return self._lot.order.text

    @property
    def close_order_id(self) -> str:
        """The id of the order that sold it."""
        return self._closed_by.text

    @property
    def realised_pnl(self) -> int:
        """The closed gain, before fees."""
        return self.proceeds - self.cost

    def to_json(self) -> JsonObject:
        """Return the trade as canonical JSON values."""
        return {
            "symbol": self.symbol,
            "qty": amount_text(self.qty),
            "cost": amount_text(self.cost),
            "proceeds": amount_text(self.proceeds),
            "realised_pnl": amount_text(self.realised_pnl),
            "opened_ts": self.opened_ts,
            "closed_ts": self.closed_ts,
            "open_fill_n": self.open_fill_n,
            "close_fill_n": self.close_fill_n,
            "open_order_id": self.open_order_id,
            "close_order_id": self.close_order_id,
        }


def is_dust_left(fill: Fill, left: int) -> bool:
    """Return whether a fill is a sale that left dust: less than one unit of its last place.

    Quantities are told with the places of the venue's step, so that nothing of it can be sold. To
    be asked only where fees were taken in coins.
    """
    return fill.side != BUY and 0 < left < _step(fill)


def is_dust_before(fill: Fill, held: int) -> bool:
    """Return whether a fill is a purchase while only dust is held; see `is_dust_left`."""
    return fill.side == BUY and 0 < held < _step(fill)


def _step(fill: Fill) -> int:
    """Return one unit of the last place of a fill's quantity."""
    places = len(fill.qty.partition(".")[2])
    return int(10 ** max(PLACES - places, 0))
