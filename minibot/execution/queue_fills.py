"""The fill model `queue`: a resting limit order waits behind the size displayed at its price.

Assumptions. Orders that take at once (market orders, limits that cross at their first tick) trade
as in the model `touch`. A resting limit order joins the end of the queue. Ahead of it is the size
displayed at its price at that moment: the size of the touch if the limit is the best price, else
the size in the last recorded `book` event; nothing if the limit is better than the touch. From then
on

* a trade at its price by a taker of the other side first consumes the queue ahead, then fills it;
* a trade through its price, or the opposite touch at its price, proves that the queue is gone and
  fills it;
* neither gives more than the trade's quantity or the displayed size, and always at the limit.

Doubt counts against our orders. Cancelled size was behind them. If no book reaches the price, the
queue is unknown: trades at the price fill nothing until touch or book show it, and then all that
they show is ahead. A gap in market data shortens no queue. A trade at the price with an unknown
taker fills nothing; a trade through the price fills whichever side took.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minibot.cores.scaled_tick import ScaledTick
from minibot.events.decimals import round_down
from minibot.events.model import BUY, SELL, Book, JsonObject, MarketTick
from minibot.events.money import amount_text, parse_amount
from minibot.execution.fees import MAKER
from minibot.execution.fills import FillModel, Touch, crosses
from minibot.execution.orders import Order


class QueueFills(FillModel):
    """Queues of our resting orders, and the last book of each symbol; see the module."""

    def __init__(self) -> None:
        """Start with no book and no order in a queue."""
        super().__init__()
        self.has_queues = True
        self._books: dict[str, Book] = {}
        self._ahead: dict[str, int | None] = {}
        self._trade_price: int = 0
        self._trade_left: int = 0
        self._taker_side: str = ""

    def begin(self, tick: ScaledTick, seq: int) -> None:
        """Take the tick; all our orders share the quantity of its trade."""
        self._trade_left = 0
        market_tick = tick.event(seq).payload
        if (
            isinstance(market_tick, MarketTick)
            and market_tick.kind == "trade"
            and market_tick.qty is not None
        ):
            self._trade_price = parse_amount(market_tick.price)
            self._trade_left = parse_amount(market_tick.qty)
            self._taker_side = market_tick.taker_side or ""

    def match(self, order: Order, touch: Touch, price_step: int) -> bool:
        """Match an order with the touch, or with the trade once the queue ahead is consumed."""
        limit = order.limit
        if limit is None or crosses(order.side, limit, touch.price(order.side)):
            self.is_displayed = True
            if order.has_met_market:
                self._ahead[order.order_id] = 0
            return super().match(order, touch, price_step)
        if not order.has_met_market:
            self._ahead[order.order_id] = self._displayed(order, limit, touch)
            return False
        if self._ahead.get(order.order_id) is None:
            # The queue is known from now on, or still unknown. A size shown now already includes
            # this tick's trade, which must not shorten it; only a trade through the price counts.
            self._ahead[order.order_id] = self._displayed(order, limit, touch)
            if not self._is_through(order.side, limit):
                return False
        self.qty = min(order.remaining, round_down(self._given(order, limit), order.qty_step))
        self.price, self.liquidity, self.is_displayed = limit, MAKER, False
        return self.qty > 0

    def _given(self, order: Order, limit: int) -> int:
        """Return the quantity of this tick's trade for an order, and shorten its queue."""
        if self._is_through(order.side, limit):
            self._ahead[order.order_id] = 0
            return self._trade_left
        against = SELL if order.side == BUY else BUY
        if self._trade_price != limit or self._taker_side != against:
            return 0
        ahead = self._ahead[order.order_id] or 0
        self._ahead[order.order_id] = max(0, ahead - self._trade_left)
        return max(0, self._trade_left - ahead)

    def _is_through(self, side: str, limit: int) -> bool:
        if self._trade_left <= 0:
            return False
        return self._trade_price < limit if side == BUY else self._trade_price > limit

    def _displayed(self, order: Order, limit: int, touch: Touch) -> int | None:
        """Return the size displayed at a limit that does not cross; None if unknown."""
        is_buy = order.side == BUY
        best, size = (touch.bid, touch.bid_qty) if is_buy else (touch.ask, touch.ask_qty)
        if limit == best:
            return size
        if limit > best if is_buy else limit < best:
            return 0
        book = self._books.get(order.symbol)
        if book is None:
            return None
        for price_text, qty_text in book.bids if is_buy else book.asks:
            price = parse_amount(price_text)
            if price == limit:
                return parse_amount(qty_text)
            if price < limit if is_buy else price > limit:
                return 0
        return None

    def on_fill(self) -> None:
        """Subtract the fill from the quantity of its trade."""
        self._trade_left -= self.qty

    def on_book(self, book: Book) -> None:
        """Keep the last levels of a symbol."""
        self._books[book.symbol] = book

    def on_gap(self, symbol: str) -> None:
        """Forget the book; queues keep their length, though trades may have been missed."""
        self._books.pop(symbol, None)

    def keep(self, orders: list[Order]) -> None:
        """Forget the queues of closed orders."""
        if self._ahead:
            kept = {order.order_id for order in orders}
            self._ahead = {name: ahead for name, ahead in self._ahead.items() if name in kept}

    def to_json(self) -> JsonObject:
        """Return books and queues; the rest of a trade only lasts for its step."""
        return {
            "books": {symbol: book.to_json() for symbol, book in self._books.items()},
            "ahead": {
                name: None if ahead is None else amount_text(ahead)
                for name, ahead in self._ahead.items()
            },
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        for symbol, book in data["books"].items():
            self._books[symbol] = Book.from_json(book)
        self._ahead = {
            name: None if text is None else parse_amount(text)
            for name, text in data["ahead"].items()
        }
