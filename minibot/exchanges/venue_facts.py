"""Facts of a venue that the port is made of: rules, limits, hosts, names, archive.

Values and plain functions, without a connection; `exchanges.base.Venue` holds them together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from msgspec.structs import replace

from minibot.accounting.order_rules import TRADING
from minibot.events.model import Instrument
from minibot.events.reasons import REAL_ORDER_ATTEMPT
from minibot.kernel.errors import RunStop

# --- rules ------------------------------------------------------------------------------------

DELISTED: Final = "DELISTED"
"""Our own status of a symbol that the venue no longer lists: the venue has no word for it."""


def gone(before: Instrument) -> Instrument:
    """Return the rules of a symbol that the venue lists no longer: as they were, not trading."""
    return replace(before, status=DELISTED)


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol as the venue lists it; `instrument` is None where its rules cannot be used.

    `status` is TRADING for a symbol that trades. For others it is another word: the venue's own, or
    that of `Instrument`.
    """

    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    is_spot: bool
    instrument: Instrument | None


@dataclass(frozen=True, slots=True)
class Listings:
    """Everything that is listed; `unreadable` counts entries whose names no event may carry."""

    by_symbol: Mapping[str, Listing]
    unreadable: int


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a symbol in a venue's words.

    Attributes:
        trading: The word for a symbol that trades.
        halted: Some words for a symbol that is listed and does not trade; any other word than
            `trading` means so too.
        delisted: Words for a symbol that is still named although it will not come back.
        parse: Makes the instrument of one entry, or raises `FrameInvalid`.
    """

    trading: str
    halted: frozenset[str]
    delisted: frozenset[str]
    parse: Callable[[Mapping[str, Any]], Instrument]


def status_of(word: str, trading: str, delisted: Collection[str] = ()) -> str:
    """Return the status that events carry for a venue's word: only `trading` is TRADING.

    An unknown word is kept in capital letters, and does not trade.
    """
    if word == trading:
        return TRADING
    if word in delisted:
        return DELISTED
    kept = "".join(sign if sign.isalpha() else "_" for sign in word.upper() if sign.isascii())
    return kept[:40] if kept.strip("_") and kept != TRADING else "UNKNOWN"


# --- requests ---------------------------------------------------------------------------------

# Klines come from a cache of the venue: a row may still change for so long after its end.
SETTLE_MS: Final = 500


class Endpoint(NamedTuple):
    """A public request: its path, and the weight of one."""

    path: str
    weight: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The requests of a venue with their weights, and how much it gives at once.

    Attributes:
        weight_per_minute: Weight that an address may use, until the venue reports another figure.
        snapshot: The request of a book with a number of levels a side.
        snapshot_levels: Depths with a request weight of their own, ascending.
        levels_deep: A depth that a moving market does not leave within a minute.
        candles_max: Klines in one answer.
        instruments_max: Symbols whose rules one request may name.
    """

    weight_per_minute: int
    ping: Endpoint
    time: Endpoint
    instruments: Endpoint
    listings: Endpoint
    volumes: Endpoint
    candles: Endpoint
    snapshot: Callable[[int], Endpoint]
    snapshot_levels: tuple[int, ...]
    levels_deep: int
    candles_max: int
    instruments_max: int


@dataclass(frozen=True, slots=True)
class Hosts:
    """Addresses of a venue's public data, and the paths that may be requested there.

    Attributes:
        venue: Its name.
        rest, stream, archive: Addresses of its public data; the archive is empty without one.
        paths: Every path that may be requested of `rest`; the archive's files are not listed.
    """

    venue: str
    rest: str
    stream: str
    archive: str
    paths: frozenset[str]

    def check(self, path: str) -> None:
        """Let a path of public market data pass.

        Raises:
            RunStop: REAL_ORDER_ATTEMPT; the path is another.
        """
        if path not in self.paths:
            raise RunStop(
                f"exchanges.{self.venue}",
                REAL_ORDER_ATTEMPT,
                f"request to {path[:200]!r}: only public market data may be asked for",
            )


# --- connections ---------------------------------------------------------------------------

SUBSCRIBE: Final = "SUBSCRIBE"
UNSUBSCRIBE: Final = "UNSUBSCRIBE"


class Reply(NamedTuple):
    """The venue's answer to a control message; `error` is empty when it was taken."""

    id: int | None
    error: str


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of an address and a connection, with room for other users of the address.

    Attributes:
        streams_max: Streams on one connection.
        attempts_max: Attempts to connect within `attempts_ms`.
        ban_ms_max: The longest ban; a stamp further ahead comes from a wrong clock.
        message_interval_ms: Time between two control messages of a connection.
        batch_streams_max: Streams in one control message.
    """

    streams_max: int
    attempts_max: int
    attempts_ms: int
    ban_ms_max: int
    message_interval_ms: int
    batch_streams_max: int


class LastPrice(NamedTuple):
    """The last price of a symbol, about once a second where it changed; units of 10**-8.

    `exchange_ts` is the venue's own time of that price, Unix ms.
    """

    symbol: str
    close: str
    close_units: int
    exchange_ts: int


@dataclass(frozen=True, slots=True)
class Tickers:
    """The stream of the whole market's last prices, and how its frames are read."""

    stream: str
    parse: Callable[[bytes], list[LastPrice]]


# --- archive, names -------------------------------------------------------------------------


class ArchiveFile(NamedTuple):
    """One file of an archive: its path below the host, and the period it covers, in Unix ms."""

    path: str
    first_ts: int
    end_ts: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]


class ArchiveHost(Protocol):
    """Gets files of an archive, for one thread at a time."""

    is_loopback: bool

    def checksum(self, path: str) -> str | None:
        """Return the sha256 that is published of a file; None if the archive does not have it."""

    def fetch(self, path: str, keep: Callable[[Iterator[bytes]], Any]) -> Any:
        """Return a file's bytes as `keep` has read them; None if the archive does not have it."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The layout of a venue's public archive of klines.

    Attributes:
        files: Yields the files that cover spans of a symbol and interval, given the time now.
        days_of: Yields the files of the days of a month's file.
        monthly_only: Intervals that have no files of days.
        new_host: Makes the host's requests.
    """

    files: Callable[[str, str, Collection[tuple[int, int]], int], Iterator[ArchiveFile]]
    days_of: Callable[[ArchiveFile, str, str], Iterator[ArchiveFile]]
    monthly_only: frozenset[str]
    new_host: Callable[..., ArchiveHost]


SYMBOL: Final = re.compile(r"[A-Z0-9]{2,30}", re.ASCII)
"""A symbol as folders of market data carry it; an event takes at most 20 characters."""


@dataclass(frozen=True, slots=True)
class SymbolMap:
    """The names of symbols: as events carry them, and as the venue writes them in requests.

    Either function may raise ValueError for a text that is no name.
    """

    to_venue: Callable[[str], str]
    from_venue: Callable[[str], str]

    def read(self, text: str) -> str:
        """Return the symbol that a person means: BTC/USDT, BTCUSDT or the venue's own name.

        Any other text comes back in capital letters and without slashes, for the caller to refuse.
        """
        name = text.strip()
        with suppress(ValueError):
            name = self.from_venue(name)
        return name.replace("/", "").upper()
