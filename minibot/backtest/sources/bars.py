"""Source of bars: a file of bars as a market, with modelled ticks inside each bar.

`intrabar` is the model. Longer bars that the profile wants are aggregated from the file's own. An
interval that is not a multiple of the file's is left out, or refused if the strategy needs it.
Bars before the time range are history and feed indicators only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from minibot.accounting.order_rules import OrderRules
from minibot.backtest.sources.span import ALL, Span, as_history, nothing_in
from minibot.engine.bar_series import BarSeries
from minibot.engine.intrabar import LATENCY_SHARE, Candle, Intrabar, TouchModel
from minibot.engine.market_source import NOBODY, Root, Watch
from minibot.events.decimals import format_fixed, parse_fixed, unpadded
from minibot.events.intervals import longest_first, warmup_of
from minibot.events.model import Bar, Beat, Instrument
from minibot.exchanges.tapes.decimals import to_text
from minibot.exchanges.tapes.kline_bars import INTERVALS, divides, next_open, open_of
from minibot.exchanges.venues import SIMULATED
from minibot.execution.latency import Latency
from minibot.kernel.errors import ConfigError, Refusal
from minibot.runtime.configuration.config import Config
from minibot.simulator.venue.instruments import symbol_infos

if TYPE_CHECKING:
    from minibot.engine.bar_market import BarMarket

# Model of the touch if the profile names none.
DEFAULT_SPREAD_BPS = "1"
DEFAULT_SIZE_PERCENT = 5
SPREAD_PLACES = 2
# `origin` of rules that a file's own numbers give.
RULES_DERIVED = "derived"


class BarSource:
    """One series of bars as a market source.

    Args:
        series: The bars.
        config: Its intervals, number of history bars and model of the touch are used.
        span: Bars before it are history; bars that end after it are left out.

    Raises:
        ConfigError: The strategy decides on bars that cannot be aggregated from these, or an order
            is on its way for more than an eighth of a bar. `require` refuses others that it needs.
        Refusal: No whole bar lies in the span.
    """

    def __init__(self, series: BarSeries, config: Config, span: Span = ALL) -> None:
        self._given = config, span
        self.name = series.name
        self.symbols: tuple[str, ...] = (series.symbol,)
        self.origin_ms = max(span.from_ms or 0, series.first_ts)
        self._end_ts = series.end_ts
        if span.to_ms is not None and span.to_ms < series.end_ts:
            # Only whole bars: no position could be closed after the last of them.
            self._end_ts = open_of(series.interval, span.to_ms)
        self.end_ms: int | None = self._end_ts
        self.interval_ms = INTERVALS[series.interval] or 31 * INTERVALS["1d"]
        self.series = series
        self._model = touch_model(config)
        if self._model.latency_ms > self.interval_ms // LATENCY_SHARE:
            raise _too_slow(series, self._model.latency_ms, self.interval_ms // LATENCY_SHARE)
        self._warmup = config.market.warmup_bars
        self._intervals = _intervals(series, config)
        self._instrument = self._rules()
        self.assumptions = (
            *_assumptions(series, self._model),
            *rules_assumed(self._instrument),
        )
        first_ts = open_of(series.interval, self.origin_ms)
        if first_ts < self.origin_ms:
            first_ts = next_open(series.interval, first_ts)
        if self._end_ts <= first_ts:
            raise self._nothing()

    def over(self, series: BarSeries) -> BarSource:
        """Return the same source over another series; a compiled object cannot be copied."""
        return BarSource(series, *self._given)

    def require(self, key: str, intervals: Collection[str]) -> None:
        """Refuse a profile that needs other bars than these make: it would wait for them in vain.

        Args:
            key: The key of the profile that needs them.
            intervals: Their lengths.

        Raises:
            ConfigError: One of the intervals is not a multiple of the file's.
        """
        name, base = self.name, self.series.interval
        lacked = [each for each in intervals if each in INTERVALS and not divides(base, each)]
        if lacked:
            raise ConfigError(
                f"{name}: bars of {base} cannot be combined into {', '.join(lacked)}.",
                [f"{key}: it needs bars of {', '.join(lacked)}"],
                "Name a source of shorter bars.",
            )

    def _rules(self) -> Instrument:
        series = self.series
        sample = {"p": series.price_increment, "q": series.qty_increment}
        info = symbol_infos(self.symbols, {}, {series.symbol: sample})[series.symbol]
        return SIMULATED.rules.parse(info)

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield rules, history, then for each bar of the file its ticks, closed bars and a beat.

        Raises:
            Refusal: The span lies in a gap between the bars.
        """
        symbol, origin = self.symbols[0], self.origin_ms
        yield Root(self._instrument, origin)
        intrabar = Intrabar(symbol, OrderRules.of(self._instrument), self._model)
        lanes = [_Lane(symbol, self.series.interval, interval) for interval in self._intervals]
        past: deque[Bar] = deque()
        has_begun = False
        for candle in self.series.candles():
            closed = [bar for lane in lanes for bar in lane.add(candle)]
            if candle.open_ts < origin:
                past.extend(closed)
                intrabar.on_closed(candle)
                continue
            if past:
                yield from self._history(past)
            if candle.end_ts > self._end_ts:
                break
            has_begun = True
            for shown in intrabar.ticks(candle, watch):
                yield Root(shown.payload(symbol), shown.at)
            end = candle.end_ts
            for bar in closed:
                yield Root(bar, end)
            intrabar.on_closed(candle)
            yield Root(Beat((end - origin) // 1000, {symbol: 0}), end)
        if not has_begun:
            yield from self._history(past)
            raise self._nothing()

    def market(self, read: Collection[str]) -> BarMarket | None:
        """Return the bars as rows; None where they have to be fed as events.

        Args:
            read: The intervals that the strategy or risk reads.

        Raises:
            Refusal: The span lies in a gap between the bars.
        """
        # Loaded where rows are walked: arrays are a good part of a start.
        from minibot.engine.bar_market import market_of

        rules, span = OrderRules.of(self._instrument), (self.origin_ms, self._end_ts)
        market = market_of(self.series, self._intervals, read, rules, self._model, span)
        if market is not None:
            if market.first == market.last:
                raise self._nothing()
            symbol, at = self.symbols[0], self.origin_ms
            history = market.history(self._warmup)
            bars = [as_history(bar_event(symbol, *each)) for each in history]
            market.opening = [Root(self._instrument, at), *_shown_at_close(bars, at)]
        return market

    def closes(self, until_ts: int) -> dict[str, tuple[int, int]]:
        """Return by symbol the first close of the span and the last one by `until_ts`.

        If no bar ends by `until_ts`, both are of the first bar. If none has begun by then, as when
        a portfolio stops before, the result is empty.
        """
        found: list[int] = []
        for candle in self.series.candles():
            if candle.open_ts < self.origin_ms:
                continue
            if candle.open_ts > until_ts:
                break
            if found and candle.end_ts > min(until_ts, self._end_ts):
                break
            found[1:] = [candle.close]
        return {self.symbols[0]: (found[0], found[-1])} if found else {}

    def _nothing(self) -> Refusal:
        series = self.series
        what = f"no whole bar of {series.interval} in the time range"
        return nothing_in(series.name, series.first_ts, series.end_ts, what)

    def _history(self, past: deque[Bar]) -> Iterator[Root]:
        """Yield the last bars of each interval that open before the time range."""
        found: list[Bar] = []
        for interval in self._intervals:
            own = [bar for bar in past if bar.interval == interval]
            count = warmup_of(self._warmup, interval)
            found += [as_history(bar) for bar in own[max(0, len(own) - count) :]]
        yield from _shown_at_close(found, self.origin_ms)
        past.clear()


def _shown_at_close(bars: Sequence[Bar], origin_ms: int) -> list[Root]:
    """Return bars of history at the origin; a bar still open at the origin comes when it closes."""
    roots = [Root(bar, max(origin_ms, bar.close_ts + 1)) for bar in bars]
    return sorted(roots, key=lambda root: root.ts)


def closed_bars(series: BarSeries, intervals: Collection[str]) -> Iterator[Bar]:
    """Yield the closed bars of each interval that the series' own bars make, oldest first."""
    lanes = [
        _Lane(series.symbol, series.interval, interval)
        for interval in intervals
        if divides(series.interval, interval)
    ]
    for candle in series.candles():
        for lane in lanes:
            yield from lane.add(candle)


class _Lane:
    """Aggregation of the file's bars to one interval.

    A longer bar that begins before the file or ends after it is left out. One with a gap is made of
    the bars that the file has; where its end is missing, the file's next bar closes it.
    """

    def __init__(self, symbol: str, base: str, interval: str) -> None:
        self._symbol, self._interval = symbol, interval
        self._is_base = base == interval
        self._has_begun = False
        self._now: Candle | None = None

    def add(self, candle: Candle) -> list[Bar]:
        """Add the next bar of the file and return the bars that it closes."""
        if self._is_base:
            return [self._bar(candle)]
        closed = []
        now, open_ts = self._now, open_of(self._interval, candle.open_ts)
        # The first bar of the file may lie in the middle of a longer bar.
        self._has_begun = self._has_begun or open_ts == candle.open_ts
        if not self._has_begun:
            return []
        if now is not None and now.open_ts != open_ts:
            closed.append(self._bar(now))  # A gap in the file: the end of this bar is missing.
            now = None
        if now is None:
            now = candle._replace(open_ts=open_ts, end_ts=next_open(self._interval, open_ts))
        else:
            now = _joined(now, candle)
        if candle.end_ts == now.end_ts:
            closed.append(self._bar(now))
            now = None
        self._now = now
        return closed

    def _bar(self, candle: Candle) -> Bar:
        return bar_event(self._symbol, self._interval, candle)


def bar_event(symbol: str, interval: str, candle: Candle) -> Bar:
    """Return the event of a closed bar."""
    text = to_text
    return Bar(
        symbol,
        interval,
        candle.open_ts,
        candle.end_ts - 1,
        text(candle.open),
        text(candle.high),
        text(candle.low),
        text(candle.close),
        text(candle.volume),
        False,
    )


def _joined(former: Candle, later: Candle) -> Candle:
    return Candle(
        former.open_ts,
        former.end_ts,
        former.open,
        max(former.high, later.high),
        min(former.low, later.low),
        later.close,
        former.volume + later.volume,
    )


def _assumptions(series: BarSeries, model: TouchModel) -> tuple[str, ...]:
    """Return the assumptions that replace the file's missing data, as sentences."""
    symbol, spread = series.symbol, format_fixed(model.spread_bps, SPREAD_PLACES)
    return (
        f"{symbol}: bars of {series.interval} alone; inside a bar open, low, high, close in this "
        "order, a stop or target on the way met at its own price",
        f"{symbol}: spread {spread} bps, at least one price increment; size shown "
        f"{model.size_percent} % of what the bar before traded a minute",
        *((series.settled,) if series.settled else ()),
    )


def rules_assumed(instrument: Instrument) -> tuple[str, ...]:
    """Return as a sentence that a file's own numbers give a symbol's rules; empty if they do not.

    They are all of its numbers, so that later data decide about rounding in an earlier part.
    """
    if instrument.origin != RULES_DERIVED:
        return ()
    price, qty = unpadded(instrument.price_increment), unpadded(instrument.qty_increment)
    return (
        f"{instrument.symbol}: the venue's rules are not known; steps of price {price} and "
        f"quantity {qty}, the finest in the whole file; no least order value",
    )


def _intervals(series: BarSeries, config: Config) -> list[str]:
    """Return the intervals to provide: the profile's, the strategy's own, its trend, each once.

    Raises:
        ConfigError: The strategy's own interval cannot be made of the file's bars.
    """
    strategy = config.raw["strategy"]
    decides, trend = str(strategy["bar_interval"]), str(strategy.get("trend_interval") or "")
    if decides not in INTERVALS or not divides(series.interval, decides):
        raise ConfigError(
            f"{series.name}: bars of {series.interval} cannot be combined into {decides}.",
            [f"strategy.bar_interval: {decides}; allowed: {series.interval} or a multiple of it"],
            f"Try --set strategy.bar_interval={series.interval}",
        )
    wanted = longest_first({*config.market.bar_intervals, decides, trend} & INTERVALS.keys())
    return [name for name in wanted if divides(series.interval, name)]


def _too_slow(series: BarSeries, latency_ms: int, most_ms: int) -> ConfigError:
    """Return the error for orders that arrive when a bar no longer shows where the price was."""
    return ConfigError(
        f"{series.name}: in bars of {series.interval} no order of {latency_ms} ms can be placed.",
        [f"execution.latency_market_ms, latency_drawn_market_ms: at most {most_ms} here"],
        "Take longer bars, or ticks.",
    )


def touch_model(config: Config) -> TouchModel:
    """Return a profile's model of an unknown touch, from `backtest` and its fill latency."""
    section = config.raw.get("backtest") or {}
    return TouchModel(
        spread_bps=parse_fixed(section.get("spread_bps", DEFAULT_SPREAD_BPS), SPREAD_PLACES),
        size_percent=int(section.get("size_percent", DEFAULT_SIZE_PERCENT)),
        latency_ms=Latency(config.execution, config.seed).most,
    )
