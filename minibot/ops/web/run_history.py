"""History of a run for its page: marks from the queues, prices and equity as seen.

Fills, signals, risk's exits, incidents and gaps are read below the heads of their queues, each line
once. Prices and equity are those of the statuses since `ops` began. Of a finished run they and the
gaps are those of its record. Stops in force are those of risk's position plans and of the statuses.
"""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from minibot.accounting.performance import Carried, Performance
from minibot.cores.input_order import LineSource
from minibot.engine.recorded_run import Recorded
from minibot.events.model import (
    EXIT,
    HOLD,
    Event,
    Fill,
    Gap,
    Incident,
    JsonObject,
    PositionPlan,
    RiskAction,
    RunOpening,
    Signal,
)
from minibot.events.money import UNIT
from minibot.events.names import CONTROL, FILLS, INCIDENTS, RISK_ACTIONS, RISK_ROLE, SIGNALS, TICKS
from minibot.kernel.codes import SCHEMA_INVALID
from minibot.kernel.errors import IntegrityError
from minibot.kernel.queue import open_reader
from minibot.ops.figures_of_role import facts_of
from minibot.ops.part_events import PartEvents
from minibot.replay.explain.checks import left_words
from minibot.report.recount import Recount
from minibot.report.run_kind import is_expected
from minibot.report.trades import RoundTrip, TradeLog

POINTS_MAX: Final = 100_000
"""Most values of one series; a night of seven hours has 25,200, one a second."""
MARKS_MAX: Final = 10_000
"""Signals, exits and gaps that are kept, the newest of each."""
INCIDENTS_MAX: Final = 100
LOOK_LINES_MAX: Final = 100_000
"""Most lines of market data that one look reads for gaps; the next look reads on."""
READ_LINES: Final = 1024
"""Most lines of one read, which may return fewer."""
GAP_BYTES: Final = b'"gap"'
"""Part of each line of a gap; other lines of market data are not decoded."""


class Series:
    """Values by time, fewer than `POINTS_MAX`.

    A full series drops every second value, the first one among them, and takes only every second
    new one from then on; the next time every fourth, and so on.
    """

    def __init__(self) -> None:
        self._times = array("q")
        self._values = array("d")
        self._every = 1
        self._seen = 0

    def add(self, ts: int, value: float) -> None:
        """Take a value at a time, Unix ms; one that is not later than the last is left out."""
        if self._times and self._times[-1] >= ts:
            return
        self._seen += 1
        if self._seen % self._every:
            return
        self._times.append(ts)
        self._values.append(value)
        if len(self._times) >= POINTS_MAX:
            self._times, self._values = self._times[1::2], self._values[1::2]
            self._every *= 2

    def since(self, ts: int) -> list[tuple[int, float | None]]:
        """Return the values after a time; None where no value held, as without a stop in force."""
        first = bisect_right(self._times, ts)
        values = (None if math.isnan(each) else each for each in self._values[first:])
        return list(zip(self._times[first:], values, strict=True))


class RunHistory:
    """History of one run; `look` brings it up to date, and may be called by any thread."""

    def __init__(self, run_dir: Path) -> None:
        self._recorded = Recorded.open(run_dir)
        self._lock = threading.Lock()
        self._performance: Performance | None = None
        self._log: TradeLog | None = None
        self._sources: dict[str, LineSource] = {}
        self._parts = PartEvents(self._recorded, INCIDENTS)
        self._is_closed = False
        self._is_market_read = False
        self._equity = Series()
        self._prices: dict[str, Series] = {}
        self._stops: dict[str, Series] = {}
        self._incidents: deque[JsonObject] = deque(maxlen=INCIDENTS_MAX)
        self._fills: list[JsonObject] = []
        self._signals: deque[JsonObject] = deque(maxlen=MARKS_MAX)
        self._exits: deque[JsonObject] = deque(maxlen=MARKS_MAX)
        self._gaps: deque[JsonObject] = deque(maxlen=MARKS_MAX)

    @property
    def recorded(self) -> Recorded:
        """The run, opened once: to open it takes longer than a look."""
        return self._recorded

    @property
    def carried(self) -> Mapping[str, Carried]:
        """The positions of the run's start by symbol, once a look has read its opening."""
        return {} if self._performance is None else self._performance.carried

    # --- input --------------------------------------------------------------------------------

    def take(self, status: JsonObject) -> None:
        """Take equity, prices and stops of a status."""
        ts = status["market"].get("market_ms")
        if ts is None:
            return
        risk = facts_of(status, RISK_ROLE)
        with self._lock:
            if "equity" in risk:
                self._equity.add(ts, float(risk["equity"]))
            for symbol, each in status["market"].get("symbols", {}).items():
                price = each["mark"] or each["price"]
                if price is not None:
                    self._prices.setdefault(symbol, Series()).add(ts, float(price))
                stop = risk.get("exits", {}).get(symbol, {}).get("stop")
                if stop is not None or symbol in self._stops:
                    self._add_stop(symbol, ts, stop)

    def take_record(self, count: Recount) -> None:
        """Take prices, equity and gaps of a finished run, as its report has them."""
        with self._lock:
            self._is_market_read = True
            for gap in count.gaps:
                self._add_gap(gap)
            # Candles and stretches are named by their beginning: their last value came later.
            for symbol, bars in count.prices.items():
                series = self._prices.setdefault(symbol, Series())
                for bar in bars:
                    series.add(bar.ts, bar.open)
                series.add(max(count.market.last_ts, bars[-1].ts + 1), bars[-1].close)
            points = count.curve.points
            for point in points[:1]:
                self._equity.add(point.ts, count.performance.equity_start / UNIT)
            for point, after in pairwise(points):
                self._equity.add(after.ts, point.last / UNIT)
            for point in points[-1:]:
                self._equity.add(max(count.market.last_ts, point.ts + 1), point.last / UNIT)

    def look(self) -> list[RoundTrip]:
        """Read what was written since the last look; return the round trips so far.

        Raises:
            IntegrityError: A line is damaged.
        """
        with self._lock:
            if not self._is_closed:
                self._read()
            elif TICKS in self._sources:
                self._read_gaps()
            return [] if self._log is None else list(self._log.trips)

    def close(self) -> None:
        """Take the last look of a run that has ended, and close the files.

        Market data may take more than one look: later looks read on, and close them.

        Raises:
            IntegrityError: A line is damaged.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                self._read()
            finally:
                self._parts.close()
                for queue in self._sources.keys() - {TICKS}:
                    self._sources.pop(queue).reader.close()

    # --- output -------------------------------------------------------------------------------

    def equity(self, since_ms: int = 0) -> list[tuple[int, float | None]]:
        """Return equity by time, after a time in Unix ms."""
        with self._lock:
            return self._equity.since(since_ms)

    def chart(self, symbol: str, since_ms: int = 0) -> JsonObject:
        """Return prices and stops in force of a symbol after a time in Unix ms, and all marks."""
        empty = Series()
        with self._lock:
            marks = {
                "fills": self._fills,
                "signals": self._signals,
                "exits": self._exits,
                "gaps": self._gaps,
            }
            return {
                "prices": self._prices.get(symbol, empty).since(since_ms),
                "stops": self._stops.get(symbol, empty).since(since_ms),
                **{
                    kind: [mark for mark in found if mark["symbol"] == symbol]
                    for kind, found in marks.items()
                },
            }

    def incidents(self) -> list[JsonObject]:
        """Return the newest incidents, oldest first, each with its market time `ts`.

        As in the report, those that the run's profile itself causes are not among them.
        """
        with self._lock:
            return list(self._incidents)

    # --- the queues ---------------------------------------------------------------------------

    def _read(self) -> None:
        if self._performance is None or self._log is None:
            opening = next(self._events(CONTROL), None)
            if opening is None:
                return
            if not isinstance(opening.payload, RunOpening):
                raise IntegrityError("ops", SCHEMA_INVALID, "control has no run_opening")
            self._performance = Performance(opening.payload, self._recorded.quote_asset)
            self._log = TradeLog(self._performance.carried)
        for event in self._events(FILLS):
            fill = event.payload
            if isinstance(fill, Fill):
                market = (one for _, one in self._recorded.events(TICKS))
                self._performance.take_first_mark(fill.symbol, market)
                self._log.on_fill(event)
                mark: dict[str, Any] = {"ts": event.ts, "symbol": fill.symbol, "side": fill.side}
                self._fills.append({**mark, "qty": fill.qty, "price": fill.price, "id": event.id})
        for event in self._events(SIGNALS):
            self._on_signal(event)
        for event in self._events(RISK_ACTIONS):
            self._on_risk(event)
        manifest = self._recorded.manifest
        for event in self._parts.look():
            incident = event.payload
            if not (isinstance(incident, Incident) and is_expected(incident, manifest)):
                self._incidents.append({"ts": event.ts, **incident.to_json()})
        if not self._is_market_read:
            self._read_gaps()

    def _on_signal(self, event: Event) -> None:
        payload = event.payload
        if isinstance(payload, Signal) and payload.side != HOLD:
            mark = {
                "ts": event.ts,
                "symbol": payload.symbol,
                "side": payload.side,
                "words": payload.reason,
            }
            self._signals.append({**mark, "id": event.id})

    def _on_risk(self, event: Event) -> None:
        payload = event.payload
        if (
            isinstance(payload, RiskAction)
            and payload.action == EXIT
            and payload.symbol is not None
        ):
            mark = {"ts": event.ts, "symbol": payload.symbol, "words": left_words(payload)}
            self._exits.append({**mark, "id": event.id})
        elif isinstance(payload, PositionPlan):
            self._add_stop(payload.symbol, event.ts, payload.stop)

    def _add_stop(self, symbol: str, ts: int, stop: str | None) -> None:
        value = math.nan if stop is None else float(stop)
        self._stops.setdefault(symbol, Series()).add(ts, value)

    def _read_gaps(self) -> None:
        """Read one look of market data; after the run's end, close them at their end or damage."""
        reader = self._source(TICKS).reader
        left = LOOK_LINES_MAX
        is_over = self._is_closed
        try:
            while left and (lines := reader.read(min(READ_LINES, left))):
                left -= len(lines)
                for line in lines:
                    if GAP_BYTES in line.json:
                        gap = self._recorded.decode(TICKS, line).payload
                        if isinstance(gap, Gap):
                            self._add_gap(gap)
            is_over = is_over and left > 0
        finally:
            if is_over:
                del self._sources[TICKS]
                reader.close()

    def _add_gap(self, gap: Gap) -> None:
        mark = {"ts": gap.to_ts, "from_ts": gap.from_ts, "symbol": gap.symbol}
        self._gaps.append({**mark, "words": f"{gap.stream}: {gap.why}"})

    def _events(self, queue: str) -> Iterator[Event]:
        source = self._source(queue)
        while (line := source.next()) is not None:
            yield self._recorded.decode(queue, line)

    def _source(self, queue: str) -> LineSource:
        source = self._sources.get(queue)
        if source is None:
            reader = open_reader(self._recorded.queues, queue)
            source = self._sources[queue] = LineSource(reader)
        return source
