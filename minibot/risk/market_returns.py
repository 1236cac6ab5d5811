"""Market returns: gates for entries by figures over the returns of closed bars.

Four figures, each off without its keys: correlation of the entry's symbol with held symbols,
correlation with the benchmark, the benchmark's volatility ratio, and drift of the symbol's own
returns. Correlated symbols also form a cluster, whose notional is capped. All figures are computed
from closed bars of `strategy.bar_interval` in whole numbers, so that a night, its replay and a
backtest decide alike. Where bars are missing, too old or without any move, no entry is allowed;
only drift is then 0. A held symbol without enough bars belongs to every cluster and joins all
others to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.cores.core_profile import CoreProfile
from minibot.events.decimals import parse_fixed
from minibot.events.intervals import INTERVAL_MS
from minibot.events.model import JsonObject
from minibot.events.money import amount_json
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
from minibot.risk.checks import AT_LEAST, SKIPPED, Gate, Row
from minibot.risk.positions import Positions

PLACES_4: Final = 4
"""Correlations, ratios and distances are in ten-thousandths."""

AGE_BARS: Final = 2
"""Bars by which the newest may be late: one is still open, one may not have arrived yet."""

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
    """The keys of market returns; a limit that is `SKIPPED` is off, a count of bars 0.

    Attributes:
        benchmark: The market that represents all others; empty for none.
        correlation_bars: Number of returns in a correlation.
        correlation_max, benchmark_max: Largest correlation with held symbols, with the benchmark.
        cluster_min: Correlation from which two symbols belong to one cluster.
        cluster_bps: Largest share of equity in a cluster.
        short, long: Numbers of returns in the volatility ratio.
        volatility_max: Largest volatility ratio.
        recent, reference: Numbers of returns in drift: the newest, and those before.
        drift_max: Largest drift.
        horizon_short, horizon_long: Numbers of returns in the ratio for a position's horizon.
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
        """Return how many returns of a symbol are kept; 0 if no figure needs any."""
        most = max(self.long, self.recent + self.reference, self.horizon_long)
        if self.correlation_bars:
            # Bars of two symbols arrive one after another: the same span is still there in both.
            most = max(most, self.correlation_bars + AGE_BARS)
        return most


def _limit(text: str | None) -> int:
    return SKIPPED if text is None else parse_fixed(text, PLACES_4)


@mypyc_attr(acyclic=True)
@final
class Reading:
    """Figures of one entry; each is `SKIPPED` if it is off or unknown.

    Attributes:
        with_held: The highest correlation with a symbol that is held or being bought.
        with_benchmark: The correlation with the benchmark; off for the benchmark itself.
        ratio: The benchmark's volatility ratio.
        shift: The drift of the entry's symbol.
        correlation_bars, benchmark_bars, volatility_bars, drift_bars: The number of bars that
            count for each figure: the smallest among its symbols, up to the number needed. A
            market that does not move counts as one with too few bars for correlation and ratio.
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
        """Start with all figures off."""
        self.with_held: int = SKIPPED
        self.correlation_bars: int = SKIPPED
        self.with_benchmark: int = SKIPPED
        self.benchmark_bars: int = SKIPPED
        self.ratio: int = SKIPPED
        self.volatility_bars: int = SKIPPED
        self.shift: int = SKIPPED
        self.drift_bars: int = SKIPPED


def return_rows(reading: Reading, rules: ReturnRules) -> tuple[Row, ...]:
    """Return the checks of an entry's figures: for each the number of bars, then the figure."""
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
        rules: The keys of the profile.
        is_on: Whether the profile uses any figure.
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
        # Figures computed so far, with the newest bars they include; not kept over a restart.
        self._pairs: dict[tuple[str, str], tuple[int, int, int | None]] = {}
        self._ratios: dict[str, tuple[int, int | None]] = {}
        self._shifts: dict[str, tuple[int, int | None]] = {}

    def on_bar(self, symbol: str, open_ts: int, close: int) -> None:
        """Take a closed bar of the strategy's interval; ignore one seen before.

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
        if rules.correlation_max != SKIPPED:
            found.correlation_bars = own = self._count(symbol, rules.correlation_bars, now)
            for other in positions.beside(symbol):
                bars, value = self._compared(symbol, own, other, now)
                if bars < found.correlation_bars:
                    found.correlation_bars = bars
                if value > found.with_held:
                    found.with_held = value
        if rules.benchmark_max != SKIPPED and symbol != rules.benchmark:
            own = self._count(symbol, rules.correlation_bars, now)
            bars, value = self._compared(symbol, own, rules.benchmark, now)
            found.benchmark_bars, found.with_benchmark = bars, value
        if rules.volatility_max != SKIPPED:
            found.volatility_bars = self._count(rules.benchmark, rules.long, now)
            ratio = self._ratio(rules.benchmark)
            if ratio is None:
                # Bars of a market that does not move count as too few.
                found.volatility_bars = min(found.volatility_bars, rules.long - 1)
            elif found.volatility_bars == rules.long:
                found.ratio = ratio
        if rules.drift_max != SKIPPED:
            found.drift_bars = self._count(symbol, rules.recent + rules.reference, now)
            shift = self._shift(symbol)
            if shift is not None and found.drift_bars == rules.recent + rules.reference:
                found.shift = shift
        return found

    def _count(self, symbol: str, needed: int, now: int) -> int:
        """Return the number of returns of a symbol that count, up to `needed`; 0 if stale."""
        returns = self.symbols.get(symbol)
        if returns is None or now - returns.closed_ts > AGE_BARS * self._length_ms:
            return 0
        return min(returns.count, needed)

    def _compared(self, symbol: str, own: int, other: str, now: int) -> tuple[int, int]:
        """Return the number of bars of two symbols that count, and their correlation if known.

        Args:
            symbol: The first symbol.
            own: Its `_count` for a correlation.
            other: The second symbol.
            now: Market time.
        """
        needed = self.rules.correlation_bars
        bars = self._count(other, needed, now)
        if own < bars:
            bars = own
        if bars < needed:
            return bars, SKIPPED
        value = self._correlation(symbol, other)
        return (0, SKIPPED) if value is None else (bars, value)

    # --- clusters -----------------------------------------------------------------------------

    def cluster_notional(self, symbol: str, positions: Positions, now: int) -> int:
        """Return the notional of the other symbols in a symbol's cluster, with open purchases."""
        notional = 0
        for other in self.cluster(symbol, positions.beside(symbol), now):
            notional += positions.reserved(other)
            held = positions.held.get(other)
            if held is not None:
                notional += held.value
        return notional

    def cluster(self, symbol: str, beside: set[str], now: int) -> set[str]:
        """Return the other symbols in the cluster of an entry's symbol.

        A symbol belongs to the cluster if it correlates enough with the entry's symbol or with
        another member, or if that correlation is unknown.

        Args:
            symbol: The entry's symbol.
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
        """Return the volatility ratio for the horizon of a symbol; None while unknown."""
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
        return {
            symbol: {**returns.state(), "close": amount_json(returns.close)}
            for symbol, returns in self.symbols.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, if the keys are the same.

        Other keys need other bars: then nothing is known.
        """
        for symbol, data in state.items():
            returns = BarReturns.from_state({**data, "close": int(data["close"])})
            if (returns.period, returns.length_ms) == (self._period, self._length_ms):
                self.symbols[symbol] = returns
