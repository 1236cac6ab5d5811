"""Scripted and injected faults: visible to clients, with a correct venue behind them."""

from __future__ import annotations

import json
import socket as sockets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
import websocket

from minibot.exchanges.tapes.frames import BOOK_TICKER, Frame
from minibot.simulator.faults.faults import FRAME_FAULTS, Faults, FrameFault
from minibot.simulator.faults.garbage import GARBAGE
from minibot.simulator.faults.payload_faults import change_of
from tests.simulator.embedded_exchange import (
    ORIGIN_MS,
    Exchange,
    Message,
    ask,
    cleared,
    closing_code,
    market,
    messages,
    take,
    write_tape,
)
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]

ALL = ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms")


@pytest.fixture(scope="module")
def running() -> Iterator[Exchange]:
    """Synthetic market for as long as the tests need it."""
    with Exchange("generator:1", "--start", "now", speed="60") as exchange:
        yield exchange


@pytest.fixture
def exchange(running: Exchange) -> Iterator[Exchange]:
    """Running exchange without faults and connections."""
    yield from cleared(running)


@pytest.mark.row("C-101")
def test_drop_resets_every_connection_and_new_ones_work(exchange: Exchange) -> None:
    """`drop` resets every connection without a close frame; new ones work."""
    socket = exchange.stream(*ALL)
    take(socket, 3)
    exchange.fault("drop")

    with pytest.raises((ConnectionResetError, websocket.WebSocketConnectionClosedException)):
        for _ in messages(socket):
            pass
    assert take(exchange.stream(*ALL), 3)


@pytest.mark.row("C-101")
def test_stall_is_silent_but_pings_go_on_and_data_is_lost(exchange: Exchange) -> None:
    """`stall` keeps pings and loses data, like a half-open connection at the venue."""
    socket = exchange.stream("btcusdt@trade")
    before = take(socket, 1)[0]["data"]["t"]
    exchange.fault("stall", ms=60_000)
    last, pings, jump = before, 0, 0
    stalled_ms = exchange.status()["now_ms"]
    while jump <= 100:
        opcode, frame = socket.recv_data_frame(True)
        if opcode == websocket.ABNF.OPCODE_PING:
            pings += 1
        elif opcode == websocket.ABNF.OPCODE_TEXT:
            data = json.loads(frame.data)["data"]
            jump, last = data["t"] - last, data["t"]
            assert data["E"] < stalled_ms + 120_000, "nothing was lost"
            if jump <= 100:
                pings = 0  # Before the stall.

    assert pings > 0


def test_burst_holds_all_back_and_sends_it_at_once(exchange: Exchange) -> None:
    """`burst` holds all messages back and then sends them at once, in order."""
    socket = exchange.stream("btcusdt@trade")
    before = take(socket, 1)[0]["data"]["t"]
    called_ms = exchange.status()["now_ms"]
    exchange.fault("burst", ms=60_000)
    held_ms = exchange.status()["now_ms"]
    ids = []
    for message in messages(socket):
        ids.append(message["data"]["t"])
        if message["data"]["E"] > held_ms:
            break

    assert exchange.status()["now_ms"] >= called_ms + 60_000
    assert ids == list(range(before + 1, before + 1 + len(ids)))


def test_flood_sends_one_message_so_often(exchange: Exchange) -> None:
    """`flood` repeats one message's bytes; then the market continues."""
    socket = exchange.stream(*ALL)
    take(socket, 1)
    exchange.fault("flood", n=2, factor=500)
    counts: Counter[str] = Counter()
    singles = 0
    for message in messages(socket):
        text = json.dumps(message)
        counts[text] += 1
        singles = 0 if counts[text] > 1 else singles + 1
        if singles > 500 and max(counts.values()) > 1:
            break

    assert sorted(count for count in counts.values() if count > 1) == [500, 500]


@pytest.mark.row("C-101")
def test_429_and_418_say_how_long_to_wait(exchange: Exchange) -> None:
    """429 and 418 have Retry-After in seconds of market time, and the venue's body."""
    exchange.fault("429", retry_after=1_000)
    limited = exchange.get("ping")
    exchange.fault("418", ban_ms=9_000_000)
    banned = exchange.get("ping")
    exchange.fault("clear")

    assert limited.status_code == 429
    assert 100 <= int(limited.headers["Retry-After"]) <= 1_000
    assert banned.status_code == 418
    assert 8_000 <= int(banned.headers["Retry-After"]) <= 9_000
    assert "IP banned until " in banned.json()["msg"]
    assert banned.json()["code"] == -1003
    assert exchange.get("ping").status_code == 200


@pytest.mark.row("C-101")
def test_429_passes_after_its_time(exchange: Exchange) -> None:
    """A 429 passes after its time."""
    exchange.fault("429", retry_after=60)

    assert exchange.get("ping").status_code == 429
    # Waits without a request, because further requests cause a ban.
    start_ms = exchange.status()["now_ms"]
    wait_until(lambda: bool(exchange.status()["now_ms"] > start_ms + 60_500), "the wait is over")
    assert exchange.get("ping").status_code == 200


@pytest.mark.row("C-101")
@pytest.mark.parametrize(
    ("name", "fields", "status", "kind"),
    [
        ("5xx", {}, 503, "application/json"),
        ("5xx", {"status": 500, "n": 2}, 500, "application/json"),
        ("html403", {}, 403, "text/html"),
        ("geo451", {}, 451, "application/json"),
    ],
)
def test_wrong_answer_comes_so_often_and_then_the_right_one(
    name: str, fields: dict[str, Any], status: int, kind: str, exchange: Exchange
) -> None:
    """A wrong answer comes a given number of times, then the right one."""
    exchange.fault(name, **fields)
    count = fields.get("n", 1)
    answers = [exchange.get("time") for _ in range(count + 1)]

    assert [answer.status_code for answer in answers] == [status] * count + [200]
    assert answers[0].headers["content-type"].startswith(kind)
    if name == "geo451":
        assert answers[0].json()["code"] == 0


@pytest.mark.row("C-101")
def test_5xx_for_a_while_ends_by_itself(exchange: Exchange) -> None:
    """5xx ends after its market time."""
    exchange.fault("5xx", ms=60_000)

    assert exchange.get("time").status_code == 503
    wait_until(lambda: exchange.get("time").status_code == 200, "it passes")


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_reaches_the_client_as_it_is(kind: str, exchange: Exchange) -> None:
    """Garbage reaches the client unchanged between good frames."""
    socket = exchange.stream("btcusdt@trade")
    take(socket, 1)
    exchange.fault("garbage", kind=kind, n=2)

    def read_on() -> None:
        for message in messages(socket):
            assert message["data"]["t"]

    broken = (ValueError, KeyError, TypeError, RecursionError, websocket.WebSocketException)
    with pytest.raises(broken):
        read_on()


@pytest.mark.row("C-101")
def test_shutdown_is_announced_and_then_closes_the_old_connections_alone(
    exchange: Exchange,
) -> None:
    """`shutdown` is announced without subscription and closes the old connections alone."""
    old = exchange.stream("btcusdt@trade")
    raw = exchange.connect("/ws/btcusdt@trade")
    micros = exchange.connect("/ws/btcusdt@trade?timeUnit=MICROSECOND")
    exchange.fault("shutdown", lead_ms=4_000)
    event = next(item for item in messages(old) if item["stream"] == "!serverShutdown")
    plain = next(item for item in messages(raw) if item["e"] == "serverShutdown")
    finer = next(item for item in messages(micros) if item["e"] == "serverShutdown")
    new = exchange.stream("btcusdt@trade")

    assert event["data"]["e"] == "serverShutdown"
    assert plain["E"] == event["data"]["E"]
    assert finer["E"] == plain["E"] * 1000
    assert closing_code(old) == closing_code(raw) == 1001
    assert take(new, 5)
    assert exchange.status()["clients"] == 1


@pytest.mark.parametrize(("name", "code"), [("disconnect_24h", 1001), ("close_1008", 1008)])
def test_disconnect_closes_with_its_code(name: str, code: int, exchange: Exchange) -> None:
    """`disconnect` closes every connection with a close frame and its code."""
    socket = exchange.stream("btcusdt@trade")
    exchange.fault(name)

    assert closing_code(socket) == code


@pytest.mark.row("C-101")
def test_unreachable_refuses_connections_and_comes_back_on_its_port(exchange: Exchange) -> None:
    """`unreachable` refuses REST and streams, and then returns on its port."""
    socket = exchange.stream("btcusdt@trade")
    before = take(socket, 1)[0]["data"]["t"]
    # Four seconds of the machine: the three refusals come before its end.
    exchange.fault("unreachable", ms=240_000)

    with pytest.raises((OSError, websocket.WebSocketException)):
        for _ in messages(socket):
            pass
    with pytest.raises(requests.ConnectionError):
        exchange.get("ping")
    with pytest.raises(OSError, match="refused"):
        exchange.connect("/ws")

    def is_back() -> bool:
        try:
            return exchange.get("ping").status_code == 200
        except requests.ConnectionError:
            return False

    wait_until(is_back, "it is reachable again")
    # The market continued meanwhile.
    assert take(exchange.stream("btcusdt@trade"), 1)[0]["data"]["t"] > before + 50


def test_an_exchange_comes_back_though_its_port_was_taken_meanwhile() -> None:
    """Another program on the port at the end of `unreachable` delays the return, and is told of."""
    exchange = Exchange("generator:1", "--start", "now", speed="60")
    process = exchange.process
    assert process.stdin is not None
    assert process.stderr is not None
    told: list[str] = []
    reader = Thread(target=told.extend, args=(process.stderr,), daemon=True)
    reader.start()

    def is_reachable() -> bool:
        try:
            return exchange.get("ping").status_code == 200
        except requests.ConnectionError:
            return False

    try:
        exchange.fault("unreachable", ms=240_000)
        wait_until(lambda: not is_reachable(), "it is unreachable")
        with sockets.socket() as other:
            other.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", exchange.ready["port"]))
            other.listen()
            wait_until(lambda: told, "it tells that the port is taken")
        wait_until(is_reachable, "it is reachable again")
    finally:
        exchange.session.close()
        process.stdin.close()
        process.wait(DEADLINE_S)
        reader.join(DEADLINE_S)
    (line,) = told
    assert line.count("not reachable again yet") == 1


def test_slow_answers_late_and_right(exchange: Exchange) -> None:
    """`slow` answers late and right."""
    exchange.fault("slow", delay_ms=2_000, ms=60_000)
    first = exchange.status()["now_ms"]
    assert exchange.get("ping").status_code == 200

    assert exchange.status()["now_ms"] - first >= 2_000


def test_clock_skew_shifts_the_time_alone(exchange: Exchange) -> None:
    """`clock_skew` shifts the time for its duration alone."""

    def ahead_ms() -> int:
        return int(exchange.json("time")["serverTime"] - exchange.status()["now_ms"])

    exchange.fault("clock_skew", skew_ms=90_000_000, ms=60_000)

    assert 80_000_000 < ahead_ms() <= 90_000_000
    wait_until(lambda: ahead_ms() < 9_000_000, "the clock is right again")


def test_symbol_in_break_is_listed_so_and_silent() -> None:
    """A symbol in a break has that status and is silent; the other one trades on."""
    with Exchange("generator:1:BTCUSDT,ETHUSDT", "--start", "now", speed="20") as exchange:
        exchange.fault("symbol_break", symbol="ETHUSDT")
        infos = {info["symbol"]: info for info in exchange.json("exchangeInfo")["symbols"]}
        resting = exchange.json("exchangeInfo", symbolStatus="BREAK")["symbols"]
        kinds = ("trade", "aggTrade", "kline_1s", "ticker", "depth5@100ms", "depth@1000ms")
        names = [f"ethusdt@{kind}" for kind in kinds]
        socket = exchange.stream(*names, "!miniTicker@arr", "btcusdt@trade")
        silent = take(socket, 60)
        exchange.fault("symbol_break", symbol="ETHUSDT", status="TRADING")
        missing = set(names)
        for message in messages(socket):
            missing.discard(message["stream"])
            if not missing:  # Every stream goes on.
                break

    assert infos["ETHUSDT"]["status"] == "BREAK"
    assert infos["BTCUSDT"]["status"] == "TRADING"
    assert [info["symbol"] for info in resting] == ["ETHUSDT"]
    assert {message["stream"] for message in silent} == {"btcusdt@trade", "!miniTicker@arr"}
    rows = [message["data"] for message in silent if message["stream"] == "!miniTicker@arr"]
    assert {row["s"] for answer in rows for row in answer} == {"BTCUSDT"}


def changed(tmp_path: Path, name: str, **fields: object) -> dict[str, list[Message]]:
    """Play a small market with one fault at its third second; return the payloads."""
    tape = write_tape(tmp_path / "tape.gz", market(8))
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"at_ms": 3_000, "name": name, **fields}]))
    with Exchange(f"tape:{tape}", "--faults", str(script), speed="200") as exchange:
        socket = exchange.stream(*ALL)
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")
        status = exchange.status()
        received = take(socket, status["sent"])
        book = exchange.json("depth", symbol="BTCUSDT")
        bars = exchange.json("klines", symbol="BTCUSDT", interval="1s")

    assert status["counters"][f"fault_{name}"] == 1
    # The venue itself stays right, whatever was sent.
    assert book["lastUpdateId"] == 181
    assert float(book["bids"][0][0]) < float(book["asks"][0][0])
    assert sum(bar[8] for bar in bars) == 80
    assert all(99 < float(bar[3]) <= float(bar[2]) < 101 for bar in bars)
    payloads: dict[str, list[Message]] = {stream: [] for stream in ALL}
    for message in received:
        payloads[message["stream"]].append(message["data"])
    return payloads


@pytest.mark.row("C-101")
def test_gap_skips_diffs_at_the_scripted_moment(tmp_path: Path) -> None:
    """`gap` makes `U` jump at its moment; everything else is complete."""
    payloads = changed(tmp_path, "gap", n=2)
    updates = [data["U"] for data in payloads["btcusdt@depth@100ms"]]

    missing = sorted(set(range(101, 182)) - set(updates))
    assert len(missing) == 2
    assert missing[1] == missing[0] + 1
    assert missing[0] == 132
    assert len(payloads["btcusdt@trade"]) == 80


def test_trades_are_missing_or_doubled(tmp_path: Path) -> None:
    """Trades are missing or repeated, by their ids."""
    missing = [data["t"] for data in changed(tmp_path, "missing_trades", n=3)["btcusdt@trade"]]
    doubled = [data["t"] for data in changed(tmp_path, "duplicate_trades", n=3)["btcusdt@trade"]]

    assert len(missing) == len(set(missing)) == 77
    assert len(doubled) == 83
    assert set(doubled) == set(range(1, 81))


def test_repeated_diff_comes_twice(tmp_path: Path) -> None:
    """A repeated diff has the same update ids."""
    updates = [data["u"] for data in changed(tmp_path, "repeated_diff")["btcusdt@depth@100ms"]]

    assert len(updates) == len(set(updates)) + 1


def test_stale_diff_lies_behind_every_book(tmp_path: Path) -> None:
    """A stale diff, older than the book, comes beside the right ones."""
    diffs = changed(tmp_path, "stale_diff", n=2)["btcusdt@depth@100ms"]
    stale = [data for data in diffs if data["u"] < 101]

    assert len(stale) == 2
    assert {data["U"] for data in diffs} >= set(range(101, 182))


@pytest.mark.parametrize(
    ("name", "stream", "key"),
    [
        ("zero_price", "btcusdt@trade", "p"),
        ("zero_quote", "btcusdt@bookTicker", "b"),
    ],
)
def test_zero_price_is_sent_so_often(name: str, stream: str, key: str, tmp_path: Path) -> None:
    """A zero price is sent a given number of times."""
    values = [float(data[key]) for data in changed(tmp_path, name, n=2)[stream]]

    assert values.count(0.0) == 2


def test_outlier_is_a_multiple_of_the_price(tmp_path: Path) -> None:
    """An outlier is a thousand times the price, or as requested."""
    prices = [float(d["p"]) for d in changed(tmp_path, "outlier_price", factor=50)["btcusdt@trade"]]
    quotes = [float(d["a"]) for d in changed(tmp_path, "outlier_quote")["btcusdt@bookTicker"]]

    assert 4_900 < max(prices) < 5_100
    assert sorted(prices)[-2] < 101
    assert 99_000 < max(quotes) < 101_000


def test_crossed_book_in_quotes_and_in_depth(tmp_path: Path) -> None:
    """A crossed book appears in a quote once, and in depth until the client resyncs."""
    quotes = changed(tmp_path, "crossed_book", n=2)["btcusdt@bookTicker"]
    diffs = changed(tmp_path, "crossed_depth")["btcusdt@depth@100ms"]

    assert sum(float(data["b"]) > float(data["a"]) for data in quotes) == 2
    assert sum(any(float(bid) > 150 for bid, _ in data["b"]) for data in diffs) == 1


def test_unknown_things_arrive_beside_the_known(tmp_path: Path) -> None:
    """Unknown fields, events and levels, and missing fields, appear beside known ones."""
    fields = changed(tmp_path, "unknown_field", n=5)
    events = changed(tmp_path, "unknown_event", n=5)
    gone = changed(tmp_path, "missing_field", n=5)["btcusdt@trade"]
    strays = changed(tmp_path, "stray_removal", n=1)["btcusdt@depth@100ms"]

    assert sum("zz" in data for stream in ALL for data in fields[stream]) == 5
    names = [data.get("e") for stream in ALL for data in events[stream]]
    assert names.count("somethingNew") == 5
    assert names.count("trade") == 80
    assert sum("M" not in data for data in gone) == 5
    assert sum(["0.00000001", "0.00000000"] in data["b"] for data in strays) == 1


QUOTE_FAULTS = (
    *("flood", "zero_quote", "outlier_quote", "crossed_book", "unknown_field", "unknown_event"),
)
GOOD_QUOTE = b'{"u":1,"s":"BTCUSDT","b":"9.00","B":"1.00","a":"10.00","A":"1.00"}'


@pytest.mark.parametrize("name", QUOTE_FAULTS)
def test_frame_fault_passes_over_a_broken_recorded_message(name: str) -> None:
    """A broken quote goes out as recorded, and the fault changes the next one."""
    faults = Faults(lambda: 0)
    faults.frame_faults.append(FrameFault(name, left=1, factor=2))
    broken, good = (
        Frame(1, "BTCUSDT", BOOK_TICKER, "btcusdt@bookTicker", data)
        for data in (b'{"u":}', GOOD_QUOTE)
    )

    assert faults.on_frame(broken, None) == [broken]
    assert faults.on_frame(good, None) != [good]
    assert faults.on_frame(good, None) == [good]


@pytest.mark.parametrize("data", [b"[]", b"7", b"{}", b'{"b":5,"a":5}', b'{"b":[],"a":{}}'])
@pytest.mark.parametrize("name", ["zero_quote", "outlier_quote", "crossed_book", "unknown_field"])
def test_frame_fault_survives_a_message_of_another_form(name: str, data: bytes) -> None:
    """A quote that is JSON of another form is sent, changed or as recorded."""
    faults = Faults(lambda: 0)
    faults.frame_faults.append(FrameFault(name, left=1, factor=2))

    (sent,) = faults.on_frame(Frame(1, "BTCUSDT", BOOK_TICKER, "btcusdt@bookTicker", data), None)

    assert sent.stream == "btcusdt@bookTicker"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("field_added", {}),
        ("field_removed", {"field": "b"}),
        ("field_retyped", {"field": "b", "to": "integer"}),
        ("kline_unclosed", {}),
    ],
)
@pytest.mark.parametrize("data", [b'{"u":}', b"[7]", b"7", b'{"k":5}', b'{"b":"inf"}'])
def test_payload_fault_survives_a_broken_recorded_message(
    kind: str, fields: dict[str, Any], data: bytes
) -> None:
    """A broken payload is sent; one that is no JSON as recorded, and the fault stays in force."""
    faults = Faults(lambda: 0)
    change = change_of(kind, {"stream": "*", **fields}, left=1, until_ms=1)
    faults.changes.add(change)

    sent = faults.on_payload("btcusdt@bookTicker", data)

    assert sent is not None
    if data == b'{"u":}':
        assert (sent, change.left) == (data, 1)


def test_old_snapshot_lies_before_any_buffer(exchange: Exchange) -> None:
    """An old snapshot precedes any buffer once; the next one is right."""
    exchange.fault("old_snapshot", n=1)
    old, right = (exchange.json("depth", symbol="BTCUSDT")["lastUpdateId"] for _ in range(2))

    assert right - old > 900_000


def test_every_fault_is_named_and_unknown_ones_are_refused(
    exchange: Exchange, tmp_path: Path
) -> None:
    """An unknown fault is refused with the list of known ones."""
    names = exchange.status()["faults"]
    answer = requests.post(
        f"{exchange.base}/minibot/fault", json={"name": "earthquake"}, timeout=DEADLINE_S
    )
    wrong = requests.post(
        f"{exchange.base}/minibot/fault", json={"name": "stall", "ms": "long"}, timeout=DEADLINE_S
    )
    page = requests.post(
        f"{exchange.base}/minibot/fault",
        json={"name": "drop"},
        headers={"Origin": "http://evil.example"},
        timeout=DEADLINE_S,
    )
    script = tmp_path / "faults.json"
    script.write_text('[{"at_ms": 0, "name": "earthquake"}]')
    refused = Exchange("generator:1", "--faults", str(script))
    _, stderr = refused.process.communicate()

    assert set(FRAME_FAULTS) <= set(names)
    assert answer.status_code == wrong.status_code == 400
    assert "stall" in answer.json()["error"]
    assert page.status_code == 403
    assert refused.process.returncode == 4
    assert "earthquake" in stderr


@pytest.mark.parametrize(
    "text",
    [
        *("nothing", "{}", '[{"name": "drop"}]', "[7]"),
        '[{"name": "drop", "after_s": 1e306}]',
    ],
)
def test_bad_script_is_refused_by_name(text: str, tmp_path: Path) -> None:
    """A bad script is refused by name: no JSON, no list, no time or none at all, no objects."""
    script = tmp_path / "faults.json"
    script.write_text(text)
    refused = Exchange("generator:1", "--faults", str(script))
    _, stderr = refused.process.communicate()

    assert refused.process.returncode == 4
    assert "faults.json" in stderr


def test_script_goes_on_after_the_end_of_the_source(tmp_path: Path) -> None:
    """A fault that is due after the last message of the source comes nevertheless."""
    tape = write_tape(tmp_path / "tape.gz", market(1))
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"at_ms": 2_000, "name": "close_1008"}]))
    with Exchange(f"tape:{tape}", "--faults", str(script), speed="20") as exchange:
        assert closing_code(exchange.stream("btcusdt@trade")) == 1008
        assert exchange.process.poll() is None


def test_faults_leave_the_next_connection_alone(exchange: Exchange) -> None:
    """After many faults the next connection works."""
    for name in ("drop", "disconnect_24h", "garbage", "close_1008", "shutdown"):
        exchange.fault(name)
    socket = exchange.stream(*ALL)

    assert ask(socket, method="LIST_SUBSCRIPTIONS", id=1)["result"] == list(ALL)
    assert all(message["data"]["s"] == "BTCUSDT" for message in take(socket, 50))
    assert exchange.json("time")["serverTime"] > ORIGIN_MS
