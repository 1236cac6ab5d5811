"""Recorded run of minibot as a source: its `market_ticks` queue turned back into messages.

Trades and quotes come back as they were, at the run clock's time of their receipt. The book holds
only the levels of the last `book` event, once a second, with the newest quote on top; its changes
go out as depth diffs. Ids of quotes and diffs were not recorded and are renumbered. The closed bars
of the run's own warm-up serve as the past, its `instrument` events as the exchangeInfo. Every
line's hash is checked: of the beginning, the rules and the end when the run is opened, of all lines
as they are played. A run whose last line is torn is refused. An exact replay is the task of
`minibot replay`, not of this source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from minibot.events.money import UNIT
from minibot.events.names import TICKS
from minibot.exchanges.tapes.decimals import to_units
from minibot.exchanges.tapes.frames import (
    BOOK_TICKER,
    DEPTH,
    NEAREST,
    TRADE,
    Frame,
    SourceFacts,
)
from minibot.exchanges.tapes.kline_bars import Bar, divides, gather, next_open
from minibot.kernel.errors import Refusal
from minibot.simulator.venue.instruments import entry

# The start of a run: instruments, its warm-up, and enough ticks for the skew and the first books.
HEAD_TICKS: Final = 400
HEAD_MS: Final = 10_000
FIRST_UPDATE_ID: Final = 1000
DIFF_INTERVAL_MS: Final = 100
_TAIL_BYTES: Final = 1 << 20
_LINE_HEAD: Final = len(b"sha256:") + 64 + 1
_INSTRUMENT: Final = "instrument"
_INSTRUMENT_MARK: Final = b'"type":"instrument"'


@dataclass(slots=True)
class _Head:
    """Facts from the beginning of the queue."""

    origin_ms: int | None = None
    last_ms: int = 0
    ticks: int = 0
    symbols: dict[str, None] = field(default_factory=dict)
    infos: dict[str, dict[str, Any]] = field(default_factory=dict)
    bars: dict[tuple[str, str], list[Bar]] = field(default_factory=dict)
    books: dict[str, dict[str, Any]] = field(default_factory=dict)
    skews_ms: list[int] = field(default_factory=list)

    @property
    def skew_ms(self) -> int:
        """Return exchange time minus the run clock.

        The message with the least delay shows it best: at high speed the delays of the others are
        long in market time. Also, the last bar of the warm-up had been closed at the origin.
        """
        ends_ms = [bars[-1].end_ms - (self.origin_ms or 0) for bars in self.bars.values()]
        return max(self.skews_ms + ends_ms, default=0)

    @property
    def is_enough(self) -> bool:
        """Return whether reading on would add nothing."""
        if self.origin_ms is None or self.ticks < HEAD_TICKS:
            return False
        has_books = self.books.keys() >= self.symbols.keys()
        return has_books or self.last_ms - self.origin_ms > HEAD_MS


class RecordedRun:
    """Market data of a finished run."""

    def __init__(self, run_dir: Path, name: str) -> None:
        """Read the beginning and the end of its `market_ticks`, and the rules of all its symbols.

        Raises:
            Refusal: No such run, no market data in it, or a damaged line.
        """
        folder = run_dir / "queues" / TICKS
        self._files = [*sorted(folder.glob("inbox.[0-9]*.jsonl")), folder / "inbox.jsonl"]
        if not self._files[-1].is_file():
            raise Refusal(
                f"{run_dir}: not a finished run: no queues/{TICKS}/inbox.jsonl in it.",
                "Name a folder under var/runs.",
            )
        head = self._head()
        if head.origin_ms is None:
            raise Refusal(f"{run_dir}: a run without market data.", "Name another run.")
        self._bars = head.bars
        symbols = tuple(head.symbols)
        self.facts = SourceFacts(
            name=name,
            origin_ms=head.origin_ms,
            end_ms=self._end_ms(),
            symbols=symbols,
            has_depth=bool(head.books),
            streams=frozenset(
                f"{symbol.lower()}@{kind}"
                for symbol in symbols
                for kind in (TRADE, BOOK_TICKER, *(("depth@100ms",) if head.books else ()))
            ),
            skew_ms=head.skew_ms,
            opening_books=head.books,
            symbol_infos={symbol: _info(payload) for symbol, payload in head.infos.items()},
            notes=[] if head.books else [f"{run_dir.name}: no book events: no depth"],
        )

    def past_bars(self, symbol: str, interval: str) -> list[Bar]:
        """Return the bars of the run's warm-up, gathered from shorter ones if it had none."""
        own = self._bars.get((symbol, interval))
        if own:
            return own
        for base in ("1m", "1s"):
            bars = self._bars.get((symbol, base))
            if bars and divides(base, interval):
                return gather(bars, interval)
        return []

    def frames(self) -> Iterator[Frame]:
        """Yield the recorded messages in the order of the queue."""
        writers = {
            symbol: _Writer(symbol, self.facts.opening_books.get(symbol), self.facts.skew_ms)
            for symbol in self.facts.symbols
        }
        for line in self._lines():
            event = _event(*line)
            payload = event["payload"]
            writer = writers.get(payload.get("symbol", ""))
            if writer is None:
                continue
            yield from writer.write(event)

    def _lines(self) -> Iterator[tuple[Path, int, bytes]]:
        for path in self._files:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    yield path, number, line

    def _head(self) -> _Head:
        head = _Head()
        lines = self._lines()
        for line in lines:
            event = _event(*line)
            payload = event["payload"]
            kind = event["type"]
            if kind == _INSTRUMENT:
                self._add_rules(head, payload)
            elif kind == "bar" and payload["is_history"] and head.origin_ms is None:
                # The warm-up comes before the first tick; a history bar after it filled a hole.
                key = (payload["symbol"], payload["interval"])
                head.bars.setdefault(key, []).append(_bar(payload))
            elif kind in ("market_tick", "book"):
                self._add(head, event)
            if head.is_enough:
                break
        # A symbol that joined later has its rules further on; all else there is left to `frames`.
        for line in lines:
            if _INSTRUMENT_MARK in line[-1]:
                event = _event(*line)
                if event["type"] == _INSTRUMENT:
                    self._add_rules(head, event["payload"])
        return head

    def _add_rules(self, head: _Head, payload: dict[str, Any]) -> None:
        head.infos.setdefault(payload["symbol"], payload)
        head.symbols[payload["symbol"]] = None

    def _add(self, head: _Head, event: Mapping[str, Any]) -> None:
        payload = event["payload"]
        head.origin_ms = event["ts"] if head.origin_ms is None else head.origin_ms
        head.last_ms = event["ts"]
        head.symbols[payload["symbol"]] = None
        if event["type"] == "book":
            head.books.setdefault(
                payload["symbol"],
                {
                    "lastUpdateId": FIRST_UPDATE_ID,
                    "bids": payload["bids"],
                    "asks": payload["asks"],
                    NEAREST: True,
                },
            )
            return
        head.ticks += 1
        if payload.get("exchange_ts") is not None:
            head.skews_ms.append(payload["exchange_ts"] - event["ts"])

    def _end_ms(self) -> int | None:
        """Return the time of the last line, read from the end of the queue."""
        for path in reversed(self._files):
            size = path.stat().st_size
            with path.open("rb") as file:
                file.seek(max(0, size - _TAIL_BYTES))
                lines = file.read().splitlines()
            if lines:
                end_ms: int = _event(path, 0, lines[-1])["ts"]
                return end_ms
        return None


def _event(path: Path, number: int, line: bytes) -> dict[str, Any]:
    text = line.rstrip(b"\n")
    body = text[_LINE_HEAD:]
    if text[:_LINE_HEAD] != b"sha256:" + hashlib.sha256(body).hexdigest().encode() + b":":
        where = f"line {number}" if number else "the last line"
        raise Refusal(
            f"{path}: {where} does not agree with its sha256.", "Check it with minibot verify."
        )
    event: dict[str, Any] = orjson.loads(body)
    return event


def _bar(payload: Mapping[str, Any]) -> Bar:
    open_, high, low, close, volume = (
        to_units(payload[name]) for name in ("open", "high", "low", "close", "volume")
    )
    open_ms = payload["open_ts"]
    bar = Bar(open_ms, next_open(payload["interval"], open_ms), open_, high, low, close, volume)
    bar.quote = to_units(payload.get("quote_volume", "0")) * UNIT
    bar.trades = payload.get("trades", 0)
    bar.taker_volume = to_units(payload.get("taker_buy_volume", "0"))
    return bar


def _info(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return an `instrument` event as an entry of exchangeInfo."""
    rules = {name: value for name, value in payload.items() if value is not None}
    rules |= {
        "base": payload["base_asset"],
        "quote": payload["quote_asset"],
        "tick": payload["price_increment"],
        "step": payload["qty_increment"],
    }
    return entry(payload["symbol"], rules, payload["origin"])


class _Book:
    """Recorded levels with the newest quote on top, and the state last sent to clients."""

    def __init__(self, body: Mapping[str, Any] | None) -> None:
        self.bids: dict[str, str] = {} if body is None else dict(body["bids"])
        self.asks: dict[str, str] = {} if body is None else dict(body["asks"])
        self._sent_bids, self._sent_asks = dict(self.bids), dict(self.asks)
        self._quote: Mapping[str, Any] | None = None

    def take_levels(self, payload: Mapping[str, Any]) -> None:
        """Take a `book` event; the quote, which travels faster than diffs, stays on top."""
        self.bids, self.asks = dict(payload["bids"]), dict(payload["asks"])
        if self._quote is not None:
            self.take_quote(self._quote)

    def take_quote(self, payload: Mapping[str, Any]) -> None:
        """Put the touch of a quote on top; levels that it has passed are removed."""
        self._quote = payload
        bid, ask = to_units(payload["bid"]), to_units(payload["ask"])
        self.bids = {price: qty for price, qty in self.bids.items() if to_units(price) < bid}
        self.asks = {price: qty for price, qty in self.asks.items() if to_units(price) > ask}
        self.bids[payload["bid"]] = payload["bid_qty"]
        self.asks[payload["ask"]] = payload["ask_qty"]

    def changes(self) -> tuple[list[list[str]], list[list[str]]]:
        """Return the changes of both sides since the last call."""
        changed = _changes(self._sent_bids, self.bids), _changes(self._sent_asks, self.asks)
        self._sent_bids, self._sent_asks = dict(self.bids), dict(self.asks)
        return changed


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[list[str]]:
    gone = [[price, "0.00000000"] for price in before if price not in after]
    return gone + [[price, qty] for price, qty in after.items() if before.get(price) != qty]


class _Writer:
    """Writer of one symbol's events as the venue's messages, with running ids."""

    def __init__(self, symbol: str, body: Mapping[str, Any] | None, skew_ms: int) -> None:
        self._symbol, self._stem = symbol, symbol.lower()
        self._skew_ms = skew_ms
        self._update_id = FIRST_UPDATE_ID
        self._sent_id = FIRST_UPDATE_ID
        self._trade_id = 0
        self._book = None if body is None else _Book(body)
        self._diff_ms = 0

    def write(self, event: Mapping[str, Any]) -> Iterator[Frame]:
        """Yield the messages of one event of the queue."""
        at_ms, payload = event["ts"], event["payload"]
        if event["type"] == "book" and self._book is not None:
            self._book.take_levels(payload)
            self._update_id += 1
            yield from self._diff(at_ms)
        elif event["type"] == "market_tick" and payload["kind"] == "trade":
            yield self._trade(at_ms, payload)
        elif event["type"] == "market_tick":
            yield from self._quote(at_ms, payload)

    def _frame(self, kind: str, stream: str, at_ms: int, data: Mapping[str, Any]) -> Frame:
        body = orjson.dumps(data)
        return Frame(at_ms * 1_000_000, self._symbol, kind, f"{self._stem}@{stream}", body)

    def _quote(self, at_ms: int, payload: Mapping[str, Any]) -> Iterator[Frame]:
        self._update_id += 1
        data = {
            "u": self._update_id,
            "s": self._symbol,
            "b": payload["bid"],
            "B": payload["bid_qty"],
            "a": payload["ask"],
            "A": payload["ask_qty"],
        }
        yield self._frame(BOOK_TICKER, BOOK_TICKER, at_ms, data)
        if self._book is not None:
            self._book.take_quote(payload)
            if at_ms - self._diff_ms >= DIFF_INTERVAL_MS:
                yield from self._diff(at_ms)

    def _trade(self, at_ms: int, payload: Mapping[str, Any]) -> Frame:
        time_ms = payload.get("exchange_ts")
        time_ms = at_ms + self._skew_ms if time_ms is None else time_ms
        recorded_id = payload.get("trade_id")
        self._trade_id = self._trade_id + 1 if recorded_id is None else recorded_id
        data = {
            "e": "trade",
            "E": time_ms,
            "s": self._symbol,
            "t": self._trade_id,
            "p": payload["price"],
            "q": payload["qty"],
            "T": time_ms,
            "m": payload["taker_side"] == "SELL",
            "M": True,
        }
        return self._frame(TRADE, TRADE, at_ms, data)

    def _diff(self, at_ms: int) -> Iterator[Frame]:
        if self._book is None:
            return
        bids, asks = self._book.changes()
        self._diff_ms = at_ms
        if not bids and not asks:
            return
        first_id, self._sent_id = self._sent_id + 1, self._update_id
        data = {
            "e": "depthUpdate",
            "E": at_ms + self._skew_ms,
            "s": self._symbol,
            "U": first_id,
            "u": self._update_id,
            "b": bids,
            "a": asks,
        }
        yield self._frame(DEPTH, "depth@100ms", at_ms, data)
