"""REST endpoints of public market data: their answers, and their weights.

Every endpoint is a function from the venue and its parameters to a JSON value. Order and account
endpoints are not here: the server counts calls to them and answers that the key is wrong, unless it
serves a paper account (`paper_rest.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from minibot.simulator.server.parameters import (
    ApiError,
    Parameters,
    bad_combination,
    mandatory_missing,
)
from minibot.simulator.venue import tickers
from minibot.simulator.venue.aggregates import rest_row
from minibot.simulator.venue.exchange_info import exchange_info
from minibot.simulator.venue.symbols import rest_trade
from minibot.simulator.venue.venue import Venue
from minibot.simulator.venue.zoned_bars import is_shifted, zoned_bars

Answer = Callable[[Venue, Parameters], Any]
Weight = Callable[[Mapping[str, str]], int]

DEPTH_LEVELS_MAX: Final = 5000
ROWS_MAX: Final = 1000
ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its handler, its parameters, and its weight."""

    answer: Answer
    allowed: frozenset[str]
    weight: Weight


def _costs(weight: int) -> Weight:
    return lambda query: weight


def _ping(venue: Venue, parameters: Parameters) -> Any:
    return {}


def _time(venue: Venue, parameters: Parameters) -> Any:
    return {"serverTime": venue.server_time_ms()}


def _exchange_info(venue: Venue, parameters: Parameters) -> Any:
    return exchange_info(venue, venue.rates, parameters)


def _depth(venue: Venue, parameters: Parameters) -> Any:
    symbol = parameters.symbol(venue.listed())
    limit = parameters.limit(100, DEPTH_LEVELS_MAX)
    tickers.check_status(venue, symbol, parameters.status())
    return venue.depth_answer(symbol, limit)


def _klines(venue: Venue, parameters: Parameters) -> Any:
    symbol = parameters.symbol(venue.listed())
    interval, offset_ms = parameters.interval(), parameters.time_zone_ms()
    window = (
        parameters.time_ms("startTime"),
        parameters.time_ms("endTime"),
        parameters.limit(ROWS, ROWS_MAX),
    )
    if (window[0] or 0) > venue.now_ms():
        return []  # The calendar cannot represent every number that may be sent either.
    if is_shifted(interval, offset_ms):
        bars = zoned_bars(venue, symbol, interval, offset_ms, *window)
    else:
        bars = venue.bars(symbol, interval, *window)
    return [bar.row() for bar in bars]


def _trades(venue: Venue, parameters: Parameters) -> Any:
    trades = venue.symbols[parameters.symbol(venue.listed())].trades
    limit = parameters.limit(ROWS, ROWS_MAX)
    first_id = parameters.integer("fromId")
    rows = trades.newest(limit) if first_id is None else trades.from_key(first_id, limit)
    return [rest_trade(row) for row in rows]


def _agg_trades(venue: Venue, parameters: Parameters) -> Any:
    state = venue.symbols[parameters.symbol(venue.listed())]
    limit = parameters.limit(ROWS, ROWS_MAX)
    first_id = parameters.integer("fromId")
    start_ms, end_ms = parameters.time_ms("startTime"), parameters.time_ms("endTime")
    if first_id is not None and parameters.has("startTime", "endTime"):
        raise bad_combination()
    log, last = state.aggregates.log, state.aggregates.grown(venue.clock.now_ns())
    if first_id is not None:
        rows = log.from_key(first_id, limit)
        if last is not None and last[0] >= first_id:
            rows.append(last)
    else:
        rows = log.between(start_ms, end_ms, limit)
        is_asked = last is not None and last[1] >= (start_ms or 0)
        if last is not None and is_asked and (end_ms is None or last[1] <= end_ms):
            rows.append(last)
    from_oldest = first_id is not None or start_ms is not None
    return [rest_row(row) for row in (rows[:limit] if from_oldest else rows[-limit:])]


def _no_block_trades(venue: Venue, parameters: Parameters) -> Any:
    parameters.symbol(venue.listed())
    parameters.limit(ROWS, ROWS_MAX)
    if parameters.integer("fromId") is None:
        raise mandatory_missing("fromId")
    return []  # No source records any.


def _execution_rules(venue: Venue, parameters: Parameters) -> Any:
    names, status = parameters.symbols(venue.listed()), parameters.status()
    if names is not None and status is not None:
        raise bad_combination()
    # No symbol has a reference price, so no price range is enforced for any.
    return {"symbolRules": []}


def _no_reference_price(venue: Venue, parameters: Parameters) -> Any:
    symbol = parameters.symbol(venue.listed())
    tickers.check_status(venue, symbol, parameters.status())
    raise ApiError(-2043, "This symbol doesn't have a reference price.")


# --- weights ------------------------------------------------------------------------------------


def _depth_weight(query: Mapping[str, str]) -> int:
    text = query.get("limit", "100")
    # Other scripts have digits too, not all of which parse as numbers.
    is_number = text.isascii() and text.isdigit() and len(text) < 20
    limit = int(text) if is_number else 100
    return next((cost for bound, cost in ((100, 5), (500, 25), (1000, 50)) if limit <= bound), 250)


def _one_or_all(query: Mapping[str, str]) -> int:
    return 2 if "symbol" in query else 4


def _named(query: Mapping[str, str]) -> int:
    """Return how many symbols a query names; none counts as more than any number."""
    if "symbol" in query:
        return 1
    return query["symbols"].count(",") + 1 if "symbols" in query else 1 << 30


def _day_weight(query: Mapping[str, str]) -> int:
    count = _named(query)
    return 2 if count <= 20 else 40 if count <= 100 else 80


def _each_capped(weight: int, cap: int) -> Weight:
    return lambda query: min(cap, weight * _named(query))


def _endpoint(answer: Answer, weight: int | Weight, *allowed: str) -> Endpoint:
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
    "historicalBlockTrades": _endpoint(_no_block_trades, 25, "symbol", "limit", "fromId"),
    "aggTrades": _endpoint(_agg_trades, 4, "symbol", "fromId", "startTime", "endTime", "limit"),
    "avgPrice": _endpoint(tickers.average_price, 2, "symbol"),
    "ticker/price": _endpoint(tickers.last_price, _one_or_all, *_TICKER_NAMES),
    "ticker/bookTicker": _endpoint(tickers.book_ticker, _one_or_all, *_TICKER_NAMES),
    "ticker/24hr": _endpoint(tickers.day, _day_weight, *_TICKER_NAMES, "type"),
    "ticker/tradingDay": _endpoint(
        tickers.trading_day, _each_capped(4, 200), *_TICKER_NAMES, "type", "timeZone"
    ),
    "ticker": _endpoint(
        tickers.rolling, _each_capped(4, 200), *_TICKER_NAMES, "type", "windowSize"
    ),
    "executionRules": _endpoint(_execution_rules, _each_capped(2, 40), *_TICKER_NAMES),
    "referencePrice": _endpoint(_no_reference_price, 2, "symbol"),
    "referencePrice/calculation": _endpoint(_no_reference_price, 2, "symbol", "symbolStatus"),
}
"""Endpoints under `/api/v3/`."""
