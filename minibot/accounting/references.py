"""Reference prices of the venue's filters: the average price of the last minutes.

Limit prices have to lie within percent bands around it, and the value of an order at the market is
judged at it. The market role tells the average about once a minute. The touch takes its place
before the first one, once the last one is older than the minutes of which it is made, and where the
venue judges by the last price (`percent_minutes` 0), for which no average is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minibot.events.model import AveragePrice, JsonObject
from minibot.events.money import amount_text, parse_amount
from minibot.events.unit_sizes import MINUTE_MS


class References:
    """The last average prices, by symbol."""

    __slots__ = ("_averages",)

    def __init__(self) -> None:
        """Start without any."""
        # Price in hundred-millionths, and the last millisecond of market time at which it holds.
        self._averages: dict[str, tuple[int, int]] = {}

    def take(self, average: AveragePrice, ts: int) -> None:
        """Take an average that was reported at market time `ts`, Unix ms."""
        until = ts + average.minutes * MINUTE_MS
        self._averages[average.symbol] = (parse_amount(average.price), until)

    def price(self, symbol: str, now: int, touch: int) -> int:
        """Return the reference price of a symbol at market time `now`, in hundred-millionths.

        Args:
            symbol: Its name.
            now: Market time, Unix ms.
            touch: The price of the touch, which is returned where no average holds.
        """
        found = self._averages.get(symbol)
        return touch if found is None or now > found[1] else found[0]

    @property
    def is_empty(self) -> bool:
        """True while no average was reported."""
        return not self._averages

    def to_json(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            name: [amount_text(price), until] for name, (price, until) in self._averages.items()
        }

    @staticmethod
    def from_json(state: Mapping[str, Any]) -> References:
        """Return the references of `to_json`."""
        references = References()
        for name, (price, until) in state.items():
            references._averages[name] = (parse_amount(price), until)
        return references
