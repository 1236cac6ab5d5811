"""Access to the venue of a profile: its port, and connections to the configured hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from minibot.exchanges.base import BANNED, RATE_LIMITED, Rest, RestError, Stream, Venue
from minibot.exchanges.venues import VENUES
from minibot.market.address import Address, venue_file
from minibot.runtime.clock import machine_ns, wall_ms
from minibot.runtime.configuration.config import Config
from minibot.runtime.configuration.config_sections import EMBEDDED


def venue_of(config: Config) -> Venue:
    """Return the venue that a profile names."""
    return VENUES[config.venue]


def embedded_faults(config: Config) -> list[str]:
    """Return the fault of a profile whose venue cannot be asked outside a run; none for others."""
    if config.exchange.rest_url != EMBEDDED:
        return []
    return [f"{config.venue}.rest_url: {EMBEDDED!r} exists only inside a run; give its address"]


def new_rest(config: Config, base_url: str | None = None) -> Rest:
    """Return requests to the profile's host, or to another one."""
    exchange = config.exchange
    return venue_of(config).new_rest(
        exchange.rest_url if base_url is None else base_url,
        connect_timeout_s=exchange.connect_timeout_ms / 1000,
        total_timeout_s=exchange.rest_timeout_ms / 1000,
        machine_ns=machine_ns,
    )


def new_stream(config: Config, streams: Sequence[str], base_url: str | None = None) -> Stream:
    """Return a connection to the profile's stream host, or to another one, not made yet."""
    exchange = config.exchange
    return venue_of(config).streams.new(
        exchange.stream_url if base_url is None else base_url,
        streams,
        connect_timeout_s=exchange.connect_timeout_ms / 1000,
        machine_ns=machine_ns,
    )


class _HeedingRest:
    """Requests of a verb: none before the end of a silence that the venue asked of this address.

    A request during a ban makes it longer, whichever process was banned; a silence asked of these
    requests is remembered for the next process. All else is the venue's own client.
    """

    def __init__(self, rest: Rest, address: Callable[[], Address]) -> None:
        self._rest = rest
        self._address = address

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._rest, name)
        if not callable(found) or name == "close":
            return found

        def ask(*args: Any, **named: Any) -> Any:
            self._heed()
            try:
                return found(*args, **named)
            except RestError as error:
                remember_silence(error, self._address())
                raise

        return ask

    def _heed(self) -> None:
        address = self._address()
        left_ms = address.silent_until_ms - wall_ms()
        if left_ms > 0:
            kind = BANNED if address.is_banned else RATE_LIMITED
            why = f"not requested: the host refuses requests for {-(-left_ms // 1000)} s more"
            raise RestError(kind, why, retry_after_ms=left_ms)


def remember_silence(error: RestError, address: Address) -> None:
    """Note for the next process how long the venue wants silence, if it does."""
    if error.kind in (BANNED, RATE_LIMITED):
        until_ms = max(wall_ms() + error.retry_after_ms, error.until_ms)
        address.on_silence(until_ms, is_ban=error.kind == BANNED)


def heeding_rest(config: Config, root: Path, base_url: str | None = None) -> Rest:
    """Return requests to the profile's host, or to another one, for a verb outside a run.

    A silence is remembered below `root`, the folder `var`, for all hosts of the venue but those of
    this machine. Until its end these requests raise `RestError` without being sent, in any process
    with the same `root`.

    Raises:
        ValueError: The address is not of the form http(s)://host[:port].
    """
    rest = _HeedingRest(new_rest(config, base_url), lambda: address_of(config, root, base_url))
    return cast(Rest, rest)


def address_of(config: Config, root: Path, base_url: str | None = None) -> Address:
    """Return the address of this machine at the profile's host, or at another one, as of now."""
    file = venue_file(root, config.venue, base_url or config.exchange.rest_url)
    return Address(file, wall_ms(), venue_of(config).streams.limits)


def server_time(config: Config) -> int:
    """Return the venue's clock in Unix milliseconds.

    Raises:
        RestError: The host cannot be reached, has no usable answer, or wants silence.
    """
    rest = heeding_rest(config, config.var.root)
    try:
        return rest.server_time()
    finally:
        rest.close()
