"""Payloads of the ticker streams: the REST statistics by their short names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from minibot.events.unit_sizes import DAY_MS
from minibot.exchanges.tapes.decimals import to_text
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.simulator.venue import tickers
from minibot.simulator.venue.venue import Venue

Payload = Callable[[Venue, str, int], dict[str, Any]]


def mini_ticker(venue: Venue, symbol: str, now_ms: int) -> dict[str, Any]:
    """Return the payload of `<symbol>@miniTicker`."""
    rest = tickers.statistics(venue, symbol, DAY_MS, "MINI", is_day=True, now_ms=now_ms)
    return {
        "e": "24hrMiniTicker",
        "E": now_ms,
        "s": symbol,
        "c": rest["lastPrice"],
        "o": rest["openPrice"],
        "h": rest["highPrice"],
        "l": rest["lowPrice"],
        "v": rest["volume"],
        "q": rest["quoteVolume"],
    }


def day_ticker(venue: Venue, symbol: str, now_ms: int) -> dict[str, Any]:
    """Return the payload of `<symbol>@ticker`."""
    rest = tickers.statistics(venue, symbol, DAY_MS, "FULL", is_day=True, now_ms=now_ms)
    return {
        "e": "24hrTicker",
        "E": now_ms,
        "s": symbol,
        **_window_fields(rest),
        "x": rest["prevClosePrice"],
        "Q": rest["lastQty"],
        "b": rest["bidPrice"],
        "B": rest["bidQty"],
        "a": rest["askPrice"],
        "A": rest["askQty"],
    }


def rolling_ticker(window: str) -> Payload:
    """Return the function that makes the payload of `<symbol>@ticker_<window>`."""

    def payload(venue: Venue, symbol: str, now_ms: int) -> dict[str, Any]:
        rest = tickers.statistics(
            venue, symbol, INTERVALS[window], "FULL", is_day=False, now_ms=now_ms
        )
        return {"e": f"{window}Ticker", "E": now_ms, "s": symbol, **_window_fields(rest)}

    return payload


def average_price(venue: Venue, symbol: str, now_ms: int) -> dict[str, Any]:
    """Return the payload of `<symbol>@avgPrice`."""
    price, time_ms = tickers.average(venue, symbol, now_ms)
    return {
        "e": "avgPrice",
        "E": now_ms,
        "s": symbol,
        "i": f"{tickers.AVERAGE_MINUTES}m",
        "w": to_text(price),
        "T": time_ms,
    }


def _window_fields(rest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields on the window that all tickers share, by their short names."""
    return {
        "p": rest["priceChange"],
        "P": rest["priceChangePercent"],
        "w": rest["weightedAvgPrice"],
        "c": rest["lastPrice"],
        "o": rest["openPrice"],
        "h": rest["highPrice"],
        "l": rest["lowPrice"],
        "v": rest["volume"],
        "q": rest["quoteVolume"],
        "O": rest["openTime"],
        "C": rest["closeTime"],
        "F": rest["firstId"],
        "L": rest["lastId"],
        "n": rest["count"],
    }


OF_SYMBOL: Final[dict[str, Payload]] = {
    "miniTicker": mini_ticker,
    "ticker": day_ticker,
    "ticker_1h": rolling_ticker("1h"),
    "ticker_4h": rolling_ticker("4h"),
    "ticker_1d": rolling_ticker("1d"),
    "avgPrice": average_price,
}
"""By the kind of stream, for one symbol, once a second."""

OF_ALL: Final[dict[str, Payload]] = {
    "!miniTicker@arr": mini_ticker,
    "!ticker_1h@arr": rolling_ticker("1h"),
    "!ticker_4h@arr": rolling_ticker("4h"),
    "!ticker_1d@arr": rolling_ticker("1d"),
}
"""Streams of all symbols, once a second: a list of those that traded since the second before.

`!ticker@arr` went in March 2026.
"""
