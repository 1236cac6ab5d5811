"""A market's history as a source of events, the input of a backtest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final, NamedTuple, Protocol

from minibot.events.model import Payload
from minibot.events.names import TICKS
from minibot.events.unit_sizes import NEVER

# Speed of a file's clock: no machine delays anything, so no grace period grows with the speed.
REAL_TIME: Final = Fraction(1)


class Root(NamedTuple):
    """One event from outside before it has an id: its payload and market time (Unix ms).

    `queue` is `market_ticks`, or `control` for the control events of a recorded run.
    """

    payload: Payload
    ts: int
    queue: str = TICKS


class Watch(Protocol):
    """Levels and orders of the bot, for a source of bars that has no ticks.

    A file of bars does not show the prices between a bar's four. Where the bot would act in
    between, the source adds a tick, as the price has passed that point.
    """

    def levels(self, symbol: str) -> Sequence[int]:
        """Return the bids at which an open position is closed, in hundred-millionths."""
        ...

    def until(self, symbol: str) -> int:
        """Return the time at which these levels change next without a tick, Unix ms."""
        ...

    def is_waiting(self, symbol: str) -> bool:
        """Return whether an order of the symbol is not settled yet."""
        ...

    def is_held(self, symbol: str) -> bool:
        """Return whether the symbol has an open position."""
        ...

    def is_bidding(self, symbol: str) -> bool:
        """Return whether a purchase of the symbol rests."""
        ...

    def is_due(self, symbol: str, bid: int) -> bool:
        """Return whether an open position is closed at a bid, in hundred-millionths."""
        ...

    def on_entry_at_low(self) -> None:
        """Count a position opened at the low of a bar, after its high."""
        ...


class Nobody:
    """Watch without a bot, for callers that need only a market's events."""

    def levels(self, symbol: str) -> Sequence[int]:
        """Return no level."""
        return ()

    def until(self, symbol: str) -> int:
        """Return a time that never comes."""
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

    def is_due(self, symbol: str, bid: int) -> bool:
        """Return False."""
        return False

    def on_entry_at_low(self) -> None:
        """Do nothing."""


NOBODY: Final = Nobody()


class MarketSource(Protocol):
    """A market's history as events, in order of time.

    Attributes:
        name: The source word as it was given.
        symbols: The symbols of its market.
        origin_ms: When it begins.
        end_ms: When it ends; None if unknown, or if it brings its own `run_ending`.
        interval_ms: Least time between its prices; a second for ticks.
        assumptions: The facts that it had to assume, one sentence each, for every report.
    """

    name: str
    symbols: tuple[str, ...]
    origin_ms: int
    end_ms: int | None
    interval_ms: int
    assumptions: tuple[str, ...]

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the events from the beginning: rules, history, then the market itself."""
        ...
