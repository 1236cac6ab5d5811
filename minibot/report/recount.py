"""Recount of every figure of a run from its queues alone.

One pass over each queue. `recount` gives the same object as `var/metrics/metrics.json` for the
figures that both have; a `Recount` also keeps the details that the summary and the report show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from minibot.accounting.hourly_accounts import HourlyAccounts
from minibot.accounting.performance import Performance
from minibot.engine.bookkeeping import tally
from minibot.engine.role_replay import Recorded
from minibot.events.model import (
    BUY,
    Event,
    Fill,
    Health,
    Incident,
    JsonObject,
    MarketTick,
    OrderIntent,
    PriceMark,
    RiskAction,
    RunOpening,
    Signal,
    StopJournal,
)
from minibot.events.names import AI_ROLE
from minibot.events.reasons import SCHEMA_INVALID
from minibot.kernel.errors import IntegrityError
from minibot.replay.explain.checks import departure
from minibot.report.curve import EquityCurve
from minibot.report.trades import RoundTrip, TradeLog

PROGRESS_EVERY = 4096
Progress = Callable[[int], None]
"""Told now and then how many lines have been read so far."""


class Recount:
    """Recount of one run.

    Args:
        recorded: The run, sealed or not.
        progress: Called with the lines read so far.

    Raises:
        IntegrityError: A queue is damaged, or the run has no opening.
    """

    def __init__(self, recorded: Recorded, progress: Progress = lambda lines: None) -> None:
        self.lines: dict[str, int] = {}
        self.types: Counter[str] = Counter()
        self.sides: Counter[str] = Counter()
        self.hold_reasons: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.block_reasons: Counter[str] = Counter()
        self.results: Counter[str] = Counter()
        self.incidents: list[tuple[int, Incident]] = []
        self.stops: list[tuple[int, StopJournal]] = []
        self.models: Counter[str] = Counter()
        self.ai_detail = ""
        self.ai_levels: set[str] = set()
        self.market_from_ts = self.market_to_ts = 0  # Of the first and last market event, if any.
        self._exits: dict[str, RiskAction] = {}
        self._exit_causes: dict[str, tuple[str, ...]] = {}
        self.curve = EquityCurve()
        self.tally = tally(recorded)
        opening, self._opened_ts = _opening(recorded)
        self.books = HourlyAccounts(recorded.manifest.run_id, opening, self._opened_ts)
        quote_asset = recorded.manifest.config["portfolio"]["quote_asset"]
        self.performance = Performance(opening, quote_asset)
        self.trades = TradeLog(self.performance.carried)
        self._recorded = recorded
        self._progress = progress
        self._read = 0
        self._count_ticks()
        for queue in recorded.roles.queues:
            if queue != "market_ticks":
                self._count(queue)

    def metrics(self) -> JsonObject:
        """Return the metrics of the run (N-75..N-78)."""
        return {
            "run_id": self._recorded.manifest.run_id,
            "lines": {queue: self.lines[queue] for queue in self._recorded.roles.queues},
            "market_ticks": dict(sorted(self.types.items())),
            "performance": self.performance.to_json(),
            **self.tally.to_json(),
        }

    def left_because(self, trip: RoundTrip) -> str:
        """Return why a round trip was closed: the exit that was hit, else a reason code."""
        for cause in self._exit_causes.get(trip.exit_order, ()):
            action = self._exits.get(cause)
            if action is not None:
                return departure(action.checks) or action.reason_code
        return ""

    # --- market data and fills ----------------------------------------------------------------

    def _count_ticks(self) -> None:
        """Mark equity after every tick; a fill counts right after the tick that it names."""
        fills = self._events("fills")
        waiting = next(fills, None)
        seq = 0
        for seq, event in self._events("market_ticks"):
            self.types[event.type] += 1
            while waiting is not None and (waiting[1].tick_seq or 0) < seq:
                self._book(waiting[1])
                waiting = next(fills, None)
            if isinstance(event.payload, MarketTick):
                self.performance.on_tick(event.payload)
                self._look(event.ts)
            elif isinstance(event.payload, PriceMark):
                self.performance.on_mark(event.payload)
                self._look(event.ts)
            self._note_time(event)
        while waiting is not None:
            self._book(waiting[1])
            waiting = next(fills, None)
        self.books.close(self.market_to_ts or self._opened_ts)
        self.lines["market_ticks"] = seq

    def _note_time(self, event: Event) -> None:
        self.market_from_ts = self.market_from_ts or event.ts
        self.market_to_ts = event.ts

    def _book(self, event: Event) -> None:
        if isinstance(event.payload, Fill):
            self.performance.on_fill(event.payload, event.ts)
            self.books.on_fill(event.payload, event.ts)
            self.trades.on_fill(event)
            self._look(max(event.ts, self.market_to_ts))

    def _look(self, ts: int) -> None:
        performance = self.performance
        self.curve.add(ts, performance.equity, performance.high_water_mark)

    # --- the other queues ---------------------------------------------------------------------

    def _count(self, queue: str) -> None:
        count = 0
        for _, event in self._events(queue):
            count += 1
            self._take(event)
        self.lines[queue] = count

    def _take(self, event: Event) -> None:
        payload = event.payload
        if isinstance(payload, Signal):
            self.sides[payload.side] += 1
            if payload.side == "HOLD":
                self.hold_reasons[payload.reason_code] += 1
        elif isinstance(payload, RiskAction):
            self.actions[payload.action] += 1
            if payload.action == "BLOCK":
                self.block_reasons[payload.reason_code] += 1
            elif payload.action == "EXIT":
                self._exits[event.id] = payload
        elif isinstance(payload, OrderIntent):
            if payload.side != BUY:
                self._exit_causes[payload.client_order_id] = tuple(event.cause_ids or ())
        elif isinstance(payload, Incident):
            self.incidents.append((event.ts, payload))
        elif isinstance(payload, Health):
            if payload.role == AI_ROLE and payload.detail:
                self.ai_detail = payload.detail
                said, _, level = payload.detail.partition("; ")[0].partition(" ")
                if said == "isolation":
                    self.ai_levels.add(level)
        elif isinstance(payload, StopJournal):
            self.stops.append((event.ts, payload))
        elif event.type == "order_result":
            self.results[str(payload.to_json()["result"])] += 1
        elif event.type == "recommendation":
            self.models[str(payload.to_json()["model_id"])] += 1

    def _events(self, queue: str) -> Iterator[tuple[int, Event]]:
        for seq, event in self._recorded.events(queue):
            self._read += 1
            if self._read % PROGRESS_EVERY == 0:
                self._progress(self._read)
            yield seq, event


def recount(recorded: Recorded) -> JsonObject:
    """Return the metrics of a run (N-75..N-78) from its queues.

    Raises:
        IntegrityError: A queue is damaged, or the run has no opening.
    """
    return Recount(recorded).metrics()


def _opening(recorded: Recorded) -> tuple[RunOpening, int]:
    """Return the opening of the run and its time."""
    first = next(recorded.events("control"), None)
    if first is None or not isinstance(first[1].payload, RunOpening):
        raise IntegrityError("report", SCHEMA_INVALID, "control does not begin with run_opening")
    return first[1].payload, first[1].ts
