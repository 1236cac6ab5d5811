"""First contact with a host: as documented, or with one difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from minibot.exchanges.base import BANNED, RATE_LIMITED, RestError, StreamLost
from minibot.exchanges.binance.expected import UNKNOWN_SYMBOL
from minibot.exchanges.binance.first_contact import FirstContact
from minibot.exchanges.binance.limits import DEPTH, EXCHANGE_INFO, KLINES, PRICE, TIME
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.binance.streams import combined_url
from minibot.exchanges.contact_report import Report, lines_of
from minibot.exchanges.shapes import UNKNOWN, Difference
from minibot.exchanges.websocket_stream import WebSocketStream
from minibot.runtime.clock import write_clock
from tests.market.exchange_process import ExchangeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.process

# Long enough for a snapshot and each stream; shorter where one answer is tested.
SECONDS = 6.0
BRIEF_S = 0.3

Alter = Callable[[Any], Any]


class AlteredRest(BinanceRest):
    """Host whose answers to one path, or whose headers, are altered."""

    path = ""
    alter: Alter = staticmethod(lambda body: body)
    headers: Mapping[str, str | None] = {}

    def answer(self, path: str, params: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        status, headers, content = super().answer(path, params)
        if path != self.path or status != 200:
            return status, headers, content
        changed = {name.lower(): value for name, value in headers.items()}
        for name, value in self.headers.items():
            changed.pop(name, None)
            if value is not None:
                changed[name] = value
        return status, changed, orjson.dumps(self.alter(orjson.loads(content)))


class AlteredStream(WebSocketStream):
    """Host whose frames of one kind of stream are altered; None swallows them."""

    kind = ""
    alter: Alter = staticmethod(lambda body: body)

    def recv(self) -> tuple[int, bytes]:
        while True:
            at_ns, data = super().recv()
            body = orjson.loads(data)
            if not str(body.get("stream", "")).endswith(f"@{self.kind}"):
                return at_ns, data
            changed = self.alter(body["data"])
            if changed is not None:
                return at_ns, orjson.dumps({**body, "data": changed})


@dataclass
class Host:
    """Running exchange, and a way to meet it."""

    port: int
    shift_ms: int

    def meet(
        self,
        rest: type[BinanceRest] = BinanceRest,
        stream: type[WebSocketStream] = WebSocketStream,
        *,
        shift_ms: int = 0,
        seconds: float = BRIEF_S,
    ) -> Report:
        """Meet the host through the given classes, with a shifted clock."""
        ours = rest(f"http://127.0.0.1:{self.port}", connect_timeout_s=5.0, total_timeout_s=20.0)

        def open_stream(names: Sequence[str]) -> WebSocketStream:
            return stream(combined_url(f"ws://127.0.0.1:{self.port}", names), connect_timeout_s=5.0)

        shift = self.shift_ms + shift_ms
        try:
            return FirstContact(
                ours,
                open_stream,
                ("BTCUSDT",),
                wall_ms=lambda: time.time_ns() // 10**6 + shift,
                machine_ms=lambda: time.monotonic_ns() // 10**6,
                skew_max_ms=2_000,
            ).run(seconds)
        finally:
            ours.close()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Synthetic market that has traded for a moment."""
    folder: Path = tmp_path_factory.mktemp("host")
    with ExchangeProcess(folder, "generator:1", "1", "--rate", "60") as venue:
        write_clock(folder, venue.origin_ms, "1")
        rest = BinanceRest(
            f"http://127.0.0.1:{venue.port}", connect_timeout_s=5.0, total_timeout_s=20.0
        )
        shift_ms = rest.server_time() - time.time_ns() // 10**6
        wait_until(lambda: rest.get("/api/v3/trades", {"symbol": "BTCUSDT"}), "a trade")
        rest.close()
        yield Host(venue.port, shift_ms)


def kinds(report: Report, where: str) -> list[tuple[str, str, bool]]:
    """Return the differences at a place: kind, path, and whether they hinder."""
    return [
        (told.difference.kind, told.difference.path, told.difference.hinders)
        for told in report.differences
        if told.where == where
    ]


def test_host_as_documented_passes_and_was_looked_at(host: Host) -> None:
    """A documented host passes, and everything was there to be compared."""
    report = host.meet(seconds=SECONDS)

    assert list(lines_of(report)) == []
    assert report.passed
    assert len(report.endpoints) == 11
    # The host's count means nothing if the minute changed between two answers.
    weights = [row for row in report.endpoints if row["weight_counted"] is not None]
    assert len(weights) >= 9
    assert all(row["weight"] == row["weight_counted"] for row in weights)
    assert len(report.streams) == 7
    assert all(figures["messages"] > 0 for figures in report.streams.values())
    assert report.books["BTCUSDT"]["top_checks"] > 5
    assert {row["rateLimitType"] for row in report.limits} == {
        "REQUEST_WEIGHT",
        "ORDERS",
        "RAW_REQUESTS",
    }
    assert "LOT_SIZE" in report.filters["BTCUSDT"]
    assert abs(report.offset_ms) < 2_000
    assert report.delays_ms


def symbol_of(body: Any) -> Any:
    return body["symbols"][0]


def changed_symbol(**changes: Any) -> Alter:
    def alter(body: Any) -> Any:
        symbol_of(body).update(changes)
        return body

    return alter


def without_symbol_field(name: str) -> Alter:
    def alter(body: Any) -> Any:
        del symbol_of(body)[name]
        return body

    return alter


def with_filter(**item: Any) -> Alter:
    def alter(body: Any) -> Any:
        symbol_of(body)["filters"].append(item)
        return body

    return alter


def lot_size(**changes: Any) -> Alter:
    def alter(body: Any) -> Any:
        for item in symbol_of(body)["filters"]:
            if item["filterType"] == "LOT_SIZE":
                item.update(changes)
        return body

    return alter


def lower_limit(body: Any) -> Any:
    body["rateLimits"][0]["limit"] = 1200
    return body


@pytest.mark.parametrize(
    ("path", "alter", "expected"),
    [
        (TIME, lambda body: {**body, "zone": "UTC"}, ("unknown", "zone", False)),
        (PRICE, lambda body: {**body, "price": 61000.1}, ("retyped", "price", False)),
        (DEPTH, lambda body: {**body, "lastUpdateId": "7"}, ("retyped", "lastUpdateId", True)),
        (
            DEPTH,
            lambda body: {key: value for key, value in body.items() if key != "asks"},
            ("missing", "asks", True),
        ),
        (KLINES, lambda body: [row[:11] for row in body], ("missing", "[][11]", True)),
        (KLINES, lambda body: [], ("answer", "(rows)", False)),
        (EXCHANGE_INFO, changed_symbol(freshField=1), ("unknown", "symbols[].freshField", False)),
        (
            EXCHANGE_INFO,
            without_symbol_field("orderTypes"),
            ("missing", "symbols[].orderTypes", False),
        ),
        (EXCHANGE_INFO, changed_symbol(status="SLEEPING"), ("status", "BTCUSDT", True)),
        (EXCHANGE_INFO, changed_symbol(isSpotTradingAllowed=False), ("parser", "BTCUSDT", True)),
        (
            EXCHANGE_INFO,
            with_filter(filterType="BRAND_NEW", x=1),
            ("unknown", "symbols[].filters[][BRAND_NEW]", True),
        ),
        (
            EXCHANGE_INFO,
            lot_size(stepSize=0.1),
            ("retyped", "symbols[].filters[LOT_SIZE].stepSize", True),
        ),
        (
            EXCHANGE_INFO,
            lot_size(lotCount=5),
            ("unknown", "symbols[].filters[LOT_SIZE].lotCount", False),
        ),
        (EXCHANGE_INFO, lower_limit, ("limit", "REQUEST_WEIGHT per 1 MINUTE", False)),
        (
            EXCHANGE_INFO,
            lambda body: {**body, "rateLimits": None},
            ("limit", "REQUEST_WEIGHT per 1 MINUTE", False),
        ),
        (
            EXCHANGE_INFO,
            lambda body: {**body, "rateLimits": [{"rateLimitType": [], "interval": {}}]},
            ("limit", "REQUEST_WEIGHT per 1 MINUTE", False),
        ),
        (
            EXCHANGE_INFO,
            lambda body: {**body, "symbols": 2 * body["symbols"]},
            ("parser", "BTCUSDT", True),
        ),
    ],
)
def test_answer_that_differs_is_told_by_place_and_kind(
    host: Host, path: str, alter: Alter, expected: tuple[str, str, bool]
) -> None:
    """Each single difference of an answer is reported by place and kind and fails the check."""

    class Altered(AlteredRest):
        pass

    Altered.path, Altered.alter = path, staticmethod(alter)

    report = host.meet(rest=Altered)

    assert not report.passed
    assert expected in kinds(report, path)


@pytest.mark.parametrize("body", [[], None, {"bids": [], "asks": []}, {"lastUpdateId": "7"}])
def test_book_that_is_no_snapshot_is_told_and_the_rest_looked_at(host: Host, body: Any) -> None:
    """A depth answer of another form costs the books, not the report."""

    class Altered(AlteredRest):
        path = DEPTH
        alter = staticmethod(lambda depth: body)

    report = host.meet(rest=Altered, seconds=SECONDS)

    pairs = [(each.difference.kind, each.where) for each in report.differences]
    assert ("answer", DEPTH) in pairs or ("book", "books") in pairs
    assert report.books["BTCUSDT"]["snapshots"] == 0


def test_only_a_field_that_is_not_read_is_told_as_such() -> None:
    """The host's own weight limit is read by a night, although another figure does no harm."""
    report = Report(("BTCUSDT",))
    limit = Difference("limit", "REQUEST_WEIGHT per 1 MINUTE", "6000", "1200", False)
    report.add(EXCHANGE_INFO, limit)
    report.add(EXCHANGE_INFO, Difference(UNKNOWN, "symbols[].freshField", "", "1", False))

    assert list(lines_of(report)) == [
        "/api/v3/exchangeInfo: limit REQUEST_WEIGHT per 1 MINUTE, expected 6000, found 1200;"
        " harmless",
        "/api/v3/exchangeInfo: unknown symbols[].freshField, found 1;"
        " harmless, minibot does not read it",
    ]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-mbx-used-weight-1m": None}, ("header", "x-mbx-used-weight-1m", True)),
        ({"x-mbx-used-weight": "many"}, ("header", "x-mbx-used-weight", True)),
        ({"content-type": "text/html"}, ("header", "content-type", True)),
    ],
)
def test_header_that_differs_is_told(
    host: Host, headers: dict[str, str | None], expected: tuple[str, str, bool]
) -> None:
    """A different weight header is reported, because a night's budget relies on it."""

    class Altered(AlteredRest):
        pass

    Altered.path, Altered.headers = PRICE, headers

    assert expected in kinds(host.meet(rest=Altered), PRICE)


def test_weight_that_differs_is_asked_for_twice_and_told(host: Host) -> None:
    """A different weight is measured twice and reported."""

    class Heavy(BinanceRest):
        surplus = 0

        def answer(
            self, path: str, params: Mapping[str, Any]
        ) -> tuple[int, Mapping[str, str], bytes]:
            found = super().answer(path, params)
            if path == PRICE:
                type(self).surplus += 3
            used = self.last.weight_used
            self.last = self.last._replace(
                weight_used=None if used is None else used + Heavy.surplus
            )
            return found

    assert ("weight", "weight", False) in kinds(host.meet(rest=Heavy), PRICE)


@pytest.mark.parametrize(
    ("kind", "alter", "expected"),
    [
        ("trade", lambda data: {**data, "zz": 1}, ("unknown", "zz", False)),
        (
            "trade",
            lambda data: {key: value for key, value in data.items() if key != "M"},
            ("missing", "M", False),
        ),
        ("trade", lambda data: {**data, "t": str(data["t"])}, ("retyped", "t", True)),
        ("trade", lambda data: {**data, "p": "0.00000000"}, ("parser", "(frame)", True)),
        ("bookTicker", lambda data: {**data, "u": None}, ("retyped", "u", True)),
        ("depth@100ms", lambda data: {**data, "pu": 1}, ("unknown", "pu", False)),
        ("kline_1m", lambda data: {**data, "k": {**data["k"], "x": 0}}, ("retyped", "k.x", False)),
    ],
)
def test_stream_that_differs_is_told_by_place_and_kind(
    host: Host, kind: str, alter: Alter, expected: tuple[str, str, bool]
) -> None:
    """Stream frames are compared like answers, and the connector's parser judges them too."""

    class Altered(AlteredStream):
        pass

    Altered.kind, Altered.alter = kind, staticmethod(alter)

    report = host.meet(stream=Altered, seconds=2.5 if kind == "kline_1m" else 1.5)

    assert not report.passed
    assert expected in kinds(report, f"stream {kind}")


@pytest.mark.parametrize("kind", ["trade", "bookTicker", "miniTicker"])
def test_stream_that_brings_nothing_is_told(host: Host, kind: str) -> None:
    """A stream that is acknowledged and silent is reported."""

    class Silent(AlteredStream):
        pass

    Silent.kind, Silent.alter = kind, staticmethod(lambda data: None)

    report = host.meet(stream=Silent, seconds=1.5)

    assert ("silent", "(messages)", True) in kinds(report, f"stream btcusdt@{kind}")


def test_updates_that_do_not_make_the_book_are_told(host: Host) -> None:
    """Lost updates are reported, as their numbers do not follow one another."""
    count = 0

    def lossy(data: Any) -> Any:
        nonlocal count
        count += 1
        return None if count % 5 == 0 else data

    class Lossy(AlteredStream):
        kind = "depth@100ms"
        alter = staticmethod(lossy)

    report = host.meet(stream=Lossy, seconds=SECONDS)

    assert any(told.difference.kind == "book" for told in report.differences)


def test_connection_that_is_lost_is_told_and_what_it_missed_is_no_fault(host: Host) -> None:
    """Messages between two connections are missed, not left out: books and trades begin anew."""
    opened = 0

    class Dropping(WebSocketStream):
        received = 0

        def open(self) -> None:
            nonlocal opened
            opened += 1
            super().open()

        def recv(self) -> tuple[int, bytes]:
            self.received += 1
            if opened == 1 and self.received > 200:
                raise StreamLost("dropped")
            if opened == 2 and self.received == 1:
                while b"depthUpdate" not in super().recv()[1]:
                    pass  # Missed, with the update that ends it.
            return super().recv()

    report = host.meet(stream=Dropping, seconds=SECONDS)

    assert opened == 2
    assert kinds(report, "streams") == [("connection lost", "(connection)", True)]
    assert kinds(report, "book of BTCUSDT") == []


def test_contact_that_ends_by_a_message_opens_no_further_connection(host: Host) -> None:
    """A message after the end may come before the timer; the contact is over then as well."""
    opened = 0

    class Late(WebSocketStream):
        def open(self) -> None:
            nonlocal opened
            opened += 1
            super().open()

        def abort(self) -> None:
            pass  # The timer is late.

    host.meet(stream=Late)

    assert opened == 1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, {"code": -1121, "msg": "x"}, ("status", "status", True)),
        (400, {"code": -1100, "msg": "x"}, ("answer", "code", True)),
        (400, {"code": "-1121", "msg": "x"}, ("retyped", "code", True)),
        (400, {"code": -1121}, ("missing", "msg", True)),
        (400, {"code": -1121, "msg": "x", "hint": 1}, ("unknown", "hint", False)),
    ],
)
def test_refusal_that_differs_is_told(
    host: Host, status: int, body: dict[str, Any], expected: tuple[str, str, bool]
) -> None:
    """A different refusal is reported, because it distinguishes a wrong symbol from a sick host."""

    class Other(BinanceRest):
        def answer(
            self, path: str, params: Mapping[str, Any]
        ) -> tuple[int, Mapping[str, str], bytes]:
            found = super().answer(path, params)
            if params.get("symbol") == UNKNOWN_SYMBOL:
                return status, found[1], orjson.dumps(body)
            return found

    assert expected in kinds(host.meet(rest=Other), f"{DEPTH} of {UNKNOWN_SYMBOL}")


@pytest.mark.parametrize(
    ("alter", "expected"),
    [
        (lambda reply: None, ("control", "(answer)", True)),
        (lambda reply: {**reply, "status": 200}, ("unknown", "status", False)),
    ],
)
def test_answer_to_a_subscription_that_differs_is_told(
    host: Host, alter: Alter, expected: tuple[str, str, bool]
) -> None:
    """A different answer to a subscription is reported."""

    class Mute(WebSocketStream):
        def recv(self) -> tuple[int, bytes]:
            while True:
                at_ns, data = super().recv()
                body = orjson.loads(data)
                if "id" not in body or "stream" in body:
                    return at_ns, data
                changed = alter(body)
                if changed is not None:
                    return at_ns, orjson.dumps(changed)

    assert expected in kinds(host.meet(stream=Mute, seconds=1.0), "SUBSCRIBE")


def test_silence_wanted_after_an_unknown_symbol_ends_the_contact(host: Host) -> None:
    """A request of a symbol that does not exist is a request as well."""
    after: list[str] = []

    class Silent(BinanceRest):
        is_silent = False

        def answer(
            self, path: str, params: Mapping[str, Any]
        ) -> tuple[int, Mapping[str, str], bytes]:
            if self.is_silent:
                after.append(path)
            status, headers, content = super().answer(path, params)
            self.is_silent = self.is_silent or params.get("symbol") == UNKNOWN_SYMBOL
            return 429 if self.is_silent else status, headers, content

    with pytest.raises(RestError) as refused:
        host.meet(rest=Silent)

    assert refused.value.kind == RATE_LIMITED
    assert after == []


@pytest.mark.parametrize("silent_at", [1, 2])
def test_silence_wanted_at_either_look_at_a_weight_ends_the_contact(
    host: Host, silent_at: int
) -> None:
    """A weight that looks wrong is asked for again, unless the first answer wants silence."""
    after: list[str] = []

    class Silent(BinanceRest):
        counted = 0
        looks = 0

        def answer(
            self, path: str, params: Mapping[str, Any]
        ) -> tuple[int, Mapping[str, str], bytes]:
            status, headers, content = super().answer(path, params)
            self.counted += 1_000
            self.last = self.last._replace(weight_used=self.counted)
            if self.looks == silent_at:
                after.append(path)
            else:
                self.looks += path == PRICE
            return 429 if self.looks == silent_at else status, headers, content

    with pytest.raises(RestError) as refused:
        host.meet(rest=Silent)

    assert refused.value.kind == RATE_LIMITED
    assert after == []


@pytest.mark.parametrize("last", [TIME, PRICE, UNKNOWN_SYMBOL])
def test_silence_that_another_process_was_asked_for_ends_the_contact(host: Host, last: str) -> None:
    """A request that is not sent because of a ban is no difference of the host."""
    after: list[str] = []

    class Banned(BinanceRest):
        def answer(
            self, path: str, params: Mapping[str, Any]
        ) -> tuple[int, Mapping[str, str], bytes]:
            if after or last in (path, params.get("symbol")):
                after.append(path)
                raise RestError(BANNED, "not requested: the host refuses requests for 60 s more")
            return super().answer(path, params)

    with pytest.raises(RestError) as refused:
        host.meet(rest=Banned)

    assert refused.value.kind == BANNED
    assert len(after) == 1


def test_clock_that_is_off_is_told(host: Host) -> None:
    """A clock further off than the profile allows is reported, in either direction."""
    report = host.meet(shift_ms=-30_000)

    assert ("clock", "serverTime", True) in kinds(report, TIME)
    assert 28_000 < report.offset_ms < 32_000


def test_host_that_is_not_there_is_an_error_not_a_report() -> None:
    """A host without REST is an error, not a report."""
    with pytest.raises(RestError):
        Host(9, 0).meet()


def test_streams_that_are_not_there_are_an_error_not_a_report(host: Host) -> None:
    """A host without streams is an error, not a report."""

    class Elsewhere(WebSocketStream):
        def __init__(self, url: str, **options: Any) -> None:
            super().__init__(url.replace(f":{host.port}/", ":9/"), **options)

    with pytest.raises(StreamLost):
        host.meet(stream=Elsewhere)
