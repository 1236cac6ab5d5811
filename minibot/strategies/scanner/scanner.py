"""Scanner: closed bars of many symbols in, one ranking of them out; pure and deterministic.

Only its inputs and their market times decide. Symbols are compared in the order of their names, so
the order in which simultaneous bars arrive does not matter, and a scanner restored from its state
continues with the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, final

from minibot.cores.closed_bar import ClosedBar
from minibot.events.intervals import REGIME_INTERVAL
from minibot.events.model import JsonObject
from minibot.features.lossless import float_from, float_text
from minibot.strategies.bars import BarSeries, interval_ms
from minibot.strategies.scanner.factors import BARS_MIN, Factors, factors_of
from minibot.strategies.scanner.ranking import Measured, Ranked, ranked
from minibot.strategies.scanner.regime import (
    REGIME_BARS_MIN,
    REGIME_MS,
    Regime,
    boundary,
    regime_from,
    regime_of,
)
from minibot.strategies.scanner.settings import ONCHAIN, SOCIAL, ScannerSettings

BAR_WAIT_MS: Final = 5_000
"""Market time after a scan's moment during which bars closed at that moment may still arrive."""


class Scan(NamedTuple):
    """One scan: all symbols at a moment, under the present regime.

    Attributes:
        ts: Moment of the scan, market time in ms; live bars that closed later are not in it.
        regime: Regime and weights.
        rows: Ranked symbols by rank, then those without a score.
    """

    ts: int
    regime: Regime
    rows: tuple[Ranked, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """The ranked symbols, best first."""
        return tuple(row.symbol for row in self.rows if row.rank is not None)

    def to_json(self) -> JsonObject:
        """Return it as one JSON object."""
        regime = self.regime
        return {
            "ts": self.ts,
            "regime": {**regime._asdict(), "weights": list(regime.weights)},
            "rows": [row.to_json() for row in self.rows],
        }


@final
class _Scanned:
    """One symbol's bars, and their figures."""

    __slots__ = ("_factors", "_is_stale", "bars", "regime_bars")

    def __init__(self, interval: str) -> None:
        self.bars: BarSeries = BarSeries(interval, BARS_MIN, 0)
        self.regime_bars: BarSeries = BarSeries(REGIME_INTERVAL, REGIME_BARS_MIN + 1, 0)
        self._is_stale: bool = True
        self._factors: Factors | None = None

    def add(self, bar: ClosedBar) -> None:
        """Take a closed bar of the scanner's own interval."""
        self.bars.add(bar)
        self._is_stale = True
        if bar.is_live:  # A scan would need those of all symbols at once.
            self.factors()

    def factors(self) -> Factors | None:
        """Return the figures of its bars; None if there are too few, or nothing was traded."""
        if self._is_stale:
            bars = self.bars.bars
            self._factors = factors_of(bars) if len(bars) == BARS_MIN else None
            self._is_stale = False
        return self._factors

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {"bars": self.bars.state(), "regime_bars": self.regime_bars.state()}

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.bars.restore(state["bars"])
        self.regime_bars.restore(state["regime_bars"])
        self._is_stale = True


@final
class Scanner:
    """Scanner of a market; see the module.

    Attributes:
        settings: Its intervals and thresholds.
        regime: The present regime; None before the first scan.
        due_ts: When the next scan is due; -1 before the first time is known.
    """

    __slots__ = ("_length_ms", "_ranked", "_symbols", "_values", "due_ts", "regime", "settings")

    def __init__(self, settings: ScannerSettings, symbols: Iterable[str] = ()) -> None:
        """Start with the symbols to rank; others join with their first bar."""
        self.settings: ScannerSettings = settings
        self._length_ms: int = interval_ms(settings.interval)
        self._symbols: dict[str, _Scanned] = {}
        # The symbols to rank; None before a universe: all with bars.
        self._ranked: frozenset[str] | None = None
        # Newest value by feed, with its time; it may come before its symbol joins.
        self._values: dict[str, tuple[float, int]] = {}
        self.regime: Regime | None = None
        self.due_ts: int = -1
        for symbol in symbols:
            self._of(symbol)

    # --- inputs -------------------------------------------------------------------------------

    def watch(self, symbols: Iterable[str]) -> None:
        """Rank only these symbols from now on.

        All keep their bars: a symbol that left still sends some, and history only adds newer ones.
        """
        self._ranked = frozenset(symbols)
        for symbol in sorted(self._ranked):
            self._of(symbol)

    def take_bar(self, symbol: str, bar: ClosedBar) -> None:
        """Take a closed bar; ignore one of an interval that it does not use."""
        if bar.interval == self.settings.interval:
            self._of(symbol).add(bar)
        if bar.interval == REGIME_INTERVAL:
            self._of(symbol).regime_bars.add(bar)

    def take_value(self, feed: str, value: float, ts: int) -> None:
        """Take a value of a local feed at a market time; ignore feeds of other names.

        Args:
            feed: Name of the feed: `social_btcusdt` gives points to BTCUSDT, `onchain_btcusdt` is
                its on-chain volume.
            value: A finite number.
            ts: Time from which it is valid. A scan takes the newest value that has come, even if it
                became valid after the scan's moment, while the scan waited for bars.
        """
        if feed.startswith((SOCIAL, ONCHAIN)):
            self._values[feed] = value, ts

    # --- scans --------------------------------------------------------------------------------

    def due(self, now: int, bar: ClosedBar | None = None) -> int | None:
        """Return the moment of the scan that is due now, before `bar` is taken; None if none is.

        Moments are whole multiples of the interval between scans. A scan is made once `BAR_WAIT_MS`
        have passed since its moment, or once a bar arrives that closed after it. Of several moments
        that passed without an input, only the last is scanned.

        Args:
            now: Market time.
            bar: The bar that arrives, if any.
        """
        every_ms = self.settings.every_ms
        if self.due_ts < 0:
            self.due_ts = now - now % every_ms + every_ms
            return None
        reached = now - BAR_WAIT_MS
        if bar is not None and bar.is_live and self._reads(bar):
            reached = max(reached, bar.open_ts + interval_ms(bar.interval) - 1)
        if reached < self.due_ts:
            return None
        moment = reached - reached % every_ms
        self.due_ts = moment + every_ms
        return moment

    def scan(self, ts: int) -> Scan:
        """Rank all symbols at a market time, by the bars taken so far.

        The regime is decided again if a 00, 04 ... 20 UTC has passed since the last decision.
        """
        regime = self.regime
        if regime is None or regime.since_ts != boundary(ts):
            regime = self.regime = self._regime(boundary(ts))
        measured = {
            symbol: self._measured(symbol, scanned, ts) for symbol, scanned in self._compared()
        }
        return Scan(ts, regime, ranked(measured, regime.weights, self.settings))

    # --- state --------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        return {
            "due_ts": self.due_ts,
            "ranked": None if self._ranked is None else sorted(self._ranked),
            "regime": None if self.regime is None else list(self.regime),
            "symbols": {
                symbol: scanned.state() for symbol, scanned in sorted(self._symbols.items())
            },
            "values": {
                feed: [float_text(value), ts] for feed, (value, ts) in sorted(self._values.items())
            },
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described, under the same settings."""
        self.due_ts = state["due_ts"]
        self.regime = None if state["regime"] is None else regime_from(state["regime"])
        ranked = state.get("ranked")
        self._ranked = None if ranked is None else frozenset(ranked)
        self._symbols = {}
        for symbol, one in state["symbols"].items():
            self._of(symbol).restore(one)
        values = state.get("values", {})
        self._values = {feed: (float_from(value), ts) for feed, (value, ts) in values.items()}

    # --- parts --------------------------------------------------------------------------------

    def _of(self, symbol: str) -> _Scanned:
        scanned = self._symbols.get(symbol)
        if scanned is None:
            scanned = self._symbols[symbol] = _Scanned(self.settings.interval)
        return scanned

    def _compared(self) -> list[tuple[str, _Scanned]]:
        """Return the symbols to rank, by name."""
        ranked = self._ranked
        return sorted(
            (symbol, scanned)
            for symbol, scanned in self._symbols.items()
            if ranked is None or symbol in ranked
        )

    def _reads(self, bar: ClosedBar) -> bool:
        return bar.interval in (self.settings.interval, REGIME_INTERVAL)

    def _measured(self, symbol: str, scanned: _Scanned, ts: int) -> Measured:
        lacks = self._lacks(scanned, ts)
        if lacks:
            return Measured(None, lacks)
        factors = scanned.factors()
        if factors is None:
            return Measured(None, f"nothing was traded in {BARS_MIN - 1} bars")
        name = symbol.lower()
        feed_ms = self.settings.feed_age_ms_max
        return Measured(
            factors,
            "",
            _fresh(self._values.get(SOCIAL + name), ts, feed_ms),
            _fresh(self._values.get(ONCHAIN + name), ts, feed_ms),
        )

    def _lacks(self, scanned: _Scanned, ts: int) -> str:
        """Return the bars that are missing for a score; empty if none is missing."""
        interval = self.settings.interval
        bars = scanned.bars.bars
        if len(bars) < BARS_MIN:
            return f"{len(bars)} of {BARS_MIN} bars of {interval}"
        age_ms = ts - bars[-1].open_ts - self._length_ms
        if age_ms > self.settings.bars_age_max * self._length_ms:
            return f"{age_ms // self._length_ms} newest bars of {interval}"
        return ""

    def _regime(self, since_ts: int) -> Regime:
        """Return the regime of a 00, 04 ... 20 UTC; a symbol may lack the newest bar alone."""
        closes = []
        missing = 0
        for _, scanned in self._compared():
            bars = [bar for bar in scanned.regime_bars.bars if bar.open_ts + REGIME_MS <= since_ts]
            is_late = not bars or since_ts - bars[-1].open_ts > 2 * REGIME_MS
            if is_late or len(bars) < REGIME_BARS_MIN:
                missing += 1
            else:
                closes.append([bar.close for bar in bars])
        return regime_of(closes, missing, since_ts, self.settings.bounds)


def _fresh(one: tuple[Any, int] | None, ts: int, age_ms_max: int) -> float | None:
    if one is None or ts - one[1] > age_ms_max:
        return None
    return float(one[0])
