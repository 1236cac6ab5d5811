"""State of the venue over all symbols, and its clock: the data of REST and streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from minibot.exchanges.tapes.clock import PlayClock
from minibot.exchanges.tapes.frames import Frame, Source
from minibot.exchanges.tapes.kline_bars import Bar, divides, gather
from minibot.simulator.server.limits import Rates
from minibot.simulator.venue.symbols import ListedSymbol


class Venue:
    """All symbols of one source, the exchange's time, and its counters.

    `history` maps a symbol to closed bars from before the origin, oldest first, with the name of
    their interval. They are its whole past: the source's own is used for other symbols alone.
    """

    def __init__(
        self,
        source: Source,
        infos: Mapping[str, Mapping[str, Any]],
        clock: PlayClock,
        history: Mapping[str, tuple[str, list[Bar]]],
    ) -> None:
        self.source = source
        self.facts = source.facts
        self.clock = clock
        self.infos: dict[str, Mapping[str, Any]] = dict(infos)
        self.statuses = {symbol: str(info["status"]) for symbol, info in infos.items()}
        self.delisted: set[str] = set()
        self.rates = Rates()
        self.on_taken: Callable[[Frame, dict[str, Any] | None], None] | None = None
        self.symbols = {symbol: ListedSymbol(symbol, self.facts) for symbol in self.facts.symbols}
        self.time_offset_ms = 0  # Set by a fault; added to the source's own skew.
        self.counters: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._history = history

    def calls(self) -> int:
        """Return the number of calls to the venue's API."""
        return sum(n for path, n in self.requests.items() if path.startswith("/api/"))

    def now_ms(self) -> int:
        """Return exchange time: market time plus the source's own skew."""
        return self.clock.now_ms() + self.facts.skew_ms

    def server_time_ms(self) -> int:
        """Return the time reported by `/api/v3/time`, which a fault may have shifted."""
        return self.now_ms() + self.time_offset_ms

    def take(self, frame: Frame) -> dict[str, Any] | None:
        """Apply one frame to its symbol's state; return its data if it had to be parsed.

        Raises:
            FrameInvalid: The frame holds no message of its kind; the state is as before.
        """
        state = self.symbols.get(frame.symbol)
        if state is None:
            return None
        data = state.take(frame)
        if self.on_taken is not None:
            self.on_taken(frame, data)
        return data

    def depth(self, symbol: str, limit: int) -> dict[str, Any]:
        """Return the current book as a partial stream has it.

        For a source without a book it holds only the touch.
        """
        state = self.symbols[symbol]
        if state.book.is_known:
            return state.book.snapshot(limit)
        quote = state.quote
        if quote is None:
            return {"lastUpdateId": 0, "bids": [], "asks": []}
        return {
            "lastUpdateId": quote["u"],
            "bids": [[quote["b"], quote["B"]]],
            "asks": [[quote["a"], quote["A"]]],
        }

    def depth_answer(self, symbol: str, limit: int) -> dict[str, Any]:
        """Return the current REST depth body: the book, and its edges."""
        book = self.symbols[symbol].book
        return book.depth(limit) if book.is_known else self.depth(symbol, limit)

    def bars(
        self, symbol: str, interval: str, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Bar]:
        """Return the bars of a window, including the past where it is known."""
        series = self.symbols[symbol].bars
        self._know_past(symbol, interval)
        return series.window(interval, start_ms, end_ms, limit, self.now_ms())

    def rolled(self, symbol: str, open_ms: int, now_ms: int) -> tuple[Bar | None, int]:
        """Return one bar over the trades since `open_ms`, and the last price before it or 0."""
        self._know_past(symbol, "1m")
        self._know_past(symbol, "1h")
        return self.symbols[symbol].windows.bar(open_ms, now_ms)

    def learn_pasts(self) -> Iterator[str]:
        """Load the past of one symbol after the other, for windows; yield each.

        A synthetic market may take milliseconds for each, so a server does not load all at once.
        """
        for symbol, state in self.symbols.items():
            if not (state.bars.has_past("1m") and state.bars.has_past("1h")):
                self._know_past(symbol, "1m")
                self._know_past(symbol, "1h")
                yield symbol

    def _know_past(self, symbol: str, interval: str) -> None:
        series = self.symbols[symbol].bars
        if not series.has_past(interval):
            series.set_past(interval, self._past_bars(symbol, interval))

    def set_status(self, symbol: str, status: str) -> None:
        """Change whether a symbol trades, for exchangeInfo and for the streams."""
        self.statuses[symbol] = status

    def set_info(self, symbol: str, info: Mapping[str, Any]) -> None:
        """Change the trading rules of a symbol."""
        self.infos[symbol] = info

    def listed(self) -> Collection[str]:
        """Return the symbols that may be requested, in order; delisted ones are unknown."""
        if not self.delisted:
            return self.symbols.keys()
        return {symbol: None for symbol in self.symbols if symbol not in self.delisted}.keys()

    def _past_bars(self, symbol: str, interval: str) -> list[Bar]:
        if symbol not in self._history:
            return self.source.past_bars(symbol, interval)
        base, bars = self._history[symbol]
        # Bars that do not divide the requested ones (1m into 1s) are of no use for them.
        return gather(bars, interval) if divides(base, interval) else []
