"""Waits between attempts: exponential, with full jitter, from a given seed."""

from __future__ import annotations

from random import Random
from typing import NamedTuple


class Wait(NamedTuple):
    """One wait: drawn evenly from 0..ceiling_ms; the ceiling doubles with each attempt."""

    attempt: int
    ceiling_ms: int
    wait_ms: int


class Backoff:
    """Waits between attempts; the same seed gives the same waits.

    Full jitter spreads the clients of one outage over the whole wait. Source of the method:
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, seed: int, min_ms: int, max_ms: int) -> None:
        self.min_ms = min_ms
        self.max_ms = max_ms
        self.attempt = 0
        # No cryptography: a seeded source is the point.
        self._random = Random(seed)

    def next(self) -> Wait:
        """Return the wait before the next attempt."""
        ceiling = min(self.min_ms << min(self.attempt, 32), self.max_ms)
        self.attempt += 1
        return Wait(self.attempt, ceiling, self._random.randint(0, ceiling))

    def reset(self) -> None:
        """Start over: the last attempt succeeded and its connection lasted."""
        self.attempt = 0
