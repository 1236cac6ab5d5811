"""History of a run for its page: fills and incidents from the queues, prices and equity as seen.

Fills and incidents are read below the heads of their queues, each line once. Prices and equity are
those of the statuses since `ops` began; of many, every second one is let go.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import Any, Final

from minibot.accounting.performance import Performance
from minibot.cores.input_order import LineSource
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Fill, JsonObject, RunOpening
from minibot.events.names import CONTROL, FILLS, INCIDENTS, RISK_ROLE
from minibot.kernel.codes import SCHEMA_INVALID
from minibot.kernel.errors import IntegrityError
from minibot.kernel.queue import open_reader
from minibot.report.trades import RoundTrip, TradeLog

KEPT_MAX: Final = 20_000
INCIDENTS_MAX: Final = 100


class Series:
    """Values by time, at most `KEPT_MAX`: when full, every second one is let go."""

    def __init__(self) -> None:
        self._points: list[tuple[int, str]] = []
        self._every = 1
        self._seen = 0

    def add(self, ts: int, value: str) -> None:
        """Take a value at a time, Unix ms; one of a time that is already there is left out."""
        if self._points and self._points[-1][0] >= ts:
            return
        self._seen += 1
        if self._seen % self._every:
            return
        self._points.append((ts, value))
        if len(self._points) >= KEPT_MAX:
            del self._points[::2]
            self._every *= 2

    def since(self, ts: int) -> list[tuple[int, str]]:
        """Return the values behind a time."""
        if not self._points or self._points[-1][0] <= ts:
            return []
        return [point for point in self._points if point[0] > ts]


class RunHistory:
    """History of one run; `look` brings it up to date, and may be called by any thread."""

    def __init__(self, run_dir: Path) -> None:
        self._recorded = Recorded.open(run_dir)
        self._lock = threading.Lock()
        self._fills: LineSource | None = None
        self._log: TradeLog | None = None
        self._incidents: dict[str, LineSource] = {}
        self._equity = Series()
        self._prices: dict[str, Series] = {}
        self.told: deque[JsonObject] = deque(maxlen=INCIDENTS_MAX)
        self.marks: list[JsonObject] = []

    def take(self, status: JsonObject) -> None:
        """Take equity and prices of a status."""
        ts = status["market"].get("market_ms")
        equity = status["roles"].get(RISK_ROLE, {}).get("heartbeat", {}).get("facts", {})
        if ts is None:
            return
        with self._lock:
            if "equity" in equity:
                self._equity.add(ts, str(equity["equity"]))
            for symbol, each in status["market"].get("symbols", {}).items():
                price = each["mark"] or each["price"]
                if price is not None:
                    self._prices.setdefault(symbol, Series()).add(ts, str(price))

    def look(self) -> list[RoundTrip]:
        """Read what was written since the last look; return the round trips so far.

        Raises:
            IntegrityError: A line is damaged.
        """
        with self._lock:
            self._read_fills()
            self._read_incidents()
            return [] if self._log is None else list(self._log.trips)

    def equity(self, since_ms: int = 0) -> list[tuple[int, str]]:
        """Return equity by time, behind a time in Unix ms."""
        with self._lock:
            return self._equity.since(since_ms)

    def prices(self, symbol: str, since_ms: int = 0) -> list[tuple[int, str]]:
        """Return the marks of a symbol by time, behind a time in Unix ms."""
        with self._lock:
            series = self._prices.get(symbol)
            return [] if series is None else series.since(since_ms)

    def _read_fills(self) -> None:
        if self._log is None:
            line = self._source(CONTROL).next()
            if line is None:
                return
            opening = self._recorded.decode(CONTROL, line).payload
            if not isinstance(opening, RunOpening):
                raise IntegrityError("ops", SCHEMA_INVALID, "control has no run_opening")
            asset = self._recorded.manifest.config["portfolio"]["quote_asset"]
            self._log = TradeLog(Performance(opening, asset).carried)
            self._fills = self._source(FILLS)
        assert self._fills is not None
        while (line := self._fills.next()) is not None:
            event = self._recorded.decode(FILLS, line)
            self._log.on_fill(event)
            fill = event.payload
            if isinstance(fill, Fill):
                mark: dict[str, Any] = {"ts": event.ts, "symbol": fill.symbol, "side": fill.side}
                self.marks.append({**mark, "qty": fill.qty, "price": fill.price, "id": event.id})

    def _read_incidents(self) -> None:
        roles = self._recorded.roles.writers(INCIDENTS)
        for role in roles:
            source = self._incidents.get(role)
            if source is None:
                part = self._recorded.queues / INCIDENTS / "parts" / f"{role}.head"
                if not part.exists():
                    continue
                source = self._incidents[role] = self._source(INCIDENTS, role)
            while (line := source.next()) is not None:
                event = self._recorded.decode(INCIDENTS, line)
                self.told.append({"ts": event.ts, **event.payload.to_json()})

    def _source(self, queue: str, part: str | None = None) -> LineSource:
        return LineSource(open_reader(self._recorded.queues, queue, part=part))

    def close(self) -> None:
        """Close the files: the end of the run moves them."""
        with self._lock:
            for source in (self._fills, *self._incidents.values()):
                if source is not None:
                    source.reader.close()
            self._fills, self._log, self._incidents = None, None, {}
