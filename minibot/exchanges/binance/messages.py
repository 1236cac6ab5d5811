"""Frames of Binance Spot streams as typed messages.

Unused fields may come, go or change (the venue has done all three); needed fields are checked for
type and plausibility, and a frame that fails is refused as a whole. Source: web-socket-streams.md
of the venue, payloads of trade, bookTicker and diff depth.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from minibot.events.decimals import parse_fixed
from minibot.events.field_types import MS_MAX, WHOLE_MAX
from minibot.events.model import BUY, SELL
from minibot.events.parse_cache import ParseCache
from minibot.exchanges.base import (
    EDGES,
    Candle,
    Diff,
    Edges,
    FrameInvalid,
    Ignored,
    Message,
    NoTouch,
    Quote,
    Rows,
    Shutdown,
    Snapshot,
    Trade,
)
from minibot.exchanges.units import (
    QUOTE_VOLUME_PLACES,
    not_negative,
    plain,
    positive,
)

# Times are milliseconds by default, below 10**13; from 10**14 on a number can only be
# microseconds. Between them it is refused.
MICROSECONDS_FROM: Final = 10**14
# A wrong name in a stream's URL is accepted silently by the venue, so names are fixed here.
STREAMS: Final = ("trade", "bookTicker", "depth@100ms")

_NOT_USED: Final = "event type not used: "
# Quotes, trades and book levels repeat the same numbers, so they share one cache. Numbers repeat
# soon: a minute or two of a busy market, half a megabyte each.
TEXTS_MAX: Final = 4_096
PRICES: Final = ParseCache(positive, TEXTS_MAX)
AMOUNTS: Final = ParseCache(not_negative, TEXTS_MAX)
# Calling a named tuple's class costs twice as much.
_new: Final = tuple.__new__


def stream_names(symbols: tuple[str, ...]) -> list[str]:
    """Return the stream names of the given symbols; the venue requires lower case."""
    return [f"{symbol.lower()}@{stream}" for symbol in symbols for stream in STREAMS]


def parse_frame(data: bytes) -> Message:
    """Return the message of one frame, wrapped (combined stream) or raw.

    Raises:
        FrameInvalid: Not JSON, or a needed field is missing, has a wrong type or is implausible.
    """
    try:
        root = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise FrameInvalid(f"not JSON: {error}", is_readable=False) from error
    if type(root) is not dict:
        raise FrameInvalid(f"expected an object, found {type(root).__name__}")
    payload = root.get("data", root)
    if type(payload) is not dict:
        raise FrameInvalid("expected an object under data")
    try:
        return _message(payload)
    except KeyError as error:
        raise _refusal(f"field {error} is missing", payload) from error
    except (ValueError, TypeError, RecursionError) as error:  # The last of a deep value as text.
        raise _refusal(str(error), payload) from error


def _refusal(why: str, data: dict[str, Any]) -> FrameInvalid:
    event, symbol = data.get("e"), data.get("s")
    is_quote = event == "bookTicker" or (event is None and data.keys() >= {"u", "b", "a"})
    named = symbol if isinstance(symbol, str) else ""
    return FrameInvalid(why, symbol=named, is_quote=is_quote)


def _message(data: dict[str, Any]) -> Message:
    event = data.get("e")
    if event is None:
        if "u" in data and "b" in data and "a" in data:  # Only bookTicker has no event type.
            return _quote(data)
        return _reply(data)
    if event == "trade":
        return _trade(data)
    if event == "depthUpdate":
        return _diff(data)
    if event == "bookTicker":
        return _quote(data)
    if event == "serverShutdown":
        return Shutdown(f"serverShutdown at {data.get('E')}")
    return Ignored(_NOT_USED + str(event)[:40])


def _trade(data: dict[str, Any]) -> Trade:
    price, qty, maker_buys = data["p"], data["q"], data["m"]
    if type(maker_buys) is not bool:
        raise TypeError("m: expected a boolean")
    # The buyer was the resting side, so the taker sold.
    side = SELL if maker_buys else BUY
    price_units, qty_units = PRICES[price], PRICES[qty]
    symbol, trade_id, at = _symbol(data), _integer(data, "t"), time_ms(data["T"])
    return _new(Trade, (symbol, trade_id, price, price_units, qty, qty_units, at, side))


def _quote(data: dict[str, Any]) -> Quote | NoTouch:
    bid, ask, bid_qty, ask_qty = data["b"], data["a"], data["B"], data["A"]
    try:
        bid_units, ask_units = PRICES[bid], PRICES[ask]
    except ValueError:
        # A side without an order has neither price nor quantity: no wrong price, but no touch.
        if not any([_is_empty(bid, bid_qty), _is_empty(ask, ask_qty)]):
            raise
        return NoTouch(_symbol(data))
    AMOUNTS[bid_qty]
    AMOUNTS[ask_qty]
    if bid_units >= ask_units:
        raise ValueError(f"crossed: bid {bid} is not below ask {ask}")
    exchange_ts = data.get("T")
    at = None if exchange_ts is None else time_ms(exchange_ts)
    symbol, update_id = _symbol(data), _integer(data, "u")
    return _new(Quote, (symbol, update_id, bid, bid_units, bid_qty, ask, ask_units, ask_qty, at))


def _is_empty(price: str, qty: str) -> bool:
    """Return whether a side has no order; of any other the price is above zero.

    Raises:
        ValueError, TypeError: Neither of both.
    """
    if any([AMOUNTS[price], AMOUNTS[qty]]):  # A list, so that both are judged.
        PRICES[price]
        return False
    return True


def _diff(data: dict[str, Any]) -> Diff:
    first_id, last_id = _integer(data, "U"), _integer(data, "u")
    if first_id > last_id:
        raise ValueError(f"U {first_id} is above u {last_id}")
    return Diff(_symbol(data), first_id, last_id, _rows(data["b"]), _rows(data["a"]))


def _reply(data: dict[str, Any]) -> Message:
    """Return an answer to a control message; errors come flat or nested (`binance.streams`)."""
    error = data.get("error", data if "code" in data else None)
    if type(error) is dict:
        return Ignored(f"control error {error.get('code')}: {str(error.get('msg'))[:100]}")
    if "id" in data and "result" in data:
        return Ignored("control answer")
    raise ValueError(f"no known message: keys {sorted(map(str, data))[:8]}")


def _symbol(data: dict[str, Any]) -> str:
    symbol = data["s"]
    if type(symbol) is not str or not symbol:
        raise TypeError("s: expected a symbol")
    return symbol


def _integer(data: dict[str, Any], key: str) -> int:
    value = data[key]
    if type(value) is not int or not 0 <= value <= WHOLE_MAX:
        raise TypeError(f"{key}: expected an integer from 0 to 2**53, found {str(value)[:40]!r}")
    return value


def time_ms(value: Any) -> int:
    """Return a time of the venue in Unix ms; the venue sends microseconds on request.

    Raises:
        TypeError: Not an integer from 0, or a time after the year 2286.
    """
    if type(value) is not int or not 0 <= value <= WHOLE_MAX:
        raise TypeError(f"expected a time in milliseconds, found {str(value)[:40]!r}")
    at = value // 1000 if value >= MICROSECONDS_FROM else value
    if at > MS_MAX:
        raise TypeError(f"expected a time in milliseconds, found {value}")
    return at


def _rows(value: Any) -> Rows:
    """Return levels without checking them: the book parses every row that it applies."""
    if type(value) is not list:
        raise TypeError("levels: expected a list")
    return value


def parse_snapshot(body: Any, limit: int) -> Snapshot:
    """Return the depth snapshot of a REST answer; one that we recorded may tell its edges.

    Raises:
        FrameInvalid: No update id, or levels that are no levels.
    """
    try:
        bids, asks = _rows(body["bids"]), _rows(body["asks"])
        last_update_id = _integer(body, "lastUpdateId")
        edges = _edges(body[EDGES]) if EDGES in body else None
    except (KeyError, TypeError, ValueError) as error:
        raise FrameInvalid(f"depth: {error}") from error
    is_whole = max(len(bids), len(asks)) < limit
    return Snapshot(last_update_id, bids, asks, is_whole, edges=edges)


def _edges(told: Any) -> Edges:
    bid, ask = (None if text is None else positive(text) for text in told)
    return bid, ask


def parse_candles(body: Any) -> list[Candle]:
    """Return the klines of a REST answer, oldest first.

    Raises:
        FrameInvalid: A row that is no kline, or one whose prices contradict each other.
    """
    if type(body) is not list:
        raise FrameInvalid("klines: expected a list")
    try:
        return [_candle(row) for row in body]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise FrameInvalid(f"klines: {error}") from error


def _candle(row: Any) -> Candle:
    if type(row) is not list or len(row) < 10:
        raise TypeError("expected a list of at least ten")
    opened, high, low, close = (positive(row[index]) for index in (1, 2, 3, 4))
    if not low <= min(opened, close) or not max(opened, close) <= high:
        raise ValueError(f"high {row[2]} and low {row[3]} do not bracket open and close")
    not_negative(row[5])
    not_negative(row[9])
    if type(row[8]) is not int or not 0 <= row[8] <= WHOLE_MAX:
        raise TypeError("expected a count of trades")
    parse_fixed(plain(row[7]), QUOTE_VOLUME_PLACES)
    return Candle(
        open_ts=time_ms(row[0]),
        close_ts=time_ms(row[6]),
        open=row[1],
        high=row[2],
        low=row[3],
        close=row[4],
        volume=row[5],
        quote_volume=row[7],
        trades=row[8],
        taker_buy_volume=row[9],
    )
