"""Derived streams: bars in zones and with history, lists, slow depth, forms."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from minibot.simulator.server.control import Subscriptions
from minibot.simulator.server.service import Settings, make_server
from tests.simulator.embedded_exchange import (
    ORIGIN_MS,
    Exchange,
    Message,
    ask,
    diff,
    market,
    messages,
    quote,
    snapshot,
    take,
    trade,
    write_tape,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]

MINUTE_MS = 60_000


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Two days of one-minute bars up to the origin, each with a volume of one."""
    end_ms = ORIGIN_MS // MINUTE_MS * MINUTE_MS
    path = tmp_path / "BTCUSDT-1m.jsonl"
    with path.open("w") as file:
        for number in range(2 * 24 * 60, 0, -1):
            open_ms = end_ms - number * MINUTE_MS
            price = f"{100 + number % 7}.00"
            row = [open_ms, price, "120.00", "90.00", "100.00", "1.00000", open_ms + MINUTE_MS - 1]
            file.write(json.dumps([*row, "100.00", 3, "0.50000", "50.00", "0"]) + "\n")
    return path


@pytest.mark.parametrize(
    ("interval", "is_shifted"), [("1h", False), ("4h", False), ("12h", True), ("1d", True)]
)
def test_bar_of_a_stream_is_that_of_rest_with_its_past_in_either_zone(
    interval: str, is_shifted: bool, history: Path, tmp_path: Path
) -> None:
    """A stream's bar equals REST's, history included, in UTC and at +08:00."""
    names = [f"btcusdt@kline_{interval}", f"btcusdt@kline_{interval}@+08:00"]
    tape = write_tape(tmp_path / "tape.gz", market(10))
    arguments = ("--history", f"klines:{history}")
    with Exchange(f"tape:{tape}", *arguments, speed="10") as exchange:
        found = messages(exchange.stream(*names))
        fields: dict[str, Any] = {}
        while len(fields) < 2:
            message = next(found)
            fields[message["stream"]] = message["data"]["k"]
        query = {"symbol": "BTCUSDT", "interval": interval, "limit": 1}
        bars = [exchange.json("klines", **query), exchange.json("klines", **query, timeZone="8")]

    for name, rows in zip(names, bars, strict=True):
        bar = rows[0]
        assert [fields[name][key] for key in ("t", "T", "o", "l")] == [
            bar[0],
            bar[6],
            bar[1],
            bar[3],
        ]
        assert fields[name]["n"] > 3
        assert fields[name]["i"] == interval
    assert (fields[names[0]]["t"] != fields[names[1]]["t"]) is is_shifted
    if interval == "1d":
        assert (fields[names[1]]["t"] + 8 * 60 * MINUTE_MS) % (24 * 60 * MINUTE_MS) == 0


def two_symbols() -> list[tuple[int, Message]]:
    """Return five seconds in which BTC trades always and ETH only in the third."""
    lines = [trade(100 + 200 * turn, 1 + turn) for turn in range(25)]
    lines.append(trade(2_450, 1, s="ETHUSDT"))
    return sorted(lines, key=lambda line: line[0])


def test_lists_of_all_symbols_hold_those_that_have_traded(tmp_path: Path) -> None:
    """Lists hold symbols that have traded, once a second; the retired list is silent."""
    tape = write_tape(tmp_path / "tape.gz", two_symbols())
    names = ("!miniTicker@arr", "!ticker_1h@arr", "!ticker_4h@arr", "!ticker_1d@arr")
    with Exchange(f"tape:{tape}", speed="5") as exchange:
        socket = exchange.stream(*names, "!ticker@arr")
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")
        received = take(socket, exchange.status()["connections"][0]["sent"])

    for name, event in zip(
        names, ("24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker"), strict=True
    ):
        lists = [message["data"] for message in received if message["stream"] == name]
        fields = {row[0]["E"] - ORIGIN_MS: [each["s"] for each in row] for row in lists}
        assert fields == {
            1000: ["BTCUSDT"],
            2000: ["BTCUSDT"],
            3000: ["BTCUSDT", "ETHUSDT"],
            4000: ["BTCUSDT"],
        }
        assert {each["e"] for row in lists for each in row} == {event}
    assert {message["stream"] for message in received} == set(names)


def test_depth_of_a_second_comes_under_both_its_names_and_ends_in_the_same_book(
    tmp_path: Path,
) -> None:
    """`@depth` and `@depth@1000ms` carry the same events without a gap."""
    tape = write_tape(tmp_path / "tape.gz", market(6))
    with Exchange(f"tape:{tape}", speed="6") as exchange:
        socket = exchange.stream("btcusdt@depth", "btcusdt@depth@1000ms", "btcusdt@depth@100ms")
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")
        received = take(socket, exchange.status()["connections"][0]["sent"])

    fields: dict[str, list[Any]] = {}
    for message in received:
        fields.setdefault(message["stream"], []).append(message["data"])
    slow, fast = fields["btcusdt@depth"], fields["btcusdt@depth@100ms"]
    assert slow == fields["btcusdt@depth@1000ms"]
    assert len(slow) >= 5
    assert all(later["U"] == former["u"] + 1 for former, later in pairwise(slow))
    until_then = [each for each in fast if each["u"] <= slow[-1]["u"]]
    for side in ("b", "a"):
        assert dict(level for each in slow for level in each[side]) == dict(
            level for each in until_then for level in each[side]
        )


def test_hole_in_the_source_is_a_hole_in_the_depth_of_a_second(tmp_path: Path) -> None:
    """A hole in the source is a hole in the merged depth, so a book can notice it."""
    lines = [diff(0, 101, 101), snapshot(1, 101), quote(2, 101)]
    lines += [diff(100, 102, 103), diff(200, 104, 104), diff(300, 109, 110), diff(1_400, 111, 111)]
    tape = write_tape(tmp_path / "tape.gz", lines)
    with Exchange(f"tape:{tape}", speed="2") as exchange:
        found = messages(exchange.stream("btcusdt@depth"))
        events = [next(found)["data"] for _ in range(2)]

    assert [(event["U"], event["u"]) for event in events] == [(101, 104), (109, 110)]


def test_update_that_a_tape_holds_twice_is_once_in_the_depth_of_a_second(tmp_path: Path) -> None:
    """An update that comes again behind newer ones takes none of their levels back."""
    old, newer = diff(100, 102, 103, [["98", "1"]]), diff(200, 104, 104, [["98", "2"]])
    lines = [diff(0, 101, 101), snapshot(1, 101), quote(2, 101), old, newer]
    lines += [(300, old[1]), diff(1_400, 105, 105), diff(2_400, 106, 106)]
    tape = write_tape(tmp_path / "tape.gz", lines)
    with Exchange(f"tape:{tape}", speed="2") as exchange:
        found = messages(exchange.stream("btcusdt@depth"))
        events = [next(found)["data"] for _ in range(2)]

    assert [(event["U"], event["u"]) for event in events] == [(101, 104), (105, 105)]
    assert events[0]["b"] == [["98", "2"]]


def test_every_form_of_a_message_says_the_same(tmp_path: Path) -> None:
    """Raw and wrapped, in ms and microseconds, to several readers: the same content."""
    tape = write_tape(tmp_path / "tape.gz", market(100))
    with Exchange(f"tape:{tape}", speed="5") as exchange:
        plain = [exchange.connect("/ws/btcusdt@trade") for _ in range(2)]
        wrapped = [exchange.connect("/stream?streams=btcusdt@trade") for _ in range(2)]
        micros = exchange.connect("/ws/btcusdt@trade?timeUnit=MICROSECOND")
        both = exchange.connect("/stream?streams=btcusdt@trade&timeUnit=microsecond")
        switched = exchange.connect("/ws/btcusdt@trade")
        ask(switched, method="SET_PROPERTY", params=["combined", True], id=1)
        # A trade after one that came once all were there, and the last one switched.
        latest = take(switched, 1)[0]
        number = latest["data"]["t"] + 1
        found = {
            name: [
                next(row for row in messages(socket) if row.get("data", row)["t"] == number)
                for socket in sockets
            ]
            for name, sockets in {
                "plain": plain,
                "wrapped": [*wrapped, switched],
                "micros": [micros],
                "both": [both],
            }.items()
        }

    first = found["plain"][0]
    assert found["plain"] == [first, first]
    assert found["wrapped"] == [{"stream": "btcusdt@trade", "data": first}] * 3
    in_micros = first | {key: first[key] * 1000 for key in ("E", "T")}
    assert found["micros"] == [in_micros]
    assert found["both"] == [{"stream": "btcusdt@trade", "data": in_micros}]


def test_one_who_leaves_takes_nothing_from_those_who_stay(tmp_path: Path) -> None:
    """A client that leaves ends its own streams alone."""
    tape = write_tape(tmp_path / "tape.gz", market(30))
    names = ["btcusdt@trade", "btcusdt@kline_1s", "btcusdt@depth"]
    with Exchange(f"tape:{tape}", speed="5") as exchange:
        stays, leaves, drops = (exchange.stream(*names) for _ in range(3))
        ask(leaves, method="UNSUBSCRIBE", params=names, id=1)
        drops.shutdown()  # type: ignore[no-untyped-call]
        wait_until(lambda: exchange.status()["clients"] == 2, "it is gone")
        found = messages(stays)
        seen = {next(found)["stream"] for _ in range(40)}
        kept = ask(stays, method="LIST_SUBSCRIPTIONS", id=2)["result"]
        left = ask(leaves, method="LIST_SUBSCRIPTIONS", id=2)["result"]

    assert seen == set(names)
    assert (kept, left) == (names, [])


@pytest.mark.parametrize("kind", ["flat", "nested"])
def test_errors_of_control_messages_take_the_shape_asked_for(kind: str, tmp_path: Path) -> None:
    """Errors of control messages take the form that a fault selects."""
    tape = write_tape(tmp_path / "tape.gz", market(5))
    with Exchange(f"tape:{tape}") as exchange:
        exchange.fault("control_errors", kind=kind)
        socket = exchange.connect("/ws")
        replies = [
            ask(socket, method="SUBSCRIBE", params=["no stream"], id=1),
            ask(socket, method="GET_PROPERTY", params=["other"], id=2),
        ]
        exchange.fault("clear")
        mixed = ask(socket, method="SUBSCRIBE", params=["no stream"], id=3)

    errors = [reply if kind == "flat" else reply["error"] for reply in replies]
    assert [error["code"] for error in errors] == [2, 0]
    assert [reply["id"] for reply in replies] == [1, 2]
    assert "error" in mixed


def test_partial_depth_is_the_top_of_the_book_that_rest_tells(tmp_path: Path) -> None:
    """Partial depth is the top of REST's book at each moment, with its update number."""
    tape = write_tape(tmp_path / "tape.gz", market(20))
    with Exchange(f"tape:{tape}", speed="5") as exchange:
        socket = exchange.stream("btcusdt@depth5", "btcusdt@depth20@100ms")
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")
        received = take(socket, exchange.status()["connections"][0]["sent"])
        book = exchange.json("depth", symbol="BTCUSDT")

    last = [row["data"] for row in received if row["stream"] == "btcusdt@depth20@100ms"][-1]
    for side in ("bids", "asks"):
        if last["lastUpdateId"] == book["lastUpdateId"]:
            assert last[side] == book[side][:20]
        assert all(len(row["data"][side]) <= 20 for row in received)
        assert all(len(row["data"][side]) <= 5 for row in received if row["stream"].endswith("5"))
    assert last["lastUpdateId"] >= book["lastUpdateId"] - 1
    assert json.dumps(last)


def test_pasts_of_many_symbols_are_made_one_by_one_while_others_are_served() -> None:
    """History of many symbols is made one by one, while others are served."""
    server = make_server(Settings(source="generator:1:30", rate_per_s=30))
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(sum(state.bars.has_past("1h") for state in server.venue.symbols.values()))
            await asyncio.sleep(0)

    async def subscribe(*streams: str) -> None:
        task = asyncio.create_task(others())
        await asyncio.sleep(0)
        await server.learn_for(Subscriptions(True, dict.fromkeys(streams)))
        task.cancel()

    asyncio.run(subscribe("btcusdt@trade"))
    assert set(turns) == {0}

    turns.clear()
    asyncio.run(subscribe("btcusdt@trade", "!miniTicker@arr"))
    assert turns == list(range(31))
