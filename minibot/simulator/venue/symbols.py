"""State of one symbol at the venue: book, bars, last trades, the touch."""

from __future__ import annotations

from typing import Any

import orjson

from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.tapes.decimals import product_text, to_text
from minibot.exchanges.tapes.frames import (
    AGG_TRADE,
    BOOK_TICKER,
    DEPTH,
    SNAPSHOT,
    TRADE,
    Frame,
    SourceFacts,
)
from minibot.exchanges.tapes.kline_bars import TradedBars, seconds_kept
from minibot.simulator.venue.aggregates import Aggregates
from minibot.simulator.venue.book import OrderBook
from minibot.simulator.venue.fields import AMOUNTS, PRICES, moment, whole
from minibot.simulator.venue.logs import VALUE_MAX, Row, StreamLog, kept_max
from minibot.simulator.venue.windows import TickerWindows


class ListedSymbol:
    """State that REST and the derived streams read; changed only by frames.

    `trades` holds rows of (id, time in ms, price, quantity, is taker sell).
    """

    def __init__(self, symbol: str, facts: SourceFacts) -> None:
        self.symbol = symbol
        symbols = len(facts.symbols)
        opening_book = facts.opening_books.get(symbol)
        self._has_trades = f"{symbol.lower()}@{TRADE}" in facts.streams
        self._has_aggregates = f"{symbol.lower()}@{AGG_TRADE}" in facts.streams
        self.book = OrderBook()
        if opening_book is not None:
            self.book.load(opening_book)
        self.bars = TradedBars(seconds_kept(symbols))
        self.trades = StreamLog(5, kept_max(symbols))
        self.windows = TickerWindows(self.bars, self.trades)
        self.aggregates = Aggregates(symbol, kept_max(symbols))
        self.last_price = self.last_qty = self.last_ms = 0
        self._quote: bytes | None = None

    def take(self, frame: Frame) -> dict[str, Any] | None:
        """Apply one frame to the state; return its parsed data if it had to be parsed.

        A quote is kept unread, whatever it holds; see `quote`.

        Raises:
            FrameInvalid: Another frame holds no message of its kind; the state is as before.
        """
        try:
            return self._take(frame)
        except (ValueError, KeyError, TypeError) as error:
            raise FrameInvalid(f"{frame.stream}: {error!r}") from error

    def _take(self, frame: Frame) -> dict[str, Any] | None:
        if frame.kind == BOOK_TICKER:
            self._quote = frame.data  # Two thirds of all frames: parsed only on request.
            return None
        if frame.kind == TRADE:
            trade: dict[str, Any] = orjson.loads(frame.data)
            # Readers of trades, such as the paper account, see none twice.
            return trade if self._take_trade(trade, frame.at_ns) else None
        if frame.kind == DEPTH:
            diff: dict[str, Any] = orjson.loads(frame.data)
            moment(diff["E"])
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

    def _take_trade(self, trade: dict[str, Any], at_ns: int) -> bool:
        price, qty = _checked(trade)
        whole(trade["t"])
        # A recording over two connections holds trades twice; each one counts once.
        if not self.trades.add(trade["t"], trade["T"], price, qty, trade["m"]):
            return False
        if not self._has_aggregates:
            self.aggregates.add(trade, price, qty, at_ns)
        self._count(trade["T"], price, qty, trade["m"], trade["t"])
        return True

    def _take_aggregate(self, row: dict[str, Any]) -> None:
        price, qty = _checked(row)
        for key in ("a", "f", "l"):
            whole(row[key])
        if self.aggregates.keep(row) and not self._has_trades:
            self._count(row["T"], price, qty, row["m"], row["l"])

    def _count(self, time_ms: int, price: int, qty: int, is_sell: bool, trade_id: int) -> None:
        self.bars.add_trade(time_ms, price, qty, is_sell, trade_id)
        if time_ms >= self.last_ms:
            self.last_price, self.last_qty, self.last_ms = price, qty, time_ms

    def _take_snapshot(self, body: dict[str, Any]) -> None:
        # A snapshot older than the kept book would take back updates that clients have already
        # seen.
        if whole(body["lastUpdateId"]) >= self.book.update_id:
            self.book.load(body)

    @property
    def quote(self) -> dict[str, Any] | None:
        """Return the newest bookTicker payload; None before the first, and while it is none."""
        if self._quote is None:
            return None
        try:
            quote: dict[str, Any] = orjson.loads(self._quote)
            whole(quote["u"])
            PRICES[quote["b"]], AMOUNTS[quote["B"]], PRICES[quote["a"]], AMOUNTS[quote["A"]]
        except (ValueError, KeyError, TypeError):
            return None
        return quote


def _checked(trade: dict[str, Any]) -> tuple[int, int]:
    """Return price and quantity of a trade or an aggregate whose fields the state can take.

    Raises:
        ValueError, KeyError, TypeError: A field is missing or of another type, or too large.
    """
    price, qty = PRICES[trade["p"]], AMOUNTS[trade["q"]]
    if max(price, qty) > VALUE_MAX:
        raise ValueError(f"{trade['p']} or {trade['q']} is larger than any price or quantity")
    if type(trade["m"]) is not bool:
        raise TypeError("m: expected a boolean")
    moment(trade["T"])
    moment(trade["E"])
    return price, qty


def rest_trade(row: Row) -> dict[str, Any]:
    """Return a row of the trades in the form of `/api/v3/trades`."""
    identity, time_ms, price, qty, is_sell = row
    return {
        "id": identity,
        "price": to_text(price),
        "qty": to_text(qty),
        "quoteQty": product_text(price * qty),
        "time": time_ms,
        "isBuyerMaker": bool(is_sell),
        "isBestMatch": True,
    }
