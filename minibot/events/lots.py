"""Lots and trades: what is left of a purchase, and what a sale closed of one.

Amounts are hundred-millionths (`events.money`); which lot a sale takes is `events.portfolio`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minibot.events.model import JsonObject
from minibot.events.money import amount_text, cost_up, parse_amount


@dataclass(frozen=True, slots=True)
class Lot:
    """What is left of one purchase.

    `cost` is what the rest cost, without fees. `fill_n` is the number of the fill that opened it,
    which is its line in the run's `fills`; 0 is a lot that the run started with.
    """

    symbol: str
    qty: int
    price: int
    cost: int
    ts: int
    fill_n: int
    order_id: str

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

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Lot:
        """Return the lot of `to_json`, or of a `run_opening`, which knows no cost and no fill."""
        qty, price = parse_amount(data["qty"]), parse_amount(data["price"])
        cost = data.get("cost")
        return cls(
            symbol=data["symbol"],
            qty=qty,
            price=price,
            cost=cost_up(qty, price) if cost is None else parse_amount(cost),
            ts=data["ts"],
            fill_n=data.get("fill_n", 0),
            order_id=data.get("order_id", ""),
        )


@dataclass(frozen=True, slots=True)
class Trade:
    """A lot, or a part of one, that a sale closed; gains are before fees."""

    symbol: str
    qty: int
    cost: int
    proceeds: int
    opened_ts: int
    closed_ts: int
    open_fill_n: int
    close_fill_n: int
    open_order_id: str
    close_order_id: str

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
