"""Health of one shard's line to the venue: whether it brings data, and when to reconnect.

Judged by the age of data, not by the state of a socket: a socket can stay open for hours and bring
nothing. All times are market time and come in as values. The states of the breaker:

    closed      connected, or reconnecting after one of the first two failures
    open        more failures: the next attempt waits
    half_open   one attempt, whose outcome decides: data close the breaker, a loss opens it

Each failure is followed by a drawn wait, in every state. Failures count together until a connection
has lasted longer than the longest wait; data before that close the breaker, but end no count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from minibot.market.backoff import Backoff, Wait
from minibot.market.sliding_window import Window

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"

# One failure happens, two are bad luck; from the third on the venue is left alone for a while.
FAILURES_TO_OPEN: Final = 3
# A quiet second is no silence; twice the age at which a tick is stale is one.
SILENCE_STALES: Final = 2


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Thresholds of the profile, section of the venue; durations in market milliseconds.

    `bar_grace_ms` is the feed's `grace_ms`: a longer break in a line may be a lag.
    """

    seed: int
    outage_stop_ms: int
    error_window_ms: int
    error_rate_max_percent: int
    error_samples_min: int
    reconnects_max: int
    reconnect_window_ms: int
    backoff_min_ms: int
    backoff_max_ms: int
    tick_stale_ms: int
    renew_after_ms: int
    feed_invalid_max: int
    bar_grace_ms: int = 500

    @property
    def silence_ms(self) -> int:
        """Return the time without any data after which a connection is given up."""
        return SILENCE_STALES * self.tick_stale_ms


class ShardHealth:
    """State of the stream connection of one shard.

    Args:
        limits: Thresholds of the profile.
        now_ms: Start of the age of data.
        number: Seeds the waits: with equal ones all shards would reconnect at the same moment.
        free_at_ms: When the address may connect again, given the attempts of all shards.
    """

    def __init__(
        self,
        limits: LinkLimits,
        now_ms: int,
        number: int = 0,
        free_at_ms: Callable[[int], int] = lambda now_ms: now_ms,
    ) -> None:
        self.limits = limits
        self.data_ms = now_ms
        self.frame_ns = 0  # Machine time of the last data.
        self.late_ms = 0
        # The last break: when its line was heard before, and when again.
        self._before_ms = self._resumed_ms = now_ms
        self.is_connected = False
        self.has_data = False
        self.reconnects = 0
        self.breaker = CLOSED
        self.failures = 0
        self.connected_ms = now_ms
        seed = limits.seed + number
        self._backoff = Backoff(seed, limits.backoff_min_ms, limits.backoff_max_ms)
        self._attempts = Window(limits.reconnect_window_ms)
        self._drops = Window(limits.reconnect_window_ms)
        self._address_free_at_ms = free_at_ms

    # --- events of the line -------------------------------------------------------------------

    def on_attempt(self, now_ms: int) -> None:
        """Note an attempt to connect."""
        self._attempts.add(now_ms)
        if self.breaker == OPEN:
            self.breaker = HALF_OPEN

    def on_connected(self, now_ms: int) -> None:
        """Note that the connection is established; it has not brought data yet."""
        self.is_connected = True
        self.has_data = False
        self.connected_ms = now_ms
        self.late_ms = 0

    def on_data(self, now_ms: int) -> None:
        """Note a frame with market data."""
        if now_ms > self.data_ms:
            if now_ms - self.data_ms > self.limits.bar_grace_ms:
                self._before_ms, self._resumed_ms = self.data_ms, now_ms
            self.data_ms = now_ms
        if not self.has_data:
            self.has_data = True
            self.breaker = CLOSED
        if self.failures and now_ms - self.connected_ms >= self.limits.backoff_max_ms:
            # The connection has lasted longer than the longest wait: the trouble is over.
            self.failures = 0
            self._backoff.reset()

    def on_quiet(self, now_ms: int) -> None:
        """Note that the venue had nothing to send: the silence is no fault."""
        self.data_ms = max(self.data_ms, now_ms)

    def on_late(self, late_ms: int) -> None:
        """Set how much later than usual the data come; 0 when they are on time."""
        self.late_ms = late_ms

    def on_lost(self, now_ms: int) -> tuple[int, Wait]:
        """Note a failed connection or attempt; return when to try next, and the wait drawn."""
        if self.is_connected:
            self._drops.add(now_ms)
        self.is_connected = False
        self.failures += 1
        self.reconnects += 1
        wait = self._backoff.next()
        if self.breaker == HALF_OPEN or self.failures >= FAILURES_TO_OPEN:
            self.breaker = OPEN
        # Waiting out the rest of the allowed outage would turn a short one into a STOP, so one wait
        # takes at most half of it.
        rest_ms = self.limits.outage_stop_ms - self.data_age_ms(now_ms)
        wait_ms = min(wait.wait_ms, max(rest_ms // 2, self.limits.backoff_min_ms))
        return max(now_ms + wait_ms, self.attempt_free_at_ms(now_ms)), wait

    def on_successor_lost(self, now_ms: int) -> tuple[int, Wait]:
        """Note a failed successor while the connection lives; return when to retry, and wait."""
        wait = self._backoff.next()
        return max(now_ms + wait.wait_ms, self.attempt_free_at_ms(now_ms)), wait

    def on_replaced(self, now_ms: int) -> None:
        """Note that a planned successor took over without a break."""
        self.reconnects += 1
        self.connected_ms = now_ms

    # --- state --------------------------------------------------------------------------------

    def attempt_free_at_ms(self, now_ms: int) -> int:
        """Return the first time at which line and address allow one more attempt, ms."""
        own_ms = self._attempts.free_at_ms(now_ms, self.limits.reconnects_max)
        return max(own_ms, self._address_free_at_ms(now_ms))

    def drops(self, now_ms: int) -> int:
        """Return how many established connections were lost within the window."""
        return self._drops.count(now_ms)

    def is_silent(self, now_ms: int) -> bool:
        """Return whether an established connection brings nothing."""
        since = max(self.data_ms, self.connected_ms)
        return self.is_connected and now_ms - since >= self.limits.silence_ms

    @property
    def settled_ms(self) -> int:
        """Return when everything that a break in the line has held up is here, ms."""
        return self._resumed_ms + self.limits.bar_grace_ms

    def heard_ms(self, now_ms: int) -> int:
        """Return the time up to which the line was heard, ms.

        While it is silent, data on their way are unknown; data that a lag has held up come within a
        moment.
        """
        heard_ms = self.data_ms if now_ms >= self.settled_ms else self._before_ms
        return heard_ms - self.late_ms

    def data_age_ms(self, now_ms: int) -> int:
        """Return the age of the shard's last data, including their delay."""
        return max(0, now_ms - self.data_ms) + self.late_ms
