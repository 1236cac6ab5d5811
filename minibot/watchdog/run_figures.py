"""Figures of a run, counted from its queues: while it lives, and again if it was interrupted.

A count goes on from where the last one ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from minibot.accounting.market_projection import MarketProjection
from minibot.accounting.performance import Performance, ratio_text
from minibot.accounting.run_counters import HealthCounters
from minibot.cores.input_order import LineSource
from minibot.events.codec import Codec
from minibot.events.model import Event, Health, JsonObject, RunOpening
from minibot.events.names import CONTROL, FILLS, HEALTH, TICKS, WATCHDOG_ROLE
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.errors import InvariantError, RunStop
from minibot.kernel.queue import open_reader
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import run_folders
from minibot.runtime.stop import STOP_KIND
from minibot.watchdog.operator_stop_log import read_stops


class RunFigures:
    """Count of one run's market, fills and health so far.

    Args:
        var: The folders of its queues, and of the runs whose stops count.
        manifest: The run's manifest.
        codec: The run's codec.

    Raises:
        InvariantError: `control` does not begin with the opening.

    Attributes:
        ticks: The market events, read as far as they are counted.
        market: Their fold, with the fills.
    """

    def __init__(self, var: Var, manifest: Manifest, codec: Codec) -> None:
        self._var = var
        self._manifest = manifest
        self._codec = codec
        root, roles = var.queues, codec.roles
        self._heads = {queue: open_reader(root, queue) for queue in roles.queues}
        self.ticks = LineSource(open_reader(root, TICKS))
        self._fills = LineSource(open_reader(root, FILLS))
        self._health = {
            role: LineSource(open_reader(root, HEALTH, part=role)) for role in roles.roles
        }
        self._tally = HealthCounters(keeps_rss=False)
        opened = Performance(self._opening(), manifest.config["portfolio"]["quote_asset"])
        self.market = MarketProjection(opened, self._next_fill)

    def _opening(self) -> RunOpening:
        line = LineSource(open_reader(self._var.queues, CONTROL)).next()
        payload = None if line is None else self._codec.decode(CONTROL, line.json).payload
        if not isinstance(payload, RunOpening):
            raise InvariantError(WATCHDOG_ROLE, INVARIANT_BROKEN, "control has no run_opening")
        return payload

    def count(self, until_seq: int | None, is_ended: Callable[[], bool] = lambda: False) -> None:
        """Count new events.

        Args:
            until_seq: Number of the last market event to count; None counts all, and every fill.
            is_ended: True from when on the rest is left to a later count.
        """
        decode = self._codec.decode
        while until_seq is None or self.ticks.position.seq < until_seq:
            if is_ended():
                return
            line = self.ticks.next()
            if line is None:
                break
            self.market.take(line.seq, decode(TICKS, line.json))
        if until_seq is None:
            self.market.book_before(None)
        for role, source in self._health.items():
            while not is_ended() and (line := source.next()) is not None:
                event = decode(f"{HEALTH}/parts/{role}", line.json)
                if isinstance(event.payload, Health):
                    self._tally.on_health(event.payload, event.ts)

    def _next_fill(self) -> Event | None:
        line = self._fills.next()
        return None if line is None else self._codec.decode(FILLS, line.json)

    def lines(self) -> dict[str, int]:
        """Return how many lines each queue has now."""
        return {queue: reader.head().lines for queue, reader in self._heads.items()}

    def to_json(self, market_ms: int | None = None) -> JsonObject:
        """Return the content of `metrics.json`.

        Args:
            market_ms: The market time of these figures, Unix ms; of the last event by default.
        """
        last_ts = self.market.last_ts or self._manifest.clock_origin_ms
        return {
            "schema": "minibot.metrics",
            "run_id": self._manifest.run_id,
            "market_ms": last_ts if market_ms is None else market_ms,
            "lines": self.lines(),
            **self.market.figures(),
            "stop": _stop_share(self._var, self._manifest, last_ts),
            **self._tally.to_json(),
        }


def _stop_share(var: Var, manifest: Manifest, market_ts: int) -> JsonObject | None:
    """Return how many runs here were stopped and why, and the share of this one (N-79, U-21).

    Args:
        var: The folders of the runs.
        manifest: This run's.
        market_ts: Time of its last market event.

    Returns:
        Runs, those that a STOP ended, their share and reasons; of this run the milliseconds of
        market time that were planned, and those of them that a STOP has cost. None where the
        operators' journal cannot be read: that is no reason to end a run.
    """
    try:
        stops = read_stops(var.root)
    except RunStop:
        return None
    standing = {folder.name for folder in run_folders(var.runs)}
    runs = len(standing)
    reasons: Counter[str] = Counter()
    stopped: set[str] = set()
    for envelope in stops:
        if envelope["payload"]["kind"] != STOP_KIND:
            continue
        # The journal also has the stops of runs that were removed.
        if envelope["run_id"] in standing - stopped:
            stopped.add(envelope["run_id"])
            reasons[envelope["payload"]["reason_code"]] += 1
    planned_ms = int(manifest.config["duration_ms"])
    left_ms = max(0, planned_ms - max(0, market_ts - manifest.clock_origin_ms))
    return {
        "runs": runs,
        "stopped": len(stopped),
        "share": ratio_text(len(stopped), runs),
        "reasons": dict(sorted(reasons.items())),
        "planned_ms": planned_ms,
        "stopped_ms": left_ms if manifest.run_id in stopped else 0,
    }
