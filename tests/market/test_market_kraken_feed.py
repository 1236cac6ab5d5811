"""Kraken in the market role's own feed: books and incidents after a wrong checksum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from minibot.events.model import Payload
from minibot.exchanges.kraken.messages import dialect
from minibot.exchanges.kraken.subscriptions import Subscriptions
from minibot.market.feed import DATA, INVALID, OTHER, UNREADABLE, Feed
from minibot.market.symbol import FeedConfig
from tests.exchanges.kraken.kraken_recordings import V1_SYMBOLS, v1_frames, v2_frames

L2 = "kraken_btcusd_l2.cbcap.gz"
T0 = 1_785_552_833_000


class Desk:
    """Feed of Kraken's books, and the events that it wrote."""

    def __init__(self, depth: int, symbols: tuple[str, ...], now_ms: int = T0) -> None:
        self.feed = Feed(FeedConfig(symbols, ("1m",), now_ms), now_ms, dialect(depth))
        self.subscriptions = Subscriptions(depth)
        self.sent: list[bytes] = []
        self.out: list[Payload] = []
        self.feed.on_connected(now_ms)
        self.subscriptions.first(symbols, now_ms)
        assert self.feed.snapshots_wanted(now_ms) == list(symbols)

    def frame(self, data: bytes, now_ms: int) -> str:
        kind = self.feed.on_frame(data, now_ms, 0)
        for symbol in self.feed.snapshots_wanted(now_ms):
            self.subscriptions.renew(symbol, now_ms)
        self.sent += self.subscriptions.due(now_ms)
        self.out += [payload for payload, _ in self.feed.take()]
        return kind

    def take(self, *kinds: str) -> list[Any]:
        """Return the events of some types written since the last call."""
        found, self.out = [each for each in self.out if each.TYPE in kinds], []
        return found

    def notices(self) -> list[str]:
        return [notice.kind for notice in self.feed.board.take_all()]


def l2(shared_data: Path) -> list[tuple[int, bytes]]:
    """Return the frames of the recording at ms of the run."""
    frames = list(v2_frames(shared_data, L2))
    return [(T0 + (each.at_ns - frames[0].at_ns) // 1_000_000, each.data) for each in frames]


@pytest.mark.row("C-82")
def test_recorded_minute_gives_books_once_a_second(shared_data: Path) -> None:
    """A recorded minute with five snapshots gives a book a second without a loss."""
    desk = Desk(10, ("BTC/USD",))
    kinds = [desk.frame(data, now_ms) for now_ms, data in l2(shared_data)]

    books = desk.take("book")
    assert {*kinds} == {DATA, OTHER}
    assert [book.why for book in books].count("resync") == 1
    assert len(books) > 40
    assert desk.notices() == []
    assert desk.sent == []
    ids = [book.last_update_id for book in books]
    assert ids == sorted(ids)
    assert books[0].bids[0] == ("63004.9", "0.01876947")


@pytest.mark.row("F117")
@pytest.mark.fault(
    "F117",
    by="a wrong checksum in a recorded session",
    ends="book marked invalid, snapshot again; no signal in between",
)
def test_wrong_checksum_loses_the_book_until_the_next_snapshot(shared_data: Path) -> None:
    """A wrong checksum gives an incident and one resubscription; then gap, resync and books."""
    desk, frames = Desk(10, ("BTC/USD",)), l2(shared_data)
    snapshots = [at for at, (_, data) in enumerate(frames) if b'"snapshot","data"' in data]
    wrong = snapshots[3] + 5
    while b'"update"' not in frames[wrong][1]:
        wrong += 1
    for now_ms, data in frames[:wrong]:
        desk.frame(data, now_ms)
    assert desk.take("book")
    desk.take("market_tick")
    now_ms, data = frames[wrong]
    checksum = orjson.loads(data)["data"][0]["checksum"]
    desk.frame(data.replace(b"%d" % checksum, b"%d" % (checksum ^ 1)), now_ms)

    assert desk.notices() == ["book_lost"]
    assert [gap.stream for gap in desk.take("gap")] == ["depth"]
    for now_ms, data in frames[wrong + 1 : snapshots[4]]:
        desk.frame(data, now_ms)
    assert now_ms - frames[wrong][0] > 3_000
    assert desk.take("book", "gap", "market_tick", "bar") == []
    methods = [orjson.loads(message)["method"] for message in desk.sent]
    assert methods == ["unsubscribe", "subscribe"]

    for now_ms, data in frames[snapshots[4] :]:
        desk.frame(data, now_ms)
    found = desk.take("book", "gap")
    why = f"checksum {checksum ^ 1} of the venue, {checksum} of the book"
    assert [(each.TYPE, each.why) for each in found[:4]] == [
        ("gap", why),
        ("book", "resync"),
        ("gap", why),
        ("book", "interval"),
    ]
    assert [each.stream for each in found[:3:2]] == ["depth", "bookTicker"]
    assert desk.notices() == ["book_resync"]


@pytest.mark.row("F109")
@pytest.mark.parametrize(
    ("frame", "kind", "lost"),
    [
        (b'[1,{"a":[],"c":"none"},"book-1000","XMR/USD"]', INVALID, ["XMR/USD"]),
        (b'[1,{"a":[],"c":"1"},"book-1000","XMR/USD"]', INVALID, ["XMR/USD"]),
        (b'{"what":1}', INVALID, list(V1_SYMBOLS)),
        (b'[1,{"a":[', UNREADABLE, list(V1_SYMBOLS)),
        (b'{"event":"heartbeat"}', OTHER, []),
    ],
)
def test_frame_that_can_not_be_used_loses_the_books_it_may_have_changed(
    shared_data: Path, frame: bytes, kind: str, lost: list[str]
) -> None:
    """An unreadable frame drops the books that it may have changed, as updates have no numbers."""
    desk = Desk(1000, V1_SYMBOLS)
    for number, each in enumerate(v1_frames(shared_data)):
        if number > 400:
            break
        assert desk.frame(each.data, T0) in (DATA, OTHER)
    assert all(feed.depth.is_valid for feed in desk.feed.symbols.values())

    # The book finds a wrong checksum; the parser finds everything else.
    assert desk.frame(frame, T0 + 1) == kind
    assert [name for name, feed in desk.feed.symbols.items() if not feed.depth.is_valid] == lost
    assert desk.notices().count("book_lost") == len(lost)


def test_trades_of_a_frame_are_ticks_and_a_wrong_one_costs_no_book(shared_data: Path) -> None:
    """Both trades of a frame are ticks; an unreadable trade is only an invalid frame."""
    desk = Desk(10, ("BTC/USD",))
    desk.frame(next(data for _, data in l2(shared_data) if b'"snapshot","data"' in data), T0)
    row = b'{"symbol":"BTC/USD","side":"buy","price":63004.9,"qty":0.1,"trade_id":%d,%b}'
    at = b'"timestamp":"2026-08-01T02:53:53.1Z"'
    frame = b'{"channel":"trade","type":"update","data":[%b,%b]}' % (row % (3, at), row % (4, at))
    assert desk.frame(frame, T0 + 1_000) == DATA
    assert desk.frame(frame.replace(b"buy", b"bid"), T0 + 1_100) == INVALID

    ticks = [each for each in desk.take("market_tick") if each.trade_id is not None]
    assert [tick.trade_id for tick in ticks] == [3, 4]
    assert desk.feed.symbols["BTC/USD"].depth.is_valid
    assert desk.notices() == ["frame_invalid"]


@pytest.mark.row("F117")
@pytest.mark.parametrize(
    "loss",
    [
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[],'
        b'"checksum":1}]}',
        b'{"channel":"book","type":"upd',
    ],
)
def test_trade_after_a_loss_waits_for_the_next_proved_top(shared_data: Path, loss: bytes) -> None:
    """After a loss, trades wait for the next proven top of the book."""
    desk = Desk(10, ("BTC/USD",))
    snapshot = next(data for _, data in l2(shared_data) if b'"snapshot","data"' in data)
    desk.frame(snapshot, T0)
    desk.frame(loss, T0 + 100)
    desk.take("market_tick")
    trade = (
        b'{"symbol":"BTC/USD","side":"buy","price":63004.9,"qty":0.1,"trade_id":3,'
        b'"timestamp":"2026-08-01T02:53:53.1Z"}'
    )
    desk.frame(b'{"channel":"trade","type":"update","data":[%b]}' % trade, T0 + 200)

    assert desk.take("market_tick") == []
    desk.frame(snapshot, T0 + 300)
    ticks = desk.take("market_tick")
    assert [tick.trade_id for tick in ticks] == [None, 3]


def test_snapshot_alone_is_a_book_while_the_market_is_quiet(shared_data: Path) -> None:
    """A snapshot alone gives a book in a quiet market."""
    desk = Desk(10, ("BTC/USD",))
    frames = [data for _, data in l2(shared_data) if b'"snapshot","data"' in data]
    desk.frame(frames[0], T0 + 100)

    assert [book.why for book in desk.take("book")] == ["resync"]
    desk.frame(b'{"channel":"heartbeat"}', T0 + 1_100)
    assert [book.why for book in desk.take("book")] == ["interval"]


@pytest.mark.row("F117")
def test_book_whose_top_is_refused_ends_its_gap_all_the_same(shared_data: Path) -> None:
    """The gap of a book ends with the first book, also where its top makes no quote."""
    desk = Desk(10, ("BTC/USD",))
    snapshot = next(data for _, data in l2(shared_data) if b'"snapshot","data"' in data)
    desk.frame(snapshot, T0)
    desk.feed.on_disconnected(T0 + 100, "lost")
    desk.feed.on_connected(T0 + 500)
    desk.frame(b'{"channel":"heartbeat"}', T0 + 501)
    desk.take("gap")
    desk.feed.symbols["BTC/USD"].band.reference //= 2

    assert desk.frame(snapshot, T0 + 600) == INVALID
    found = [(each.TYPE, each.why) for each in desk.take("gap", "book")]
    assert found == [("gap", "lost"), ("book", "resync")]
    assert "price_outlier" in desk.notices()
