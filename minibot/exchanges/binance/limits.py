"""Requests of Binance Spot with their weights, its hosts, and what a connection may do.

`weight_of` is also the list of allowed paths: whatever is not on it can not be requested, so an
order, an account or a withdrawal is out of reach by construction. Source: rest-api.md, "LIMITS" and
the weight of each endpoint; web-socket-streams.md, general information.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from minibot.exchanges.venue_facts import ConnectionLimits, Endpoint, Hosts, Limits

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
HOSTS: Final = Hosts(
    venue="binance",
    rest="https://data-api.binance.vision",
    stream="wss://data-stream.binance.vision",
    archive="https://data.binance.vision",
    paths=frozenset(_WEIGHTS),
)


def weight_of(path: str, params: Mapping[str, Any]) -> int:
    """Return the weight of a request.

    Raises:
        RunStop: REAL_ORDER_ATTEMPT; the path is not on the list of public market data.
    """
    HOSTS.check(path)
    return _WEIGHTS[path](params)


def _endpoint(path: str) -> Endpoint:
    return Endpoint(path, weight_of(path, {}))


LIMITS: Final = Limits(
    weight_per_minute=WEIGHT_PER_MINUTE,
    ping=_endpoint(PING),
    time=_endpoint(TIME),
    instruments=_endpoint(EXCHANGE_INFO),
    listings=_endpoint(EXCHANGE_INFO),
    volumes=_endpoint(DAY_TICKERS),
    candles=_endpoint(KLINES),
    snapshot=lambda levels: Endpoint(DEPTH, depth_weight(levels)),
    snapshot_levels=(100, 500, 1000, 5000),
    levels_deep=1000,
    candles_max=KLINES_LIMIT_MAX,
    # More names make a request line longer than servers take (8 kB).
    instruments_max=100,
)
CONNECTION_LIMITS: Final = ConnectionLimits(
    # The venue allows 1024 a connection; the rest is room for streams added at run time.
    streams_max=800,
    # The venue bans an address at 300 attempts in five minutes; other programs may share it.
    attempts_max=240,
    attempts_ms=300_000,
    ban_ms_max=3 * 86_400_000,
    # The venue lets a connection send 5 messages in a second: two in any second leave three for
    # pongs and for what the network pushes together.
    message_interval_ms=500,
    # About 4 kB; the venue counts messages, not streams.
    batch_streams_max=200,
)
