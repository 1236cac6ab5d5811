"""Symbol rules from the venue's exchangeInfo.

Old answers carry MIN_NOTIONAL and PERCENT_PRICE, newer ones NOTIONAL and PERCENT_PRICE_BY_SIDE,
some both; every listed filter applies, so of two minima the higher counts. A value that the venue
gives as zero is off and stays "0" here; `accounting.order_rules` interprets it. An unknown filter
type is not an error: its name goes with the instrument. Source: filters.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from minibot.accounting.order_rules import TRADING
from minibot.events.field_types import WHOLE_MAX
from minibot.events.model import Instrument
from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.units import not_negative
from minibot.exchanges.venue_facts import status_of

ORIGIN: Final = "exchange"
# The simulator marks instruments that it did not get from a recording.
ORIGIN_KEY: Final = "origin"
ORIGINS: Final = frozenset({"exchange", "table", "derived"})
SPOT: Final = "SPOT"
# Filters that a paper order has to meet.
USED_FILTERS: Final = frozenset(
    {
        *("PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "MIN_NOTIONAL", "NOTIONAL"),
        *("PERCENT_PRICE", "PERCENT_PRICE_BY_SIDE", "MAX_POSITION", "TRAILING_DELTA"),
        *("MAX_NUM_ORDERS", "MAX_NUM_ALGO_ORDERS", "MAX_NUM_ORDER_LISTS"),
    }
)
# Filters that none of our orders can fail: no icebergs, no amends, and few open orders where the
# venue counts those of all symbols by the thousand.
IDLE_FILTERS: Final = frozenset(
    {
        *("ICEBERG_PARTS", "MAX_NUM_ICEBERG_ORDERS", "MAX_NUM_ORDER_AMENDS"),
        *("EXCHANGE_MAX_NUM_ORDERS", "EXCHANGE_MAX_NUM_ALGO_ORDERS"),
        *("EXCHANGE_MAX_NUM_ICEBERG_ORDERS", "EXCHANGE_MAX_NUM_ORDER_LISTS", "T_PLUS_SELL"),
        "MAX_ASSET",
    }
)
ASSET: Final = re.compile(r"[A-Z0-9]{1,15}")
"""An asset as events carry it."""
_FILTER_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,59}")
# A day: the venue has no rule with a longer average.
MINUTES_MAX: Final = 1440
# A hostile answer cannot make an event arbitrarily large.
UNKNOWN_FILTERS_MAX: Final = 16


def parse_instruments(body: Any, symbols: Sequence[str]) -> list[Instrument]:
    """Return the rules of `symbols` from an exchangeInfo answer, in that order.

    Raises:
        FrameInvalid: The answer is not an exchangeInfo, or lacks a symbol or a needed filter.
    """
    found = _by_symbol(body)
    missing = [symbol for symbol in symbols if symbol not in found]
    if missing:
        raise FrameInvalid(f"exchangeInfo: no symbol {', '.join(missing)}")
    return [parse_instrument(found[symbol]) for symbol in symbols]


def weight_limit(body: Any) -> int | None:
    """Return the request weight per minute that exchangeInfo grants; None if not given."""
    limits = body.get("rateLimits") if isinstance(body, dict) else None
    for limit in limits if isinstance(limits, list) else []:
        if (
            isinstance(limit, dict)
            and limit.get("rateLimitType") == "REQUEST_WEIGHT"
            and limit.get("interval") == "MINUTE"
            and limit.get("intervalNum") == 1
            and type(limit.get("limit")) is int
        ):
            return int(limit["limit"])
    return None


def joined_rules(parts: Sequence[Any]) -> dict[str, Any]:
    """Return several exchangeInfo answers as one: the first, with the symbols of all.

    Raises:
        FrameInvalid: One of them is not an exchangeInfo.
    """
    infos = [info for part in parts for info in _by_symbol(part).values()]
    return {**parts[0], "symbols": infos}


def _by_symbol(body: Any) -> dict[str, Mapping[str, Any]]:
    try:
        return {info["symbol"]: info for info in body["symbols"]}
    except (KeyError, TypeError) as error:
        raise FrameInvalid(f"exchangeInfo: {error!r}") from error


def parse_instrument(info: Mapping[str, Any]) -> Instrument:
    """Return the rules of one symbol.

    Raises:
        FrameInvalid: Not a spot symbol, or price or lot filter is missing or contradictory.
    """
    try:
        return _instrument(info)
    except (KeyError, TypeError, ValueError) as error:
        raise FrameInvalid(f"exchangeInfo {info.get('symbol')}: {error}") from error


def _instrument(info: Mapping[str, Any]) -> Instrument:
    if not is_spot(info):
        raise ValueError("not a spot symbol; minibot trades spot only")
    filters = {item["filterType"]: item for item in info["filters"]}
    price = _required(filters, "PRICE_FILTER")
    lot = _required(filters, "LOT_SIZE")
    market_lot = filters.get("MARKET_LOT_SIZE")
    minimum, market_minimum = _notional_min(filters)
    maximum, market_maximum = _notional_max(filters)
    percent = _percent_bands(filters)
    origin = info.get(ORIGIN_KEY, ORIGIN)
    return Instrument(
        symbol=info["symbol"],
        base_asset=_asset(info, "baseAsset"),
        quote_asset=_asset(info, "quoteAsset"),
        status=status_of(str(info["status"]), TRADING),
        price_increment=_decimal(price, "tickSize"),
        qty_increment=_decimal(lot, "stepSize"),
        qty_min=_decimal(lot, "minQty"),
        qty_max=_decimal(lot, "maxQty"),
        notional_min=minimum,
        origin=origin if origin in ORIGINS else ORIGIN,
        market_qty_max=_optional(market_lot, "maxQty"),
        notional_max=maximum,
        bid_percent_up=percent[0],
        bid_percent_down=percent[1],
        ask_percent_up=percent[2],
        ask_percent_down=percent[3],
        price_min=_optional(price, "minPrice"),
        price_max=_optional(price, "maxPrice"),
        market_qty_min=_optional(market_lot, "minQty"),
        market_qty_increment=_optional(market_lot, "stepSize"),
        market_notional_min=market_minimum,
        market_notional_max=market_maximum,
        position_max=_optional(filters.get("MAX_POSITION"), "maxPosition"),
        filters_unknown=unknown_filters(filters) or None,
        percent_minutes=_percent_minutes(filters),
        orders_max=_count(filters.get("MAX_NUM_ORDERS"), "maxNumOrders"),
        algo_orders_max=_count(filters.get("MAX_NUM_ALGO_ORDERS"), "maxNumAlgoOrders"),
        order_lists_max=_count(filters.get("MAX_NUM_ORDER_LISTS"), "maxNumOrderLists"),
        # Of a sale's stop, which trails below the highest trade.
        trailing_sell_min=_count(filters.get("TRAILING_DELTA"), "minTrailingBelowDelta"),
        trailing_sell_max=_count(filters.get("TRAILING_DELTA"), "maxTrailingBelowDelta"),
    )


def unknown_filters(names: Iterable[str]) -> tuple[str, ...]:
    """Return the unknown filter types among `names`, sorted and limited in number."""
    found = {name for name in names if name not in USED_FILTERS and name not in IDLE_FILTERS}
    shown_names = {name if _FILTER_NAME.fullmatch(name) else "UNREADABLE" for name in found}
    return tuple(sorted(shown_names)[:UNKNOWN_FILTERS_MAX])


def is_spot(info: Mapping[str, Any]) -> bool:
    """Return whether the venue lets this symbol trade on spot.

    `permissions` is empty since 2024; `permissionSets` is a list (and) of lists (or).
    """
    if info.get("isSpotTradingAllowed") is False:
        return False
    sets = [group for group in info.get("permissionSets", ()) if isinstance(group, list)]
    if sets:
        return all(SPOT in group for group in sets)
    permissions = info.get("permissions", ())
    return not permissions or SPOT in permissions


def _asset(info: Mapping[str, Any], key: str) -> str:
    name = info[key]
    if not isinstance(name, str) or ASSET.fullmatch(name) is None:
        raise ValueError(f"{key}: no event can carry {name!r}")
    return name


def _required(filters: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if name not in filters:
        raise ValueError(f"filter {name} is missing")
    found: Mapping[str, Any] = filters[name]
    return found


def _decimal(item: Mapping[str, Any], key: str) -> str:
    text: str = item[key]
    not_negative(text)
    return text


def _optional(item: Mapping[str, Any] | None, key: str) -> str | None:
    return None if item is None or key not in item else _decimal(item, key)


def _count(item: Mapping[str, Any] | None, key: str) -> int | None:
    """Return a whole number of a filter, at most `WHOLE_MAX`; None where there is none."""
    if item is None or key not in item:
        return None
    found = item[key]
    if type(found) is not int or found < 0:
        raise ValueError(f"{key}: expected a whole number, found {found!r}")
    return min(found, WHOLE_MAX)  # A bound that nothing reaches may be 2**63 - 1.


def _notional_min(filters: Mapping[str, Any]) -> tuple[str, str]:
    """Return the smallest order value for any order, and for a market order."""
    found: list[str] = []
    market: list[str] = []
    for name, switch in (("NOTIONAL", "applyMinToMarket"), ("MIN_NOTIONAL", "applyToMarket")):
        if name in filters:
            minimum = _decimal(filters[name], "minNotional")
            found.append(minimum)
            # Anything but a plain "no" applies to market orders too: the stricter reading.
            if filters[name].get(switch) is not False:
                market.append(minimum)
    return max(found, key=not_negative, default="0"), max(market, key=not_negative, default="0")


def _notional_max(filters: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the largest order value for any order, and for a market order; None for no rule."""
    notional = filters.get("NOTIONAL")
    maximum = _optional(notional, "maxNotional")
    if maximum is None or notional is None:
        return None, None
    return maximum, "0" if notional.get("applyMaxToMarket") is False else maximum


def _percent_bands(filters: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return bid up, bid down, ask up, ask down; the older filter holds for both sides.

    Where a symbol has both filters, both apply: the narrower multiple counts.
    """
    by_side, both = filters.get("PERCENT_PRICE_BY_SIDE"), filters.get("PERCENT_PRICE")
    return tuple(
        _narrower(
            _optional(by_side, f"{side}Multiplier{way}"), _optional(both, f"multiplier{way}"), way
        )
        for side in ("bid", "ask")
        for way in ("Up", "Down")
    )


def _percent_minutes(filters: Mapping[str, Any]) -> int | None:
    """Return the minutes of the average for the percent bands; None if not given."""
    for name in ("PERCENT_PRICE_BY_SIDE", "PERCENT_PRICE"):
        minutes = filters.get(name, {}).get("avgPriceMins")
        if type(minutes) is int and 0 <= minutes <= MINUTES_MAX:
            return minutes
    return None


def _narrower(one: str | None, other: str | None, way: str) -> str | None:
    """Return the stricter of two multiples; zero means off, so it is never the stricter one."""
    given = [text for text in (one, other) if text is not None]
    rules = [text for text in given if not_negative(text)]
    if not rules:
        return given[0] if given else None
    return (min if way == "Up" else max)(rules, key=not_negative)
