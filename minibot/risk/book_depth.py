"""Depth of the book, as a gate for entries: the value of bids and asks near the mid, by venue.

An entry buys from the asks and its exit sells to the bids, so the smaller side counts. Only `book`
events of the profile's own venue count: no entry is allowed where the book or the symbol's rules
name another venue, such as an aggregator, or where the book names none. A book that does not reach
2 % of the mid gives a lower bound, which passes if it meets the limit. A book that is missing, too
old or from before a gap allows no entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.cores.core_profile import CoreProfile, venue_name
from minibot.events.model import Book, Instrument, JsonObject
from minibot.events.money import PLACES, amount_json, parse_amount
from minibot.events.native import mypyc_attr
from minibot.events.reasons import FOREIGN_VENUE, NO_BOOK, SHORT_BOOK, STALE_BOOK, THIN_BOOK
from minibot.risk.checks import AT_LEAST, NONE, SKIPPED, Gate, Row

BOOK_AGE: Final = Gate("book_age_ms", STALE_BOOK)
THIN: Final = Gate("depth_notional", THIN_BOOK, PLACES, passes=AT_LEAST)
SHORT: Final = Gate("depth_notional", SHORT_BOOK, PLACES, passes=AT_LEAST)


@mypyc_attr(acyclic=True)
@final
class DepthReading:
    """Figures of one entry, from the last book of its symbol.

    Attributes:
        own: The venue of the profile.
        venue: The foreign venue that the rules name, else the venue of the book; empty without a
            book with depth values, or if the book names no venue.
        age_ms: Age of the book in ms of market time; `SKIPPED` without a book.
        notional: Value of the smaller side in hundred-millionths; `SKIPPED` without a book.
        is_whole: Whether the smaller side reaches 2 % of the mid.
    """

    __slots__ = ("age_ms", "is_whole", "notional", "own", "venue")

    def __init__(self, own: str) -> None:
        """Start without a book."""
        self.own: str = own
        self.venue: str = ""
        self.age_ms: int = SKIPPED
        self.notional: int = SKIPPED
        self.is_whole: bool = True


def venue_gate(reading: DepthReading) -> Gate:
    """Return the check that there is a book of the profile's venue; it shows the venue found."""
    reason = FOREIGN_VENUE if reading.venue else NO_BOOK
    return Gate("book_venue", reason, words=(reading.own, reading.venue or NONE))


def depth_gate(reading: DepthReading) -> Gate:
    """Return the check of depth: THIN_BOOK for a complete side, SHORT_BOOK for a lower bound."""
    return THIN if reading.is_whole else SHORT


def depth_rows(reading: DepthReading, age_ms_max: int, least: int) -> tuple[Row, ...]:
    """Return the checks of an entry by its figures.

    Args:
        reading: The figures.
        age_ms_max: Largest age of a book that counts.
        least: Smallest allowed value of either side in hundred-millionths.
    """
    return (
        (venue_gate(reading), reading.venue != reading.own, False),
        (BOOK_AGE, reading.age_ms, age_ms_max),
        (depth_gate(reading), reading.notional, least),
    )


@mypyc_attr(acyclic=True)
@final
class SideValues:
    """Values of the last book of a symbol.

    Attributes:
        ts: Time of the book, Unix ms.
        bid, ask: Value of each side in hundred-millionths.
        is_bid_whole, is_ask_whole: Whether the kept levels cover all of 2 % of the mid.
        venue: The venue of the book; empty if the event names none, which allows no entry.
    """

    __slots__ = ("ask", "bid", "is_ask_whole", "is_bid_whole", "ts", "venue")

    def __init__(
        self, ts: int, bid: int, is_bid_whole: bool, ask: int, is_ask_whole: bool, venue: str
    ) -> None:
        self.ts: int = ts
        self.bid: int = bid
        self.is_bid_whole: bool = is_bid_whole
        self.ask: int = ask
        self.is_ask_whole: bool = is_ask_whole
        self.venue: str = venue


@final
class BookDepth:
    """The last book of each symbol as far as depth goes.

    Attributes:
        least: Smallest allowed value of a side in hundred-millionths; 0 if the gate is off.
        is_on: Whether the profile has the gate.
        own: The venue of the profile.
        books: By symbol; missing before the first book, after a gap, or without depth values.
        foreign: By symbol, the venue that its rules name, if it is not the profile's.
    """

    __slots__ = ("books", "foreign", "is_on", "least", "own")

    def __init__(self, config: JsonObject) -> None:
        """Take the keys of the whole resolved configuration; no book is known."""
        least = CoreProfile.of(config).risk.depth_min
        self.is_on: bool = least is not None
        self.least: int = parse_amount(least or "0")
        self.own: str = venue_name(config)
        self.books: dict[str, SideValues] = {}
        self.foreign: dict[str, str] = {}

    def on_book(self, book: Book, ts: int) -> None:
        """Take a book of time `ts`; one without depth values counts as no book."""
        bid, ask = book.bid_depth, book.ask_depth
        if bid is None or ask is None:
            self.books.pop(book.symbol, None)
            return
        self.books[book.symbol] = SideValues(
            ts,
            parse_amount(bid),
            bool(book.is_bid_whole),
            parse_amount(ask),
            bool(book.is_ask_whole),
            book.venue or "",
        )

    def on_gap(self, symbol: str) -> None:
        """Drop the last book of a symbol: it may be out of date."""
        self.books.pop(symbol, None)

    def on_instrument(self, instrument: Instrument) -> None:
        """Take the venue that the rules of a symbol name, if they name one."""
        venue = instrument.venue
        if venue is None or venue == self.own:
            self.foreign.pop(instrument.symbol, None)
        else:
            self.foreign[instrument.symbol] = venue

    def reading(self, symbol: str, now: int) -> DepthReading:
        """Return age, venue and smaller side of the last book at market time `now`."""
        found, book = DepthReading(self.own), self.books.get(symbol)
        if book is None:
            return found
        found.venue = self.foreign.get(symbol) or book.venue
        found.age_ms = now - book.ts
        is_bid = book.bid < book.ask or (book.bid == book.ask and book.is_bid_whole)
        found.notional = book.bid if is_bid else book.ask
        found.is_whole = book.is_bid_whole if is_bid else book.is_ask_whole
        return found

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "books": {
                symbol: [
                    *(book.ts, amount_json(book.bid), book.is_bid_whole),
                    *(amount_json(book.ask), book.is_ask_whole, book.venue),
                ]
                for symbol, book in self.books.items()
            },
            "foreign": dict(self.foreign),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        for symbol, values in state.get("books", {}).items():
            ts, bid, is_bid_whole, ask, is_ask_whole, venue = values
            self.books[symbol] = SideValues(
                ts, int(bid), is_bid_whole, int(ask), is_ask_whole, venue
            )
        self.foreign.update(state.get("foreign", {}))
