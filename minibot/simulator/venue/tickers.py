"""Tickers and average prices: statistics of the last minutes, hours and days.

The 24 h ticker and the average price roll to the millisecond; a window of `/ticker` and of the
`ticker_<window>` streams opens on a whole minute and is up to 59,999 ms wider, as documented.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from minibot.events.money import UNIT
from minibot.events.unit_sizes import DAY_MS, MINUTE_MS
from minibot.exchanges.tapes.decimals import to_text
from minibot.exchanges.tapes.kline_bars import Bar, open_of
from minibot.simulator.server.parameters import (
    ApiError,
    Parameters,
    either_missing,
    illegal_characters,
)
from minibot.simulator.venue.venue import Venue

AVERAGE_MINUTES: Final = 5
WINDOW_SYMBOLS_MAX: Final = 100
_WINDOW: Final = re.compile(r"^(?:([1-9]|[1-5]\d)m|([1-9]|1\d|2[0-3])h|([1-7])d)\Z", re.ASCII)
_NOTHING: Final = to_text(0)


def signed_text(units: int) -> str:
    """Return units of 10**-8 as a decimal string that may be negative."""
    return to_text(units) if units >= 0 else "-" + to_text(-units)


def average_price(venue: Venue, parameters: Parameters) -> Any:
    """Answer `/api/v3/avgPrice`."""
    symbol = parameters.symbol(venue.listed())
    price, close_ms = average(venue, symbol)
    return {"mins": AVERAGE_MINUTES, "price": to_text(price), "closeTime": close_ms}


def average(venue: Venue, symbol: str, now_ms: int | None = None) -> tuple[int, int]:
    """Return (volume-weighted price of the last minutes or the last price, last trade time)."""
    state = venue.symbols[symbol]
    now_ms = venue.now_ms() if now_ms is None else now_ms
    bar, before = venue.rolled(symbol, now_ms - AVERAGE_MINUTES * MINUTE_MS, now_ms)
    if bar is None:
        return state.last_price or before, state.last_ms
    return (bar.quote // bar.volume if bar.volume else bar.close), state.last_ms


def _each(venue: Venue, parameters: Parameters, answer: Callable[[str], Any]) -> Any:
    """Answer for one symbol with an object, for several with a list."""
    names = parameters.symbols(venue.listed())
    status = parameters.status()
    if parameters.get("symbol") is not None and names:
        check_status(venue, names[0], status)
        return answer(names[0])
    chosen = venue.listed() if names is None else names
    return [answer(name) for name in chosen if status in (None, venue.statuses[name])]


def check_status(venue: Venue, symbol: str, status: str | None) -> None:
    """Refuse a single symbol whose status is not the requested one.

    Raises:
        ApiError: -1220.
    """
    if status not in (None, venue.statuses[symbol]):
        raise ApiError(-1220, "The symbol's status does not match the requested symbolStatus.")


def last_price(venue: Venue, parameters: Parameters) -> Any:
    """Answer `/api/v3/ticker/price`."""

    def answer(symbol: str) -> dict[str, Any]:
        price = venue.symbols[symbol].last_price
        return {"symbol": symbol, "price": to_text(price or _former_price(venue, symbol))}

    return _each(venue, parameters, answer)


def _former_price(venue: Venue, symbol: str) -> int:
    """Return the last price of the past, before anything was played."""
    now_ms = venue.now_ms()
    bar, before = venue.rolled(symbol, now_ms - DAY_MS, now_ms)
    return bar.close if bar else before


def touch(venue: Venue, symbol: str) -> tuple[str, str, str, str]:
    """Return (bid, bid quantity, ask, ask quantity); zeros before the first quote.

    Taken from the newer of the best quote and the book, which may differ in time.
    """
    state = venue.symbols[symbol]
    quote, book = state.quote, state.book
    if quote is not None and (not book.is_known or quote["u"] >= book.update_id):
        return quote["b"], quote["B"], quote["a"], quote["A"]
    zero = (_NOTHING, _NOTHING)
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
        raise illegal_characters("windowSize", "^(([1-9]|[1-5][0-9])m|([1-9]|1..|2[0-3])h|[1-7]d)$")
    minutes, hours, days = (int(part or 0) for part in match.groups())
    window_ms = ((days * 24 + hours) * 60 + minutes) * MINUTE_MS
    _check_named(parameters)
    return _each(
        venue, parameters, lambda symbol: statistics(venue, symbol, window_ms, kind, is_day=False)
    )


def trading_day(venue: Venue, parameters: Parameters) -> Any:
    """Answer `/api/v3/ticker/tradingDay`, whose day begins at midnight of `timeZone`."""
    kind = _type(parameters)
    shift_ms = parameters.time_zone_ms()
    _check_named(parameters)

    def answer(symbol: str) -> dict[str, Any]:
        now_ms = venue.now_ms()
        open_ms = open_of("1d", now_ms + shift_ms) - shift_ms
        bar, _ = venue.rolled(symbol, open_ms, now_ms)
        answered = _mini(symbol, bar, open_ms, open_ms + DAY_MS - 1)
        return answered if kind == "MINI" else {**answered, **changes(bar)}

    return _each(venue, parameters, answer)


def _check_named(parameters: Parameters) -> None:
    if parameters.get("symbol") is None and parameters.get("symbols") is None:
        raise either_missing("symbol", "symbols")
    count = parameters.count("symbols")
    if count > WINDOW_SYMBOLS_MAX:
        text = f"Too many parameters; expected '{WINDOW_SYMBOLS_MAX}' and received '{count}'."
        raise ApiError(-1101, text)


def _type(parameters: Parameters) -> str:
    kind = parameters.get("type") or "FULL"
    if kind not in ("FULL", "MINI"):
        raise ApiError(-1139, "Invalid ticker type.")
    return kind


def statistics(
    venue: Venue,
    symbol: str,
    window_ms: int,
    kind: str,
    *,
    is_day: bool,
    now_ms: int | None = None,
) -> dict[str, Any]:
    """Return the statistics of a window in the form of the REST tickers.

    Args:
        venue: The venue.
        symbol: A symbol of it.
        window_ms: Length of the window, which ends now.
        kind: FULL or MINI.
        is_day: The 24 h ticker, exact to the millisecond; others open on a whole minute.
        now_ms: Exchange time, if not the venue's own.
    """
    now_ms = venue.now_ms() if now_ms is None else now_ms
    open_ms = now_ms - window_ms
    if not is_day:
        open_ms -= open_ms % MINUTE_MS
    bar, before = venue.rolled(symbol, open_ms, now_ms)
    mini = _mini(symbol, bar, open_ms, now_ms)
    if kind == "MINI":
        return mini
    full = {**mini, **changes(bar)}
    if is_day:
        bid, bid_qty, ask, ask_qty = touch(venue, symbol)
        full |= {
            "prevClosePrice": to_text(before) if before else mini["openPrice"],
            "lastQty": to_text(venue.symbols[symbol].last_qty),
            "bidPrice": bid,
            "bidQty": bid_qty,
            "askPrice": ask,
            "askQty": ask_qty,
        }
    return full


def _mini(symbol: str, bar: Bar | None, open_ms: int, close_ms: int) -> dict[str, Any]:
    if bar is None:
        prices = dict.fromkeys(
            ("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"), _NOTHING
        )
        ids = {"firstId": -1, "lastId": -1, "count": 0}
        return {"symbol": symbol, **prices, "openTime": open_ms, "closeTime": close_ms, **ids}
    return {
        "symbol": symbol,
        "openPrice": to_text(bar.open),
        "highPrice": to_text(bar.high),
        "lowPrice": to_text(bar.low),
        "lastPrice": to_text(bar.close),
        "volume": to_text(bar.volume),
        "quoteVolume": to_text(bar.quote // UNIT),
        "openTime": open_ms,
        "closeTime": close_ms,
        "firstId": bar.first_id,
        "lastId": bar.last_id,
        "count": bar.trades,
    }


def changes(bar: Bar | None) -> dict[str, str]:
    """Return change, change in percent with three places, and volume-weighted price."""
    if bar is None:
        return {
            "priceChange": _NOTHING,
            "priceChangePercent": "0.000",
            "weightedAvgPrice": _NOTHING,
        }
    change = bar.close - bar.open
    thousandths = abs(change) * 100_000 // bar.open if bar.open else 0
    sign = "-" if change < 0 and thousandths else ""
    return {
        "priceChange": signed_text(change),
        "priceChangePercent": f"{sign}{thousandths // 1000}.{thousandths % 1000:03d}",
        "weightedAvgPrice": to_text(bar.quote // bar.volume if bar.volume else bar.close),
    }
