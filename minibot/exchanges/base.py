"""What the market role asks of a venue, in words that are no venue's own.

Messages are values: a stream's frame becomes one of them or a `FrameInvalid`. Prices and
quantities keep the venue's own characters beside whole hundred-millionths, so that events repeat
exactly what was said and arithmetic is exact. `PublicData` and `Stream` are read-only on purpose:
there is no word in them for an order or an account.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from minibot.events.model import Instrument, Side
from minibot.kernel.errors import Transient

TRADE: Final = "trade"
QUOTE: Final = "bookTicker"
DEPTH: Final = "depth"

Rows = list[list[str]]
"""Levels as the venue sends them: [price, quantity], both decimal strings."""


class Trade(NamedTuple):
    """One execution. `trade_ts` is the venue's own time in Unix milliseconds."""

    symbol: str
    trade_id: int
    price: str
    price_units: int
    qty: str
    qty_units: int
    trade_ts: int
    taker_side: Side


class Quote(NamedTuple):
    """The best bid and ask after book update `update_id`; `exchange_ts` where the venue says it."""

    symbol: str
    update_id: int
    bid: str
    bid_units: int
    bid_qty: str
    ask: str
    ask_units: int
    ask_qty: str
    exchange_ts: int | None


class Diff(NamedTuple):
    """Absolute new quantities of levels, for book updates first_id..last_id; zero removes."""

    symbol: str
    first_id: int
    last_id: int
    bids: Rows
    asks: Rows


class Shutdown(NamedTuple):
    """The venue is about to close this connection."""

    detail: str


class Ignored(NamedTuple):
    """A valid message that carries no market data for us, such as an answer to a subscription."""

    detail: str


Message = Trade | Quote | Diff | Shutdown | Ignored


class Snapshot(NamedTuple):
    """A book as of `last_update_id`, best levels first; `is_whole` if no level was cut off."""

    last_update_id: int
    bids: Rows
    asks: Rows
    is_whole: bool


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
    """A frame that cannot be used; `is_readable` is False when it is not even JSON."""

    def __init__(self, detail: str, *, is_readable: bool = True) -> None:
        super().__init__(detail[:300])
        self.is_readable = is_readable


class RestError(Transient):
    """A request that gave no usable answer.

    Args:
        kind: One of the constants below.
        detail: For a person; bounded.
        status: HTTP status, 0 if there was none.
        code: The venue's own error code, 0 if there was none.
        retry_after_ms: How long the venue asked for silence (429) or banned this address (418).
        until_ms: The end of a ban on the venue's clock, 0 if it did not say one.
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
UNREACHABLE: Final = "unreachable"
RATE_LIMITED: Final = "rate_limited"
BANNED: Final = "banned"
SERVER: Final = "server_error"
REFUSED: Final = "refused"
MALFORMED: Final = "malformed"
REDIRECT: Final = "redirect"


class StreamLost(Transient):
    """A stream connection could not be made, or is no more."""


class PublicData(Protocol):
    """The read-only requests of a venue; each blocks, at most for the configured time."""

    def ping(self) -> None:
        """Ask for nothing, to measure the round trip."""

    def server_time(self) -> int:
        """Return the venue's clock in Unix milliseconds."""

    def instruments(self, symbols: Sequence[str]) -> list[Instrument]:
        """Return the rules of the given symbols."""

    def candles(
        self, symbol: str, interval: str, *, start: int | None, end: int, limit: int
    ) -> list[Candle]:
        """Return at most `limit` klines that open within start..end, oldest first.

        Without `start` the newest ones up to `end`.
        """

    def snapshot(self, symbol: str, limit: int) -> Snapshot:
        """Return the book with at most `limit` levels a side."""


class Stream(Protocol):
    """One stream connection; `recv` belongs to one thread, `abort` to any."""

    def open(self) -> None:
        """Connect, at most for the configured time.

        Raises:
            StreamLost: No connection.
        """

    def recv(self) -> tuple[int, bytes]:
        """Return machine time of the socket read and one frame; blocks without a limit.

        Raises:
            StreamLost: The connection is no more.
        """

    def abort(self) -> None:
        """End the connection now and wake whoever reads."""

    def close(self) -> None:
        """Give everything back; for the reading thread, once it has left `recv`."""
