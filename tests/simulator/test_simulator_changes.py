"""Faults that change payloads: added, missing or retyped fields, and new rules."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from tests.simulator.embedded_exchange import (
    Exchange,
    Message,
    ask,
    cleared,
    market,
    messages,
    take,
    write_tape,
)
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.process

BARS = 5


@pytest.fixture(scope="module")
def running() -> Iterator[Exchange]:
    """Synthetic market for as long as the tests need it, with a history of bars."""
    with Exchange("generator:1", "--start", "now", speed="20") as exchange:
        wait_until(lambda: len(bars_of(exchange)) >= BARS, "so many bars of a second")
        yield exchange


def bars_of(exchange: Exchange) -> list[list[Any]]:
    """Return the exchange's bars of a second."""
    rows: list[list[Any]] = exchange.json("klines", symbol="BTCUSDT", interval="1s", limit=BARS)
    return rows


@pytest.fixture
def exchange(running: Exchange) -> Iterator[Exchange]:
    """Running exchange without faults and connections."""
    yield from cleared(running)


@pytest.mark.row("C-101")
def test_field_is_added_removed_and_retyped_on_an_endpoint(exchange: Exchange) -> None:
    """The given number of an endpoint's answers is changed, and the venue itself stays."""
    symbol = {"symbol": "BTCUSDT"}
    right = exchange.json("ticker/bookTicker", **symbol)
    exchange.fault("field_added", endpoint="ticker/bookTicker", field="mood", value={"is": 1})
    added = exchange.json("ticker/bookTicker", **symbol)
    exchange.fault("field_removed", endpoint="ticker/bookTicker", field="askQty", n=2)
    removed = [exchange.json("ticker/bookTicker", **symbol) for _ in range(3)]
    exchange.fault("field_retyped", endpoint="ticker/bookTicker", field="bidPrice")
    retyped = exchange.json("ticker/bookTicker", **symbol)

    assert added["mood"] == {"is": 1}
    assert added.keys() - {"mood"} == right.keys()
    assert ["askQty" in answer for answer in removed] == [False, False, True]
    assert type(retyped["bidPrice"]) in (int, float)
    assert type(exchange.json("ticker/bookTicker", **symbol)["bidPrice"]) is str


@pytest.mark.parametrize(
    ("endpoint", "place", "query"),
    [("klines", 0, {"interval": "1s"}), ("ticker/tradingDay", "closeTime", {})],
)
def test_field_of_an_answer_in_microseconds_is_retyped_and_removed(
    endpoint: str, place: Any, query: dict[str, str], exchange: Exchange
) -> None:
    """A changed time of an answer in microseconds stays as it was changed."""

    def asked() -> Any:
        answer = exchange.session.get(
            f"{exchange.base}/api/v3/{endpoint}",
            params={"symbol": "BTCUSDT", **query},
            headers={"X-MBX-TIME-UNIT": "MICROSECOND"},
            timeout=DEADLINE_S,
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return body[0] if isinstance(body, list) else body

    right = asked()
    exchange.fault("field_retyped", endpoint=endpoint, field=str(place))
    retyped = asked()
    exchange.fault("field_removed", endpoint=endpoint, field=str(place))
    removed = asked()

    assert type(right[place]) is int
    assert retyped[place].isdigit()
    assert len(retyped[place]) == len(str(right[place]))
    assert len(removed) == len(right) - 1


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("string", "12"),
        ("integer", 12),
        ("boolean", True),
        ("null", None),
        ("object", {"value": 12}),
        ("list", [12]),
    ],
)
def test_field_takes_the_type_that_is_asked_for(
    to: str, expected: object, exchange: Exchange
) -> None:
    """An inner field takes the requested type, in lists too; a number selects a place of a row."""
    exchange.fault("field_added", endpoint="exchangeInfo", field="symbols.filters.age", value=12)
    exchange.fault("field_retyped", endpoint="exchangeInfo", field="symbols.filters.age", to=to)
    exchange.fault("field_retyped", endpoint="klines", field="8", to="string")
    filters = exchange.json("exchangeInfo")["symbols"][0]["filters"]
    rows = bars_of(exchange)

    assert [item["age"] for item in filters] == [expected] * len(filters)
    assert [type(row[8]) for row in rows] == [str] * BARS


@pytest.mark.row("C-101")
@pytest.mark.parametrize(
    ("stream", "field"),
    [
        ("trade", "p"),
        ("aggTrade", "q"),
        ("bookTicker", "u"),
        ("depth", "U"),
        ("kline", "k.x"),
        ("miniTicker", "c"),
        ("ticker", "w"),
        ("avgPrice", "w"),
        ("depth5", "bids"),
        ("btcusdt@trade", "t"),
    ],
)
def test_field_goes_missing_on_a_stream(stream: str, field: str, exchange: Exchange) -> None:
    """A field is missing on every kind of stream, by kind or by full name."""
    kind = {"kline": "kline_1s", "depth": "depth@100ms"}.get(stream, stream)
    name = kind if "@" in kind[1:] and kind.startswith("btc") else f"btcusdt@{kind}"
    socket = exchange.stream(name)
    exchange.fault("field_removed", stream=stream, field=field, n=2)
    *way, last = field.split(".")
    missing = 0
    for message in messages(socket):
        data: Any = message["data"]
        for step in way:
            data = data[step]
        if last in data:
            if missing:
                break
        else:
            missing += 1

    assert missing == 2


def test_raw_readers_get_the_changed_payload_too(exchange: Exchange) -> None:
    """Raw and wrapped readers get the changed payload."""
    socket = exchange.connect("/ws/btcusdt@bookTicker")
    exchange.fault("field_added", stream="bookTicker", n=3)

    wait_until(
        lambda: take(socket, 1)[0].get("zz") == {"new": [1, "2"]}, "the field that nobody knows"
    )


@pytest.mark.row("C-101")
def test_bar_is_never_closed(exchange: Exchange) -> None:
    """The closing kline message is left out twice; the next bars close as usual."""
    socket = exchange.stream("btcusdt@kline_1s")
    closes = (item["data"]["k"]["t"] for item in messages(socket) if item["data"]["k"]["x"])
    closed = [next(closes)]  # Only beside a former close is a missing one seen.
    exchange.fault("kline_unclosed", n=2)
    until_ms = exchange.status()["now_ms"] + 10_000  # The hole lies before it.
    while closed[-1] < until_ms:
        closed.append(next(closes))
    steps = Counter(later - former for former, later in pairwise(closed))

    assert steps == {1_000: len(closed) - 2, 3_000: 1}


def test_one_stream_falls_silent_and_the_others_go_on(exchange: Exchange) -> None:
    """One silent stream returns after its time, while the others continue."""
    socket = exchange.stream("btcusdt@trade", "btcusdt@bookTicker")
    take(socket, 5)
    before = exchange.status()["now_ms"]
    exchange.fault("stream_silent", stream="trade", ms=10_000)
    quotes = 0
    for message in messages(socket):
        if message["stream"] == "btcusdt@trade" and message["data"]["T"] > before + 9_000:
            break
        quotes += message["stream"] == "btcusdt@bookTicker"

    assert quotes > 50


def test_pings_are_left_out_for_a_while(exchange: Exchange) -> None:
    """Pings are left out for a while; the first one follows at once after it."""
    began_ms = exchange.status()["now_ms"]
    exchange.fault("no_ping", ms=60_000)
    socket = exchange.stream("btcusdt@trade")
    while socket.recv_data_frame(True)[0] != websocket.ABNF.OPCODE_PING:
        pass

    assert exchange.status()["now_ms"] - began_ms >= 60_000


@pytest.mark.parametrize(("kind", "is_nested"), [("flat", False), ("nested", True)])
def test_errors_take_the_shape_that_is_asked_for(
    kind: str, is_nested: bool, exchange: Exchange
) -> None:
    """Errors take either of the two forms seen on the wire."""
    exchange.fault("control_errors", kind=kind)
    socket = exchange.connect("/ws")
    bad_stream = ask(socket, method="SUBSCRIBE", params=["no stream"], id=1)
    bad_property = ask(socket, method="GET_PROPERTY", params=["colour"], id=2)

    assert ["error" in reply for reply in (bad_stream, bad_property)] == [is_nested] * 2
    assert ["code" in reply for reply in (bad_stream, bad_property)] == [not is_nested] * 2


def test_wrong_fault_of_a_field_is_refused_in_words(exchange: Exchange) -> None:
    """A malformed fault of a field is refused with the expected form."""
    for fields, word in (
        ({"name": "field_removed", "endpoint": "depth"}, "field"),
        ({"name": "field_removed", "field": "bids"}, "endpoint or stream"),
        ({"name": "field_retyped", "endpoint": "depth", "field": "bids", "to": "float"}, "string"),
        ({"name": "field_retyped", "endpoint": 7, "field": "bids"}, "text"),
        ({"name": "stall", "ms": "long"}, "integer"),
    ):
        answer = requests.post(f"{exchange.base}/minibot/fault", json=fields, timeout=DEADLINE_S)

        assert answer.status_code == 400
        assert word in answer.json()["error"]


def test_answers_that_are_no_json_or_lead_elsewhere(exchange: Exchange) -> None:
    """An answer is not JSON or a redirect, on one endpoint if one is named."""
    exchange.fault("bad_json", endpoint="depth")
    exchange.fault("redirect", endpoint="klines", to="https://elsewhere.invalid/")
    fine = exchange.get("time")
    torn = exchange.get("depth", symbol="BTCUSDT")
    url = f"{exchange.base}/api/v3/klines"
    away = exchange.session.get(url, allow_redirects=False, timeout=DEADLINE_S)

    assert fine.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        torn.json()
    assert away.status_code == 302
    assert away.headers["Location"] == "https://elsewhere.invalid/"


@pytest.mark.row("C-101")
def test_event_states_a_time_long_past(exchange: Exchange) -> None:
    """An event received now states a time a minute ago."""
    socket = exchange.stream("btcusdt@trade")
    exchange.fault("late_event", n=20, shift_ms=-3_600_000)
    until_ms = exchange.status()["now_ms"] + 10_000
    times: list[int] = []
    while not times or times[-1] < until_ms:
        times.append(take(socket, 1)[0]["data"]["T"])

    assert min(times) < max(times) - 3_000_000
    assert times[-1] == max(times)


def test_rules_and_statuses_change_and_clear_brings_them_back(exchange: Exchange) -> None:
    """Changed rules and statuses appear in exchangeInfo until the fault is cleared."""

    def info() -> Message:
        found: Message = exchange.json("exchangeInfo")["symbols"][0]
        return found

    def lot() -> Message:
        return next(item for item in info()["filters"] if item["filterType"] == "LOT_SIZE")

    first = lot()
    exchange.fault(
        "filter", symbol="BTCUSDT", filter="LOT_SIZE", field="stepSize", value="0.01000000"
    )
    changed = lot()
    statuses = []
    for status in ("BREAK", "HALT", "CANCEL_ONLY", "END_OF_DAY", "TRADING"):
        exchange.fault("symbol_break", symbol="BTCUSDT", status=status)
        statuses.append(info()["status"])
    exchange.fault("delist", symbol="BTCUSDT")
    gone = exchange.get("klines", symbol="BTCUSDT", interval="1m")
    listed = exchange.json("exchangeInfo")["symbols"]
    exchange.fault("clear")

    assert changed == first | {"stepSize": "0.01000000"}
    assert statuses == ["BREAK", "HALT", "CANCEL_ONLY", "END_OF_DAY", "TRADING"]
    assert gone.json()["code"] == -1121
    assert listed == []
    assert lot() == first
    assert exchange.get("klines", symbol="BTCUSDT", interval="1m").status_code == 200


def test_changed_count_and_yes_or_no_have_the_types_of_the_venue(exchange: Exchange) -> None:
    """The venue writes counts as numbers; as text, no client could read the rules any more."""
    for name, field, text in (
        ("MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders", "2"),
        ("NOTIONAL", "applyMinToMarket", "false"),
    ):
        exchange.fault("filter", symbol="BTCUSDT", filter=name, field=field, value=text)

    filters = exchange.json("exchangeInfo")["symbols"][0]["filters"]
    found = {item["filterType"]: item for item in filters}
    assert found["MAX_NUM_ALGO_ORDERS"]["maxNumAlgoOrders"] == 2
    assert found["NOTIONAL"]["applyMinToMarket"] is False


def test_script_may_say_after_how_many_seconds(tmp_path: Path) -> None:
    """A script gives seconds of market time from the origin, in one way only."""
    tape = write_tape(tmp_path / "tape.gz", market(8))
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"after_s": 3.5, "name": "gap"}]))
    with Exchange(f"tape:{tape}", "--faults", str(script), speed="200") as exchange:
        socket = exchange.stream("btcusdt@depth@100ms")
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")
        updates = [item["data"]["U"] for item in take(socket, exchange.status()["sent"])]
    script.write_text(json.dumps([{"after_s": 3.5, "at_ms": 1, "name": "gap"}]))
    refused = Exchange(f"tape:{tape}", "--faults", str(script))
    _, stderr = refused.process.communicate()

    assert set(range(101, 182)) - set(updates) == {137}
    assert refused.process.returncode == 4
    assert "after_s" in stderr
