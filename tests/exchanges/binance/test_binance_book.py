"""Local book: the venue's rule against a naive one, and against recorded best quotes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.exchanges.base import (
    APPLIED,
    BUFFERED,
    GAP,
    IGNORED,
    SYNCED,
    TOO_OLD,
    Diff,
    FrameInvalid,
    Quote,
    Snapshot,
)
from minibot.exchanges.binance.book import (
    BUFFER_DIFFS_MAX,
    LEVELS_MAX,
    BookKeeper,
    BookSide,
    LocalBook,
)
from minibot.exchanges.binance.messages import parse_frame
from tests.exchanges.binance.binance_recordings import cryptofeed_session, tape_messages

# Bids and asks of the generated markets never meet, so no update crosses the book.
BID_PRICES = [f"{price}.00000000" for price in range(1, 12)]
ASK_PRICES = [f"{price}.00000000" for price in range(20, 31)]


def rows(prices: list[str]) -> st.SearchStrategy[list[list[str]]]:
    """Return up to five levels, each one of all that there are: one draw instead of three."""
    levels = [(price, size) for price in prices for size in ("0.00000000", "1.5", "2.00000000")]
    return st.lists(st.sampled_from(levels).map(list), max_size=5)


BID_ROWS, ASK_ROWS = rows(BID_PRICES), rows(ASK_PRICES)


@st.composite
def diffs(draw: st.DrawFn, count_max: int = 12) -> list[Diff]:
    """Diffs that mostly continue one another; some are skipped, repeated or overlapping."""
    result: list[Diff] = []
    next_id = draw(st.integers(1, 20))
    for _ in range(draw(st.integers(1, count_max))):
        first = max(1, next_id + draw(st.sampled_from([0, 0, 0, 0, 0, -3, 2])))
        last = first + draw(st.integers(0, 4))
        result.append(Diff("X", first, last, draw(BID_ROWS), draw(ASK_ROWS)))
        next_id = last + 1
    return result


snapshots = st.builds(
    lambda book_id, bids, asks: Snapshot(book_id, bids, asks, True),
    st.integers(1, 40),
    BID_ROWS,
    ASK_ROWS,
)


@dataclass
class NaiveBook:
    """Documented procedure, word for word and slowly, over sorted dictionaries."""

    book_id: int | None = None
    bids: dict[str, str] = field(default_factory=dict)
    asks: dict[str, str] = field(default_factory=dict)
    buffer: list[Diff] = field(default_factory=list)

    def on_diff(self, diff: Diff) -> None:
        if self.book_id is None:
            self.buffer.append(diff)
        elif not self._apply(diff):
            self.book_id, self.buffer = None, [diff]

    def on_snapshot(self, snapshot: Snapshot) -> None:
        if self.buffer and snapshot.last_update_id + 1 < self.buffer[0].first_id:
            return
        self.book_id = snapshot.last_update_id
        self.bids, self.asks = {}, {}
        self._set(snapshot.bids, snapshot.asks)
        waiting = [diff for diff in self.buffer if diff.last_id > snapshot.last_update_id]
        for index, diff in enumerate(waiting):
            if not self._apply(diff):
                self.book_id, self.buffer = None, waiting[index:]
                return
        self.buffer = []

    def _apply(self, diff: Diff) -> bool:
        assert self.book_id is not None
        if diff.last_id < self.book_id:
            return True
        if diff.first_id > self.book_id + 1:
            return False
        self._set(diff.bids, diff.asks)
        self.book_id = diff.last_id
        return True

    def _set(self, bids: list[list[str]], asks: list[list[str]]) -> None:
        for side, changes in ((self.bids, bids), (self.asks, asks)):
            for price, qty in changes:
                if float(qty):
                    side[price] = qty
                else:
                    side.pop(price, None)

    def state(self) -> object:
        if self.book_id is None:
            return None
        bids = sorted(self.bids.items(), key=lambda level: -float(level[0]))
        return self.book_id, bids, sorted(self.asks.items(), key=lambda level: float(level[0]))


def state(keeper: BookKeeper) -> object:
    book = keeper.book
    if book is None:
        return None
    return book.book_id, list(book.bids.top(100)), list(book.asks.top(100))


@pytest.mark.slow
@pytest.mark.row("F117")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(diffs(4) | snapshots, max_size=8))
def test_keeper_agrees_with_the_naive_rule(steps: list[list[Diff] | Snapshot]) -> None:
    """Book and validity equal the documented procedure's for any messages in any order."""
    keeper, naive = BookKeeper(), NaiveBook()
    for step in steps:
        for item in [step] if isinstance(step, Snapshot) else step:
            # A snapshot is wanted only while `book` is None and one is at hand.
            if isinstance(item, Diff):
                keeper.on_diff(item)
                naive.on_diff(item)
            elif keeper.wants_snapshot:
                keeper.on_snapshot(item)
                naive.on_snapshot(item)

            assert state(keeper) == naive.state()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(BID_ROWS, ASK_ROWS), min_size=1, max_size=8), st.data())
def test_refresh_replaces_a_book_without_changing_it(
    changes: list[tuple[list[list[str]], list[list[str]]]], data: st.DataObject
) -> None:
    """A fresh snapshot of the same market leaves the book as it was, at any moment."""
    feed = [Diff("X", id_, id_, bids, asks) for id_, (bids, asks) in enumerate(changes, start=5)]
    kept, renewed = BookKeeper(), BookKeeper()
    for keeper in (kept, renewed):
        keeper.on_snapshot(Snapshot(feed[0].first_id - 1, [], [], True))
    cut = data.draw(st.integers(0, len(feed) - 1))
    for index, diff in enumerate(feed):
        kept.on_diff(diff)
        if index == cut:
            renewed.refresh()
        renewed.on_diff(diff)
    at = data.draw(st.integers(cut, len(feed) - 1))
    truth = BookKeeper()
    truth.on_snapshot(Snapshot(feed[0].first_id - 1, [], [], True))
    for diff in feed[: at + 1]:
        truth.on_diff(diff)
    book = truth.book
    assert book is not None
    snapshot = Snapshot(
        book.book_id,
        [list(level) for level in book.bids.top(100)],
        [list(level) for level in book.asks.top(100)],
        True,
    )

    if renewed.refreshing:
        assert renewed.on_snapshot(snapshot) == SYNCED
    assert state(renewed) == state(kept)


@pytest.mark.parametrize(
    ("first", "last", "result"),
    [(8, 9, IGNORED), (9, 10, APPLIED), (11, 12, APPLIED), (5, 30, APPLIED), (12, 13, GAP)],
)
def test_diff_around_the_edges_of_the_rule(first: int, last: int, result: str) -> None:
    """After update 10, older diffs are ignored, overlapping and next ones applied, others a gap."""
    keeper = BookKeeper()
    keeper.on_snapshot(Snapshot(10, [["1", "1"]], [["2", "1"]], True))

    assert keeper.on_diff(Diff("X", first, last, [], [])) == result


def test_snapshot_older_than_the_buffer_keeps_the_buffer() -> None:
    """A lagging snapshot is requested again while the buffer keeps its diffs."""
    keeper = BookKeeper()
    assert keeper.on_diff(Diff("X", 11, 12, [["1", "1"]], [])) == BUFFERED

    assert keeper.on_snapshot(Snapshot(9, [], [["2", "1"]], True)) == TOO_OLD
    assert keeper.on_snapshot(Snapshot(10, [], [["2", "1"]], True)) == SYNCED
    assert state(keeper) == (12, [("1", "1")], [("2", "1")])


def test_buffer_without_a_snapshot_is_bounded_and_still_joins_one() -> None:
    """The buffer keeps two minutes, so a newer snapshot joins it and an older one cannot."""
    keeper = BookKeeper()
    last = 3 * BUFFER_DIFFS_MAX
    for update_id in range(1, last + 1):
        keeper.on_diff(Diff("X", update_id, update_id, [], []))
    level = [["99", "1"]], [["101", "1"]]

    first = last - BUFFER_DIFFS_MAX + 1
    assert keeper.on_snapshot(Snapshot(first - 2, *level, True)) == TOO_OLD
    assert keeper.on_snapshot(Snapshot(first - 1, *level, True)) == SYNCED
    assert keeper.book is not None
    assert keeper.book.book_id == last


def test_gap_inside_the_buffer_starts_over_behind_it() -> None:
    """Diffs before a hole are dropped; a snapshot from behind the hole is accepted."""
    keeper = BookKeeper()
    for first, last in ((11, 12), (15, 16), (17, 18)):
        keeper.on_diff(Diff("X", first, last, [], []))

    assert keeper.on_snapshot(Snapshot(11, [["1", "1"]], [["2", "1"]], True)) == GAP
    assert keeper.on_snapshot(Snapshot(13, [["1", "1"]], [["2", "1"]], True)) == TOO_OLD
    assert keeper.on_snapshot(Snapshot(16, [["1", "1"]], [["2", "1"]], True)) == SYNCED
    assert keeper.book is not None
    assert keeper.book.book_id == 18


@pytest.mark.row("F115")
def test_crossed_book_is_thrown_away() -> None:
    """An update that crosses bid and ask makes the book unusable."""
    keeper = BookKeeper()
    keeper.on_snapshot(Snapshot(10, [["1", "1"]], [["2", "1"]], True))

    with pytest.raises(FrameInvalid):
        keeper.on_diff(Diff("X", 11, 11, [["2", "1"]], []))
    assert keeper.book is None


@pytest.mark.parametrize(
    "row",
    [
        *(["1"], ["1", "2", "3"], ["0", "1"], ["-1", "1"], ["1", "-1"], ["1", ""], [1, 2]),
        *("ab", "12", {"1": 0, "2": 0}, None),
    ],
)
def test_row_that_is_no_level_invalidates_the_book(row: object) -> None:
    """A malformed level drops the book until the next snapshot, as a half-applied diff is wrong."""
    keeper = BookKeeper()
    keeper.on_snapshot(Snapshot(10, [["1", "1"]], [["9", "1"]], True))

    with pytest.raises(FrameInvalid):
        keeper.on_diff(Diff("X", 11, 11, [row], []))  # type: ignore[list-item]
    assert keeper.book is None


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=400), st.booleans())
def test_best_price_after_any_changes_is_the_extreme(
    changes: list[tuple[int, bool]], is_bid: bool
) -> None:
    """The best price is the extreme after any changes, despite lazy deletion."""
    side, reference = BookSide(is_bid=is_bid), set()
    for price, is_set in changes:
        side.apply([[f"{price}.00000000", "1.00000000" if is_set else "0.00000000"]])
        reference.add(price) if is_set else reference.discard(price)

        extreme = (max if is_bid else min)(reference, default=0)
        assert side.best() == extreme * 100_000_000


def test_heap_of_removed_levels_stays_bounded() -> None:
    """Levels that come and go far from the touch use bounded memory."""
    side = BookSide(is_bid=True)
    side.apply([["1000.00000000", "1.00000000"]])
    for price in range(1, 900):
        for _ in range(12):
            side.apply([[f"{price}.00000000", "1.00000000"]])
            side.apply([[f"{price}.00000000", "0.00000000"]])

    assert len(side._heap) < 6000
    assert side.best() == 1000 * 100_000_000


def test_side_that_only_grows_stays_bounded_and_knows_its_new_end() -> None:
    """A market that moves away drops far levels and keeps near ones."""
    book = LocalBook(Snapshot(1, [["1.00000000", "1"]], [["900000.00000000", "1"]], True))
    for number in range(2, 4 * LEVELS_MAX):
        bid, ask = [f"{number}.00000000", "1"], [f"{900_000 - number}.00000000", "1"]
        assert book.apply(Diff("X", number, number, [bid], [ask])) == APPLIED
        assert book.touch() == (bid[0], "1", ask[0], "1")

    assert LEVELS_MAX <= len(book.bids.levels) <= 2 * LEVELS_MAX
    assert LEVELS_MAX <= len(book.asks.levels) <= 2 * LEVELS_MAX
    assert [row[0] for row in book.bids.top(2)] == [f"{number}.00000000", f"{number - 1}.00000000"]
    bids, asks = book.bids.top(9), book.asks.top(9)
    assert not book.is_beyond_edge(bids, asks)
    assert book.is_beyond_edge([*bids, ("2.00000000", "1")], asks)
    assert book.is_beyond_edge(bids, [*asks, ("899998.00000000", "1")])


def test_cut_snapshot_says_where_its_knowledge_ends() -> None:
    """Unchanged levels beyond a truncated snapshot's last one are unknown."""
    bids, asks = [["5", "1"], ["4", "1"]], [["6", "1"], ["7", "1"]]
    cut = LocalBook(Snapshot(1, bids, asks, False))
    whole = LocalBook(Snapshot(1, bids, asks, True))
    for book in (cut, whole):
        book.apply(Diff("X", 2, 2, [["3", "1"]], []))

    assert not cut.is_beyond_edge(cut.bids.top(2), cut.asks.top(2))
    assert cut.is_beyond_edge(cut.bids.top(3), cut.asks.top(2))
    assert not whole.is_beyond_edge(whole.bids.top(3), whole.asks.top(2))


@pytest.mark.slow
@pytest.mark.row("N-30")
def test_book_of_the_tape_equals_its_quotes(shared_data: Path) -> None:
    """The tape's book equals the latest quote that is not newer after 6,490 of 6,492 diffs."""
    keeper, quotes = BookKeeper(), deque[Quote](maxlen=400)
    checks = equal = 0
    for message in tape_messages(shared_data):
        if isinstance(message, Snapshot):
            assert keeper.on_snapshot(message) == SYNCED
        elif isinstance(message, Quote):
            quotes.append(message)
        elif isinstance(message, Diff) and keeper.on_diff(message) == APPLIED:
            book = keeper.book
            assert book is not None
            quote = next(q for q in reversed(quotes) if q.update_id <= book.book_id)
            checks += 1
            equal += book.touch() == (quote.bid, quote.bid_qty, quote.ask, quote.ask_qty)

    assert (equal, checks) == (6490, 6492)


@pytest.mark.parametrize(
    "prefix",
    ["2021-04-04_BINANCE", "2021-08-14_BINANCE", "2021-10-11_BINANCE.", "2021-10-11_BINANCE_US"],
)
def test_recorded_sessions_of_many_symbols_bridge_without_a_gap(
    shared_data: Path, prefix: str
) -> None:
    """Recorded sessions of thin books meet each snapshot and miss no diff."""
    recorded = cryptofeed_session(shared_data, prefix)
    keepers = {symbol: BookKeeper() for symbol in recorded.snapshots}
    found = [parse_frame(frame) for frame in recorded.frames]
    stream = [message for message in found if isinstance(message, Diff)]
    for diff in stream:
        keepers[diff.symbol].on_diff(diff)

    assert len(keepers) >= 3
    assert stream
    for symbol, keeper in keepers.items():
        if any(diff.symbol == symbol for diff in stream):
            assert keeper.on_snapshot(recorded.snapshots[symbol]) == SYNCED
