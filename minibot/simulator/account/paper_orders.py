"""Orders of the paper account: parsing of requests, and the answers to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from minibot.exchanges.tapes.decimals import product_text, to_text
from minibot.simulator.account.paper import AccountFill, AccountOrder
from minibot.simulator.account.paper_filters import Order
from minibot.simulator.server.parameters import (
    ApiError,
    Parameters,
    bad_combination,
    either_missing,
    illegal_characters,
    mandatory_missing,
    not_valid,
)

ORDER_NAMES: Final = frozenset(
    (
        *("symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price"),
        *("newClientOrderId", "strategyId", "strategyType", "stopPrice", "trailingDelta"),
        *("icebergQty", "newOrderRespType", "selfTradePreventionMode"),
        *("pegPriceType", "pegOffsetValue", "pegOffsetType"),
    )
)
STP_MODES: Final = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT")
STRATEGY_TYPE_MIN: Final = 1_000_000

_LIFETIMES: Final = ("GTC", "IOC", "FOK")
_KINDS: Final = ("LIMIT", "MARKET", "LIMIT_MAKER")
# Known at the venue, not supported here; refused in the venue's words for symbols without them.
_UNSUPPORTED: Final = {
    "STOP_LOSS": "Stop loss orders are not supported for this symbol.",
    "STOP_LOSS_LIMIT": "Stop loss limit orders are not supported for this symbol.",
    "TAKE_PROFIT": "Take profit orders are not supported for this symbol.",
    "TAKE_PROFIT_LIMIT": "Take profit limit orders are not supported for this symbol.",
}
_NEEDED: Final = {
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "MARKET": (),
}
_NOT_REQUIRED: Final = {
    "LIMIT": ("quoteOrderQty", "stopPrice", "trailingDelta"),
    "LIMIT_MAKER": ("quoteOrderQty", "timeInForce", "stopPrice", "trailingDelta"),
    "MARKET": ("price", "timeInForce", "icebergQty", "stopPrice", "trailingDelta"),
}
_CLIENT_ID: Final = re.compile(r"^[a-zA-Z0-9\-_]{1,36}\Z")


def read_order(parameters: Parameters, symbol: str, now_ms: int) -> AccountOrder:
    """Return the requested order, without an id.

    Raises:
        ApiError: A parameter is missing, not required for its type, or wrong.
    """
    side = parameters.text("side")
    if side not in ("BUY", "SELL"):
        raise ApiError(-1117, "Invalid side.")
    kind = parameters.text("type")
    if kind in _UNSUPPORTED:
        raise ApiError(-2010, _UNSUPPORTED[kind])
    if kind not in _KINDS:
        raise ApiError(-1116, "Invalid orderType.")
    for name in _NEEDED[kind]:
        if not parameters.has(name):
            raise mandatory_missing(name)
    for name in _NOT_REQUIRED[kind]:
        if parameters.has(name):
            raise ApiError(-1106, f"Parameter '{name}' sent when not required.")
    if kind == "MARKET" and not parameters.has("quantity", "quoteOrderQty"):
        raise either_missing("quantity", "quoteOrderQty")
    if parameters.has("quantity") and parameters.has("quoteOrderQty"):
        raise bad_combination()
    lifetime = parameters.get("timeInForce") or "GTC"
    if lifetime not in _LIFETIMES:
        raise ApiError(-1115, "Invalid timeInForce.")
    _check_the_rest(parameters)
    return AccountOrder(
        identity=0,
        client_id=client_id(parameters, "newClientOrderId") or "",
        symbol=symbol,
        is_buy=side == "BUY",
        kind=kind,
        lifetime=lifetime,
        price=_positive(parameters, "price"),
        qty=_positive(parameters, "quantity"),
        quote=_positive(parameters, "quoteOrderQty") * 10**8,
        time_ms=now_ms,
        stp=_one_of(parameters, "selfTradePreventionMode", STP_MODES, "EXPIRE_MAKER"),
    )


def _check_the_rest(parameters: Parameters) -> None:
    """Check parameters that have no effect here but must be well-formed."""
    if parameters.has("icebergQty"):
        raise ApiError(-2010, "Iceberg orders are not supported for this symbol.")
    if parameters.has("pegPriceType", "pegOffsetValue", "pegOffsetType"):
        raise ApiError(-2010, "Pegged orders are not supported for this symbol.")
    parameters.integer("strategyId")
    kind = parameters.integer("strategyType")
    if kind is not None and kind < STRATEGY_TYPE_MIN:
        raise ApiError(-1134, "`strategyType` was less than 1000000.")
    response_type(parameters, "LIMIT")


def response_type(parameters: Parameters, kind: str) -> str:
    """Return the level of detail of the answer to a new order."""
    default = "ACK" if kind == "LIMIT_MAKER" else "FULL"
    return _one_of(parameters, "newOrderRespType", ("ACK", "RESULT", "FULL"), default)


def _one_of(parameters: Parameters, name: str, allowed: tuple[str, ...], default: str) -> str:
    value = parameters.get(name) or default
    if value not in allowed:
        raise not_valid(name)
    return value


def _positive(parameters: Parameters, name: str) -> int:
    """Return a decimal in units of 10**-8; 0 if it was not sent."""
    value = parameters.units(name)
    if value == 0:
        raise ApiError(-1013, f"Invalid {name}.")
    return value or 0


def client_id(parameters: Parameters, name: str) -> str | None:
    """Return a client's own id of an order or a cancel; None if it was not sent.

    Raises:
        ApiError: It has illegal characters, or too many.
    """
    value = parameters.get(name)
    if value is not None and _CLIENT_ID.match(value) is None:
        raise illegal_characters(name, "^[a-zA-Z0-9-_]{1,36}$")
    return value


def order_for_filters(order: AccountOrder) -> Order:
    """Return an order as the filters see it."""
    return Order(order.is_buy, order.kind == "MARKET", order.price, order.qty, order.quote)


def named(
    parameters: Parameters, find: Callable[[int | None, str | None], AccountOrder | None]
) -> AccountOrder:
    """Return the order with the given `orderId` or `origClientOrderId`.

    Raises:
        ApiError: Neither was sent, or -2013: there is no such order.
    """
    identity = parameters.integer("orderId")
    own = client_id(parameters, "origClientOrderId")
    if identity is None and own is None:
        raise either_missing("origClientOrderId", "orderId")
    order = find(identity, own)
    if order is None:
        raise ApiError(-2013, "Order does not exist.")
    return order


# --- answers ------------------------------------------------------------------------------------


def placed(order: AccountOrder, response: str) -> dict[str, Any]:
    """Return the answer to a new order."""
    answer = {
        "symbol": order.symbol,
        "orderId": order.identity,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "transactTime": order.time_ms,
    }
    if response == "ACK":
        return answer
    answer |= {**_state(order), "workingTime": order.time_ms, **_reason(order)}
    answer["selfTradePreventionMode"] = order.stp
    if response == "FULL":
        answer["fills"] = [
            {
                "price": to_text(fill.price),
                "qty": to_text(fill.qty),
                "commission": to_text(fill.fee),
                "commissionAsset": fill.fee_asset,
                "tradeId": fill.identity,
            }
            for fill in order.fills
        ]
    return answer


def cancelled(order: AccountOrder, cancel_id: str) -> dict[str, Any]:
    """Return the answer to a cancel."""
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.identity,
        "orderListId": -1,
        "clientOrderId": cancel_id,
        "transactTime": order.updated_ms,
        **_state(order),
        "selfTradePreventionMode": order.stp,
    }


def looked_up(order: AccountOrder) -> dict[str, Any]:
    """Return an order as the queries show it."""
    return {
        "symbol": order.symbol,
        "orderId": order.identity,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        **_state(order),
        "stopPrice": to_text(0),
        "icebergQty": to_text(0),
        "time": order.time_ms,
        "updateTime": order.updated_ms,
        "isWorking": True,
        "workingTime": order.time_ms,
        "selfTradePreventionMode": order.stp,
        **_reason(order),
    }


def _state(order: AccountOrder) -> dict[str, Any]:
    return {
        "price": to_text(order.price),
        "origQty": to_text(order.qty),
        "executedQty": to_text(order.executed),
        "origQuoteOrderQty": product_text(order.quote),
        "cummulativeQuoteQty": product_text(order.spent),
        "status": order.status,
        "timeInForce": order.lifetime,
        "type": order.kind,
        "side": "BUY" if order.is_buy else "SELL",
    }


def _reason(order: AccountOrder) -> dict[str, str]:
    return {} if order.expiry_reason is None else {"expiryReason": order.expiry_reason}


def trade(fill: AccountFill, order: AccountOrder) -> dict[str, Any]:
    """Return a fill in the form of `/api/v3/myTrades`."""
    return {
        "symbol": order.symbol,
        "id": fill.identity,
        "orderId": order.identity,
        "orderListId": -1,
        "price": to_text(fill.price),
        "qty": to_text(fill.qty),
        "quoteQty": product_text(fill.price * fill.qty),
        "commission": to_text(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.time_ms,
        "isBuyer": order.is_buy,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def execution_report(order: AccountOrder, fill: AccountFill | None, now_ms: int) -> dict[str, Any]:
    """Return the user data stream's event for a change of an order."""
    return {
        "e": "executionReport",
        "E": now_ms,
        "s": order.symbol,
        "c": order.client_id,
        "S": "BUY" if order.is_buy else "SELL",
        "o": order.kind,
        "f": order.lifetime,
        "q": to_text(order.qty),
        "p": to_text(order.price),
        "P": to_text(0),
        "F": to_text(0),
        "g": -1,
        "C": "",
        "x": "TRADE" if fill else order.status,
        "X": order.status,
        "r": "NONE",
        "i": order.identity,
        "l": to_text(fill.qty if fill else 0),
        "z": to_text(order.executed),
        "L": to_text(fill.price if fill else 0),
        "n": to_text(fill.fee if fill else 0),
        "N": fill.fee_asset if fill else None,
        "T": order.updated_ms,
        "t": fill.identity if fill else -1,
        "I": order.identity,
        "w": order.is_open,
        "m": bool(fill and fill.is_maker),
        "M": False,
        "O": order.time_ms,
        "Z": product_text(order.spent),
        "Y": product_text(fill.price * fill.qty if fill else 0),
        "Q": product_text(order.quote),
        "W": order.time_ms,
        "V": order.stp,
    }
