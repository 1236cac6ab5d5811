"""Metrics while the run lives: `var/metrics/metrics.json` (atomic) and timed snapshots.

Nothing here is a source of truth: `minibot report` recounts every figure from the queues, and a
test compares both with a third count. Ticks are counted only up to the executor's position, so that
every fill is booked before the ticks that came after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from minibot.accounting.market_projection import MarketProjection
from minibot.accounting.performance import Performance, ratio_text
from minibot.accounting.run_counters import HealthCounters
from minibot.accounting.symbol_figures import result_figures, symbol_figures
from minibot.cores.input_order import LineSource
from minibot.events.model import Event, Health, JsonObject, RunOpening
from minibot.events.names import EXECUTION_ROLE, WATCHDOG_ROLE
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import InvariantError
from minibot.kernel.files import write_hashed
from minibot.kernel.queue import open_reader, reader_folder
from minibot.runtime.clock import machine_ns, wall_ms
from minibot.runtime.context import RoleContext
from minibot.runtime.runfiles import run_folders
from minibot.runtime.stop import STOP_KIND
from minibot.watchdog.operator_stop_log import read_stops

# The table is drawn once a second.
LIVE_NS = 1_000_000_000


class MetricsKeeper:
    """Keeper of one run's metrics; stepped by the watchdog's second thread.

    Attributes:
        live: Figures for the live table, recomputed once a second and never changed afterwards:
            `symbols` as in `symbol_figures`, `result` as in `result_figures`, `market_ms` and, of
            the last price, `price_ms`.
    """

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._root = context.var.queues
        self._heads = {queue: open_reader(self._root, queue) for queue in context.roles.queues}
        self._ticks = LineSource(open_reader(self._root, "market_ticks"))
        self._fills = LineSource(open_reader(self._root, "fills"))
        self._health = {
            role: LineSource(open_reader(self._root, "health", part=role))
            for role in context.roles.roles
        }
        self._tally = HealthCounters(keeps_rss=False)
        opened = Performance(self._opening(), context.config.portfolio.quote_asset)
        self._market = MarketProjection(opened, self._next_fill)
        self._executed = Cursor(
            reader_folder(self._root, "market_ticks", EXECUTION_ROLE, False) / "cursor.json",
            context.run_id,
            "market_ticks",
            EXECUTION_ROLE,
        )
        self._written_ns = self._snapshot_ns = machine_ns()
        self.live: JsonObject = {}
        self._live_ns = 0

    def _opening(self) -> RunOpening:
        line = LineSource(open_reader(self._root, "control")).next()
        payload = None if line is None else self._context.codec.decode("control", line.json).payload
        if not isinstance(payload, RunOpening):
            raise InvariantError(WATCHDOG_ROLE, INVARIANT_BROKEN, "control has no run_opening")
        return payload

    def step(self, is_ended: Callable[[], bool] = lambda: False) -> None:
        """Count new events, and write when the interval has passed.

        Args:
            is_ended: True from when on the rest of the events is left to `finish`.
        """
        limits = self._context.config.watchdog
        self._count(self._executed_seq(), is_ended)
        moment = machine_ns()
        if moment - self._live_ns >= LIVE_NS:
            self._live_ns = moment
            self._show()
        if moment - self._written_ns >= limits.metrics_interval_ms * 1_000_000:
            self._written_ns = moment
            self._write("metrics.json")
        if moment - self._snapshot_ns >= limits.snapshot_interval_ms * 1_000_000:
            self._snapshot_ns = moment
            self._snapshot()

    def finish(self) -> None:
        """Count to the end of the queues and write the last metrics."""
        self._count(None)
        self._show()
        self._write("metrics.json")
        self._snapshot()

    def _executed_seq(self) -> int:
        position = self._executed.load()
        return 0 if position is None else position.seq

    # --- counting -----------------------------------------------------------------------------

    def _count(self, until_seq: int | None, is_ended: Callable[[], bool] = lambda: False) -> None:
        decode = self._context.codec.decode
        while until_seq is None or self._ticks.position.seq < until_seq:
            if is_ended():
                return
            line = self._ticks.next()
            if line is None:
                break
            self._market.take(line.seq, decode("market_ticks", line.json))
        if until_seq is None:
            self._market.book_before(None)
        for role, source in self._health.items():
            while not is_ended() and (line := source.next()) is not None:
                event = decode(f"health/parts/{role}", line.json)
                if isinstance(event.payload, Health):
                    self._tally.on_health(event.payload, event.ts)

    def _next_fill(self) -> Event | None:
        line = self._fills.next()
        return None if line is None else self._context.codec.decode("fills", line.json)

    def _show(self) -> None:
        performance = self._market.performance
        self.live = {
            "market_ms": self._market.last_ts or None,
            "price_ms": self._market.price_ts or None,
            "symbols": symbol_figures(performance),
            "result": result_figures(performance),
        }

    # --- writing ------------------------------------------------------------------------------

    def _figures(self) -> JsonObject:
        counts = {queue: reader.head().lines for queue, reader in self._heads.items()}
        return {
            "schema": "minibot.metrics",
            "run_id": self._context.run_id,
            "market_ms": self._context.clock.now_ms(),
            "lines": counts,
            **self._market.figures(),
            "stop": stop_share(
                self._context, self._market.last_ts or self._context.manifest.clock_origin_ms
            ),
            **self._tally.to_json(),
        }

    def _write(self, name: str) -> None:
        write_hashed(self._context.var.metrics / name, self._figures())

    def _snapshot(self) -> None:
        self._write(f"{self._context.run_id}-{wall_ms()}.json")


def stop_share(context: RoleContext, market_ts: int) -> JsonObject:
    """Return how many runs here were stopped and why, and the share of this one (N-79, U-21).

    Args:
        context: The running run's context.
        market_ts: Time of its last market event.

    Returns:
        Runs, those that a STOP ended, their share and reasons; of this run the milliseconds of
        market time that were planned, and those of them that a STOP has cost.
    """
    runs = len(run_folders(context.var.runs))
    reasons: Counter[str] = Counter()
    stopped: set[str] = set()
    for envelope in read_stops(context.var.root):
        if envelope["payload"]["kind"] == STOP_KIND and envelope["run_id"] not in stopped:
            stopped.add(envelope["run_id"])
            reasons[envelope["payload"]["reason_code"]] += 1
    planned_ms = context.config.duration_ms
    left_ms = max(0, planned_ms - max(0, market_ts - context.manifest.clock_origin_ms))
    return {
        "runs": runs,
        "stopped": len(stopped),
        "share": ratio_text(len(stopped), runs),
        "reasons": dict(sorted(reasons.items())),
        "planned_ms": planned_ms,
        "stopped_ms": left_ms if context.run_id in stopped else 0,
    }
