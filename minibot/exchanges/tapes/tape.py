"""Recorded tapes as a source: `<receive ns> <message>` per line, gzip or plain text.

A time of 10, 13 or 16 digits counts as seconds, milliseconds or microseconds. Empty lines are left
out. A message is the combined-stream JSON as it came, or, unwrapped, the body of a REST depth
answer (to which our recorder adds a field `symbol`) or of exchangeInfo; other messages are sent to
no client (docs/TAPES.md), nor are those of a symbol that comes behind the scanned lines.

The file is scanned once before anything is served (0.1 s for 40,000 lines), so that a damaged tape
is refused at once and not noticed in the middle of a night. Of a file above 64 MB only the first
49,999 lines are scanned; damage behind them is noticed when it is played. The scan needs every
line's form, all unwrapped messages, the first one of each stream, and others until it has enough
samples of the clock. Any other message may be broken: it is sent as recorded, for clients to
refuse, and leaves the venue as it was.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any, Final, NamedTuple

import orjson

from minibot.events.unit_sizes import NEVER, NS_PER_MS
from minibot.exchanges.base import EDGES
from minibot.exchanges.binance.book import BookSide
from minibot.exchanges.tapes.frames import (
    DEPTH,
    OTHER,
    SNAPSHOT,
    TRADE,
    Frame,
    SourceFacts,
    edges_of,
    kind_of,
    recorded_snapshot,
)
from minibot.exchanges.tapes.kline_bars import Bar
from minibot.exchanges.tapes.unpacking import bounded_lines
from minibot.exchanges.units import not_negative, plain, positive
from minibot.kernel.errors import Refusal

TAPES: Final = Path(__file__).with_name("shipped")
DEMO_TAPE: Final = TAPES / "btcusdt_20240808.gz"

# Of the file as it lies on the disk, packed or not. A night of one symbol has about this size.
SCAN_BYTES_MAX: Final = 64 << 20
SCAN_LINES_MIN: Final = 50_000
# From the first line that is no mark. The snapshot of a recorder arrives within a second; a later
# one, served as the book at the origin, would tell clients of changes that had not happened yet.
OPENING_BOOK_NS_MAX: Final = 10 * 10**9
# Enough messages for a stable median of the clock skew.
SKEW_SAMPLES: Final = 200

MARK_BEGINS: Final = b'{"minibot":"'
"""First characters of a recorder's mark, which is not a message of the venue."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_WRAPPED: Final = b' {"stream":"'
_TRADES: Final = b"@" + TRADE.encode()
_DIFFS: Final = b"@" + DEPTH.encode()
_NO_MESSAGE: Final = (ValueError, KeyError, TypeError, AttributeError)
"""Errors of what is not JSON, or JSON of another form, where a message is expected."""
_RULES: Final = {"status": str, "baseAsset": str, "quoteAsset": str, "filters": list}
"""Fields of an exchangeInfo entry that playing its symbol needs, with their types."""
_NS_DIGITS: Final = {10: 10**9, 13: 10**6, 16: 10**3, 19: 1}


def open_text(path: Path) -> IO[bytes]:
    """Return the file's bytes as a stream, unpacked if it is gzip.

    Raises:
        Refusal: The file does not exist, may not be read, or is none, such as a FIFO.
    """
    if path.exists() and not path.is_file():  # Reading a FIFO would never end.
        raise Refusal(f"{path}: not a regular file.", "Name a file that exists.")
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == _GZIP_MAGIC
        # A `GzipFile` has what is used of `IO[bytes]`, but does not derive from it.
        return gzip.open(path, "rb") if is_gzip else path.open("rb")  # type: ignore[return-value]
    except FileNotFoundError as error:
        raise Refusal(f"{path}: there is no such file.", "Name a file that exists.") from error
    except OSError as error:
        raise Refusal(
            f"{path}: cannot be read ({error.strerror}).", "Name a file that exists."
        ) from error


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a plain or gzip file.

    Raises:
        Refusal: The file cannot be read, its gzip data is damaged or cut short, or it unpacks to
            more than market data does.
    """
    count = 0
    with open_text(path) as file:
        try:
            # A plain file cannot be larger than it is; the size of a packed one says nothing of its
            # contents.
            lines = bounded_lines(path, file) if isinstance(file, gzip.GzipFile) else file
            for line in lines:
                count += 1
                yield line
        except EOFError as error:
            raise Refusal(
                f"{path}: the gzip file is cut short after line {count}.",
                "Fetch it again and compare its sha256.",
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise Refusal(
                f"{path}: the gzip file is damaged after line {count} ({error}).",
                "Fetch it again and compare its sha256.",
            ) from error
        except OSError as error:
            raise Refusal(
                f"{path}: cannot be read after line {count} ({error.strerror}).",
                "Check the disk, or name another copy.",
            ) from error


def split_line(
    path: Path, number: int, line: bytes, brackets: tuple[bytes, ...] = (b"{}",)
) -> tuple[int, bytes]:
    """Return (receive ns, message) of one line.

    Args:
        path: Only for the error message.
        number: Number of the line, from 1.
        line: As read.
        brackets: First and last characters of a message; a list is a message at some venues.

    Raises:
        Refusal: The line is not one of a tape.
    """
    digits, _, message = line.rstrip().partition(b" ")
    unit_ns = _NS_DIGITS.get(len(digits))
    if unit_ns is None or not digits.isdigit() or message[:1] + message[-1:] not in brackets:
        raise Refusal(
            f"{path}: not a tape: line {number} is not `<receive ns> {{message}}`.",
            "Name a recording such as tape:demo.",
        )
    return int(digits) * unit_ns, message


class _Early(NamedTuple):
    """A diff near the beginning: its last id, and the best levels that it sets, in 1e-8."""

    last_id: int
    bid: int
    ask: int


@dataclass(slots=True)
class _Scan:
    """Result of one scan of the file."""

    first_ns: int = 0
    last_ns: int = 0
    frames: int = 0
    is_whole: bool = True
    streams: dict[bytes, None] = field(default_factory=dict)
    snapshots: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    first_diffs: dict[str, dict[str, Any]] = field(default_factory=dict)
    early_diffs: dict[str, list[_Early]] = field(default_factory=dict)
    samples: dict[str, dict[str, str]] = field(default_factory=dict)
    symbol_infos: dict[str, dict[str, Any]] = field(default_factory=dict)
    skews_ms: list[float] = field(default_factory=list)


class Tape:
    """A recorded tape; see the module's docstring for its form."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Scan the file.

        Raises:
            Refusal: Missing, damaged, cut short, not a tape, without a frame, or with incomplete
                rules of a symbol that it plays.
        """
        self._path = path
        self._streams: dict[bytes, tuple[str, str, str]] = {}
        scan = self._scan()
        streams = frozenset(name.decode() for name in scan.streams)
        # Streams of all symbols, such as !miniTicker@arr, belong to no symbol.
        symbols = tuple(
            dict.fromkeys(
                kind_of(name.decode())[0] for name in scan.streams if not name.startswith(b"!")
            )
        )
        _check_rules(path, scan, symbols)
        books = _opening_books(scan, symbols)
        self.facts = SourceFacts(
            name=name or f"tape:{path}",
            origin_ms=scan.first_ns // NS_PER_MS,
            end_ms=-(-scan.last_ns // NS_PER_MS) if scan.is_whole else None,
            symbols=symbols,
            has_depth=bool(books),
            streams=streams,
            skew_ms=round(median(scan.skews_ms)) if scan.skews_ms else 0,
            opening_books=books,
            symbol_infos=scan.symbol_infos,
            samples=scan.samples,
            notes=_notes(path.name, scan, symbols, streams, books),
        )

    def past_bars(self, symbol: str, interval: str) -> list[Bar]:
        """Return nothing: a tape has no data from before its beginning."""
        return []

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in the order of the tape; where it goes back, time stands still.

        The payload of a message in the recorded form is passed on unread, so that it may be broken.
        Another form is read; what is then no message comes as OTHER, of no symbol, and so does a
        stream of a symbol that the scan did not reach. A depth answer whose symbol is not known
        stays SNAPSHOT, of no symbol. A stream of the whole market has a symbol of its own.

        Raises:
            Refusal: A line behind the scan is not one of a tape, or the file is damaged there.
        """
        at_ns = 0
        for number, line in enumerate(lines_of(self._path), 1):
            if not line.strip():
                continue
            received_ns, message = split_line(self._path, number, line)
            if message.startswith(MARK_BEGINS):
                continue
            at_ns = max(at_ns, received_ns)
            try:
                frame = self._frame(at_ns, message)
            except _NO_MESSAGE:
                frame = Frame(at_ns, "", OTHER, "", message)
            yield frame

    def _frame(self, at_ns: int, message: bytes) -> Frame:
        if not message.startswith(_WRAPPED[1:]):
            kind = SNAPSHOT if b'"lastUpdateId"' in message[:200] else OTHER
            symbol = self._snapshot_symbol(message) if kind == SNAPSHOT else ""
            return Frame(at_ns, symbol, kind, "", message)
        end = message.index(b'"', 11)
        name = message[11:end]
        known = self._streams.get(name)
        if known is None:
            stream = name.decode()
            symbol, kind = kind_of(stream)
            # A symbol that the scan did not reach is not listed, so no client can know it.
            is_listed = symbol in self.facts.symbols or stream in self.facts.streams
            known = (symbol, kind, stream) if is_listed else ("", OTHER, "")
            self._streams[name] = known
        symbol, kind, stream = known
        if message[end : end + 9] == b'","data":' and message.endswith(b"}}"):
            return Frame(at_ns, symbol, kind, stream, message[end + 9 : -1], message)
        return Frame(at_ns, symbol, kind, stream, orjson.dumps(orjson.loads(message)["data"]))

    def _snapshot_symbol(self, message: bytes) -> str:
        """Return the symbol of a snapshot: only a recorder's body names it."""
        body = orjson.loads(message)
        named = body.get("symbol")
        if named is not None:
            return str(named)
        if len(self.facts.symbols) == 1:
            return self.facts.symbols[0]
        update_id = body["lastUpdateId"]
        for symbol, book in self.facts.opening_books.items():
            if book["recordedId"] == update_id:
                return symbol
        return ""

    def _scan(self) -> _Scan:
        scan = _Scan()
        for number, line in enumerate(lines_of(self._path), 1):
            if number == SCAN_LINES_MIN and self._path.stat().st_size > SCAN_BYTES_MAX:
                scan.is_whole = False
                break
            if not line.strip():
                continue
            received_ns, message = split_line(self._path, number, line)
            if message.startswith(MARK_BEGINS):
                continue
            scan.first_ns = scan.first_ns or received_ns
            scan.last_ns = max(scan.last_ns, received_ns)
            try:
                if message.startswith(_WRAPPED[1:]):
                    self._scan_stream(scan, received_ns, message)
                else:
                    _scan_unwrapped(scan, received_ns, message)
            except _NO_MESSAGE as error:
                raise Refusal(
                    f"{self._path}: line {number} holds no message of the venue: {error}.",
                    "minibot tape check FILE",
                ) from error
        if not scan.frames:
            raise Refusal(f"{self._path}: a tape without any frame.", "Name another recording.")
        return scan

    def _scan_stream(self, scan: _Scan, received_ns: int, message: bytes) -> None:
        scan.frames += 1
        name = message[11 : message.index(b'"', 11)]
        is_new = name not in scan.streams
        if not is_new and name.endswith(_TRADES):
            with suppress(*_NO_MESSAGE):  # Sent as recorded, for clients to refuse.
                _keep_finest(scan, kind_of(name.decode())[0], orjson.loads(message)["data"])
        if received_ns - scan.first_ns <= OPENING_BOOK_NS_MAX and _DIFFS in name:
            with suppress(*_NO_MESSAGE):
                _keep_early(scan, kind_of(name.decode())[0], orjson.loads(message)["data"])
        if not is_new and len(scan.skews_ms) >= SKEW_SAMPLES:
            return
        scan.streams[name] = None
        data = orjson.loads(message)["data"]
        if "E" in data:
            scan.skews_ms.append(data["E"] - received_ns / NS_PER_MS)
        symbol, kind = kind_of(name.decode())
        if is_new and kind == DEPTH and isinstance(data["U"], int):
            scan.first_diffs.setdefault(symbol, data)
        if is_new and kind == TRADE:
            _keep_finest(scan, symbol, data)


def _keep_finest(scan: _Scan, symbol: str, trade: dict[str, Any]) -> None:
    """Keep a trade's price and quantity if they are the finest of the symbol so far.

    Rules may be derived from both: a first trade at a round price shows no increment.
    """
    texts = {key: plain(trade[key]) for key in ("p", "q")}
    known = scan.samples.setdefault(symbol, texts)
    known.update({key: text for key, text in texts.items() if _places(text) > _places(known[key])})


def _keep_early(scan: _Scan, symbol: str, diff: dict[str, Any]) -> None:
    """Keep the best levels that a diff sets; an opening book may not cross them."""
    bids, asks = (
        [positive(price) for price, qty in diff[side] if not_negative(qty)] for side in "ba"
    )
    if type(diff["u"]) is not int:
        raise TypeError("u: expected an integer")
    early = _Early(diff["u"], max(bids, default=0), min(asks, default=NEVER))
    scan.early_diffs.setdefault(symbol, []).append(early)


def _places(text: str) -> int:
    """Return how many decimals a number has, zeros at its end apart."""
    return len(text.rstrip("0").partition(".")[2])


def _scan_unwrapped(scan: _Scan, received_ns: int, message: bytes) -> None:
    body = orjson.loads(message)
    if (
        isinstance(body.get("lastUpdateId"), int)
        and received_ns - scan.first_ns <= OPENING_BOOK_NS_MAX
    ):
        # Refused here, not where the book is served.
        for rows in (body["bids"], body["asks"]):
            BookSide(is_bid=True).apply(rows)
        recorded_snapshot(body)
        if not isinstance(body.get("symbol"), str | None):
            raise TypeError("symbol: expected a text")
        scan.snapshots.append((received_ns, body))
    for info in body.get("symbols", ()):
        scan.symbol_infos[info["symbol"]] = info


def _check_rules(path: Path, scan: _Scan, symbols: tuple[str, ...]) -> None:
    for symbol in symbols:
        info = scan.symbol_infos.get(symbol)
        for name, kind in _RULES.items():
            if info is not None and not isinstance(info.get(name), kind):
                form = "list" if kind is list else "text"
                raise Refusal(
                    f"{path}: exchangeInfo {symbol}: {name}: expected a {form},"
                    f" found {info.get(name)!r}.",
                    "Name another recording.",
                )


def _notes(
    name: str,
    scan: _Scan,
    symbols: tuple[str, ...],
    streams: frozenset[str],
    books: dict[str, dict[str, Any]],
) -> list[str]:
    """Return notes on this tape that a user should read before it plays."""
    notes = []
    if not books:
        notes.append(f"{name}: no depth snapshot: bookTicker and trades only")
    notes += [f"{name}: no trades of {s}" for s in symbols if f"{s.lower()}@trade" not in streams]
    if not scan.is_whole:
        notes.append(
            f"{name}: too long to look through: its end is not known beforehand, "
            "and a symbol that comes later is not played"
        )
    return notes


def _opening_books(scan: _Scan, symbols: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return, for each symbol, the book before its first diff.

    The recorder requested its snapshot a moment after the stream had begun. Diffs carry absolute
    quantities, so applying the few that are older than the snapshot to it ends in the same book;
    stamped with the id before the first diff, it bridges to all of them. Levels that cross one of
    an older diff came after it, and a diff before the snapshot sets them: they are left out.
    """
    books: dict[str, dict[str, Any]] = {}
    for _, body in scan.snapshots:
        recorded_id = body["lastUpdateId"]
        # Update ids of two symbols are far apart; the nearest first diff shows the symbol.
        symbol = body.get("symbol") or min(
            (name for name in symbols if name in scan.first_diffs),
            key=lambda name: abs(scan.first_diffs[name]["U"] - recorded_id),
            default=None,
        )
        if symbol not in scan.first_diffs or symbol in books:
            continue
        opening_id = min(recorded_id, scan.first_diffs[symbol]["U"] - 1)
        older = [each for each in scan.early_diffs.get(symbol, ()) if each.last_id <= recorded_id]
        bid = max((each.bid for each in older), default=0)
        ask = min((each.ask for each in older), default=NEVER)
        books[symbol] = {
            **body,
            "bids": [row for row in body["bids"] if positive(row[0]) < ask],
            "asks": [row for row in body["asks"] if positive(row[0]) > bid],
            "lastUpdateId": opening_id,
            "recordedId": recorded_id,
            EDGES: edges_of(body),
        }
    return books
