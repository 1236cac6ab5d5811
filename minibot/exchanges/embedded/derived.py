"""Streams that the server makes itself, at fixed moments of exchange time.

Klines, tickers, slower and partial depth are made from the venue's state every 100 ms, 1 s or
2 s, as the venue's own cadences are. The moments lie on a grid of exchange time and the state at
a moment holds exactly the frames before it, so what is sent does not depend on how turns fall.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from minibot.exchanges.embedded import tickers
from minibot.exchanges.embedded.bars import INTERVALS, Bar, next_open, open_of
from minibot.exchanges.embedded.decimals import product_text, to_text
from minibot.exchanges.embedded.venue import Venue

GRID_MS: Final = 100

# A recorder's receive times vary by some ten milliseconds against the exchange's; the last trade
# of a bar must be in before the bar is declared closed.
CLOSE_GRACE_MS: Final = 200

_KLINE: Final = re.compile(r"^([a-z0-9]+)@kline_(\w+)$")
_PARTIAL: Final = re.compile(r"^([a-z0-9]+)@depth(5|10|20)(@100ms|@1000ms)?$")
_PLAIN: Final = re.compile(
    r"^([a-z0-9]+)@(depth|miniTicker|ticker|ticker_1h|ticker_4h|ticker_1d|avgPrice)$"
)

Publish = Callable[[str, bytes], None]


class DerivedStreams:
    """The made streams that somebody is subscribed to."""

    def __init__(self, venue: Venue, publish: Publish) -> None:
        self._venue = venue
        self._publish = publish
        self._fast: dict[str, tuple[str, int]] = {}
        self._partial: dict[str, tuple[str, int]] = {}
        self._klines: dict[str, KlineStream] = {}
        self._plain: dict[str, tuple[str, str]] = {}
        self._merged: dict[str, dict[str, Any]] = {}
        self._all_mini = False

    @property
    def is_idle(self) -> bool:
        """Whether nobody wants a made stream."""
        parts = (self._fast, self._partial, self._klines, self._plain, self._all_mini)
        return not any(parts)

    def want(self, streams: set[str]) -> None:
        """Make exactly these of the given streams that are makeable; forget all others."""
        fast: dict[str, tuple[str, int]] = {}
        partial: dict[str, tuple[str, int]] = {}
        klines: dict[str, KlineStream] = {}
        plain: dict[str, tuple[str, str]] = {}
        for stream in streams - self._venue.facts.streams:
            if match := _KLINE.match(stream):
                symbol, interval = match.group(1).upper(), match.group(2)
                if symbol in self._venue.symbols and interval in INTERVALS:
                    held = self._klines.get(stream)
                    klines[stream] = held or KlineStream(self._venue, symbol, interval)
            elif match := _PARTIAL.match(stream):
                entry = (match.group(1).upper(), int(match.group(2)))
                (fast if match.group(3) == "@100ms" else partial)[stream] = entry
            elif match := _PLAIN.match(stream):
                plain[stream] = (match.group(1).upper(), match.group(2))
        known = self._venue.symbols
        self._fast = {name: entry for name, entry in fast.items() if entry[0] in known}
        self._partial = {name: entry for name, entry in partial.items() if entry[0] in known}
        self._plain = {name: entry for name, entry in plain.items() if entry[0] in known}
        self._klines = klines
        self._all_mini = "!miniTicker@arr" in streams
        wanted = {symbol for symbol, kind in self._plain.values() if kind == "depth"}
        self._merged = {symbol: self._merged.get(symbol, {}) for symbol in wanted}

    def merge_diff(self, symbol: str, diff: dict[str, Any]) -> None:
        """Add a diff to the event that the slow depth stream of the symbol sends next."""
        merged = self._merged.get(symbol)
        if merged is None:
            return
        if not merged:
            merged.update({"U": diff["U"], "b": {}, "a": {}})
        merged["u"], merged["E"] = diff["u"], diff["E"]
        for side in ("b", "a"):
            merged[side].update((price, qty) for price, qty in diff[side])

    def on_grid(self, now_ms: int) -> None:
        """Send what is due at this moment of exchange time, a multiple of `GRID_MS`."""
        self._send_partial(self._fast)
        for name, stream in self._klines.items():
            for message in stream.due(now_ms):
                self._publish(name, orjson.dumps(message))
        if now_ms % 1000:
            return
        self._send_partial(self._partial)
        for name, (symbol, kind) in self._plain.items():
            payload = self._payload(symbol, kind, now_ms)
            if payload is not None:
                self._publish(name, orjson.dumps(payload))
        if self._all_mini:
            all_mini = [mini_ticker(self._venue, symbol, now_ms) for symbol in self._venue.symbols]
            self._publish("!miniTicker@arr", orjson.dumps(all_mini))

    def _send_partial(self, streams: dict[str, tuple[str, int]]) -> None:
        for name, (symbol, levels) in streams.items():
            if self._venue.symbols[symbol].book.is_known:
                self._publish(name, orjson.dumps(self._venue.depth(symbol, levels)))

    def _payload(self, symbol: str, kind: str, now_ms: int) -> dict[str, Any] | None:
        if kind == "depth":
            return self._take_merged(symbol)
        if not self._venue.symbols[symbol].trades:
            return None
        if kind == "miniTicker":
            return mini_ticker(self._venue, symbol, now_ms)
        if kind == "ticker":
            return day_ticker(self._venue, symbol, now_ms)
        if kind.startswith("ticker_"):
            return rolling_ticker(self._venue, symbol, kind.removeprefix("ticker_"), now_ms)
        price, time_ms = tickers.average(self._venue, symbol, now_ms)
        head = {"e": "avgPrice", "E": now_ms, "s": symbol, "i": f"{tickers.AVERAGE_MINUTES}m"}
        return {**head, "w": to_text(price), "T": time_ms}

    def _take_merged(self, symbol: str) -> dict[str, Any] | None:
        merged = self._merged[symbol]
        if not merged:
            return None
        self._merged[symbol] = {}
        return {
            "e": "depthUpdate",
            "E": merged["E"],
            "s": symbol,
            "U": merged["U"],
            "u": merged["u"],
            "b": list(merged["b"].items()),
            "a": list(merged["a"].items()),
        }


class KlineStream:
    """One kline stream: changes at its cadence, and one closing message for every bar."""

    def __init__(self, venue: Venue, symbol: str, interval: str) -> None:
        self._venue = venue
        self._symbol = symbol
        self._interval = interval
        self._cadence_ms = 1000 if interval == "1s" else 2000
        self._open_ms: int | None = None
        self._sent_trades = -1

    def due(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the messages due at this moment."""
        if not self._venue.symbols[self._symbol].trades:
            return []
        if self._open_ms is None:
            self._open_ms = open_of(self._interval, now_ms)
        messages = []
        end_ms = next_open(self._interval, self._open_ms)
        while end_ms + CLOSE_GRACE_MS <= now_ms:
            messages.append(self._message(self._bar(), now_ms, is_closed=True))
            self._open_ms, self._sent_trades = end_ms, -1
            end_ms = next_open(self._interval, end_ms)
        if now_ms % self._cadence_ms == 0 and self._open_ms <= now_ms < end_ms:
            bar = self._bar()
            if bar.trades != self._sent_trades:
                self._sent_trades = bar.trades
                messages.append(self._message(bar, now_ms, is_closed=False))
        return messages

    def _bar(self) -> Bar:
        """Return the bar being told, flat at the former close while nothing has traded in it."""
        open_ms = self._open_ms or 0
        series = self._venue.symbols[self._symbol].bars
        bar = series.bar(self._interval, open_ms)
        if bar is not None:
            return bar
        former = series.last_before(self._interval, open_ms)
        price = former.close if former else 0
        end_ms = next_open(self._interval, open_ms)
        return Bar(open_ms, end_ms, price, price, price, price)

    def _message(self, bar: Bar, now_ms: int, *, is_closed: bool) -> dict[str, Any]:
        kline = {
            "t": bar.open_ms,
            "T": bar.end_ms - 1,
            "s": self._symbol,
            "i": self._interval,
            "f": bar.first_id,
            "L": bar.last_id,
            "o": to_text(bar.open),
            "c": to_text(bar.close),
            "h": to_text(bar.high),
            "l": to_text(bar.low),
            "v": to_text(bar.volume),
            "n": bar.trades,
            "x": is_closed,
            "q": product_text(bar.quote),
            "V": to_text(bar.taker_volume),
            "Q": product_text(bar.taker_quote),
            "B": "0",
        }
        return {"e": "kline", "E": now_ms, "s": self._symbol, "k": kline}


def mini_ticker(venue: Venue, symbol: str, now_ms: int) -> dict[str, Any]:
    """Return the payload of `<symbol>@miniTicker`."""
    rest = tickers.statistics(venue, symbol, tickers.DAY_MS, "MINI", is_day=True, now_ms=now_ms)
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
    rest = tickers.statistics(venue, symbol, tickers.DAY_MS, "FULL", is_day=True, now_ms=now_ms)
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


def rolling_ticker(venue: Venue, symbol: str, window: str, now_ms: int) -> dict[str, Any]:
    """Return the payload of `<symbol>@ticker_<window>`."""
    rest = tickers.statistics(venue, symbol, INTERVALS[window], "FULL", is_day=False, now_ms=now_ms)
    return {"e": f"{window}Ticker", "E": now_ms, "s": symbol, **_window_fields(rest)}


def _window_fields(rest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all tickers say of their window, by their short names."""
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
