"""A market's history as a source of events: what a backtest drives its cores with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final, NamedTuple, Protocol

from minibot.events.model import Payload
from minibot.events.names import TICKS
from minibot.events.unit_sizes import NEVER

# Speed of a file's clock: nothing is delayed by a machine, so no grace has to grow with the speed.
REAL_TIME: Final = Fraction(1)


class Root(NamedTuple):
    """One event from outside before it has an id: its payload and market time (Unix ms).

    `queue` is `market_ticks`, or `control` for what a recorded run was told.
    """

    payload: Payload
    ts: int
    queue: str = TICKS


class Watch(Protocol):
    """Watch on the bot for a source: only as much as a market without ticks needs to be fair.

    A file of bars does not say what happened between a bar's four prices. Where the bot would act
    in between, a tick is put there, as the price has passed that point.
    """

    def levels(self, symbol: str) -> Sequence[int]:
        """Return the bids at which an open position is left, hundred-millionths."""
        ...

    def until(self, symbol: str) -> int:
        """Return the time at which these levels change by themselves, Unix ms."""
        ...

    def is_waiting(self, symbol: str) -> bool:
        """Return whether an order of the symbol is on its way or open."""
        ...

    def is_held(self, symbol: str) -> bool:
        """Return whether the symbol has an open position."""
        ...

    def is_bidding(self, symbol: str) -> bool:
        """Return whether a purchase of the symbol rests."""
        ...

    def on_entry_at_low(self) -> None:
        """Count a position that a purchase opened at the low of a bar, behind its high."""
        ...


class Nobody:
    """Watch without a bot, for callers that want only a market's events."""

    def levels(self, symbol: str) -> Sequence[int]:
        """Return nothing."""
        return ()

    def until(self, symbol: str) -> int:
        """Return that nothing changes."""
        return NEVER

    def is_waiting(self, symbol: str) -> bool:
        """Return False."""
        return False

    def is_held(self, symbol: str) -> bool:
        """Return False."""
        return False

    def is_bidding(self, symbol: str) -> bool:
        """Return False."""
        return False

    def on_entry_at_low(self) -> None:
        """Do nothing."""


NOBODY: Final = Nobody()


class MarketSource(Protocol):
    """A market's history as events, in order of time.

    Attributes:
        name: The word that a person used.
        symbols: Of which it tells.
        origin_ms: When it begins.
        end_ms: When it ends; None for one that does not know, or says itself (`run_ending`).
        interval_ms: How far its prices lie apart at least; a second for ticks.
        assumptions: What it had to make up, one sentence each, for every report.
    """

    name: str
    symbols: tuple[str, ...]
    origin_ms: int
    end_ms: int | None
    interval_ms: int
    assumptions: tuple[str, ...]

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the events from the beginning: rules, history, then the market."""
        ...
