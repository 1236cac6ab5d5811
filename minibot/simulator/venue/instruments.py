"""Trading rules of the symbols that a source plays, in the form of exchangeInfo.

The rules come from the source's own exchangeInfo, else from the shipped table
`instruments.v1.json`, else they are derived from the decimals that the source writes. Each entry
names its origin in `origin`: `exchange`, `table` or `derived`. The usual rules that a synthetic
market has for a symbol outside of the table count as `table` too. A real exchange has no such
field; readers then assume `exchange`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from minibot.exchanges.tapes.decimals import to_units
from minibot.kernel.errors import Refusal

TABLE_PATH: Final = Path(__file__).with_name("instruments.v1.json")

# A symbol does not show where its base ends; these are the quote assets the venue lists, longest
# first, so that BTCFDUSD is not read as BTCFD/USD.
QUOTE_ASSETS: Final = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1"),
    *("BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY", "PLN", "MXN", "ARS", "ZAR", "USD"),
)

# Rules of a coin worth about a hundred in quote, as for most of the venue's symbols.
_USUAL_RULES: Final = {
    "tick": "0.01000000",
    "step": "0.00100000",
    "qty_min": "0.00100000",
    "qty_max": "900000.00000000",
    "notional_min": "5.00000000",
}

ORDER_TYPES: Final = (
    *("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"),
    *("TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
)

# Rules that only some symbols have, each with its filter and field; 0 means no limit.
_FURTHER_RULES: Final = {
    "position_max": ("MAX_POSITION", "maxPosition"),
    "orders_max": ("MAX_NUM_ORDERS", "maxNumOrders"),
    "algo_orders_max": ("MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders"),
    "order_lists_max": ("MAX_NUM_ORDER_LISTS", "maxNumOrderLists"),
    "trailing_sell_min": ("TRAILING_DELTA", "minTrailingBelowDelta"),
    "trailing_sell_max": ("TRAILING_DELTA", "maxTrailingBelowDelta"),
}


def made_rules(symbol: str) -> dict[str, str]:
    """Return the rules of a synthetic market: the shipped table's, or usual ones for other symbols.

    Raises:
        Refusal: Neither the table nor the quote asset of the symbol is known.
    """
    table = orjson.loads(TABLE_PATH.read_bytes())["symbols"]
    if symbol in table:
        rules: dict[str, str] = table[symbol]
        return rules
    quote = _quote_of(symbol)
    if quote is None:
        raise Refusal(
            f"{symbol}: no trading rules: not in {TABLE_PATH.name}, and no known quote asset.",
            f"Known: {', '.join(table)}; quote assets: {', '.join(QUOTE_ASSETS)}.",
        )
    return {"base": symbol.removesuffix(quote), "quote": quote, **_USUAL_RULES}


def _quote_of(symbol: str) -> str | None:
    return next((q for q in QUOTE_ASSETS if symbol.endswith(q) and symbol != q), None)


def symbol_infos(
    symbols: tuple[str, ...],
    own: Mapping[str, Mapping[str, Any]],
    samples: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Return the exchangeInfo entry of each symbol, with its `origin`.

    Args:
        symbols: Symbols that the source plays.
        own: Entries of the source's own exchangeInfo.
        samples: Finest price and quantity of each symbol (`p`, `q`), for derived rules.

    Raises:
        Refusal: A symbol has no entry here or in the table, and its rules cannot be derived: it
            has no sample, or no known quote asset.
    """
    table = orjson.loads(TABLE_PATH.read_bytes())["symbols"]
    infos: dict[str, dict[str, Any]] = {}
    for symbol in symbols:
        if symbol in own:
            infos[symbol] = {"origin": "exchange", **own[symbol]}
        elif symbol in table:
            infos[symbol] = entry(symbol, table[symbol], "table")
        else:
            infos[symbol] = entry(symbol, _derived(symbol, samples.get(symbol)), "derived")
    return infos


def _derived(symbol: str, sample: Mapping[str, Any] | None) -> dict[str, str]:
    unknown = f"{symbol}: no trading rules: not in {TABLE_PATH.name}, and"
    quote = _quote_of(symbol)
    if quote is None:
        raise Refusal(
            f"{unknown} no known quote asset.",
            f"Name a pair, such as BTCUSDT; quote assets: {', '.join(QUOTE_ASSETS)}.",
        )
    if sample is None:
        raise Refusal(
            f"{unknown} no trade to derive them from.",
            "Play a source in which it trades; a tape may state them in an exchangeInfo line.",
        )
    step = _increment(sample["q"])
    return {
        "base": symbol.removesuffix(quote),
        "quote": quote,
        "tick": _increment(sample["p"]),
        "step": step,
        "qty_min": step,
        "qty_max": "9000000.00000000",
        "notional_min": "0.00000000",
    }


def _increment(text: str) -> str:
    """Return the smallest increment that a decimal string shows, as the venue writes increments."""
    places = len(text.rstrip("0").partition(".")[2])
    return f"{10 ** (8 - min(places, 8)) // 10**8}.{10 ** (8 - min(places, 8)) % 10**8:08d}"


def entry(symbol: str, rules: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return an exchangeInfo entry from a symbol's rules; those missing are usual for the venue.

    Rules are named as in the `instrument` event, but for `base`, `quote`, `tick` and `step`.
    """
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": rules["base"],
        "baseAssetPrecision": 8,
        "quoteAsset": rules["quote"],
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(rules),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
        "origin": origin,
    }


def _filters(rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": rules.get("price_min", rules["tick"]),
            "maxPrice": rules.get("price_max", "1000000.00000000"),
            "tickSize": rules["tick"],
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": rules["qty_min"],
            "maxQty": rules["qty_max"],
            "stepSize": rules["step"],
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": rules.get("market_qty_min", "0.00000000"),
            "maxQty": rules.get("market_qty_max", rules["qty_max"]),
            "stepSize": rules.get("market_qty_increment", "0.00000000"),
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": rules.get("bid_percent_up", "5"),
            "bidMultiplierDown": rules.get("bid_percent_down", "0.2"),
            "askMultiplierUp": rules.get("ask_percent_up", "5"),
            "askMultiplierDown": rules.get("ask_percent_down", "0.2"),
            "avgPriceMins": rules.get("percent_minutes", 5),
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": rules["notional_min"],
            "applyMinToMarket": _is_on(rules.get("market_notional_min", "1")),
            "maxNotional": rules.get("notional_max", "9000000.00000000"),
            "applyMaxToMarket": _is_on(rules.get("market_notional_max", "0")),
            "avgPriceMins": 5,
        },
        *_further_filters(rules),
    ]


def _further_filters(rules: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    filters: dict[str, dict[str, Any]] = {}
    for name, (kind, field) in _FURTHER_RULES.items():
        if name in rules and _is_on(str(rules[name])):
            filters.setdefault(kind, {"filterType": kind})[field] = rules[name]
    return filters.values()


def _is_on(value: str) -> bool:
    return to_units(value) > 0
