"""Onboarding of newly followed symbols: rules first, then history, then streams.

The order is needed: no tick without the rules of its symbol, no live bar before the bars of the
past. Nothing here blocks: each answer makes the next request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from minibot.accounting.order_rules import TRADING
from minibot.events.intervals import WarmupBars, warmup_of
from minibot.market.connections import Connections
from minibot.market.elapsed_clock import ElapsedClock, MarketClock
from minibot.market.feed import Feed
from minibot.market.history import closed_candles
from minibot.market.notices import BARS_MISSING, FOLLOW_REFUSED
from minibot.market.requests import Requests, is_refusal
from minibot.market.rest_scheduler import Answer

# Wait before a failed request is repeated, and how often it is sent in all. A refused one is not
# repeated: without rules the symbol is not followed, without klines it has no history.
RETRY_MS: Final = 5_000
TRIES_MAX: Final = 5


@dataclass(slots=True)
class SymbolOnboarding:
    """Symbols that are being added while the session runs."""

    feed: Feed
    requests: Requests
    connections: Connections
    clock: MarketClock
    pace: ElapsedClock
    warmup_bars: WarmupBars
    _coming: dict[str, int] = field(default_factory=dict)
    _missing: dict[str, set[str]] = field(default_factory=dict)
    _retries: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def add(self, symbols: Iterable[str]) -> None:
        """Start to add the symbols that are not followed yet."""
        known = self.feed.symbols
        fresh = [name for name in symbols if name not in known and name not in self._coming]
        if fresh:
            self._coming.update(dict.fromkeys(fresh, 0))
            self._ask_rules(tuple(fresh))

    def forget(self, symbols: Iterable[str]) -> None:
        """Stop adding these symbols: answers to requests under way change nothing for them."""
        for name in symbols:
            self._coming.pop(name, None)
            self._missing.pop(name, None)

    def on_clock(self, now_ms: int) -> None:
        """Repeat the requests that are due."""
        while self._retries and self._retries[0][0] <= now_ms:
            self._retries.pop(0)[1]()

    def _ask_again(self, ask: Callable[[], None]) -> None:
        self._retries.append((self.pace.now_ms() + RETRY_MS, ask))

    # --- rules --------------------------------------------------------------------------------

    def _ask_rules(self, symbols: tuple[str, ...]) -> None:
        wanted = tuple(name for name in symbols if name in self._coming)
        if wanted:
            done = partial(self._on_rules, wanted)
            self.requests.courier.send(self.requests.instruments_of(wanted, done))

    def _on_rules(self, symbols: tuple[str, ...], answer: Answer) -> None:
        if answer.error is not None:
            self._on_no_rules(symbols, answer)
            return
        now_ms = self.clock.now_ms()
        for instrument in answer.value:
            name = instrument.symbol
            if name not in self._coming:
                continue
            # Of a held symbol the first touch after a halt counts: its exits wait for it.
            if instrument.status != TRADING and name not in self.requests.held():
                self._refuse(name, f"its status is {instrument.status}")
                continue
            self.feed.follow(name, now_ms)
            self.feed.symbols[name].start_partial()
            self.feed.on_instruments([instrument], now_ms)
            self._ask_history(name)

    def _on_no_rules(self, symbols: Sequence[str], answer: Answer) -> None:
        if is_refusal(answer.error) and len(symbols) > 1:
            for name in symbols:  # One wrong name fails them all; single requests tell which.
                self._ask_rules((name,))
            return
        again: list[str] = []
        for name in symbols:
            if name not in self._coming:
                continue  # It was forgotten meanwhile.
            self._coming[name] = tries = self._coming[name] + 1
            if is_refusal(answer.error) or tries >= TRIES_MAX:
                self._refuse(name, str(answer.error))
            else:
                again.append(name)
        if again:
            self._ask_again(partial(self._ask_rules, tuple(again)))

    def _refuse(self, name: str, why: str) -> None:
        self._coming.pop(name, None)
        self.feed.board.add(self.clock.now_ms(), FOLLOW_REFUSED, f"{name} is not followed: {why}")

    # --- history ------------------------------------------------------------------------------

    def _ask_history(self, name: str) -> None:
        intervals = self.feed.config.intervals
        self._missing[name] = set(intervals)
        for interval in intervals:
            self._ask_bars(name, interval, 1)

    def _ask_bars(self, name: str, interval: str, tries: int) -> None:
        if interval not in self._missing.get(name, ()):
            return
        done = partial(self._on_history, name, interval, tries)
        bars = warmup_of(self.warmup_bars, interval)
        job = self.requests.history(name, interval, bars, done)
        self.requests.courier.send(job)

    def _on_history(self, name: str, interval: str, tries: int, answer: Answer) -> None:
        if interval not in self._missing.get(name, ()):
            return
        if answer.error is not None and not is_refusal(answer.error) and tries < TRIES_MAX:
            self._ask_again(partial(self._ask_bars, name, interval, tries + 1))
            return
        now_ms = self.clock.now_ms()
        bars = warmup_of(self.warmup_bars, interval)
        candles = [] if answer.error is not None else list(answer.value)
        settled_ts = self.requests.settled_ts()
        closed = closed_candles(candles, interval, settled_ts=settled_ts, count=bars)
        count = self.feed.on_history(name, interval, closed, now_ms)
        if count < bars:
            why = "" if answer.error is None else f": {answer.error}"
            detail = f"{name} {interval}: {count} of {bars} bars of history{why}"
            self.feed.board.add(now_ms, BARS_MISSING, detail)
        self._missing[name].discard(interval)
        if not self._missing[name]:
            self.forget([name])
            self.connections.follow_symbols([name], self.pace.now_ms())
