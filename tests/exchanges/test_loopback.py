"""Loopback hosts, whose data is filed apart from a venue's."""

from __future__ import annotations

import pytest

from minibot.exchanges.binance.archive import BinanceArchive
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.loopback import is_loopback


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.8.9.1"),
        *("127.1", "0x7f000001", "0.0.0.0", "::1", "::ffff:127.0.0.1"),
    ],
)
def test_host_of_this_machine_is_known_in_every_spelling(host: str) -> None:
    """Every spelling of this machine is recognised."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["data.binance.vision", "localhost.example.com", "128.0.0.1", "10.0.0.1", "2001:db8::1"]
)
def test_host_elsewhere_is_none(host: str) -> None:
    """A name that only looks like this machine, and a neighbour, are not."""
    assert not is_loopback(host)


def test_hosts_of_archive_and_rest_say_whether_they_are_this_machine() -> None:
    """Download asks whether archive and REST hosts are this machine."""
    here, there = "http://127.0.0.1:8080", "https://data.binance.vision"
    for url, expected in ((here, True), (there, False)):
        archive = BinanceArchive(url, hosts=(), connect_timeout_s=1, total_timeout_s=1)
        rest = BinanceRest(url, connect_timeout_s=1, total_timeout_s=1)

        assert (archive.is_loopback, rest.is_loopback) == (expected, expected)
