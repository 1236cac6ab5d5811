"""Made-up venue, as strange as possible: it proves that no room depends on Binance.

Symbols are `btc:usdt`, times microseconds, a halt is `paused`. Rules are ticks and lots, with the
least quantity in lots. There is no stream of quotes: the touch is the top of a book that a checksum
proves. Streams are joined by control messages alone, and the budget counts the remaining calls.
This file is the venue's package in the product (`tests/exchanges/madeup/installed.py`).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from minibot.events.model import BUY, SELL, Instrument, Side
from minibot.exchanges.base import (
    APPLIED,
    BANNED,
    BUFFERED,
    IGNORED,
    MALFORMED,
    RATE_LIMITED,
    REFUSED,
    SERVER,
    SYNCED,
    TOO_OLD,
    Candle,
    Dialect,
    Diff,
    FrameInvalid,
    Ignored,
    Level,
    Message,
    RestError,
    Rows,
    Shutdown,
    Snapshot,
    Streams,
    Trade,
    Venue,
)
from minibot.exchanges.public_http import PublicHttp, decoded
from minibot.exchanges.units import decimal, not_negative, positive
from minibot.exchanges.venue_facts import (
    SUBSCRIBE,
    ConnectionLimits,
    Endpoint,
    Hosts,
    LastPrice,
    Limits,
    Listing,
    Listings,
    Reply,
    Rules,
    SymbolMap,
    Tickers,
    status_of,
)
from minibot.exchanges.websocket_stream import WebSocketStream

NAME: Final = "madeup"
QUOTES: Final = ("USDT", "EUR")
HELLO, CLOCK, MARKETS = "/v1/hello", "/v1/clock", "/v1/markets"
VOLUMES, CANDLES, BOOK = "/v1/volumes", "/v1/candles", "/v1/book"
CALLS_PER_MINUTE: Final = 600
SECONDS: Final = {"1s": 1, "1m": 60, "5m": 300, "15m": 900, "1h": 3600}
CHECKED_LEVELS: Final = 10
BUFFER_MAX: Final = 1_000
US_PER_MS: Final = 1_000
PRICES: Final = "prices"
SIDES: Final[Mapping[str, Side]] = {"buy": BUY, "sell": SELL}
OPEN, PAUSED, GONE = "open", "paused", "gone"
HOSTS: Final = Hosts(
    NAME,
    "https://rest.madeup.invalid",
    "wss://feed.madeup.invalid",
    "",
    frozenset({HELLO, CLOCK, MARKETS, VOLUMES, CANDLES, BOOK}),
)


def to_venue(symbol: str) -> str:
    """Return the venue's name of a symbol."""
    for quote in QUOTES:
        if symbol.endswith(quote) and symbol != quote:
            return f"{symbol.removesuffix(quote)}:{quote}".lower()
    raise ValueError(f"{symbol[:30]!r} is not a symbol of {NAME}")


def from_venue(name: str) -> str:
    """Return the symbol of a venue's name."""
    return name.replace(":", "").upper()


# --- book ---------------------------------------------------------------------------------------


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Return the venue's checksum of the best ten levels a side."""
    sides = (side[:CHECKED_LEVELS] for side in (bids, asks))
    return zlib.crc32("|".join(f"{price}x{qty}" for side in sides for price, qty in side).encode())


class BookSide:
    """Levels of one side by price."""

    def __init__(self, *, is_bid: bool) -> None:
        self._is_bid = is_bid
        self.levels: dict[int, Level] = {}

    def apply(self, rows: Rows) -> None:
        """Set levels; a quantity of zero removes."""
        for price, qty in rows:
            if not_negative(qty):
                self.levels[positive(price)] = (price, qty)
            else:
                self.levels.pop(positive(price), None)

    def top(self, count: int) -> tuple[Level, ...]:
        """Return the best levels, best first."""
        best = sorted(self.levels, reverse=self._is_bid)[:count]
        return tuple(self.levels[key] for key in best)

    def worth(self, bound: int) -> int:
        """Return the value of the levels at `bound` or better, in 10**-16."""
        near = [key for key in self.levels if (key >= bound if self._is_bid else key <= bound)]
        return sum(key * not_negative(self.levels[key][1]) for key in near)


class Book:
    """Both sides of the book after update `book_id`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.book_id = snapshot.last_update_id
        self.bids, self.asks = BookSide(is_bid=True), BookSide(is_bid=False)
        self.change(snapshot.bids, snapshot.asks, snapshot.checksum)

    def change(self, bids: Rows, asks: Rows, expected: int | None) -> None:
        """Apply changes; the result has to match the venue's checksum."""
        try:
            self.bids.apply(bids)
            self.asks.apply(asks)
        except (ValueError, TypeError) as error:
            raise FrameInvalid(f"book level: {error}") from error
        if checksum(self.bids.top(CHECKED_LEVELS), self.asks.top(CHECKED_LEVELS)) != expected:
            raise FrameInvalid(f"the book's checksum is not {expected}")
        touch = self.touch()
        if touch is not None and positive(touch[0]) >= positive(touch[2]):
            raise FrameInvalid("book crossed after update")

    def touch(self) -> tuple[str, str, str, str] | None:
        """Return bid, its quantity, ask, its quantity."""
        bids, asks = self.bids.top(1), self.asks.top(1)
        return (*bids[0], *asks[0]) if bids and asks else None

    def is_beyond_edge(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
        """Return False: a snapshot is the whole book."""
        return False

    def reaches(self, low: int, high: int) -> tuple[bool, bool]:
        """Return True twice: a snapshot is the whole book."""
        return True, True


class Keeper:
    """Keeper of a book by its checksum; counts only tell what a snapshot already holds."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self._is_refreshing = False
        self._waiting: list[Diff] = []

    @property
    def wants_snapshot(self) -> bool:
        """True without a valid book, or while a fresh snapshot is to replace it."""
        return self.book is None or self._is_refreshing

    def on_diff(self, diff: Diff) -> str:
        """Take one diff."""
        if self.wants_snapshot:
            self._waiting = [*self._waiting, diff][-BUFFER_MAX:]
        if self.book is None:
            return BUFFERED
        return self._apply(self.book, diff)

    def _apply(self, book: Book, diff: Diff) -> str:
        if diff.last_id <= book.book_id:
            return IGNORED
        try:
            book.change(diff.bids, diff.asks, diff.checksum)
        except FrameInvalid:
            self.reset()
            raise
        book.book_id = diff.last_id
        return APPLIED

    def on_snapshot(self, snapshot: Snapshot) -> str:
        """Apply a snapshot, then the updates since."""
        waiting = self._waiting
        if waiting and snapshot.last_update_id + 1 < waiting[0].first_id:
            return TOO_OLD
        self.reset()
        book = Book(snapshot)
        for diff in waiting:
            self._apply(book, diff)
        self.book = book
        return SYNCED

    def refresh(self) -> None:
        """Request a new snapshot while the valid book goes on."""
        self._is_refreshing = self.book is not None

    def reset(self) -> None:
        """Drop the book and the buffer."""
        self.book, self._is_refreshing, self._waiting = None, False, []


# --- frames -------------------------------------------------------------------------------------


def parse_frame(data: bytes) -> Message:
    """Return the message of one frame."""
    try:
        root = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise FrameInvalid(f"not JSON: {error}", is_readable=False) from error
    if type(root) is not dict:
        raise FrameInvalid("expected an object")
    channel = root.get("ch")
    if type(channel) is not str:
        return _other(root)
    kind, _, name = channel.partition(" ")
    symbol = from_venue(name)
    try:
        if kind == "trades":
            return _trade(root, symbol)
        if kind == "book":
            bids, asks = _rows(root["bids"]), _rows(root["asks"])
            count = _count(root["count"])
            return Diff(symbol, count, count, bids, asks, _count(root["sum"]))
    except KeyError as error:
        raise FrameInvalid(f"field {error} is missing", symbol=symbol) from error
    except (ValueError, TypeError) as error:
        raise FrameInvalid(str(error), symbol=symbol, may_be_diff=kind != "trades") from error
    raise FrameInvalid(f"channel {channel[:40]!r} is unknown")


def _other(root: dict[str, Any]) -> Message:
    if "bye" in root:
        return Shutdown(f"bye: {root['bye']}")
    if "tag" in root:
        return Ignored("control answer")
    raise FrameInvalid("no known message")


def _trade(root: dict[str, Any], symbol: str) -> Trade:
    price, qty = root["px"], root["qty"]
    side = SIDES[root["took"]]
    units = positive(price), positive(qty)
    at_ms = _count(root["at_us"]) // US_PER_MS
    return Trade(symbol, _count(root["n"]), price, units[0], qty, units[1], at_ms, side)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise TypeError("expected a count")
    return value


def _rows(value: Any) -> Rows:
    if type(value) is not list or not all(type(row) is list and len(row) == 2 for row in value):
        raise TypeError("expected levels")
    return value


def parse_snapshot(body: Any, limit: int) -> Snapshot:
    """Return the book of an answer."""
    try:
        bids, asks = _rows(body["bids"]), _rows(body["asks"])
        is_whole = len(bids) < limit and len(asks) < limit
        return Snapshot(_count(body["count"]), bids, asks, is_whole, _count(body["sum"]))
    except (KeyError, TypeError) as error:
        raise FrameInvalid(f"book: {error}") from error


def parse_prices(data: bytes) -> list[LastPrice]:
    """Return the last prices of the whole market."""
    try:
        root = orjson.loads(data)
        at_ms = _count(root["at_us"]) // US_PER_MS
        of = dict(root["of"])
        return [LastPrice(from_venue(n), price, positive(price), at_ms) for n, price in of.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise FrameInvalid(f"prices: {error}") from error


# --- rules --------------------------------------------------------------------------------------


def parse_instrument(entry: Mapping[str, Any]) -> Instrument:
    """Return the rules of one market: ticks, lots, and the least quantity in lots."""
    try:
        base, quote = str(entry["market"]).upper().split(":")
        lot, (least, most) = not_negative(entry["lot"]), entry["lots"]
        not_negative(entry["tick"])
        not_negative(entry["least"])
        return Instrument(
            symbol=base + quote,
            base_asset=base,
            quote_asset=quote,
            status=status_of(entry["state"], OPEN, {GONE}),
            price_increment=entry["tick"],
            qty_increment=entry["lot"],
            qty_min=decimal(lot * _count(least)),
            qty_max=decimal(lot * _count(most)),
            notional_min=entry["least"],
            origin="exchange",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FrameInvalid(f"market: {error!r}") from error


# --- requests -----------------------------------------------------------------------------------


class Rest(PublicHttp):
    """The requests of `exchanges.base.Rest`."""

    HOSTS = HOSTS

    def weight_used(self, headers: Mapping[str, str]) -> int | None:
        """Return the calls used this minute, from the venue's count of remaining ones."""
        left = headers.get("x-calls-left", "")
        return CALLS_PER_MINUTE - int(left) if left.isascii() and left.isdigit() else None

    def get(self, path: str, **params: Any) -> Any:
        """Return the decoded answer of one request."""
        status, headers, content = self.answer(path, params)
        if status == 200:
            return decoded(path, status, headers, content)
        detail = f"{path}: HTTP {status}: {content[:100]!r}"
        if status in (429, 420):
            wait = headers.get("x-wait-ms", "")
            wait_ms = int(wait) if wait.isascii() and wait.isdigit() else 60_000
            kind = RATE_LIMITED if status == 429 else BANNED
            raise RestError(kind, detail, status=status, retry_after_ms=wait_ms)
        raise RestError(SERVER if status >= 500 else REFUSED, detail, status=status)

    def _read(self, path: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (FrameInvalid, KeyError, TypeError, ValueError) as error:
            raise RestError(MALFORMED, f"{path}: {error!r}", status=self.last.status) from error

    def ping(self) -> None:
        """Check that the host answers."""
        self.get(HELLO)

    def server_time(self) -> int:
        """Return the venue's clock in Unix milliseconds."""
        body = self.get(CLOCK)
        found: int = self._read(CLOCK, lambda: _count(body["now_us"]) // US_PER_MS)
        return found

    def instruments(self, symbols: Sequence[str]) -> list[Instrument]:
        """Return the rules of symbols."""
        body = self._markets(symbols)
        found: list[Instrument] = self._read(MARKETS, lambda: [*map(parse_instrument, body)])
        return found

    def _markets(self, symbols: Sequence[str]) -> Any:
        body = self.get(MARKETS, names=",".join(map(_asked, symbols)))
        return self._read(MARKETS, lambda: body["markets"])

    def listings(self, quote_asset: str | None = None) -> Listings:
        """Return every listed market."""
        found = {}
        for rules in self.instruments(()):
            if quote_asset in (None, rules.quote_asset):
                assets = rules.base_asset, rules.quote_asset
                found[rules.symbol] = Listing(rules.symbol, *assets, rules.status, True, rules)
        return Listings(found, 0)

    def day_volumes(self) -> dict[str, str]:
        """Return the quote volume of 24 hours of every symbol."""
        body = self.get(VOLUMES)
        found: dict[str, str] = self._read(
            VOLUMES, lambda: {from_venue(name): volume for name, volume in body.items()}
        )
        return found

    def candles(
        self, symbol: str, interval: str, *, start: int | None, end: int, limit: int
    ) -> list[Candle]:
        """Return candles, oldest first."""
        if interval not in SECONDS:
            raise RestError(REFUSED, f"{CANDLES}: no interval {interval}", status=400)
        length = SECONDS[interval]
        params = {"name": _asked(symbol), "seconds": length, "until": end, "count": limit}
        body = self.get(CANDLES, **params, **({} if start is None else {"since": start}))
        found: list[Candle] = self._read(CANDLES, lambda: [_candle(row, length) for row in body])
        return found

    def snapshot(self, symbol: str, limit: int) -> Snapshot:
        """Return the book."""
        body = self.snapshot_body(symbol, limit)
        found: Snapshot = self._read(BOOK, lambda: parse_snapshot(body, limit))
        return found

    def rules_text(self, symbols: Sequence[str]) -> bytes:
        """Return the rules in the venue's own words."""
        return orjson.dumps({"markets": self._markets(symbols)})

    def snapshot_body(self, symbol: str, limit: int) -> dict[str, Any]:
        """Return the book in the venue's own words."""
        body: dict[str, Any] = self.get(BOOK, name=_asked(symbol), depth=limit)
        return body

    def candle_rows(
        self, symbol: str, interval: str, *, start: int, end: int, limit: int
    ) -> list[list[Any]]:
        """Return candles as rows of a kline file."""
        found = self.candles(symbol, interval, start=start, end=end, limit=limit)
        return [[*c[:1], *c[2:7], c.close_ts, *c[7:], "0", "0"] for c in found]


def _asked(symbol: str) -> str:
    try:
        return to_venue(symbol)
    except ValueError as error:
        raise RestError(REFUSED, str(error), status=400) from error


def _candle(row: Any, length: int) -> Candle:
    open_ts = _count(row["at"]) * 1000
    for key in ("o", "h", "l", "c"):
        positive(row[key])
    prices = row["o"], row["h"], row["l"], row["c"]
    sums = row["v"], row["value"], _count(row["n"]), row["bought"]
    return Candle(open_ts, open_ts + length * 1000 - 1, *prices, *sums)


# --- streams ------------------------------------------------------------------------------------


def new_stream(
    base_url: str,
    streams: Sequence[str],
    *,
    connect_timeout_s: float,
    machine_ns: Callable[[], int] = time.perf_counter_ns,
) -> WebSocketStream:
    """Return a connection without streams in its address."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname or streams:
        raise ValueError(f"stream address {base_url!r} with {len(streams)} streams")
    url = f"{parts.scheme}://{parts.netloc}/feed"
    return WebSocketStream(url, connect_timeout_s=connect_timeout_s, machine_ns=machine_ns)


def control(method: str, streams: Sequence[str], number: int) -> str:
    """Return the text of a control message."""
    word = "join" if method == SUBSCRIBE else "leave"
    return orjson.dumps({"op": word, "channels": list(streams), "tag": number}).decode()


def reply_of(data: bytes) -> Reply | None:
    """Return the answer in a frame, if it is one."""
    try:
        root = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if type(root) is not dict or type(root.get("tag")) is not int:
        return None
    return Reply(root["tag"], str(root.get("refused", "")))


def names(symbol: str) -> tuple[str, ...]:
    """Return the streams of a symbol."""
    return tuple(f"{kind} {to_venue(symbol)}" for kind in ("trades", "book"))


ONE_CALL: Final = {path: Endpoint(path, 1) for path in HOSTS.paths}
MADEUP: Final = Venue(
    name=NAME,
    dialect=Dialect(parse_frame, Keeper, False, False, parse_snapshot),
    rules=Rules(OPEN, frozenset({PAUSED}), frozenset({GONE}), parse_instrument),
    limits=Limits(
        weight_per_minute=CALLS_PER_MINUTE,
        ping=ONE_CALL[HELLO],
        time=ONE_CALL[CLOCK],
        instruments=ONE_CALL[MARKETS],
        listings=ONE_CALL[MARKETS],
        volumes=ONE_CALL[VOLUMES],
        candles=ONE_CALL[CANDLES],
        snapshot=lambda levels: ONE_CALL[BOOK],
        snapshot_levels=(100,),
        levels_deep=100,
        candles_max=500,
        instruments_max=10,
    ),
    hosts=HOSTS,
    new_rest=Rest,
    streams=Streams(
        names=names,
        new=new_stream,
        named_in_address=lambda groups: (),
        control=control,
        reply_of=reply_of,
        shutdown=b"bye",
        market_wide=b'{"ch":"prices"',
        limits=ConnectionLimits(
            streams_max=100,
            attempts_max=60,
            attempts_ms=60_000,
            ban_ms_max=3_600_000,
            message_interval_ms=100,
            batch_streams_max=20,
        ),
    ),
    tickers=Tickers(PRICES, parse_prices),
    symbols=SymbolMap(to_venue, from_venue),
    archive=None,
)
