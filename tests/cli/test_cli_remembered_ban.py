"""Verbs that ask the venue outside a run: none of them asks during a ban that is known."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from minibot.cli.main import run
from minibot.exchanges.venues import VENUES
from minibot.market.address import Address, venue_file
from minibot.runtime.clock import wall_ms
from tests.exchanges.binance.loopback import Loopback, answer

pytestmark = [pytest.mark.row("F106"), pytest.mark.network_mock]

SINCE = "2025-01-01"
HERE = "http://127.0.0.1"
VERBS = {
    "record": "record --symbols BTCUSDT --for 1s",
    "scan": "scan --venue --pairs BTCUSDT",
    "download-data": f"download-data --pairs BTCUSDT --from {SINCE} --source rest",
    "doctor": "doctor --exchange --minutes 0.01 --config config/nore.v1.json",
}


@pytest.mark.parametrize("verb", VERBS)
def test_verb_sends_no_request_during_a_remembered_ban(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ban that a night was told of is no shorter for a recording: it would become longer."""
    limits = VENUES["binance"].streams.limits
    address = Address(venue_file(tmp_path, "binance", HERE), wall_ms(), limits)
    address.on_silence(wall_ms() + 3_600_000, is_ban=True)
    with Loopback(lambda sock, request: _answer(sock)) as server:
        host = f"binance.rest_url=http://127.0.0.1:{server.port}"
        code = run([*VERBS[verb].split(), "--var", str(tmp_path), "--set", host])
        requests = len(server.requests)

    assert code != 0
    assert requests == 0
    assert "the host refuses requests" in "".join(capsys.readouterr())


def test_first_contact_ends_with_the_answer_that_bans_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ban in the middle ends the contact, which would go on to ask, and the next one too."""
    bodies = {b"/api/v3/ping": b"{}", b"/api/v3/time": b'{"serverTime":1700000000000}'}
    asked: list[bytes] = []

    def talk(sock: socket.socket, request: bytes) -> None:
        asked.append(request.split(b" ")[1].partition(b"?")[0])
        body = bodies.get(asked[-1])
        if body is None:
            sock.sendall(answer(b"{}", "418 I'm a teapot", {"Retry-After": "3600"}))
        else:
            sock.sendall(answer(body))

    with Loopback(talk) as server:
        host = f"binance.rest_url=http://127.0.0.1:{server.port}"
        words = [*VERBS["doctor"].split(), "--var", str(tmp_path), "--set", host]
        codes = run(words), run(words)

    assert codes[0] == codes[1] != 0
    assert asked.count(b"/api/v3/exchangeInfo") == 1
    assert asked[-1] == b"/api/v3/exchangeInfo"
    told = "".join(capsys.readouterr())
    assert "the host refuses requests" in told
    assert f"http://127.0.0.1:{server.port} wants no requests for 3600 s: banned" in told
    assert "cannot be reached" not in told


def _answer(sock: socket.socket) -> None:
    sock.sendall(answer(b'{"serverTime":1700000000000}'))
