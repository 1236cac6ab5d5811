"""Kraken's book: every recorded checksum, a naive book beside it, and wrong digits."""

from __future__ import annotations

import copy
import json
import re
import zlib
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.exchanges.base import (
    APPLIED,
    BUFFERED,
    SYNCED,
    Diff,
    FrameInvalid,
    Level,
    Message,
    Snapshot,
    StreamedSnapshot,
)
from minibot.exchanges.kraken.book import KrakenBook, KrakenKeeper, checksum
from minibot.exchanges.kraken.messages import parse_frame
from tests.exchanges.kraken.kraken_recordings import (
    V1_DEPTH,
    V1_SYMBOLS,
    V2,
    Frame,
    v1_frames,
    v2_frames,
)

ASKS = """45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911
45290.2/0.15890660 45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000 45297.5/0.09945542
45299.5/0.18772827"""
BIDS = """45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000
45280.3/1.54592586 45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000 45277.3/1.54602737
45276.6/0.15445238"""


def levels(text: str) -> list[Level]:
    return [(price, qty) for price, _, qty in (word.partition("/") for word in text.split())]


def feed(keeper: KrakenKeeper, message: Message) -> str:
    """Give a message to the keeper and return its outcome."""
    if isinstance(message, StreamedSnapshot):
        return keeper.on_snapshot(message.snapshot)
    if isinstance(message, Diff):
        return keeper.on_diff(message)
    return ""


# --- the recordings -----------------------------------------------------------------------------


def test_checksum_of_the_venues_own_example_is_its_own() -> None:
    """The documented ten levels a side give the documented checksum."""
    assert checksum(levels(ASKS), levels(BIDS)) == 3310070434


@pytest.mark.row("C-82")
@pytest.mark.parametrize(("name", "checksums"), list(zip(V2, (2052, 301), strict=True)))
def test_every_checksum_of_version_2_equals(shared_data: Path, name: str, checksums: int) -> None:
    """Each recorded update of version 2 gives the venue's checksum, across resubscriptions."""
    keeper = KrakenKeeper(V2[name])
    outcomes = [
        outcome
        for frame in v2_frames(shared_data, name)
        if (outcome := feed(keeper, parse_frame(frame.data)))
    ]

    assert outcomes.count(APPLIED) + outcomes.count(SYNCED) == checksums == len(outcomes)
    assert keeper.book is not None
    assert keeper.book.book_id == checksums


@pytest.mark.row("C-82")
def test_every_checksum_of_version_1_equals(shared_data: Path) -> None:
    """Each recorded update of version 1 gives the venue's checksum, a thousand levels deep."""
    keepers = {symbol: KrakenKeeper(V1_DEPTH) for symbol in V1_SYMBOLS}
    outcomes = []
    for frame in v1_frames(shared_data):
        message = parse_frame(frame.data)
        if isinstance(message, StreamedSnapshot | Diff):
            outcomes.append(feed(keepers[message.symbol], message))

    assert outcomes.count(APPLIED) == 4269
    assert outcomes.count(SYNCED) == len(V1_SYMBOLS)
    assert len(outcomes) == 4269 + len(V1_SYMBOLS)


def flipped(data: bytes, rnd: Random) -> bytes:
    """Return the frame with one digit of one level changed to another."""
    text = data.decode()
    places = [
        at
        for found in re.finditer(r'"(?:price|qty)":([0-9.]+)', text)
        for at in range(*found.span(1))
        if text[at] != "."
    ]
    at = rnd.choice(places)
    digit = rnd.choice([digit for digit in "0123456789" if digit != text[at]])
    return (text[:at] + digit + text[at + 1 :]).encode()


@pytest.mark.row("F117")
def test_flipped_digit_of_a_recorded_update_is_found(shared_data: Path) -> None:
    """A changed digit of a recorded update drops the book at once.

    Two changes leave no trace and pass: a level pushed out of the ten by the frame that brings it,
    and the removal of a missing level.
    """
    rnd = Random(7)
    keeper, right = KrakenKeeper(10), 0
    for frame in v2_frames(shared_data, "kraken_btcusd_l2.cbcap.gz"):
        message = parse_frame(frame.data)
        if isinstance(message, Diff) and keeper.book is not None:
            wrong = copy.deepcopy(keeper)
            expected = _after(keeper, message)
            try:
                wrong.on_diff(parse_frame(_json(flipped(frame.data, rnd))))  # type: ignore[arg-type]
                assert _sides(wrong) == expected
                right += 1
            except FrameInvalid:
                assert wrong.book is None
                assert wrong.wants_snapshot
        feed(keeper, message)

    assert right < 10


def _json(data: bytes) -> bytes:
    """Return the frame with leading zeros of changed numbers removed, as JSON requires."""
    return re.sub(rb'(":)0+(\d)', rb"\1\2", data)


def _sides(keeper: KrakenKeeper) -> object:
    book = keeper.book
    return None if book is None else (book.bids.top(10), book.asks.top(10))


def _after(keeper: KrakenKeeper, diff: Diff) -> object:
    twin = copy.deepcopy(keeper)
    twin.on_diff(diff)
    return _sides(twin)


@pytest.mark.row("F117")
@pytest.mark.fault(
    "F117",
    by="one recorded update left out",
    ends="book marked invalid, snapshot again; no signal in between",
)
def test_update_that_never_came_is_never_believed(shared_data: Path) -> None:
    """Without one update, every later book that passes is the true one.

    An update that the next ones undo, before they change anything else, leaves no trace.
    """
    frames: list[Frame] = list(v2_frames(shared_data, "kraken_btcusd_l2.cbcap.gz"))
    parsed = [parse_frame(frame.data) for frame in frames]
    truth, sides = KrakenKeeper(10), []
    for message in parsed:
        feed(truth, message)
        sides.append(_sides(truth))
    updates = [at for at, message in enumerate(parsed) if isinstance(message, Diff)]
    found = 0
    for missing in updates[::7]:
        keeper = KrakenKeeper(10)
        for at, message in enumerate(parsed):
            if at == missing:
                continue
            try:
                is_said = feed(keeper, message) in (APPLIED, SYNCED)
            except FrameInvalid:
                found += 1
            else:
                assert not is_said or _sides(keeper) == sides[at]

    assert found >= 30


# --- a naive book -------------------------------------------------------------------------------

DEPTH = 10
PRICES = [f"{price / 10:.1f}" for price in range(995, 1025)]
QUANTITIES = ["0.00000000", "0.10000000", "12.00000001", "0.00000090", "100.00000000"]
rows = st.lists(st.tuples(st.sampled_from(PRICES), st.sampled_from(QUANTITIES)), max_size=6)


class NaiveBook:
    """Book rule in the plainest form: dictionaries of decimals, sorted each time."""

    def __init__(self) -> None:
        self.sides: tuple[dict[Decimal, Level], dict[Decimal, Level]] = ({}, {})

    def apply(self, bids: list[Level], asks: list[Level]) -> None:
        for side, changes in zip(self.sides, (bids, asks), strict=True):
            for price, qty in changes:
                side.pop(Decimal(price), None)
                if Decimal(qty) != 0:
                    side[Decimal(price)] = (price, qty)
        for side, is_bid in zip(self.sides, (True, False), strict=True):
            for key in sorted(side, reverse=is_bid)[DEPTH:]:
                del side[key]

    def top(self, *, is_bid: bool) -> tuple[Level, ...]:
        side = self.sides[0 if is_bid else 1]
        return tuple(side[key] for key in sorted(side, reverse=is_bid))

    def checksum(self) -> int:
        text = ""
        for price, qty in self.top(is_bid=False)[:10] + self.top(is_bid=True)[:10]:
            text += str(int(price.replace(".", ""))) + str(int(qty.replace(".", "")))
        return zlib.crc32(text.encode("ascii")) & 0xFFFFFFFF

    def is_crossed(self) -> bool:
        bids, asks = self.sides
        return bool(bids and asks) and max(bids) >= min(asks)


def listed(side: list[Level]) -> list[list[str]]:
    return [list(level) for level in side]


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(rows, rows, st.lists(st.tuples(rows, rows), max_size=12), st.booleans())
def test_keeper_agrees_with_the_naive_book(
    bids: list[Level],
    asks: list[Level],
    changes: list[tuple[list[Level], list[Level]]],
    is_apart: bool,
) -> None:
    """Levels and checksum equal the naive book's; both refuse a crossed book."""
    if is_apart:  # Sides that never meet, so that many updates follow each other.
        keep = [lambda row: Decimal(row[0]) < 101, lambda row: Decimal(row[0]) >= 101]
        bids, asks = list(filter(keep[0], bids)), list(filter(keep[1], asks))
        changes = [(list(filter(keep[0], b)), list(filter(keep[1], a))) for b, a in changes]
    keeper, naive = KrakenKeeper(DEPTH), NaiveBook()
    naive.apply(bids, asks)
    try:
        keeper.on_snapshot(Snapshot(0, listed(bids), listed(asks), True, naive.checksum()))
    except FrameInvalid:
        assert naive.is_crossed()
        return
    for bids, asks in changes:
        naive.apply(bids, asks)
        try:
            keeper.on_diff(Diff("X", 0, 0, listed(bids), listed(asks), naive.checksum()))
        except FrameInvalid:
            assert naive.is_crossed()
            return
        book = keeper.book
        assert book is not None
        assert not naive.is_crossed()
        assert book.bids.top(99) == naive.top(is_bid=True)
        assert book.asks.top(99) == naive.top(is_bid=False)


# --- the rule, one by one -----------------------------------------------------------------------


def snapshot(**changes: object) -> Snapshot:
    bids, asks = levels(BIDS), levels(ASKS)
    return Snapshot(0, listed(bids), listed(asks), True, 3310070434)._replace(**changes)  # type: ignore[arg-type]


def new_keeper(depth: int = 10) -> KrakenKeeper:
    keeper = KrakenKeeper(depth)
    assert keeper.on_snapshot(snapshot()) == SYNCED
    return keeper


def test_updates_without_a_book_are_worth_nothing() -> None:
    """Updates before the first snapshot, or after a loss, make no book."""
    keeper = KrakenKeeper(10)

    assert keeper.wants_snapshot
    assert keeper.on_diff(Diff("X", 0, 0, [["1.0", "1.0"]], [], 1)) == BUFFERED
    assert keeper.book is None


@pytest.mark.row("F115")
def test_book_that_crosses_is_thrown_away_though_its_checksum_is_right() -> None:
    """A crossed book is dropped despite a right checksum; the venue has sent such books."""
    keeper = new_keeper()
    book = copy.deepcopy(keeper.book)
    assert isinstance(book, KrakenBook)
    book.bids.apply([["45286.0", "1.00000000"]])
    book.bids.cut(10)
    crossed = checksum(book.asks.top(10), book.bids.top(10))

    with pytest.raises(FrameInvalid, match="crossed"):
        keeper.on_diff(Diff("X", 0, 0, [["45286.0", "1.00000000"]], [], crossed))
    assert keeper.book is None


@pytest.mark.row("F114")
@pytest.mark.parametrize(
    "row", [["0.0", "1.0"], ["-1.0", "1.0"], ["1.0", "-1.0"], ["1.0", ""], ["1.0"], ["1", "1", "1"]]
)
def test_level_that_is_none_loses_the_book(row: list[str]) -> None:
    """Zero or negative prices, and malformed rows, drop the whole book."""
    keeper = new_keeper()

    with pytest.raises(FrameInvalid):
        keeper.on_diff(Diff("X", 0, 0, [row], [], 0))
    assert keeper.book is None


def test_update_without_a_checksum_loses_the_book() -> None:
    """An update without checksum drops the book, as nothing else reveals a missed update."""
    keeper = new_keeper()

    with pytest.raises(FrameInvalid, match="without a checksum"):
        keeper.on_diff(Diff("X", 0, 0, [], []))
    assert keeper.book is None


def test_snapshot_with_a_wrong_checksum_leaves_no_book() -> None:
    """A snapshot with a wrong checksum leaves neither itself nor the book before it."""
    keeper = new_keeper()

    with pytest.raises(FrameInvalid, match="checksum"):
        keeper.on_snapshot(snapshot(checksum=3310070435))
    assert keeper.book is None


def test_snapshot_nobody_asked_for_replaces_the_book() -> None:
    """An unrequested snapshot replaces the book; the count of updates continues."""
    keeper = new_keeper()
    keeper.refresh()
    assert keeper.wants_snapshot
    assert keeper.book is not None

    assert keeper.on_snapshot(snapshot(bids=[["1.0", "1.0"]], checksum=None)) == SYNCED
    assert keeper.book.touch() == ("1.0", "1.0", "45285.2", "0.00100000")
    assert keeper.book.book_id == 2
    assert not keeper.wants_snapshot


def test_depth_that_the_venue_does_not_have_is_refused() -> None:
    """A depth that the venue lacks is refused, because such a book would be wrong unnoticed."""
    with pytest.raises(ValueError, match="depth 20"):
        KrakenKeeper(20)


def test_worked_frame_of_the_venue_is_read_and_kept() -> None:
    """The documented snapshot, parsed as a frame, gives its checksum."""
    side = [
        [{"price": Number(price), "qty": Number(qty)} for price, qty in levels(text)]
        for text in (BIDS, ASKS)
    ]
    data = {"symbol": "BTC/USD", "bids": side[0], "asks": side[1], "checksum": 3310070434}
    frame = json.dumps({"channel": "book", "type": "snapshot", "data": [data]}, default=str)
    bare = re.sub(r'"(\d+\.\d+)"', r"\1", frame)

    assert feed(KrakenKeeper(10), parse_frame(bare.encode())) == SYNCED


class Number:
    """Number with significant zeros."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text
