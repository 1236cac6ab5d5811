"""How the link to the venue is, and when it is too bad to go on.

Judged by the age of data, not by the state of a socket: a socket can stand open for hours and
bring nothing. All times are market time and come in as values. The states of the breaker:

    closed      connected, or trying again at once
    open        several failures in a row: no attempt until the wait is over
    half_open   the one attempt that decides
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from minibot.events.reasons import (
    EXCHANGE_BANNED,
    EXCHANGE_ERROR_RATE,
    EXCHANGE_UNREACHABLE,
    FEED_INVALID,
    FEED_STALE,
)
from minibot.kernel.errors import FeedLost
from minibot.market.backoff import Backoff, Wait
from minibot.market.windows import RateWindow, Window

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half_open"

# One failure happens, two are bad luck; from the third on the venue is left alone for a while.
FAILURES_TO_OPEN: Final = 3
# A quiet second is no silence; twice the age at which a tick is stale is.
SILENCE_STALES: Final = 2


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Thresholds of the profile, section `binance`; durations in market milliseconds."""

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

    @property
    def silence_ms(self) -> int:
        """After so long without any data a connection is given up."""
        return SILENCE_STALES * self.tick_stale_ms


class Link:
    """State of the stream connection and of the requests beside it."""

    def __init__(self, limits: LinkLimits, now_ms: int) -> None:
        self.limits = limits
        self.data_ms = now_ms
        self.is_connected = False
        self.has_data = False
        self.reconnects = 0
        self.breaker = CLOSED
        self.last_sample_ok = True
        self.failures = 0
        self.connected_ms = now_ms
        self._backoff = Backoff(limits.seed, limits.backoff_min_ms, limits.backoff_max_ms)
        self._attempts = Window(limits.reconnect_window_ms)
        self._drops = Window(limits.reconnect_window_ms)
        self._samples = RateWindow(limits.error_window_ms)
        self._invalid = Window(limits.error_window_ms)

    # --- the stream ---------------------------------------------------------------------------

    def on_attempt(self, now_ms: int) -> None:
        """A connection is being tried."""
        self._attempts.add(now_ms)
        if self.breaker == OPEN:
            self.breaker = HALF_OPEN

    def on_connected(self, now_ms: int) -> None:
        """The connection stands; whether it brings data is another matter."""
        self.is_connected = True
        self.has_data = False
        self.connected_ms = now_ms

    def on_data(self, now_ms: int) -> None:
        """A frame with market data came."""
        if now_ms > self.data_ms:
            self.data_ms = now_ms
        if not self.has_data:
            self.has_data = True
            self.breaker = CLOSED
        if self.failures and now_ms - self.connected_ms >= self.limits.backoff_max_ms:
            # It has lasted longer than the longest wait: the trouble is over.
            self.failures = 0
            self._backoff.reset()

    def on_quiet(self, now_ms: int) -> None:
        """The venue says that there was nothing to send: the silence is no fault."""
        self.data_ms = max(self.data_ms, now_ms)

    def on_lost(self, now_ms: int) -> tuple[int, Wait]:
        """A connection or an attempt failed; return when to try next, and the wait drawn."""
        if self.is_connected:
            self._drops.add(now_ms)
        self.is_connected = False
        self.failures += 1
        self.reconnects += 1
        wait = self._backoff.next()
        if self.breaker == HALF_OPEN or self.failures >= FAILURES_TO_OPEN:
            self.breaker = OPEN
        # Sleeping through the rest of the time that an outage may last would turn a short one
        # into a STOP, so at most half of it is waited away at once.
        rest_ms = self.limits.outage_stop_ms - self.data_age_ms(now_ms)
        wait_ms = min(wait.wait_ms, max(rest_ms // 2, self.limits.backoff_min_ms))
        return max(now_ms + wait_ms, self.attempt_free_at_ms(now_ms)), wait

    def on_successor_lost(self, now_ms: int) -> tuple[int, Wait]:
        """A planned successor failed while the connection stands; return when to try again."""
        wait = self._backoff.next()
        return max(now_ms + wait.wait_ms, self.attempt_free_at_ms(now_ms)), wait

    def on_replaced(self, now_ms: int) -> None:
        """A planned successor took over without a break."""
        self.reconnects += 1
        self.connected_ms = now_ms

    def attempt_free_at_ms(self, now_ms: int) -> int:
        """Return when the attempts of the window allow one more."""
        return self._attempts.free_at_ms(now_ms, self.limits.reconnects_max)

    def is_silent(self, now_ms: int) -> bool:
        """Return whether a standing connection brings nothing."""
        since = max(self.data_ms, self.connected_ms)
        return self.is_connected and now_ms - since >= self.limits.silence_ms

    def data_age_ms(self, now_ms: int) -> int:
        """Return the age of the last data of any symbol."""
        return max(0, now_ms - self.data_ms)

    # --- requests and frames ------------------------------------------------------------------

    def on_sample(self, now_ms: int, *, ok: bool) -> None:
        """A scheduled measurement was answered, or not.

        While no data come either, the whole exchange is out of reach, and the limit for that is
        another one: such failures say nothing of its error rate.
        """
        self.last_sample_ok = ok
        is_fed = self.is_connected and self.data_age_ms(now_ms) <= self.limits.tick_stale_ms
        if ok or is_fed:
            self._samples.add(now_ms, ok=ok)

    def on_invalid(self, now_ms: int) -> None:
        """A frame or a price was refused.

        Raises:
            FeedLost: FEED_INVALID; more than the limit within the window.
        """
        self._invalid.add(now_ms)
        count = self._invalid.count(now_ms)
        if count > self.limits.feed_invalid_max:
            raise FeedLost(
                "market_role",
                FEED_INVALID,
                f"{count} frames or prices refused within {self.limits.error_window_ms} ms, "
                f"at most {self.limits.feed_invalid_max} allowed",
            )

    def on_banned(self, wait_ms: int, detail: str) -> None:
        """The venue banned this address.

        Raises:
            FeedLost: EXCHANGE_BANNED; the ban is longer than an outage may last.
        """
        if wait_ms > self.limits.outage_stop_ms:
            raise FeedLost(
                "market_role",
                EXCHANGE_BANNED,
                f"banned for {wait_ms} ms, an outage may last {self.limits.outage_stop_ms} ms: "
                f"{detail}",
            )

    # --- judgement ----------------------------------------------------------------------------

    def judge(self, now_ms: int) -> None:
        """Stop the run when the link has been bad for too long.

        Raises:
            FeedLost: EXCHANGE_UNREACHABLE, FEED_STALE or EXCHANGE_ERROR_RATE.
        """
        self._judge_outage(now_ms)
        failed, samples = self._samples.counts(now_ms)
        limits = self.limits
        if (
            samples >= limits.error_samples_min
            and failed * 100 > limits.error_rate_max_percent * samples
        ):
            raise FeedLost(
                "market_role",
                EXCHANGE_ERROR_RATE,
                f"{failed} of {samples} measurements failed within {limits.error_window_ms} ms, "
                f"at most {limits.error_rate_max_percent} % allowed",
            )
        drops = self._drops.count(now_ms)
        if drops >= limits.reconnects_max:
            raise FeedLost(
                "market_role",
                EXCHANGE_ERROR_RATE,
                f"{drops} connections lost within {limits.reconnect_window_ms} ms, "
                f"fewer than {limits.reconnects_max} allowed",
            )

    def _judge_outage(self, now_ms: int) -> None:
        age = self.data_age_ms(now_ms)
        if age < self.limits.outage_stop_ms:
            return
        code = FEED_STALE if self.is_connected else EXCHANGE_UNREACHABLE
        how = "connected, but" if self.is_connected else "not connected, and"
        raise FeedLost(
            "market_role",
            code,
            f"{how} no data for {age} ms, at most {self.limits.outage_stop_ms} ms allowed",
        )
