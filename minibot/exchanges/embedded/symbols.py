"""What the venue knows of one symbol at this moment: book, bars, last trades, the touch."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import orjson

from minibot.exchanges.embedded.aggregates import Aggregates
from minibot.exchanges.embedded.bars import BarSeries
from minibot.exchanges.embedded.book import OrderBook
from minibot.exchanges.embedded.decimals import product_text, to_units
from minibot.exchanges.embedded.frames import (
    AGG_TRADE,
    BOOK_TICKER,
    DEPTH,
    SNAPSHOT,
    TRADE,
    Frame,
    SourceFacts,
)

# What REST answers at most.
TRADES_KEPT_MAX: Final = 1000


class SymbolState:
    """Everything that REST and the derived streams read; changed by frames alone."""

    def __init__(self, symbol: str, facts: SourceFacts) -> None:
        self.symbol = symbol
        opening_book = facts.opening_books.get(symbol)
        self._has_trades = f"{symbol.lower()}@{TRADE}" in facts.streams
        self._has_aggregates = f"{symbol.lower()}@{AGG_TRADE}" in facts.streams
        self.book = OrderBook()
        if opening_book is not None:
            self.book.load(opening_book)
        self.bars = BarSeries()
        self.trades: deque[dict[str, Any]] = deque(maxlen=TRADES_KEPT_MAX)
        self.aggregates = Aggregates(symbol)
        self._quote: bytes | None = None

    def take(self, frame: Frame) -> dict[str, Any] | None:
        """Take one frame into the state; return its parsed data where it had to be parsed."""
        if frame.kind == BOOK_TICKER:
            self._quote = frame.data  # Two of three frames: parsed only when somebody asks.
            return None
        if frame.kind == TRADE:
            trade: dict[str, Any] = orjson.loads(frame.data)
            self._take_trade(trade, frame.at_ns)
            return trade
        if frame.kind == DEPTH:
            diff: dict[str, Any] = orjson.loads(frame.data)
            if self.book.is_known:
                self.book.apply(diff)
            return diff
        if frame.kind == AGG_TRADE:
            aggregate: dict[str, Any] = orjson.loads(frame.data)
            self._take_aggregate(aggregate)
            return aggregate
        if frame.kind == SNAPSHOT:
            self._take_snapshot(orjson.loads(frame.data))
        return None

    def _take_trade(self, trade: dict[str, Any], at_ns: int) -> None:
        self.trades.append(trade)
        if not self._has_aggregates:
            self.aggregates.add(trade, at_ns)
        self.bars.add_trade(
            trade["T"], to_units(trade["p"]), to_units(trade["q"]), trade["m"], trade["t"]
        )

    def _take_aggregate(self, row: dict[str, Any]) -> None:
        self.aggregates.kept.append(row)
        if not self._has_trades:
            self.bars.add_trade(
                row["T"], to_units(row["p"]), to_units(row["q"]), row["m"], row["l"]
            )

    def _take_snapshot(self, body: dict[str, Any]) -> None:
        # A snapshot behind the kept book would take updates back that clients have already seen.
        if body["lastUpdateId"] >= self.book.update_id:
            self.book.load(body)

    @property
    def quote(self) -> dict[str, Any] | None:
        """The newest bookTicker payload, None before the first."""
        if self._quote is None:
            return None
        quote: dict[str, Any] = orjson.loads(self._quote)
        return quote

    def rest_trade(self, trade: Mapping[str, Any]) -> dict[str, Any]:
        """Return a trade in the form of `/api/v3/trades`."""
        return {
            "id": trade["t"],
            "price": trade["p"],
            "qty": trade["q"],
            "quoteQty": product_text(to_units(trade["p"]) * to_units(trade["q"])),
            "time": trade["T"],
            "isBuyerMaker": trade["m"],
            "isBestMatch": True,
        }
