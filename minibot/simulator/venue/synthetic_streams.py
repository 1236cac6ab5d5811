"""Synthetic streams: made by the server itself, at fixed moments of exchange time.

Klines, tickers, slower and partial depth are made from the venue's state every 100 ms, 1 s or 2 s,
with the venue's own cadences. The moments lie on a grid of exchange time and the state at a moment
holds exactly the frames before it, so the output does not depend on the timing of turns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from minibot.events.unit_sizes import SECOND_MS
from minibot.simulator.venue.kline_stream import KlineStream, is_interval
from minibot.simulator.venue.ticker_payloads import OF_ALL, OF_SYMBOL, Payload
from minibot.simulator.venue.venue import Venue

GRID_MS: Final = 100

_UTC_8_MS: Final = 8 * 3_600_000
_KLINE: Final = re.compile(r"kline_(\w+?)(@\+08:00)?")
_PARTIAL: Final = re.compile(r"depth(5|10|20)(@100ms|@1000ms)?")
_SLOW_DEPTH: Final = ("depth", "depth@1000ms")

Publish = Callable[[str, bytes], None]


class SyntheticStreams:
    """Synthetic streams that have subscribers."""

    def __init__(self, venue: Venue, publish: Publish) -> None:
        self._venue = venue
        self._publish = publish
        self._fast: dict[str, tuple[str, int]] = {}
        self._partial: dict[str, tuple[str, int]] = {}
        self._klines: dict[str, KlineStream] = {}
        self._tickers: dict[str, tuple[str, Payload]] = {}
        self._slow: dict[str, SlowDepth] = {}
        self._all: dict[str, Payload] = {}
        # Symbols that traded since the last second; lists of all symbols contain only these.
        self._traded: set[str] = set()

    @property
    def is_idle(self) -> bool:
        """Return whether no synthetic stream has subscribers."""
        parts = (
            *(self._fast, self._partial, self._klines),
            *(self._tickers, self._slow, self._all),
        )
        return not any(parts)

    def want(self, streams: Iterable[str]) -> None:
        """Add these streams, if they can be made and the source does not carry them."""
        for stream in streams:
            if stream in self._venue.facts.streams:
                continue
            if stream in OF_ALL:
                self._all[stream] = OF_ALL[stream]
                continue
            name, _, kind = stream.partition("@")
            symbol = name.upper()
            # In upper case it is accepted and silent, as at the venue.
            if name == name.lower() and symbol in self._venue.symbols:
                self._want_of(symbol, stream, kind)

    def _want_of(self, symbol: str, stream: str, kind: str) -> None:
        if kind in OF_SYMBOL:
            self._tickers[stream] = (symbol, OF_SYMBOL[kind])
        elif kind in _SLOW_DEPTH:
            if not self._is_slow_itself(symbol):
                self._slow.setdefault(symbol, SlowDepth(symbol)).names[stream] = None
        elif match := _PARTIAL.fullmatch(kind):
            chosen = self._fast if match.group(2) == "@100ms" else self._partial
            chosen[stream] = (symbol, int(match.group(1)))
        elif (match := _KLINE.fullmatch(kind)) and is_interval(match.group(1)):
            offset_ms = _UTC_8_MS if match.group(2) else 0
            if stream not in self._klines:
                self._klines[stream] = KlineStream(self._venue, symbol, match.group(1), offset_ms)

    def _is_slow_itself(self, symbol: str) -> bool:
        """Return whether the source has depth once a second; the hub sends it under all names."""
        return any(f"{symbol.lower()}@{kind}" in self._venue.facts.streams for kind in _SLOW_DEPTH)

    def forget(self, streams: Iterable[str]) -> None:
        """Stop making these streams."""
        for stream in streams:
            for part in (self._fast, self._partial, self._klines, self._tickers, self._all):
                part.pop(stream, None)
            symbol = stream.partition("@")[0].upper()
            slow = self._slow.get(symbol)
            if slow is not None and slow.names.pop(stream, 0) is None and not slow.names:
                del self._slow[symbol]

    def traded(self, symbol: str) -> None:
        """Note that a symbol has traded."""
        self._traded.add(symbol)

    def merge_diff(self, symbol: str, diff: dict[str, Any]) -> None:
        """Add a diff to the next event of the symbol's slow depth streams."""
        slow = self._slow.get(symbol)
        if slow is None:
            return
        # A hole in the source must not be hidden.
        if slow.is_before_hole(diff):
            self._send_slow(symbol, slow)
        slow.merge(diff)

    def skip(self, first_ms: int, last_ms: int) -> None:
        """Pass the moments of the grid from the first to the last without subscribers."""
        if last_ms // SECOND_MS * SECOND_MS >= first_ms:
            self._traded.clear()

    def on_grid(self, now_ms: int) -> None:
        """Send everything due at this moment of exchange time, a multiple of `GRID_MS`."""
        self._send_partial(self._fast)
        for name, stream in self._klines.items():
            # Due also in a break: else all of its bars would be sent as closed at its end.
            for message in stream.due(now_ms):
                self._send(message["s"], name, message)
        if now_ms % SECOND_MS:
            return
        self._send_partial(self._partial)
        for symbol, slow in self._slow.items():
            self._send_slow(symbol, slow)
        for name, (symbol, payload) in self._tickers.items():
            if self._venue.symbols[symbol].last_ms:
                self._send(symbol, name, payload(self._venue, symbol, now_ms))
        if self._all:
            self._send_all(now_ms)
        self._traded.clear()

    def _send_all(self, now_ms: int) -> None:
        # In the order of exchangeInfo, independent of the order of trades.
        traded = [symbol for symbol in self._venue.symbols if symbol in self._traded]
        changed = [symbol for symbol in traded if self._is_trading(symbol)]
        if changed:
            for name, payload in self._all.items():
                rows = [payload(self._venue, symbol, now_ms) for symbol in changed]
                self._publish(name, orjson.dumps(rows))

    def _send_partial(self, streams: dict[str, tuple[str, int]]) -> None:
        for name, (symbol, levels) in streams.items():
            if self._venue.symbols[symbol].book.is_known:
                self._send(symbol, name, self._venue.depth(symbol, levels))

    def _send_slow(self, symbol: str, slow: SlowDepth) -> None:
        event = slow.take()
        if event is not None:
            for name in slow.names:
                self._send(symbol, name, event)

    def _send(self, symbol: str, name: str, payload: dict[str, Any]) -> None:
        """Publish a payload unless its symbol is silent: halted or delisted."""
        if self._is_trading(symbol):
            self._publish(name, orjson.dumps(payload))

    def _is_trading(self, symbol: str) -> bool:
        return self._venue.statuses[symbol] == "TRADING"


class SlowDepth:
    """Diffs of a second merged into one: the newest quantity of each changed level."""

    def __init__(self, symbol: str) -> None:
        self.names: dict[str, None] = {}
        self._symbol = symbol
        self._first_id = self._last_id = self._time_ms = 0
        self._is_empty = True
        self._sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}

    def is_before_hole(self, diff: dict[str, Any]) -> bool:
        """Return whether updates are missing between the last merged diff and this one."""
        return bool(self._last_id) and diff["U"] > self._last_id + 1

    def merge(self, diff: dict[str, Any]) -> None:
        """Add a diff; one that is older than any merged before, or sent, has no effect."""
        if diff["u"] <= self._last_id:
            return
        if self._is_empty:
            self._first_id, self._is_empty = diff["U"], False
        self._last_id, self._time_ms = diff["u"], diff["E"]
        for name, side in self._sides.items():
            side.update((price, qty) for price, qty in diff[name])

    def take(self) -> dict[str, Any] | None:
        """Return the event of the merged diffs, and start over; None without any."""
        if self._is_empty:
            return None
        event = {
            "e": "depthUpdate",
            "E": self._time_ms,
            "s": self._symbol,
            "U": self._first_id,
            "u": self._last_id,
            **{name: list(side.items()) for name, side in self._sides.items()},
        }
        self._is_empty = True
        self._sides = {"b": {}, "a": {}}
        return event
