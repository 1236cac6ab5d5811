"""The REST endpoints of public market data: what each answers, and its weight.

Every endpoint is a function from the venue and its parameters to a JSON value. Order and account
endpoints are not here: the server counts calls to them and answers that the key is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from minibot.exchanges.embedded import tickers
from minibot.exchanges.embedded.limits import WEIGHT_MAX
from minibot.exchanges.embedded.parameters import ApiError, Parameters
from minibot.exchanges.embedded.venue import Venue

Answer = Callable[[Venue, Parameters], Any]

DEPTH_LEVELS_MAX: Final = 5000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its answer, the parameters it takes, and what it costs."""

    answer: Answer
    allowed: frozenset[str]
    weight: Callable[[Mapping[str, str]], int]


def _costs(weight: int) -> Callable[[Mapping[str, str]], int]:
    return lambda query: weight


def _ping(venue: Venue, parameters: Parameters) -> Any:
    return {}


def _time(venue: Venue, parameters: Parameters) -> Any:
    return {"serverTime": venue.server_time_ms()}


def _exchange_info(venue: Venue, parameters: Parameters) -> Any:
    names = parameters.symbols(venue.symbols)
    status = parameters.get("symbolStatus")
    if status is not None and (names is not None or status not in ("TRADING", "HALT", "BREAK")):
        raise ApiError(-1122, "Invalid symbolStatus.")
    entries = []
    for symbol in names if names is not None else venue.symbols:
        entry = {**venue.infos[symbol], "status": venue.statuses[symbol]}
        if parameters.get("showPermissionSets") == "false":
            entry.pop("permissionSets", None)
        if status is None or entry["status"] == status:
            entries.append(entry)
    return {
        "timezone": "UTC",
        "serverTime": venue.server_time_ms(),
        "rateLimits": [
            _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_MAX),
            _rate_limit("ORDERS", "SECOND", 10, 100),
            _rate_limit("ORDERS", "DAY", 1, 200_000),
            _rate_limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
        ],
        "exchangeFilters": [],
        "symbols": entries,
    }


def _rate_limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def _depth(venue: Venue, parameters: Parameters) -> Any:
    symbol = parameters.symbol(venue.symbols)
    limit = parameters.limit(100, DEPTH_LEVELS_MAX)
    return venue.depth(symbol, limit)


def _klines(venue: Venue, parameters: Parameters) -> Any:
    symbol = parameters.symbol(venue.symbols)
    bars = venue.bars(
        symbol,
        parameters.interval(),
        parameters.time_ms("startTime"),
        parameters.time_ms("endTime"),
        parameters.limit(500, 1000),
    )
    return [bar.row() for bar in bars]


def _trades(venue: Venue, parameters: Parameters) -> Any:
    state = venue.symbols[parameters.symbol(venue.symbols)]
    limit = parameters.limit(500, 1000)
    first_id = parameters.integer("fromId")
    if first_id is None:
        chosen = list(state.trades)[-limit:]
    else:
        chosen = [trade for trade in state.trades if trade["t"] >= first_id][:limit]
    return [state.rest_trade(trade) for trade in chosen]


def _agg_trades(venue: Venue, parameters: Parameters) -> Any:
    state = venue.symbols[parameters.symbol(venue.symbols)]
    limit = parameters.limit(500, 1000)
    first_id = parameters.integer("fromId")
    start_ms, end_ms = parameters.time_ms("startTime"), parameters.time_ms("endTime")
    chosen = [
        {key: row[key] for key in ("a", "p", "q", "f", "l", "T", "m", "M")}
        for row in state.aggregates.kept
        if (first_id is None or row["a"] >= first_id)
        and (start_ms is None or row["T"] >= start_ms)
        and (end_ms is None or row["T"] <= end_ms)
    ]
    from_oldest = first_id is not None or start_ms is not None
    return chosen[:limit] if from_oldest else chosen[-limit:]


def _depth_weight(query: Mapping[str, str]) -> int:
    text = query.get("limit", "100")
    limit = int(text) if text.isdigit() else 100
    return next((cost for bound, cost in ((100, 5), (500, 25), (1000, 50)) if limit <= bound), 250)


def _one_or_all(one: int, all_symbols: int) -> Callable[[Mapping[str, str]], int]:
    return lambda query: one if "symbol" in query else all_symbols


def _endpoint(
    answer: Answer, weight: int | Callable[[Mapping[str, str]], int], *allowed: str
) -> Endpoint:
    return Endpoint(
        answer, frozenset(allowed), _costs(weight) if isinstance(weight, int) else weight
    )


_KLINE_NAMES = ("symbol", "interval", "startTime", "endTime", "timeZone", "limit")
_TICKER_NAMES = ("symbol", "symbols", "symbolStatus")

ENDPOINTS: Final[dict[str, Endpoint]] = {
    "ping": _endpoint(_ping, 1),
    "time": _endpoint(_time, 1),
    "exchangeInfo": _endpoint(
        *(_exchange_info, 20, "symbol", "symbols"),
        *("permissions", "showPermissionSets", "symbolStatus"),
    ),
    "depth": _endpoint(_depth, _depth_weight, "symbol", "limit", "symbolStatus"),
    "klines": _endpoint(_klines, 2, *_KLINE_NAMES),
    "uiKlines": _endpoint(_klines, 2, *_KLINE_NAMES),
    "trades": _endpoint(_trades, 25, "symbol", "limit"),
    "historicalTrades": _endpoint(_trades, 25, "symbol", "limit", "fromId"),
    "aggTrades": _endpoint(_agg_trades, 4, "symbol", "fromId", "startTime", "endTime", "limit"),
    "avgPrice": _endpoint(tickers.average_price, 2, "symbol"),
    "ticker/price": _endpoint(tickers.last_price, _one_or_all(2, 4), *_TICKER_NAMES),
    "ticker/bookTicker": _endpoint(tickers.book_ticker, _one_or_all(2, 4), *_TICKER_NAMES),
    "ticker/24hr": _endpoint(tickers.day, _one_or_all(2, 80), *_TICKER_NAMES, "type"),
    "ticker": _endpoint(tickers.rolling, 4, *_TICKER_NAMES, "type", "windowSize"),
}
"""Endpoints under `/api/v3/`."""
