"""Market returns: figures over the moves of closed bars, which judge entries.

Four figures, each off without its keys: correlation of the entry's symbol with those that are held,
correlation with the benchmark, the benchmark's volatility ratio, and drift of the symbol's own
returns. Correlated symbols also form a cluster, whose notional is capped. All of them are reckoned
from closed bars of `strategy.bar_interval` in whole numbers, so that a night, its replay and a
backtest decide alike. Bars that are missing or too old let nothing enter, nor do bars without any
move, but for drift, which is then 0. A held symbol without them counts into every cluster, and
draws all others into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.cores.core_profile import CoreProfile
from minibot.events.decimals import parse_fixed
from minibot.events.intervals import INTERVAL_MS
from minibot.events.model import JsonObject
from minibot.events.native import mypyc_attr
from minibot.events.reasons import (
    BENCHMARK_CORRELATION,
    CORRELATION,
    DRIFT,
    VOLATILITY_RATIO,
    WARMUP,
)
from minibot.features.bar_returns import BarReturns
from minibot.features.correlation import correlation
from minibot.features.return_drift import return_drift
from minibot.features.volatility_ratio import volatility_ratio
from minibot.risk.checks import AT_LEAST, NOT_ASKED, Gate, Row
from minibot.risk.positions import Positions

PLACES_4: Final = 4
"""Correlations, ratios and distances are in ten-thousandths."""

AGE_BARS: Final = 2
"""Bars by which the newest may be late: one is closing, one may be on its way."""

OF_CORRELATION: Final = Gate(CORRELATION, CORRELATION, PLACES_4)
OF_BENCHMARK: Final = Gate(BENCHMARK_CORRELATION, BENCHMARK_CORRELATION, PLACES_4)
OF_VOLATILITY: Final = Gate(VOLATILITY_RATIO, VOLATILITY_RATIO, PLACES_4)
OF_DRIFT: Final = Gate(DRIFT, DRIFT, PLACES_4)
CORRELATION_BARS: Final = Gate("correlation_bars", WARMUP, passes=AT_LEAST)
BENCHMARK_BARS: Final = Gate("benchmark_bars", WARMUP, passes=AT_LEAST)
VOLATILITY_BARS: Final = Gate("volatility_bars", WARMUP, passes=AT_LEAST)
DRIFT_BARS: Final = Gate("drift_bars", WARMUP, passes=AT_LEAST)


@final
class ReturnRules:
    """The keys of market returns; a limit that is `NOT_ASKED` is off, a count of bars 0.

    Attributes:
        benchmark: The market that stands for all; empty for none.
        correlation_bars: Returns of a correlation.
        correlation_max, benchmark_max: Largest correlation with held symbols, with the benchmark.
        cluster_min: Correlation from which two symbols are of one cluster.
        cluster_bps: Largest share of equity in a cluster.
        short, long: Returns of the volatility ratio.
        volatility_max: Its limit.
        recent, reference: Returns of drift: of late, and those before.
        drift_max: Its limit.
        horizon_short, horizon_long: Returns of the ratio that a position's horizon follows.
    """

    __slots__ = (
        "benchmark",
        "benchmark_max",
        "cluster_bps",
        "cluster_min",
        "correlation_bars",
        "correlation_max",
        "drift_max",
        "horizon_long",
        "horizon_short",
        "long",
        "recent",
        "reference",
        "short",
        "volatility_max",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take the keys of the whole resolved configuration."""
        risk = CoreProfile.of(config).risk
        self.benchmark: str = risk.benchmark_symbol or ""
        self.correlation_bars: int = risk.correlation_bars or 0
        self.correlation_max: int = _limit(risk.correlation_max)
        self.benchmark_max: int = _limit(risk.benchmark_correlation_max)
        self.cluster_min: int = _limit(risk.cluster_correlation_min)
        self.cluster_bps: int = risk.cluster_share_bps_max or 0
        self.short: int = risk.volatility_bars_short or 0
        self.long: int = risk.volatility_bars_long or 0
        self.volatility_max: int = _limit(risk.volatility_ratio_max)
        self.recent: int = risk.drift_bars or 0
        self.reference: int = risk.drift_reference_bars or 0
        self.drift_max: int = _limit(risk.drift_max)
        self.horizon_short: int = risk.horizon_bars_short or 0
        self.horizon_long: int = risk.horizon_bars_long or 0

    def period(self) -> int:
        """Return how many returns of a symbol are kept; 0 where nothing asks for any."""
        most = max(self.long, self.recent + self.reference, self.horizon_long)
        if self.correlation_bars:
            # So that symbols whose bars come one behind the other stand side by side.
            most = max(most, self.correlation_bars + AGE_BARS)
        return most


def _limit(text: str | None) -> int:
    return NOT_ASKED if text is None else parse_fixed(text, PLACES_4)


@mypyc_attr(acyclic=True)
@final
class Reading:
    """Reading of one entry: its figures, `NOT_ASKED` where one is off or not known.

    Attributes:
        with_held: The highest correlation with a symbol that is held or being bought.
        with_benchmark: The correlation with the benchmark; not asked of the benchmark itself.
        ratio: The benchmark's volatility ratio.
        shift: The drift of the entry's symbol.
        correlation_bars, benchmark_bars, volatility_bars, drift_bars: The bars that count for each:
            the least of the symbols concerned, up to what is needed. Those of a correlation are of
            the entry's symbol alone where nothing else is held. A market that does not move has too
            few for a correlation or a ratio.
    """

    __slots__ = (
        "benchmark_bars",
        "correlation_bars",
        "drift_bars",
        "ratio",
        "shift",
        "volatility_bars",
        "with_benchmark",
        "with_held",
    )

    def __init__(self) -> None:
        """Start with nothing asked."""
        self.with_held: int = NOT_ASKED
        self.correlation_bars: int = NOT_ASKED
        self.with_benchmark: int = NOT_ASKED
        self.benchmark_bars: int = NOT_ASKED
        self.ratio: int = NOT_ASKED
        self.volatility_bars: int = NOT_ASKED
        self.shift: int = NOT_ASKED
        self.drift_bars: int = NOT_ASKED


def return_rows(reading: Reading, rules: ReturnRules) -> tuple[Row, ...]:
    """Return the checks of an entry by its reading; bars first, then the figure over them."""
    return (
        (CORRELATION_BARS, reading.correlation_bars, rules.correlation_bars),
        (OF_CORRELATION, reading.with_held, rules.correlation_max),
        (BENCHMARK_BARS, reading.benchmark_bars, rules.correlation_bars),
        (OF_BENCHMARK, reading.with_benchmark, rules.benchmark_max),
        (VOLATILITY_BARS, reading.volatility_bars, rules.long),
        (OF_VOLATILITY, reading.ratio, rules.volatility_max),
        (DRIFT_BARS, reading.drift_bars, rules.recent + rules.reference),
        (OF_DRIFT, reading.shift, rules.drift_max),
    )


@final
class MarketReturns:
    """The returns of each symbol's closed bars, and the figures over them.

    Attributes:
        rules: Of the profile.
        is_on: Whether any figure is asked.
        symbols: The returns by symbol.
    """

    __slots__ = (
        "_length_ms",
        "_pairs",
        "_period",
        "_ratios",
        "_shifts",
        "is_on",
        "rules",
        "symbols",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take the keys of the whole resolved configuration; no bar is known."""
        self.rules: ReturnRules = ReturnRules(config)
        self._period: int = self.rules.period()
        self.is_on: bool = self._period > 0
        self._length_ms: int = 0
        if self.is_on:
            self._length_ms = INTERVAL_MS[CoreProfile.of(config).strategy.bar_interval]
        self.symbols: dict[str, BarReturns] = {}
        # Figures already reckoned, with the bars that they are of; reckoned anew after a restart.
        self._pairs: dict[tuple[str, str], tuple[int, int, int | None]] = {}
        self._ratios: dict[str, tuple[int, int | None]] = {}
        self._shifts: dict[str, tuple[int, int | None]] = {}

    def on_bar(self, symbol: str, open_ts: int, close: int) -> None:
        """Take a closed bar of the strategy's interval; a bar seen before is left out.

        Args:
            symbol: The market.
            open_ts: When it opened, Unix ms.
            close: Its last price in hundred-millionths.
        """
        returns = self.symbols.get(symbol)
        if returns is None:
            returns = self.symbols[symbol] = BarReturns(self._period, self._length_ms)
        returns.update(open_ts, close)

    # --- gates --------------------------------------------------------------------------------

    def reading(self, symbol: str, positions: Positions, now: int) -> Reading:
        """Return the figures by which an entry in a symbol is judged at market time `now`."""
        rules, found = self.rules, Reading()
        if rules.correlation_max != NOT_ASKED:
            found.correlation_bars = own = self._count(symbol, rules.correlation_bars, now)
            for other in positions.beside(symbol):
                bars, value = self._compared(symbol, own, other, now)
                if bars < found.correlation_bars:
                    found.correlation_bars = bars
                if value > found.with_held:
                    found.with_held = value
        if rules.benchmark_max != NOT_ASKED and symbol != rules.benchmark:
            own = self._count(symbol, rules.correlation_bars, now)
            bars, value = self._compared(symbol, own, rules.benchmark, now)
            found.benchmark_bars, found.with_benchmark = bars, value
        if rules.volatility_max != NOT_ASKED:
            found.volatility_bars = self._count(rules.benchmark, rules.long, now)
            ratio = self._ratio(rules.benchmark)
            if ratio is None:
                # Enough bars of a market that stands still are no better than none.
                found.volatility_bars = min(found.volatility_bars, rules.long - 1)
            elif found.volatility_bars == rules.long:
                found.ratio = ratio
        if rules.drift_max != NOT_ASKED:
            found.drift_bars = self._count(symbol, rules.recent + rules.reference, now)
            shift = self._shift(symbol)
            if shift is not None and found.drift_bars == rules.recent + rules.reference:
                found.shift = shift
        return found

    def _count(self, symbol: str, needed: int, now: int) -> int:
        """Return how many returns of a symbol count, up to those needed; 0 for old ones."""
        returns = self.symbols.get(symbol)
        if returns is None or now - returns.closed_ts > AGE_BARS * self._length_ms:
            return 0
        return min(returns.count, needed)

    def _compared(self, symbol: str, own: int, other: str, now: int) -> tuple[int, int]:
        """Return the bars of two symbols that count, and their correlation if it is known.

        Args:
            symbol: The first one.
            own: Its `_count` for a correlation, the same for each other symbol.
            other: The second one.
            now: Market time.
        """
        needed = self.rules.correlation_bars
        bars = self._count(other, needed, now)
        if own < bars:
            bars = own
        if bars < needed:
            return bars, NOT_ASKED
        value = self._correlation(symbol, other)
        return (0, NOT_ASKED) if value is None else (bars, value)

    # --- clusters -----------------------------------------------------------------------------

    def cluster_notional(self, symbol: str, positions: Positions, now: int) -> int:
        """Return the notional that the other symbols of a cluster hold and may still buy."""
        notional = 0
        for other in self.cluster(symbol, positions.beside(symbol), now):
            notional += positions.reserved(other)
            held = positions.held.get(other)
            if held is not None:
                notional += held.value
        return notional

    def cluster(self, symbol: str, beside: set[str], now: int) -> set[str]:
        """Return the symbols beside the entry's that are of its cluster.

        One belongs to it that correlates enough with the entry's symbol, or with another that
        belongs to it. One whose correlation is not known belongs to it as well.

        Args:
            symbol: The entry's.
            beside: The other symbols that are held or being bought.
            now: Market time.
        """
        waiting, left = [symbol], set(beside)
        found: set[str] = set()
        while waiting and left:
            member = waiting.pop()
            own = self._count(member, self.rules.correlation_bars, now)
            joined = {other for other in left if self._is_close(member, own, other, now)}
            left -= joined
            found |= joined
            waiting.extend(joined)
        return found

    def _is_close(self, symbol: str, own: int, other: str, now: int) -> bool:
        bars, value = self._compared(symbol, own, other, now)
        return bars < self.rules.correlation_bars or value >= self.rules.cluster_min

    # --- figures ------------------------------------------------------------------------------

    def _correlation(self, symbol: str, other: str) -> int | None:
        pair = (symbol, other) if symbol < other else (other, symbol)
        first, second = self.symbols[pair[0]], self.symbols[pair[1]]
        known = self._pairs.get(pair)
        if known is not None and known[0] == first.open_ts and known[1] == second.open_ts:
            return known[2]
        value = correlation(first, second, self.rules.correlation_bars)
        self._pairs[pair] = (first.open_ts, second.open_ts, value)
        return value

    def _ratio(self, symbol: str) -> int | None:
        returns = self.symbols.get(symbol)
        if returns is None:
            return None
        known = self._ratios.get(symbol)
        if known is not None and known[0] == returns.open_ts:
            return known[1]
        value = volatility_ratio(returns, self.rules.short, self.rules.long)
        self._ratios[symbol] = (returns.open_ts, value)
        return value

    def horizon_ratio(self, symbol: str) -> int | None:
        """Return the volatility ratio that the horizon of a symbol follows; None while unknown."""
        returns, rules = self.symbols.get(symbol), self.rules
        if returns is None or not rules.horizon_long:
            return None
        return volatility_ratio(returns, rules.horizon_short, rules.horizon_long)

    def _shift(self, symbol: str) -> int | None:
        returns = self.symbols.get(symbol)
        if returns is None:
            return None
        known = self._shifts.get(symbol)
        if known is not None and known[0] == returns.open_ts:
            return known[1]
        value = return_drift(returns, self.rules.recent, self.rules.reference)
        self._shifts[symbol] = (returns.open_ts, value)
        return value

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return the returns of all symbols as canonical JSON values."""
        return {symbol: returns.state() for symbol, returns in self.symbols.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, where it was kept by the same keys.

        Other keys need other bars: nothing is known then.
        """
        for symbol, data in state.items():
            returns = BarReturns.from_state(data)
            if (returns.period, returns.length_ms) == (self._period, self._length_ms):
                self.symbols[symbol] = returns
