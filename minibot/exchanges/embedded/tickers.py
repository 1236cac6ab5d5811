"""Tickers and average prices: what the last hours came to, from the kept one-minute bars.

The venue rolls its windows by the trade; here they roll by whole minutes, with the minute that
is going on counted in full.
"""

from __future__ import annotations

import re
from typing import Any, Final

from minibot.exchanges.embedded.bars import Bar
from minibot.exchanges.embedded.decimals import SCALE, to_text
from minibot.exchanges.embedded.parameters import ApiError, Parameters
from minibot.exchanges.embedded.venue import Venue

_MINUTE_MS: Final = 60_000
DAY_MS: Final = 24 * 60 * _MINUTE_MS
AVERAGE_MINUTES: Final = 5
_WINDOW: Final = re.compile(r"^(?:([1-9]|[1-5]\d)m|([1-9]|1\d|2[0-3])h|([1-7])d)$")


def signed_text(units: int) -> str:
    """Return units of 10**-8 as a decimal string that may be negative."""
    return to_text(units) if units >= 0 else "-" + to_text(-units)


def window_bar(venue: Venue, symbol: str, window_ms: int) -> Bar | None:
    """Return one bar over the trades of the last `window_ms`; None if there were none."""
    now_ms = venue.now_ms()
    first_ms = (now_ms - window_ms) // _MINUTE_MS * _MINUTE_MS + _MINUTE_MS
    total: Bar | None = None
    bars = venue.bars(symbol, "1m", max(0, first_ms), None, window_ms // _MINUTE_MS)
    for bar in bars:
        if total is None:
            total = Bar(first_ms, now_ms + 1, bar.open, bar.high, bar.low, bar.close)
        total.merge(bar)
    return total


def average_price(venue: Venue, parameters: Parameters) -> Any:
    """Answer `/api/v3/avgPrice`."""
    symbol = parameters.symbol(venue.symbols)
    price, close_ms = average(venue, symbol)
    return {"mins": AVERAGE_MINUTES, "price": to_text(price), "closeTime": close_ms}


def average(venue: Venue, symbol: str) -> tuple[int, int]:
    """Return (volume-weighted price of the last minutes or the last price, last trade time)."""
    state = venue.symbols[symbol]
    bar = window_bar(venue, symbol, AVERAGE_MINUTES * _MINUTE_MS)
    close_ms = state.trades[-1]["T"] if state.trades else 0
    if bar is None:
        return 0, close_ms
    return (bar.quote // bar.volume if bar.volume else bar.close), close_ms


def _each(venue: Venue, parameters: Parameters, answer: Any) -> Any:
    """Answer for one symbol with an object, for several with a list."""
    names = parameters.symbols(venue.symbols)
    if parameters.get("symbol") is not None and names:
        return answer(names[0])
    return [answer(name) for name in (venue.symbols if names is None else names)]


def last_price(venue: Venue, parameters: Parameters) -> Any:
    """Answer `/api/v3/ticker/price`."""

    def answer(symbol: str) -> dict[str, Any]:
        trades = venue.symbols[symbol].trades
        return {"symbol": symbol, "price": trades[-1]["p"] if trades else to_text(0)}

    return _each(venue, parameters, answer)


def touch(venue: Venue, symbol: str) -> tuple[str, str, str, str]:
    """Return (bid, bid quantity, ask, ask quantity), zeros before the first quote."""
    quote = venue.symbols[symbol].quote
    if quote is not None:
        return quote["b"], quote["B"], quote["a"], quote["A"]
    zero = (to_text(0), to_text(0))
    book = venue.symbols[symbol].book
    bids, asks = book.bids.best(1), book.asks.best(1)
    return (*(bids[0] if bids else zero), *(asks[0] if asks else zero))


def book_ticker(venue: Venue, parameters: Parameters) -> Any:
    """Answer `/api/v3/ticker/bookTicker`."""

    def answer(symbol: str) -> dict[str, Any]:
        bid, bid_qty, ask, ask_qty = touch(venue, symbol)
        return {
            "symbol": symbol,
            "bidPrice": bid,
            "bidQty": bid_qty,
            "askPrice": ask,
            "askQty": ask_qty,
        }

    return _each(venue, parameters, answer)


def day(venue: Venue, parameters: Parameters) -> Any:
    """Answer `/api/v3/ticker/24hr`."""
    kind = _type(parameters)
    return _each(
        venue, parameters, lambda symbol: statistics(venue, symbol, DAY_MS, kind, is_day=True)
    )


def rolling(venue: Venue, parameters: Parameters) -> Any:
    """Answer `/api/v3/ticker` with its `windowSize`."""
    kind = _type(parameters)
    text = parameters.get("windowSize") or "1d"
    match = _WINDOW.match(text)
    if match is None:
        raise ApiError(-1100, "Illegal characters found in parameter 'windowSize'.")
    minutes, hours, days = (int(part or 0) for part in match.groups())
    window_ms = ((days * 24 + hours) * 60 + minutes) * _MINUTE_MS
    if parameters.get("symbol") is None and parameters.get("symbols") is None:
        raise ApiError(-1128, "Combination of optional parameters invalid.")
    return _each(
        venue, parameters, lambda symbol: statistics(venue, symbol, window_ms, kind, is_day=False)
    )


def _type(parameters: Parameters) -> str:
    kind = parameters.get("type") or "FULL"
    if kind not in ("FULL", "MINI"):
        raise ApiError(-1139, "Invalid ticker type.")
    return kind


def statistics(
    venue: Venue, symbol: str, window_ms: int, kind: str, *, is_day: bool
) -> dict[str, Any]:
    """Return the statistics of a window in the form of the REST tickers."""
    now_ms = venue.now_ms()
    bar = window_bar(venue, symbol, window_ms) or Bar(now_ms, now_ms + 1, 0, 0, 0, 0)
    trades = venue.symbols[symbol].trades
    mini = {
        "symbol": symbol,
        "openPrice": to_text(bar.open),
        "highPrice": to_text(bar.high),
        "lowPrice": to_text(bar.low),
        "lastPrice": to_text(bar.close),
        "volume": to_text(bar.volume),
        "quoteVolume": to_text(bar.quote // SCALE),
        "openTime": now_ms - window_ms,
        "closeTime": now_ms,
        "firstId": bar.first_id,
        "lastId": bar.last_id,
        "count": bar.trades,
    }
    if kind == "MINI":
        return mini
    full = {**mini, **changes(bar)}
    if is_day:
        bid, bid_qty, ask, ask_qty = touch(venue, symbol)
        full |= {
            "prevClosePrice": to_text(bar.open),
            "lastQty": trades[-1]["q"] if trades else to_text(0),
            "bidPrice": bid,
            "bidQty": bid_qty,
            "askPrice": ask,
            "askQty": ask_qty,
        }
    return full


def changes(bar: Bar) -> dict[str, str]:
    """Return change, change in percent with three places, and volume-weighted price."""
    change = bar.close - bar.open
    thousandths = abs(change) * 100_000 // bar.open if bar.open else 0
    sign = "-" if change < 0 and thousandths else ""
    return {
        "priceChange": signed_text(change),
        "priceChangePercent": f"{sign}{thousandths // 1000}.{thousandths % 1000:03d}",
        "weightedAvgPrice": to_text(bar.quote // bar.volume if bar.volume else bar.close),
    }
