"""Clock for waits and limits, which also runs before the run's clock has started.

A simulated clock stays at its origin until the market role is ready. Waits measured on it would
never end, so until then machine time is used instead, one to one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from minibot.events.unit_sizes import NS_PER_MS


def next_due(due_ms: int, now_ms: int, every_ms: int) -> int:
    """Return the next due time after `now_ms` on the same grid."""
    return due_ms + ((now_ms - due_ms) // every_ms + 1) * every_ms


class MarketClock(Protocol):
    """Clock of the run, whose time is market time, such as `runtime.clock.RunClock`."""

    @property
    def is_running(self) -> bool:
        """Return False while a simulated clock stands at its origin."""

    def now_ms(self) -> int:
        """Return market time in Unix milliseconds."""

    def at_machine_ns(self, moment_ns: int) -> int:
        """Return the market time of a machine time."""

    def machine_s(self, market_ms: int) -> float:
        """Return how many machine seconds a market duration takes."""


class ElapsedClock:
    """Clock that never stands still: the run's clock once it runs, machine time before."""

    def __init__(self, clock: MarketClock, machine_ns: Callable[[], int]) -> None:
        self.clock = clock
        self.machine_ns = machine_ns
        self._started_ns = machine_ns()

    def now_ms(self) -> int:
        """Return Unix milliseconds for waits and limits; steps back once, when the clock starts."""
        if self.clock.is_running:
            return self.clock.now_ms()
        passed_ns = self.machine_ns() - self._started_ns
        return self.clock.now_ms() + passed_ns // NS_PER_MS

    def machine_s(self, wait_ms: int) -> float:
        """Return how many machine seconds a wait takes."""
        return self.clock.machine_s(wait_ms) if self.clock.is_running else wait_ms / 1000
