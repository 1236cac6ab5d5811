"""Connection attempts and bans of an address, remembered across processes, runs and clocks."""

from __future__ import annotations

import socket
from bisect import bisect_left
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.exchanges.base import BANNED, RATE_LIMITED, RestError
from minibot.exchanges.binance.limits import CONNECTION_LIMITS as LIMITS
from minibot.kernel.errors import IntegrityError
from minibot.market.address import (
    Address,
    AddressFile,
    NoMemory,
    venue_file,
)
from minibot.market.venue_access import address_of, heeding_rest, server_time
from minibot.runtime.clock import wall_ms
from minibot.runtime.configuration.config import load_config
from tests.conftest import PROJECT
from tests.exchanges.binance.loopback import Loopback, answer

HERE = "http://127.0.0.1"


@pytest.mark.row("S-22")
def test_attempts_of_former_processes_count_in_the_same_window(tmp_path: Path) -> None:
    """Ten processes of thirty attempts each share one budget."""
    now = 1_000_000
    attempts: list[int] = []
    for _ in range(10):
        address = Address(AddressFile(tmp_path / "address.json", "unix"), now, LIMITS)
        for _ in range(30):
            now = address.free_at_ms(now + 10)
            address.on_attempt(now)
            attempts.append(now)

    assert attempts == sorted(attempts)
    for first, start in enumerate(attempts):
        assert bisect_left(attempts, start + LIMITS.attempts_ms) - first <= LIMITS.attempts_max
    assert attempts[-1] - attempts[0] >= LIMITS.attempts_ms
    assert LIMITS.attempts_max < 300  # The venue's limit, less room for other users of the address.


@pytest.mark.row("F106")
def test_ban_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    """A ban is remembered by the next process, with its end and its kind."""
    path = tmp_path / "exchange" / "address.json"
    Address(AddressFile(path, "unix"), 0, LIMITS).on_silence(120_000, is_ban=True)

    again = Address(AddressFile(path, "unix"), 60_000, LIMITS)

    assert (again.silent_until_ms, again.is_banned) == (120_000, True)


@pytest.mark.row("F106")
@pytest.mark.network_mock
def test_ban_is_known_before_a_start_asks_for_the_time(tmp_path: Path) -> None:
    """Not one request of a start, or of a look around, falls into a ban that a run was told."""

    def talk(sock: socket.socket, request: bytes) -> None:
        sock.sendall(answer(b'{"serverTime":1700000000000}'))

    with Loopback(talk) as server:
        host = f"127.0.0.1:{server.port}"
        sets = [f"paths.var={tmp_path}", f"binance.rest_url=http://{host}"]
        config = load_config(PROJECT / "config" / "nore.v1.json", sets, {})
        address = Address(venue_file(tmp_path, "binance", HERE), wall_ms(), LIMITS)
        asked = server_time(config)
        address.on_silence(wall_ms() + 3_600_000, is_ban=True)
        with pytest.raises(RestError) as refused:
            server_time(config)
        requests = len(server.requests)

    assert asked == 1_700_000_000_000
    assert refused.value.kind == BANNED
    assert requests == 1


@pytest.mark.row("F105", "F106")
@pytest.mark.network_mock
@pytest.mark.parametrize(
    ("status", "kind"), [("418 I'm a teapot", BANNED), ("429 Too Many", RATE_LIMITED)]
)
def test_silence_told_outside_a_run_is_heeded_by_the_next_process(
    tmp_path: Path, status: str, kind: str
) -> None:
    """Whoever was told of a silence, nobody asks before its end, and a night's role knows it."""

    def talk(sock: socket.socket, request: bytes) -> None:
        sock.sendall(answer(b"{}", status, {"Retry-After": "3600"}))

    told: list[RestError] = []
    with Loopback(talk) as server:
        sets = [f"binance.rest_url=http://127.0.0.1:{server.port}"]
        config = load_config(PROJECT / "config" / "nore.v1.json", sets, {})
        for _ in range(2):
            rest = heeding_rest(config, tmp_path)
            for ask in (rest.ping, rest.server_time):
                with pytest.raises(RestError) as refused:
                    ask()
                told.append(refused.value)
            rest.close()
        requests = len(server.requests)

    assert requests == 1
    assert {error.kind for error in told} == {kind}
    assert all(3_500_000 < error.retry_after_ms <= 3_600_000 for error in told)
    known = Address(venue_file(tmp_path, "binance", HERE), wall_ms(), LIMITS)
    assert known.silent_until_ms > wall_ms() + 3_500_000
    assert known.is_banned == (kind == BANNED)


@pytest.mark.network_mock
def test_ban_of_a_played_exchange_is_none_of_the_venue(tmp_path: Path) -> None:
    """A ban by `minibot exchange` bars no start at the venue, also where a verb names the host."""

    def talk(sock: socket.socket, request: bytes) -> None:
        sock.sendall(answer(b"{}", "418 I'm a teapot", {"Retry-After": "86400"}))

    config = load_config(PROJECT / "config" / "nore.v1.json", [], {})
    with Loopback(talk) as server:
        rest = heeding_rest(config, tmp_path, f"http://localhost:{server.port}")
        with pytest.raises(RestError):
            rest.ping()
        rest.close()

    assert address_of(config, tmp_path, HERE).is_banned
    assert address_of(config, tmp_path).silent_until_ms == 0


@pytest.mark.row("F106")
def test_ban_from_a_clock_that_was_ahead_ends_after_the_longest_time(tmp_path: Path) -> None:
    """Each start waits for the same end, so that a wrong stamp does not lock out for ever."""
    path = tmp_path / "a.json"
    ahead = Address(AddressFile(path, "unix"), 10**13, LIMITS)
    for _ in range(LIMITS.attempts_max):
        ahead.on_attempt(10**13)
    ahead.on_silence(10**13 + 120_000, is_ban=True)

    starts = [
        Address(AddressFile(path, "unix"), now_ms, LIMITS)
        for now_ms in (1_000, 60_000, LIMITS.ban_ms_max + 1_000)
    ]

    assert [each.silent_until_ms for each in starts] == [1_000 + LIMITS.ban_ms_max] * 3
    assert starts[1].free_at_ms(60_000) == 1_000 + LIMITS.attempts_ms
    assert starts[2].attempts(LIMITS.ban_ms_max + 1_000) == 0


def test_shorter_silence_does_not_shorten_a_ban(tmp_path: Path) -> None:
    """A 429 during a ban does not shorten it."""
    address = Address(AddressFile(tmp_path / "a.json", "unix"), 0, LIMITS)
    address.on_silence(120_000, is_ban=True)
    address.on_silence(10_000, is_ban=False)

    assert (address.silent_until_ms, address.is_banned) == (120_000, True)


def test_state_of_another_clock_is_no_state(tmp_path: Path) -> None:
    """State of a simulated run's clock is ignored by the next run."""
    path = tmp_path / "a.json"
    Address(AddressFile(path, "20260101_000000"), 0, LIMITS).on_silence(500_000, is_ban=True)

    assert Address(AddressFile(path, "20260101_000001"), 0, LIMITS).silent_until_ms == 0
    assert Address(AddressFile(path, "20260101_000000"), 0, LIMITS).silent_until_ms == 500_000


def test_clock_that_was_set_back_neither_frees_nor_locks_for_ever(tmp_path: Path) -> None:
    """Stamps ahead of the clock count as now; a ban from ahead lasts the longest allowed time."""
    path = tmp_path / "a.json"
    late = 10**13
    address = Address(AddressFile(path, "unix"), late, LIMITS)
    for _ in range(LIMITS.attempts_max):
        address.on_attempt(late)
    address.on_silence(late + 120_000, is_ban=True)

    again = Address(AddressFile(path, "unix"), 1_000, LIMITS)

    assert again.free_at_ms(1_000) == 1_000 + LIMITS.attempts_ms
    assert again.silent_until_ms == 1_000 + LIMITS.ban_ms_max


def test_damaged_state_stops_with_the_file_named(tmp_path: Path) -> None:
    """Damaged state stops the run with the file's name, because a ban is not to be guessed."""
    path = tmp_path / "a.json"
    Address(AddressFile(path, "unix"), 0, LIMITS).on_silence(120_000, is_ban=True)
    path.write_bytes(path.read_bytes().replace(b"120000", b"000000"))

    with pytest.raises(IntegrityError) as stop:
        Address(AddressFile(path, "unix"), 0, LIMITS)
    assert stop.value.reason_code == "ATOMICITY_VIOLATION"
    assert "a.json" in stop.value.detail


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.integers(0, 3_000), min_size=250, max_size=400))
def test_whoever_waits_as_told_never_exceeds_the_budget(pauses: list[int]) -> None:
    """A caller that waits as told never exceeds the budget in any five minutes."""
    address, now = Address(NoMemory(), 0, LIMITS), 0
    attempts: list[int] = []
    for pause in pauses:
        now = address.free_at_ms(now + pause)
        address.on_attempt(now)
        attempts.append(now)

    assert attempts == sorted(attempts)
    for first, start in enumerate(attempts):
        assert bisect_left(attempts, start + LIMITS.attempts_ms) - first <= LIMITS.attempts_max
