"""VADR as a gate: entries only where the market is livelier today than it usually is.

The ratio is reckoned per symbol from closed bars of `risk.vadr_bar_interval`, of one venue alone:
rules that name another venue than before begin the symbol anew. With too few readings it is frozen,
and so it is where bars are late or did not move; then nothing enters, and the check says so.
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
from minibot.risk.checks import AT_LEAST, NOT_ASKED, Gate, Row
from minibot.risk.market_returns import AGE_BARS, PLACES_4

VADR_UNIT: Final[int] = 10**PLACES_4
"""A ratio of one: as lively as ever."""

READINGS: Final = Gate("vadr_readings", VADR_FROZEN, passes=AT_LEAST)
OF_VADR: Final = Gate("vadr_ratio", VADR_LOW, PLACES_4, passes=AT_LEAST)


@mypyc_attr(acyclic=True)
@final
class VadrReading:
    """Reading of one entry.

    Attributes:
        count: The readings that count, fewer than needed where bars are late or do not move.
        ratio: VADR in ten-thousandths, rounded down; `NOT_ASKED` while it is frozen.
    """

    __slots__ = ("count", "ratio")

    def __init__(self) -> None:
        """Start frozen."""
        self.count: int = 0
        self.ratio: int = NOT_ASKED


def vadr_rows(reading: VadrReading, needed: int, least: int) -> tuple[Row, ...]:
    """Return the checks of an entry by its reading; readings first, then the ratio over them.

    Args:
        reading: What closed bars say.
        needed: The readings of the median.
        least: The least ratio in ten-thousandths.
    """
    return (
        (READINGS, reading.count, needed),
        (OF_VADR, reading.ratio, least),
    )


@final
class VadrGate:
    """VADR of each symbol.

    Attributes:
        is_on: Whether the profile asks for it.
        bar_interval: Bars that it is reckoned from; empty where it is off.
        needed: The readings of the median.
        least: The least ratio in ten-thousandths.
        symbols: By symbol.
        venues: The venue that the rules of a symbol named last, where they named one.
    """

    __slots__ = ("_length_ms", "bar_interval", "is_on", "least", "needed", "symbols", "venues")

    def __init__(self, config: JsonObject) -> None:
        """Take the keys of the whole resolved configuration; no bar is known."""
        risk = CoreProfile.of(config).risk
        least, interval = risk.vadr_min, risk.vadr_bar_interval
        self.is_on: bool = least is not None and interval is not None
        self.bar_interval: str = interval or ""
        self.needed: int = risk.vadr_bars or 0
        self.least: int = 0 if least is None else parse_fixed(least, PLACES_4)
        self._length_ms: int = INTERVAL_MS[self.bar_interval] if self.is_on else 0
        self.symbols: dict[str, Vadr] = {}
        self.venues: dict[str, str] = {}

    def on_bar(self, symbol: str, bar: ClosedBar) -> None:
        """Take a closed bar of the gate's interval; a bar seen before is left out."""
        vadr = self.symbols.get(symbol)
        if vadr is None:
            vadr = self.symbols[symbol] = Vadr(self._length_ms, self.needed)
        vadr.update(bar.open_ts, bar.high, bar.low, bar.close, bar.volume)

    def on_instrument(self, instrument: Instrument) -> None:
        """Begin a symbol anew whose rules name another venue than before."""
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
            # Enough bars of a market that stands still are no better than none.
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
        """Take over what `state` returned, where it was kept by the same keys.

        Other keys need other bars: nothing is known then.
        """
        for symbol, data in state.get("symbols", {}).items():
            if (data["length_ms"], data["period"]) == (self._length_ms, self.needed):
                self.symbols[symbol] = Vadr.from_state(data)
        self.venues.update(state.get("venues", {}))
