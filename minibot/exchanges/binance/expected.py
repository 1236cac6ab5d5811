"""Expected shapes of Binance Spot's public market data, as documented, for a first contact.

Source: rest-api.md, web-socket-streams.md, filters.md and enums.md of the venue's documentation, as
of July 2026, read for this project. A name with `!` is one that minibot reads (`shapes`).
"""

from __future__ import annotations

from typing import Any, Final

from minibot.exchanges.binance.limits import (
    AGG_TRADES,
    AVG_PRICE,
    BOOK_TICKER,
    DAY_TICKERS,
    DEPTH,
    EXCHANGE_INFO,
    KLINES,
    PING,
    PRICE,
    TIME,
    TRADES,
)
from minibot.exchanges.shapes import ANY, BOOL, DEC, INT, TEXT, Shape, Tagged

STATUSES: Final = frozenset({"TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY"})

_RATE_LIMIT: Final = {"interval!": TEXT, "intervalNum!": INT, "limit!": INT}
RATE_LIMITS: Final = Tagged(
    "rateLimitType",
    {
        "REQUEST_WEIGHT": _RATE_LIMIT,
        "ORDERS": _RATE_LIMIT,
        "RAW_REQUESTS": _RATE_LIMIT,
        "CONNECTIONS": _RATE_LIMIT,
    },
)
LIMITS: Final = {
    ("REQUEST_WEIGHT", "MINUTE", 1): 6_000,
    ("ORDERS", "SECOND", 10): 100,
    ("ORDERS", "DAY", 1): 200_000,
    ("RAW_REQUESTS", "MINUTE", 5): 300_000,
}
"""The numbers that the documentation gives, by kind and interval."""

FILTERS: Final = Tagged(
    "filterType",
    {
        "PRICE_FILTER": {"minPrice!": DEC, "maxPrice!": DEC, "tickSize!": DEC},
        "LOT_SIZE": {"minQty!": DEC, "maxQty!": DEC, "stepSize!": DEC},
        "MARKET_LOT_SIZE": {"minQty!": DEC, "maxQty!": DEC, "stepSize!": DEC},
        "MIN_NOTIONAL": {"minNotional!": DEC, "applyToMarket!": BOOL, "avgPriceMins": INT},
        "NOTIONAL": {
            "minNotional!": DEC,
            "applyMinToMarket!": BOOL,
            "maxNotional!": DEC,
            "applyMaxToMarket!": BOOL,
            "avgPriceMins": INT,
        },
        "PERCENT_PRICE": {"multiplierUp!": DEC, "multiplierDown!": DEC, "avgPriceMins!": INT},
        "PERCENT_PRICE_BY_SIDE": {
            "bidMultiplierUp!": DEC,
            "bidMultiplierDown!": DEC,
            "askMultiplierUp!": DEC,
            "askMultiplierDown!": DEC,
            "avgPriceMins!": INT,
        },
        "MAX_POSITION": {"maxPosition!": DEC},
        "ICEBERG_PARTS": {"limit": INT},
        "TRAILING_DELTA": {
            "minTrailingAboveDelta": INT,
            "maxTrailingAboveDelta": INT,
            "minTrailingBelowDelta!": INT,
            "maxTrailingBelowDelta!": INT,
        },
        "MAX_NUM_ORDERS": {"maxNumOrders!": INT},
        "MAX_NUM_ALGO_ORDERS": {"maxNumAlgoOrders!": INT},
        "MAX_NUM_ICEBERG_ORDERS": {"maxNumIcebergOrders": INT},
        "MAX_NUM_ORDER_LISTS": {"maxNumOrderLists!": INT},
        "MAX_NUM_ORDER_AMENDS": {"maxNumOrderAmends": INT},
        "T_PLUS_SELL": {"endTime": INT},
    },
)

SYMBOL: Final = {
    "symbol!": TEXT,
    "status!": TEXT,
    "baseAsset!": TEXT,
    "baseAssetPrecision": INT,
    "quoteAsset!": TEXT,
    "quotePrecision": INT,
    "quoteAssetPrecision": INT,
    "baseCommissionPrecision": INT,
    "quoteCommissionPrecision": INT,
    "orderTypes": [TEXT],
    "icebergAllowed": BOOL,
    "ocoAllowed": BOOL,
    "otoAllowed": BOOL,
    "opoAllowed": BOOL,
    "quoteOrderQtyMarketAllowed": BOOL,
    "allowTrailingStop": BOOL,
    "cancelReplaceAllowed": BOOL,
    "amendAllowed": BOOL,
    "pegInstructionsAllowed": BOOL,
    "isSpotTradingAllowed!": BOOL,
    "isMarginTradingAllowed": BOOL,
    "filters!": [FILTERS],
    "permissions": [TEXT],
    "permissionSets!": [[TEXT]],
    "defaultSelfTradePreventionMode": TEXT,
    "allowedSelfTradePreventionModes": [TEXT],
    "origin?": TEXT,  # Only the simulator names the origin of its rules.
}
_LEVEL: Final = (DEC, DEC)
_MINI: Final = {
    "symbol!": TEXT,
    "openPrice": DEC,
    "highPrice": DEC,
    "lowPrice": DEC,
    "lastPrice": DEC,
    "volume": DEC,
    "quoteVolume!": DEC,
    "openTime": INT,
    "closeTime": INT,
    "firstId": INT,
    "lastId": INT,
    "count": INT,
}

ENDPOINTS: Final[dict[str, Shape]] = {
    PING: {},
    TIME: {"serverTime!": INT},
    EXCHANGE_INFO: {
        "timezone": TEXT,
        "serverTime": INT,
        "rateLimits!": [RATE_LIMITS],
        "exchangeFilters": [ANY],
        "symbols!": [SYMBOL],
        "sors?": [ANY],
    },
    DEPTH: {"lastUpdateId!": INT, "bids!": [_LEVEL], "asks!": [_LEVEL]},
    TRADES: [
        {
            "id": INT,
            "price": DEC,
            "qty": DEC,
            "quoteQty": DEC,
            "time": INT,
            "isBuyerMaker": BOOL,
            "isBestMatch": BOOL,
        }
    ],
    AGG_TRADES: [
        {"a": INT, "p": DEC, "q": DEC, "f": INT, "l": INT, "T": INT, "m": BOOL, "M": BOOL}
    ],
    KLINES: [(INT, DEC, DEC, DEC, DEC, DEC, INT, DEC, INT, DEC, DEC, TEXT)],
    AVG_PRICE: {"mins": INT, "price": DEC, "closeTime": INT},
    DAY_TICKERS: [_MINI],
    PRICE: {"symbol": TEXT, "price": DEC},
    BOOK_TICKER: {
        "symbol": TEXT,
        "bidPrice": DEC,
        "bidQty": DEC,
        "askPrice": DEC,
        "askQty": DEC,
    },
}
"""Endpoint to the shape of its good answer."""

ERROR: Final = {"code!": INT, "msg!": TEXT}
UNKNOWN_SYMBOL: Final = "NOSUCHCOIN"
UNKNOWN_SYMBOL_CODE: Final = -1121

_EVENT: Final = {"e!": TEXT, "E": INT, "s!": TEXT}
_MINI_TICKER: Final = {
    **{"e!": TEXT, "E!": INT, "s!": TEXT},
    **{"c!": DEC, "o": DEC, "h": DEC, "l": DEC, "v": DEC, "q": DEC},
}
STREAMS: Final[dict[str, Shape]] = {
    "trade": {
        **_EVENT,
        **{"t!": INT, "p!": DEC, "q!": DEC, "T!": INT, "m!": BOOL, "M": BOOL},
    },
    "bookTicker": {"u!": INT, "s!": TEXT, "b!": DEC, "B!": DEC, "a!": DEC, "A!": DEC},
    "depth@100ms": {**_EVENT, "U!": INT, "u!": INT, "b!": [_LEVEL], "a!": [_LEVEL]},
    "aggTrade": {
        **{"e": TEXT, "E": INT, "s": TEXT, "a": INT, "p": DEC, "q": DEC},
        **{"f": INT, "l": INT, "T": INT, "m": BOOL, "M": BOOL},
    },
    "kline_1m": {
        **{"e": TEXT, "E": INT, "s": TEXT},
        "k": {
            **{"t": INT, "T": INT, "s": TEXT, "i": TEXT, "f": INT, "L": INT},
            **{"o": DEC, "c": DEC, "h": DEC, "l": DEC, "v": DEC, "n": INT, "x": BOOL},
            **{"q": DEC, "V": DEC, "Q": DEC, "B": TEXT},
        },
    },
    "miniTicker": _MINI_TICKER,
}
"""Kind of stream, as after the `@`, to the shape of its payload."""
MARKET_STREAMS: Final[dict[str, Shape]] = {"!miniTicker@arr": [_MINI_TICKER]}

REPLY: Final = {"result": ANY, "id": INT}
"""Answer to SUBSCRIBE."""


def parameters(path: str, symbol: str) -> dict[str, Any]:
    """Return the parameters with which a first contact requests an endpoint, at little weight."""
    if path in (PING, TIME):
        return {}
    if path == EXCHANGE_INFO:
        return {"symbol": symbol}
    if path == DAY_TICKERS:
        return {"symbols": f'["{symbol}"]', "type": "MINI"}
    if path == KLINES:
        return {"symbol": symbol, "interval": "1m", "limit": 10}
    if path in (TRADES, AGG_TRADES):
        return {"symbol": symbol, "limit": 10}
    if path == DEPTH:
        return {"symbol": symbol, "limit": 100}
    return {"symbol": symbol}
