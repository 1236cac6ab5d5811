"""REST requests against a server with every bad answer."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from minibot.exchanges.base import (
    BANNED,
    MALFORMED,
    RATE_LIMITED,
    REDIRECT,
    REFUSED,
    SERVER,
    TIMEOUT,
    UNREACHABLE,
    RestError,
)
from minibot.exchanges.binance.limits import PING, TIME
from minibot.exchanges.binance.rest import BinanceRest, judge
from minibot.exchanges.public_http import ANSWER_BYTES_MAX
from minibot.exchanges.single_get import get
from minibot.kernel.errors import RunStop, Transient
from tests.exchanges.binance.loopback import (
    Loopback,
    Talk,
    addresses_tried,
    answer,
    first_address_dead,
    several_dead,
)
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.row("C-25"), pytest.mark.network_mock]


def client(port: int, total_s: float = DEADLINE_S) -> BinanceRest:
    return BinanceRest(
        f"http://127.0.0.1:{port}", connect_timeout_s=DEADLINE_S, total_timeout_s=total_s
    )


def says(*pieces: bytes, pause_s: float = 0.0) -> Talk:
    """Return a talk that sends pieces, with a pause between them."""

    def talk(sock: socket.socket, request: bytes) -> None:
        for piece in pieces:
            sock.sendall(piece)
            if pause_s:
                time.sleep(pause_s)

    return talk


def error_of(talk: Talk, total_s: float = DEADLINE_S) -> RestError:
    """Return the error of a ping against this talk."""
    with Loopback(talk) as server:
        rest = client(server.port, total_s)
        with pytest.raises(RestError) as caught:
            rest.ping()
        rest.close()
    return caught.value


def test_rules_of_many_symbols_come_by_requests_of_a_hundred() -> None:
    """A request line that names four hundred symbols is longer than a server takes."""

    def talk(sock: socket.socket, request: bytes) -> None:
        asked = parse_qs(urlsplit(request.split(b" ")[1].decode()).query)["symbols"][0]
        infos = [{"symbol": name, "status": "TRADING"} for name in json.loads(asked)]
        sock.sendall(answer(json.dumps({"timezone": "UTC", "symbols": infos}).encode()))

    names = [f"COIN{number}USDT" for number in range(450)]
    with Loopback(talk) as server:
        rest = client(server.port)
        body = json.loads(rest.rules_text(names))
        one = json.loads(rest.rules_text(names[:1]))
        rest.close()

    assert [info["symbol"] for info in body.pop("symbols")] == names
    assert body == {"timezone": "UTC"}
    assert one == {"timezone": "UTC", "symbols": [{"symbol": names[0], "status": "TRADING"}]}
    assert len(server.requests) == 6
    assert max(map(len, server.requests)) < 8_000


def test_granted_weight_is_of_the_last_answer_alone() -> None:
    """A grant of an hour ago is not told again with a ping: another client may know a newer one."""
    grant = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    rules = json.dumps({"symbols": [], "rateLimits": [{**grant, "limit": 1200}]}).encode()

    def talk(sock: socket.socket, request: bytes) -> None:
        sock.sendall(answer(rules if b"exchangeInfo" in request else b"{}"))

    with Loopback(talk) as server:
        rest = client(server.port)
        rest.listings()
        told = [rest.weight_limit]
        rest.ping()
        told.append(rest.weight_limit)
        rest.close()

    assert told == [1200, None]


def test_good_answers_are_typed() -> None:
    """Time, depth and klines come back as values, with the venue's count of the weight."""
    bodies = {
        b"/api/v3/time": b'{"serverTime":1789142400123}',
        b"/api/v3/depth": b'{"lastUpdateId":7,"bids":[["1","2"]],"asks":[["3","4"]]}',
        b"/api/v3/klines": json.dumps(
            [[1499040000000, "1", "2", "1", "2", "9", 1499644799999, "8", 3, "4", "5", "0"]]
        ).encode(),
    }

    def talk(sock: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].partition(b"?")[0]
        sock.sendall(answer(bodies[path], headers={"x-mbx-used-weight-1m": "57"}))

    with Loopback(talk) as server:
        rest = client(server.port)

        assert rest.server_time() == 1789142400123
        assert rest.last.weight_used == 57
        assert rest.last.took_us > 0
        assert rest.snapshot("BTCUSDT", 100).asks == [["3", "4"]]
        (candle,) = rest.candles("BTCUSDT", "1m", start=1, end=2, limit=1)
        assert candle.trades == 3
        rest.close()
        assert b"startTime=1" in server.requests[-1]
        assert b"endTime=2" in server.requests[-1]


@pytest.mark.row("F119")
def test_request_carries_no_key_no_cookie_and_no_credential(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A request carries no key, cookie or credential of the environment, a proxy or an answer."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Loopback(says(answer(b"{}", headers={"Set-Cookie": "session=1"}))) as server:
        rest = client(server.port)
        rest.ping()
        rest.ping()
        rest.close()

    for request in server.requests:
        text = request.lower()
        assert not any(
            word in text for word in (b"authorization", b"cookie", b"x-mbx-apikey", b"signature")
        )
        assert b"accept-encoding: identity" in text


@pytest.mark.row("F119")
@pytest.mark.parametrize("path", ["/api/v3/order", "/api/v3/account", "/sapi/v1/capital/withdraw"])
def test_request_for_an_order_never_leaves(path: str) -> None:
    """A request for an order stops the run before a byte is sent."""
    with Loopback(says(answer(b"{}"))) as server:
        rest = client(server.port)
        with pytest.raises(RunStop) as stop:
            rest.get(path, {})

        assert stop.value.reason_code == "REAL_ORDER_ATTEMPT"
        assert server.requests == []


@pytest.mark.row("F105", "F106")
@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after_ms"),
    [
        ("429 Too Many Requests", {"Retry-After": "7"}, RATE_LIMITED, 7_000),
        ("429 Too Many Requests", {}, RATE_LIMITED, 60_000),
        ("429 Too Many Requests", {"Retry-After": "soon"}, RATE_LIMITED, 60_000),
        ("418 I'm a teapot", {"Retry-After": "259200"}, BANNED, 259_200_000),
        ("418 I'm a teapot", {}, BANNED, 120_000),
    ],
)
def test_limits_of_the_venue_say_how_long_to_be_silent(
    status: str, headers: dict[str, str], kind: str, retry_after_ms: int
) -> None:
    """Retry-After sets the silence; without it the longest sensible one applies."""
    body = b'{"code":-1003,"msg":"Way too much; IP banned until 1660090423228. Use streams."}'

    error = error_of(says(answer(body, status, headers)))

    assert (error.kind, error.code, error.retry_after_ms) == (kind, -1003, retry_after_ms)
    assert error.until_ms == 1660090423228


@pytest.mark.row("F107")
@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (answer(b"", "503 Service Unavailable"), SERVER),
        (answer(b"<html>nginx</html>", "502 Bad Gateway", content_type="text/html"), SERVER),
        (answer(b"<HTML>Request blocked.", "403 Forbidden", content_type="text/html"), SERVER),
        (answer(b"<html>captive portal</html>", content_type="text/html"), MALFORMED),
        (answer(b"{}", content_type="text/html"), MALFORMED),
        (answer(b""), MALFORMED),
        (answer(b'{"serverTime":'), MALFORMED),
        (answer(b'{"code":-1121,"msg":"Invalid symbol."}', "400 Bad Request"), REFUSED),
        (answer(b'{"code":0,"msg":"restricted"}', "451 Unavailable"), REFUSED),
        (answer(b"", "302 Found", {"Location": "http://127.0.0.1:9/api/v3/ping"}), REDIRECT),
        (b"", UNREACHABLE),
        (b"no http at all\r\n\r\n", UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", UNREACHABLE),
    ],
)
def test_answer_that_is_no_answer_is_a_counted_error(sent: bytes, kind: str) -> None:
    """Pages, empty answers, redirects and torn ones are separate errors, never guessed at."""

    def talk(sock: socket.socket, request: bytes) -> None:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_RDWR)

    assert error_of(talk).kind == kind


@pytest.mark.row("F107")
def test_redirect_is_not_followed() -> None:
    """A redirect is not followed, not even to an allowed host."""
    with Loopback(says(answer(b"{}"))) as other:
        target = f"http://127.0.0.1:{other.port}/api/v3/ping"
        error_of(says(answer(b"", "301 Moved", {"Location": target})))

        assert other.requests == []


@pytest.mark.slow
@pytest.mark.row("F111")
@pytest.mark.parametrize(
    "slow",
    [
        pytest.param([b"H", b"T", b"T", b"P"] * 100, id="headers"),
        pytest.param([b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 400], id="endless-headers"),
        pytest.param([answer(b"{}" * 500)[:150], *[b"{"] * 400], id="body"),
        pytest.param([], id="nothing"),
    ],
)
def test_trickle_ends_at_the_total_time(slow: list[bytes]) -> None:
    """A trickle that never trips a socket's timeout ends at the total time."""

    given_up = threading.Event()
    had_to_wait: list[bool] = []

    def talk(sock: socket.socket, request: bytes) -> None:
        try:
            says(*slow, pause_s=0.02)(sock, request)
        finally:  # The server would go on for ever; only the client ends it.
            had_to_wait.append(given_up.wait(DEADLINE_S))

    with Loopback(talk) as server:
        rest = client(server.port, total_s=0.25)
        with pytest.raises(RestError) as caught:
            rest.ping()
        rest.close()
        given_up.set()
        wait_until(lambda: had_to_wait, "the end of the server's talk")

    assert caught.value.kind in (TIMEOUT, UNREACHABLE)
    assert had_to_wait == [True]


@pytest.mark.row("F111")
def test_request_that_is_over_before_it_has_a_socket_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request that ends while its name is resolved asks the server nothing."""
    resolve = socket.getaddrinfo
    with Loopback(says(answer(b"{}"))) as server:
        rest = client(server.port)

        def resolve_late(*args: Any) -> Any:
            rest.close()
            return resolve(*args)

        monkeypatch.setattr(socket, "getaddrinfo", resolve_late)
        with pytest.raises(RestError):
            rest.ping()

        assert server.requests == []


@pytest.mark.row("F110")
def test_answer_over_the_size_limit_is_cut_off() -> None:
    """An endless answer is cut off, with bounded memory."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n["

    def talk(sock: socket.socket, request: bytes) -> None:
        sock.sendall(head)
        for _ in range(2 * ANSWER_BYTES_MAX // 65536):
            sock.sendall(b"1," * 32768)

    assert error_of(talk).kind == MALFORMED


@pytest.mark.row("F110")
def test_compressed_answer_is_refused_unread() -> None:
    """A compressed answer is refused unread, so a small one cannot swell."""
    bomb = gzip.compress(b"[" + b"1," * 5_000_000 + b"1]")

    error = error_of(says(answer(bomb, headers={"Content-Encoding": "gzip"})))

    assert error.kind == MALFORMED


@pytest.mark.row("F88")
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_answer_as_deep_as_the_parser_takes_it_is_an_error(status: str) -> None:
    """A list in a list, a thousand times, where a text belongs, is an answer that is none."""
    deep = "[" * 1000 + "]" * 1000
    row = f'[[{deep},"1","1","1","1","1",1,"1",1,"1","1","0"]]'
    body = row if status.startswith("200") else f'{{"code":-1121,"msg":{deep}}}'

    with Loopback(says(answer(body.encode(), status))) as server:
        rest = client(server.port)
        with pytest.raises(RestError) as caught:
            rest.candles("BTCUSDT", "1m", start=None, end=1, limit=1)

    assert caught.value.kind in (MALFORMED, REFUSED)


def test_nobody_listening_is_unreachable() -> None:
    """A refused connection is reported as unreachable, without a retry."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    rest = client(port)

    with pytest.raises(RestError) as caught:
        rest.ping()
    assert caught.value.kind == UNREACHABLE


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1/secret",
        "http://127.0.0.1:x/secret",
        "secret",
        "ftp://127.0.0.1/secret\\'",
    ],
)
def test_address_that_is_none_is_no_answer_and_stays_secret(address: str) -> None:
    """An address that cannot be read is an error like a host that does not answer."""
    with pytest.raises(Transient) as caught:
        get(address, {}, timeout_s=1.0, bytes_max=100)

    assert "secret" not in str(caught.value)


def test_header_that_cannot_be_sent_stays_secret() -> None:
    """A token of two lines, as of a wrong file, is told by no error."""
    headers = {"Authorization": "Bearer secret\nother"}
    with Loopback(says(answer(b"{}"))) as server, pytest.raises(Transient) as caught:
        get(f"http://127.0.0.1:{server.port}/", headers, timeout_s=1.0, bytes_max=100)

    assert "header" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.row("F113")
@several_dead
def test_first_address_that_never_answers_leaves_time_for_the_next(
    count: int, family: socket.AddressFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose addresses of IPv6 all drop everything is reached by its first of IPv4."""
    with (
        Loopback(says(answer(b"{}"))) as server,
        first_address_dead(monkeypatch, server.port, count, family),
    ):
        rest = BinanceRest("http://venue.invalid", connect_timeout_s=3.0, total_timeout_s=3.0)
        rest.ping()
        rest.close()
        status, body = get("http://venue.invalid/", {}, timeout_s=3.0, bytes_max=100)

    assert rest.last.status == status == 200
    assert body == b"{}"


@pytest.mark.row("F113")
def test_many_addresses_that_never_answer_take_no_longer_than_a_request_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request over a network that drops everything ends in time, not after each address."""
    with (
        Loopback(says(answer(b"{}"))) as server,
        first_address_dead(monkeypatch, server.port, 100),
    ):
        tried = addresses_tried(monkeypatch)
        rest = BinanceRest("http://venue.invalid", connect_timeout_s=0.3, total_timeout_s=0.3)
        with pytest.raises(RestError) as caught:
            rest.ping()
        rest.close()

    assert caught.value.kind == TIMEOUT
    assert 1 <= len(tried) < 100


def test_close_ends_a_request_in_flight() -> None:
    """Closing ends a request in flight, so a role's end waits for no dead server."""
    asked, closed = threading.Event(), threading.Event()
    had_to_wait: list[bool] = []

    def talk(sock: socket.socket, request: bytes) -> None:
        asked.set()
        had_to_wait.append(closed.wait(DEADLINE_S))

    with Loopback(talk) as server:
        rest = client(server.port)

        def close_when_asked() -> None:
            asked.wait(DEADLINE_S)
            rest.close()

        threading.Thread(target=close_when_asked, daemon=True).start()
        with pytest.raises(RestError):
            rest.ping()
        closed.set()
        wait_until(lambda: had_to_wait, "the end of the server's talk")

    assert had_to_wait == [True]


@pytest.mark.parametrize(
    "url", ["api.binance.com", "ftp://x", "https://", "https://user:pass@api.binance.com"]
)
def test_address_that_is_none_is_refused(url: str) -> None:
    """An address without scheme or host, or with credentials, is refused."""
    with pytest.raises(ValueError, match="REST address"):
        BinanceRest(url, connect_timeout_s=1, total_timeout_s=1)


def test_errors_seen_in_the_wild_are_understood(shared_data: Path) -> None:
    """Bodies from public reports give kind, code, and the end of a ban."""
    lines = (shared_data / "error-bodies" / "binance_errors.jsonl").read_text().splitlines()
    seen = []
    for item in map(json.loads, lines):
        if item["body"] is None:
            continue
        status = item["http_status"] or 400
        with pytest.raises(RestError) as caught:
            judge(PING, status, {}, item["body"].encode())
        seen.append((caught.value.kind, caught.value.code, caught.value.until_ms))

    assert seen == [
        (BANNED, -1003, 1660090423228),
        (RATE_LIMITED, -1003, 0),
        (REFUSED, -1003, 0),
        (REFUSED, -1021, 0),
        (REFUSED, -1121, 0),
        (SERVER, 0, 0),
    ]


def test_time_without_a_time_is_malformed() -> None:
    """A time answer without a time is an error, not zero."""
    talk = says(answer(b'{"serverTime":"1"}'))
    with Loopback(talk) as server, pytest.raises(RestError) as caught:
        client(server.port).server_time()

    assert caught.value.kind == MALFORMED
    assert TIME in str(caught.value)
