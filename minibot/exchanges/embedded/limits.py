"""Request weight, 429 and 418 as the venue counts them: per minute of market pace.

Assumptions where the venue documents nothing: the window is fixed and begins with the first
minute; a client that sends more than `IGNORED_MAX` requests after a 429, before its Retry-After
has passed, is banned for two minutes, and twice as long each further time, up to three days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

WEIGHT_MAX: Final = 6000
WINDOW_MS: Final = 60_000
IGNORED_MAX: Final = 10
BAN_MS_MIN: Final = 120_000
BAN_MS_MAX: Final = 3 * 24 * 3_600_000

WS_CONNECTIONS_MAX: Final = 300
WS_CONNECTIONS_WINDOW_MS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Denial:
    """A refused request: status, seconds to wait, error body."""

    status: int
    retry_after_s: int
    body: dict[str, Any]


class RequestLimits:
    """The weight that one address has used, and whether it must wait."""

    def __init__(self, weight_max: int = WEIGHT_MAX) -> None:
        self.weight_max = weight_max
        self.used = 0
        self._window = -1
        self._limited_until_ms = 0
        self._banned_until_ms = 0
        self._ban_ms = BAN_MS_MIN
        self._ignored = 0

    def charge(self, weight: int, pace_ms: int, now_ms: int) -> Denial | None:
        """Count a request; return why it is refused, None if it is not.

        Args:
            weight: What the endpoint costs.
            pace_ms: Market pace, never standing.
            now_ms: Exchange time, for the text of a ban.
        """
        window = pace_ms // WINDOW_MS
        if window != self._window:
            self._window, self.used = window, 0
        if pace_ms < self._banned_until_ms:
            return self._banned(pace_ms, now_ms)
        if pace_ms < self._limited_until_ms:
            self._ignored += 1
            if self._ignored > IGNORED_MAX:
                self.ban(self._ban_ms, pace_ms)
                self._ban_ms = min(2 * self._ban_ms, BAN_MS_MAX)
                return self._banned(pace_ms, now_ms)
            return self._limited(pace_ms)
        self._ignored = 0
        self.used += weight
        if self.used > self.weight_max:
            self.limit((window + 1) * WINDOW_MS - pace_ms, pace_ms)
            return self._limited(pace_ms)
        return None

    def limit(self, duration_ms: int, pace_ms: int) -> None:
        """Answer 429 for the next `duration_ms`."""
        self._limited_until_ms = pace_ms + duration_ms

    def ban(self, duration_ms: int, pace_ms: int) -> None:
        """Answer 418 for the next `duration_ms`."""
        self._banned_until_ms = pace_ms + duration_ms

    def _limited(self, pace_ms: int) -> Denial:
        text = (
            f"Too much request weight used; current limit is {self.weight_max} request weight "
            "per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
        )
        return Denial(429, _seconds(self._limited_until_ms - pace_ms), {"code": -1003, "msg": text})

    def _banned(self, pace_ms: int, now_ms: int) -> Denial:
        left_ms = self._banned_until_ms - pace_ms
        text = (
            f"Way too much request weight used; IP banned until {now_ms + left_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        return Denial(418, _seconds(left_ms), {"code": -1003, "msg": text})


def _seconds(duration_ms: int) -> int:
    return max(1, -(-duration_ms // 1000))


class RateWindow:
    """Counts events in a sliding window of market pace."""

    def __init__(self, count_max: int, window_ms: int) -> None:
        self._count_max = count_max
        self._window_ms = window_ms
        self._times_ms: list[int] = []

    def add(self, pace_ms: int) -> bool:
        """Count one event; return whether it still is within the limit."""
        floor_ms = pace_ms - self._window_ms
        self._times_ms = [time_ms for time_ms in self._times_ms if time_ms > floor_ms]
        self._times_ms.append(pace_ms)
        return len(self._times_ms) <= self._count_max
