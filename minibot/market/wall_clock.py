"""Real clock of a recording: Unix nanoseconds that follow the machine's monotonic clock.

Between two calls of `settle` only monotonic time counts, so that a step of the wall clock never
puts lines of a part out of order; the next part starts from the wall clock again.
"""

from __future__ import annotations

import time

from minibot.events.unit_sizes import NS_PER_MS
from minibot.runtime.clock import machine_ns


class WallClock:
    """Clock with the interface of `market.elapsed_clock.MarketClock`, in real time."""

    is_running = True

    def __init__(self) -> None:
        self._offset_ns = 0
        self.settle()

    def settle(self) -> None:
        """Adopt the wall clock's current time."""
        self._offset_ns = time.time_ns() - machine_ns()

    def machine_ns(self) -> int:
        """Return machine time."""
        return machine_ns()

    def ns_of(self, moment_ns: int) -> int:
        """Return the Unix nanoseconds of a machine time."""
        return moment_ns + self._offset_ns

    def now_ns(self) -> int:
        """Return Unix nanoseconds."""
        return self.ns_of(machine_ns())

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return self.now_ns() // NS_PER_MS

    def at_machine_ns(self, moment_ns: int) -> int:
        """Return the Unix milliseconds of a machine time."""
        return self.ns_of(moment_ns) // NS_PER_MS

    def machine_s(self, market_ms: int) -> float:
        """Return how many seconds a duration takes."""
        return market_ms / 1000
