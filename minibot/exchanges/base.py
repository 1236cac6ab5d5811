"""The port of a venue: the needs of the market role, in words that are no venue's own.

`Venue` is all of a venue; each that a profile may name has a package beside this module and an
entry in `exchanges.venues`. Messages are values: a stream's frame becomes one of them or a
`FrameInvalid`. Prices and quantities keep the venue's own characters besides whole
hundred-millionths, so that events repeat the exact text and arithmetic is exact. Levels of a book
are texts alone: their sizes may be finer, at Kraken their prices too. `Rest` and `Stream` are
read-only on purpose: there is no word in them for an order or an account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from minibot.events.model import Instrument, Side
from minibot.exchanges.venue_facts import (
    Archive,
    ConnectionLimits,
    Hosts,
    Limits,
    Listings,
    Reply,
    Rules,
    SymbolMap,
    Tickers,
)
from minibot.kernel.errors import Transient

TRADE: Final = "trade"
QUOTE: Final = "bookTicker"
DEPTH: Final = "depth"

Rows = list[list[str]]
"""Levels as the venue sends them: [price, quantity], both decimal strings."""
Level = tuple[str, str]
"""One level as (price, quantity)."""

# Outcomes of a diff, or of a snapshot, in a book keeper.
BUFFERED: Final = "buffered"
APPLIED: Final = "applied"
IGNORED: Final = "ignored"
GAP: Final = "gap"
SYNCED: Final = "synced"
TOO_OLD: Final = "too_old"


class Trade(NamedTuple):
    """One execution. `trade_ts` is the venue's own time in Unix milliseconds.

    The ids of a symbol step by one: a jump means that trades are missing.
    """

    symbol: str
    trade_id: int
    price: str
    price_units: int
    qty: str
    qty_units: int
    trade_ts: int
    taker_side: Side


class Quote(NamedTuple):
    """Best bid and ask after book update `update_id`; `exchange_ts` where the venue sends it."""

    symbol: str
    update_id: int
    bid: str
    bid_units: int
    bid_qty: str
    ask: str
    ask_units: int
    ask_qty: str
    exchange_ts: int | None


class NoTouch(NamedTuple):
    """A side of the book is empty, as before a delisting: there is no best quote."""

    symbol: str


class Diff(NamedTuple):
    """Absolute new quantities of levels; zero removes a level.

    A venue proves the book either by update numbers, first_id..last_id, or by a checksum of the
    book after the diff. Without numbers both ids are 0; without a checksum it is None.
    """

    symbol: str
    first_id: int
    last_id: int
    bids: Rows
    asks: Rows
    checksum: int | None = None


class Shutdown(NamedTuple):
    """The venue is about to close this connection."""

    detail: str


class Ignored(NamedTuple):
    """A valid message that carries no market data for us, such as an answer to a subscription."""

    detail: str


Edges = tuple[int | None, int | None]
"""Last bid and last ask up to which every level is known, in hundred-millionths; None for all."""
EDGES: Final = "minibot_edges"
"""Field that we add to a recorded or replayed depth answer: its edges as texts."""


class Snapshot(NamedTuple):
    """A book as of `last_update_id`, best levels first; `is_whole` if no level was cut off.

    The id is 0 at a venue that does not number its updates; such a venue may send a checksum.
    `edges` are given where the number of levels does not tell how far they are known.
    """

    last_update_id: int
    bids: Rows
    asks: Rows
    is_whole: bool
    checksum: int | None = None
    edges: Edges | None = None


class StreamedSnapshot(NamedTuple):
    """A book that came on the stream, before the diffs that change it."""

    symbol: str
    snapshot: Snapshot


class Trades(NamedTuple):
    """Several executions in one frame, in the order of the venue."""

    trades: tuple[Trade, ...]


Message = Trade | Trades | Quote | NoTouch | Diff | StreamedSnapshot | Shutdown | Ignored


class Candle(NamedTuple):
    """One kline as the venue writes it; times in Unix milliseconds."""

    open_ts: int
    close_ts: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trades: int
    taker_buy_volume: str


class FrameInvalid(ValueError):
    """A frame that cannot be used; `is_readable` is False when it is not even JSON.

    `symbol` is the symbol of the frame, where that could still be read; `is_quote` is True when the
    frame is known to be a best quote. `may_be_diff` is False when it is known to belong to another
    stream than the book's; only a dialect without numbered diffs sets it, and only there it counts.
    """

    def __init__(
        self,
        detail: str,
        *,
        is_readable: bool = True,
        symbol: str = "",
        may_be_diff: bool = True,
        is_quote: bool = False,
    ) -> None:
        super().__init__(detail[:300])
        self.is_readable = is_readable
        self.symbol = symbol
        self.may_be_diff = may_be_diff
        self.is_quote = is_quote


class RestError(Transient):
    """A request without a usable answer.

    Args:
        kind: One of the constants below.
        detail: Text for the operator, limited in length.
        status: HTTP status, 0 if there was none.
        code: The venue's own error code, 0 if there was none.
        retry_after_ms: Length of the silence that the venue wants (429), or of its ban (418).
        until_ms: The end of a ban on the venue's clock, 0 if the venue did not name one.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        status: int = 0,
        code: int = 0,
        retry_after_ms: int = 0,
        until_ms: int = 0,
    ) -> None:
        super().__init__(f"{kind}: {detail[:300]}")
        self.kind = kind
        self.detail = detail[:300]
        self.status = status
        self.code = code
        self.retry_after_ms = retry_after_ms
        self.until_ms = until_ms


TIMEOUT: Final = "timeout"
LOOK: Final = "check the network, a proxy, and whether the host is blocked where you are"
"""Remedy for a host that does not answer."""
LOOK_AFTER_MS: Final = 10_000
"""Time without an answer after which a retry reports it."""
UNREACHABLE: Final = "unreachable"
RATE_LIMITED: Final = "rate_limited"
BANNED: Final = "banned"
SERVER: Final = "server_error"
REFUSED: Final = "refused"
MALFORMED: Final = "malformed"
REDIRECT: Final = "redirect"


class StreamLost(Transient):
    """A stream connection could not be established, or was lost."""


class RestReply(NamedTuple):
    """The last answer: HTTP status (0 for none), weight used if reported, and time taken."""

    path: str
    status: int
    weight_used: int | None
    took_us: int


class Rest(Protocol):
    """The read-only requests of a venue; each blocks, at most for the configured time.

    Only the lookup of a host's name, and an attempt to connect that has begun, may take longer
    (`deadline`). For one thread at a time, but for `close`. A request raises `RestError` where
    there is no usable answer, and stops the run (REAL_ORDER_ATTEMPT) where its path is not public
    market data.

    Attributes:
        last: Facts of the last answer.
        weight_limit: Weight a minute that the last answer granted, if it was to `instruments` or
            `listings`; None after any other, or where it did not say.
        is_loopback: The host is this machine, so what it serves is not a venue's data.
    """

    last: RestReply
    weight_limit: int | None
    is_loopback: bool

    def close(self) -> None:
        """End a request in flight and close all connections, from any thread.

        A later request connects again.
        """

    def ping(self) -> None:
        """Request nothing, to measure the round trip."""

    def server_time(self) -> int:
        """Return the venue's clock in Unix milliseconds."""

    def instruments(self, symbols: Sequence[str]) -> list[Instrument]:
        """Return the rules of the given symbols; a name the venue does not know is REFUSED."""

    def listings(self, quote_asset: str | None = None) -> Listings:
        """Return the venue's listings, all of them or those that one asset pays for."""

    def day_volumes(self) -> dict[str, str]:
        """Return the quote volume of 24 hours of every symbol."""

    def candles(
        self, symbol: str, interval: str, *, start: int | None, end: int, limit: int
    ) -> list[Candle]:
        """Return at most `limit` klines that open within start..end, oldest first.

        Of more, those from `start` on; without `start`, the newest ones up to `end`.
        """

    def snapshot(self, symbol: str, limit: int) -> Snapshot:
        """Return the book with at most `limit` levels a side."""

    def rules_text(self, symbols: Sequence[str]) -> bytes:
        """Return the rules of one or more symbols in the venue's own words, for a recording."""

    def snapshot_body(self, symbol: str, limit: int) -> dict[str, Any]:
        """Return a book in the venue's own words, for a recording."""

    def candle_rows(
        self, symbol: str, interval: str, *, start: int, end: int, limit: int
    ) -> list[list[Any]]:
        """Return the result of `candles` as rows of a kline file, after a look at each."""


class Stream(Protocol):
    """One stream connection; `recv` may only be called by one thread, `abort` by any.

    A reader calls either `recv` or `recv_all`, not both: the order of frames would be lost.
    """

    def open(self) -> None:
        """Connect within the configured time.

        Raises:
            StreamLost: No connection.
        """

    def recv(self) -> tuple[int, bytes]:
        """Return machine time of the socket read and one frame; blocks without a limit.

        Raises:
            StreamLost: The connection was lost.
        """

    def recv_all(self) -> tuple[int, list[bytes]]:
        """Return the result of `recv`, plus all other frames completed by the same socket read.

        Raises:
            StreamLost: The connection was lost.
        """

    def unread(self) -> int:
        """Return roughly how many frames wait to be received; callable from any thread."""

    def send(self, text: str) -> None:
        """Send one text message, from any thread; blocks while the socket is full.

        Raises:
            StreamLost: The connection was lost.
        """

    def abort(self) -> None:
        """End the connection now and wake the reading thread."""

    def close(self) -> None:
        """Release all resources; for the reading thread, once it has left `recv`."""


class Levels(Protocol):
    """One side of a book."""

    def top(self, count: int) -> tuple[Level, ...]:
        """Return the best `count` levels, best first."""

    def worth(self, bound: int) -> int:
        """Return the value of all kept levels at `bound` or better.

        Args:
            bound: Price in hundred-millionths.

        Returns:
            Quote amount in 10**-16, of sizes rounded down to hundred-millionths.
        """


class Book(Protocol):
    """Both sides of a book; `book_id` never goes back, and is the venue's count or ours."""

    @property
    def book_id(self) -> int:
        """Return the number of the last update applied."""

    @property
    def bids(self) -> Levels:
        """Return the bids."""

    @property
    def asks(self) -> Levels:
        """Return the asks."""

    def touch(self) -> tuple[str, str, str, str] | None:
        """Return bid, its quantity, ask, its quantity; None while a side is empty."""

    def is_beyond_edge(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
        """Return whether the given best levels reach beyond the levels that the venue has shown."""

    def reaches(self, low: int, high: int) -> tuple[bool, bool]:
        """Return whether all bids from `low` up, and all asks up to `high`, are kept.

        Args:
            low: Price in hundred-millionths.
            high: The same for the asks.
        """


class BookKeeper(Protocol):
    """Keeper of one symbol's book: valid by the venue's own rule, or absent."""

    @property
    def book(self) -> Book | None:
        """Return the valid book; None while there is none."""

    @property
    def wants_snapshot(self) -> bool:
        """Return True while there is no valid book, or a fresh snapshot is to replace it."""

    def on_diff(self, diff: Diff) -> str:
        """Take one diff and return BUFFERED, APPLIED, IGNORED or GAP; after GAP the book is lost.

        Raises:
            FrameInvalid: The diff is contradictory, or its result is not the book that the venue
                announced; the book is lost.
        """

    def on_snapshot(self, snapshot: Snapshot) -> str:
        """Take a snapshot and return SYNCED, TOO_OLD (request another) or GAP.

        Raises:
            FrameInvalid: The snapshot is contradictory; the book is lost.
        """

    def refresh(self) -> None:
        """Mark the book as in want of a new snapshot (`wants_snapshot`); the valid one goes on.

        Sends nothing: the caller requests the snapshot.
        """

    def reset(self) -> None:
        """Discard everything."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Stream protocol of a venue.

    Attributes:
        parse_frame: Makes a message of a frame, or raises `FrameInvalid`.
        new_keeper: Makes the keeper of one symbol's book.
        is_numbered: Whether diffs are numbered. If not, an unusable frame may have been an update
            whose loss no number would show, so the books that it may have changed are lost.
        has_quotes: Whether best quotes have a stream of their own; if not, the top of the proved
            book takes their place.
        parse_snapshot: Reads an answer with a book of at most so many levels a side; None where
            books come on the stream alone.
    """

    parse_frame: Callable[[bytes], Message]
    new_keeper: Callable[[], BookKeeper]
    is_numbered: bool = True
    has_quotes: bool = True
    parse_snapshot: Callable[[Any, int], Snapshot] | None = None


class NewRest(Protocol):
    """Makes the requests of one thread."""

    def __call__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float,
        total_timeout_s: float,
        machine_ns: Callable[[], int] = ...,
    ) -> Rest:
        """Return requests to a host that are not connected yet.

        Args:
            base_url: Scheme, host and port.
            connect_timeout_s: Machine seconds for one address of the host, of which there may be
                several; a third of the total at most.
            total_timeout_s: Machine seconds for a whole request with its answer.
            machine_ns: Machine time, for the measured round trip.

        Raises:
            ValueError: The address is none.
        """


class NewStream(Protocol):
    """Makes one stream connection."""

    def __call__(
        self,
        base_url: str,
        streams: Sequence[str],
        *,
        connect_timeout_s: float,
        machine_ns: Callable[[], int] = ...,
    ) -> Stream:
        """Return a connection that is not made yet, and whose address names these streams.

        Raises:
            ValueError: The address is none, or more streams than one can name.
        """


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a venue: their names, their connections and their messages.

    Attributes:
        names: Returns the streams of a symbol; they are lost and found together.
        new: Makes a connection.
        named_in_address: Returns the first groups of streams that one address can name; the rest is
            asked for by control messages.
        control: Returns the text of a control message: SUBSCRIBE or UNSUBSCRIBE, names, number.
        reply_of: Returns the answer that a frame is, None if it is none.
        shutdown: Text near the beginning of a frame that announces the end of a connection.
        market_wide: How frames of streams begin that belong to no symbol.
        limits: What an address and a connection may do.
    """

    names: Callable[[str], tuple[str, ...]]
    new: NewStream
    named_in_address: Callable[[Mapping[str, Sequence[str]]], tuple[str, ...]]
    control: Callable[[str, Sequence[str], int], str]
    reply_of: Callable[[bytes], Reply | None]
    shutdown: bytes
    market_wide: bytes
    limits: ConnectionLimits


@dataclass(frozen=True, slots=True)
class Venue:
    """One venue: everything that is its own, as attributes.

    Attributes:
        name: As in the profile's key `venue`, and of the profile's section.
        new_rest: Makes requests; several may be under way at a time.
        tickers: None where the venue has no stream of the whole market.
        archive: None where it publishes no files.
    """

    name: str
    dialect: Dialect
    rules: Rules
    limits: Limits
    hosts: Hosts
    new_rest: NewRest
    streams: Streams
    tickers: Tickers | None
    symbols: SymbolMap
    archive: Archive | None
