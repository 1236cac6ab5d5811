"""REST of the simulator: shapes, weights, errors, and the count of order calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from minibot.simulator.server.limits import IGNORED_MAX, AddressLimits
from tests.simulator.embedded_exchange import ORIGIN_MS, Exchange, market, take, write_tape
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.process

FIXTURES = {
    "ping": ("crate_ping_response.json", {}),
    "time": ("crate_server_time_response.json", {}),
    "depth": ("crate_depth_response.json", {"symbol": "BTCUSDT"}),
    "trades": ("crate_trades_response.json", {"symbol": "BTCUSDT"}),
    "klines": ("crate_klines_response.json", {"symbol": "BTCUSDT", "interval": "1m"}),
    "uiKlines": ("crate_klines_response.json", {"symbol": "BTCUSDT", "interval": "1m"}),
    "historicalTrades": ("http_spot_market_historical_trades.json", {"symbol": "BTCUSDT"}),
    "aggTrades": ("http_spot_market_agg_trades.json", {"symbol": "BTCUSDT"}),
    "avgPrice": ("crate_avg_price_response.json", {"symbol": "BTCUSDT"}),
    "ticker/24hr": ("crate_ticker_24hr_response.json", {"symbol": "BTCUSDT"}),
    "ticker/price": ("crate_ticker_price_response.json", {"symbol": "BTCUSDT"}),
    "ticker/bookTicker": ("crate_book_ticker_response.json", {"symbol": "BTCUSDT"}),
}


class FromAddress(HTTPAdapter):
    """Connection from another address of this machine."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **options)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """Exchange that has played two minutes of a small market and stands at its end."""
    tape = write_tape(tmp_path_factory.mktemp("rest") / "tape.gz", market(120))
    with Exchange(f"tape:{tape}", "--start", "now", speed="500") as running:
        wait_until(lambda: bool(running.status()["ended"]), "end of the tape")
        yield running


def shape(value: Any) -> Any:
    """Return the types of a JSON value: keys of objects, the first element of lists."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        if value and isinstance(value[0], list | dict):
            return [shape(value[0])]
        return [type(item).__name__ for item in value]
    return type(value).__name__


@pytest.mark.parametrize("path", FIXTURES)
def test_answer_has_the_shape_of_the_venues(
    path: str, exchange: Exchange, shared_data: Path
) -> None:
    """Keys and types equal the documented example's, decimals with eight places."""
    name, query = FIXTURES[path]
    file = shared_data / "message-fixtures" / "binance" / "nautilus" / name
    expected = json.loads(file.read_text())
    found = exchange.json(path, **query)

    if isinstance(expected, list) and not isinstance(found, list):
        expected = expected[0]
    known, ours = shape(expected), shape(found)
    if isinstance(known, dict):
        assert ours == {key: known[key] for key in ours}
        assert ours.keys() >= known.keys() - {"isBestMatch"}
    else:
        assert ours == known


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("ping", {}, 1),
        ("exchangeInfo", {}, 20),
        ("depth", {"symbol": "BTCUSDT", "limit": 100}, 5),
        ("depth", {"symbol": "BTCUSDT", "limit": 101}, 25),
        ("depth", {"symbol": "BTCUSDT", "limit": 1000}, 50),
        ("depth", {"symbol": "BTCUSDT", "limit": 5000}, 250),
        ("klines", {"symbol": "BTCUSDT", "interval": "1s"}, 2),
        ("trades", {"symbol": "BTCUSDT"}, 25),
        ("aggTrades", {"symbol": "BTCUSDT"}, 4),
        ("historicalTrades", {"symbol": "BTCUSDT", "fromId": 3}, 25),
        ("uiKlines", {"symbol": "BTCUSDT", "interval": "1h"}, 2),
        ("avgPrice", {"symbol": "BTCUSDT"}, 2),
        ("ticker/24hr", {}, 80),
        ("ticker/24hr", {"symbol": "BTCUSDT"}, 2),
        ("ticker/24hr", {"symbols": '["BTCUSDT"]'}, 2),
        ("ticker/price", {"symbol": "BTCUSDT"}, 2),
        ("ticker/price", {"symbols": '["BTCUSDT"]'}, 4),
        ("ticker/price", {}, 4),
        ("ticker/bookTicker", {"symbol": "BTCUSDT"}, 2),
        ("ticker/bookTicker", {}, 4),
        ("ticker", {"symbol": "BTCUSDT"}, 4),
        ("ticker/tradingDay", {"symbols": '["BTCUSDT"]'}, 4),
        ("executionRules", {"symbol": "BTCUSDT"}, 2),
        ("executionRules", {}, 40),
    ],
)
def test_call_costs_its_documented_weight(
    path: str, query: dict[str, object], weight: int, exchange: Exchange
) -> None:
    """Both headers count a call's documented weight."""

    def used() -> int:
        response = exchange.get("ping")
        assert response.headers["x-mbx-used-weight"] == response.headers["x-mbx-used-weight-1m"]
        return int(response.headers["x-mbx-used-weight-1m"])

    # A market minute lasts an eighth of a second here: retry when one ended in between.
    def costs() -> bool:
        before = used()
        exchange.json(path, **query)
        return used() - before == weight + 1

    wait_until(costs, f"{path} costs {weight}")


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("klines", {"interval": "1m"}, -1102),
        ("klines", {"symbol": "BTCUSDT"}, -1102),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("klines", {"symbol": "BTCUSDT", "interval": "1M", "limit": "many"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": "-1"}, -1100),
        ("klines", {"symbol": "NOSUCH", "interval": "1m"}, -1121),
        ("klines", {"symbol": "btc/usdt", "interval": "1m"}, -1100),
        ("klines", {"symbol": "btcusdt", "interval": "1m"}, -1100),
        ("depth", {"symbol": ""}, -1105),
        ("depth", {"symbol": "BTCUSDT", "colour": "red"}, -1104),
        ("depth", {"symbol": "BTCUSDT", "limit": "0"}, -1130),
        ("depth", {"symbol": "BTCUSDT", "limit": "\u00b2"}, -1100),
        ("depth", {"symbol": "BTCUSDT", "limit": "9" * 5000}, -1100),
        ("exchangeInfo", {"symbol": "NOSUCH"}, -1121),
        ("exchangeInfo", {"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151),
        ("exchangeInfo", {"symbols": "BTCUSDT"}, -1100),
        ("exchangeInfo", {"symbolStatus": "SLEEPING"}, -1122),
        ("ticker/24hr", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
        ("ticker/24hr", {"symbol": "BTCUSDT", "type": "HUGE"}, -1139),
        ("ping", {"symbol": "BTCUSDT"}, -1101),
        ("klines", {"symbol": "BTCUSDT", "interval": ["1m", "1h"]}, -1101),
        ("klines", {"symbol": "BTCUSDT", "interval": "1h", "timeZone": "14:01"}, -1130),
        ("klines", {"symbol": "BTCUSDT", "interval": "1h", "timeZone": "-12:30"}, -1130),
        ("klines", {"symbol": "BTCUSDT", "interval": "1h", "timeZone": "Berlin"}, -1130),
        ("klines", {"symbol": "BTCUSDT", "interval": "1h", "limit": "2147483648"}, -1108),
        ("klines", {"symbol": "BTCUSDT", "interval": "1h", "startTime": "9" * 20}, -1108),
        ("klines", {"symbol": "BTCUSDT", "interval": "1h", "startTime": "9" * 21}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "1D"}, -1120),
        ("aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        ("aggTrades", {"symbol": "BTCUSDT", "fromId": "x"}, -1100),
        ("historicalBlockTrades", {"symbol": "BTCUSDT"}, -1102),
        ("exchangeInfo", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
        ("exchangeInfo", {"symbol": "BTCUSDT", "symbolStatus": "TRADING"}, -1128),
        ("exchangeInfo", {"symbol": "BTCUSDT", "permissions": "SPOT"}, -1128),
        ("exchangeInfo", {"permissions": "ROYAL"}, -1130),
        ("exchangeInfo", {"permissions": "[]"}, -1130),
        ("exchangeInfo", {"showPermissionSets": "maybe"}, -1100),
        ("exchangeInfo", {"symbols": "[]"}, -1100),
        ("exchangeInfo", {"symbols": '["BTCUSDT", "ETHUSDT"]'}, -1100),
        ("exchangeInfo", {"symbols": '["BTCUSDT","NOSUCH"]'}, -1121),
        ("exchangeInfo", {"symbolStatus": "CANCEL_ONLY"}, -1122),
        ("depth", {"symbol": "BTCUSDT", "symbolStatus": "BREAK"}, -1220),
        ("ticker/price", {"symbol": "BTCUSDT", "symbolStatus": "HALT"}, -1220),
        ("ticker/bookTicker", {"symbolStatus": "OPEN"}, -1122),
        ("ticker", {}, -1102),
        ("ticker", {"symbol": "BTCUSDT", "windowSize": "1d2h"}, -1100),
        ("ticker", {"symbol": "BTCUSDT", "windowSize": "60m"}, -1100),
        ("ticker", {"symbol": "BTCUSDT", "windowSize": "8d"}, -1100),
        ("ticker", {"symbol": "BTCUSDT", "windowSize": "1d\n"}, -1100),
        ("ticker", {"symbol": "BTCUSDT", "windowSize": "\u0661d"}, -1100),
        ("ticker/tradingDay", {}, -1102),
        ("ticker/tradingDay", {"symbol": "BTCUSDT", "timeZone": "25"}, -1130),
        ("referencePrice", {"symbol": "BTCUSDT"}, -2043),
        ("referencePrice/calculation", {"symbol": "BTCUSDT"}, -2043),
    ],
)
def test_wrong_call_is_400_with_the_venues_code(
    path: str, query: dict[str, object], code: int, exchange: Exchange
) -> None:
    """A wrong call gets 400 with the venue's code and text."""
    response = exchange.get(path, **query)

    assert response.status_code == 400
    assert response.json()["code"] == code
    assert response.json()["msg"]


@pytest.mark.parametrize("interval", ["1s", "1d", "1w", "1M"])
@pytest.mark.parametrize("zone", ["0", "5:45"])
def test_bars_from_a_time_that_no_calendar_has_are_none(
    interval: str, zone: str, exchange: Exchange
) -> None:
    """A start time beyond any calendar gets an empty answer."""
    query = {"symbol": "BTCUSDT", "interval": interval, "timeZone": zone}
    for time in (10**13, 10**14 - 1, 2**63 - 1):
        assert exchange.json("klines", **query, startTime=time) == []
        assert exchange.json("klines", **query, endTime=time) != []


@pytest.mark.parametrize("path", ["/api/v3/weather", "/api/v1/klines", "/nothing", "/"])
def test_unknown_path_is_404_and_a_page_only_for_who_accepts_one(
    path: str, exchange: Exchange
) -> None:
    """An unknown path gets 404, with a page only for clients that accept one."""
    plain = exchange.session.get(exchange.base + path, timeout=DEADLINE_S)
    page = exchange.session.get(
        exchange.base + path, headers={"Accept": "text/html,*/*"}, timeout=DEADLINE_S
    )

    assert plain.status_code == page.status_code == 404
    assert plain.content == b""
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.startswith("<html>")


def test_scan_of_paths_and_streams_does_not_grow_the_table_of_requests(exchange: Exchange) -> None:
    """Unknown paths and streams are counted as one, so a scan adds no rows."""
    exchange.get("time")
    exchange.connect("/ws/btcusdt@trade")
    exchange.session.get(f"{exchange.base}/api/none", timeout=DEADLINE_S)
    exchange.session.get(f"{exchange.base}/none", timeout=DEADLINE_S)
    before = exchange.status()["requests"]
    for number in range(20):
        exchange.connect(f"/ws/btcusdt@kline_1m/{number}")
        for path in ("/api/v3/x", "/api/v1/", "/api/v3/time/", "/", "/sapi/", "/minibot/"):
            exchange.session.get(f"{exchange.base}{path}{number}", timeout=DEADLINE_S)
        exchange.session.put(f"{exchange.base}/api/v3/order{number}", timeout=DEADLINE_S)
    after = exchange.status()["requests"]

    assert after.keys() == before.keys()
    grown = {name: after[name] - before[name] for name in after if after[name] > before[name]}
    assert grown == {
        "/ws/{streams}": 20,
        "/api/ (unknown)": 80,
        "(unknown)": 60,
        "/minibot/status": 1,
    }


def test_answers_are_json_in_utf_8_with_the_weight_in_their_headers(exchange: Exchange) -> None:
    """Answers and errors are JSON in UTF-8 with the weight in headers."""
    for answer in (exchange.get("time"), exchange.get("depth", symbol="NOSUCH")):
        assert answer.headers["content-type"] == "application/json;charset=UTF-8"
        assert int(answer.headers["x-mbx-used-weight-1m"]) >= 1


def test_answers_of_no_endpoint_have_no_weight(exchange: Exchange) -> None:
    """The firewall, an unknown path and a refused order answer before a call is weighed."""
    answers = (exchange.get("nosuch"), exchange.get("time", note="select a from b"))
    refused = exchange.session.post(f"{exchange.base}/api/v3/order", timeout=DEADLINE_S)

    assert [answer.status_code for answer in (*answers, refused)] == [404, 403, 401]
    assert not any("x-mbx-used-weight" in answer.headers for answer in (*answers, refused))


def test_sql_words_meet_the_firewall(exchange: Exchange) -> None:
    """SQL words get the firewall's 403 page, as the venue warns."""
    answer = exchange.get("klines", symbol="BTCUSDT", interval="1m", note="select a from b")

    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert "cloudfront" in answer.text


def test_times_come_in_microseconds_for_who_asks(exchange: Exchange) -> None:
    """A header selects microseconds; other units are refused with -1194."""

    def ask(path: str, unit: str, **query: str) -> Any:
        url = f"{exchange.base}/api/v3/{path}"
        headers = {"X-MBX-TIME-UNIT": unit}
        return exchange.session.get(url, params=query, headers=headers, timeout=DEADLINE_S).json()

    symbol = {"symbol": "BTCUSDT"}
    plain = exchange.json("klines", **symbol, interval="1s", endTime=ORIGIN_MS + 60_000)[-1]
    until_us = str((ORIGIN_MS + 60_000) * 1000)
    exact = ask("klines", "MICROSECOND", **symbol, interval="1s", endTime=until_us)[-1]
    trades = ask("trades", "microsecond", **symbol)
    day = ask("ticker/tradingDay", "MICROSECOND", **symbol)

    assert exact[0] == plain[0] * 1000
    assert exact[6] == plain[6] * 1000 + 999
    assert exact[1:6] + exact[7:] == plain[1:6] + plain[7:]
    assert trades[0]["time"] == exchange.json("trades", **symbol)[0]["time"] * 1000
    assert ask("exchangeInfo", "MICROSECOND")["serverTime"] > ORIGIN_MS * 1000
    assert ask("time", "MICROSECOND")["serverTime"] > ORIGIN_MS * 1000
    assert day["closeTime"] - day["openTime"] == 86_400_000_000 - 1
    assert ask("time", "NANOSECOND")["code"] == -1194


def test_exchange_info_can_be_narrowed(exchange: Exchange) -> None:
    """exchangeInfo is filtered by symbol, list, permission and status."""
    info = exchange.json("exchangeInfo")
    names = [
        [entry["symbol"] for entry in exchange.json("exchangeInfo", **query)["symbols"]]
        for query in (
            {"symbol": "BTCUSDT"},
            {"symbols": '["BTCUSDT"]'},
            {"permissions": "SPOT"},
            {"permissions": '["MARGIN","SPOT"]'},
            {"symbolStatus": "TRADING", "showPermissionSets": "false"},
        )
    ]
    bare = exchange.json("exchangeInfo", showPermissionSets="false")["symbols"][0]

    assert names == [["BTCUSDT"]] * 5
    assert exchange.json("exchangeInfo", permissions="LEVERAGED")["symbols"] == []
    assert exchange.json("exchangeInfo", symbolStatus="HALT")["symbols"] == []
    assert info["symbols"][0]["permissionSets"] == [["SPOT"]]
    assert bare["permissionSets"] == []
    assert {limit["rateLimitType"]: limit["limit"] for limit in info["rateLimits"]} == {
        **{"REQUEST_WEIGHT": 6000, "ORDERS": 200_000, "RAW_REQUESTS": 300_000}
    }
    assert info["timezone"] == "UTC"
    assert exchange.json("exchangeInfo")["serverTime"] > info["serverTime"]


def test_klines_of_a_zone_begin_at_its_midnight(exchange: Exchange) -> None:
    """Klines of a zone begin at its midnight, with times in UTC; zone 0 is the default."""
    symbol = {"symbol": "BTCUSDT"}
    for zone, hours in (("8", 8), ("+08:00", 8), ("-3:30", -3.5), ("14", 14), ("-12:00", -12)):
        day = exchange.json("klines", **symbol, interval="1d", timeZone=zone)[-1]
        assert (day[0] + hours * 3_600_000) % 86_400_000 == 0
        assert day[6] - day[0] == 86_400_000 - 1
        week = exchange.json("klines", **symbol, interval="1w", timeZone=zone)[-1]
        # 1970-01-05 was a Monday.
        assert (week[0] + hours * 3_600_000 - 4 * 86_400_000) % (7 * 86_400_000) == 0
    month = exchange.json("klines", **symbol, interval="1M", timeZone="1")[-1]
    assert month[0] == 1_698_793_200_000  # 2023-11-01 in Berlin's winter.
    assert month[6] == 1_701_385_199_999
    plain = exchange.json("klines", **symbol, interval="4h")
    assert exchange.json("klines", **symbol, interval="4h", timeZone="0") == plain
    assert exchange.json("klines", **symbol, interval="4h", timeZone="-8:00") == plain


def test_rolling_window_opens_on_a_minute_and_the_day_does_not(exchange: Exchange) -> None:
    """A rolling window opens on a minute, the day's ticker does not."""
    rolled = exchange.json("ticker", symbol="BTCUSDT", windowSize="59m")
    day = exchange.json("ticker/24hr", symbol="BTCUSDT")

    assert rolled["openTime"] % 60_000 == 0
    assert 59 * 60_000 <= rolled["closeTime"] - rolled["openTime"] < 60 * 60_000
    assert day["closeTime"] - day["openTime"] == 86_400_000
    assert "bidPrice" in day
    assert "bidPrice" not in rolled


def test_one_symbol_gives_an_object_and_a_list_gives_a_list(exchange: Exchange) -> None:
    """One symbol gives an object and a list gives a list, for all tickers."""
    assert isinstance(exchange.json("ticker/price", symbol="BTCUSDT"), dict)
    assert isinstance(exchange.json("ticker/price", symbols='["BTCUSDT"]'), list)
    assert isinstance(exchange.json("ticker/price"), list)
    assert exchange.json("ticker/24hr", symbol="BTCUSDT", type="MINI").keys() == {
        *("symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
        *("openTime", "closeTime", "firstId", "lastId", "count"),
    }


def test_trades_and_klines_tell_the_same_story(exchange: Exchange) -> None:
    """Bars, aggregates, tickers and trades agree on two minutes."""
    window = {"startTime": ORIGIN_MS - 1000, "endTime": ORIGIN_MS + 130_000}
    bars = exchange.json("klines", symbol="BTCUSDT", interval="1s", **window)
    trades = exchange.json("trades", symbol="BTCUSDT", limit=1000)
    aggregates = exchange.json("aggTrades", symbol="BTCUSDT", limit=1000)
    day = exchange.json("ticker/24hr", symbol="BTCUSDT")

    assert sum(bar[8] for bar in bars) == 1200
    assert [trade["id"] for trade in trades] == list(range(201, 1201))
    assert day["count"] == 1200
    assert day["volume"] == "12.00000000"
    assert trades[-1]["price"] == day["lastPrice"]
    # The growing aggregate is not sent yet.
    assert aggregates[-1]["l"] in (1199, 1200)
    fourth = exchange.json("trades", symbol="BTCUSDT", limit=4)
    assert fourth == trades[-4:]


def test_time_is_the_run_clock_plus_the_skew_of_the_source(exchange: Exchange) -> None:
    """Server time is the run clock plus the source's skew, and continues after its end."""
    first = exchange.json("time")["serverTime"]
    status = exchange.status()

    assert first >= ORIGIN_MS + 120_000
    assert status["now_ms"] >= first


ORDER_CALLS = [
    ("GET", "/api/v3/order"),
    ("POST", "/api/v3/order"),
    ("DELETE", "/api/v3/order"),
    ("POST", "/api/v3/order/test"),
    ("POST", "/api/v3/order/oco"),
    ("GET", "/api/v3/openOrders"),
    ("GET", "/api/v3/allOrders"),
    ("POST", "/api/v3/orderList/oto"),
    ("GET", "/api/v3/account"),
    ("GET", "/api/v3/myTrades"),
    ("POST", "/api/v3/userDataStream"),
    ("POST", "/api/v3/sor/order"),
    ("POST", "/sapi/v1/capital/withdraw/apply"),
    ("GET", "/sapi/v1/account/status"),
    ("GET", "/ws-api/v3"),
    ("PUT", "/api/v3/anything"),
]


@pytest.mark.row("N-57", "N-98", "N-22")
@pytest.mark.parametrize(("method", "path"), ORDER_CALLS)
def test_order_call_is_refused_and_counted(method: str, path: str, exchange: Exchange) -> None:
    """An order or account call is refused and counted."""
    before = exchange.status()["order_calls"]

    response = exchange.session.request(method, exchange.base + path, timeout=DEADLINE_S)

    assert response.status_code == 401
    assert response.json()["code"] == -2015
    assert exchange.status()["order_calls"] == before + 1


def test_last_line_counts_the_order_call_just_before_the_end(tmp_path: Path) -> None:
    """The last line, written as the standard input closes, has the calls since the last report."""
    tape = write_tape(tmp_path / "tape.gz", market(2))
    with Exchange(f"tape:{tape}", speed="50") as exchange:
        method, path = ORDER_CALLS[0]
        exchange.session.request(method, exchange.base + path, timeout=DEADLINE_S)
        stdout, _ = exchange.process.communicate(timeout=DEADLINE_S)

    assert json.loads(stdout.splitlines()[-1])["order_calls"] == 1


@pytest.mark.row("N-57", "N-98")
def test_market_data_calls_are_no_order_calls(tmp_path: Path) -> None:
    """A client that only reads leaves the order count at zero."""
    tape = write_tape(tmp_path / "tape.gz", market(2))
    with Exchange(f"tape:{tape}", speed="50") as exchange:
        for path, (_, query) in FIXTURES.items():
            exchange.json(path, **query)
        take(exchange.stream("btcusdt@trade"), 20)
        assert exchange.process.stdout is not None
        line = json.loads(exchange.process.stdout.readline())

        assert exchange.status()["order_calls"] == 0
    assert line["order_calls"] == 0


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no loopback address but 127.0.0.1")
def test_limits_are_counted_by_address_and_are_those_of_exchange_info(tmp_path: Path) -> None:
    """Limits are counted by address, and exchangeInfo shows the changed ones."""
    tape = write_tape(tmp_path / "tape.gz", market(1))
    with Exchange(f"tape:{tape}", speed="1") as exchange:
        exchange.fault("rates", weight=500, raw_requests=100)
        info = exchange.json("exchangeInfo")
        heavy = [exchange.get("depth", symbol="BTCUSDT", limit=5000) for _ in range(3)]
        other = requests.Session()
        other.mount("http://", FromAddress("127.0.0.2"))
        elsewhere = other.get(f"{exchange.base}/api/v3/ping", timeout=DEADLINE_S)
        plain = [other.get(f"{exchange.base}/api/v3/ping", timeout=DEADLINE_S) for _ in range(100)]
        other.close()

    limits = {item["rateLimitType"]: item["limit"] for item in info["rateLimits"]}
    assert limits["REQUEST_WEIGHT"] == 500
    assert limits["RAW_REQUESTS"] == 100
    assert [answer.status_code for answer in heavy] == [200, 429, 429]
    assert "current limit is 500 request weight" in heavy[1].json()["msg"]
    assert elsewhere.status_code == 200
    assert elsewhere.headers["x-mbx-used-weight"] == "1"
    assert [answer.status_code for answer in plain] == [200] * 99 + [429]
    assert "current limit is 100 requests per 5 MINUTE" in plain[-1].json()["msg"]


def test_ban_grows_with_every_offence() -> None:
    """A ban doubles from two minutes up to three days."""
    limits = AddressLimits()
    bans = []
    pace_ms = 0
    for _ in range(14):
        limits.charge("a", 6001, pace_ms, 0)
        for _ in range(IGNORED_MAX + 1):
            denial = limits.charge("a", 1, pace_ms, 0)
        assert denial is not None
        assert denial.status == 418
        bans.append(denial.retry_after_s)
        assert limits.charge("b", 1, pace_ms, 0) is None
        pace_ms += denial.retry_after_s * 1000 + 60_000

    assert bans[:4] == [120, 240, 480, 960]
    assert bans[-1] == 3 * 86_400


def test_weight_limit_is_enforced_over_http(tmp_path: Path) -> None:
    """Over 6,000 of weight gets 429 with Retry-After, then 418."""
    tape = write_tape(tmp_path / "tape.gz", market(1))
    with Exchange(f"tape:{tape}", speed="1") as exchange:
        statuses = [exchange.get("depth", symbol="BTCUSDT", limit=5000) for _ in range(40)]

    codes = [response.status_code for response in statuses]
    assert codes[:24] == [200] * 24
    assert codes[24] == 429
    assert 1 <= int(statuses[24].headers["Retry-After"]) <= 60
    assert codes[-1] == 418
    assert int(statuses[-1].headers["Retry-After"]) > 60
    assert statuses[-1].json()["code"] == -1003
