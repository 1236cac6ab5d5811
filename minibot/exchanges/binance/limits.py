"""Limits of the venue: allowed requests, their weight, and times of silence.

`weight_of` is also the list of allowed paths: no other path can be requested, so an order, an
account or a withdrawal is out of reach by construction. `WeightBudget` is one shared budget of this
process: limits of the venue are per address, not per connection. Times come in as values (market
time in milliseconds). Source: rest-api.md, "LIMITS" and the weight of each endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from minibot.events.reasons import REAL_ORDER_ATTEMPT
from minibot.kernel.errors import RunStop

PING: Final = "/api/v3/ping"
TIME: Final = "/api/v3/time"
EXCHANGE_INFO: Final = "/api/v3/exchangeInfo"
KLINES: Final = "/api/v3/klines"
DEPTH: Final = "/api/v3/depth"
DAY_TICKERS: Final = "/api/v3/ticker/24hr"
# Requested only by the first contact.
TRADES: Final = "/api/v3/trades"
AGG_TRADES: Final = "/api/v3/aggTrades"
AVG_PRICE: Final = "/api/v3/avgPrice"
PRICE: Final = "/api/v3/ticker/price"
BOOK_TICKER: Final = "/api/v3/ticker/bookTicker"

MINUTE_MS: Final = 60_000
WEIGHT_PER_MINUTE: Final = 6000
KLINES_LIMIT_MAX: Final = 1000
# A ban without a readable end: the shortest that the venue documents.
BAN_MS_MIN: Final = 120_000


# All symbols at once; requested when a universe is resolved.
DAY_TICKERS_WEIGHT: Final = 80


def depth_weight(limit: int) -> int:
    """Return the weight of a depth snapshot of `limit` levels a side."""
    for limit_max, weight in ((100, 5), (500, 25), (1000, 50)):
        if limit <= limit_max:
            return weight
    return 250


def day_tickers_weight(params: Mapping[str, Any]) -> int:
    """Return the weight of the 24-hour tickers: of one symbol, of a JSON list, or of all."""
    if "symbol" in params:
        return 2
    count = str(params.get("symbols", "")).count('"') // 2
    if 0 < count <= 20:
        return 2
    return 40 if 0 < count <= 100 else DAY_TICKERS_WEIGHT


_WEIGHTS: Final[Mapping[str, Callable[[Mapping[str, Any]], int]]] = {
    PING: lambda _: 1,
    TIME: lambda _: 1,
    EXCHANGE_INFO: lambda _: 20,
    KLINES: lambda _: 2,
    DEPTH: lambda params: depth_weight(int(params.get("limit", 100))),
    DAY_TICKERS: lambda params: day_tickers_weight(params),
    TRADES: lambda _: 25,
    AGG_TRADES: lambda _: 4,
    AVG_PRICE: lambda _: 2,
    PRICE: lambda params: 2 if "symbol" in params else 4,
    BOOK_TICKER: lambda params: 2 if "symbol" in params else 4,
}
PATHS: Final = frozenset(_WEIGHTS)


def weight_of(path: str, params: Mapping[str, Any]) -> int:
    """Return the weight of a request.

    Raises:
        RunStop: REAL_ORDER_ATTEMPT; the path is not on the list of public market data.
    """
    weight = _WEIGHTS.get(path)
    if weight is None:
        raise RunStop(
            "exchanges.binance",
            REAL_ORDER_ATTEMPT,
            f"request to {path[:200]!r}: only public market data may be asked for",
        )
    return weight(params)


class WeightBudget:
    """Request weight of this address, kept below a share of the venue's limit.

    The venue's own count, which comes with every answer, overrides the count kept here, because
    other programs may share the address.
    """

    def __init__(self, share_max_percent: int, limit_per_minute: int = WEIGHT_PER_MINUTE) -> None:
        self.share_max_percent = share_max_percent
        self.limit_per_minute = limit_per_minute
        self.used = 0
        self.silent_until_ms = 0
        self.is_banned = False
        self._minute = 0
        self._under_way = 0

    @property
    def allowed(self) -> int:
        """Return the weight that may be used in one minute."""
        return self.limit_per_minute * self.share_max_percent // 100

    def wait_ms(self, now_ms: int, weight: int, share_percent: int = 100) -> int:
        """Return how long to wait before a request of this weight; 0 when it may be sent now.

        `share_percent` is the share of the allowed weight that such requests may use together.
        """
        if now_ms < self.silent_until_ms:
            return self.silent_until_ms - now_ms
        self.is_banned = False
        self._turn(now_ms)
        # A request heavier than the whole share is still sent when no weight is used yet.
        if self.used and self.used + weight > self.allowed * share_percent // 100:
            return MINUTE_MS - now_ms % MINUTE_MS
        return 0

    def sent(self, now_ms: int, weight: int) -> None:
        """Count a request that was just sent, with one request at a time."""
        self._turn(now_ms)
        self.used += weight

    def reported(self, now_ms: int, used: int) -> None:
        """Take the venue's own count of the current minute, while no request is under way."""
        self._turn(now_ms)
        self.used = used

    def begin(self, now_ms: int, weight: int) -> None:
        """Count a request that is about to be sent, beside others; `answered` ends it."""
        self.sent(now_ms, weight)
        self._under_way += weight

    def answered(self, now_ms: int, weight: int, used: int | None) -> None:
        """End a request that `begin` has counted; `used` is the venue's count, if it gave one.

        Requests still under way may not be in that count yet, so they are added.
        """
        self._under_way = max(0, self._under_way - weight)
        self._turn(now_ms)
        if used is not None:
            self.used = used + self._under_way

    def left(self, now_ms: int) -> int:
        """Return the weight that may still be used in this minute."""
        self._turn(now_ms)
        return max(0, self.allowed - self.used)

    def silence(self, now_ms: int, retry_after_ms: int, *, is_ban: bool) -> int:
        """Send nothing for `retry_after_ms` (HTTP 429, or 418 as a ban); return the end time."""
        self.silent_until_ms = max(self.silent_until_ms, now_ms + retry_after_ms)
        self.is_banned = self.is_banned or is_ban
        return self.silent_until_ms

    def _turn(self, now_ms: int) -> None:
        minute = now_ms // MINUTE_MS
        if minute != self._minute:
            self._minute, self.used = minute, self._under_way
