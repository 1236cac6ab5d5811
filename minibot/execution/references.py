"""Reference prices for the venue's percent bands: the average price of the last minutes.

The market role tells the average about once a minute. The mid of the touch takes its place before
the first one, once the last one is older than the minutes of which it is made, and where the venue
judges by the last price (`percent_minutes` 0), for which no average is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minibot.accounting.order_rules import mid_down
from minibot.events.model import AveragePrice, JsonObject
from minibot.events.money import amount_text, parse_amount
from minibot.events.unit_sizes import MINUTE_MS
from minibot.execution.fills import Touch


class References:
    """The last average prices, by symbol."""

    __slots__ = ("_averages",)

    def __init__(self) -> None:
        """Start without any."""
        # Price in hundred-millionths, and until when on the run's clock it holds.
        self._averages: dict[str, tuple[int, int]] = {}

    def take(self, average: AveragePrice, ts: int) -> None:
        """Take an average that was told at `ts`, Unix ms on the run's clock."""
        until = ts + average.minutes * MINUTE_MS
        self._averages[average.symbol] = (parse_amount(average.price), until)

    def price(self, symbol: str, touch: Touch, now: int) -> int:
        """Return the reference price of a symbol at market time `now`, in hundred-millionths."""
        found = self._averages.get(symbol)
        if found is None or now > found[1]:
            return mid_down(touch.bid, touch.ask)
        return found[0]

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
