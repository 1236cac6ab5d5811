"""Average price of the last minutes, computed from bars: the reference of the venue's filters.

The venue reports its own average price only on request, at a weight of two for each symbol. Bars
hold the same trades: all of them were seen, or klines have filled the hole. The average is computed
exactly, and reported once a minute. It uses the longest bars of at most a minute that divide the
time of the average; where none are built, the shortest longer ones, and then reports once for each
of those. Pure; times are exchange time in milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from minibot.events.decimals import div_down, parse_fixed
from minibot.events.intervals import INTERVAL_MS
from minibot.events.model import AveragePrice, Bar, Instrument
from minibot.events.unit_sizes import MINUTE_MS
from minibot.exchanges.units import QUOTE_VOLUME_PLACES, decimal, units

# Minutes in the venue's filters of every symbol that was ever recorded.
MINUTES: Final = 5


def minutes_of(instrument: Instrument) -> int:
    """Return the minutes over which a symbol's percent bands need an average; 0 for none."""
    bands = (
        *(instrument.bid_percent_down, instrument.bid_percent_up),
        *(instrument.ask_percent_down, instrument.ask_percent_up),
    )
    if not any(band is not None and units(band) for band in bands):
        return 0
    return MINUTES if instrument.percent_minutes is None else instrument.percent_minutes


class _Part(NamedTuple):
    """Contribution of one bar: base in hundred-millionths, quote in their squares, its close."""

    open_ts: int
    volume: int
    quote_volume: int
    close: str


class AverageWindow:
    """Bars of the last minutes of one symbol; empty until `use` sets the number of minutes.

    Args:
        symbol: In the venue's own spelling.
        intervals: Intervals of the bars that are built.
    """

    def __init__(self, symbol: str, intervals: Iterable[str]) -> None:
        self.symbol = symbol
        self._intervals = tuple(intervals)
        self._parts: deque[_Part] = deque()
        self._written_ts = 0
        self.use(0)

    def use(self, minutes: int) -> None:
        """Average over `minutes` from now on; 0 for no average at all."""
        fitting = {
            length: interval
            for interval in self._intervals
            if minutes and (minutes * MINUTE_MS) % (length := INTERVAL_MS[interval]) == 0
        }
        # Minute bars give the same average as second bars, and are fewer; 5m bars would update it
        # late.
        minute_or_less = [length for length in fitting if length <= MINUTE_MS]
        length = max(minute_or_less, default=min(fitting, default=0))
        self.minutes = minutes
        self.interval = fitting.get(length, "")
        self._length_ms = length
        self._parts = deque(maxlen=minutes * MINUTE_MS // length if length else 0)

    def take(self, bars: Iterable[Bar]) -> None:
        """Take bars of `interval` in order of time; after missing bars the average starts over."""
        parts = self._parts
        for bar in bars:
            if parts and bar.open_ts != parts[-1].open_ts + self._length_ms:
                parts.clear()
            if bar.quote_volume is None:
                parts.clear()
                continue
            quote_volume = parse_fixed(bar.quote_volume, QUOTE_VOLUME_PLACES)
            parts.append(_Part(bar.open_ts, units(bar.volume), quote_volume, bar.close))

    def due(self) -> AveragePrice | None:
        """Return the average once for every minute that has passed; None otherwise."""
        parts = self._parts
        if not parts or len(parts) != parts.maxlen:
            return None
        to_ts = parts[-1].open_ts + self._length_ms
        if to_ts - self._written_ts < MINUTE_MS:
            return None
        self._written_ts = to_ts
        volume = sum(part.volume for part in parts)
        price = parts[-1].close
        if volume:
            price = decimal(div_down(sum(part.quote_volume for part in parts), volume))
        return AveragePrice(self.symbol, price, self.minutes, to_ts)
