"""Access to the venue of a profile: its port, and connections to the configured hosts."""

from __future__ import annotations

from collections.abc import Sequence

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
    return [f"{config.venue}.rest_url: {EMBEDDED!r} exists inside a run alone; give its address"]


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


def server_time(config: Config) -> int:
    """Return the venue's clock in Unix milliseconds.

    Before the end of a silence that a run was told, nothing is asked: it would make a ban longer.

    Raises:
        RestError: The host cannot be reached, has no usable answer, or wants silence.
    """
    now_ms, limits = wall_ms(), venue_of(config).streams.limits
    address = Address(venue_file(config.var.root, config.venue), now_ms, limits)
    left_ms = address.silent_until_ms - now_ms
    if left_ms > 0:
        kind = BANNED if address.is_banned else RATE_LIMITED
        raise RestError(kind, f"not asked: it wants silence for {-(-left_ms // 1000)} s more")
    rest = new_rest(config)
    try:
        return rest.server_time()
    finally:
        rest.close()
