"""Frames of Kraken's streams, version 1 (lists) and 2 (objects), as typed messages.

Needed fields are checked for type, and a frame that fails is refused as a whole, with the name of
its symbol if that could be read: a lost update changes the book, and no number would show it.
Levels are checked by the book. Of the other channels, only the trades of version 2 are used (those
of version 1 have no ids); best quotes are the top of the book, as the ticker follows trades.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from minibot.events.model import BUY, SELL, Side
from minibot.exchanges.base import (
    Dialect,
    Diff,
    FrameInvalid,
    Ignored,
    Message,
    Rows,
    Snapshot,
    StreamedSnapshot,
    Trade,
    Trades,
)
from minibot.exchanges.kraken.book import KrakenKeeper
from minibot.exchanges.kraken.numbers import Places, digits, read_json
from minibot.exchanges.units import positive

CHECKSUM_MAX: Final = 2**32 - 1
TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
SIDES: Final[Mapping[str, Side]] = {"buy": BUY, "sell": SELL}
NO_PLACES: Final[Mapping[str, Places]] = {}


def dialect(depth: int, places: Mapping[str, Places] = NO_PLACES) -> Dialect:
    """Return Kraken's dialect for subscribed books of a given depth.

    Args:
        depth: Levels a side.
        places: Decimal places of the pairs, for numbers with an exponent.
    """
    return Dialect(
        partial(parse_frame, places=places),
        partial(KrakenKeeper, depth),
        is_numbered=False,
        has_quotes=False,
    )


def parse_frame(data: bytes, places: Mapping[str, Places] = NO_PLACES) -> Message:
    """Return the message of one frame.

    Raises:
        FrameInvalid: Not JSON, or a needed field is missing or has a wrong type.
    """
    try:
        root = read_json(data)
    except (ValueError, RecursionError) as error:
        raise FrameInvalid(f"not JSON: {error}", is_readable=False) from error
    symbol = _symbol_of(root)
    if type(root) is dict and root.get("channel") == "trade":
        return _trades(root, places)
    try:
        if type(root) is list:
            return _listed(root, symbol)
        if type(root) is dict:
            return _channel(root, symbol, places)
    except KeyError as error:
        raise FrameInvalid(f"field {error} is missing", symbol=symbol) from error
    except (ValueError, TypeError) as error:
        raise FrameInvalid(str(error), symbol=symbol) from error
    raise FrameInvalid(f"expected an object or a list, found {type(root).__name__}")


def _symbol_of(root: Any) -> str:
    """Return the symbol of a frame's book; "" if it cannot be read."""
    found = None
    if type(root) is list and root:
        found = root[-1]
    elif type(root) is dict and type(root.get("data")) is list and len(root["data"]) == 1:
        only = root["data"][0]
        found = only.get("symbol") if type(only) is dict else None
    return found if type(found) is str else ""


# --- version 2 --------------------------------------------------------------------------------


def _channel(root: dict[str, Any], symbol: str, places: Mapping[str, Places]) -> Message:
    channel = root.get("channel")
    if channel == "book":
        return _book(root, symbol, places)
    if type(channel) is str:
        return Ignored(f"channel not used: {channel[:40]}")
    if "method" in root or "event" in root or "Error" in root:
        return _reply(root)
    raise ValueError(f"no known message: keys {sorted(map(str, root))[:8]}")


def _reply(root: dict[str, Any]) -> Ignored:
    error = root.get("error", root.get("errorMessage", root.get("Error")))
    what = root.get("method", root.get("event", "message"))
    if error is not None:
        return Ignored(f"control error: {str(what)[:40]}: {str(error)[:100]}")
    return Ignored(f"control answer: {str(what)[:40]}")


def _book(root: dict[str, Any], symbol: str, places: Mapping[str, Places]) -> Message:
    if not symbol:
        raise ValueError("book: expected the data of one symbol")
    data = root["data"][0]
    of_pair = places.get(symbol)
    bids, asks = _levels(data["bids"], of_pair), _levels(data["asks"], of_pair)
    checksum = _checksum(data["checksum"])
    if root["type"] == "snapshot":
        return StreamedSnapshot(symbol, Snapshot(0, bids, asks, True, checksum))
    if root["type"] == "update":
        return Diff(symbol, 0, 0, bids, asks, checksum)
    raise ValueError(f"type: expected snapshot or update, found {str(root['type'])[:40]!r}")


def _levels(value: Any, places: Places | None) -> Rows:
    if type(value) is not list:
        raise TypeError("levels: expected a list")
    price_places, qty_places = places or (None, None)
    return [[digits(row["price"], price_places), digits(row["qty"], qty_places)] for row in value]


def _checksum(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= CHECKSUM_MAX:
        raise TypeError(f"checksum: expected 32 bits, found {str(value)[:40]!r}")
    return value


def _trades(root: dict[str, Any], places: Mapping[str, Places]) -> Message:
    """Return the trades of a frame; those from before the subscription are history."""
    try:
        if root["type"] == "snapshot":
            return Ignored("trades before the subscription")
        if root["type"] != "update" or type(root["data"]) is not list:
            raise TypeError("trade: expected a list of updates")
        return Trades(tuple(_trade(data, places) for data in root["data"]))
    except KeyError as error:
        raise FrameInvalid(f"field {error} is missing", may_be_diff=False) from error
    except (ValueError, TypeError) as error:
        raise FrameInvalid(f"trade: {error}", may_be_diff=False) from error


def _trade(data: Any, places: Mapping[str, Places]) -> Trade:
    symbol, trade_id, side = data["symbol"], data["trade_id"], data["side"]
    if type(symbol) is not str or not symbol:
        raise TypeError("expected a symbol")
    if type(trade_id) is not int or trade_id < 0:
        raise TypeError(f"expected a trade id, found {str(trade_id)[:40]!r}")
    if type(side) is not str or side not in SIDES:
        raise TypeError(f"expected buy or sell, found {str(side)[:40]!r}")
    price_places, qty_places = places.get(symbol) or (None, None)
    price, qty = digits(data["price"], price_places), digits(data["qty"], qty_places)
    at_ms = _milliseconds(data["timestamp"])
    return Trade(symbol, trade_id, price, positive(price), qty, positive(qty), at_ms, SIDES[side])


def _milliseconds(value: Any) -> int:
    """Return an RFC 3339 time in UTC as Unix milliseconds; finer digits are cut."""
    found = TIME.fullmatch(value) if type(value) is str else None
    if found is None:
        raise TypeError(f"expected a time, found {str(value)[:40]!r}")
    seconds = datetime.fromisoformat(found[1] + "+00:00").timestamp()
    return int(seconds) * 1000 + int((found[2] or "")[:3].ljust(3, "0"))


# --- version 1 --------------------------------------------------------------------------------


def _listed(root: list[Any], symbol: str) -> Message:
    """Return the message of [channel id, part, (part,) channel name, pair]."""
    if len(root) < 4 or not symbol or type(root[-2]) is not str:
        raise ValueError("expected [channel id, data, channel, pair]")
    if not root[-2].startswith("book-"):
        return Ignored(f"channel not used: {root[-2][:40]}")
    parts: dict[str, Any] = {}
    for part in root[1:-2]:
        if type(part) is not dict or part.keys() & parts.keys():
            raise TypeError("book: expected objects with different fields")
        parts |= part
    if "as" in parts or "bs" in parts:
        sides = _texts(parts["bs"]), _texts(parts["as"])
        return StreamedSnapshot(symbol, Snapshot(0, *sides, is_whole=True))
    checksum = parts["c"]
    if type(checksum) is not str or not (checksum.isascii() and checksum.isdigit()):
        raise TypeError("c: expected a checksum in digits")
    bids, asks = _texts(parts.get("b", [])), _texts(parts.get("a", []))
    return Diff(symbol, 0, 0, bids, asks, _checksum(int(checksum)))


def _texts(value: Any) -> Rows:
    """Return levels of [price, quantity, time] and perhaps "r", a level that was shown before."""
    if type(value) is not list:
        raise TypeError("levels: expected a list")
    rows = []
    for row in value:
        if type(row) is not list or len(row) not in (3, 4):
            raise TypeError("level: expected [price, quantity, time]")
        if type(row[0]) is not str or type(row[1]) is not str:
            raise TypeError("level: expected decimal strings")
        rows.append([row[0], row[1]])
    return rows
