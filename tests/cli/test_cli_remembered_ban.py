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
    address = Address(venue_file(tmp_path, "binance"), wall_ms(), limits)
    address.on_silence(wall_ms() + 3_600_000, is_ban=True)
    with Loopback(lambda sock, request: _answer(sock)) as server:
        host = f"binance.rest_url=http://127.0.0.1:{server.port}"
        code = run([*VERBS[verb].split(), "--var", str(tmp_path), "--set", host])
        requests = len(server.requests)

    assert code != 0
    assert requests == 0
    assert "wants silence" in "".join(capsys.readouterr())


def _answer(sock: socket.socket) -> None:
    sock.sendall(answer(b'{"serverTime":1700000000000}'))
