"""Last prices of the whole market: frames of `!miniTicker@arr`, wrapped or raw.

Source: web-socket-streams.md, All Market Mini Tickers Stream. A frame holds only symbols that
changed.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.binance.messages import time_ms
from minibot.exchanges.units import not_negative
from minibot.exchanges.venue_facts import LastPrice

MINI_TICKERS: Final = "!miniTicker@arr"


def parse_mini_tickers(data: bytes) -> list[LastPrice]:
    """Return the mini tickers of one frame.

    Raises:
        FrameInvalid: Not JSON, no array, or an element that is no mini ticker.
    """
    try:
        root = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise FrameInvalid(f"not JSON: {error}", is_readable=False) from error
    rows = root.get("data") if type(root) is dict else root
    if type(rows) is not list:
        raise FrameInvalid("expected an array of mini tickers")
    try:
        return [_mini_ticker(row) for row in rows]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FrameInvalid(f"mini ticker: {error}") from error


def _mini_ticker(row: Any) -> LastPrice:
    symbol, close, exchange_ts = row["s"], row["c"], time_ms(row["E"])
    if type(symbol) is not str or row["e"] != "24hrMiniTicker":
        raise TypeError("expected 24hrMiniTicker of a symbol")
    return LastPrice(symbol, close, not_negative(close), exchange_ts)
