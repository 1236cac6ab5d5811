"""Order book of one symbol, kept from a snapshot and diffs, readable at any time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from minibot.exchanges.tapes.decimals import to_units

# Prices repeat: a cached one costs a quarter of a parsed one.
_PRICES_MAX: Final = 1 << 13
_prices: dict[str, int] = {}


def _price(text: str) -> int:
    """Return `to_units(text)`, cached."""
    units = _prices.get(text)
    if units is None:
        if len(_prices) >= _PRICES_MAX:
            _prices.clear()
        units = _prices[text] = to_units(text)
    return units


class Side:
    """One side: quantity strings by price, and sorted prices; `sign` puts the best one first."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._levels: dict[int, tuple[str, str]] = {}
        self._order: list[int] = []  # Prices times sign, ascending: the best first.

    def set(self, price: str, qty: str) -> None:
        """Set the quantity at a price; zero removes the level, if there is one."""
        key = self._sign * _price(price)
        if qty.strip("0."):
            if key not in self._levels:
                insort(self._order, key)
            self._levels[key] = (price, qty)
        elif self._levels.pop(key, None) is not None:
            del self._order[bisect_left(self._order, key)]

    def replace(self, levels: Iterable[Sequence[str]]) -> None:
        """Replace all levels by the given ones."""
        self._levels = {self._sign * to_units(p): (p, q) for p, q in levels if to_units(q)}
        self._order = sorted(self._levels)

    def best(self, count: int) -> list[tuple[str, str]]:
        """Return the best `count` levels as (price, quantity), best first."""
        return [self._levels[key] for key in self._order[:count]]


class OrderBook:
    """Bids and asks, with the id of the last update included."""

    def __init__(self) -> None:
        self.bids = Side(-1)
        self.asks = Side(1)
        self.update_id = 0
        self.is_known = False
        self.gaps = 0

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Load a REST depth body as the whole book."""
        self.bids.replace(snapshot["bids"])
        self.asks.replace(snapshot["asks"])
        self.update_id = snapshot["lastUpdateId"]
        self.is_known = True

    def apply(self, diff: Mapping[str, Any]) -> None:
        """Apply a depthUpdate; one that is older than the book has no effect."""
        if diff["u"] <= self.update_id:
            return
        if diff["U"] > self.update_id + 1:
            self.gaps += 1
        for price, qty in diff["b"]:
            self.bids.set(price, qty)
        for price, qty in diff["a"]:
            self.asks.set(price, qty)
        self.update_id = diff["u"]

    def snapshot(self, limit: int) -> dict[str, Any]:
        """Return the body of a REST depth answer with up to `limit` levels on each side."""
        return {
            "lastUpdateId": self.update_id,
            "bids": self.bids.best(limit),
            "asks": self.asks.best(limit),
        }
