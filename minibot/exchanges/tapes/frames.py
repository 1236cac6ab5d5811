"""Frames from a source to the player, in order, and the facts known before the first one.

A frame is one message of the venue at its receive time. Streams that a source does not carry itself
(klines, tickers, slower depth) are made by the server from the frames already played.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from minibot.exchanges.base import EDGES, FrameInvalid, Snapshot
from minibot.exchanges.binance.limits import LIMITS
from minibot.exchanges.binance.messages import parse_snapshot
from minibot.exchanges.tapes.kline_bars import Bar

TRADE: Final = "trade"
AGG_TRADE: Final = "aggTrade"
BOOK_TICKER: Final = "bookTicker"
DEPTH: Final = "depth"
SNAPSHOT: Final = "snapshot"  # The body of a REST depth answer; changes the book, is not sent.
# Fields of a depth body, added by us: it was rebuilt, or has only the levels nearest the touch.
REBUILT: Final = "minibot_rebuilt"
NEAREST: Final = "minibot_nearest"
OTHER: Final = "other"  # Of a kind that only the source knows; passed on to its subscribers.


@dataclass(slots=True)
class Frame:
    """One message at `at_ns` of market time; `text` is the recorded combined message, if any."""

    at_ns: int
    symbol: str
    kind: str
    stream: str
    data: bytes
    text: bytes | None = None


@dataclass(slots=True)
class SourceFacts:
    """Facts that a source knows before it plays.

    `skew_ms` is exchange time minus receive time. `opening_books` holds, per symbol, the REST depth
    body that bridges to the first diff. `streams` names the streams that the source carries itself:
    they are passed on as they are, all others are made. `symbol_infos` are entries of an
    exchangeInfo that the source carries; `samples` are, per symbol, the finest price and quantity
    (`p`, `q`) that are known beforehand, for rules that have to be derived. `end_ms` is the receive
    time of the last frame, None when open-ended.
    """

    name: str
    origin_ms: int
    end_ms: int | None
    symbols: tuple[str, ...]
    has_depth: bool
    streams: frozenset[str] = frozenset()
    skew_ms: int = 0
    opening_books: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    symbol_infos: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def edges_of(body: Mapping[str, Any]) -> list[str | None]:
    """Return how far a recorded book is known: its last bid and ask, None for all of a side.

    A recording does not say how many levels were asked for: where the longer side has a number of
    `LIMITS.snapshot_levels`, each side of that length was cut there; any other counts as whole. A
    book that was rebuilt says so itself.
    """
    if EDGES in body:
        told: list[str | None] = body[EDGES]
        return told
    bids, asks = body["bids"], body["asks"]
    longest = max(len(bids), len(asks))
    least = longest if longest in LIMITS.snapshot_levels else longest + 1
    if REBUILT in body:
        least = 1  # An older cut, which does not say: any side may have been cut.
    return [side[-1][0] if len(side) >= least else None for side in (bids, asks)]


def recorded_snapshot(body: Any) -> Snapshot:
    """Return the snapshot of a recorded depth answer, with its edges.

    Raises:
        FrameInvalid: It is no snapshot.
    """
    try:
        told = {**body, EDGES: edges_of(body)}
    except (KeyError, TypeError, IndexError) as error:
        raise FrameInvalid(f"depth: {error}") from error
    return parse_snapshot(told, max(LIMITS.snapshot_levels))


class Source(Protocol):
    """Frames of a market, from the first to the last, in order of receive time."""

    facts: SourceFacts

    def frames(self) -> Iterator[Frame]:
        """Return a new iterator from the beginning; `at_ns` never goes back."""

    def past_bars(self, symbol: str, interval: str) -> list[Bar]:
        """Return closed bars before the origin that the source itself knows, oldest first."""


def kind_of(stream: str) -> tuple[str, str]:
    """Return (symbol in upper case, kind) of a stream name such as `btcusdt@depth@100ms`."""
    symbol, _, rest = stream.partition("@")
    if rest in (TRADE, AGG_TRADE, BOOK_TICKER):
        return symbol.upper(), rest
    if rest in ("depth", "depth@100ms", "depth@1000ms"):
        return symbol.upper(), DEPTH
    return symbol.upper(), OTHER
