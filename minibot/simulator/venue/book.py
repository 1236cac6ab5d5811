"""Order book of one symbol, kept from a snapshot and diffs, readable at any time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minibot.exchanges.base import EDGES
from minibot.exchanges.tapes.frames import NEAREST, edges_of
from minibot.simulator.venue.fields import PRICES, SHOWN, whole


def _checked(rows: Any) -> list[Sequence[str]]:
    """Return levels that can be applied, all of them.

    Raises:
        ValueError, TypeError: One is not a pair of a price and a quantity.
    """
    for row in rows:
        if type(row) not in (list, tuple):  # Two characters would unpack too.
            raise TypeError(f"expected [price, quantity], found {type(row).__name__}")
        price, qty = row
        PRICES[price], SHOWN[qty]
    found: list[Sequence[str]] = rows
    return found


class Side:
    """One side: quantity strings by price, and sorted prices; `sign` puts the best one first."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._levels: dict[int, tuple[str, str]] = {}
        self._order: list[int] = []  # Prices times sign, ascending: the best first.

    def set(self, price: str, qty: str) -> None:
        """Set the quantity at a price; zero removes the level, if there is one."""
        key = self._sign * PRICES[price]
        if SHOWN[qty]:
            if key not in self._levels:
                insort(self._order, key)
            self._levels[key] = (price, qty)
        elif self._levels.pop(key, None) is not None:
            del self._order[bisect_left(self._order, key)]

    def replace(self, levels: Iterable[Sequence[str]]) -> None:
        """Replace all levels by the given ones."""
        self._levels = {self._sign * PRICES[p]: (p, q) for p, q in levels if SHOWN[q]}
        self._order = sorted(self._levels)

    def nearest(self, prices: Iterable[str]) -> str | None:
        """Return the price nearest to the touch; None for none."""
        return min(prices, key=lambda price: self._sign * PRICES[price], default=None)

    def best(self, count: int) -> list[tuple[str, str]]:
        """Return the best `count` levels as (price, quantity), best first."""
        return [self._levels[key] for key in self._order[:count]]


class OrderBook:
    """Bids and asks, with the id of the last update in them."""

    def __init__(self) -> None:
        self.bids = Side(-1)
        self.asks = Side(1)
        self.update_id = 0
        self.is_known = False
        self.gaps = 0
        self._edges: list[str | None] = [None, None]
        self._has_nearest = False

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Load a REST depth body as the book, known to its edges.

        Raises:
            ValueError, KeyError, TypeError, IndexError: The body is none; the book is as before.
        """
        bids, asks = _checked(snapshot["bids"]), _checked(snapshot["asks"])
        bid, ask = edges = edges_of(snapshot)
        for edge in (bid, ask):
            if edge is not None:
                PRICES[edge]
        self.update_id = whole(snapshot["lastUpdateId"])
        self._edges, self._has_nearest = edges, NEAREST in snapshot
        self.bids.replace(bids)
        self.asks.replace(asks)
        self.is_known = True

    def apply(self, diff: Mapping[str, Any]) -> None:
        """Apply a depthUpdate; one that is older than the book has no effect.

        Raises:
            ValueError, KeyError, TypeError: It is none; the book is as before.
        """
        first_id, last_id = whole(diff["U"]), whole(diff["u"])
        bids, asks = _checked(diff["b"]), _checked(diff["a"])
        if last_id <= self.update_id:
            return
        if first_id > self.update_id + 1:
            self.gaps += 1
        for price, qty in bids:
            self.bids.set(price, qty)
        for price, qty in asks:
            self.asks.set(price, qty)
        self.update_id = last_id

    def snapshot(self, limit: int) -> dict[str, Any]:
        """Return the body of a REST depth answer with up to `limit` levels on each side."""
        return {
            "lastUpdateId": self.update_id,
            "bids": self.bids.best(limit),
            "asks": self.asks.best(limit),
        }

    def depth(self, limit: int) -> dict[str, Any]:
        """Return a depth answer, with its edges where the source does not know all levels."""
        body = self.snapshot(limit)
        if not self._has_nearest and not any(self._edges):
            return body
        edges: list[str | None] = []
        for side, rows, edge in zip(
            (self.bids, self.asks), (body["bids"], body["asks"]), self._edges, strict=True
        ):
            prices = [] if edge is None else [edge]
            if rows and (self._has_nearest or len(rows) == limit):
                prices.append(rows[-1][0])
            edges.append(side.nearest(prices))
        return {**body, EDGES: edges}
