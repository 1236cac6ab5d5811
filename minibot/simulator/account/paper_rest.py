"""Endpoints of the paper account: for foreign clients, enabled only by hand.

Every call needs the key, and all but those of the user data stream a signature. Both are checked as
at the venue, so that a client's own code for them is used; they protect nothing, as no money is
involved and the server listens on loopback.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from minibot.events.money import UNIT
from minibot.exchanges.tapes.decimals import product_text, to_text
from minibot.simulator.account.paper import RATE, AccountFill, AccountOrder, PaperAccount
from minibot.simulator.account.paper_filters import Holdings, check_filters
from minibot.simulator.account.paper_orders import (
    ORDER_NAMES,
    cancelled,
    client_id,
    execution_report,
    looked_up,
    named,
    order_for_filters,
    placed,
    read_order,
    response_type,
    trade,
)
from minibot.simulator.server.parameters import (
    MICROS_MIN,
    ApiError,
    Parameters,
    bad_combination,
    illegal_characters,
    mandatory_missing,
)
from minibot.simulator.server.rest import ROWS, ROWS_MAX
from minibot.simulator.venue.venue import Venue

API_KEY: Final = "minibot-paper-key"
API_SECRET: Final = "minibot-paper-secret"  # Of the paper account; it protects nothing.

RECV_WINDOW_MS: Final = 5000
RECV_WINDOW_MS_MAX: Final = 60_000
AHEAD_MS_MAX: Final = 1000
LOOKUP_MS_MAX: Final = 24 * 3_600_000
_WINDOW: Final = re.compile(r"^\d{1,5}(\.\d{1,3})?\Z")
_SIGNED: Final = frozenset({"timestamp", "recvWindow", "signature"})

Answer = Callable[[Parameters], Any]
Publish = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class _Call:
    """One endpoint: its handler, its parameters, its weight, and whether it is signed."""

    answer: Answer
    allowed: frozenset[str]
    weight: int
    weight_without: tuple[str, int] | None = None  # Parameter, and the weight without it.
    is_signed: bool = True


class PaperDesk:
    """REST handler of one account; `publish` sends a payload on a stream."""

    def __init__(self, venue: Venue, account: PaperAccount, publish: Publish) -> None:
        self._venue = venue
        self._account = account
        self._publish = publish
        self._listen_key: str | None = None
        self._listen_keys = 0
        self._placed: list[int] = []
        account.on_change = self._notify
        chosen = frozenset({"symbol", "orderId", "origClientOrderId"})
        rows = frozenset({"symbol", "orderId", "startTime", "endTime", "limit"})
        cancel = chosen | {"newClientOrderId", "cancelRestrictions"}
        symbol, key = frozenset({"symbol"}), frozenset({"listenKey"})
        test = ORDER_NAMES | {"computeCommissionRates"}
        self._calls: dict[tuple[str, str], _Call] = {
            ("POST", "order"): _Call(self._new, ORDER_NAMES, 1),
            ("POST", "order/test"): _Call(self._test, test, 1),
            ("GET", "order"): _Call(self._order, chosen, 4),
            ("DELETE", "order"): _Call(self._cancel, cancel, 1),
            ("GET", "openOrders"): _Call(self._open, symbol, 6, ("symbol", 80)),
            ("DELETE", "openOrders"): _Call(self._cancel_all, symbol, 1),
            ("GET", "allOrders"): _Call(self._all, rows, 20),
            ("GET", "myTrades"): _Call(self._trades, rows | {"fromId"}, 5, ("orderId", 20)),
            ("GET", "account"): _Call(self._balances, frozenset({"omitZeroBalances"}), 20),
            ("GET", "account/commission"): _Call(self._commission, symbol, 20),
            ("GET", "rateLimit/order"): _Call(self._order_count, frozenset(), 40),
            ("POST", "userDataStream"): _Call(self._listen, frozenset(), 2, is_signed=False),
            ("PUT", "userDataStream"): _Call(self._keep_listening, key, 2, is_signed=False),
            ("DELETE", "userDataStream"): _Call(self._stop_listening, key, 2, is_signed=False),
        }

    @property
    def names(self) -> list[str]:
        """Return the endpoints of the account."""
        return sorted({name for _, name in self._calls})

    def knows(self, method: str, name: str) -> bool:
        """Return whether this call belongs to the account."""
        return (method, name) in self._calls

    def weight(self, method: str, name: str, query: Mapping[str, str]) -> int:
        """Return the weight of the call."""
        call = self._calls[method, name]
        if call.weight_without is not None and call.weight_without[0] not in query:
            return call.weight_without[1]
        return 20 if query.get("computeCommissionRates") == "true" else call.weight

    def answer(
        self, method: str, name: str, query: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Any, dict[str, str]]:
        """Return the answer to a call, and additional headers; query and body as sent.

        Raises:
            ApiError: The call is refused.
        """
        call = self._calls[method, name]
        self._venue.counters["paper_calls"] += 1
        key = headers.get("X-MBX-APIKEY")
        if not key:
            raise ApiError(-2014, "API-key format invalid.", 401)
        if key != API_KEY:
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        sent = body.decode(errors="replace")
        in_query = parse_qsl(query, keep_blank_values=True)
        names = {name for name, _ in in_query}
        # For a parameter in both, the query's value counts.
        pairs = in_query + [
            pair for pair in parse_qsl(sent, keep_blank_values=True) if pair[0] not in names
        ]
        allowed = call.allowed | _SIGNED if call.is_signed else call.allowed
        parameters = Parameters(pairs, allowed)
        if call.is_signed:
            self._check_time(parameters)
            _check_signature(parameters.text("signature"), query, sent)
        answered = call.answer(parameters)
        return answered, self._order_headers() if method == "POST" and name == "order" else {}

    def _check_time(self, parameters: Parameters) -> None:
        """Refuse a call with a wrong timestamp; above the market's own speed tolerate more."""
        text = parameters.get("recvWindow")
        if text is not None and _WINDOW.match(text) is None:
            raise illegal_characters("recvWindow", r"^\d{1,5}(\.\d{1,3})?$")
        window_ms = float(text) if text is not None else RECV_WINDOW_MS
        if window_ms > RECV_WINDOW_MS_MAX:
            raise ApiError(-1131, "recvWindow must be less than 60000.")
        stamp = parameters.integer("timestamp")
        if stamp is None:
            raise mandatory_missing("timestamp")
        stamp_ms = stamp / 1000 if stamp >= MICROS_MIN else stamp
        patience = max(1.0, float(self._venue.clock.speed))
        now_ms = self._venue.server_time_ms()
        if stamp_ms >= now_ms + AHEAD_MS_MAX * patience:
            text = "Timestamp for this request was 1000ms ahead of the server's time."
            raise ApiError(-1021, text)
        if now_ms - stamp_ms > window_ms * patience:
            raise ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")

    # --- orders -----------------------------------------------------------------------------

    def _checked(self, parameters: Parameters) -> AccountOrder:
        """Return the requested order, if it is well-formed and within the filters."""
        symbol = parameters.symbol(self._venue.listed())
        order = read_order(parameters, symbol, self._venue.now_ms())
        if self._venue.statuses[symbol] != "TRADING":
            raise ApiError(-2010, "Market is closed.")
        base, _ = self._account.assets(symbol)
        balance = self._account.balances[base]
        resting = self._account.open_orders(symbol)
        buying = sum(other.left for other in resting if other.is_buy)
        held = (balance.free + balance.locked) // UNIT
        holdings = Holdings(len(resting), held, buying)
        filters = self._venue.infos[symbol]["filters"]
        self._account.size(order)
        check_filters(
            filters, order_for_filters(order), holdings, lambda n: self._average(symbol, n)
        )
        return order

    def _average(self, symbol: str, minutes: int) -> int:
        state = self._venue.symbols[symbol]
        now_ms = self._venue.now_ms()
        bar, before = self._venue.rolled(symbol, now_ms - minutes * 60_000, now_ms)
        if not minutes or bar is None or not bar.volume:
            return state.last_price or before
        return bar.quote // bar.volume

    def _new(self, parameters: Parameters) -> Any:
        order = self._checked(parameters)
        if order.client_id and any(
            other.client_id == order.client_id for other in self._account.open_orders()
        ):
            raise ApiError(-2010, "Duplicate order sent.")
        self._count_order()
        order.client_id = order.client_id or f"paper{len(self._account.orders) + 1:017d}"
        self._account.place(order)
        return placed(order, response_type(parameters, order.kind))

    def _count_order(self) -> None:
        """Count a new order against the account's limits, even one that the book then refuses.

        The venue counts unfilled orders: one that is filled whole takes off the newest count.
        """
        pace_ms = self._venue.clock.pace_ms()
        rates = self._venue.rates
        for limit, window_ms, words in (
            (rates.orders_10s, 10_000, "10 SECOND"),
            (rates.orders_day, LOOKUP_MS_MAX, "1 DAY"),
        ):
            if self._count_within(window_ms) >= limit:
                text = f"Too many new orders; current limit is {limit} orders per {words}."
                raise ApiError(-1015, text, 429)
        self._placed.append(pace_ms)

    def _count_within(self, window_ms: int) -> int:
        floor_ms = self._venue.clock.pace_ms() - window_ms
        return sum(1 for placed_ms in self._placed if placed_ms > floor_ms)

    def _order_headers(self) -> dict[str, str]:
        return {
            "x-mbx-order-count-10s": str(self._count_within(10_000)),
            "x-mbx-order-count-1d": str(self._count_within(LOOKUP_MS_MAX)),
        }

    def _test(self, parameters: Parameters) -> Any:
        self._checked(parameters)
        if not parameters.flag("computeCommissionRates", default=False):
            return {}
        rate, none = to_text(RATE), to_text(0)
        return {
            "standardCommissionForOrder": {"maker": rate, "taker": rate},
            "specialCommissionForOrder": {"maker": none, "taker": none},
            "taxCommissionForOrder": {"maker": none, "taker": none},
            "discount": _DISCOUNT,
        }

    def _find(self, symbol: str) -> Callable[[int | None, str | None], AccountOrder | None]:
        def find(identity: int | None, own: str | None) -> AccountOrder | None:
            orders = self._account.orders
            if identity is not None:
                order = orders.get(identity)
                is_it = order and order.symbol == symbol and own in (None, order.client_id)
                return order if is_it else None
            chosen = [o for o in orders.values() if (o.symbol, o.client_id) == (symbol, own)]
            # The id may be used again once its order is filled: the newest one is meant.
            return chosen[-1] if chosen else None

        return find

    def _order(self, parameters: Parameters) -> Any:
        symbol = parameters.symbol(self._venue.listed())
        return looked_up(named(parameters, self._find(symbol)))

    def _cancel(self, parameters: Parameters) -> Any:
        symbol = parameters.symbol(self._venue.listed())
        only = parameters.get("cancelRestrictions")
        if only not in (None, "ONLY_NEW", "ONLY_PARTIALLY_FILLED"):
            raise ApiError(-1145, "Invalid cancelRestrictions")
        try:
            order = named(parameters, self._find(symbol))
        except ApiError as error:
            if error.code == -2013:
                raise ApiError(-2011, "Unknown order sent.") from error
            raise
        if order.is_open and only not in (None, f"ONLY_{order.status}"):
            raise ApiError(-2011, "Order was not canceled due to cancel restrictions.")
        own = client_id(parameters, "newClientOrderId") or f"cancel{order.identity}"
        return cancelled(self._account.cancel(order), own)

    def _cancel_all(self, parameters: Parameters) -> Any:
        symbol = parameters.symbol(self._venue.listed())
        resting = self._account.open_orders(symbol)
        if not resting:
            raise ApiError(-2011, "Unknown order sent.")
        return [cancelled(self._account.cancel(o), f"cancel{o.identity}") for o in resting]

    def _open(self, parameters: Parameters) -> Any:
        has_symbol = parameters.has("symbol")
        symbol = parameters.symbol(self._venue.listed()) if has_symbol else None
        return [looked_up(order) for order in self._account.open_orders(symbol)]

    def _all(self, parameters: Parameters) -> Any:
        symbol, limit = parameters.symbol(self._venue.listed()), parameters.limit(ROWS, ROWS_MAX)
        start_ms, end_ms = _lookup(parameters)
        first = parameters.integer("orderId")
        chosen = [
            looked_up(order)
            for order in self._account.orders.values()
            if order.symbol == symbol
            and (first is None or order.identity >= first)
            and _is_within(order.time_ms, start_ms, end_ms)
        ]
        from_oldest = first is not None or start_ms is not None
        return chosen[:limit] if from_oldest else chosen[-limit:]

    def _trades(self, parameters: Parameters) -> Any:
        symbol, limit = parameters.symbol(self._venue.listed()), parameters.limit(ROWS, ROWS_MAX)
        start_ms, end_ms = _lookup(parameters)
        order_id, first = parameters.integer("orderId"), parameters.integer("fromId")
        has_times = parameters.has("startTime", "endTime")
        if has_times and (order_id is not None or first is not None):
            raise bad_combination()
        orders = self._account.orders
        chosen = [
            trade(fill, orders[fill.order_id])
            for fill in self._account.fills
            if orders[fill.order_id].symbol == symbol
            and order_id in (None, fill.order_id)
            and (first is None or fill.identity >= first)
            and _is_within(fill.time_ms, start_ms, end_ms)
        ]
        from_oldest = first is not None or start_ms is not None
        return chosen[:limit] if from_oldest else chosen[-limit:]

    # --- the account ------------------------------------------------------------------------

    def _balances(self, parameters: Parameters) -> Any:
        leaves_out = parameters.flag("omitZeroBalances", default=False)
        rate, none = to_text(RATE), to_text(0)
        return {
            "makerCommission": RATE * 10_000 // UNIT,
            "takerCommission": RATE * 10_000 // UNIT,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {"maker": rate, "taker": rate, "buyer": none, "seller": none},
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": self._account.updated_ms,
            "accountType": "SPOT",
            "balances": [
                {
                    "asset": name,
                    "free": product_text(balance.free),
                    "locked": product_text(balance.locked),
                }
                for name, balance in self._account.balances.items()
                if not leaves_out or balance.free or balance.locked
            ],
            "permissions": ["SPOT"],
            "uid": 1,
        }

    def _commission(self, parameters: Parameters) -> Any:
        rate, none = to_text(RATE), to_text(0)
        nothing = {"maker": none, "taker": none, "buyer": none, "seller": none}
        return {
            "symbol": parameters.symbol(self._venue.listed()),
            "standardCommission": {**nothing, "maker": rate, "taker": rate},
            "specialCommission": nothing,
            "taxCommission": nothing,
            "discount": _DISCOUNT,
        }

    def _order_count(self, parameters: Parameters) -> Any:
        ten, day = self._venue.rates.order_limits()
        return [
            {**ten, "count": self._count_within(10_000)},
            {**day, "count": self._count_within(LOOKUP_MS_MAX)},
        ]

    # --- the user data stream ---------------------------------------------------------------

    def is_listen_key(self, name: str) -> bool:
        """Return whether a stream of this name is the account's."""
        return self._listen_key is not None and name == self._listen_key

    def _listen(self, parameters: Parameters) -> Any:
        if self._listen_key is None:
            self._listen_keys += 1
            seed = f"{self._venue.facts.name}:{self._listen_keys}".encode()
            self._listen_key = hashlib.sha256(seed).hexdigest()
        return {"listenKey": self._listen_key}

    def _keep_listening(self, parameters: Parameters) -> Any:
        if parameters.text("listenKey") != self._listen_key:
            raise ApiError(-1125, "This listenKey does not exist.")
        return {}

    def _stop_listening(self, parameters: Parameters) -> Any:
        self._keep_listening(parameters)
        self._listen_key = None
        return {}

    def _notify(self, order: AccountOrder, fill: AccountFill | None) -> None:
        if fill is not None and not order.is_open and self._placed:
            self._placed.pop()  # A filled order no longer counts.
        if self._listen_key is None:
            return
        now_ms = self._venue.now_ms()
        self._publish(self._listen_key, orjson.dumps(execution_report(order, fill, now_ms)))
        balances = [
            {"a": name, "f": product_text(balance.free), "l": product_text(balance.locked)}
            for name in self._account.assets(order.symbol)
            for balance in (self._account.balances[name],)
        ]
        position = {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": balances}
        self._publish(self._listen_key, orjson.dumps(position))


_DISCOUNT: Final = {
    "enabledForAccount": False,
    "enabledForSymbol": False,
    "discountAsset": "BNB",
    "discount": to_text(0),
}


def _check_signature(signature: str, query: str, body: str) -> None:
    """Refuse a call whose signature does not match the data sent, query and body joined.

    Raises:
        ApiError: -1022.
    """
    payload = "".join(
        "&".join(part for part in text.split("&") if not part.startswith("signature="))
        for text in (query, body)
    )
    right = hmac.new(API_SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right.encode(), signature.lower().encode()):
        raise ApiError(-1022, "Signature for this request is not valid.")


def _lookup(parameters: Parameters) -> tuple[int | None, int | None]:
    """Return the time bounds of a query.

    Raises:
        ApiError: -1127, they are more than a day apart.
    """
    start_ms, end_ms = parameters.time_ms("startTime"), parameters.time_ms("endTime")
    if start_ms is not None and end_ms is not None and end_ms - start_ms > LOOKUP_MS_MAX:
        raise ApiError(-1127, "More than 24 hours between startTime and endTime.")
    return start_ms, end_ms


def _is_within(time_ms: int, start_ms: int | None, end_ms: int | None) -> bool:
    return (start_ms is None or time_ms >= start_ms) and (end_ms is None or time_ms <= end_ms)
