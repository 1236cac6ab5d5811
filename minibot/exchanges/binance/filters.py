"""The rules of a symbol, out of the venue's exchangeInfo.

Old answers carry MIN_NOTIONAL and PERCENT_PRICE, newer ones NOTIONAL and PERCENT_PRICE_BY_SIDE,
some both; every listed filter applies, so of two minima the higher counts. A part that the venue
gives as zero is off and stays "0" here; who uses it asks `events.instrument`. Source: filters.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from minibot.events.model import Instrument
from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.units import not_negative

ORIGIN: Final = "exchange"
# The embedded exchange marks instruments that it did not get from a recording.
ORIGIN_KEY: Final = "origin"
ORIGINS: Final = frozenset({"exchange", "table", "derived"})
SPOT: Final = "SPOT"
TRADING: Final = "TRADING"


def parse_instruments(body: Any, symbols: Sequence[str]) -> list[Instrument]:
    """Return the rules of `symbols` out of an exchangeInfo answer, in that order.

    Raises:
        FrameInvalid: The answer is no exchangeInfo, lacks a symbol, or a needed filter is missing.
    """
    found = _by_symbol(body)
    missing = [symbol for symbol in symbols if symbol not in found]
    if missing:
        raise FrameInvalid(f"exchangeInfo: no symbol {', '.join(missing)}")
    return [parse_instrument(found[symbol]) for symbol in symbols]


def weight_limit(body: Any) -> int | None:
    """Return the request weight per minute that exchangeInfo grants, None if it does not say."""
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


def _by_symbol(body: Any) -> dict[str, Mapping[str, Any]]:
    try:
        return {info["symbol"]: info for info in body["symbols"]}
    except (KeyError, TypeError) as error:
        raise FrameInvalid(f"exchangeInfo: {error!r}") from error


def parse_instrument(info: Mapping[str, Any]) -> Instrument:
    """Return the rules of one symbol.

    Raises:
        FrameInvalid: Not a spot symbol, or price or lot filter is missing or senseless.
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
    percent = _percent_bands(filters)
    origin = info.get(ORIGIN_KEY, ORIGIN)
    return Instrument(
        symbol=info["symbol"],
        base_asset=info["baseAsset"],
        quote_asset=info["quoteAsset"],
        status=str(info["status"]),
        price_increment=_decimal(price, "tickSize"),
        qty_increment=_decimal(lot, "stepSize"),
        qty_min=_decimal(lot, "minQty"),
        qty_max=_decimal(lot, "maxQty"),
        notional_min=_notional_min(filters),
        origin=origin if origin in ORIGINS else ORIGIN,
        market_qty_max=_optional(filters.get("MARKET_LOT_SIZE"), "maxQty"),
        notional_max=_optional(filters.get("NOTIONAL"), "maxNotional"),
        bid_percent_up=percent[0],
        bid_percent_down=percent[1],
        ask_percent_up=percent[2],
        ask_percent_down=percent[3],
    )


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


def _notional_min(filters: Mapping[str, Any]) -> str:
    found = [
        _decimal(filters[name], "minNotional")
        for name in ("NOTIONAL", "MIN_NOTIONAL")
        if name in filters
    ]
    return max(found, key=not_negative, default="0")


def _percent_bands(filters: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return bid up, bid down, ask up, ask down; the older filter holds for both sides."""
    by_side = filters.get("PERCENT_PRICE_BY_SIDE")
    if by_side is not None:
        keys = ("bidMultiplierUp", "bidMultiplierDown", "askMultiplierUp", "askMultiplierDown")
        return tuple(_optional(by_side, key) for key in keys)
    both = filters.get("PERCENT_PRICE")
    pair = (_optional(both, "multiplierUp"), _optional(both, "multiplierDown"))
    return pair + pair
