"""VADR gate: entries only while the market is livelier than usual.

The ratio is computed per symbol from closed bars of `risk.vadr_bar_interval` of a single venue: if
the rules of a symbol name another venue than before, its readings start again. With too few
readings, late bars or bars without movement the ratio is frozen: the check fails and shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.cores.closed_bar import ClosedBar
from minibot.cores.core_profile import CoreProfile
from minibot.events.decimals import parse_fixed
from minibot.events.intervals import INTERVAL_MS
from minibot.events.model import Instrument, JsonObject
from minibot.events.native import mypyc_attr
from minibot.events.reasons import VADR_FROZEN, VADR_LOW
from minibot.features.lossless import is_finite
from minibot.features.vadr import Vadr
from minibot.risk.checks import AT_LEAST, SKIPPED, Gate, Row
from minibot.risk.market_returns import AGE_BARS, PLACES_4

VADR_UNIT: Final[int] = 10**PLACES_4
"""A ratio of one: as lively as usual."""

READINGS: Final = Gate("vadr_readings", VADR_FROZEN, passes=AT_LEAST)
OF_VADR: Final = Gate("vadr_ratio", VADR_LOW, PLACES_4, passes=AT_LEAST)


@mypyc_attr(acyclic=True)
@final
class VadrReading:
    """Figures of one entry.

    Attributes:
        count: The readings that count; fewer than needed if bars are late or do not move.
        ratio: VADR in ten-thousandths, rounded down; `SKIPPED` while it is frozen.
    """

    __slots__ = ("count", "ratio")

    def __init__(self) -> None:
        """Start frozen."""
        self.count: int = 0
        self.ratio: int = SKIPPED


def vadr_rows(reading: VadrReading, needed: int, least: int) -> tuple[Row, ...]:
    """Return the checks of an entry's figures: the number of readings, then the ratio.

    Args:
        reading: The figures.
        needed: Number of readings in the median.
        least: Lowest allowed ratio in ten-thousandths.
    """
    return (
        (READINGS, reading.count, needed),
        (OF_VADR, reading.ratio, least),
    )


@final
class VadrGate:
    """VADR of each symbol.

    Attributes:
        is_on: Whether the profile has the gate.
        bar_interval: Interval of its bars; empty if it is off.
        needed: Number of readings in the median.
        least: Lowest allowed ratio in ten-thousandths.
        symbols: The VADR by symbol.
        venues: The venue that the rules of a symbol named last, if they named one.
    """

    __slots__ = ("_length_ms", "bar_interval", "is_on", "least", "needed", "symbols", "venues")

    def __init__(self, config: JsonObject) -> None:
        """Take the keys of the whole resolved configuration; no bar is known."""
        risk = CoreProfile.of(config).risk
        least, interval = risk.vadr_min, risk.vadr_bar_interval
        self.is_on: bool = least is not None
        self.bar_interval: str = interval or ""
        self.needed: int = risk.vadr_bars or 0
        self.least: int = parse_fixed(least or "0", PLACES_4)
        self._length_ms: int = INTERVAL_MS[self.bar_interval] if self.is_on else 0
        self.symbols: dict[str, Vadr] = {}
        self.venues: dict[str, str] = {}

    def on_bar(self, symbol: str, bar: ClosedBar) -> None:
        """Take a closed bar of the gate's interval; ignore one seen before."""
        vadr = self.symbols.get(symbol)
        if vadr is None:
            vadr = self.symbols[symbol] = Vadr(self._length_ms, self.needed)
        vadr.update(bar.open_ts, bar.high, bar.low, bar.close, bar.volume)

    def on_instrument(self, instrument: Instrument) -> None:
        """Forget the readings of a symbol if its rules name another venue than before."""
        symbol, venue = instrument.symbol, instrument.venue
        if venue is None:
            return
        if self.venues.get(symbol, venue) != venue:
            self.symbols.pop(symbol, None)
        self.venues[symbol] = venue

    def reading(self, symbol: str, now: int) -> VadrReading:
        """Return the readings that count and the ratio of a symbol at market time `now`."""
        found, vadr = VadrReading(), self.symbols.get(symbol)
        if vadr is None or now - vadr.closed_ts > AGE_BARS * self._length_ms:
            return found
        found.count = vadr.count
        if not vadr.is_ready:
            return found
        value = vadr.value
        if value is None or not is_finite(value):
            # Bars of a market that does not move count as too few.
            found.count = self.needed - 1
        else:
            found.ratio = int(value * VADR_UNIT)
        return found

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "symbols": {symbol: vadr.state() for symbol, vadr in self.symbols.items()},
            "venues": dict(self.venues),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, if the keys are the same.

        Other keys need other bars: then nothing is known.
        """
        for symbol, data in state.get("symbols", {}).items():
            if (data["length_ms"], data["period"]) == (self._length_ms, self.needed):
                self.symbols[symbol] = Vadr.from_state(data)
        self.venues.update(state.get("venues", {}))
