"""Driver of a backtest: one pass of the three cores over a source, in rule order.

`now` of an event is its own `ts`; fills come no earlier than their order's latency after the
intent, as in a night. `run_ending` is due `portfolio.close_market_ms` before the end of the source,
as in a night, so that positions can still close where `portfolio.at_end` is `close`. It is sent
just before the first event at that time or later. If the source has no event that late, or does not
know its end, no `run_ending` is sent and positions stay open. A recorded run brings its own
opening and ending. A STOP by risk ends the pass, as it ends a night. A whole recorded run with its
own profile goes through `night`, in recorded order.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from minibot.accounting.performance import Performance
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.feeds import Fed, with_feeds
from minibot.backtest.sources.portfolio import Merged, is_behind_rules
from minibot.backtest.sources.recorded_run import RunSource
from minibot.cores.messages import QUEUES, FillMessage, Message, stop_in
from minibot.cores.protocol import Core
from minibot.engine.decision_record import DecisionRecord
from minibot.engine.lazy_list import LazyList
from minibot.engine.lockstep import Lockstep, fresh_cores
from minibot.engine.market_source import NOBODY, MarketSource, Root, Watch
from minibot.engine.price_charts import PriceCharts
from minibot.engine.role_replay import PROGRESS_EVERY
from minibot.engine.row_span import Item, RowSpan, Striding
from minibot.engine.run_result import NO_CMDLINE, BacktestResult, Derived, EquityPoint
from minibot.events.model import (
    Bar,
    Beat,
    Event,
    MarketTick,
    Payload,
    PriceMark,
    RunEnding,
    RunOpening,
)
from minibot.events.names import (
    CONTROL,
    MARKET_ROLE,
    RISK_ROLE,
    STRATEGY_ROLE,
    TICKS,
    WATCHDOG_ROLE,
)
from minibot.events.reasons import SOURCE_ENDED
from minibot.events.roles import Roles
from minibot.events.unit_sizes import NEVER
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.risk.core import RiskCore
from minibot.risk.watch import RiskWatch
from minibot.runtime.configuration.config import Config
from minibot.strategies.core import StrategyCore
from minibot.strategies.plots import Plots

if TYPE_CHECKING:
    from minibot.engine.bar_market import BarMarket
    from minibot.engine.row_run import RowRun
    from minibot.engine.walked_bars import WalkedBars
    from minibot.engine.walked_portfolio import WalkedPortfolio


# Messages that a record is handed together: written one by one between decisions, their code and
# data came from a cold cache each time, which made a pass an eighth longer. Of 32 to 1,024 this was
# the quickest, by up to a twentieth.
BATCH: Final = 128

MODELLED: Final = (
    "the strategy answers ticks, and those inside a bar are made of its four prices: test it on "
    "ticks"
)
"""Assumption of a backtest whose strategy gets the ticks of bars."""

Inputs = dict[type[Payload], int]
Progress = Callable[[int, int], None]
"""Called with the market time that has passed and its total, ms; an unknown total is 0.

A replay in recorded order counts events instead.
"""


def run_backtest(
    source: MarketSource,
    config: Config,
    progress: Progress = lambda done, whole: None,
    *,
    draws: bool = False,
    record: DecisionRecord | None = None,
) -> BacktestResult:
    """Return the result of a profile's cores on a source, with the profile's feeds.

    A whole recorded run with its own profile is replayed in recorded order. With a time range or
    the order `rule`, it runs in rule order.

    Args:
        source: The market's history.
        config: The resolved profile.
        progress: Called now and then with the progress.
        draws: True to keep the strategy's lines, which a page of the result draws.
        record: Record that digests decisions during the run, `BATCH` at a time. It keeps what
            trades are made of, which alone is then in the result's `derived`, and counts what else
            a report needs. Without a record, every event of the cores is kept. A replay in recorded
            order does not use it.

    Raises:
        RunStop: A core found an impossible state, or a replay deviates (`IntegrityError`).
        ConfigError: A file of a feed is refused, a recorded run lacks a feed of the profile, or a
            source's bars do not make those that the strategy needs.
        Refusal: Nothing of the source lies in the span.
    """
    started = time.perf_counter()
    if isinstance(source, RunSource) and source.is_night_of(config):
        # Imported here because only the backtest of a night needs it.
        from minibot.backtest.night import night_of

        seated = fresh_cores(source.recorded.manifest.config)
        plots = _plots_of(seated) if draws else None
        result = night_of(source, config, progress, seated)
    else:
        seated = fresh_cores(config.raw)
        plots = _plots_of(seated) if draws else None
        result = run_cores(with_feeds(source, config), config, seated, progress, record)
    if plots is not None:
        result.lines = plots.lines()
    result.elapsed_s = time.perf_counter() - started
    return result


def run_cores(
    source: MarketSource,
    config: Config,
    cores: Mapping[str, Core],
    progress: Progress = lambda done, whole: None,
    record: DecisionRecord | None = None,
) -> BacktestResult:
    """Return the result of given cores on a source as it is, in rule order; adds no feeds.

    Args:
        source: The market's history; `with_feeds` adds the profile's feeds to one.
        config: The resolved profile.
        cores: Fresh cores by role, which the caller may inspect.
        progress: Called now and then with the progress.
        record: Store that takes the decisions; see `run_backtest`.

    Raises:
        RunStop: A core found an impossible state.
        ConfigError: A source's bars do not make those that the strategy needs.
        Refusal: Nothing of the source lies in the span.
    """
    book = _Pass(source, config, cores, record)
    book.run(progress)
    return book.result


def require_bars(source: MarketSource, intervals: Collection[str], config: Config) -> None:
    """Refuse a market whose bars do not make those of the strategy and of the scanner.

    Args:
        source: The market.
        intervals: Lengths of the bars that the strategy needs.
        config: The profile; without a section `scanner` nothing is ranked.

    Raises:
        ConfigError: An interval is not a multiple of a file's.
    """
    for one in _bars_in(source):
        one.require("strategy.name", intervals)
        if config.scanner is not None:
            one.require("scanner.bar_interval", (config.scanner.bar_interval,))


def _plots_of(cores: Mapping[str, Core]) -> Plots | None:
    """Return the store of the strategy's lines, filled from now on; None for another core."""
    core = cores[STRATEGY_ROLE]
    if not isinstance(core, StrategyCore):
        return None
    plots = Plots()
    core.keep_plots(plots)
    return plots


class _Pass:
    """State of one pass: the cores, and the data kept for the report."""

    def __init__(
        self,
        source: MarketSource,
        config: Config,
        cores: Mapping[str, Core],
        record: DecisionRecord | None,
    ) -> None:
        self._source = source
        self._config = config
        self._run_id = run_id_of(source.origin_ms)
        portfolio = config.portfolio
        self._opening = RunOpening(
            cash={portfolio.quote_asset: portfolio.cash}, lots=(), budgets_used={}
        )
        self.result = BacktestResult(
            config.raw, (source.name,), Performance(self._opening, portfolio.quote_asset)
        )
        core = cores[STRATEGY_ROLE]
        if isinstance(core, StrategyCore):
            require_bars(source, core.chosen.needs.intervals, config)
        is_shown_ticks = isinstance(core, StrategyCore) and not core.is_deaf_to_trades
        modelled = (MODELLED,) if is_shown_ticks and any(_bars_in(source)) else ()
        self.result.assumptions = (*source.assumptions, *modelled)
        # Messages of the cores, which are written out when they are read; those that a record has
        # taken are gone.
        self._messages: list[Message] = []
        self.result.derived = LazyList(self._written)
        self._record = record
        self._controls = 0
        self._walked: RowRun | None = None
        self._bars: WalkedBars | WalkedPortfolio | None = None
        self._charts = PriceCharts(self.result.prices, source.interval_ms)
        roles = Roles.of_project()
        self._lockstep = Lockstep(
            cores,
            roles,
            cmdline_hashes=dict.fromkeys(roles.cores, NO_CMDLINE),
            on_message=self._on_message,
        )
        risk = self._lockstep.cores[RISK_ROLE]
        self._watch: Watch = risk.watch if isinstance(risk, RiskCore) else NOBODY

    def run(self, progress: Progress) -> None:
        """Feed opening, market and ending."""
        source, result = self._source, self.result
        result.from_ts = result.to_ts = source.origin_ms
        # Rows need the shipped strategy core; any other core is fed events.
        is_shipped = isinstance(self._lockstep.strategy.core, StrategyCore)
        rows = source.stretches() if isinstance(source, Striding) and is_shipped else None
        if rows is not None:
            self._world(Root(self._opening, source.origin_ms, CONTROL))
            inputs = self._stride(rows, progress)
        elif markets := self._bar_markets():
            self._world(Root(self._opening, source.origin_ms, CONTROL))
            inputs = self._walk_bars(markets, progress)
        else:
            roots = self._opened(source.roots(self._watch))
            opening = next(roots, None)
            if opening is not None:
                self._world(opening)
            inputs = self._pump(roots, progress)
            result.closes = self._charts.closes()
            if isinstance(source, BarSource | Fed | Merged):
                result.closes |= source.closes(result.to_ts)
        if isinstance(self._watch, RiskWatch):
            result.entered_at_low = self._watch.entered_at_low
        result.inputs = {kind.TYPE: inputs[kind] for kind in sorted(inputs, key=_type_of)}
        self._mark(result.to_ts)
        if self._record is not None:
            self._hand_over(self._record)
            self._record.give(result, self._lockstep.event_of)

    def _pump(self, roots: Iterator[Root], progress: Progress) -> Inputs:
        """Feed the market to its end or to a STOP; return the number of events of each type."""
        source, result, charts = self._source, self.result, self._charts
        origin_ms, run_id = source.origin_ms, self._run_id
        whole = 0 if source.end_ms is None else source.end_ms - origin_ms
        process, on_tick = self._lockstep.process, result.performance.on_tick
        close_ts = self._close_ts()
        inputs: Inputs = {}
        seq = 0
        for root in roots:
            payload, ts, queue = root
            if ts >= close_ts:
                self._announce_end(ts)
                close_ts = NEVER
            if queue == CONTROL:
                self._world(root)
                if result.stop:
                    break
                continue
            if ts > result.to_ts:
                result.to_ts = ts
            kind = type(payload)
            inputs[kind] = inputs.get(kind, 0) + 1
            if isinstance(payload, MarketTick):
                on_tick(payload)
                start = charts.on_tick(payload, ts)
                if start:
                    self._mark(start)
            elif isinstance(payload, PriceMark):
                result.performance.on_mark(payload)
            seq += 1
            # No other writer can make the same event, so its place suffices as an id.
            event = Event(ts, f"{TICKS}:{seq}", MARKET_ROLE, run_id, NO_CMDLINE, payload)
            process(event, seq)
            if not seq % PROGRESS_EVERY:
                progress(result.to_ts - origin_ms, whole)
            if result.stop:
                break
        progress(whole, whole)
        return inputs

    def _stride(self, items: Iterator[Item], progress: Progress) -> Inputs:
        """Feed a market whose ticks are rows, as `_pump` feeds one of events."""
        source, result = self._source, self.result
        origin_ms, run_id = source.origin_ms, self._run_id
        whole = 0 if source.end_ms is None else source.end_ms - origin_ms
        inputs: Inputs = {}
        close_ts = self._close_ts()
        seq = delivered = 0
        for item in _split_at(items, close_ts):
            ts = item.table.ts[item.first] if isinstance(item, RowSpan) else item.ts
            if ts >= close_ts:
                self._announce_end(ts)
                close_ts = NEVER
            if isinstance(item, RowSpan):
                count = self._walk(item, seq + 1)
                seq += count
                inputs[MarketTick] = inputs.get(MarketTick, 0) + count
            else:
                result.to_ts = max(result.to_ts, ts)
                kind = type(item.payload)
                inputs[kind] = inputs.get(kind, 0) + 1
                seq += 1
                place = f"{TICKS}:{seq}"
                event = Event(ts, place, MARKET_ROLE, run_id, NO_CMDLINE, item.payload)
                self._lockstep.process(event, seq)
            if seq - delivered >= PROGRESS_EVERY:
                delivered = seq
                progress(result.to_ts - origin_ms, whole)
            if result.stop:
                break
        if self._walked is not None:
            self._walked.end()
        progress(whole, whole)
        return inputs

    def _walk_bars(self, markets: Sequence[BarMarket], progress: Progress) -> Inputs:
        """Feed markets whose bars are rows, as `_pump` feeds them as events."""
        # Loaded where rows are walked: arrays are a good part of a start.
        from minibot.engine.walked_bars import WalkedBars
        from minibot.engine.walked_portfolio import WalkedPortfolio

        source, result = self._source, self.result
        origin_ms, end_ms = source.origin_ms, source.end_ms
        whole = 0 if end_ms is None else end_ms - origin_ms
        inputs: Inputs = {}
        seq = 0
        given = (self._lockstep, self._run_id, self._watch, result, self._announce_end)
        walked: WalkedBars | WalkedPortfolio
        if self._walks_steps():
            walked = WalkedPortfolio(markets, *given, self._close_ts())
        else:
            walked = WalkedBars(markets[0], *given, self._close_ts())
        self._bars = walked
        opening = [root for market in markets for root in market.opening]
        for payload, ts, _ in sorted(opening, key=is_behind_rules):
            walked.on_time(ts)
            seq += 1
            inputs[type(payload)] = inputs.get(type(payload), 0) + 1
            event = Event(ts, f"{TICKS}:{seq}", MARKET_ROLE, self._run_id, NO_CMDLINE, payload)
            self._lockstep.process(event, seq)
        rows = walked.rows
        rows.seq = delivered = seq
        while rows.walk():
            if rows.seq - delivered >= PROGRESS_EVERY:
                delivered = rows.seq
                progress(walked.to_ts - origin_ms, whole)
        walked.end()
        progress(whole, whole)
        bars = rows.seq - seq - rows.ticks - rows.beats
        for kind, count in ((MarketTick, rows.ticks), (Bar, bars), (Beat, rows.beats)):
            if count:
                inputs[kind] = inputs.get(kind, 0) + count
        return inputs

    def _walk(self, stretch: RowSpan, seq: int) -> int:
        """Feed rows to the cores, the first as line `seq`; return how many they processed."""
        walked = self._walked
        if walked is None:
            # Loaded where rows are walked: arrays are a good part of a start.
            from minibot.engine.row_run import RowRun

            walked = self._walked = RowRun(
                stretch, self._lockstep, self._run_id, self.result, self._source.interval_ms
            )
        last = walked.walk(stretch.last, seq)
        self.result.to_ts = max(self.result.to_ts, stretch.table.ts[last - 1])
        return last - stretch.first

    def _bar_markets(self) -> list[BarMarket]:
        """Return the markets as rows of bars; none where events have to be fed."""
        source, core = self._source, self._lockstep.cores[STRATEGY_ROLE]
        if not isinstance(source, BarSource | Merged) or not isinstance(core, StrategyCore):
            return []
        risk = self._lockstep.cores[RISK_ROLE]
        # A scan is due before any bar or beat, so each of them has to be fed.
        read = set(INTERVALS if core.is_scanning else core.chosen.needs.intervals)
        if isinstance(risk, RiskCore):
            read |= risk.bar_intervals
        sources = source.sources if isinstance(source, Merged) else [source]
        if self._walks_steps() and not core.is_deaf_to_trades:
            return []
        found: list[BarMarket] = []
        for each in sources:
            market = each.market(read) if isinstance(each, BarSource) else None
            if market is None:
                return []
            found.append(market)
        if not self._walks_steps():
            return found
        from minibot.engine.walked_portfolio import is_walkable

        return found if is_walkable(found) else []

    def _walks_steps(self) -> bool:
        """Return whether bars are walked in steps with every beat: several symbols, or a scan."""
        core = self._lockstep.strategy.core
        is_scanning = isinstance(core, StrategyCore) and core.is_scanning
        return is_scanning or isinstance(self._source, Merged)

    def _close_ts(self) -> int:
        """Return the time of `run_ending`, Unix ms; `NEVER` if the source does not know its end."""
        end_ms = self._source.end_ms
        return NEVER if end_ms is None else end_ms - self._config.portfolio.close_market_ms

    def _opened(self, roots: Iterator[Root]) -> Iterator[Root]:
        """Yield a `run_opening`, the recorded run's or else the profile's, then the roots."""
        first = next(roots, None)
        if first is None:
            return
        opening = first.payload
        if isinstance(opening, RunOpening):
            self._opening = opening
            quote_asset = self._config.portfolio.quote_asset
            self.result.performance = Performance(opening, quote_asset)
        else:
            yield Root(self._opening, self._source.origin_ms, CONTROL)
        yield first
        yield from roots

    def _announce_end(self, next_ts: int) -> None:
        """Announce the end: no entries from now on, positions close as `portfolio.at_end` says.

        The time of `run_ending` is `_close_ts`, or that of the last event if that is later. The
        event is fed before the one at `next_ts`.
        """
        until_ts = self._source.end_ms or next_ts
        ending = RunEnding(who="backtest", why=SOURCE_ENDED, until_ts=until_ts)
        last_ts = self.result.to_ts if self._bars is None else self._bars.to_ts
        self._world(Root(ending, max(self._close_ts(), last_ts), CONTROL))

    def _world(self, root: Root) -> None:
        """Feed an event of the watchdog."""
        self._controls += 1
        place = f"{CONTROL}:{self._controls}"
        event = Event(root.ts, place, WATCHDOG_ROLE, self._run_id, NO_CMDLINE, root.payload)
        self._lockstep.process(event, self._controls)

    def _on_message(self, message: Message) -> None:
        if self._walked is not None:
            self._walked.on_message(message)
        self._messages.append(message)
        if self._record is not None and len(self._messages) == BATCH:
            self._hand_over(self._record)
        bars = self._bars
        if not isinstance(message, FillMessage):
            if code := stop_in(message):
                self.result.stop = code
                if bars is not None:
                    bars.is_stopped = True
            return
        if bars is not None:
            bars.settle(message.symbol)
        self.result.performance.on_message(message)
        if bars is not None:
            bars.booked()

    def _hand_over(self, record: DecisionRecord) -> None:
        """Hand the messages to the record."""
        record.take(self._messages, self._lockstep.event_of)
        self._messages.clear()

    def _written(self) -> list[Derived]:
        event_of = self._lockstep.event_of
        return [Derived(QUEUES[one.place], one.number, event_of(one)) for one in self._messages]

    def _mark(self, ts: int) -> None:
        self.result.equity.append(EquityPoint(ts, self.result.performance.equity))


def _split_at(items: Iterator[Item], ts: int) -> Iterator[Item]:
    """Yield items; a span of rows on both sides of a moment is split in two."""
    for item in items:
        if isinstance(item, RowSpan):
            table, first, last = item
            if table.ts[first] < ts <= table.ts[last - 1]:
                place = bisect_left(table.ts, ts, first, last)
                yield RowSpan(table, first, place)
                item = RowSpan(table, place, last)
            yield item
        else:
            yield item


def _type_of(kind: type[Payload]) -> str:
    return kind.TYPE


def _bars_in(source: MarketSource) -> Iterator[BarSource]:
    """Yield the parts of a market that are made of bars."""
    if isinstance(source, Fed):
        yield from _bars_in(source.source)
    elif isinstance(source, Merged):
        for each in source.sources:
            yield from _bars_in(each)
    elif isinstance(source, BarSource):
        yield source


def run_id_of(origin_ms: int) -> str:
    """Return the run id of a backtest: the time of its source's origin, to the second, UTC."""
    return f"{datetime.fromtimestamp(origin_ms // 1000, UTC):%Y%m%d_%H%M%S}"
