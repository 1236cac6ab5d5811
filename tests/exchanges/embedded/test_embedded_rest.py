"""REST calls as a client makes them: shapes, weights, errors, and the count of order calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exchanges.embedded.embedded_exchange import (
    ORIGIN_MS,
    Exchange,
    market,
    take,
    until,
    write_tape,
)

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


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """An exchange that has played two minutes of a small market and stands at its end."""
    tape = write_tape(tmp_path_factory.mktemp("rest") / "tape.gz", market(120))
    with Exchange(f"tape:{tape}", "--start", "now", speed="500") as running:
        until(lambda: bool(running.status()["ended"]), "end of the tape")
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
    """Keys and types are those of the documented example, decimals with eight places."""
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
        ("ticker/24hr", {}, 80),
        ("ticker/price", {"symbol": "BTCUSDT"}, 2),
    ],
)
def test_call_costs_its_documented_weight(
    path: str, query: dict[str, object], weight: int, exchange: Exchange
) -> None:
    """Both headers say what has been used; here against the call before."""

    def used() -> int:
        response = exchange.get("ping")
        assert response.headers["x-mbx-used-weight"] == response.headers["x-mbx-used-weight-1m"]
        return int(response.headers["x-mbx-used-weight-1m"])

    # A minute of market pace is an eighth of a second here: try again when one ended in between.
    def costs() -> bool:
        before = used()
        exchange.json(path, **query)
        return used() - before == weight + 1

    until(costs, f"{path} costs {weight}")


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
        ("exchangeInfo", {"symbol": "NOSUCH"}, -1121),
        ("exchangeInfo", {"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151),
        ("exchangeInfo", {"symbols": "BTCUSDT"}, -1100),
        ("exchangeInfo", {"symbolStatus": "SLEEPING"}, -1122),
        ("ticker/24hr", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
        ("ticker/24hr", {"symbol": "BTCUSDT", "type": "HUGE"}, -1139),
    ],
)
def test_wrong_call_is_400_with_the_venues_code(
    path: str, query: dict[str, object], code: int, exchange: Exchange
) -> None:
    """Code and text in the body, as clients parse them."""
    response = exchange.get(path, **query)

    assert response.status_code == 400
    assert response.json()["code"] == code
    assert response.json()["msg"]


def test_unknown_path_is_404(exchange: Exchange) -> None:
    """Without a body, as for clients that accept no HTML."""
    assert exchange.get("weather").status_code == 404


def test_one_symbol_gives_an_object_and_a_list_gives_a_list(exchange: Exchange) -> None:
    """The venue's rule for all tickers."""
    assert isinstance(exchange.json("ticker/price", symbol="BTCUSDT"), dict)
    assert isinstance(exchange.json("ticker/price", symbols='["BTCUSDT"]'), list)
    assert isinstance(exchange.json("ticker/price"), list)
    assert exchange.json("ticker/24hr", symbol="BTCUSDT", type="MINI").keys() == {
        *("symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
        *("openTime", "closeTime", "firstId", "lastId", "count"),
    }


def test_trades_and_klines_tell_the_same_story(exchange: Exchange) -> None:
    """Bars, aggregates, tickers and trades agree on the two minutes that were played."""
    bars = exchange.json("klines", symbol="BTCUSDT", interval="1s", limit=1000)
    trades = exchange.json("trades", symbol="BTCUSDT", limit=1000)
    aggregates = exchange.json("aggTrades", symbol="BTCUSDT", limit=1000)
    day = exchange.json("ticker/24hr", symbol="BTCUSDT")

    assert sum(bar[8] for bar in bars) == 1200
    assert [trade["id"] for trade in trades] == list(range(201, 1201))
    assert day["count"] == 1200
    assert day["volume"] == "12.00000000"
    assert trades[-1]["price"] == day["lastPrice"]
    # The growing one is not told yet.
    assert aggregates[-1]["l"] in (1199, 1200)
    fourth = exchange.json("trades", symbol="BTCUSDT", limit=4)
    assert fourth == trades[-4:]


def test_time_is_the_run_clock_plus_the_skew_of_the_source(exchange: Exchange) -> None:
    """This tape has no skew; time goes on after its end."""
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
    """Whoever would trade or look into an account is told no, and the count shows it."""
    before = exchange.status()["order_calls"]

    response = exchange.session.request(method, exchange.base + path, timeout=10)

    assert response.status_code == 401
    assert response.json()["code"] == -2015
    assert exchange.status()["order_calls"] == before + 1


@pytest.mark.row("N-57", "N-98")
def test_market_data_calls_are_no_order_calls(tmp_path: Path) -> None:
    """A client that only reads leaves the counter at zero, in the status and on standard output."""
    tape = write_tape(tmp_path / "tape.gz", market(2))
    with Exchange(f"tape:{tape}", speed="50") as exchange:
        for path, (_, query) in FIXTURES.items():
            exchange.json(path, **query)
        take(exchange.stream("btcusdt@trade"), 20)
        assert exchange.process.stdout is not None
        line = json.loads(exchange.process.stdout.readline())

        assert exchange.status()["order_calls"] == 0
    assert line["order_calls"] == 0


def test_weight_limit_is_enforced_over_http(tmp_path: Path) -> None:
    """Over 6,000 in a minute: 429 with Retry-After, then 418 for whoever carries on."""
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
