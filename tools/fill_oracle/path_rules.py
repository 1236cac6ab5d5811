"""Rules by which an engine reads bars, and the trade that follows from them.

Each class of difference is one rule that an engine has and minibot has not. `trade_under` computes
an entry's trade under any set of them, so a class explains a difference only where it gives the
other engine's bars, prices and side exactly.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from tools.fill_oracle.entry_plan import Bars, Entry, PlainBar

STOP: Final = "stop"
TARGET: Final = "target"

ENTRY_AT_CLOSE: Final = "entry at the close"
BAR_PRICE: Final = "price without a spread"
HIGH_FIRST: Final = "high before low"
OWN_PRICE: Final = "gap at the level"
WHOLE_BAR: Final = "stop before the open"
STOP_IN_BAR: Final = "gap back to the stop"

CLASSES: Final = {
    ENTRY_AT_CLOSE: "a purchase decided on a bar's close is filled at that close, not at the next "
    "open",
    BAR_PRICE: "a bar's prices are bid and ask at once; minibot sells at the bid, a price "
    "increment below",
    HIGH_FIRST: "the high comes before the low, so of a stop and a target in one bar the target "
    "is hit",
    OWN_PRICE: "a stop or target beyond which the market opens is filled at its own price, not at "
    "that open",
    STOP_IN_BAR: "a stop below which the market opens is filled at its own price if the bar comes "
    "back to it",
    WHOLE_BAR: "a bar's low is compared with the stop first, even where the bar opened beyond the "
    "target",
}
"""Sentence of each class, from the view of the engine that has the rule."""

PEERS: Final = {
    "freqtrade": (BAR_PRICE, STOP_IN_BAR, WHOLE_BAR),
    "nautilus": (ENTRY_AT_CLOSE, BAR_PRICE, HIGH_FIRST, OWN_PRICE),
}
"""Rules that each engine has and minibot has not."""


class Trade(NamedTuple):
    """Trade as an engine made it: bars by their opening time, prices in hundred-millionths."""

    opened_ts: int
    entry: int
    closed_ts: int
    exit: int
    side: str


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reader of bars for one entry under a set of rules.

    Attributes:
        entry: The entry.
        spread: Distance of the price at which is sold from the price of the bar.
        rules: The rules.
    """

    entry: Entry
    spread: int
    rules: Collection[str]

    def exit_in(self, bar: PlainBar) -> tuple[int, str] | None:
        """Return price and side of the exit in a bar; None for none."""
        entry = self.entry
        opened, high, low = (price - self.spread for price in (bar.open, bar.high, bar.low))
        at_stop, at_target = low <= entry.stop, high >= entry.target
        if WHOLE_BAR in self.rules and at_stop:
            return self._stopped(opened, high), STOP
        if opened <= entry.stop:
            return self._stopped(opened, high), STOP
        if opened >= entry.target:
            return (entry.target if OWN_PRICE in self.rules else opened), TARGET
        if at_target and (HIGH_FIRST in self.rules or not at_stop):
            return entry.target, TARGET
        return (entry.stop, STOP) if at_stop else None

    def _stopped(self, opened: int, high: int) -> int:
        """Return the price of a stop in a bar that meets it."""
        stop = self.entry.stop
        comes_back = STOP_IN_BAR in self.rules and high >= stop
        return stop if opened > stop or OWN_PRICE in self.rules or comes_back else opened


def trade_under(bars: Bars, entry: Entry, rules: Collection[str] = ()) -> Trade | None:
    """Return the trade of an entry; None if no bar meets a level.

    Args:
        bars: The market.
        entry: The entry.
        rules: Names of `CLASSES`; without any the trade is minibot's.
    """
    rows = bars.rows
    reader = _Reader(entry, 0 if BAR_PRICE in rules else bars.step, rules)
    bought = rows[entry.at].close if ENTRY_AT_CLOSE in rules else rows[entry.at + 1].open
    for bar in islice(rows, entry.at + 1, None):
        left = reader.exit_in(bar)
        if left is not None:
            return Trade(rows[entry.at + 1].open_ts, bought, bar.open_ts, *left)
    return None
