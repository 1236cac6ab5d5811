"""Counts, latencies and uptimes of a run, from its `health` events (N-75..N-77).

The watchdog keeps them while the run lives, the report recounts them from the sealed queues; both
must agree exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from minibot.events.model import Health, JsonObject
from minibot.events.names import EXECUTION_ROLE, MARKET_ROLE

FRAMES, FRAMES_INVALID = "frames", "frames_invalid"


def percentile(values: Sequence[int], percent: int) -> int | None:
    """Return the nearest-rank percentile of values, or None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(1, -(-len(ordered) * percent // 100)) - 1]


class HealthCounters:
    """Counters from the roles' `health` events.

    Args:
        keeps_rss: Keep each sample of a role's memory, which takes memory itself.
    """

    def __init__(self, *, keeps_rss: bool = True) -> None:
        self._keeps_rss = keeps_rss
        self.latencies_us: list[int] = []
        self.latency_errors = 0
        self.states: dict[str, Counter[str]] = {}
        self._uptime_s: dict[str, int] = {}
        self._ended_s: dict[str, int] = {}
        self._last: dict[str, Health] = {}
        self._decision: JsonObject = {}
        # Frames counted by the current market process, and by those before it.
        self._frames: Counter[str] = Counter()
        self._frames_before: Counter[str] = Counter()
        self._rss: dict[str, list[tuple[int, int]]] = {}

    def on_health(self, health: Health, ts: int) -> None:
        """Process one event of a role, in the order of that role's part."""
        role = health.role
        uptime = self._uptime_s.get(role, 0)
        if health.uptime_s < uptime:  # A restarted process counts from zero.
            self._ended_s[role] = self._ended_s.get(role, 0) + uptime
            if role == MARKET_ROLE:
                self._frames_before.update(self._frames)
                self._frames.clear()
        self._uptime_s[role] = health.uptime_s
        self.states.setdefault(role, Counter())[health.state] += 1
        self._last[role] = health
        if role == EXECUTION_ROLE and health.counters:
            self._decision = dict(health.counters)
        if role == MARKET_ROLE and health.counters:
            for name in (FRAMES, FRAMES_INVALID):
                self._frames[name] = health.counters.get(name, 0)
        if self._keeps_rss and health.rss_bytes is not None:
            self._rss.setdefault(role, []).append((ts, health.rss_bytes))
        if health.endpoint is not None:
            if health.ok and health.latency_us is not None:
                self.latencies_us.append(health.latency_us)
            elif not health.ok:
                self.latency_errors += 1

    def rss(self, role: str) -> list[tuple[int, int]]:
        """Return (ts, resident bytes) of a role, in order."""
        return self._rss.get(role, [])

    def frames(self) -> tuple[int, int]:
        """Return how many frames of the exchange were unusable, and how many arrived in all."""
        counted = self._frames_before + self._frames
        return counted[FRAMES_INVALID], counted[FRAMES]

    def to_json(self) -> JsonObject:
        """Return uptimes, link latency and the processes' last figures."""
        return {
            "uptime_s": {
                role: self._ended_s.get(role, 0) + uptime
                for role, uptime in sorted(self._uptime_s.items())
            },
            "latency_us": {
                "n": len(self.latencies_us),
                "errors": self.latency_errors,
                "p50": percentile(self.latencies_us, 50),
                "p95": percentile(self.latencies_us, 95),
                "p99": percentile(self.latencies_us, 99),
            },
            "processes": {
                role: {
                    "rss_bytes": health.rss_bytes,
                    "cpu_ms": health.cpu_ms,
                    "open_files": health.open_files,
                    "threads": health.threads,
                }
                for role, health in sorted(self._last.items())
            },
            "decision": self._decision,
        }
