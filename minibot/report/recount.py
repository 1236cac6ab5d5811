"""Recount of every figure of a run from its queues alone.

The market is walked once together with the fills, then each other queue is counted. `recount`
gives the same object as `var/metrics/metrics.json` for the figures that both have; a `Recount` also
keeps the details that the summary and the report show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from typing import cast

from minibot.accounting.hourly_accounts import HourlyAccounts
from minibot.accounting.market_projection import MarketProjection
from minibot.accounting.performance import Look, Performance
from minibot.engine.bookkeeping import tally
from minibot.engine.price_charts import PriceCharts
from minibot.engine.recorded_stops import RecordedStops
from minibot.engine.role_replay import PROGRESS_EVERY, Recorded
from minibot.engine.run_result import PriceBar
from minibot.events.model import (
    Bar,
    Event,
    Fill,
    Health,
    Incident,
    JsonObject,
    MarketTick,
    OrderIntent,
    Payload,
    RiskAction,
    Signal,
    StopJournal,
)
from minibot.events.names import AI_ROLE, FILLS, ORDER_INTENTS, TICKS
from minibot.events.unit_sizes import HOUR_MS, SECOND_MS
from minibot.report.curve import EquityCurve
from minibot.report.night_hours import HourTally
from minibot.report.outages import GapLog
from minibot.report.result_lines import CostTally
from minibot.report.trade_reasons import TradeReasons
from minibot.report.trades import TradeLog

Progress = Callable[[int], None]
"""Called now and then with the number of lines read so far."""


class Recount:
    """Recount of one run.

    Attributes:
        has_history: Whether it has bars from before its start.

    Args:
        recorded: The run, sealed or not.
        progress: Called with the lines read so far.

    Raises:
        IntegrityError: A queue is damaged, or the run has no opening.
    """

    def __init__(self, recorded: Recorded, progress: Progress = lambda lines: None) -> None:
        self.lines: dict[str, int] = {}
        self.sides: Counter[str] = Counter()
        self.hold_reasons: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.intents = 0
        self.block_reasons: Counter[str] = Counter()
        self._stops = RecordedStops(recorded)
        self.results: Counter[str] = Counter()
        self.incidents: list[tuple[int, Incident]] = []
        self.stops: list[tuple[int, StopJournal]] = []
        self.models: Counter[str] = Counter()
        self.ai_detail = ""
        self.ai_levels: set[str] = set()
        self.reasons = TradeReasons()
        self.prices: dict[str, MutableSequence[PriceBar]] = {}
        self._charts = PriceCharts(self.prices, SECOND_MS)
        self.curve = EquityCurve()
        self.costs = CostTally()
        self.hours = HourTally()
        self._gaps = GapLog()
        self.gaps = self._gaps.gaps
        self.has_history = False
        self.tally = tally(recorded)
        self._opened_ts, opening = recorded.opening()
        self.books = HourlyAccounts(recorded.manifest.run_id, opening, self._opened_ts)
        self.performance = Performance(opening, recorded.quote_asset)
        fills = self._events(FILLS)
        self.market = MarketProjection(
            self.performance, lambda: next(fills, None), self._on_marks, self._on_fill
        )
        self.trades = TradeLog(self.performance.carried)
        self._start = self.performance.equity_start
        self._recorded = recorded
        self._progress = progress
        self._read = 0
        self._count_ticks()
        # Intents first, as `TradeReasons` requires.
        for queue in (ORDER_INTENTS, *recorded.roles.queues):
            if queue != TICKS and queue not in self.lines:
                self._count(queue)
        self.entry_stops = self._stops.end()
        self.stops.sort(key=lambda each: each[0])

    def metrics(self) -> JsonObject:
        """Return the metrics of the run (N-75..N-78).

        `lines` counts what is merged; latencies, uptimes and processes come from the roles' parts.
        """
        return {
            "run_id": self._recorded.manifest.run_id,
            "lines": {queue: self.lines[queue] for queue in self._recorded.roles.queues},
            **self.market.figures(),
            **self.tally.to_json(),
        }

    def closes(self) -> dict[str, tuple[int, int]]:
        """Return the first and the last price of each symbol, hundred-millionths of quote."""
        return self._charts.closes()

    # --- market data and fills ----------------------------------------------------------------

    def _count_ticks(self) -> None:
        """Look at equity after every tick and fill."""
        for first_seq, row in self._recorded.rows(TICKS, is_ahead=True):
            self._count_lines(len(row.times))
            self.market.take_all(first_seq, row.times, row.payloads)
            self._gaps.take(row.payloads)
            if isinstance(row.payloads[0], Bar) and not self.has_history:
                bars = (payload for payload in row.payloads if isinstance(payload, Bar))
                self.has_history = any(bar.open_ts < self._opened_ts for bar in bars)
        self._gaps.end(self.market.last_ts)
        self.market.book_before(None)
        self.books.close(self.market.last_ts or self._opened_ts)
        self.lines[TICKS] = self.market.seq

    def _on_marks(
        self, times: Sequence[int], payloads: Sequence[Payload], looks: Sequence[Look]
    ) -> None:
        if isinstance(payloads[0], MarketTick):
            self._charts.on_ticks(cast("Sequence[MarketTick]", payloads), times)
        self._take_start()
        ends = [look.place for look in looks[1:]] + [len(payloads)]
        for look, end in zip(looks, ends, strict=True):
            if look.place < end:
                moved = self._start - look.equity_start
                equity, high = look.equity + moved, look.high_water_mark + moved
                self._add_equity(times[look.place : end], equity, high)

    def _on_fill(self, event: Event) -> None:
        if not isinstance(event.payload, Fill):
            return
        fill, ts = event.payload, max(event.ts, self.market.last_ts)
        booking = self.books.on_fill(fill, event.ts)
        self.costs.add(fill)
        self.hours.on_fill(fill, ts, booking.fee)
        self.trades.on_fill(event)
        self._take_start()
        self._add_equity((ts,), self.performance.equity, self.performance.high_water_mark)

    def _take_start(self) -> None:
        """Value what came before a carried position's first mark by that mark as well."""
        moved = self.performance.equity_start - self._start
        if moved:
            self._start += moved
            self.curve.shift(moved)
            self.hours.shift(moved)

    def _add_equity(self, times: Sequence[int], equity: int, high_water_mark: int) -> None:
        self.curve.add_all(times, equity, high_water_mark)
        self.hours.add_equity(times, equity)

    # --- the other queues ---------------------------------------------------------------------

    def _count(self, queue: str) -> None:
        count, known = 0, set[str]()
        parts = self._recorded.parts(queue)
        for event in self._events(queue):
            count += 1
            self._take(event)
            if parts:
                known.add(event.id)
        self.lines[queue] = count
        # A launcher that was killed has merged nothing since.
        for part in parts:
            for _, event in self._recorded.events(part):
                if event.id not in known:
                    self._take(event)

    def _take(self, event: Event) -> None:
        self.reasons.take(event)
        payload = event.payload
        if isinstance(payload, Signal):
            self.sides[payload.side] += 1
            if payload.side == "HOLD":
                self.hold_reasons[payload.reason_code] += 1
        elif isinstance(payload, RiskAction):
            self.actions[payload.action] += 1
            self._stops.on_action(payload, event.ts)
            if payload.action == "BLOCK":
                self.block_reasons[payload.reason_code] += 1
                self.hours.refused[event.ts // HOUR_MS] += 1
        elif isinstance(payload, Incident):
            self.incidents.append((event.ts, payload))
        elif isinstance(payload, Health):
            if payload.role == AI_ROLE and payload.detail:
                self.ai_detail = payload.detail
                figure, _, level = payload.detail.partition("; ")[0].partition(" ")
                if figure == "isolation":
                    self.ai_levels.add(level)
        elif isinstance(payload, StopJournal):
            self.stops.append((event.ts, payload))
        elif isinstance(payload, OrderIntent):
            self.intents += 1
        elif event.type == "order_result":
            self.results[str(payload.to_json()["result"])] += 1
        elif event.type == "recommendation":
            self.models[str(payload.to_json()["model_id"])] += 1

    def _events(self, queue: str) -> Iterator[Event]:
        for _, event in self._recorded.events(queue, is_ahead=True):
            self._count_lines(1)
            yield event

    def _count_lines(self, lines: int) -> None:
        """Count lines read, and report progress now and then."""
        before = self._read // PROGRESS_EVERY
        self._read += lines
        if self._read // PROGRESS_EVERY > before:
            self._progress(self._read)


def recount(recorded: Recorded) -> JsonObject:
    """Return the metrics of a run (N-75..N-78) from its queues.

    Raises:
        IntegrityError: A queue is damaged, or the run has no opening.
    """
    return Recount(recorded).metrics()
