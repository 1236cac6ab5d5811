"""The breaker of requests: an endpoint that fails is left alone, and asked again by one request.

    closed      requests go
    open        several failed in a row: none goes until the drawn wait is over
    half_open   one goes and decides

Measurements go in every state, one at a time and seldom: the first that succeeds closes it.
"""

from __future__ import annotations

from minibot.market.backoff import Backoff
from minibot.market.shard_health import CLOSED, FAILURES_TO_OPEN, HALF_OPEN, OPEN


class Breaker:
    """State of the requests; times are milliseconds and come in as values."""

    def __init__(self, backoff: Backoff) -> None:
        self.state = CLOSED
        self.failures = 0
        self._backoff = backoff
        self._until_ms = 0

    def wait_ms(self, now_ms: int) -> int:
        """Return how long a request has to wait; 0 when it may go now."""
        if self.state == CLOSED:
            return 0
        # While one request decides the others wait for its answer, not for a time.
        return max(1, self._until_ms - now_ms) if self._is_waiting(now_ms) else 0

    def _is_waiting(self, now_ms: int) -> bool:
        return self.state == HALF_OPEN or now_ms < self._until_ms

    def on_sent(self) -> None:
        """A request goes; in the open state it is the one that decides."""
        if self.state == OPEN:
            self.state = HALF_OPEN

    def on_answer(self, now_ms: int, *, ok: bool) -> None:
        """A request or a measurement was answered, or not."""
        if ok:
            self.state, self.failures = CLOSED, 0
            self._backoff.reset()
            return
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN:
            self.state = OPEN
            self._until_ms = now_ms + self._backoff.next().wait_ms
