"""Closed bars: the form for strategies and indicators, and the input of cores without an event."""

from __future__ import annotations

from typing import Any, Final, final

from minibot.cores.event_id import EventId, of_line
from minibot.events.model import Bar
from minibot.events.native import mypyc_attr

INFINITE: Final = float("inf")


@mypyc_attr(acyclic=True)
@final
class ClosedBar:
    """A closed bar in floats; it is never changed.

    Attributes:
        interval: Its length as the profile writes it, such as `1m`.
        open_ts: When it opened, ms of exchange time.
        open, high, low, close: Prices.
        volume: Traded amount of base.
        is_live: Whether a strategy may act on it. A bar of an event is live unless its event is
            history, which klines that fill a hole are too; so all bars that one trade closes after
            a pause of the stream are live. Of the bars that a core makes from ticks and closes by
            one trade, only the newest is, even if it is flat because it fills a hole; none is if
            the hole is too long to be filled.
    """

    __slots__ = ("close", "high", "interval", "is_live", "low", "open", "open_ts", "volume")

    def __init__(
        self,
        interval: str,
        open_ts: int,
        open: float,
        high: float,
        low: float,
        close: float,
        volume: float,
        is_live: bool,
    ) -> None:
        self.interval: str = interval
        self.open_ts: int = open_ts
        self.open: float = open
        self.high: float = high
        self.low: float = low
        self.close: float = close
        self.volume: float = volume
        self.is_live: bool = is_live

    def __eq__(self, other: object) -> bool:
        """Return whether the other bar is the same, to the last bit."""
        return isinstance(other, ClosedBar) and self.state() == other.state()

    def __hash__(self) -> int:
        """Return a hash that is the same in every process, unlike the hash of a text."""
        return self.open_ts

    def __repr__(self) -> str:
        """Return the same text in every process, unlike an address."""
        prices = f"{self.open!r}, {self.high!r}, {self.low!r}, {self.close!r}"
        return f"ClosedBar({self.interval!r}, {self.open_ts}, {prices}, {self.volume!r})"

    @property
    def is_sound(self) -> bool:
        """True if low, close and high are finite, above zero and in this order; not the open."""
        return 0.0 < self.low <= self.close <= self.high < INFINITE

    @classmethod
    def of_event(cls, bar: Bar) -> ClosedBar:
        """Return the bar of an event."""
        return cls(
            bar.interval,
            bar.open_ts,
            float(bar.open),
            float(bar.high),
            float(bar.low),
            float(bar.close),
            float(bar.volume),
            not bar.is_history,
        )

    def state(self) -> list[Any]:
        """Return every bit of it as canonical JSON values."""
        floats = (self.open, self.high, self.low, self.close, self.volume)
        texts = [value.hex() for value in floats]
        return [self.interval, self.open_ts, *texts, self.is_live]

    @classmethod
    def from_state(cls, state: list[Any]) -> ClosedBar:
        """Return the bar that `state` described."""
        interval, open_ts, *texts, is_live = state
        opened, high, low, close, volume = (float.fromhex(text) for text in texts)
        return cls(interval, open_ts, opened, high, low, close, volume, is_live)


@mypyc_attr(acyclic=True)
@final
class BarInput:
    """One closed bar as input of the cores, without an event; refilled for the next bar.

    Attributes:
        symbol: The market.
        bar: The bar.
        close_units: Its last price in hundred-millionths.
        ts: Market time of the event that it would be.
    """

    __slots__ = ("_run_id", "bar", "close_units", "symbol", "ts")

    def __init__(
        self, symbol: str, bar: ClosedBar, close_units: int, ts: int = 0, run_id: str = ""
    ) -> None:
        self.symbol: str = symbol
        self.bar: ClosedBar = bar
        self.close_units: int = close_units
        self.ts: int = ts
        self._run_id: str = run_id

    def ref(self, seq: int) -> EventId:
        """Return the id of the event that it would be, as line `seq` of `market_ticks`."""
        return of_line(seq, self._run_id)
