"""Check of a tape against itself: its redundant messages have to agree.

Binance: update ids are consecutive, diffs over a snapshot give a book whose top equals the stream
of best quotes, trade ids step by one. Kraken: every update leads to the checksum that came with it.
Spans that the recorder marked as missed are no fault of the tape; every other contradiction is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from minibot.exchanges.base import (
    APPLIED,
    SYNCED,
    BookKeeper,
    Diff,
    FrameInvalid,
    Quote,
    StreamedSnapshot,
    Trade,
)
from minibot.exchanges.base import GAP as BOOK_GAP
from minibot.exchanges.binance import book as binance_book
from minibot.exchanges.binance.messages import parse_frame
from minibot.exchanges.kraken.book import DEPTHS, KrakenKeeper
from minibot.exchanges.kraken.messages import parse_frame as parse_kraken
from minibot.exchanges.tapes.findings import (
    BOOK,
    CHECKSUM,
    DAMAGED,
    FRAME,
    GAP,
    ORDER,
    REPEATED,
    TOP,
    TRADES,
    Findings,
    TapeFinding,
)
from minibot.exchanges.tapes.frames import recorded_snapshot
from minibot.exchanges.tapes.lines import (
    KRAKEN,
    MARK,
    SNAPSHOT,
    STREAM,
    Line,
    read_mark,
    symbol_of_snapshot,
)
from minibot.exchanges.tapes.survey import Survey
from minibot.exchanges.top_check import MISMATCHES_MAX, TopCheck
from minibot.kernel.errors import Refusal

BOOK_DEPTHS: Final = DEPTHS
"""Depths that a book of Kraken may have."""


@dataclass(slots=True)
class SymbolCheck:
    """State of one symbol's check, and how much of it was compared."""

    keeper: BookKeeper
    top: TopCheck = field(default_factory=TopCheck)
    last_id: int = 0
    trade_id: int | None = None
    trades: int = 0
    quotes: int = 0
    diffs: int = 0
    snapshots: int = 0
    snapshots_unused: int = 0
    checksums: int = 0
    unchecked: int = 0
    is_reported: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "trades": self.trades,
            "quotes": self.quotes,
            "diffs": self.diffs,
            "snapshots": self.snapshots,
            "snapshots_unused": self.snapshots_unused,
            "diffs_without_book": self.unchecked,
            "checksums": self.checksums,
            "top_checks": self.top.checks,
            "top_mismatches": self.top.mismatches,
        }


class Check:
    """Check of a tape, line by line; `findings` lists the contradictions.

    A depth answer of Binance is used only while its book is lost; Kraken's snapshots always are.

    Args:
        depth: Depth of Kraken's books on the tape; 0 takes it from the answer to the subscription,
            or the smallest depth that holds the first snapshot.
    """

    def __init__(self, depth: int = 0) -> None:
        self.survey = Survey()
        self.findings = Findings()
        self.symbols: dict[str, SymbolCheck] = {}
        self._depth = depth
        self._line = Line(0, 0, b"")
        self._last_ns = 0

    def read(self, lines: Iterable[Line]) -> None:
        """Take all lines; a damaged file ends the reading and is a finding."""
        try:
            for line in lines:
                self.take(line)
        except Refusal as refusal:
            self._found(DAMAGED, "", str(refusal.args[0]))

    def take(self, line: Line) -> None:
        """Take one line."""
        self._line = line
        if line.at_ns < self._last_ns:
            behind_ms = (self._last_ns - line.at_ns) / 10**6
            self._found(ORDER, "", f"received {behind_ms:.3f} ms before the line above")
        self._last_ns = max(self._last_ns, line.at_ns)
        kind = self.survey.take(line)
        try:
            if kind == STREAM:
                self._on_stream(line.message)
            elif kind == SNAPSHOT:
                self._on_snapshot(orjson.loads(line.message))
            elif kind == KRAKEN:
                self._on_kraken(line.message)
            elif kind == MARK:
                self._on_mark(line.message)
        except FrameInvalid as error:
            self._found(FRAME, error.symbol, str(error))
        except orjson.JSONDecodeError as error:
            self._found(FRAME, "", f"not JSON: {error}")

    def _found(self, kind: str, symbol: str, detail: str) -> None:
        line = self._line
        self.findings.add(TapeFinding(kind, line.number, line.at_ns, symbol, detail))

    def _of(self, symbol: str) -> SymbolCheck:
        found = self.symbols.get(symbol)
        if found is None:
            found = self.symbols[symbol] = SymbolCheck(binance_book.BookKeeper())
        return found

    def _on_mark(self, message: bytes) -> None:
        missed = read_mark(message)
        if missed is None:
            return
        for symbol in missed.symbols or tuple(self.symbols):
            check = self._of(symbol)
            check.trade_id, check.last_id = None, 0
            check.keeper.reset()
            check.top.forget()

    # --- Binance ------------------------------------------------------------------------------

    def _on_stream(self, message: bytes) -> None:
        parsed = parse_frame(message)
        if isinstance(parsed, Trade):
            self._on_trade(parsed)
        elif isinstance(parsed, Quote):
            check = self._of(parsed.symbol)
            check.quotes += 1
            check.top.on_quote(parsed)
            self._judge_top(parsed.symbol, check)
        elif isinstance(parsed, Diff):
            self._on_diff(parsed)

    def _on_trade(self, trade: Trade) -> None:
        check = self._of(trade.symbol)
        check.trades += 1
        last_id, check.trade_id = check.trade_id, trade.trade_id
        if last_id is None or trade.trade_id == last_id + 1:
            return
        if trade.trade_id <= last_id:
            check.trade_id = last_id
            self._found(REPEATED, trade.symbol, f"trade {trade.trade_id} after {last_id}")
            return
        count = trade.trade_id - last_id - 1
        self._found(TRADES, trade.symbol, f"{count} trades after {last_id}")

    def _on_diff(self, diff: Diff) -> None:
        check = self._of(diff.symbol)
        check.diffs += 1
        last_id, check.last_id = check.last_id, max(check.last_id, diff.last_id)
        if last_id and diff.last_id <= last_id:
            self._found(REPEATED, diff.symbol, f"diff {diff.first_id}..{diff.last_id} again")
            return
        if last_id and diff.first_id > last_id + 1:
            count = diff.first_id - last_id - 1
            self._found(GAP, diff.symbol, f"{count} updates after {last_id}")
        try:
            outcome = check.keeper.on_diff(diff)
        except FrameInvalid as error:
            self._found(BOOK, diff.symbol, str(error))
            check.top.forget()
            return
        if outcome == BOOK_GAP:
            check.top.forget()
        check.unchecked += check.keeper.book is None
        if outcome == APPLIED:
            self._note_top(check)
            self._judge_top(diff.symbol, check)

    def _on_snapshot(self, body: Any) -> None:
        symbol = symbol_of_snapshot(
            body, lambda: {name: each.last_id for name, each in self.symbols.items()}
        )
        if symbol is None:
            self._found(BOOK, "", "a snapshot before any diff, and it names no symbol")
            return
        check = self._of(symbol)
        check.snapshots += 1
        if not check.keeper.wants_snapshot:
            return  # The book is valid already; replacing it could hide a loss.
        try:
            outcome = check.keeper.on_snapshot(recorded_snapshot(body))
        except FrameInvalid as error:
            self._found(BOOK, symbol, f"snapshot: {error}")
            return
        if outcome != SYNCED:  # Older than the first diff after it: the next snapshot may fit.
            check.snapshots_unused += 1
            return
        if check.snapshots - check.snapshots_unused == 1:
            check.unchecked = 0  # The diffs before it were waiting for it.
        check.top.forget()

    def _note_top(self, check: SymbolCheck) -> None:
        book = check.keeper.book
        top = None if book is None else book.touch()
        if book is not None and top is not None:
            check.top.on_book(book.book_id, top)

    def _judge_top(self, symbol: str, check: SymbolCheck) -> None:
        # One message may settle several comparisons at once.
        if check.top.in_row >= MISMATCHES_MAX and not check.is_reported:
            check.is_reported = True
            detail = f"top of book differs from {MISMATCHES_MAX} best quotes in a row"
            self._found(TOP, symbol, detail)
        elif check.top.in_row == 0:
            check.is_reported = False

    # --- Kraken -------------------------------------------------------------------------------

    def _on_kraken(self, message: bytes) -> None:
        parsed = parse_kraken(message)
        if isinstance(parsed, StreamedSnapshot):
            snapshot = parsed.snapshot
            check = self._kraken_of(parsed.symbol, max(len(snapshot.bids), len(snapshot.asks)))
            check.snapshots += 1
            check.checksums += snapshot.checksum is not None
            try:
                check.keeper.on_snapshot(snapshot)
            except FrameInvalid as error:
                self._found(CHECKSUM, parsed.symbol, f"snapshot: {error}")
        elif isinstance(parsed, Diff):
            self._on_kraken_diff(parsed)
        elif not self._depth and b'"depth":' in message:
            self._depth = _subscribed_depth(orjson.loads(message))

    def _on_kraken_diff(self, diff: Diff) -> None:
        check = self._kraken_of(diff.symbol)
        check.diffs += 1
        try:
            outcome = check.keeper.on_diff(diff)
        except FrameInvalid as error:
            self._found(CHECKSUM, diff.symbol, str(error))
            return
        check.checksums += outcome == APPLIED
        check.unchecked += outcome != APPLIED

    def _kraken_of(self, symbol: str, levels: int = 0) -> SymbolCheck:
        found = self.symbols.get(symbol)
        if found is None or (levels and not found.snapshots):
            depth = self._depth or next((d for d in DEPTHS if d >= levels), DEPTHS[-1])
            keeper = KrakenKeeper(depth)
            if found is None:
                found = self.symbols[symbol] = SymbolCheck(keeper)
            found.keeper = keeper
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the survey, the figures of each symbol and the findings."""
        return {
            **self.survey.to_json(),
            "checks": {name: each.to_json() for name, each in sorted(self.symbols.items())},
            **self.findings.to_json(),
        }


def _subscribed_depth(body: Any) -> int:
    """Return the depth in the answer to a subscription; 0 if there is no valid one."""
    for key in ("result", "subscription"):
        part = body.get(key) if isinstance(body, dict) else None
        if isinstance(part, dict) and part.get("depth") in DEPTHS:
            return int(part["depth"])
    return 0
