"""Round trips: a position of one symbol from flat to flat, and its result after fees.

A round trip is a trade as freqtrade counts one: all purchases and sales of a position, its profit
the net proceeds less the whole cost with fees, its ratio that profit to the cost. Differences: the
amounts are exact, each rounded against the bot, and so is the ratio, to eight places down. A lot
that was carried in without the record of its trip counts at its cost, without the fee it had paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.cores.messages import FillMessage
from minibot.events.model import BUY, JsonObject
from minibot.events.money import UNIT, amount_text, cost_up, parse_amount, proceeds_down
from minibot.events.native import mypyc_attr

RATIO_UNIT: Final[int] = UNIT
"""A ratio of one, as ratios are scaled."""


@mypyc_attr(acyclic=True)
@final
class RoundTrip:
    """Round trip of one symbol, open or closed; amounts in hundred-millionths of the quote asset.

    Attributes:
        opened_ts, closed_ts: Times of its first and its last fill, Unix ms; 0 while it is open.
        spent, received: What its purchases cost with their fees, what its sales brought after them.
        reason: Why it was closed, a reason code; empty where risk did not say.
    """

    __slots__ = ("_written", "closed_ts", "opened_ts", "reason", "received", "spent", "symbol")

    def __init__(self, symbol: str, opened_ts: int, spent: int) -> None:
        """Start with what was spent so far."""
        self.symbol: str = symbol
        self.opened_ts: int = opened_ts
        self.closed_ts: int = 0
        self.spent: int = spent
        self.received: int = 0
        self.reason: str = ""
        # As JSON until its next fill, as each fill reports all; only its reason may come between.
        self._written: JsonObject | None = None

    @property
    def profit(self) -> int:
        """The profit after fees."""
        return self.received - self.spent

    @property
    def ratio(self) -> int:
        """Profit to cost, in hundred-millionths, rounded down; 0 for a trip that cost nothing."""
        return self.profit * RATIO_UNIT // self.spent if self.spent else 0

    def to_json(self) -> JsonObject:
        """Return the round trip as canonical JSON values, which no caller changes."""
        written = self._written
        if written is None or written["reason"] != self.reason:
            written = self._written = {
                "closed_ts": self.closed_ts,
                "opened_ts": self.opened_ts,
                "reason": self.reason,
                "received": amount_text(self.received),
                "spent": amount_text(self.spent),
                "symbol": self.symbol,
            }
        return written

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> RoundTrip:
        """Return the round trip of `to_json`."""
        trip = RoundTrip(data["symbol"], data["opened_ts"], parse_amount(data["spent"]))
        trip.closed_ts, trip.reason = data["closed_ts"], data["reason"]
        trip.received = parse_amount(data["received"])
        return trip


@final
class RoundTrips:
    """The open round trips of one run, by symbol."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        """Start flat."""
        self.open: dict[str, RoundTrip] = {}

    def carry(self, symbol: str, ts: int, cost: int) -> None:
        """Take a position that the run starts with, unless its trip is known."""
        if symbol not in self.open:
            self.open[symbol] = RoundTrip(symbol, ts, cost)

    def on_fill(self, fill: FillMessage, is_flat: bool, reason: str) -> RoundTrip | None:
        """Take a fill; return the round trip that it closes, else None.

        Args:
            fill: The fill.
            is_flat: Whether the caller takes the symbol as flat after it: dust may be left.
            reason: Reason of the exit, by risk's last report.
        """
        trip = self.open.get(fill.symbol)
        if trip is None:
            trip = self.open[fill.symbol] = RoundTrip(fill.symbol, fill.ts, 0)
        trip._written = None
        if fill.side == BUY:
            # A fee in the base asset has been paid with the notional.
            trip.spent += cost_up(fill.qty, fill.price) + (0 if fill.pays_in_base else fill.fee)
        else:
            trip.received += proceeds_down(fill.qty, fill.price) - fill.fee
        if not is_flat:
            return None
        del self.open[fill.symbol]
        trip.closed_ts, trip.reason = fill.ts, reason
        return trip

    def state(self) -> list[JsonObject]:
        """Return the open trips as canonical JSON values, by symbol."""
        return [self.open[symbol].to_json() for symbol in sorted(self.open)]

    @staticmethod
    def from_state(state: list[Mapping[str, Any]]) -> RoundTrips:
        """Return the round trips of `state`."""
        trips = RoundTrips()
        for data in state:
            trips.open[data["symbol"]] = RoundTrip.from_json(data)
        return trips
