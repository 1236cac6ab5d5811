"""Real clock of a recording: Unix nanoseconds that follow the machine's monotonic clock.

Between two calls of `settle` only monotonic time counts, so that a step of the wall clock never
puts lines of a part out of order; the next part starts from the wall clock again. Where monotonic
time stands while the machine sleeps, a part has to end with the sleep.
"""

from __future__ import annotations

import time
from typing import Final

from minibot.events.unit_sizes import NS_PER_MS, NS_PER_S
from minibot.runtime.clock import machine_ns, suspend_ns

# Two clocks are read one after the other, and a thread may have to wait in between.
SLEEP_NS_MIN: Final = NS_PER_S


class WallClock:
    """Clock with the interface of `market.elapsed_clock.MarketClock`, in real time."""

    is_running = True

    def __init__(self) -> None:
        self._offset_ns = self._asleep_ns = 0
        self.settle()

    def settle(self) -> int:
        """Adopt the wall clock's current time; return by how many ns it was set, sleep apart."""
        before_ns = self._offset_ns - self._asleep_ns
        self._offset_ns = time.time_ns() - machine_ns()
        self._asleep_ns = suspend_ns() - machine_ns()
        return self._offset_ns - self._asleep_ns - before_ns

    @property
    def has_slept(self) -> bool:
        """Return whether machine time has stood, since `settle`, because the machine slept."""
        return suspend_ns() - machine_ns() - self._asleep_ns >= SLEEP_NS_MIN

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
