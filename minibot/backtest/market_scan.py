"""Scan of an available market: a source's bars, or the bars that a run has written so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from minibot.backtest.sources.bars import BarSource, closed_bars
from minibot.backtest.sources.feeds import lines_of
from minibot.backtest.sources.portfolio import Merged
from minibot.cores.closed_bar import ClosedBar
from minibot.engine.market_source import MarketSource
from minibot.engine.recorded_run import Recorded
from minibot.events.intervals import INTERVAL_MS, REGIME_INTERVAL
from minibot.events.model import Bar, FeedValue, Payload, Recommendation, Universe
from minibot.events.names import RECOMMENDATIONS, TICKS
from minibot.exchanges.tapes.kline_bars import divides
from minibot.kernel.errors import ConfigError, Refusal
from minibot.runtime.configuration.config import Config
from minibot.strategies.scanner.ranking import NO_MODEL
from minibot.strategies.scanner.scanner import Scan, Scanner
from minibot.strategies.scanner.settings import ScannerSettings

# An event of one of these types in a line; others need not be decoded.
READ: Final = tuple(f'"{kind.TYPE}"'.encode() for kind in (Bar, FeedValue, Universe))


class MarketScan(NamedTuple):
    """Scan of a market, with the interval of the compared bars.

    `recommended` has by symbol the text of a run's last recommendation (`recommendation_text`); it
    is empty for a source.
    """

    scan: Scan
    interval: str
    recommended: dict[str, str]


def scan_sources(
    opened: MarketSource, config: Config, settings: ScannerSettings, interval: str | None
) -> MarketScan:
    """Return the scan as of a market's last bar.

    Bars of a file count to its end, whatever time range it was opened with.

    Args:
        opened: The market.
        config: The profile with which it was opened, and its feeds.
        settings: Thresholds of the scanner.
        interval: Interval of the bars to compare. None takes the settings' own; if the market lacks
            it, the longest below it; without one below, the market's shortest. A market has the
            intervals that are a multiple of each bar file's own, and those of them alone that
            `market.bar_intervals` names if one of its sources is no bar file.

    Raises:
        ConfigError: The source has no bars of the interval, or a feed's file is refused.
        Refusal: No bar has closed, neither of the interval nor another that the market makes. A
            market with others is no refusal: its rows say how many bars they lack.
    """
    sources = opened.sources if isinstance(opened, Merged) else (opened,)
    bases = [one.series.interval for one in sources if isinstance(one, BarSource)]
    built = INTERVAL_MS if len(bases) == len(sources) else config.market.bar_intervals
    allowed = [
        name for name in built if name in INTERVAL_MS and all(divides(base, name) for base in bases)
    ]
    chosen = _chosen(interval, settings.interval, allowed)
    scanner = Scanner(settings._replace(interval=chosen), opened.symbols)
    last_ts = 0
    for one in sources:
        bars: Iterable[Payload]
        if isinstance(one, BarSource):
            bars = closed_bars(one.series, dict.fromkeys([chosen, REGIME_INTERVAL]))
        else:
            bars = (root.payload for root in one.roots())
        last_ts = max(last_ts, _take(scanner, bars))
    _refuse_none(last_ts, opened.name, chosen)
    _take_feeds(scanner, config, last_ts)
    return MarketScan(scanner.scan(last_ts), chosen, {})


def scan_run(recorded: Recorded, settings: ScannerSettings, interval: str | None) -> MarketScan:
    """Return the scan as of the last bar that a run, also one still going, has written.

    Universe and values count as they were by then; without a universe by then, the first counts.

    Raises:
        ConfigError: The run makes no bars of the interval.
        Refusal: It has not written any bar yet.
    """
    built = recorded.manifest.config["market"]["bar_intervals"]
    chosen = _chosen(interval, settings.interval, built)
    scanner = Scanner(settings._replace(interval=chosen), recorded.manifest.symbols)
    source = recorded.lines(TICKS)

    def payloads() -> Iterable[Payload]:
        while (line := source.next()) is not None:
            if any(kind in line.json for kind in READ):
                yield recorded.decode(TICKS, line).payload

    section = recorded.manifest.config.get("scanner") or {}
    last_ts = _take(scanner, payloads(), ranks_watched=bool(section.get("watched_bars")))
    _refuse_none(last_ts, recorded.manifest.run_id, chosen)
    recommendations: dict[str, str] = {}
    for _, event in recorded.events(RECOMMENDATIONS):
        if isinstance(event.payload, Recommendation):
            recommendations[event.payload.symbol] = recommendation_text(event.payload)
    return MarketScan(scanner.scan(last_ts), chosen, recommendations)


def scan_bars(
    symbols: Sequence[str], bars: Iterable[Bar], config: Config, settings: ScannerSettings
) -> MarketScan:
    """Return the scan as of the last of some closed bars of the settings' interval and of 4 h.

    Raises:
        ConfigError: The file of a feed of the profile is refused.
    """
    scanner = Scanner(settings, tuple(symbols))
    last_ts = _take(scanner, bars)
    _take_feeds(scanner, config, last_ts)
    return MarketScan(scanner.scan(last_ts), settings.interval, {})


def recommendation_text(recommendation: Recommendation) -> str:
    """Return a model's likeliest side with its probability; `-` where no model was active."""
    if recommendation.baseline:
        return NO_MODEL
    sides = (
        (recommendation.p_hold, "HOLD"),
        (recommendation.p_buy, "BUY"),
        (recommendation.p_sell, "SELL"),
    )
    probability, side = max(sides, key=lambda one: float(one[0]))
    return f"{side} {probability}"


def _take(scanner: Scanner, payloads: Iterable[Payload], *, ranks_watched: bool = False) -> int:
    """Feed a scanner; return the end of the last bar, Unix ms, or 0 without a bar.

    Other payloads behind that bar are later than the scan, and left out; only where there is no
    universe before, the first one counts all the same.
    """
    last_ts, has_universe = 0, False
    later: list[Payload] = []
    for payload in payloads:
        if isinstance(payload, Bar):
            for other in later:
                _take_other(scanner, other, ranks_watched=ranks_watched)
            has_universe |= any(isinstance(other, Universe) for other in later)
            later.clear()
            bar = ClosedBar.of_event(payload)
            bar.is_live = False  # A live bar costs figures at once; only the scan needs them.
            scanner.take_bar(payload.symbol, bar)
            last_ts = max(last_ts, payload.close_ts + 1)
        elif isinstance(payload, FeedValue | Universe):
            later.append(payload)
    first = (
        None
        if has_universe
        else next((other for other in later if isinstance(other, Universe)), None)
    )
    if first is not None:
        _take_other(scanner, first, ranks_watched=ranks_watched)
    return last_ts


def _take_other(scanner: Scanner, payload: Payload, *, ranks_watched: bool) -> None:
    """Feed a scanner a value or a universe."""
    if isinstance(payload, FeedValue):
        scanner.take_value(payload.feed, float(payload.value), payload.value_ts)
    elif isinstance(payload, Universe):
        watched = payload.watched if ranks_watched else ()
        scanner.watch((*payload.traded, *watched))


def _take_feeds(scanner: Scanner, config: Config, last_ts: int) -> None:
    """Feed a scanner the values of a profile's files up to a time; a run has recorded its own."""
    for line in lines_of(config):
        if line.ts <= last_ts:
            scanner.take_value(line.name, float(line.value), line.ts)


def _refuse_none(last_ts: int, name: str, interval: str) -> None:
    """Refuse a market without any closed bar: a scan is as of the last one."""
    if not last_ts:
        remedy = "Name shorter bars by --interval, or a market that lasts longer."
        raise Refusal(f"{name}: no bar of {interval} has closed.", remedy)


def _chosen(asked: str | None, usual: str, allowed: Sequence[str]) -> str:
    """Return the interval of the compared bars.

    With `asked` None, the usual interval; else the market's longest below it, else its shortest.
    """
    if asked is None:
        known = [name for name in INTERVAL_MS if name in allowed]
        short = [name for name in known if INTERVAL_MS[name] <= INTERVAL_MS[usual]]
        if known:
            return short[-1] if short else known[0]
    elif asked in allowed and asked in INTERVAL_MS:
        return asked
    name = usual if asked is None else asked or "''"
    raise ConfigError(
        f"--interval: this market has no bars of {name}.",
        [f"allowed: {', '.join(allowed)}"],
    )
