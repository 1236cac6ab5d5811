"""Circuit breaker of REST requests: pauses a failing endpoint, then tries it with one request.

    closed      requests are sent
    open        several failed in a row: none is sent until the drawn wait is over
    half_open   one is sent, and its outcome decides

Measurements are sent in every state: a ping or the time every interval, and up to five books of a
silent line. Their outcomes count: the first success of any request closes the breaker, and a
failure in the open state draws a new wait.
"""

from __future__ import annotations

from typing import Final

from minibot.market.backoff import Backoff
from minibot.market.shard_health import CLOSED, FAILURES_TO_OPEN, HALF_OPEN, OPEN

# Longest wait for the outcome of a request being tried: the outcome itself ends the wait.
OUTCOME_MS: Final = 1_000


class Breaker:
    """State of the breaker; times are milliseconds and come in as values."""

    def __init__(self, backoff: Backoff) -> None:
        self.state = CLOSED
        self.failures = 0
        self._backoff = backoff
        self._until_ms = 0

    def wait_ms(self, now_ms: int) -> int:
        """Return how long a request has to wait; 0 when it may be sent now.

        While one request is being tried, the others wait for its outcome, not for a time: they ask
        again once it is known, or after `OUTCOME_MS`.
        """
        if self.state == HALF_OPEN:
            return OUTCOME_MS
        return max(0, self._until_ms - now_ms) if self.state == OPEN else 0

    def on_sent(self) -> None:
        """Note that a request is sent; in the open state it becomes the deciding one."""
        if self.state == OPEN:
            self.state = HALF_OPEN

    def on_answer(self, now_ms: int, *, ok: bool) -> None:
        """Note the outcome of a request or a measurement."""
        if ok:
            self.state, self.failures = CLOSED, 0
            self._backoff.reset()
            return
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN:
            self.state = OPEN
            self._until_ms = now_ms + self._backoff.next().wait_ms
