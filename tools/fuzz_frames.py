"""Fuzz target for the venues' frames: parsers and books against a plain decoder.

An input is `b` (Binance) or `k` (Kraken), a NUL and the bytes of one frame. The parser must accept
the frames that the reference accepts, as the same message, and refuse the others; it may raise
nothing but a refusal. Book levels are then applied to a small book on both sides. The reference
shares no code with the product: `json`, `Decimal` and sorting.
"""

from __future__ import annotations

import calendar
import gzip
import itertools
import json
import re
import time
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final, NoReturn

from minibot.exchanges.base import Diff, FrameInvalid, Message, Snapshot, StreamedSnapshot
from minibot.exchanges.binance.book import LocalBook
from minibot.exchanges.binance.messages import parse_frame as parse_binance
from minibot.exchanges.kraken.book import KrakenKeeper
from minibot.exchanges.kraken.messages import parse_frame as parse_kraken
from tools import fuzz_json as shapes
from tools.fuzz_target import Verdict

PROJECT: Final = Path(__file__).resolve().parent.parent
TAPE: Final = PROJECT / "minibot" / "exchanges" / "tapes" / "shipped" / "btcusdt_20240808.gz"
TAPE_LINES: Final = 1500
FRAME_BYTES_MAX: Final = 1500
PLAIN: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
# Bounds of the contracts for an event.
CARRIED: Final = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
WHOLE_MAX: Final = 20
COUNT_MAX: Final = 2**53 - 1
TIME_DIGITS_MAX: Final = 13
CHARS_MAX: Final = 40
FRACTION_MAX: Final = 18
TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?Z", re.ASCII)
TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{},:]')
KRAKEN: Final = (
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":63004.9,'
    b'"qty":0.01876947},{"price":63003.3,"qty":0.00005100}],"asks":[{"price":63005.0,"qty":'
    b'2.08665551},{"price":63005.2,"qty":1e-08}],"checksum":%d,"timestamp":"2026-08-01"}]}',
    b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[{"price":'
    b'63005.9,"qty":0.00000000},{"price":101,"qty":0.00039677}],"checksum":%d}]}',
    b'[1664,{"as":[["13.260700","158.50548099","1618678133.860443"]],"bs":[["13.231300",'
    b'"151.15672684","1618678133.832213"]]},"book-1000","WAVES/EUR"]',
    b'[1664,{"a":[["101.000000","158.50548099","1618678133.860443","r"]]},{"b":[["99.00",'
    b'"0.00000000","1.2"]],"c":"%d"},"book-1000","WAVES/EUR"]',
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.2,'
    b'"qty":0.00027625,"ord_type":"limit","trade_id":7,"timestamp":"2023-10-06T17:35:55.440295Z"},'
    b'{"symbol":"BTC/USD","side":"sell","price":105910.5,"qty":1e-04,"ord_type":"market",'
    b'"trade_id":8,"timestamp":"2023-10-06T17:35:56Z"}]}',
    b'{"channel":"heartbeat"}',
    b'{"event":"heartbeat"}',
    b'{"method":"subscribe","result":{"channel":"book","depth":10},"success":true}',
    b'{"error":"Currency pair not supported XBT/USD","method":"subscribe","success":false}',
    b'{"channel":"status","type":"update","data":[{"connection_id":18125794168470749634}]}',
    b'[7,[["5541.20000","0.15850568","1534614057.32","s","l",""]],"trade","XBT/USD"]',
)
# Values that changed frames need but no frame of the tape has.
EXTRA: Final = (
    b'{"stream":"btcusdt@trade","data":{"e":"serverShutdown","E":1}}',
    b'{"result":null,"id":1}',
    b'{"error":{"code":2,"msg":"Invalid request"},"id":1}',
    b'{"e":"24hrMiniTicker","s":"BTCUSDT"}',
    b'{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21","a":"25.36520000","A":"40.66"}',
)
POOL: Final = tuple(
    text.encode("utf-8", "surrogatepass")
    for text in (*shapes.NUMBERS, *shapes.WORDS, *(json.dumps(each) for each in shapes.STRINGS))
    if len(text) < 80
)

Plain = tuple[Any, ...]


class Refused(Exception):
    """Refusal of the reference: the frame holds no message."""


class FrameTarget:
    """Fuzz target: frames of both venues."""

    name = "frames"

    def __init__(self) -> None:
        with gzip.open(TAPE) as file:
            lines = [
                line.partition(b" ")[2].rstrip() for line in itertools.islice(file, TAPE_LINES)
            ]
        tape = [line for line in lines if len(line) <= FRAME_BYTES_MAX][::7]
        self._frames = [b"b\0" + frame for frame in (*tape, *EXTRA, *EXTRA)]
        self._frames += [b"k\0" + _summed(frame) for frame in KRAKEN for _ in range(6)]

    def seeds(self) -> list[bytes]:
        """Return every recorded frame once."""
        return list(dict.fromkeys(self._frames))

    def make(self, rnd: Random) -> bytes:
        """Return a frame, usually with one fault."""
        data = rnd.choice(self._frames)
        venue, frame = data[:2], data[2:]
        for _ in range(rnd.choice((0, 1, 1, 1, 2, 3))):
            change = rnd.choice((_swapped, _swapped, _without, _doubled, _unknown))
            frame = change(rnd, frame)
        if rnd.random() < 0.25:
            frame = shapes.change_bytes(rnd, frame, rnd.choice(self._frames)[2:])
        if rnd.random() < 0.3:
            frame = _summed(re.sub(rb'("checksum":|"c":")\d+', rb"\g<1>%d", frame))
        return (rnd.choice((b"b\0", b"k\0")) if rnd.random() < 0.02 else venue) + frame

    def judge(self, data: bytes) -> Verdict:
        """Judge parser and book of the venue against the reference."""
        frame = data[2:]
        is_kraken = data[:1] == b"k"
        parse: Callable[[bytes], Message] = parse_kraken if is_kraken else parse_binance
        try:
            expected: Plain = _kraken(frame) if is_kraken else _binance(frame)
        except Refused as error:
            expected = ("refused", str(error))
        try:
            message = parse(frame)
        except FrameInvalid as error:
            if expected[0] == "refused":
                return Verdict(f"refused {expected[1]}")
            return Verdict("refused", f"refused with {error}; the reference reads {expected!r}")
        except Exception as error:  # The harness has to see whatever comes out.
            return Verdict("raised", f"raised {type(error).__name__}: {error}")
        found = _plain(message)
        if found != expected:
            return Verdict("other", f"read as {found!r}; the reference reads {expected!r}")
        if isinstance(message, Diff | StreamedSnapshot):
            return _judge_book(message, is_kraken=is_kraken)
        return Verdict(f"good {found[0]}")


# --- inputs -----------------------------------------------------------------------------------


def _tokens(frame: bytes) -> list[re.Match[bytes]]:
    return list(TOKEN.finditer(frame))


def _swapped(rnd: Random, frame: bytes) -> bytes:
    """Replace a value or a key by another word."""
    found = [each for each in _tokens(frame) if each[0] not in b"[]{},:"]
    if not found:
        return frame
    at = rnd.choice(found)
    word = rnd.choice(POOL) if rnd.random() < 0.7 else rnd.choice(found)[0]
    return frame[: at.start()] + word + frame[at.end() :]


def _without(rnd: Random, frame: bytes) -> bytes:
    """Leave a pair out."""
    pairs = list(re.finditer(rb'"\w+":(?:"[^"]*"|[\w.-]+),?', frame))
    if not pairs:
        return frame
    at = rnd.choice(pairs)
    return frame[: at.start()] + frame[at.end() :]


def _doubled(rnd: Random, frame: bytes) -> bytes:
    """Repeat a level or a pair."""
    parts = list(re.finditer(rb'\["[^\]]*\],?|\{"price[^}]*\},?|"\w+":(?:"[^"]*"|\d+),', frame))
    if not parts:
        return frame
    at = rnd.choice(parts)
    return frame[: at.end()] + (b"" if at[0].endswith(b",") else b",") + frame[at.start() :]


def _unknown(rnd: Random, frame: bytes) -> bytes:
    """Add an unknown field."""
    places = [at for at, char in enumerate(frame) if char == ord("{")]
    if not places:
        return frame
    at = rnd.choice(places) + 1
    comma = b"" if frame[at : at + 1] == b"}" else b","
    return frame[:at] + b'"zz":' + rnd.choice(POOL[-20:]) + comma + frame[at:]


def _summed(frame: bytes) -> bytes:
    """Return a frame of Kraken with the checksum of the resulting book, where it carries one."""
    if frame.count(b"%d") != 1:
        return frame.replace(b"%d", b"1")
    try:
        read = _kraken(frame.replace(b"%d", b"1"))
        return frame.replace(b"%d", b"%d" % _naive_after(read, is_kraken=True)[1])
    except Refused:
        return frame.replace(b"%d", b"1")


# --- the reference: JSON ----------------------------------------------------------------------


def _refuse(why: str) -> NoReturn:
    raise Refused(why)


def _integer(text: str) -> int | float:
    value = int(text) if len(text) < 400 else _refuse("number")
    # The fast reader turns integers beyond 64 bits into floats; no field in use may be one.
    return value if -(2**63) <= value < 2**64 else float(value)


def _float(text: str) -> float:
    value = float(text)
    return _refuse("number") if value in (float("inf"), float("-inf")) else value


def _is_lone(value: Any) -> bool:
    """Return whether a text, or one in a list, holds half of a surrogate pair."""
    if isinstance(value, list):
        return any(map(_is_lone, value))
    return isinstance(value, str) and any(0xD800 <= ord(char) < 0xE000 for char in value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _need(not any(_is_lone(text) for pair in pairs for text in pair), "surrogate")
    return dict(pairs)


def _json(frame: bytes) -> Any:
    try:
        value = json.loads(
            frame.decode(),
            parse_int=_integer,
            parse_float=_float,
            parse_constant=lambda _: _refuse("constant"),
            object_pairs_hook=_object,
        )
    except ValueError as error:
        raise Refused("no JSON") from error
    return _refuse("surrogate") if _is_lone(value) else value


def _need(is_so: object, why: str) -> None:
    if not is_so:
        raise Refused(why)


def _number(text: Any, places: int = 8) -> int:
    """Return a plain decimal string in units of 10**-places; nothing is ever rounded."""
    _need(type(text) is str, "number is not text")
    _need(PLAIN.fullmatch(text) and len(text.lstrip("-")) <= CHARS_MAX, "no plain decimal")
    whole, _, fraction = text.partition(".")
    _need(len(fraction) <= FRACTION_MAX and len(fraction.rstrip("0")) <= places, "places")
    return int(whole + fraction[:places].ljust(places, "0"))


def _carried(text: Any) -> str:
    """Return a decimal that may stand in an event unchanged."""
    _need(type(text) is str and CARRIED.fullmatch(text), "no decimal of an event")
    whole, _, fraction = str(text).partition(".")
    _need(len(whole) <= WHOLE_MAX and len(fraction) <= FRACTION_MAX, "long decimal")
    return str(text)


def _above_zero(text: Any) -> int:
    value = _number(_carried(text))
    _need(value > 0, "not above zero")
    return value


def _count(value: Any) -> int:
    _need(type(value) is int and 0 <= value <= COUNT_MAX, "no count")
    return int(value)


def _ms(value: Any) -> int:
    at = _count(value) // 1000 if _count(value) >= 10**14 else _count(value)
    _need(len(str(at)) <= TIME_DIGITS_MAX, "no time")
    return at


# --- the reference: Binance -------------------------------------------------------------------


def _binance(frame: bytes) -> Plain:
    root = _json(frame)
    _need(isinstance(root, dict), "no object")
    data = root.get("data", root)
    _need(isinstance(data, dict), "no object under data")
    try:
        return _binance_message(data)
    except KeyError as error:
        raise Refused("field missing") from error


def _binance_message(data: Mapping[str, Any]) -> Plain:
    kind = data.get("e")
    if kind == "trade":
        _need(type(data["m"]) is bool, "m")
        price, qty = _above_zero(data["p"]), _above_zero(data["q"])
        side = "SELL" if data["m"] else "BUY"
        ids = _symbol(data), _count(data["t"])
        return ("trade", *ids, data["p"], price, data["q"], qty, _ms(data["T"]), side)
    if kind == "depthUpdate":
        _need(_count(data["U"]) <= _count(data["u"]), "order of ids")
        _need(type(data["b"]) is list and type(data["a"]) is list, "levels")
        return ("diff", _symbol(data), data["U"], data["u"], data["b"], data["a"], None)
    if kind == "bookTicker" or (kind is None and {"u", "b", "a"} <= data.keys()):
        quantities = [_number(_carried(data[side])) for side in "BA"]
        _need(min(quantities) >= 0, "negative")
        empty = [
            not qty and not _number(_carried(data[side]))
            for side, qty in zip("ba", quantities, strict=True)
        ]
        prices = [
            0 if is_empty else _above_zero(data[side])
            for side, is_empty in zip("ba", empty, strict=True)
        ]
        if any(empty):
            return ("notouch", _symbol(data))
        bid, ask = prices
        _need(bid < ask, "crossed")
        at = None if data.get("T") is None else _ms(data["T"])
        sides = data["b"], bid, data["B"], data["a"], ask, data["A"]
        return ("quote", _symbol(data), _count(data["u"]), *sides, at)
    if kind == "serverShutdown":
        return ("shutdown",)
    if kind is not None:
        return ("ignored",)
    error = data.get("error", data if "code" in data else None)
    _need(isinstance(error, dict) or ("id" in data and "result" in data), "no known message")
    return ("ignored",)


def _symbol(data: Mapping[str, Any]) -> str:
    _need(type(data["s"]) is str and data["s"], "symbol")
    return str(data["s"])


# --- the reference: Kraken --------------------------------------------------------------------


class Number(str):
    """Number with its text as written."""


def _kraken(frame: bytes) -> Plain:
    try:
        root = json.loads(
            frame.decode(), parse_float=Number, parse_constant=lambda _: _refuse("constant")
        )
    except (ValueError, RecursionError) as error:
        raise Refused("no JSON") from error
    try:
        if type(root) is list:
            return _kraken_1(root)
        _need(type(root) is dict, "no object")
        return _kraken_2(root)
    except (KeyError, IndexError) as error:
        raise Refused("field missing") from error


def _kraken_1(root: list[Any]) -> Plain:
    _need(len(root) >= 4 and type(root[-1]) is str and type(root[-2]) is str, "no frame")
    _need(root[-1], "no symbol")
    if not root[-2].startswith("book-"):
        return ("ignored",)
    parts: list[Any] = root[1:-2]
    _need(all(type(part) is dict for part in parts), "parts")
    keys = [key for part in parts for key in part]
    _need(len(keys) == len(set(keys)), "field twice")
    fields = {key: value for part in parts for key, value in part.items()}
    if "as" in fields or "bs" in fields:
        return ("book", root[-1], _rows_1(fields["bs"]), _rows_1(fields["as"]), None)
    text = fields["c"]
    _need(type(text) is str and re.fullmatch(r"[0-9]+", text, re.ASCII), "checksum")
    _need(len(text) < 4000 and int(text) < 2**32, "checksum")
    bids, asks = _rows_1(fields.get("b", [])), _rows_1(fields.get("a", []))
    return ("diff", root[-1], 0, 0, bids, asks, int(text))


def _rows_1(value: Any) -> list[list[str]]:
    _need(type(value) is list, "levels")
    for row in value:
        _need(type(row) is list and 3 <= len(row) <= 4, "level")
        _need(all(isinstance(text, str) and type(text) is str for text in row[:2]), "level")
    return [row[:2] for row in value]


def _kraken_2(root: Mapping[str, Any]) -> Plain:
    channel = root.get("channel")
    if channel == "trade":
        _need(root["type"] in ("snapshot", "update"), "type")
        if root["type"] == "snapshot":
            return ("ignored",)
        _need(type(root["data"]) is list, "data")
        return ("trades", tuple(map(_trade_2, root["data"])))
    if channel != "book":
        _need((isinstance(channel, str) and type(channel) is str) or _is_reply(root), "no message")
        return ("ignored",)
    data = root["data"]
    _need(type(data) is list and len(data) == 1 and type(data[0]) is dict, "data")
    only = data[0]
    _need(type(only.get("symbol")) is str and only["symbol"], "symbol")
    bids, asks = _rows_2(only["bids"]), _rows_2(only["asks"])
    number = only["checksum"]
    _need(type(number) is int and 0 <= number < 2**32, "checksum")
    _need(type(root["type"]) is str and root["type"] in ("snapshot", "update"), "type")
    if root["type"] == "snapshot":
        return ("book", only["symbol"], bids, asks, number)
    return ("diff", only["symbol"], 0, 0, bids, asks, number)


def _trade_2(data: Any) -> Plain:
    _need(type(data) is dict, "trade")
    price, qty = _written(data["price"]), _written(data["qty"])
    _need(type(data["trade_id"]) is int and data["trade_id"] >= 0, "no count")
    _need(type(data["side"]) is str and data["side"] in ("buy", "sell"), "side")
    at = data["timestamp"]
    _need(type(at) is str and TIME.fullmatch(at), "time")
    try:
        moment = calendar.timegm(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError as error:
        raise Refused("time") from error
    _need(at[17:19] < "60" and at[:4] > "0000", "time")
    thousandths = int((at[20:].rstrip("Z") + "000")[:3])
    ids = _symbol({"s": data["symbol"]}), data["trade_id"]
    units = _above_zero(price), _above_zero(qty)
    side = "BUY" if data["side"] == "buy" else "SELL"
    return (*ids, price, units[0], qty, units[1], moment * 1000 + thousandths, side)


def _is_reply(root: Mapping[str, Any]) -> bool:
    return type(root.get("channel")) is not str and bool({"method", "event", "Error"} & root.keys())


def _rows_2(value: Any) -> list[list[str]]:
    _need(type(value) is list, "levels")
    rows = []
    for row in value:
        _need(type(row) is dict, "level")
        rows.append([_written(row["price"]), _written(row["qty"])])
    return rows


def _written(value: Any) -> str:
    _need(type(value) in (int, Number), "no number")
    text = str(value)
    _need(len(text) <= CHARS_MAX, "long number")
    if "e" not in text.lower():
        return text
    power = re.split("[eE]", text)[1].lstrip("+-")
    _need(len(power) <= 2 and not text.startswith("-"), "number with an odd exponent")
    return format(Decimal(text), "f")


# --- messages and books -----------------------------------------------------------------------


def _plain(message: Message) -> Plain:
    """Return a message of the product in the reference's form."""
    kind = type(message).__name__.lower()
    if isinstance(message, StreamedSnapshot):
        snapshot = message.snapshot
        return ("book", message.symbol, snapshot.bids, snapshot.asks, snapshot.checksum)
    if kind in ("shutdown", "ignored"):
        return (kind,)
    return (kind, *message)


# So far apart that no recorded diff crosses the book.
BASE: Final = ([["0.5", "1.0"], ["0.25", "2.0"]], [["900000.5", "1.0"], ["900001.0", "2.0"]])


def _judge_book(message: Diff | StreamedSnapshot, *, is_kraken: bool) -> Verdict:
    """Apply the levels to a small book, by the product and by plain code."""
    read = _plain(message)
    try:
        expected: Any = _naive_after(read, is_kraken=is_kraken)
        if is_kraken and read[-1] is not None and read[-1] != expected[1]:
            raise Refused("checksum")
        expected = expected[0]
    except Refused as error:
        expected = f"refused {error}"
    try:
        found: Any = _product_after(message, is_kraken=is_kraken)
    except FrameInvalid:
        found = "refused"
    except Exception as error:  # The harness has to see whatever comes out.
        return Verdict("raised", f"book raised {type(error).__name__}: {error}")
    if isinstance(expected, str):
        wrong = "" if found == "refused" else f"book takes it; the reference says {expected}"
        return Verdict(expected, wrong)
    if found != expected:
        return Verdict("other", f"book {found!r}; the reference has {expected!r}")
    return Verdict(f"good {read[0]}")


def _product_after(message: Diff | StreamedSnapshot, *, is_kraken: bool) -> Any:
    if isinstance(message, StreamedSnapshot):
        keeper = KrakenKeeper(10)
        keeper.on_snapshot(message.snapshot)
        book: Any = keeper.book
    elif is_kraken:
        keeper = KrakenKeeper(10)
        keeper.on_snapshot(Snapshot(0, *BASE, True))
        keeper.on_diff(message)
        book = keeper.book
    else:
        book = LocalBook(Snapshot(message.first_id, *BASE, True))
        book.apply(message._replace(last_id=max(message.last_id, message.first_id)))
    return book.bids.top(10), book.asks.top(10)


def _naive_after(read: Plain, *, is_kraken: bool) -> tuple[Any, int]:
    """Return both sides after a message, and Kraken's checksum of them."""
    if read[0] not in ("diff", "book"):
        raise Refused("no book")
    begin = ([], []) if read[0] == "book" else BASE
    changes = (read[2], read[3]) if read[0] == "book" else (read[4], read[5])
    sides = []
    for is_bid, before, change in zip((True, False), begin, changes, strict=True):
        side: dict[int, tuple[str, str]] = {}
        for row in [*before, *change]:
            _apply(side, row, is_kraken=is_kraken)
        order = sorted(side, reverse=is_bid)
        sides.append([(key, side[key]) for key in order[: 10 if is_kraken else None]])
    bids, asks = sides
    text = "".join(part.replace(".", "").lstrip("0") for _, level in asks + bids for part in level)
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise Refused("crossed book")
    tops = tuple(tuple(level for _, level in side[:10]) for side in sides)
    return tops, zlib.crc32(text.encode())


def _apply(side: dict[int, tuple[str, str]], row: Any, *, is_kraken: bool) -> None:
    _need(type(row) in (list, str, dict) and len(row) == 2, "level")
    price, qty = row
    _need(type(price) is str and type(qty) is str, "level")
    _carried(qty)
    key = _number(_carried(price), 12 if is_kraken else 8)
    _need(key > 0, "price")
    if qty.strip("0."):
        side[key] = (price, qty)
    else:
        side.pop(key, None)
