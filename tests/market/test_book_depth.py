"""Depth within 2 % of the mid in `book` events: what is kept, and how far it reaches."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest

from minibot.events.model import Book, JsonObject
from minibot.exchanges.base import Book as KeptBook
from minibot.exchanges.base import Diff, Snapshot
from minibot.exchanges.binance.book import LEVELS_MAX, BookKeeper, LocalBook
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.kraken.book import KrakenBook
from minibot.exchanges.units import units_down
from minibot.market.depth import SymbolDepth, bounds_of, depth_within
from minibot.market.feed import Feed
from minibot.market.symbol import FeedConfig
from tests.exchanges.madeup import venue as madeup
from tests.instruments import instrument

T0 = 1_700_000_000_000
# The mid is 100: bids count from 98 up, asks to 102. Bids: 99 * 2 + 98 * 0.5 = 247. Asks:
# 101 * 1 + 102 * 0.25 = 126.5.
BIDS = [["99", "2"], ["98", "0.5"], ["97.99999999", "1000"]]
ASKS = [["101", "1"], ["102", "0.25"], ["102.00000001", "1000"]]


def depth_of(book: KeptBook) -> JsonObject:
    """Return the depth of a book within 2 % of its mid."""
    return depth_within(book, bounds_of(book))


def kraken(bids: list[list[str]], asks: list[list[str]], depth: int = 10) -> KeptBook:
    """Return Kraken's book of a snapshot."""
    return KrakenBook(depth, 1, Snapshot(0, bids, asks, True))


def binance(bids: list[list[str]], asks: list[list[str]], *, is_whole: bool = True) -> KeptBook:
    """Return Binance's book of a snapshot, which is cut unless it is whole."""
    return LocalBook(Snapshot(1, bids, asks, is_whole))


def checked(bids: list[list[str]], asks: list[list[str]]) -> KeptBook:
    """Return the book of the made-up venue."""
    sides = [[(row[0], row[1]) for row in side] for side in (bids, asks)]
    return madeup.Book(Snapshot(1, bids, asks, True, madeup.checksum(*sides)))


@pytest.mark.row("C-86")
@pytest.mark.parametrize("book_of", [binance, kraken, checked])
def test_depth_counts_every_level_within_two_percent_and_none_beyond(book_of: Any) -> None:
    """Levels exactly 2 % away count, one smallest unit beyond does not, at every venue."""
    assert depth_of(book_of(BIDS, ASKS)) == {
        "bid_depth": "247.00000000",
        "is_bid_whole": True,
        "ask_depth": "126.50000000",
        "is_ask_whole": True,
    }


@pytest.mark.row("C-86")
def test_depth_of_an_odd_mid_is_exact() -> None:
    """A mid of half a smallest unit: 100.000000005, whose bounds are 98.0000000049 and
    102.0000000051.
    """
    found = depth_of(
        binance(
            [["100.00000000", "1"], ["98.00000001", "1"], ["98.00000000", "5"]],
            [["100.00000001", "1"], ["102.00000000", "1"], ["102.00000001", "5"]],
        )
    )

    assert (found["bid_depth"], found["ask_depth"]) == ("198.00000001", "202.00000001")


def test_book_that_was_cut_before_two_percent_says_so_for_each_side() -> None:
    """A side of a cut snapshot is whole where its last level lies at the bound or beyond it."""
    short = depth_of(binance([BIDS[0], ["98.5", "1"]], ASKS[:2], is_whole=False))
    bound = depth_of(binance(BIDS[:2], [ASKS[0], ["101.5", "1"]], is_whole=False))

    assert (short["is_bid_whole"], short["is_ask_whole"]) == (False, True)
    assert (bound["is_bid_whole"], bound["is_ask_whole"]) == (True, False)
    assert (short["bid_depth"], short["ask_depth"]) == ("296.50000000", "126.50000000")


def test_side_with_fewer_levels_than_the_other_was_not_cut() -> None:
    """A snapshot cuts both sides at one number of levels: a side below it is all there is."""
    bids = depth_of(binance(BIDS[:1], [ASKS[0], ["101.5", "1"]], is_whole=False))
    asks = depth_of(binance([BIDS[0], ["98.5", "1"]], ASKS[:1], is_whole=False))

    assert (bids["is_bid_whole"], bids["is_ask_whole"]) == (True, False)
    assert (asks["is_bid_whole"], asks["is_ask_whole"]) == (False, True)


def test_side_that_fills_the_subscribed_depth_reaches_to_its_last_level() -> None:
    """Ten levels of ten that were asked for may hide others; nine are all there are."""
    tight = [[f"{100 - place / 10}", "1"] for place in range(1, 11)]
    asks = [["101", "1"]]
    full, fewer = depth_of(kraken(tight, asks)), depth_of(kraken(tight[:9], asks))

    assert (full["is_bid_whole"], fewer["is_bid_whole"]) == (False, True)
    assert full["is_ask_whole"]


def test_sizes_finer_than_our_arithmetic_are_rounded_down() -> None:
    """Twelve places of a size, or of a value, never make a book deeper than it is."""
    assert [units_down(text) for text in ("1", "0.5", "1.23456789", "1.234567899999")] == [
        100_000_000,
        50_000_000,
        123_456_789,
        123_456_789,
    ]
    found = depth_of(binance([["1", "0.000000019999"]], [["1.01", "0.00000199"]]))
    assert (found["bid_depth"], found["ask_depth"]) == ("0.00000001", "0.00000200")


def test_book_without_two_sides_has_no_depth() -> None:
    """No mid, no depth; and an absurd size is told as the bound of all amounts."""
    assert depth_of(binance([["99", "1"]], [])) == {}
    huge = depth_of(binance([["99", "9" * 19]], [["101", "1"]]))
    assert huge["bid_depth"] == f"1{'0' * 17}.00000000"


# --- in events ------------------------------------------------------------------------------------


def events(**changes: Any) -> list[Any]:
    """Return rules and books of a feed that keeps three levels a side and writes one."""
    config = FeedConfig(("BTCUSDT",), ("1s",), T0, book_levels=1, **changes)
    feed = Feed(config, T0, BINANCE.dialect)
    feed.on_connected(T0)
    feed.on_instruments([instrument()], T0)
    feed.snapshots_wanted(T0)
    feed.on_snapshot("BTCUSDT", Snapshot(10, BIDS, ASKS, True), T0)
    diff = {"e": "depthUpdate", "s": "BTCUSDT", "U": 11, "u": 11, "b": [["98.5", "2"]], "a": []}
    feed.on_frame(orjson.dumps({"stream": "x", "data": diff}), T0 + 100, 0)
    feed.advance(T0 + 1_000)
    return [payload for payload, _ in feed.take() if payload.TYPE in ("instrument", "book")]


@pytest.mark.row("C-06", "C-86")
def test_book_tells_depth_and_venue_of_all_kept_levels_where_the_profile_asks() -> None:
    """Depth counts levels that the event leaves out; book and rules name the exchange."""
    rules, resync, second = events(depth_venue="binance")

    assert rules.venue == "binance"
    assert {book.venue for book in (resync, second)} == {"binance"}
    assert (len(second.bids), second.bid_depth, second.ask_depth) == (
        1,
        "444.00000000",
        "126.50000000",
    )
    assert (resync.why, resync.bid_depth) == ("resync", "444.00000000")
    assert second.is_bid_whole
    assert second.is_ask_whole


def test_book_is_as_before_where_the_profile_does_not_ask() -> None:
    """Without `market.book_depth` neither depth nor venue stands in an event."""
    asked, plain = events(depth_venue="binance"), events()

    for with_it, without in zip(asked, plain, strict=True):
        extra = with_it.to_json().keys() - without.to_json().keys()
        depth = {"bid_depth", "ask_depth", "is_bid_whole", "is_ask_whole", "venue"}
        assert extra == (depth if isinstance(with_it, Book) else {"venue"})


def test_depth_of_a_book_that_changes_is_that_of_its_levels() -> None:
    """After each of many diffs, and a cut, depth equals that of a book made of the same levels."""
    random = Random(5)
    book = LocalBook(Snapshot(1, BIDS, ASKS, True))
    for number in range(2, 3_000):
        bid = [f"{99 - random.randrange(1, 200) / 100:.2f}", f"{random.choice((0, 1.5, 2))}"]
        ask = [f"{101 + random.randrange(1, 200) / 100:.2f}", f"{random.choice((0, 1.5, 2))}"]
        far = [f"{number / 1000:.3f}", "1"]
        rows = [far] * (number % 3 == 0)
        book.apply(Diff("X", number, number, [bid, bid, *rows], [ask, *ASKS[:1]]))
        if number % 50 == 0:
            bids, asks = ([list(row) for row in side.top(9_999)] for side in (book.bids, book.asks))
            assert depth_of(book) == depth_of(LocalBook(Snapshot(1, bids, asks, True)))


def test_depth_behind_a_cut_counts_what_was_kept() -> None:
    """A side that was cut for its size keeps the best levels, and reckons those alone."""
    book = LocalBook(Snapshot(1, [["99", "1"]], [["101", "1"]], True))
    assert depth_of(book)["bid_depth"] == "99.00000000"
    rows = [[f"{98 + place / 100_000:.5f}", "1"] for place in range(2 * LEVELS_MAX + 1)]
    book.apply(Diff("X", 2, 2, rows, []))

    kept = [list(row) for row in book.bids.top(99_999)]
    whole = LocalBook(Snapshot(1, kept, [["101", "1"]], True))
    assert depth_of(book)["bid_depth"] == depth_of(whole)["bid_depth"]
    assert len(book.bids.levels) == LEVELS_MAX
    assert depth_of(book)["is_bid_whole"] is False


def test_diff_moves_the_depth() -> None:
    """A level that is removed or moves out of reach counts no more."""
    book = LocalBook(Snapshot(1, BIDS, ASKS, True))
    book.apply(Diff("X", 2, 2, [["98", "0"]], [["101", "0"], ["103", "1"]]))

    # The mid is now 100.5: bids from 98.49, asks to 102.51, so that 102.00000001 counts.
    assert depth_of(book) | {"ask_depth": ""} == {
        "bid_depth": "198.00000000",
        "is_bid_whole": True,
        "ask_depth": "",
        "is_ask_whole": True,
    }
    assert depth_of(book)["ask_depth"] == "102025.50001000"


@pytest.mark.parametrize(("venue", "asks_again"), [("binance", True), ("", False)])
def test_market_that_left_its_snapshot_has_another_one(venue: str, asks_again: bool) -> None:
    """A cut snapshot that held 2 % is renewed once it does so no more, a minute after it."""
    depth = SymbolDepth("BTCUSDT", 1, BookKeeper(), venue)
    depth.on_connected(T0)
    assert depth.wants_snapshot(T0)
    depth.on_snapshot(
        Snapshot(1, [["99", "2"], ["90", "1"]], [["101", "1"], ["110", "1"]], False), T0
    )
    depth.on_diff(Diff("BTCUSDT", 2, 2, [], []), T0)
    assert depth.written_resync() is not None
    assert depth.written(T0, 99_999) is not None
    fallen = Diff("BTCUSDT", 3, 3, [["99", "0"], ["91", "1"]], [["101", "0"], ["91.5", "1"]])
    depth.on_diff(fallen, T0 + 1_000)
    wanted = []
    for after_ms in (59_999, 60_000):
        depth.written(T0 + after_ms, 99_999)
        wanted.append(depth.wants_snapshot(T0 + after_ms))

    assert wanted == [False, asks_again]


def test_snapshot_that_never_held_two_percent_is_not_asked_for_again() -> None:
    """A market too dense for the deepest snapshot costs no weight each minute."""
    depth = SymbolDepth("BTCUSDT", 1, BookKeeper(), "binance")
    depth.on_connected(T0)
    assert depth.wants_snapshot(T0)
    depth.on_snapshot(Snapshot(1, [["99.9", "2"]], [["100.1", "1"]], False), T0)
    depth.on_diff(Diff("BTCUSDT", 2, 2, [], []), T0)
    for after_ms in (0, 60_000, 120_000):
        depth.on_diff(Diff("BTCUSDT", 2, 2, [], []), T0 + after_ms)
        depth.written_resync()
        told = depth.written(T0 + after_ms, 5_000)
        assert told is not None
        assert told.is_bid_whole is False
        assert not depth.wants_snapshot(T0 + after_ms)
