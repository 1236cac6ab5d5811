"""Fill models of paper orders: at the touch, up to the displayed size, no further.

Assumptions, so that a reader of results can doubt them. An order meets the first tick of its
symbol whose `ts` is at least the intent's `ts` plus the latency. It trades against the best price
alone and takes no more than is displayed there, less what our own orders took since that price or
size last changed. The rest of a GTC order waits for a later tick; an IOC or FOK order ends with
that first tick. An order at the market that no tick meets in time meets the touch that stands, with
the last beat or two before its end. We move no price and nobody reacts to us. A limit order that
crosses the touch when it first meets it is a taker at the touch; one that rests is filled as a
maker at its own limit, never better, once the opposite touch reaches it. Nobody is queued before
us.

That is the fill model `touch`, class `FillModel`. `WorseFills` doubts the price: everything happens
one price increment further away. `execution.queue_fills` doubts that nobody is queued before us,
`execution.book_fills` that the touch is all there is. All four answer the one executor; which one
is `execution.fill_model` of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.accounting.order_rules import mid_down
from minibot.cores.event_id import place_id
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.model import BUY, Book, JsonObject
from minibot.events.money import amount_text, parse_amount
from minibot.execution.fees import MAKER, TAKER
from minibot.execution.orders import FOK, Order

TOUCH: Final = "touch"
WORSE: Final = "worse"
QUEUE: Final = "queue"
BOOK: Final = "book"


@final
class Touch:
    """Best bid and ask of a symbol, and the sizes that our own orders took from them."""

    __slots__ = (
        *("_mark_before", "ask", "ask_qty", "ask_taken", "bid", "bid_qty", "bid_taken", "id"),
        *("is_usable", "last", "seq", "ts"),
    )

    def __init__(self) -> None:
        """Start with nothing displayed; `id`, `seq` and `ts` are those of the last tick.

        `is_usable`: both sides have a price, the bid is not above the ask, and no gap came since.
        `last`: price of the last trade, the bid before the first; 0 after a gap, and where no
        orders rest with the executor.
        """
        self.last: int = 0
        self.bid: int = 0
        self.bid_qty: int = 0
        self.bid_taken: int = 0
        self.ask: int = 0
        self.ask_qty: int = 0
        self.ask_taken: int = 0
        self.id: str = ""
        self.seq: int = 0
        self.ts: int = 0
        self.is_usable: bool = False
        self._mark_before: int = 0

    def take(self, tick: ScaledTick, seq: int) -> None:
        """Take a tick; a side whose price or size changed has its whole size available again."""
        bid, ask = tick.bid, tick.ask
        if self.bid_taken and (bid != self.bid or tick.bid_qty != self.bid_qty):
            self.bid_taken = 0
        if self.ask_taken and (ask != self.ask or tick.ask_qty != self.ask_qty):
            self.ask_taken = 0
        if 0 < bid <= ask:
            self.is_usable = True
        else:
            self._mark_before = self.mark
            self.is_usable = False
        self.bid = bid
        self.bid_qty = tick.bid_qty
        self.ask = ask
        self.ask_qty = tick.ask_qty
        self.id = tick.id
        self.seq = seq
        self.ts = tick.ts

    def distrust(self) -> None:
        """Make the touch unusable until the next tick; taken sizes stay taken."""
        self.is_usable = False
        self.last = self._mark_before = 0

    @property
    def mark(self) -> int:
        """The mid; while the touch is unusable the last usable mid, 0 before the first."""
        return mid_down(self.bid, self.ask) if self.is_usable else self._mark_before

    def price(self, side: str) -> int:
        """Return the price at which a taking order of this side trades."""
        return self.ask if side == BUY else self.bid

    def to_json(self) -> JsonObject:
        """Return the touch as canonical JSON values."""
        data: JsonObject = {
            name: amount_text(getattr(self, name))
            for name in ("bid", "bid_qty", "bid_taken", "ask", "ask_qty", "ask_taken")
        }
        if self.last:
            data["last"] = amount_text(self.last)
        if not self.is_usable and 0 < self.bid <= self.ask:
            data["is_usable"] = False
        return data | {"id": self.id or place_id(self.seq), "seq": self.seq, "ts": self.ts}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Touch:
        """Return the touch of `to_json`."""
        touch = cls()
        touch.bid, touch.bid_qty = parse_amount(data["bid"]), parse_amount(data["bid_qty"])
        touch.ask, touch.ask_qty = parse_amount(data["ask"]), parse_amount(data["ask_qty"])
        touch.is_usable = data.get("is_usable", 0 < touch.bid <= touch.ask)
        touch.bid_taken = parse_amount(data["bid_taken"])
        touch.ask_taken = parse_amount(data["ask_taken"])
        touch.last = parse_amount(data.get("last", "0"))
        touch.id, touch.seq, touch.ts = data["id"], data["seq"], data["ts"]
        return touch


class FillModel:
    """Fill model `touch`: the fill of an order at the touch, before its cash is checked.

    Attributes:
        qty, price, liquidity: Result of the last `match`.
        is_displayed: True if the quantity comes from the size of the touch, which the caller then
            lowers; False if it comes from a trade or a deeper level: the caller then calls
            `on_fill`, as for every fill with depth.
        has_queues: Whether the model follows orders from tick to tick: the caller then calls
            `begin` before orders meet a tick, and `keep` once orders have ended.
        has_depth: Whether `match` may be called again with the same tick, for the next level.
        shown: Displayed size of the matched level; 0 for the size of the touch.
    """

    __slots__ = (
        *("_is_worse", "has_depth", "has_queues", "is_displayed", "liquidity", "price", "qty"),
        "shown",
    )

    def __init__(self) -> None:
        """Trade at the touch itself."""
        self.qty: int = 0
        self.price: int = 0
        self.liquidity: str = TAKER
        self.is_displayed: bool = True
        self.has_queues: bool = False
        self.has_depth: bool = False
        self.shown: int = 0
        # Whether everything happens one price increment worse than at the touch.
        self._is_worse: bool = False

    def begin(self, tick: ScaledTick, seq: int) -> None:
        """Take the tick, line `seq`, that open orders of its symbol are about to meet."""

    def match(self, order: Order, touch: Touch, price_step: int) -> bool:
        """Find quantity and price of an order's fill at a tick; return False for no fill.

        Args:
            order: Open and due; a limit order with `has_met_market` is a maker.
            touch: The usable touch of its symbol.
            price_step: The symbol's price increment.
        """
        # A taker trades at this price; a limit has to reach it.
        if order.side == BUY:
            price, qty = touch.ask, touch.ask_qty - touch.ask_taken
            if self._is_worse:
                price += price_step
        else:
            price, qty = touch.bid, touch.bid_qty - touch.bid_taken
            if self._is_worse:
                price -= price_step
                if price <= 0:
                    return False
        limit = order.limit
        if limit is not None and not crosses(order.side, limit, price):
            return False
        remaining = order.qty - order.filled
        if qty >= remaining:
            qty = remaining
        else:
            qty = qty // order.qty_step * order.qty_step
            if qty <= 0 or order.time_in_force == FOK:
                return False
        self.qty = qty
        if limit is not None and order.has_met_market:
            self.price, self.liquidity = limit, MAKER
        else:
            self.price, self.liquidity = price, TAKER
        return True

    def parts(self, order: Order, touch: Touch) -> list[tuple[int, int]]:
        """Return quantity and price of each level that a taker would get; empty without depth."""
        return []

    def on_fill(self) -> None:
        """Remember the fill of the last match."""

    def on_book(self, book: Book) -> None:
        """Take the levels that the venue displays."""

    def on_gap(self, symbol: str) -> None:
        """Forget what was displayed before market data went missing."""

    def keep(self, orders: list[Order]) -> None:
        """Forget all orders except these."""

    def to_json(self) -> JsonObject:
        """Return the model's state as canonical JSON values; empty for models without state."""
        return {}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""


class WorseFills(FillModel):
    """The model `worse`: every price is one increment worse than displayed.

    A taker pays one increment more, or gets one less, than the touch shows; a resting order fills
    only once the opposite touch has gone one increment past its limit. A sale at the smallest
    possible price gets nothing.
    """

    def __init__(self) -> None:
        """Trade one increment past the touch."""
        super().__init__()
        self._is_worse = True


def crosses(side: str, limit: int, price: int) -> bool:
    """Return whether a price is as good as the limit of an order of that side, or better."""
    return price <= limit if side == BUY else price >= limit
