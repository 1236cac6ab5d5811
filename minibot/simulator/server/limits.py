"""Request limits, with 429 and 418 as at the venue: weight by address and minute of market pace.

Assumptions where the venue documents nothing: the windows are fixed and count from the start of the
exchange; the request that goes over a limit is refused and counts, those refused after it do not;
a client that sends more than `IGNORED_MAX` requests after a 429, before its Retry-After has passed,
is banned for two minutes, and twice as long each further time, up to three days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

WEIGHT_MAX: Final = 6000
WINDOW_MS: Final = 60_000
RAW_REQUESTS_MAX: Final = 300_000
RAW_WINDOW_MS: Final = 5 * WINDOW_MS
ORDERS_10S_MAX: Final = 100
ORDERS_DAY_MAX: Final = 200_000
IGNORED_MAX: Final = 10
BAN_MS_MIN: Final = 120_000
BAN_MS_MAX: Final = 3 * 24 * 3_600_000

WS_CONNECTIONS_MAX: Final = 300
WS_CONNECTIONS_WINDOW_MS: Final = 300_000

# A client may come from any address of 127.0.0.0/8; one that tries them all starts afresh.
ADDRESSES_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits in force: exchangeInfo reports the same numbers that are enforced."""

    weight: int = WEIGHT_MAX
    raw_requests: int = RAW_REQUESTS_MAX
    orders_10s: int = ORDERS_10S_MAX
    orders_day: int = ORDERS_DAY_MAX

    def listed(self) -> list[dict[str, Any]]:
        """Return the limits as exchangeInfo's `rateLimits`."""
        return [
            _listed("REQUEST_WEIGHT", "MINUTE", 1, self.weight),
            *self.order_limits(),
            _listed("RAW_REQUESTS", "MINUTE", 5, self.raw_requests),
        ]

    def order_limits(self) -> list[dict[str, Any]]:
        """Return the limits on an account's orders."""
        return [
            _listed("ORDERS", "SECOND", 10, self.orders_10s),
            _listed("ORDERS", "DAY", 1, self.orders_day),
        ]


def _listed(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


@dataclass(frozen=True, slots=True)
class Denial:
    """A refused request: status, seconds to wait, error body."""

    status: int
    retry_after_s: int
    body: dict[str, Any]


class RequestLimits:
    """Weight used by one address, and whether it must wait."""

    def __init__(self, weight_max: int = WEIGHT_MAX, raw_max: int = RAW_REQUESTS_MAX) -> None:
        self.weight_max = weight_max
        self.raw_max = raw_max
        self.used = 0
        self._requests = 0
        self._window = self._raw_window = -1
        self._limited_until_ms = 0
        self._banned_until_ms = 0
        self._ban_ms = BAN_MS_MIN
        self._ignored = 0

    def charge(self, weight: int, pace_ms: int, now_ms: int) -> Denial | None:
        """Count a request; return the refusal, None if it is allowed.

        Args:
            weight: Weight of the request.
            pace_ms: Market pace, which never stands still.
            now_ms: Exchange time, for the text of a ban.
        """
        self._turn(pace_ms)
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
        self._requests += 1
        if self.used > self.weight_max:
            self.limit((self._window + 1) * WINDOW_MS - pace_ms, pace_ms)
            return self._limited(pace_ms)
        if self._requests > self.raw_max:
            self.limit((self._raw_window + 1) * RAW_WINDOW_MS - pace_ms, pace_ms)
            return self._limited(pace_ms)
        return None

    def _turn(self, pace_ms: int) -> None:
        """Begin a new window when the old one has ended."""
        if pace_ms // WINDOW_MS != self._window:
            self._window, self.used = pace_ms // WINDOW_MS, 0
        if pace_ms // RAW_WINDOW_MS != self._raw_window:
            self._raw_window, self._requests = pace_ms // RAW_WINDOW_MS, 0

    def limit(self, duration_ms: int, pace_ms: int) -> None:
        """Answer 429 for the next `duration_ms`."""
        self._limited_until_ms = pace_ms + duration_ms

    def ban(self, duration_ms: int, pace_ms: int) -> None:
        """Answer 418 for the next `duration_ms`."""
        self._banned_until_ms = pace_ms + duration_ms

    def lift(self) -> None:
        """End every wait, and forget what led to it; used weight stays counted."""
        self._limited_until_ms = self._banned_until_ms = self._ignored = 0
        self._ban_ms = BAN_MS_MIN

    def _limited(self, pace_ms: int) -> Denial:
        text = (
            f"Too much request weight used; current limit is {self.weight_max} request weight "
            "per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
        )
        if self._requests > self.raw_max and self.used <= self.weight_max:
            text = (
                f"Too many requests; current limit is {self.raw_max} requests per 5 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API."
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


class AddressLimits:
    """Limits of every address; a fault puts all of them under one."""

    def __init__(self, rates: Callable[[], Rates] = Rates) -> None:
        self._rates = rates
        self._addresses: dict[str, RequestLimits] = {}
        self._attempts: dict[str, RateWindow] = {}
        self._for_all = RequestLimits(raw_max=1 << 62)

    def of(self, address: str) -> RequestLimits:
        """Return the limits of one address."""
        known = self._addresses.get(address)
        if known is None:
            if len(self._addresses) >= ADDRESSES_MAX:
                del self._addresses[next(iter(self._addresses))]
            known = self._addresses[address] = RequestLimits()
        rates = self._rates()
        known.weight_max, known.raw_max = rates.weight, rates.raw_requests
        return known

    def charge(self, address: str, weight: int, pace_ms: int, now_ms: int) -> Denial | None:
        """Count a request of an address; return the refusal, None if it is allowed."""
        self._for_all.weight_max = self._rates().weight
        return self._for_all.charge(0, pace_ms, now_ms) or self.of(address).charge(
            weight, pace_ms, now_ms
        )

    def connect(self, address: str, pace_ms: int) -> bool:
        """Count an attempt to open a stream connection; return whether it is within the limit."""
        if address not in self._attempts:
            if len(self._attempts) >= ADDRESSES_MAX:
                del self._attempts[next(iter(self._attempts))]
            self._attempts[address] = RateWindow(WS_CONNECTIONS_MAX, WS_CONNECTIONS_WINDOW_MS)
        return self._attempts[address].add(pace_ms)

    @property
    def used(self) -> int:
        """Return the most weight that any address has used in this minute."""
        return max((limits.used for limits in self._addresses.values()), default=0)

    def limit(self, duration_ms: int, pace_ms: int) -> None:
        """Answer 429 to all for the next `duration_ms`; too many calls meanwhile ban all.

        The calls of all addresses count together against `IGNORED_MAX`.
        """
        self._for_all.limit(duration_ms, pace_ms)

    def ban(self, duration_ms: int, pace_ms: int) -> None:
        """Answer 418 to all for the next `duration_ms`."""
        self._for_all.ban(duration_ms, pace_ms)

    def lift(self) -> None:
        """End every wait, of all and of each address."""
        for limits in (self._for_all, *self._addresses.values()):
            limits.lift()


class RateWindow:
    """Counter of events in a sliding window of market pace."""

    def __init__(self, count_max: int, window_ms: int) -> None:
        self._count_max = count_max
        self._window_ms = window_ms
        self._times_ms: list[int] = []

    def add(self, pace_ms: int) -> bool:
        """Count one event; return whether it is within the limit."""
        floor_ms = pace_ms - self._window_ms
        self._times_ms = [time_ms for time_ms in self._times_ms if time_ms > floor_ms]
        self._times_ms.append(pace_ms)
        return len(self._times_ms) <= self._count_max
