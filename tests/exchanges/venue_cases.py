"""Venues of the contract suite, each with its own server on loopback.

A new venue adds one case here and to `CASES`. A dialect alone, such as Kraken's, is a case of its
parts, with frames from a recording.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from minibot.exchanges.base import BANNED, RATE_LIMITED, Dialect, Rest, Stream, Venue
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.kraken.messages import dialect
from minibot.exchanges.venue_facts import SUBSCRIBE
from minibot.runtime.clock import write_clock
from tests.exchanges.kraken.kraken_recordings import v2_frames
from tests.exchanges.madeup.installed import MadeUpServer
from tests.exchanges.madeup.venue import MADEUP
from tests.market.exchange_process import ExchangeProcess

TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class DialectCase:
    """Dialect's frames: `frames` yields them while its context lasts.

    `snapshot` of the connection returns the present book; None where books come on the stream.
    """

    name: str
    dialect: Dialect
    symbol: str
    connect: Callable[[Path, Path], AbstractContextManager[Connection]]


@dataclass
class Connection:
    """Frames of one symbol, and the requests beside them."""

    frames: Iterator[bytes]
    rest: Rest | None


@dataclass(frozen=True)
class VenueCase:
    """Case of a whole venue.

    Attributes:
        serve: Runs its server; yields the port.
        symbols: Names in events, and the venue's names for them.
        entry: Rules of a symbol, with a status in the venue's words.
        answers: Replies to control message 7: accepted, refused.
        silence: Statuses and headers of answers that ask for silence, with their kind and time.
        unknown: Symbol that the server lacks.
        shutdown: A frame that announces the end of its connection.
    """

    venue: Venue
    serve: Callable[[Path], AbstractContextManager[int]]
    symbols: Mapping[str, str]
    entry: Callable[[str], Mapping[str, Any]]
    answers: tuple[bytes, bytes]
    silence: Sequence[tuple[str, dict[str, str], str, int]]
    unknown: str
    shutdown: bytes


def requests_to(venue: Venue, port: int) -> Rest:
    """Return the requests of a venue to a server on loopback."""
    url = f"http://127.0.0.1:{port}"
    return venue.new_rest(url, connect_timeout_s=TIMEOUT_S, total_timeout_s=TIMEOUT_S)


@contextmanager
def joined(venue: Venue, port: int, streams: Sequence[str]) -> Iterator[Stream]:
    """Yield a connection that carries streams, in the venue's own way."""
    named = list(streams) if venue.streams.named_in_address({"all": streams}) else []
    base = f"ws://127.0.0.1:{port}"
    stream = venue.streams.new(base, named, connect_timeout_s=TIMEOUT_S)
    timer = threading.Timer(60, stream.abort)
    timer.start()
    try:
        stream.open()
        rest = [name for name in streams if name not in named]
        if rest:
            stream.send(venue.streams.control(SUBSCRIBE, rest, 7))
        yield stream
    finally:
        timer.cancel()
        stream.abort()
        stream.close()


def _live(case: VenueCase) -> DialectCase:
    """Return the dialect of a venue, with frames from its server."""
    venue, symbol = case.venue, next(iter(case.symbols))
    names = venue.streams.names(symbol)

    @contextmanager
    def connect(tmp_path: Path, shared_data: Path) -> Iterator[Connection]:
        with case.serve(tmp_path) as port, joined(venue, port, names) as stream:
            rest = requests_to(venue, port)
            yield Connection((stream.recv()[1] for _ in iter(int, 1)), rest)
            rest.close()

    return DialectCase(venue.name, venue.dialect, symbol, connect)


@contextmanager
def _recorded(tmp_path: Path, shared_data: Path) -> Iterator[Connection]:
    yield Connection((frame.data for frame in v2_frames(shared_data, KRAKEN_L2)), None)


class SharedServer:
    """Server that the first test starts and all ask: each has a connection of its own.

    Args:
        start: Starts it on a stack of what ends with it, and returns its port.
    """

    def __init__(self, start: Callable[[ExitStack], int]) -> None:
        self._start = start
        self._stack = ExitStack()
        self._port = 0

    @contextmanager
    def serve(self, tmp_path: Path) -> Iterator[int]:
        """Yield its port, and leave it for the next test."""
        self._port = self._port or self._start(self._stack)
        yield self._port

    def end(self) -> None:
        """End it, if it runs."""
        self._port = 0
        self._stack.close()


def _simulator(stack: ExitStack) -> int:
    folder = Path(stack.enter_context(TemporaryDirectory()))
    process = ExchangeProcess(folder, "generator:1:BTCUSDT", "1", "--rate", "40")
    exchange = stack.enter_context(process)
    write_clock(folder, exchange.origin_ms, "1")
    return exchange.port


def _madeup(stack: ExitStack) -> int:
    return stack.enter_context(MadeUpServer()).port


SERVERS: Final = (SharedServer(_simulator), SharedServer(_madeup))


def _binance_entry(status: str) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01", "minPrice": "0.01", "maxPrice": "9999"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "9000"},
    ]
    assets = {"baseAsset": "BTC", "quoteAsset": "USDT"}
    return {"symbol": "BTCUSDT", "status": status, "filters": filters, **assets}


def _madeup_entry(status: str) -> dict[str, Any]:
    rules = {"tick": "0.5", "lot": "0.001", "lots": [1, 9_000_000], "least": "5"}
    return {"market": "btc:usdt", "state": status, **rules}


KRAKEN_L2: Final = "kraken_btcusd_l2.cbcap.gz"
VENUE_CASES: Final = (
    VenueCase(
        BINANCE,
        SERVERS[0].serve,
        {"BTCUSDT": "BTCUSDT"},
        _binance_entry,
        (b'{"result":null,"id":7}', b'{"error":{"code":2,"msg":"no"},"id":7}'),
        (
            ("429 Too Many", {"Retry-After": "3"}, RATE_LIMITED, 3_000),
            ("418 I'm a teapot", {"Retry-After": "130"}, BANNED, 130_000),
        ),
        "NONEUSDT",
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
    ),
    VenueCase(
        MADEUP,
        SERVERS[1].serve,
        {"BTCUSDT": "btc:usdt", "ETHUSDT": "eth:usdt", "BTCEUR": "btc:eur"},
        _madeup_entry,
        (b'{"tag":7,"done":true}', b'{"tag":7,"refused":"no"}'),
        (
            ("429 Slow Down", {"x-wait-ms": "1500"}, RATE_LIMITED, 1_500),
            ("420 Gone Fishing", {"x-wait-ms": "90000"}, BANNED, 90_000),
        ),
        "NONEUSDT",
        b'{"bye":"maintenance"}',
    ),
)
DIALECT_CASES: Final = (
    *map(_live, VENUE_CASES),
    DialectCase("kraken", dialect(10), "BTC/USD", _recorded),
)
by_venue: Final = pytest.mark.parametrize("case", VENUE_CASES, ids=lambda case: case.venue.name)
by_dialect: Final = pytest.mark.parametrize("case", DIALECT_CASES, ids=lambda case: case.name)
