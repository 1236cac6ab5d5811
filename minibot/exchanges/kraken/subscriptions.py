"""Subscriptions to books, repeated when a book is lost: the venue's way to a new snapshot.

Pure: returns the control messages to send now. A lost symbol is subscribed once and then waited
for; one that is soon lost again waits twice as long, up to a minute, because a new subscription at
every bad frame would exceed the venue's message limit and cost healthy books too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

# The venue's own advice: a line without any message for five seconds is dead.
ANSWER_MS_MAX: Final = 5_000
SPACING_MS_MIN: Final = 1_000
SPACING_MS_MAX: Final = 60_000
# A book that was valid for this long had a single accident; it is subscribed again at once.
HELD_MS: Final = 60_000
# The venue publishes no number; this is Binance's, less one for a ping.
MESSAGES_PER_S_MAX: Final = 4


@dataclass(slots=True)
class _Symbol:
    spacing_ms: int = 0
    asked_ms: int | None = None
    held_since_ms: int | None = None


class Subscriptions:
    """Control messages for books of one depth over one connection."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._symbols: dict[str, _Symbol] = {}
        self._wanted: dict[str, int] = {}
        self._sent_ms: list[int] = []

    def first(self, symbols: Sequence[str], now_ms: int) -> bytes:
        """Return the message that subscribes to all symbols at once, after connecting."""
        self._symbols = {symbol: _Symbol(asked_ms=now_ms) for symbol in symbols}
        self._wanted.clear()
        self._sent_ms = [now_ms]
        return self._message("subscribe", list(symbols))

    def renew(self, symbol: str, now_ms: int) -> None:
        """Note that a symbol needs a new snapshot, for `due` to send; a repeat has no effect."""
        if symbol in self._wanted:
            return
        state = self._symbols[symbol]
        since = state.held_since_ms
        if since is not None and now_ms - since >= HELD_MS:
            state.spacing_ms = 0
        self._wanted[symbol] = now_ms + state.spacing_ms
        state.spacing_ms = min(max(2 * state.spacing_ms, SPACING_MS_MIN), SPACING_MS_MAX)
        state.held_since_ms = state.asked_ms = None

    def on_snapshot(self, symbol: str, now_ms: int) -> None:
        """Note the snapshot of a symbol."""
        state = self._symbols[symbol]
        state.asked_ms, state.held_since_ms = None, now_ms
        self._wanted.pop(symbol, None)

    def due(self, now_ms: int) -> list[bytes]:
        """Return the control messages to send now, in order."""
        messages: list[bytes] = []
        for symbol, free_at_ms in list(self._wanted.items()):
            if now_ms < free_at_ms:
                continue
            if not self._may_send(now_ms):
                break
            del self._wanted[symbol]
            self._symbols[symbol].asked_ms = now_ms
            self._sent_ms += [now_ms, now_ms]
            messages += [self._message(method, [symbol]) for method in ("unsubscribe", "subscribe")]
        return messages

    def _may_send(self, now_ms: int) -> bool:
        self._sent_ms = [sent for sent in self._sent_ms if now_ms - sent < 1000]
        return len(self._sent_ms) + 2 <= MESSAGES_PER_S_MAX

    def overdue(self, now_ms: int) -> list[str]:
        """Return the symbols whose snapshot is overdue; each once, for the caller to `renew`."""
        late = [
            symbol
            for symbol, state in self._symbols.items()
            if state.asked_ms is not None and now_ms - state.asked_ms > ANSWER_MS_MAX
        ]
        for symbol in late:
            self._symbols[symbol].asked_ms = None
        return late

    def _message(self, method: str, symbols: list[str]) -> bytes:
        params = {"channel": "book", "symbol": symbols, "depth": self._depth}
        if method == "subscribe":
            params["snapshot"] = True
        return orjson.dumps({"method": method, "params": params})
