"""Streams of the simulator: names, wrapping, order, derived streams, pings, limits."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import websocket

from minibot.exchanges.tapes.tape import DEMO_TAPE, Tape
from tests.simulator.embedded_exchange import (
    ORIGIN_MS,
    Exchange,
    Message,
    ask,
    closing_code,
    market,
    messages,
    take,
    texts,
    write_plain_tape,
    write_tape,
)
from tests.simulator.test_simulator_book import Client
from tests.simulator.test_simulator_rest import shape
from tests.waiting import wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """Twenty seconds of a small market."""
    return write_tape(tmp_path / "tape.gz", market(20))


def by_stream(received: list[Message]) -> dict[str, list[Any]]:
    streams: dict[str, list[Any]] = {}
    for message in received:
        streams.setdefault(message["stream"], []).append(message["data"])
    return streams


def read_all(exchange: Exchange, socket: websocket.WebSocket) -> list[Message]:
    """Read everything up to the end of the source, by the status."""
    wait_until(lambda: bool(exchange.status()["ended"]), "end of the source")
    expected = exchange.status()["connections"][0]["sent"]
    return take(socket, expected)


def test_recorded_messages_arrive_whole_in_order_and_byte_for_byte(tape: Path) -> None:
    """Recorded messages arrive whole, in order and byte for byte."""
    with Exchange(f"tape:{tape}", speed="100") as exchange:
        socket = exchange.stream("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms")
        received = list(itertools.islice(texts(socket), 601))

    recorded = [frame.text for frame in Tape(tape).frames() if frame.text is not None]
    assert received == recorded


def test_raw_stream_is_not_wrapped_and_combined_is(tape: Path) -> None:
    """Raw and combined addresses carry the same payload."""
    with Exchange(f"tape:{tape}", speed="2") as exchange:
        raw = exchange.connect("/ws/btcusdt@trade")
        combined = exchange.stream("btcusdt@trade")
        wrapped = take(combined, 5)
        plain = take(raw, wrapped[-1]["data"]["t"])

    assert all(message["stream"] == "btcusdt@trade" for message in wrapped)
    assert [message["data"] for message in wrapped] == plain[-5:]


def test_subscription_by_message_acknowledges_before_its_data(tape: Path) -> None:
    """A subscription is acknowledged before its data, unwrapped."""
    with Exchange(f"tape:{tape}", speed="20") as exchange:
        socket = exchange.connect("/stream")
        assert ask(socket, method="LIST_SUBSCRIPTIONS", id=1) == {"result": [], "id": 1}
        socket.send(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 2}))
        first, second = take(socket, 2)
        ask(socket, method="UNSUBSCRIBE", params=["btcusdt@trade"], id=3)
        sent = exchange.status()["sent"]
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")

        assert exchange.status()["sent"] == sent
    assert first == {"result": None, "id": 2}
    assert second["stream"] == "btcusdt@trade"


def test_unknown_or_upper_case_stream_is_accepted_and_silent(tape: Path) -> None:
    """An unknown or upper-case stream is accepted and silent, as at the venue."""
    with Exchange(f"tape:{tape}", "--start", "now", speed="100") as exchange:
        socket = exchange.connect("/ws")
        reply = ask(socket, method="SUBSCRIBE", params=["BTCUSDT@trade", "nosuch@trade"], id=1)
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")

        assert exchange.status()["sent"] == 0
    assert reply == {"result": None, "id": 1}


def test_microseconds_on_request(tape: Path) -> None:
    """Times are multiplied for microseconds, ids are not."""
    with Exchange(f"tape:{tape}", speed="20") as exchange:
        path = "/stream?streams=btcusdt@trade/btcusdt@bookTicker&timeUnit=MICROSECOND"
        received = by_stream(take(exchange.connect(path), 6))

    trade = received["btcusdt@trade"][0]
    assert (trade["T"], trade["E"], trade["t"]) == ((ORIGIN_MS + 2) * 1000,) * 2 + (1,)
    assert received["btcusdt@bookTicker"][0]["u"] == 102


def test_bar_of_a_stream_closes_with_the_microsecond_that_rest_tells(tape: Path) -> None:
    """A stream's bar closes with the same microsecond as REST's."""
    with Exchange(f"tape:{tape}", speed="20") as exchange:
        stream = exchange.connect("/ws/btcusdt@kline_1m?timeUnit=MICROSECOND")
        bar = take(stream, 1)[0]["k"]
        query = {"symbol": "BTCUSDT", "interval": "1m", "startTime": bar["t"], "limit": 1}
        exchange.session.headers["X-MBX-TIME-UNIT"] = "MICROSECOND"
        row = exchange.json("klines", **query)[0]

    assert (bar["t"], bar["T"]) == (row[0], row[6])


def test_no_frame_is_sent_before_its_time(tape: Path) -> None:
    """No frame is sent before its time."""
    with Exchange(f"tape:{tape}", speed="20") as exchange:
        for number, message in enumerate(
            itertools.islice(messages(exchange.stream("btcusdt@trade")), 200)
        ):
            if number % 10 == 0:
                assert message["data"]["T"] <= exchange.status()["now_ms"]


def test_clock_stands_until_somebody_reads(tape: Path) -> None:
    """The clock stands until a client reads a stream."""
    with Exchange(f"tape:{tape}", speed="100") as exchange:
        times = {exchange.json("time")["serverTime"] for _ in range(5)}
        book = exchange.json("depth", symbol="BTCUSDT")

        assert exchange.status()["is_started"] is False
    assert times == {ORIGIN_MS}
    assert book["lastUpdateId"] == 100


def test_made_streams_agree_with_trades_and_diffs() -> None:
    """Klines, aggregates, slow and partial depth of a real minute equal a recount."""
    names = (
        *("trade", "aggTrade", "kline_1s", "kline_1m", "depth", "depth@100ms"),
        *("depth5", "depth20@100ms", "miniTicker", "bookTicker"),
    )
    # No faster: ten streams are read at once, and a reader five seconds late is disconnected.
    with Exchange("tape:demo", speed="5") as exchange:
        book = exchange.json("depth", symbol="BTCUSDT", limit=5000)
        socket = exchange.stream(*(f"btcusdt@{name}" for name in names))
        end_ms = exchange.ready["origin_ms"] + 55_000
        received = by_stream(
            list(
                itertools.takewhile(
                    lambda message: message["data"].get("E", 0) < end_ms, messages(socket)
                )
            )
        )
        minutes = exchange.json("klines", symbol="BTCUSDT", interval="1m")

    trades = received["btcusdt@trade"]
    closed = [data["k"] for data in received["btcusdt@kline_1s"] if data["k"]["x"]]
    opens = [kline["t"] for kline in closed]
    assert opens == list(range(opens[0], opens[-1] + 1000, 1000))
    for kline in closed:
        inside = [trade for trade in trades if kline["t"] <= trade["T"] <= kline["T"]]
        assert kline["n"] == len(inside)
        if inside:
            assert (kline["o"], kline["c"]) == (inside[0]["p"], inside[-1]["p"])
            assert (kline["f"], kline["L"]) == (inside[0]["t"], inside[-1]["t"])
    minute = next(data["k"] for data in received["btcusdt@kline_1m"] if data["k"]["x"])
    assert [minute["t"], *(minute[key] for key in "ohlcv")] in [bar[:6] for bar in minutes]

    aggregates = received["btcusdt@aggTrade"]
    covered = [n for row in aggregates for n in range(row["f"], row["l"] + 1)]
    assert covered == [trade["t"] for trade in trades][: len(covered)]
    assert len(covered) > len(trades) - 30

    for name in ("depth", "depth@100ms"):
        client = Client(book)
        for event in received[f"btcusdt@{name}"]:
            client.apply(event)
        assert client.identity > book["lastUpdateId"] + 1000
    partial = received["btcusdt@depth20@100ms"]
    assert all(len(body["bids"]) == len(body["asks"]) == 20 for body in partial)
    assert len(partial) > 4 * len(received["btcusdt@depth5"])
    assert received["btcusdt@miniTicker"][-1]["c"] in {trade["p"] for trade in trades}


STREAM_FIXTURES = {
    "trade": "Trades",
    "aggTrade": "AggregatedTrades",
    "bookTicker": "BookTicker",
    "kline_1s": "Klines",
    "depth5@100ms": "PartialBook",
    "miniTicker": "MiniTicker",
    "ticker": "Ticker",
    "ticker_1h": "RollingWindowTicker",
}


def documented(path: Path) -> Message:
    """Return the payload of a documented example."""
    text = path.read_text()
    start = text.index("{", text.index("\n="))
    data: Message = json.JSONDecoder().raw_decode(text[start:])[0]["data"]
    return data


def test_stream_payloads_have_the_documented_fields(tmp_path: Path, shared_data: Path) -> None:
    """Fields and types equal the venue's own examples, nested ones too."""
    folder = shared_data / "message-fixtures" / "binance" / "jkorf-subscriptions"
    wanted = {f"btcusdt@{name}" for name in STREAM_FIXTURES}
    found: dict[str, Any] = {}
    with Exchange(f"tape:{write_tape(tmp_path / 'tape.gz', market(6))}", speed="20") as exchange:
        for message in messages(exchange.stream(*wanted)):
            found.setdefault(message["stream"], message["data"])
            if found.keys() == wanted:
                break

    for name, file in STREAM_FIXTURES.items():
        expected = shape(documented(folder / f"{file}.txt"))
        # Order ids left the trade stream in 2024; the example is older.
        gone = {"b", "a"} if name == "trade" else set()
        assert shape(found[f"btcusdt@{name}"]) == {
            key: value for key, value in expected.items() if key not in gone
        }


@pytest.mark.parametrize("path", ["/stream?streams=bad stream", "/stream?streams=a@b&timeUnit=DAY"])
def test_bad_address_is_refused_at_the_door(path: str, tape: Path) -> None:
    """A malformed name or unit is an HTTP error."""
    with (
        Exchange(f"tape:{tape}") as exchange,
        pytest.raises(websocket.WebSocketBadStatusException) as error,
    ):
        exchange.connect(path.replace(" ", "%20"))

    assert error.value.status_code == 400


def test_ping_carries_a_payload_and_a_copy_of_it_keeps_the_connection(tape: Path) -> None:
    """A client that echoes each ping's payload stays connected."""
    with Exchange(f"tape:{tape}", speed="100") as exchange:
        socket = exchange.connect("/ws")
        payloads: list[bytes] = []
        while len(payloads) < 4:
            opcode, frame = socket.recv_data_frame(True)
            if opcode == websocket.ABNF.OPCODE_PING:
                payloads.append(frame.data)

        wait_until(lambda: exchange.status()["counters"].get("pongs", 0) >= 3, "pongs are counted")
        assert exchange.status()["clients"] == 1
    assert len(set(payloads)) == 4
    assert all(payloads)


def test_sixth_message_of_a_second_is_closed(tape: Path) -> None:
    """Five messages in a second pass; the sixth ends the connection."""
    with Exchange(f"tape:{tape}", speed="0.1") as exchange:
        socket = exchange.connect("/ws")
        for number in range(5):
            assert ask(socket, method="LIST_SUBSCRIPTIONS", id=number)["id"] == number
        socket.send('{"method":"LIST_SUBSCRIPTIONS","id":6}')

        assert closing_code(socket) == 1008


def test_unasked_pings_and_pongs_are_messages_too(tape: Path) -> None:
    """A client's own pings and pongs count as messages."""
    with Exchange(f"tape:{tape}", speed="1") as exchange:
        socket = exchange.connect("/ws")
        socket.ping("mine")
        opcode, frame = socket.recv_data_frame(True)
        for _ in range(5):
            socket.pong("nobody asked")

        assert (opcode, frame.data) == (websocket.ABNF.OPCODE_PONG, b"mine")
        assert closing_code(socket) == 1008


def test_stream_1025_is_refused(tape: Path) -> None:
    """Stream 1,025 on a connection is refused."""
    names = [f"coin{number}@trade" for number in range(1025)]
    with Exchange(f"tape:{tape}", speed="1") as exchange:
        socket = exchange.connect("/ws")
        first = ask(socket, method="SUBSCRIBE", params=names[:1024], id=1)
        second = ask(socket, method="SUBSCRIBE", params=names[1024:], id=2)

    assert first["result"] is None
    assert "error" in second


def test_connection_301_within_five_minutes_is_refused(tape: Path) -> None:
    """Connection 301 from an address within five minutes is refused."""
    with Exchange(f"tape:{tape}", speed="1") as exchange:
        for _ in range(300):
            exchange.connect("/ws").close()
        with pytest.raises(websocket.WebSocketBadStatusException) as error:
            exchange.connect("/ws")

    assert error.value.status_code == 429


def test_connection_lives_a_day_of_market_time(tape: Path) -> None:
    """A connection is closed after a day of market time."""
    with Exchange(f"tape:{tape}", speed="100000") as exchange:
        socket = exchange.connect("/ws")

        assert closing_code(socket) == 1001
        assert ask(exchange.connect("/ws"), method="LIST_SUBSCRIPTIONS", id=1)["result"] == []


def test_client_that_reads_nothing_is_cut_and_others_go_on(tmp_path: Path) -> None:
    """A client that does not read is disconnected; others and the memory are unaffected."""
    padding = {"stream": "btcusdt@bulk", "data": {"e": "bulk", "x": "x" * 60_000}}
    lines = [line for turn in market(100) for line in (turn, (turn[0], padding))]
    # Not packed, because a file that unpacks to a hundred times its size is refused.
    bulk = write_plain_tape(tmp_path / "bulk.jsonl", lines)
    with Exchange(f"tape:{bulk}", speed="40") as exchange:
        # The first reader starts the clock; it must miss nothing.
        diligent = exchange.stream("btcusdt@trade")
        lazy = exchange.stream("btcusdt@bulk")
        # It reads while the other one does not, so that its own pongs are not late.
        trades = take(diligent, 1000)
        # Too many unread bytes or, on a slow machine, unanswered pings.
        wait_until(lambda: bool(exchange.status()["clients"] == 1), "it is cut")
        memory = psutil.Process(exchange.process.pid).memory_info().rss

        with pytest.raises((ConnectionError, websocket.WebSocketException)):
            for _ in texts(lazy):
                pass
    assert [message["data"]["t"] for message in trades] == list(range(1, 1001))
    assert memory < 250e6


def test_end_of_the_source_is_announced_and_streams_fall_silent(tape: Path) -> None:
    """After the end of the source connections stay, and standard output says so."""
    with Exchange(f"tape:{tape}", speed="100") as exchange:
        socket = exchange.stream("btcusdt@trade", "btcusdt@kline_1s")
        assert exchange.process.stdout is not None
        lines: Iterator[Message] = map(json.loads, exchange.process.stdout)
        last = next(line for line in lines if line["ended"])
        sent = exchange.status()["sent"]
        received = take(socket, sent)
        opcode = 0
        while opcode != websocket.ABNF.OPCODE_PING:
            opcode, _ = socket.recv_data_frame(True)
            assert opcode != websocket.ABNF.OPCODE_TEXT

        assert exchange.status()["sent"] == sent
    assert last["sent"] == sent
    assert received[-1]["data"]["E"] >= ORIGIN_MS + 19_000
    assert exchange.ready["end_ms"] == ORIGIN_MS + 19_902


def test_demo_tape_is_in_the_package() -> None:
    """`tape:demo` needs nothing but the installed package."""
    assert DEMO_TAPE.is_file()
