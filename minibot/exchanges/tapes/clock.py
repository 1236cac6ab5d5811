"""Run clock of the simulator: market time computed from a monotonic machine clock.

Pure apart from reading the machine clock. Before it is started the clock stays at its origin, so
that clients can fetch history and subscribe while no frame plays. Times are integers: market time
in nanoseconds inside, milliseconds outside.
"""

from __future__ import annotations

import sys
import time
from fractions import Fraction

from minibot.events.unit_sizes import NS_PER_MS


def machine_ns() -> int:
    """Return the machine clock that `clock.json` counts in, in nanoseconds."""
    # time.monotonic_ns ticks every 15.6 ms on Windows, which is 0.9 s of market time at 60x.
    return time.perf_counter_ns() if sys.platform == "win32" else time.monotonic_ns()


class PlayClock:
    """Market time: stays at the origin until started, then runs `speed` times machine time."""

    def __init__(self, market_origin_ms: int, speed: Fraction) -> None:
        self.market_origin_ms = market_origin_ms
        self.speed = speed
        self.is_started = False
        self._machine_origin_ns = 0
        self._made_ns = machine_ns()

    def start(self, machine_origin_ns: int, market_origin_ms: int, speed: Fraction) -> None:
        """Start the clock at the given pair of origins, as stated by `clock.json`."""
        self._machine_origin_ns = machine_origin_ns
        self.market_origin_ms = market_origin_ms
        self.speed = speed
        self.is_started = True

    def now_ns(self) -> int:
        """Return market time in nanoseconds; the origin until the clock runs."""
        origin_ns = self.market_origin_ms * NS_PER_MS
        if not self.is_started:
            return origin_ns
        elapsed_ns = max(0, machine_ns() - self._machine_origin_ns)
        return origin_ns + elapsed_ns * self.speed.numerator // self.speed.denominator

    def now_ms(self) -> int:
        """Return market time in Unix milliseconds."""
        return self.now_ns() // NS_PER_MS

    def pace_ms(self) -> int:
        """Return milliseconds since this object was made, at market speed, also while time stands.

        Rate windows, pings and bans run on it: they must pass at the run's speed, but a client that
        connects before the start needs them to pass at all. A start at another speed counts for the
        time before it too, so that this leaps.
        """
        elapsed_ns = machine_ns() - self._made_ns
        return elapsed_ns * self.speed.numerator // self.speed.denominator // NS_PER_MS

    def machine_s(self, market_ns: int) -> float:
        """Return how many machine seconds `market_ns` of market time take."""
        return float(market_ns / self.speed) / 1e9
