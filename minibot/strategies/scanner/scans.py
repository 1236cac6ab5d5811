"""Scans of a running strategy role: their times, their reports, and each symbol's rank.

Only the market time of bars and beats decides when to scan, so a night, its replay and a backtest
of the same events make the same scans. A scan is made before the strategy gets the bar that caused
it, so the strategy reads the rank of that moment.
"""

from __future__ import annotations

from typing import Final, final

from minibot.cores.closed_bar import ClosedBar
from minibot.cores.core_profile import ScannerSection
from minibot.events.model import FeedValue, JsonObject, MarketRegime, MarketScan, Payload, Universe
from minibot.strategies.scanner.regime import Bounds, Regime
from minibot.strategies.scanner.scanner import Scan, Scanner
from minibot.strategies.scanner.settings import BY_EVENT, ScannerSettings

WRITTEN_MAX: Final = 400
"""Most ranked symbols in a `scan` event."""


@final
class Scans:
    """Scans of a strategy core.

    Attributes:
        ranks: Rank of each symbol that has one, from 1, by the last scan; changed in place.
    """

    __slots__ = (
        *("_order", "_ranks_watched", "_regime", "_scanner", "_settings", "_watched", "ranks"),
    )

    def __init__(self, settings: ScannerSettings, ranks_watched: bool = False) -> None:
        """Start without a scan; symbols join with their first bar.

        Args:
            settings: Settings of the scanner.
            ranks_watched: Whether the symbols that a universe watches are ranked too.
        """
        self._ranks_watched: bool = ranks_watched
        # Symbols whose bars of history go only to the scanner.
        self._watched: frozenset[str] = frozenset()
        self._settings: ScannerSettings = settings
        self._scanner: Scanner = Scanner(settings)
        self._regime: Regime | None = None
        self._order: tuple[str, ...] | None = None
        self.ranks: dict[str, int] = {}

    def on_bar(self, symbol: str, bar: ClosedBar, now: int) -> list[Payload]:
        """Take a closed bar; return the events of a scan that was due before it."""
        payloads = self._due(now, bar)
        self._scanner.take_bar(symbol, bar)
        return payloads

    def on_beat(self, now: int) -> list[Payload]:
        """Return the events of a scan that is due now; usually none."""
        return self._due(now, None)

    def on_feed(self, value: FeedValue) -> None:
        """Take a value of a local feed."""
        self._scanner.take_value(value.feed, float(value.value), value.value_ts)

    def on_universe(self, universe: Universe) -> None:
        """Rank only the symbols of a universe from now on."""
        if self._ranks_watched:
            self._watched = frozenset(universe.watched) - set(universe.kept)
        watched = universe.watched if self._ranks_watched else ()
        self._scanner.watch((*universe.traded, *watched))

    def is_for_ranks_alone(self, symbol: str, bar: ClosedBar) -> bool:
        """Return whether a bar is history of a watched symbol, which reaches no strategy.

        A symbol that a held position keeps followed does not count as watched. A symbol that was
        traded before sends live bars until its stream ends; these reach the strategy, and risk
        refuses its purchases.
        """
        return symbol in self._watched and not bar.is_live

    def _due(self, now: int, bar: ClosedBar | None) -> list[Payload]:
        moment = self._scanner.due(now, bar)
        if moment is None:
            return []
        scan, payloads = self._scanner.scan(moment), list[Payload]()
        if scan.regime != self._regime:
            self._regime = scan.regime
            payloads.append(_regime_payload(scan.regime))
        if self._settings.mode != BY_EVENT or scan.order != self._order:
            payloads.append(_scan_payload(scan, self._settings.interval))
        self._rank(scan.order)
        return payloads

    def _rank(self, order: tuple[str, ...]) -> None:
        self._order = order
        self.ranks.clear()
        self.ranks.update((symbol, rank) for rank, symbol in enumerate(order, 1))

    def best(self, count: int) -> list[str]:
        """Return the given number of symbols of the last scan, best first; none before a scan."""
        return list((self._order or ())[:count])

    def state(self) -> JsonObject:
        """Return the whole state as canonical JSON values."""
        return {
            "scanner": self._scanner.state(),
            "order": None if self._order is None else list(self._order),
            **({"watched": sorted(self._watched)} if self._ranks_watched else {}),
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described, under the same settings."""
        self._scanner.restore(state["scanner"])
        self._regime = self._scanner.regime
        self._watched = frozenset(state.get("watched", ()))
        if state["order"] is not None:
            self._rank(tuple(state["order"]))


def scans_of(section: ScannerSection | None) -> Scans | None:
    """Return the scans of a profile; None if it has no scanner."""
    return None if section is None else Scans(settings_of(section), section.watched_bars)


def settings_of(section: ScannerSection) -> ScannerSettings:
    """Return the settings of a profile's section."""
    return ScannerSettings(
        interval=section.bar_interval,
        mode=section.mode,
        every_ms=section.every_market_ms,
        score_min=section.score_min,
        quote_volume_min=section.quote_volume_min,
        range_bps_min=section.range_bps_min,
        range_bps_max=section.range_bps_max,
        change_percent_max=section.change_percent_max,
        bars_age_max=section.bars_late_max,
        feed_age_ms_max=section.feed_age_market_ms_max,
        bounds=Bounds(
            str(section.regime_volatility_percent),
            str(section.regime_above_percent),
            str(section.regime_thrust_percent),
        ),
    )


def _regime_payload(regime: Regime) -> MarketRegime:
    momentum, technical, volume, quality = regime.weights
    return MarketRegime(
        name=regime.name,
        since_ts=regime.since_ts,
        momentum=momentum,
        technical=technical,
        volume=volume,
        quality=quality,
        symbols=regime.symbols,
        missing=regime.missing,
        volatility=regime.volatility,
        above=regime.above,
        thrust=regime.thrust,
    )


def _scan_payload(scan: Scan, interval: str) -> MarketScan:
    scored = [row for row in scan.rows if row.score is not None]
    return MarketScan(
        as_of_ts=scan.ts,
        interval=interval,
        ranked=tuple(
            {"symbol": row.symbol, "score": row.score, "passes": row.is_opportunity}
            for row in scored[:WRITTEN_MAX]
        ),
        scored=len(scored),
        lacking=len(scan.rows) - len(scored),
    )
