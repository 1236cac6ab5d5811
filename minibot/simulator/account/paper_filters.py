"""Filters of a symbol, applied to an order of the paper account, in exact integers.

Prices and quantities are units of 10**-8, notionals units of 10**-16. A bound or step of zero is
off, as documented; `maxNumOrders` and `maxPosition` are limits even at zero. Refusals use the
venue's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from minibot.events.money import UNIT
from minibot.exchanges.tapes.decimals import to_units
from minibot.simulator.server.parameters import ApiError

Average = Callable[[int], int]
"""From minutes to their average price; of none, the last price; 0 if there is no price."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the filters see it; `qty` is 0 if the book has nothing for a quote amount."""

    is_buy: bool
    is_market: bool
    price: int
    qty: int
    quote: int  # Quote amount of a market order, in units of 10**-16; else 0.


@dataclass(frozen=True, slots=True)
class Holdings:
    """Account state for one symbol: open orders, base asset held, and quantity being bought."""

    open_orders: int
    base: int
    buying: int


def check_filters(
    filters: list[Mapping[str, Any]], order: Order, holdings: Holdings, average: Average
) -> None:
    """Refuse an order that breaks a filter.

    Raises:
        ApiError: -1013 with the name of the filter.
    """
    for rule in filters:
        kind = rule["filterType"]
        check = _CHECKS.get(kind)
        if check is not None and not check(rule, order, holdings, average):
            raise ApiError(-1013, f"Filter failure: {kind}")


def _amount(rule: Mapping[str, Any], name: str) -> int:
    return to_units(str(rule.get(name, "0")))


def _in_steps(value: int, lowest: int, highest: int, step: int) -> bool:
    """Return whether a value lies on its steps and within its bounds; a bound of zero is off."""
    if (lowest and value < lowest) or (highest and value > highest):
        return False
    return not step or value % step == 0


def _price(rule: Mapping[str, Any], order: Order, held: Holdings, average: Average) -> bool:
    bounds = (_amount(rule, name) for name in ("minPrice", "maxPrice", "tickSize"))
    return order.is_market or _in_steps(order.price, *bounds)


def _lot(rule: Mapping[str, Any], order: Order, held: Holdings, average: Average) -> bool:
    bounds = (_amount(rule, name) for name in ("minQty", "maxQty", "stepSize"))
    return not order.qty or _in_steps(order.qty, *bounds)


def _market_lot(rule: Mapping[str, Any], order: Order, held: Holdings, average: Average) -> bool:
    return not order.is_market or _lot(rule, order, held, average)


def _notional_of(rule: Mapping[str, Any], order: Order, average: Average) -> int:
    """Return price times quantity; a market order uses the average price, 0 if unknown."""
    if order.quote:
        return order.quote
    price = average(int(rule.get("avgPriceMins", 5))) if order.is_market else order.price
    return price * order.qty


def _min_notional(rule: Mapping[str, Any], order: Order, held: Holdings, average: Average) -> bool:
    if order.is_market and not rule.get("applyToMarket", True):
        return True
    notional = _notional_of(rule, order, average)
    return not notional or notional >= _amount(rule, "minNotional") * UNIT


def _notional(rule: Mapping[str, Any], order: Order, held: Holdings, average: Average) -> bool:
    notional = _notional_of(rule, order, average)
    if not notional:
        return True
    lowest, highest = _amount(rule, "minNotional"), _amount(rule, "maxNotional")
    if order.is_market:
        lowest = lowest if rule.get("applyMinToMarket", True) else 0
        highest = highest if rule.get("applyMaxToMarket", False) else 0
    return _in_steps(notional, lowest * UNIT, highest * UNIT, 0)


def _percent(rule: Mapping[str, Any], order: Order, average: Average, up: str, down: str) -> bool:
    reference = average(int(rule.get("avgPriceMins", 5)))
    if order.is_market or not reference:
        return True
    lowest, highest = reference * _amount(rule, down), reference * _amount(rule, up)
    return _in_steps(order.price * UNIT, lowest, highest, 0)


def _percent_price(rule: Mapping[str, Any], order: Order, held: Holdings, average: Average) -> bool:
    return _percent(rule, order, average, "multiplierUp", "multiplierDown")


def _percent_by_side(
    rule: Mapping[str, Any], order: Order, held: Holdings, average: Average
) -> bool:
    side = "bid" if order.is_buy else "ask"
    return _percent(rule, order, average, f"{side}MultiplierUp", f"{side}MultiplierDown")


def _order_count(rule: Mapping[str, Any], order: Order, held: Holdings, average: Average) -> bool:
    return order.is_market or held.open_orders < int(rule["maxNumOrders"])


def _position(rule: Mapping[str, Any], order: Order, held: Holdings, average: Average) -> bool:
    return not order.is_buy or held.base + held.buying + order.qty <= _amount(rule, "maxPosition")


_CHECKS: Final[dict[str, Callable[[Mapping[str, Any], Order, Holdings, Average], bool]]] = {
    "PRICE_FILTER": _price,
    "LOT_SIZE": _lot,
    "MARKET_LOT_SIZE": _market_lot,
    "MIN_NOTIONAL": _min_notional,
    "NOTIONAL": _notional,
    "PERCENT_PRICE": _percent_price,
    "PERCENT_PRICE_BY_SIDE": _percent_by_side,
    "MAX_NUM_ORDERS": _order_count,
    "MAX_POSITION": _position,
}


def lot_step(filters: list[Mapping[str, Any]]) -> int:
    """Return the quantity increment; 1 where there is none."""
    steps = [_amount(rule, "stepSize") for rule in filters if rule["filterType"] == "LOT_SIZE"]
    return max([1, *steps])
