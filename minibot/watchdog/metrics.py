"""Metrics while the run lives: `var/metrics/metrics.json` (atomic) and timed snapshots.

Nothing here is a source of truth: `minibot report` recounts every figure from the queues, and a
test compares both with a third count. Ticks are counted only up to the executor's position, so that
every fill is booked before the ticks that came after it.
"""

from __future__ import annotations

from collections.abc import Callable

from minibot.accounting.symbol_figures import result_figures, symbol_figures
from minibot.events.model import JsonObject
from minibot.events.names import EXECUTION_ROLE, TICKS
from minibot.kernel.cursor import Cursor
from minibot.kernel.files import ensure_below, write_hashed
from minibot.kernel.queue import reader_folder
from minibot.runtime.clock import machine_ns, wall_ms
from minibot.runtime.context import RoleContext
from minibot.runtime.runfiles import METRICS_FILE
from minibot.watchdog.run_figures import RunFigures

# The table is drawn once a second.
LIVE_NS = 1_000_000_000


class MetricsKeeper:
    """Keeper of one run's metrics; stepped by the watchdog's second thread.

    Attributes:
        live: Figures for the live table, recomputed once a second and never changed afterwards:
            `symbols` as in `symbol_figures`, `result` as in `result_figures`, the market times
            `market_ms` and, of the last price, `price_ms`, Unix ms or None; `traded`, the symbols
            that the last universe trades, None before the first.
    """

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._figures = RunFigures(context.var, context.manifest, context.codec)
        self._executed = Cursor(
            reader_folder(context.var.queues, TICKS, EXECUTION_ROLE, False) / "cursor.json",
            context.run_id,
            TICKS,
            EXECUTION_ROLE,
        )
        self._written_ns = self._snapshot_ns = machine_ns()
        self.live: JsonObject = {}
        self._live_ns = 0

    def step(self, is_ended: Callable[[], bool] = lambda: False) -> None:
        """Count new events, and write when the interval has passed.

        Args:
            is_ended: True from when on the rest of the events is left to `finish`.
        """
        limits = self._context.config.watchdog
        self._figures.count(self._executed_seq(), is_ended)
        moment = machine_ns()
        if moment - self._live_ns >= LIVE_NS:
            self._live_ns = moment
            self._show()
        if moment - self._written_ns >= limits.metrics_interval_ms * 1_000_000:
            self._written_ns = moment
            self._write(METRICS_FILE)
        if moment - self._snapshot_ns >= limits.snapshot_interval_ms * 1_000_000:
            self._snapshot_ns = moment
            self._snapshot()

    def finish(self) -> None:
        """Count to the end of the queues and write the last metrics."""
        self._figures.count(None)
        self._show()
        self._write(METRICS_FILE)
        self._snapshot()

    def _executed_seq(self) -> int:
        position = self._executed.load()
        return 0 if position is None else position.seq

    def _show(self) -> None:
        market = self._figures.market
        self.live = {
            "market_ms": market.last_ts or None,
            "price_ms": market.price_ts or None,
            "symbols": symbol_figures(market.performance),
            "traded": None if market.traded is None else list(market.traded),
            "result": result_figures(market.performance),
        }

    def _write(self, name: str) -> None:
        figures, var = self._figures.to_json(self._context.clock.now_ms()), self._context.var
        ensure_below(var.root, var.metrics)  # Somebody may have tidied it away.
        write_hashed(var.metrics / name, figures)

    def _snapshot(self) -> None:
        self._write(f"{self._context.run_id}-{wall_ms()}.json")
