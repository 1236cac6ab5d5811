"""Health of the link to the venue over all lines, and when it is too bad to go on.

A line is one shard's stream connection. One line that stays down is enough to end the run: a
position may be held in its symbols. All times are market time and come in as values.
"""

from __future__ import annotations

from collections.abc import Callable

from minibot.events.names import MARKET_ROLE
from minibot.events.reasons import (
    EXCHANGE_BANNED,
    EXCHANGE_ERROR_RATE,
    EXCHANGE_UNREACHABLE,
    FEED_INVALID,
    FEED_STALE,
)
from minibot.kernel.errors import FeedLost
from minibot.market.shard_health import CLOSED, HALF_OPEN, OPEN, LinkLimits, ShardHealth
from minibot.market.sliding_window import RateWindow, Window


class FeedHealth:
    """State of all lines and of the REST requests."""

    def __init__(
        self,
        limits: LinkLimits,
        now_ms: int,
        free_at_ms: Callable[[int], int] = lambda now_ms: now_ms,
    ) -> None:
        self.limits = limits
        self.lines: list[ShardHealth] = []
        self.last_sample_ok = True
        self._began_ms = now_ms
        self._count = 0
        self._closed_reconnects = 0
        self._free_at_ms = free_at_ms
        self._samples = RateWindow(limits.error_window_ms)
        self._invalid = Window(limits.error_window_ms)

    # --- lines --------------------------------------------------------------------------------

    def new_line(self, now_ms: int) -> ShardHealth:
        """Return a new line for one more shard."""
        line = ShardHealth(self.limits, now_ms, self._count, self._free_at_ms)
        self._count += 1
        self.lines.append(line)
        return line

    def end_line(self, line: ShardHealth) -> None:
        """Forget a line whose shard is empty."""
        self.lines.remove(line)
        self._closed_reconnects += line.reconnects

    def begin(self, now_ms: int) -> None:
        """Start to expect data now: the time before belongs to the start."""
        for line in self.lines:
            line.data_ms = now_ms

    @property
    def reconnects(self) -> int:
        """Return the number of reconnects since the start, over all lines."""
        return self._closed_reconnects + sum(line.reconnects for line in self.lines)

    @property
    def breaker(self) -> str:
        """Return the worst breaker state of any line."""
        states = {line.breaker for line in self.lines}
        return next((state for state in (OPEN, HALF_OPEN) if state in states), CLOSED)

    @property
    def is_connected(self) -> bool:
        """Return True while every line is connected."""
        return all(line.is_connected for line in self.lines)

    def data_age_ms(self, now_ms: int) -> int:
        """Return the age of the last data of the line that has been silent for longest."""
        ages = [line.data_age_ms(now_ms) for line in self.lines]
        return max(ages, default=max(0, now_ms - self._began_ms))

    # --- requests and frames ------------------------------------------------------------------

    def on_sample(self, now_ms: int, *, ok: bool, is_throttled: bool = False) -> None:
        """Note the outcome of a scheduled measurement.

        Every success counts. While no data come either, the whole exchange is unreachable, which
        has a limit of its own: such failures do not count towards the error rate. Neither does a
        wish for silence, which is obeyed.
        """
        self.last_sample_ok = ok
        is_fed = self.is_connected and self.data_age_ms(now_ms) <= self.limits.tick_stale_ms
        if ok or (is_fed and not is_throttled):
            self._samples.add(now_ms, ok=ok)

    def on_invalid(self, now_ms: int) -> None:
        """Count a refused frame or price.

        Raises:
            FeedLost: FEED_INVALID; more than the limit within the window.
        """
        self._invalid.add(now_ms)
        count = self._invalid.count(now_ms)
        if count > self.limits.feed_invalid_max:
            raise FeedLost(
                MARKET_ROLE,
                FEED_INVALID,
                f"{count} frames or prices refused within {self.limits.error_window_ms} ms, "
                f"at most {self.limits.feed_invalid_max} allowed",
            )

    def on_banned(self, wait_ms: int, detail: str) -> None:
        """Stop the run if the venue's ban of this address is too long.

        Raises:
            FeedLost: EXCHANGE_BANNED; the ban is longer than an outage may last.
        """
        if wait_ms > self.limits.outage_stop_ms:
            raise FeedLost(
                MARKET_ROLE,
                EXCHANGE_BANNED,
                f"banned for {wait_ms} ms, an outage may last {self.limits.outage_stop_ms} ms: "
                f"{detail}",
            )

    def on_unquoted(self, symbol: str, age_ms: int) -> None:
        """Stop the run if a symbol that moves has had no best quotes for too long.

        Raises:
            FeedLost: FEED_STALE; none came for as long as an outage may last.
        """
        if age_ms >= self.limits.outage_stop_ms:
            raise FeedLost(
                MARKET_ROLE,
                FEED_STALE,
                f"{symbol} moves, but no best quote came for {age_ms} ms, "
                f"at most {self.limits.outage_stop_ms} ms allowed",
            )

    def on_held_back(self, late_ms: int, age_ms: int) -> None:
        """Stop the run if a line's data have come too late to trade on for too long.

        Raises:
            FeedLost: FEED_STALE; they were late for as long as an outage may last.
        """
        if age_ms >= self.limits.outage_stop_ms:
            raise FeedLost(
                MARKET_ROLE,
                FEED_STALE,
                f"data have come late for {age_ms} ms, now by {late_ms} ms, "
                f"at most {self.limits.outage_stop_ms} ms allowed",
            )

    # --- judgement ----------------------------------------------------------------------------

    def judge(self, now_ms: int) -> None:
        """Stop the run when the link has been bad for too long.

        Raises:
            FeedLost: EXCHANGE_UNREACHABLE or FEED_STALE, a line without data; EXCHANGE_ERROR_RATE,
                too many failed measurements or lost connections.
        """
        for line in self.lines:
            self._judge_outage(line, now_ms)
        failed, samples = self._samples.counts(now_ms)
        limits = self.limits
        if (
            samples >= limits.error_samples_min
            and failed * 100 > limits.error_rate_max_percent * samples
        ):
            raise FeedLost(
                MARKET_ROLE,
                EXCHANGE_ERROR_RATE,
                f"{failed} of {samples} measurements failed within {limits.error_window_ms} ms, "
                f"at most {limits.error_rate_max_percent} % allowed",
            )
        drops = max((line.drops(now_ms) for line in self.lines), default=0)
        if drops >= limits.reconnects_max:
            raise FeedLost(
                MARKET_ROLE,
                EXCHANGE_ERROR_RATE,
                f"{drops} connections lost within {limits.reconnect_window_ms} ms, "
                f"fewer than {limits.reconnects_max} allowed",
            )

    def _judge_outage(self, line: ShardHealth, now_ms: int) -> None:
        age = line.data_age_ms(now_ms)
        if age < self.limits.outage_stop_ms:
            return
        code = FEED_STALE if line.is_connected else EXCHANGE_UNREACHABLE
        how = "connected, but" if line.is_connected else "not connected, and"
        where = "" if len(self.lines) == 1 else f" on one of {len(self.lines)} connections"
        raise FeedLost(
            MARKET_ROLE,
            code,
            f"{how} no data for {age} ms{where}, at most {self.limits.outage_stop_ms} ms allowed",
        )
