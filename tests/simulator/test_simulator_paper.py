"""Paper account: orders, fees and refusals for foreign clients; off by default."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import requests
import websocket

from minibot.exchanges.tapes.clock import PlayClock
from minibot.exchanges.tapes.frames import BOOK_TICKER, DEPTH, TRADE, Frame, SourceFacts
from minibot.kernel.errors import ConfigError
from minibot.simulator.account.paper import PaperAccount
from minibot.simulator.account.paper_rest import API_KEY, API_SECRET, PaperDesk
from minibot.simulator.server.parameters import ApiError
from minibot.simulator.server.service import Settings, make_server
from minibot.simulator.venue.instruments import entry, made_rules
from minibot.simulator.venue.listing import ListingUnknown, change_filter
from minibot.simulator.venue.venue import Venue
from tests.waiting import DEADLINE_S

ORIGIN_MS = 1_700_000_000_000
BALANCES = {"USDT": "1000", "BTC": "2"}
LIMIT = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC"}
MARKET = {"symbol": "BTCUSDT", "type": "MARKET"}


class Silence:
    """Source without messages, for tests that set the market."""

    facts = SourceFacts(
        name="silence",
        origin_ms=ORIGIN_MS,
        end_ms=None,
        symbols=("BTCUSDT", "ETHUSDT"),
        has_depth=True,
        streams=frozenset({"btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"}),
        opening_books={
            "BTCUSDT": {
                "lastUpdateId": 1,
                "bids": [["99.99000000", "1.00000000"], ["99.00000000", "3.00000000"]],
                "asks": [["100.01000000", "2.00000000"], ["101.00000000", "4.00000000"]],
            }
        },
    )

    def frames(self) -> Iterator[Frame]:
        """Yield no frames."""
        return iter(())

    def past_bars(self, symbol: str, interval: str) -> list[Any]:
        """Return no history."""
        return []


class Desk:
    """Paper account over a book that a test moves."""

    def __init__(self) -> None:
        clock = PlayClock(ORIGIN_MS, Fraction(1))
        infos = {name: entry(name, made_rules(name), "table") for name in Silence.facts.symbols}
        self.venue = Venue(Silence(), infos, clock, {})
        self.account = PaperAccount(self.venue, BALANCES)
        self.told: list[tuple[str, Any]] = []
        self.desk = PaperDesk(
            self.venue, self.account, lambda name, data: self.told.append((name, json.loads(data)))
        )
        self._ids = 1
        self.trade("100.00000000")

    def call(self, method: str, name: str, **fields: object) -> Any:
        """Return the answer to a signed call."""
        fields = {"timestamp": self.venue.server_time_ms(), **fields}
        sent = urlencode({key: value for key, value in fields.items() if value is not None})
        signature = hmac.new(API_SECRET.encode(), sent.encode(), hashlib.sha256).hexdigest()
        query = f"{sent}&signature={signature}"
        body = b""
        if method == "POST":
            query, body = "", query.encode()
        return self.desk.answer(method, name, query, body, {"X-MBX-APIKEY": API_KEY})[0]

    def order(self, **fields: object) -> Any:
        return self.call("POST", "order", **fields)

    def refused(self, method: str, name: str, **fields: object) -> tuple[int, str]:
        """Return (code, text) of a refused call."""
        with pytest.raises(ApiError) as caught:
            self.call(method, name, **fields)
        return caught.value.code, caught.value.text

    def free(self, asset: str) -> Decimal:
        return Decimal(self._balance(asset)["free"])

    def locked(self, asset: str) -> Decimal:
        return Decimal(self._balance(asset)["locked"])

    def _balance(self, asset: str) -> Any:
        balances = self.call("GET", "account")["balances"]
        return next(item for item in balances if item["asset"] == asset)

    def _take(self, kind: str, data: dict[str, object]) -> None:
        self._ids += 1
        frame = Frame(ORIGIN_MS * 10**6, "BTCUSDT", kind, f"btcusdt@{kind}", orjson.dumps(data))
        self.venue.take(frame)

    def trade(
        self,
        price: str,
        qty: str = "0.50000000",
        *,
        taker_sells: bool = True,
        number: int | None = None,
    ) -> None:
        number = self._ids if number is None else number
        times = {"E": ORIGIN_MS, "T": ORIGIN_MS, "m": taker_sells, "M": True}
        data = {"e": "trade", "s": "BTCUSDT", "t": number, "p": price, "q": qty, **times}
        self._take(TRADE, data)

    def quote(self, bid: str, ask: str, qty: str = "1.00000000") -> None:
        quote = {"u": self._ids + 10, "s": "BTCUSDT", "b": bid, "B": qty, "a": ask, "A": qty}
        self._take(BOOK_TICKER, quote)

    def level(self, side: str, price: str, qty: str) -> None:
        number = self.venue.symbols["BTCUSDT"].book.update_id + 1
        data = {"e": "depthUpdate", "E": ORIGIN_MS, "s": "BTCUSDT", "U": number, "u": number}
        self._take(DEPTH, data | {"b": [], "a": [], side: [[price, qty]]})


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- orders that are filled ---------------------------------------------------------------------


def test_market_buy_walks_the_book_and_pays_its_fee_in_what_it_gets(desk: Desk) -> None:
    """A market buy walks two levels exactly, and pays 0.1 % of the coins."""
    answer = desk.order(**MARKET, side="BUY", quantity="3")

    assert answer["status"] == "FILLED"
    assert [(fill["price"], fill["qty"]) for fill in answer["fills"]] == [
        ("100.01000000", "2.00000000"),
        ("101.00000000", "1.00000000"),
    ]
    assert [fill["commission"] for fill in answer["fills"]] == ["0.00200000", "0.00100000"]
    assert {fill["commissionAsset"] for fill in answer["fills"]} == {"BTC"}
    assert answer["cummulativeQuoteQty"] == "301.02000000"
    assert desk.free("USDT") == Decimal("698.98")
    assert desk.free("BTC") == Decimal("4.997")
    assert desk.locked("USDT") == 0


def test_market_sell_pays_in_quote_and_the_rest_expires_without_liquidity(desk: Desk) -> None:
    """A market sell pays its fee in quote; without liquidity the rest expires."""
    desk.level("b", "99.00000000", "0.50000000")
    answer = desk.order(**MARKET, side="SELL", quantity="2")

    assert answer["status"] == "EXPIRED"
    assert answer["expiryReason"] == "INSUFFICIENT_LIQUIDITY"
    assert answer["executedQty"] == "1.50000000"
    assert desk.free("BTC") == Decimal("0.5")
    assert desk.free("USDT") == Decimal("1000") + Decimal("149.49") * Decimal("0.999")
    assert desk.locked("BTC") == 0


def test_market_order_by_quote_amount_keeps_to_the_step(desk: Desk) -> None:
    """A market order by quote amount gets as close as whole steps allow, never above."""
    answer = desk.order(**MARKET, side="BUY", quoteOrderQty="250")

    spent = Decimal(answer["cummulativeQuoteQty"])
    assert answer["status"] == "FILLED"
    assert answer["origQuoteOrderQty"] == "250.00000000"
    assert 0 <= Decimal(250) - spent < Decimal("101") * Decimal("0.00001")
    assert Decimal(answer["executedQty"]) % Decimal("0.00001") == 0


@pytest.mark.parametrize("name", ["order", "order/test"])
@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("LOT_SIZE", "minQty", "2.49486"),
        ("MARKET_LOT_SIZE", "maxQty", "2.49484"),
        ("MAX_POSITION", "maxPosition", "4.49484"),
    ],
)
def test_market_order_by_quote_amount_meets_the_filters_of_a_quantity(
    name: str, kind: str, field: str, value: str, desk: Desk
) -> None:
    """The quantity that an amount buys, here 2.49485, is judged like one that was asked for."""
    bought = {**MARKET, "side": "BUY", "quoteOrderQty": "250"}
    change_filter(desk.venue, "BTCUSDT", {"filter": kind, "field": field, "value": value})
    refused = desk.refused("POST", name, **bought)
    last = value[:-1] + "5"
    change_filter(desk.venue, "BTCUSDT", {"filter": kind, "field": field, "value": last})
    desk.call("POST", name, **bought)

    assert refused == (-1013, f"Filter failure: {kind}")


@pytest.mark.parametrize(
    ("field", "text"), [("avgPriceMins", "2.5"), ("avgPriceMins", "-1"), ("applyMinToMarket", "no")]
)
def test_value_of_another_type_than_its_field_is_refused(field: str, text: str, desk: Desk) -> None:
    """A changed rule stays one that a client can read, or the rules stay as they were."""
    before = json.dumps(desk.venue.infos["BTCUSDT"])

    with pytest.raises(ListingUnknown, match=f"{field}: expected"):
        change_filter(desk.venue, "BTCUSDT", {"filter": "NOTIONAL", "field": field, "value": text})

    assert json.dumps(desk.venue.infos["BTCUSDT"]) == before


def test_market_sale_by_quote_amount_passes_no_better_price(desk: Desk) -> None:
    """A remainder below one step at the best bid sells nothing at a worse one."""
    answer = desk.order(**MARKET, side="SELL", quoteOrderQty="49.995995")

    assert [(fill["price"], fill["qty"]) for fill in answer["fills"]] == [
        ("99.99000000", "0.50000000")
    ]


def test_limit_takes_what_is_within_its_price_and_rests_with_the_rest(desk: Desk) -> None:
    """A limit order takes prices within its limit and rests; its lock shrinks with fills."""
    answer = desk.order(**LIMIT, side="BUY", quantity="3", price="100.50")
    locked = desk.locked("USDT")
    desk.trade("100.40000000", "0.40000000")
    after = desk.call("GET", "order", symbol="BTCUSDT", orderId=answer["orderId"])
    desk.quote("100.10000000", "100.45000000")
    done = desk.call("GET", "order", symbol="BTCUSDT", orderId=answer["orderId"])
    trades = desk.call("GET", "myTrades", symbol="BTCUSDT")

    assert answer["status"] == "PARTIALLY_FILLED"
    assert answer["executedQty"] == "2.00000000"
    assert locked == Decimal("301.5") - Decimal("200.02")
    assert after["executedQty"] == "2.40000000"
    assert done["status"] == "FILLED"
    assert [trade["isMaker"] for trade in trades] == [False, True, True]
    assert desk.locked("USDT") == 0
    spent = sum(Decimal(trade["quoteQty"]) for trade in trades)
    assert desk.free("USDT") == Decimal(1000) - spent
    assert desk.free("BTC") == Decimal(2) + 3 * Decimal("0.999")


def test_resting_order_waits_behind_what_stood_at_its_price(desk: Desk) -> None:
    """A resting order waits behind earlier quantity; trades and cancellations shorten it."""
    order = desk.order(**LIMIT, side="BUY", quantity="1", price="99.00")

    def executed() -> str:
        found = desk.call("GET", "order", symbol="BTCUSDT", orderId=order["orderId"])
        return str(found["executedQty"])

    desk.trade("99.00000000", "2.00000000")
    before = executed()
    desk.trade("99.00000000", "1.50000000")
    first = executed()
    desk.trade("99.00000000", "9.00000000", taker_sells=False)
    same = executed()
    desk.trade("98.00000000", "0.20000000")

    assert order["status"] == "NEW"
    assert before == "0.00000000"
    assert first == same == "0.50000000"
    assert executed() == "0.70000000"


def test_repeated_trade_fills_once(desk: Desk) -> None:
    """A trade that a tape of two connections holds twice fills no order twice."""
    order = desk.order(**LIMIT, side="BUY", quantity="1", price="99.50")

    for _ in range(2):
        desk.trade("99.50000000", number=700)

    found = desk.call("GET", "order", symbol="BTCUSDT", orderId=order["orderId"])
    assert found["executedQty"] == "0.50000000"


def test_trade_is_shared_by_price_and_age(desk: Desk) -> None:
    """A trade is shared by price and then age, and no more than traded."""
    old = desk.order(**LIMIT, side="BUY", quantity="1", price="99.50")
    better = desk.order(**LIMIT, side="BUY", quantity="1", price="99.60")
    young = desk.order(**LIMIT, side="BUY", quantity="1", price="99.50")
    desk.trade("99.40000000", "2.25000000")
    orders = {o["orderId"]: o for o in desk.call("GET", "allOrders", symbol="BTCUSDT")}

    assert orders[better["orderId"]]["status"] == "FILLED"
    assert orders[old["orderId"]]["status"] == "FILLED"
    assert orders[young["orderId"]]["executedQty"] == "0.25000000"


@pytest.mark.parametrize(
    ("lifetime", "qty", "status", "executed", "reason"),
    [
        ("IOC", "3", "EXPIRED", "2.00000000", "UNFILLED_IOC_QUANTITY_EXPIRED"),
        ("FOK", "3", "EXPIRED", "0.00000000", "UNFILLED_FOK_ORDER_EXPIRED"),
        ("FOK", "2", "FILLED", "2.00000000", None),
        ("IOC", "1", "FILLED", "1.00000000", None),
    ],
)
def test_order_that_may_not_rest(
    lifetime: str, qty: str, status: str, executed: str, reason: str | None, desk: Desk
) -> None:
    """IOC takes what is available, FOK all or nothing."""
    fields = {**LIMIT, "timeInForce": lifetime, "price": "100.50"}
    answer = desk.order(**fields, side="BUY", quantity=qty)

    assert (answer["status"], answer["executedQty"]) == (status, executed)
    assert answer.get("expiryReason") == reason
    assert desk.locked("USDT") == 0
    assert desk.call("GET", "openOrders") == []


def test_maker_order_rests_or_is_refused(desk: Desk) -> None:
    """A maker order rests or is refused."""
    fields = {"symbol": "BTCUSDT", "type": "LIMIT_MAKER", "side": "SELL", "quantity": "1"}
    refused = desk.refused("POST", "order", **fields, price="99.99")
    rests = desk.order(**fields, price="100.00")

    assert refused == (-2010, "Order would immediately match and take.")
    assert rests.keys() == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    assert desk.locked("BTC") == 1


def test_cancel_gives_back_what_was_locked(desk: Desk) -> None:
    """A cancel returns the lock, by id, client id or symbol; a second cancel is refused."""
    first = desk.order(**LIMIT, side="BUY", quantity="1", price="90", newClientOrderId="mine")
    desk.order(**LIMIT, side="SELL", quantity="1", price="110")
    gone = desk.call("DELETE", "order", symbol="BTCUSDT", origClientOrderId="mine")
    again = desk.refused("DELETE", "order", symbol="BTCUSDT", orderId=first["orderId"])
    rest = desk.call("DELETE", "openOrders", symbol="BTCUSDT")
    none = desk.refused("DELETE", "openOrders", symbol="BTCUSDT")

    assert gone["status"] == "CANCELED"
    assert gone["origClientOrderId"] == "mine"
    assert gone["clientOrderId"] != "mine"
    assert again == none == (-2011, "Unknown order sent.")
    assert len(rest) == 1
    assert desk.free("USDT") == 1000
    assert desk.free("BTC") == 2


def test_balances_are_those_of_the_fills_whatever_happens(desk: Desk) -> None:
    """Balances equal the sums of the reported trades, whatever happens."""
    for number in range(40):
        side = "BUY" if number % 3 else "SELL"
        fields = {"side": side, "quantity": f"0.{1100 + number}"}
        if number % 2:
            desk.order(**MARKET, **fields)
        else:
            desk.order(**LIMIT, **fields, price=f"{100 + number % 7 - 3}.0{number % 10}")
        desk.trade(f"{98 + number % 5}.50000000", "0.03000000", taker_sells=bool(number % 2))
    trades = desk.call("GET", "myTrades", symbol="BTCUSDT", limit=1000)
    usdt, btc = Decimal(1000), Decimal(2)
    for trade in trades:
        sign = 1 if trade["isBuyer"] else -1
        btc += sign * Decimal(trade["qty"])
        usdt -= sign * Decimal(trade["price"]) * Decimal(trade["qty"])
        assert trade["commissionAsset"] == ("BTC" if trade["isBuyer"] else "USDT")
        if trade["isBuyer"]:
            btc -= Decimal(trade["commission"])
        else:
            usdt -= Decimal(trade["commission"])

    def near(told: Decimal, exact: Decimal) -> bool:
        return abs(told - exact) <= Decimal("0.00000002")

    assert len(trades) > 20
    assert near(desk.free("USDT") + desk.locked("USDT"), usdt)
    assert near(desk.free("BTC") + desk.locked("BTC"), btc)
    waiting = desk.call("GET", "openOrders", symbol="BTCUSDT")
    bids = [order for order in waiting if order["side"] == "BUY"]
    assert desk.locked("USDT") == sum(
        Decimal(o["price"]) * (Decimal(o["origQty"]) - Decimal(o["executedQty"])) for o in bids
    )


# --- refusals -----------------------------------------------------------------------------------

BUY = {**LIMIT, "side": "BUY", "quantity": "0.1", "price": "90"}


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"symbol": None}, -1102, "'symbol'"),
        ({"symbol": "NOSUCH"}, -1121, "Invalid symbol."),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"type": "HOPE"}, -1116, "Invalid orderType."),
        ({"type": "STOP_LOSS"}, -2010, "Stop loss orders are not supported for this symbol."),
        ({"price": None}, -1102, "'price'"),
        ({"quantity": None}, -1102, "'quantity'"),
        ({"timeInForce": None}, -1102, "'timeInForce'"),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"quoteOrderQty": "10"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
        ({"quantity": "0.000000001"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"quantity": "-1"}, -1100, "'quantity'"),
        ({"quantity": "0"}, -1013, "Invalid quantity."),
        ({"newClientOrderId": "no good"}, -1100, "'newClientOrderId'"),
        ({"newOrderRespType": "ALL"}, -1130, "'newOrderRespType'"),
        ({"strategyType": "5"}, -1134, "less than 1000000"),
        ({"icebergQty": "0.01"}, -2010, "Iceberg orders are not supported for this symbol."),
        ({"price": "90.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "1000001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "9001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"price": "10"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"quantity": "0.001"}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": "50"}, -2010, "Account has insufficient balance for requested action."),
        ({"side": "SELL", "price": "110", "quantity": "2.1"}, -2010, "insufficient balance"),
        ({"colour": "red"}, -1104, "Not all sent parameters were read"),
        ({"recvWindow": "60001"}, -1131, "recvWindow"),
        ({"timestamp": None}, -1102, "'timestamp'"),
        ({"timestamp": ORIGIN_MS + 1000}, -1021, "1000ms ahead of the server's time."),
        ({"timestamp": ORIGIN_MS - 5001}, -1021, "outside of the recvWindow."),
        ({"timestamp": ORIGIN_MS - 900, "recvWindow": "800"}, -1021, "outside of the recvWindow."),
    ],
)
def test_order_is_refused_in_the_venues_words(
    changes: dict[str, object], code: int, text: str, desk: Desk
) -> None:
    """A refused order has the venue's code and text, and locks nothing."""
    found, output = desk.refused("POST", "order", **{**BUY, **changes})

    assert found == code
    assert text in output
    assert desk.account.orders == {}
    assert desk.locked("USDT") == 0


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("price", ["1", "900"])
def test_price_band_of_zero_is_off(price: str, side: str, desk: Desk) -> None:
    """A multiplier of zero bounds no price, like any other value of a filter."""
    rules = desk.venue.infos["BTCUSDT"]["filters"]
    (band,) = [rule for rule in rules if rule["filterType"] == "PERCENT_PRICE_BY_SIDE"]
    band |= {name: "0" for name in band if "Multiplier" in name}

    order = {**BUY, "side": side, "quantity": "10", "price": price}
    assert desk.call("POST", "order/test", **order) == {}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": None}, -1102),
        ({"quoteOrderQty": "10"}, -1128),
        ({"price": "100"}, -1106),
        ({"timeInForce": "GTC"}, -1106),
        ({"quantity": "0.01"}, -1013),
        ({"symbol": "ETHUSDT"}, -1112),
    ],
)
def test_market_order_is_refused(changes: dict[str, object], code: int, desk: Desk) -> None:
    """A market order with a price, two amounts or without a book is refused."""
    fields = {**MARKET, "side": "SELL", "quantity": "1", **changes}

    assert desk.refused("POST", "order", **fields)[0] == code


def test_times_may_be_microseconds_and_just_within_the_window(desk: Desk) -> None:
    """Times in microseconds and at both bounds of the window are accepted."""
    for stamp in (ORIGIN_MS + 999, ORIGIN_MS - 5000, (ORIGIN_MS - 100) * 1000):
        assert desk.call("POST", "order/test", **BUY, timestamp=stamp) == {}


def test_closed_market_and_used_names_are_refused(desk: Desk) -> None:
    """A closed market and a client id in use are refused; a finished order's id is free."""
    desk.order(**BUY, newClientOrderId="twice")
    twice = desk.refused("POST", "order", **BUY, newClientOrderId="twice")
    desk.call("DELETE", "openOrders", symbol="BTCUSDT")
    again = desk.order(**BUY, newClientOrderId="twice")
    desk.venue.set_status("BTCUSDT", "BREAK")
    closed = desk.refused("POST", "order", **BUY)

    assert twice == (-2010, "Duplicate order sent.")
    assert again["clientOrderId"] == "twice"
    assert closed == (-2010, "Market is closed.")


def test_test_order_is_checked_and_leaves_nothing(desk: Desk) -> None:
    """A test order is checked, filters included, and leaves nothing."""
    rates = desk.call("POST", "order/test", **BUY, computeCommissionRates="true")

    assert desk.call("POST", "order/test", **BUY) == {}
    assert rates["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
    assert desk.refused("POST", "order/test", **{**BUY, "price": "90.001"})[0] == -1013
    assert desk.account.orders == {}


def test_keys_and_signatures_are_checked(desk: Desk) -> None:
    """Keys and signatures are checked over exactly the sent text, in query or body."""
    stamp = f"timestamp={ORIGIN_MS}"
    right = hmac.new(API_SECRET.encode(), stamp.encode(), hashlib.sha256).hexdigest()
    key = {"X-MBX-APIKEY": API_KEY}

    def code(query: str, headers: dict[str, str]) -> int | None:
        try:
            desk.desk.answer("GET", "account", query, b"", headers)
        except ApiError as error:
            return error.code
        return None

    assert code(f"{stamp}&signature={right}", key) is None
    assert code(f"signature={right.upper()}&{stamp}", key) is None
    assert code(f"{stamp}&signature={right}", {}) == -2014
    assert code(f"{stamp}&signature={right}", {"X-MBX-APIKEY": "other"}) == -2015
    assert code(f"{stamp}&signature={right[:-1]}0", key) == -1022
    assert code(f"{stamp}&omitZeroBalances=true&signature={right}", key) == -1022
    assert code(stamp, key) == -1102
    mixed = "symbol=BTCUSDT", f"side=BUY&type=MARKET&quantity=1&{stamp}"
    joined = hmac.new(API_SECRET.encode(), "".join(mixed).encode(), hashlib.sha256).hexdigest()
    body = f"{mixed[1]}&signature={joined}".encode()
    assert desk.desk.answer("POST", "order/test", mixed[0], body, key)[0] == {}


def test_lookups_are_bounded_to_a_day_and_to_what_is_asked(desk: Desk) -> None:
    """Lookups are bounded to a day, first ids and accepted combinations."""
    first = desk.order(**MARKET, side="BUY", quantity="1")["orderId"]
    second = desk.order(**MARKET, side="SELL", quantity="1")["orderId"]
    orders = desk.call("GET", "allOrders", symbol="BTCUSDT", orderId=second)
    trades = desk.call("GET", "myTrades", symbol="BTCUSDT", orderId=first)
    wide = {"startTime": ORIGIN_MS - 86_400_001, "endTime": ORIGIN_MS}
    late = desk.call("GET", "allOrders", symbol="BTCUSDT", startTime=ORIGIN_MS + 1)

    assert [order["orderId"] for order in orders] == [second]
    assert {trade["orderId"] for trade in trades} == {first}
    assert late == []
    assert desk.refused("GET", "allOrders", symbol="BTCUSDT", **wide)[0] == -1127
    assert desk.refused("GET", "myTrades", symbol="BTCUSDT", fromId=1, startTime=1)[0] == -1128
    assert desk.refused("GET", "order", symbol="BTCUSDT", orderId=99)[0] == -2013
    assert desk.refused("GET", "order", symbol="BTCUSDT")[0] == -1102
    assert desk.refused("GET", "order", symbol="ETHUSDT", orderId=first)[0] == -2013


def test_too_many_orders_are_429(desk: Desk) -> None:
    """Too many unfilled orders get 429; filled ones do not count."""
    for _ in range(100):
        desk.order(**BUY | {"quantity": "0.06"}, newClientOrderId=None)
        desk.call("DELETE", "openOrders", symbol="BTCUSDT")
    counts = desk.call("GET", "rateLimit/order")

    assert [item["count"] for item in counts] == [100, 100]
    assert desk.refused("POST", "order", **BUY)[0] == -1015


# --- over the wire ------------------------------------------------------------------------------


class Served:
    """`minibot exchange serve` with flags, from its first line to its end."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "minibot", "exchange", "serve", "--json", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--source", "generator:1", "--start", "now", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        text = ""
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()
            text += line
            try:
                self.ready = json.loads(text)
            except json.JSONDecodeError:
                continue
            break

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.ready['port']}"

    def signed(self, method: str, name: str, **fields: object) -> requests.Response:
        now = requests.get(f"{self.base}/api/v3/time", timeout=DEADLINE_S).json()["serverTime"]
        sent = urlencode({**fields, "timestamp": now})
        signature = hmac.new(API_SECRET.encode(), sent.encode(), hashlib.sha256).hexdigest()
        return requests.request(
            method,
            f"{self.base}/api/v3/{name}?{sent}&signature={signature}",
            headers={"X-MBX-APIKEY": API_KEY},
            timeout=DEADLINE_S,
        )

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *details: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=DEADLINE_S)


@pytest.mark.process
def test_paper_account_trades_over_the_wire_and_tells_its_stream() -> None:
    """An order, its report on the user stream and its fill arrive over the wire."""
    with Served("--paper-account") as served:
        key = {"X-MBX-APIKEY": API_KEY}
        listen = requests.post(
            f"{served.base}/api/v3/userDataStream", headers=key, timeout=DEADLINE_S
        )
        name = listen.json()["listenKey"]
        socket = websocket.create_connection(
            f"ws://127.0.0.1:{served.ready['port']}/ws/{name}", timeout=DEADLINE_S
        )
        placed = served.signed(
            *("POST", "order"), symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
        )
        events = [json.loads(socket.recv()) for _ in range(4)]
        account = served.signed("GET", "account", omitZeroBalances="true")
        status = requests.get(f"{served.base}/minibot/status", timeout=DEADLINE_S).json()
        oco = served.signed("POST", "orderList/oco")
        refused = requests.get(f"{served.base}/minibot/status", timeout=DEADLINE_S).json()
        socket.close()

    assert placed.status_code == 200
    assert placed.json()["status"] == "FILLED"
    assert placed.headers["x-mbx-order-count-10s"] == "0"
    assert int(placed.headers["x-mbx-used-weight-1m"]) >= 1
    assert [event["e"] for event in events] == ["executionReport", "outboundAccountPosition"] * 2
    assert [event["x"] for event in events[::2]] == ["NEW", "TRADE"]
    assert events[2]["X"] == "FILLED"
    assert {item["asset"] for item in account.json()["balances"]} == {"BTC", "USDT"}
    assert status["order_calls"] == 0
    assert status["paper_calls"] == 3
    assert oco.status_code == 401
    assert refused["order_calls"] == 1


@pytest.mark.process
def test_answer_of_the_account_is_changed_by_a_fault_of_its_endpoint() -> None:
    """One answer of the account lacks the field; the next one has it, and a refusal is whole."""
    with Served("--paper-account") as served:
        removed = {"name": "field_removed", "endpoint": "account", "field": "balances.free"}
        told = requests.post(f"{served.base}/minibot/fault", json=removed, timeout=DEADLINE_S)
        refused = served.signed("GET", "account", wrong="1").json()
        changed, right = (served.signed("GET", "account").json() for _ in range(2))

    assert told.json()["ok"]
    assert refused["code"] == -1104
    assert ["free" in balance for balance in changed["balances"]] == [False] * 2
    assert ["free" in balance for balance in right["balances"]] == [True] * 2


@pytest.mark.process
@pytest.mark.row("N-57", "N-98")
def test_without_the_flag_there_is_no_account() -> None:
    """Without the flag the account's calls are refused and counted."""
    with Served() as served:
        answers = [
            served.signed("GET", "account"),
            served.signed("POST", "order", **{**MARKET, "side": "BUY", "quantity": "0.01"}),
            requests.post(f"{served.base}/api/v3/userDataStream", timeout=DEADLINE_S),
        ]
        status = requests.get(f"{served.base}/minibot/status", timeout=DEADLINE_S).json()

    assert [answer.status_code for answer in answers] == [401] * 3
    assert {answer.json()["code"] for answer in answers} == {-2015}
    assert status["order_calls"] == 3
    assert status["paper_calls"] == 0


@pytest.mark.process
@pytest.mark.row("N-57", "N-98")
def test_run_of_the_bot_never_has_a_paper_account(tmp_path: Path) -> None:
    """A run of the bot refuses a paper account."""
    with pytest.raises(ConfigError, match="paper account"):
        make_server(Settings(source="generator:1", run=tmp_path, has_paper_account=True))
    command = [sys.executable, "-m", "minibot.simulator", "--paper-account"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
