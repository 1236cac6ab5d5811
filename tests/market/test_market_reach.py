"""Exchange that cannot be reached, cannot prove its identity, or has a wrong clock."""

from __future__ import annotations

import json
import socket
import ssl
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.binance.streams import combined_url
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.websocket_stream import WebSocketStream
from minibot.market import opening
from minibot.market.session import Session
from minibot.runtime.clock import machine_ns
from tests.exchanges.binance.loopback import Loopback, answer
from tests.market.exchange_process import ExchangeProcess
from tests.market.market_desk import Desk, session_config
from tests.waiting import wait_until

pytestmark = [pytest.mark.row("C-25"), pytest.mark.network_mock]

T0 = 1_700_000_000_000
CERTIFICATE = Path(__file__).parents[1] / "exchanges" / "binance" / "untrusted_localhost.pem"


def desk_at(tmp_path: Path, host: str) -> Desk:
    """Return a session over TLS to a host and port."""
    desk = Desk(tmp_path, session_config(("BTCUSDT",), T0), 1)
    rest = BinanceRest(f"https://{host}", connect_timeout_s=30.0, total_timeout_s=30.0)

    def open_stream(streams: Any) -> WebSocketStream:
        return WebSocketStream(combined_url(f"wss://{host}", streams), connect_timeout_s=30.0)

    desk.session = Session(desk.session.config, desk.world, BINANCE, [rest], open_stream)
    return desk


def end_after_a_retry(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of a start pass at once when its first retry has been told."""

    def passed_ns() -> int:
        is_told = "rest_retry" in desk.world.kinds()
        return machine_ns() + is_told * 2 * int(opening.OPENING_S_MAX * 10**9)

    monkeypatch.setattr(desk.world, "machine_ns", passed_ns)


@pytest.mark.row("F113", "F103")
def test_name_that_is_not_found_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown host is retried for the time of a start, then a STOP with its reason."""

    def nobody(*given: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    desk = desk_at(tmp_path, "exchange.invalid")
    end_after_a_retry(desk, monkeypatch)
    desk.start()
    desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_UNREACHABLE"
    assert "not known" in desk.stopped.detail
    assert "rest_retry" in desk.world.kinds()


@pytest.mark.row("F105")
def test_weight_that_others_have_used_is_what_a_start_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start on an address whose weight other programs use up says so, and not "no answer"."""

    def talk(sock: socket.socket, request: bytes) -> None:
        sock.sendall(answer(b"{}", headers={"x-mbx-used-weight-1m": "5900"}))

    with Loopback(talk) as server:
        desk = Desk(tmp_path, session_config(("BTCUSDT",), T0), server.port)
        end_after_a_retry(desk, monkeypatch)
        desk.start()
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_UNREACHABLE"
    assert "5900 of 3000 allowed request weight is used" in desk.stopped.detail
    (request,) = server.requests
    assert request.startswith(b"GET /api/v3/ping")


@pytest.mark.row("F105")
def test_silence_in_the_middle_of_the_history_is_what_a_start_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that is silenced by one of several requests for klines says until when."""
    rules = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "0", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0", "maxQty": "0", "stepSize": "0.001"},
    ]
    bodies = {
        b"ping": {},
        b"time": {"serverTime": T0},
        b"exchangeInfo": {"symbols": [{**rules, "filters": filters}]},
    }

    def talk(sock: socket.socket, request: bytes) -> None:
        name = request.split(b" ")[1].partition(b"?")[0].rpartition(b"/")[2]
        if name in bodies:
            sock.sendall(answer(json.dumps(bodies[name]).encode()))
        else:
            sock.sendall(answer(b"{}", "429 Too Many Requests", {"Retry-After": "60"}))

    def passed_ns() -> int:
        is_told = "rate_limited" in desk.world.kinds()
        return machine_ns() + is_told * 2 * int(opening.OPENING_S_MAX * 10**9)

    with Loopback(talk) as server:
        desk = Desk(tmp_path, session_config(("BTCUSDT",), T0), server.port)
        monkeypatch.setattr(desk.world, "machine_ns", passed_ns)
        desk.start()
        desk.join()

    assert desk.stopped is not None
    assert "the exchange wants no request before " in desk.stopped.detail


@pytest.mark.row("F106")
def test_ban_that_outlasts_a_start_ends_it_as_a_ban(tmp_path: Path) -> None:
    """The shortest ban that the venue has, two minutes, is no network to be checked."""

    def talk(sock: socket.socket, request: bytes) -> None:
        if b"/ping" in request:
            sock.sendall(answer(b"{}"))
        else:
            sock.sendall(answer(b"{}", "418 I'm a teapot", {"Retry-After": "120"}))

    with Loopback(talk) as server:
        desk = Desk(tmp_path, session_config(("BTCUSDT",), T0), server.port)
        desk.start()
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_BANNED"
    assert "a start may take 45 s" in desk.stopped.detail
    assert len(server.requests) == 2


@pytest.mark.row("F113")
def test_certificate_that_nobody_vouches_for_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate without trusted issuer ends the start, and no request is ever sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    wrap = partial(context.wrap_socket, server_side=True)

    with Loopback(lambda sock, request: None, wrap) as server:
        desk = desk_at(tmp_path, f"localhost:{server.port}")
        end_after_a_retry(desk, monkeypatch)
        desk.start()
        desk.join()

        assert server.requests == []
    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_UNREACHABLE"
    assert "certificate" in desk.stopped.detail


@pytest.mark.process
@pytest.mark.row("F116", "N-51")
@pytest.mark.parametrize(
    "skew_ms",
    # The furthest both ways in each run.
    [-4_000, 9_000, *(pytest.param(ms, marks=pytest.mark.campaign) for ms in (-1_270, 4_000))],
)
def test_clock_of_the_exchange_that_moves_costs_nothing(tmp_path: Path, skew_ms: int) -> None:
    """A clock that moves by seconds is followed and reported, without late data or loss."""
    with ExchangeProcess(tmp_path, "generator:1", "20") as running:
        config = session_config(running.symbols, running.origin_ms, ping_interval_ms=500)
        desk = Desk(tmp_path, config, running.port, speed="20")
        desk.start()
        desk.start_clock()
        wait_until(lambda: desk.session.feed.figures()["frames"] > 50 or desk.has_ended, "frames")
        running.fault("clock_skew", skew_ms=skew_ms)
        wait_until(
            lambda: abs(desk.session.feed.skew_ms - skew_ms) < 1_000 or desk.has_ended, "the skew"
        )
        mark = desk.clock.now_ms()
        wait_until(lambda: desk.clock.now_ms() > mark + 20_000 or desk.has_ended, "20 s more")
        desk.drain()

    assert desk.exit_code == 0
    assert not {"data_late", "connection_lost", "stream_silent"} & set(desk.world.kinds())
    states = [state for state, _ in desk.world.healths if state != "STARTING"]
    assert set(states) == {"READY", "DRAINING"}
    opens = [bar.open_ts for bar in desk.world.of("bar") if bar.interval == "1s"]
    assert opens == sorted(opens)
    assert {after - before for before, after in pairwise(opens)} == {1_000}
