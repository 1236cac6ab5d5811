"""Overload: the newest quote wins, every trade stays, books are right."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.events.model import MarketTick
from minibot.events.reasons import SEQUENCE_GAP
from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.base import Snapshot, StreamLost
from minibot.exchanges.binance.venue import BINANCE
from minibot.market.feed import Feed
from minibot.market.notices import OVERLOAD_ENDED, OVERLOADED, TRADES_DROPPED
from minibot.market.overload import Overload
from minibot.market.session import MESSAGES_AT_ONCE, Session
from minibot.market.symbol import FeedConfig
from minibot.market.ticks import WAITING_MAX
from tests.market.market_desk import MemoryWorld, session_config
from tests.waiting import wait_until

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

T0 = 1_700_000_000_000
NAMES = ("BTCUSDT", "ETHUSDT")
BOOK = Snapshot(10, [["99.00000000", "5.00000000"]], [["101.00000000", "5.00000000"]], True)

# Messages: (symbol, kind, a small number that varies prices and quantities).
coming = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from("tqqqd"), st.integers(1, 9)), max_size=80
)


class Venue:
    """Maker of frames with ids that step like a venue's."""

    def __init__(self) -> None:
        self.trade_ids = dict.fromkeys(NAMES, 0)
        self.update_ids = dict.fromkeys(NAMES, 10)

    def frame(self, symbol: str, kind: str, number: int) -> bytes:
        data: dict[str, Any] = {"s": symbol}
        if kind == "t":
            self.trade_ids[symbol] += 1
            data |= {"e": "trade", "t": self.trade_ids[symbol], "p": f"{98 + number}.00000000"}
            data |= {"q": "1.00000000", "T": T0, "m": number % 2 == 0}
            return orjson.dumps({"stream": f"{symbol.lower()}@trade", "data": data})
        if kind == "q":
            data |= {"u": self.update_ids[symbol], "b": "99.00000000", "B": f"{number}.00000000"}
            data |= {"a": "101.00000000", "A": "5.00000000"}
            self.update_ids[symbol] += 1
            return orjson.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": data})
        update_id = self.update_ids[symbol] = self.update_ids[symbol] + 1
        data |= {"e": "depthUpdate", "U": update_id, "u": update_id, "a": []}
        data |= {"b": [[f"{80 + number}.00000000", f"{number % 3}.00000000"]]}
        return orjson.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data})


def new_feed() -> Feed:
    feed = Feed(FeedConfig(NAMES, ("1s",), T0), T0, BINANCE.dialect)
    feed.on_connected(T0)
    assert feed.snapshots_wanted(T0) == list(NAMES)
    for name in NAMES:
        feed.on_snapshot(name, BOOK, T0)
    return feed


def ticks(feed: Feed, kind: str = "") -> list[MarketTick]:
    found = [payload for payload, _ in feed.take() if isinstance(payload, MarketTick)]
    return [tick for tick in found if not kind or tick.kind == kind]


def level_sets(feed: Feed) -> list[Any]:
    books = [feed.symbols[name].depth.keeper.book for name in NAMES]
    return [(b.book_id, b.bids.top(99), b.asks.top(99)) for b in books if b is not None]


@pytest.mark.row("N-30")
@untimed
@given(coming, st.lists(st.booleans(), min_size=1, max_size=10), st.integers(1, 20))
def test_overload_keeps_every_trade_and_the_books_of_a_feed_that_had_time(
    items: list[tuple[str, str, int]], switches: list[bool], batch: int
) -> None:
    """Overload keeps every trade and book; each quote is a tick or counted."""
    venue = Venue()
    frames = [venue.frame(*item) for item in items]
    calm, pressed = new_feed(), new_feed()
    expected: list[MarketTick] = []
    found: list[MarketTick] = []
    for number, start in enumerate(range(0, len(frames), batch)):
        pressed.is_coalescing = switches[number % len(switches)]
        for at, data in enumerate(frames[start : start + batch], start):
            calm.on_frame(data, T0, at)
            pressed.on_frame(data, T0, at)
        expected += ticks(calm)
        found += ticks(pressed)

        for name in NAMES:
            mine = [t for t in found if t.symbol == name]
            theirs = [t for t in expected if t.symbol == name]
            assert _touch(mine) == _touch(theirs)
    assert _trades(found) == _trades(expected)
    assert len(found) + pressed.quotes_coalesced == len(expected)
    assert level_sets(pressed) == level_sets(calm)
    assert pressed.figures()["trade_gaps"] == pressed.figures()["trades_dropped"] == 0


def _trades(found: list[MarketTick]) -> list[MarketTick]:
    return [tick for tick in found if tick.kind == "trade"]


def _touch(found: list[MarketTick]) -> tuple[str, ...]:
    """Return the touch after these ticks."""
    newest = max(found, key=lambda tick: tick.recv_mono_ns, default=None)
    return () if newest is None else (newest.bid, newest.bid_qty, newest.ask, newest.ask_qty)


def test_newest_quote_of_a_batch_is_the_tick() -> None:
    """The last quote of a batch is its tick, the others are counted."""
    feed, venue = new_feed(), Venue()
    feed.on_frame(venue.frame("BTCUSDT", "q", 1), T0, 1)
    feed.take()
    feed.is_coalescing = True
    for number in (2, 3, 4):
        feed.on_frame(venue.frame("BTCUSDT", "q", number), T0, number)
    (tick,) = ticks(feed)

    assert (tick.bid_qty, tick.recv_mono_ns) == ("4.00000000", 4)
    assert feed.figures()["quotes_coalesced"] == 2
    assert ticks(feed) == []


def test_held_quotes_have_the_times_at_which_they_came() -> None:
    """The tick of a held quote is no older than the quote, whatever was written before."""
    feed, venue = new_feed(), Venue()
    for name in NAMES:
        feed.on_frame(venue.frame(name, "q", 1), T0, 1)
    feed.take()
    feed.is_coalescing = True
    feed.on_frame(venue.frame("ETHUSDT", "q", 2), T0 + 400, 2)
    feed.on_frame(venue.frame("BTCUSDT", "q", 2), T0 + 900, 3)

    found = [(tick.symbol, ts) for tick, ts in feed.take() if isinstance(tick, MarketTick)]
    assert found == [("ETHUSDT", T0 + 400), ("BTCUSDT", T0 + 900)]


def test_trade_under_overload_carries_the_touch_of_its_own_moment() -> None:
    """A trade under overload has the touch of its own moment."""
    feed, venue = new_feed(), Venue()
    feed.on_frame(venue.frame("BTCUSDT", "q", 1), T0, 1)
    feed.is_coalescing = True
    feed.on_frame(venue.frame("BTCUSDT", "q", 2), T0, 2)
    feed.on_frame(venue.frame("BTCUSDT", "t", 5), T0, 3)
    feed.on_frame(venue.frame("BTCUSDT", "q", 3), T0, 4)

    assert [tick.bid_qty for tick in ticks(feed, "trade")] == ["2.00000000"]


def test_overload_begins_and_ends_by_what_waits_and_both_are_told() -> None:
    """Overload begins above the upper bound and ends below the lower one, with events."""
    feed = new_feed()
    overload = Overload(feed, waiting_from=100, waiting_until=50)
    states = []
    for waiting in (99, 100, 50, 49, 99):
        overload.look(waiting, T0)
        states.append(feed.is_coalescing)

    assert states == [False, True, True, False, False]
    kinds = [notice.kind for notice in feed.board.take(T0)]
    assert kinds == [OVERLOADED, OVERLOAD_ENDED]


def test_connection_lost_under_overload_counts_the_quote_that_was_held() -> None:
    """A held quote of a lost connection is counted and dropped."""
    feed, venue = new_feed(), Venue()
    feed.on_frame(venue.frame("BTCUSDT", "q", 1), T0, 1)
    feed.take()
    feed.is_coalescing = True
    feed.on_frame(venue.frame("BTCUSDT", "q", 2), T0, 2)
    feed.on_disconnected(T0, "lost")

    assert ticks(feed) == []
    assert feed.quotes_coalesced == 1


@pytest.mark.row("F108", "N-30")
def test_quotes_that_come_late_under_overload_make_no_tick() -> None:
    """A lag that ends in a flood brings late quotes: none is shown as the touch of now."""
    feed, venue = new_feed(), Venue()
    feed.on_frame(venue.frame("BTCUSDT", "q", 1), T0, 1)
    feed.take()
    feed.is_coalescing = True
    feed.hold_back(["BTCUSDT"], T0, is_late=True)
    for number in (2, 3, 4):
        feed.on_frame(venue.frame("BTCUSDT", "q", number), T0, number)

    assert ticks(feed) == []
    feed.hold_back(["BTCUSDT"], T0, is_late=False)
    feed.on_frame(venue.frame("BTCUSDT", "q", 5), T0, 5)
    feed.on_frame(venue.frame("BTCUSDT", "q", 6), T0, 6)
    assert [tick.bid_qty for tick in ticks(feed)] == ["5.00000000", "6.00000000"]


def test_trades_that_are_missing_are_a_gap_and_an_incident() -> None:
    """Trades missing by their ids are a gap and an incident."""
    feed, venue = new_feed(), Venue()
    feed.on_frame(venue.frame("BTCUSDT", "q", 1), T0, 1)
    feed.on_frame(venue.frame("BTCUSDT", "t", 1), T0, 2)
    venue.trade_ids["BTCUSDT"] += 7
    feed.on_frame(venue.frame("BTCUSDT", "t", 1), T0, 3)
    feed.advance(T0 + 1000)

    assert feed.figures()["trade_gaps"] == 1
    assert "gap" in [payload.TYPE for payload, _ in feed.take()]
    assert SEQUENCE_GAP in [notice.kind for notice in feed.board.take(T0)]


def test_trades_without_any_quote_are_dropped_with_an_incident() -> None:
    """Trades without any quote are dropped with an incident."""
    feed, venue = new_feed(), Venue()
    for number in range(WAITING_MAX + 1):
        feed.on_frame(venue.frame("BTCUSDT", "t", 1), T0, number)

    assert feed.figures()["trades_dropped"] == 1
    assert TRADES_DROPPED in [notice.kind for notice in feed.board.take_all()]


# --- a backlog in the inbox ---------------------------------------------------------------------

TRADES = 5_000
TRADES_PER_MS = 4
LATER_MS = T0 + TRADES // TRADES_PER_MS + 1_400


class Clock:
    """Run clock that the test moves; machine time is market time."""

    is_running = True

    def __init__(self) -> None:
        self.ms = T0

    def now_ms(self) -> int:
        return self.ms

    def at_machine_ns(self, moment_ns: int) -> int:
        return moment_ns // NS_PER_MS

    def machine_s(self, market_ms: int) -> float:
        return market_ms / 1000


class ClockWorld(MemoryWorld):
    """World whose machine time is that of the test's clock."""

    def machine_ns(self) -> int:
        return self.clock.now_ms() * NS_PER_MS


class Backlog:
    """Stream with a quote, then trades, then a later quote, each received at its own time."""

    def __init__(self) -> None:
        venue = Venue()
        self.reads = [(T0 * NS_PER_MS, [venue.frame("BTCUSDT", "q", 1)])]
        for number in range(TRADES):
            at_ms = T0 + number // TRADES_PER_MS
            frame = venue.frame("BTCUSDT", "t", 1).replace(b"%d" % T0, b"%d" % at_ms)
            self.reads.append((at_ms * NS_PER_MS, [frame]))
        self.reads.append((LATER_MS * NS_PER_MS, [venue.frame("BTCUSDT", "q", 2)]))
        self.is_over = threading.Event()

    def open(self) -> None:
        pass

    def recv_all(self) -> tuple[int, list[bytes]]:
        if self.reads:
            return self.reads.pop(0)
        self.is_over.wait()
        raise StreamLost("closed")

    def unread(self) -> int:
        return 0

    def abort(self) -> None:
        self.is_over.set()

    def close(self) -> None:
        pass


def test_bar_that_ends_within_a_backlog_has_all_its_trades_and_the_clock_closes_the_next() -> None:
    """Time passes up to the messages that were read, and on by itself once none waits."""
    clock = Clock()
    world = ClockWorld(clock)
    session = Session(
        session_config(("BTCUSDT",), T0, intervals=("1s",)),
        world,
        BINANCE,
        [],
        lambda streams: Backlog(),  # type: ignore[arg-type, return-value]
    )
    session.connections.follow_symbols(["BTCUSDT"], T0)
    session.connections.on_clock(T0)
    messages = 1 + 2 + TRADES  # The connection, the quotes, the trades.
    wait_until(lambda: len(session.inbox) == messages, "the backlog")
    clock.ms = LATER_MS + 600  # Beyond the grace in which a line brings what a break held up.
    session.pump(0)
    left = len(session.inbox)
    session.pump(0)
    session.close()

    assert left == messages - MESSAGES_AT_ONCE
    bars = [(bar.open_ts - T0, bar.trades) for bar in world.of("bar")]
    assert bars == [(0, 1000 * TRADES_PER_MS), (1_000, TRADES - 1000 * TRADES_PER_MS)]
    assert session.feed.figures()["late_trades"] == 0
    ticks = [(tick, ts) for tick, ts in world.lines if isinstance(tick, MarketTick)]
    assert all(ts == tick.recv_mono_ns // NS_PER_MS for tick, ts in ticks)
