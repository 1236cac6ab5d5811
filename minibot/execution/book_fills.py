"""The fill model `book`: a taking order walks the recorded levels and goes no deeper.

Assumptions. Best price and size come from the touch, which is newer than any book. Then come the
levels of the last recorded `book` event that are worse than the touch. A taking order consumes
them one after another, each at its own price, up to its limit; it never gets more than the recorded
levels hold. The size that our own orders took from a level stays taken until a book shows another
size there, also if the level becomes the touch at that size or the touch becomes a level. Size
taken from the touch is free again once an order of ours finds the touch past its price; if none
looks meanwhile, it stays taken. After a gap in market data only the touch trades, until the next
book. A resting limit order is filled as in the model `touch`, less the size that our own orders
took from that level.

A FOK order is filled only if touch and levels hold all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minibot.events.decimals import round_down
from minibot.events.model import BUY, Book, JsonObject
from minibot.events.money import amount_text, parse_amount
from minibot.execution.fees import TAKER
from minibot.execution.fills import FillModel, Touch, crosses
from minibot.execution.orders import FOK, Order

Level = tuple[int, int, int]
"""Price, displayed size, and the part of it that our own orders have not taken."""


class BookFills(FillModel):
    """The last book of each symbol, and the sizes that our own orders took; see the module."""

    def __init__(self) -> None:
        """Start with no book."""
        super().__init__()
        self.has_depth = True
        self._books: dict[str, Book] = {}
        # Symbols whose last book is from before a gap; it is only compared with the next one.
        self._lost: set[str] = set()
        # Sizes taken, by symbol and price; the price of a bid is negated.
        self._taken: dict[str, dict[int, int]] = {}
        # The same for prices that were the touch: displayed size, and size taken.
        self._touched: dict[str, dict[int, tuple[int, int]]] = {}
        # The level matched last: symbol, price and displayed size.
        self._level: tuple[str, int, int] = ("", 0, 0)

    def match(self, order: Order, touch: Touch, price_step: int) -> bool:
        """Match an order with the next level that has size left."""
        if order.limit is not None and order.has_met_market:
            self.is_displayed, self.shown = True, 0
            if not super().match(order, touch, price_step):
                return False
            ((price, shown, left), *_) = self._levels(order, touch)
            self.qty = min(self.qty, round_down(left, order.qty_step))
            self._level = (order.symbol, price if order.side == BUY else -price, shown)
            return self.qty > 0
        remaining, step = order.remaining, order.qty_step
        levels = self._levels(order, touch)
        whole = sum([round_down(left, step) for _, _, left in levels if left > 0])
        if order.time_in_force == FOK and whole < remaining:
            return False
        for price, shown, left in levels:
            qty = min(remaining, round_down(left, step))
            if qty <= 0:
                continue
            self.qty, self.price, self.liquidity = qty, price, TAKER
            self.is_displayed, self.shown = price == touch.price(order.side), shown
            self._level = (order.symbol, price if order.side == BUY else -price, shown)
            return True
        return False

    def parts(self, order: Order, touch: Touch) -> list[tuple[int, int]]:
        """Return quantity and price of each level that an order would take now."""
        found: list[tuple[int, int]] = []
        remaining = order.remaining
        for price, _, left in self._levels(order, touch):
            qty = min(remaining, round_down(left, order.qty_step))
            if qty > 0:
                found.append((qty, price))
                remaining -= qty
        return found

    def _levels(self, order: Order, touch: Touch) -> list[Level]:
        """Return the levels that an order may take: the touch, then the book, up to its limit."""
        is_buy, limit = order.side == BUY, order.limit
        best, size = (touch.ask, touch.ask_qty) if is_buy else (touch.bid, touch.bid_qty)
        taken = touch.ask_taken if is_buy else touch.bid_taken
        levels: list[Level] = [(best, size, size - taken)]
        book, ours = self._books.get(order.symbol), self._taken.get(order.symbol, {})
        touched = self._touched_before(order.symbol, best, is_buy=is_buy)
        is_known = order.symbol not in self._lost
        if book is not None:
            for price_text, qty_text in book.asks if is_buy else book.bids:
                price, shown = parse_amount(price_text), parse_amount(qty_text)
                key = price if is_buy else -price
                left = shown - ours.get(key, 0)
                was_shown, was_taken = touched.get(key, (0, 0))
                if price > best if is_buy else price < best:
                    if is_known:
                        levels.append((price, shown, left - was_taken))
                elif price == best and shown == size:
                    was_taken = was_taken if was_shown == size else 0
                    levels[0] = (best, size, left - max(taken, was_taken))
        if limit is None:
            return levels
        return [level for level in levels if crosses(order.side, limit, level[0])]

    def _touched_before(
        self, symbol: str, best: int, *, is_buy: bool
    ) -> dict[int, tuple[int, int]]:
        """Return the sizes taken from touches; drop those that this side's touch has passed."""
        touched = self._touched.get(symbol)
        if not touched:
            return {}
        first = best if is_buy else -best
        for price in [key for key in touched if (key > 0) == is_buy and key < first]:
            del touched[price]
        return touched

    def on_fill(self) -> None:
        """Remember the size taken from a level, or from the touch, which a book may show later."""
        symbol, price, shown = self._level
        if not self.is_displayed:
            taken = self._taken.setdefault(symbol, {})
            taken[price] = taken.get(price, 0) + self.qty
        elif symbol in self._books:
            touched = self._touched.setdefault(symbol, {})
            was_shown, was_taken = touched.get(price, (shown, 0))
            touched[price] = (shown, self.qty + (was_taken if was_shown == shown else 0))

    def on_book(self, book: Book) -> None:
        """Keep the last levels of a symbol; a level of unchanged size keeps its taken size."""
        symbol, before = book.symbol, self._books.get(book.symbol)
        ours, touched = self._taken.pop(symbol, {}), self._touched.pop(symbol, {})
        self._books[symbol] = book
        self._lost.discard(symbol)
        if before is None or not (ours or touched):
            return
        old, new = _sizes(before), _sizes(book)
        kept = {price: qty for price, qty in ours.items() if old.get(price) == new.get(price)}
        if kept:
            self._taken[symbol] = kept
        same = {price: part for price, part in touched.items() if new.get(price) == part[0]}
        if same:
            self._touched[symbol] = same

    def on_gap(self, symbol: str) -> None:
        """Stop trading with the book, which may be out of date; taken sizes stay taken."""
        if symbol in self._books:
            self._lost.add(symbol)

    def to_json(self) -> JsonObject:
        """Return the books, and the sizes that our own orders took from levels and touches."""
        touched = {
            symbol: [
                [amount_text(price), amount_text(shown), amount_text(qty)]
                for price, (shown, qty) in prices.items()
            ]
            for symbol, prices in self._touched.items()
            if prices
        }
        return {
            "books": {symbol: book.to_json() for symbol, book in self._books.items()},
            **({"lost": sorted(self._lost)} if self._lost else {}),
            "taken": {
                symbol: [[amount_text(price), amount_text(qty)] for price, qty in taken.items()]
                for symbol, taken in self._taken.items()
            },
            **({"touched": touched} if touched else {}),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_json` returned."""
        for symbol, book in data["books"].items():
            self._books[symbol] = Book.from_json(book)
        self._lost = set(data.get("lost", ()))
        for symbol, taken in data["taken"].items():
            self._taken[symbol] = {parse_amount(price): parse_amount(qty) for price, qty in taken}
        for symbol, touched in data.get("touched", {}).items():
            self._touched[symbol] = {
                parse_amount(price): (parse_amount(shown), parse_amount(qty))
                for price, shown, qty in touched
            }


def _sizes(book: Book) -> dict[int, int]:
    """Return the size of each level by its price; the price of a bid is negated."""
    sizes = {parse_amount(price): parse_amount(qty) for price, qty in book.asks}
    return sizes | {-parse_amount(price): parse_amount(qty) for price, qty in book.bids}
