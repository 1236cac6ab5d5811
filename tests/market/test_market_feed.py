"""Feed as a whole: real recordings in, root events out, and breaks of a stream."""

from __future__ import annotations

import itertools
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from minibot.events.model import Bar, Beat, Book, Event, MarketTick, Payload
from minibot.events.reasons import SEQUENCE_GAP
from minibot.exchanges.base import Candle, Diff, Quote, Snapshot, Trade
from minibot.exchanges.binance.book import BookKeeper
from minibot.exchanges.binance.messages import parse_frame, parse_snapshot
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.top_check import MISMATCHES_MAX, TopCheck
from minibot.exchanges.units import units
from minibot.kernel.canonical import encode
from minibot.market.bar_backfill import BARS_MAX
from minibot.market.depth import LOST, NOTHING, SymbolDepth
from minibot.market.feed import DATA, INVALID, OTHER, SHUTDOWN, UNREADABLE, Feed, HoleWanted
from minibot.market.history import SETTLE_MS
from minibot.market.notices import BARS_MISSING
from minibot.market.symbol import FeedConfig
from minibot.market.trades import ANEW_MS
from minibot.runtime.configuration.config import load_config
from minibot.strategies.core import core_from_config
from tests.exchanges.binance.binance_recordings import tape_lines
from tests.instruments import instrument

T0 = 1_700_000_000_000


def new_feed(now_ms: int = T0, **changes: Any) -> Feed:
    config = FeedConfig(("BTCUSDT",), ("1s",), T0, **changes)
    feed = Feed(config, now_ms, BINANCE.dialect)
    feed.on_connected(now_ms)
    return feed


def trade_frame(trade_id: int, ts: int, price: str = "100.00000000") -> bytes:
    data = {"e": "trade", "s": "BTCUSDT", "t": trade_id, "p": price, "q": "1.00000000"}
    return orjson.dumps({"stream": "x", "data": {**data, "T": ts, "m": False}})


def quote_frame(update_id: int, bid: str = "99.00000000", ask: str = "101.00000000") -> bytes:
    data = {"u": update_id, "s": "BTCUSDT", "b": bid, "B": "5.0", "a": ask, "A": "5.0"}
    return orjson.dumps({"stream": "x", "data": data})


def diff_frame(first: int, last: int, bids: list[list[str]]) -> bytes:
    data = {"e": "depthUpdate", "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": []}
    return orjson.dumps({"stream": "x", "data": data})


BOOK = Snapshot(10, [["99.00000000", "5.0"]], [["101.00000000", "5.0"]], True)


def of(feed: Feed, *kinds: str) -> list[Any]:
    """Return the feed's ready payloads of the given types."""
    return [payload for payload, _ in feed.take() if payload.TYPE in kinds]


def candle(open_ts: int) -> Candle:
    """Return a kline of one second whose prices no trade here has."""
    price = "77.0"
    return Candle(open_ts, open_ts + 999, price, price, price, price, "5.0", "500.0", 3, "2.0")


def told(feed: Feed) -> list[str]:
    """Return the details of the notices of missing trades."""
    notices = feed.board.take(T0 + 60_000)
    return [notice.detail for notice in notices if notice.kind == SEQUENCE_GAP]


def spans(feed: Feed) -> set[tuple[str, int, int]]:
    """Return stream, beginning and end of the gaps that wait, in seconds of the run."""
    gaps = of(feed, "gap")
    return {(gap.stream, (gap.from_ts - T0) // 1000, (gap.to_ts - T0) // 1000) for gap in gaps}


def test_symbol_that_comes_back_names_all_that_was_missed() -> None:
    """An outage before it was given up counts, and a time in which it was followed without data."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0 + 5_000, 0)
    feed.on_frame(trade_frame(1, T0 + 5_000), T0 + 5_000, 0)
    feed.on_disconnected(T0 + 9_000, "lost")
    feed.advance(T0 + 20_000)
    feed.unfollow("BTCUSDT")
    feed.take()
    feed.follow("BTCUSDT", T0 + 100_000)
    first = spans(feed)
    feed.advance(T0 + 120_000)
    feed.unfollow("BTCUSDT")
    feed.follow("BTCUSDT", T0 + 200_000)
    second = spans(feed)
    feed.on_connected(T0 + 205_000)
    feed.on_snapshot("BTCUSDT", BOOK, T0 + 206_000)
    feed.on_frame(diff_frame(11, 11, []), T0 + 210_000, 0)

    assert first == {("trade", 5, 100), ("bookTicker", 5, 100), ("depth", 0, 100)}
    assert second == {("trade", 100, 200), ("bookTicker", 100, 200), ("depth", 0, 200)}
    assert spans(feed) == {("depth", 0, 210)}


# --- the tape -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(shared_data: Path) -> tuple[Feed, list[tuple[Payload, int]]]:
    """Return the BTCUSDT tape through one feed, with the exchange's clock 1.27 s ahead."""
    feed: Feed | None = None
    out: list[tuple[Payload, int]] = []
    for line in tape_lines(shared_data):
        if feed is None:
            feed = Feed(FeedConfig(("BTCUSDT",), ("1s", "1m"), line.ts), line.ts, BINANCE.dialect)
            feed.skew_ms = 1_270
            feed.on_connected(line.ts)
        if line.is_snapshot:
            feed.on_snapshot("BTCUSDT", parse_snapshot(orjson.loads(line.data), 1000), line.ts)
        else:
            assert feed.on_frame(line.data, line.ts, line.ts) == DATA
        out += feed.take()
    assert feed is not None
    return feed, out


@pytest.mark.slow
@pytest.mark.row("N-30")
def test_tape_gives_a_tick_for_every_trade_and_changed_quote(
    shared_data: Path, played: tuple[Feed, list[tuple[Payload, int]]]
) -> None:
    """The tape gives one tick for each trade and changed quote, in order, with its characters."""
    expected: list[tuple[object, ...]] = []
    quote: Quote | None = None
    for line in tape_lines(shared_data):
        message = None if line.is_snapshot else parse_frame(line.data)
        if isinstance(message, Quote):
            if quote is None or quote[2:8] != message[2:8]:
                expected.append(("quote", message.bid, message.bid_qty, message.ask))
            quote = message
        elif isinstance(message, Trade):
            expected.append(("trade", message.trade_id, message.price, message.qty))

    found = [
        ("trade", tick.trade_id, tick.price, tick.qty)
        if tick.kind == "trade"
        else ("quote", tick.bid, tick.bid_qty, tick.ask)
        for tick, _ in played[1]
        if isinstance(tick, MarketTick)
    ]
    assert found == expected


@pytest.mark.slow
def test_tape_proves_its_own_book(played: tuple[Feed, list[tuple[Payload, int]]]) -> None:
    """The tape's continuous check finds the two known disagreements, and the book stays valid."""
    feed, out = played
    figures = feed.figures()

    assert (figures["book_checks"], figures["book_mismatches"]) == (6491, 2)
    assert figures["book_syncs"] == 1
    books = Counter(payload.why for payload, _ in out if isinstance(payload, Book))
    assert books["resync"] == 1
    assert books["interval"] >= 645


@pytest.mark.slow
def test_tape_gives_time_that_never_goes_back(
    played: tuple[Feed, list[tuple[Payload, int]]],
) -> None:
    """Times never go back, a beat comes every second, and each bar once in order."""
    _, out = played

    assert all(before <= after for (_, before), (_, after) in pairwise(out))
    beats = [(payload, ts) for payload, ts in out if isinstance(payload, Beat)]
    assert [payload.n for payload, _ in beats] == list(range(1, len(beats) + 1))
    assert {after - before for (_, before), (_, after) in pairwise(beats)} == {1000}
    for interval, step in (("1s", 1_000), ("1m", 60_000)):
        bars = [p for p, _ in out if isinstance(p, Bar) and p.interval == interval]
        assert {b.open_ts - a.open_ts for a, b in pairwise(bars)} == {step}


def test_same_frames_give_the_same_events(shared_data: Path) -> None:
    """The same frames and times give the same events: no clock, no chance."""
    lines = [line for _, line in zip(range(3000), tape_lines(shared_data), strict=False)]

    def play(batch: int) -> list[tuple[Payload, int]]:
        feed = Feed(FeedConfig(("BTCUSDT",), ("1s",), lines[0].ts), lines[0].ts, BINANCE.dialect)
        out: list[tuple[Payload, int]] = []
        for index, line in enumerate(lines):
            if not line.is_snapshot:
                feed.on_frame(line.data, line.ts, line.ts)
            if index % batch == 0:
                out += feed.take()
        return out + feed.take()

    assert play(1) == play(97)


# --- what a frame is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (trade_frame(1, T0), DATA),
        (b'{"result":null,"id":1}', OTHER),
        (b'{"e":"serverShutdown","E":1}', SHUTDOWN),
        (trade_frame(1, T0, "0.00000000"), INVALID),
        (quote_frame(1, ask="98.0"), INVALID),
        (b"garbage", UNREADABLE),
    ],
)
def test_frame_is_told_for_what_it_is(frame: bytes, kind: str) -> None:
    """A frame is classified for the feed health."""
    assert new_feed().on_frame(frame, T0, 0) == kind


@pytest.mark.row("F118")
def test_frame_of_a_symbol_that_was_not_asked_for_is_refused() -> None:
    """A frame of an unknown symbol is refused and never becomes an event."""
    feed = new_feed()

    assert feed.on_frame(trade_frame(1, T0).replace(b"BTCUSDT", b"ETHUSDT"), T0, 0) == INVALID
    assert feed.take() == []


@pytest.mark.row("F115")
def test_outlier_price_never_reaches_a_tick_or_a_bar() -> None:
    """A thousandfold price is refused and reported; its bar comes from klines."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    feed.on_frame(trade_frame(1, T0), T0, 0)
    feed.take()

    assert feed.on_frame(trade_frame(2, T0 + 1, "100000.00000000"), T0 + 1, 0) == INVALID
    assert feed.on_frame(quote_frame(2, "0.10000000", "0.20000000"), T0 + 2, 0) == INVALID
    feed.on_frame(trade_frame(3, T0 + 2), T0 + 3, 0)
    feed.on_frame(quote_frame(3), T0 + 3, 0)
    feed.advance(T0 + 2_600)

    ticks = [tick for tick, _ in feed.take() if isinstance(tick, MarketTick)]
    assert [tick.trade_id for tick in ticks] == [None, 3]
    assert {notice.kind for notice in feed.board.take_all()} >= {"price_outlier"}
    assert feed.figures()["price_outliers"] == 2
    assert feed.figures()["frames_invalid"] == 2


def test_refused_price_behind_missing_trades_is_told_as_one_of_them() -> None:
    """Missing trades and the refused ones among them are one gap, from its first id on."""
    feed = new_feed()
    feed.on_frame(trade_frame(1, T0), T0, 0)
    for trade_id, price in ((5, "500.0"), (7, "500.0"), (8, "100.0")):
        feed.on_frame(trade_frame(trade_id, T0 + 1, price), T0 + 1, 0)
    feed.advance(T0 + 500)

    assert told(feed) == ["BTCUSDT: trades missing from id 2 on: 6"]


OLD = quote_frame(1)
STALE = quote_frame(2, bid="98.00000000")
REOPENED = quote_frame(9, bid="75.00000000", ask="75.10000000")
BACK = quote_frame(12)


@pytest.mark.row("F115")
@pytest.mark.parametrize(
    ("course", "kind"),
    [
        (["TRADING", OLD, REOPENED], INVALID),
        (["TRADING", OLD, "UNREADABLE", REOPENED], INVALID),
        (["TRADING", OLD, "BREAK", REOPENED], DATA),
        (["TRADING", OLD, "BREAK", STALE, REOPENED], DATA),
        (["TRADING", OLD, "BREAK", STALE, "UNREADABLE", REOPENED], DATA),
        (["TRADING", OLD, "BREAK", STALE, "TRADING", REOPENED], DATA),
        (["TRADING", OLD, "BREAK", trade_frame(1, T0, "75.00000000")], DATA),
        (["BREAK", OLD, REOPENED], DATA),
        (["BREAK", OLD, quote_frame(9, bid="0.01000000")], INVALID),
        (["TRADING", OLD, "BREAK", "TRADING", REOPENED, BACK], INVALID),
        (["TRADING", OLD, "BREAK", REOPENED, "TRADING", REOPENED, BACK], INVALID),
    ],
)
def test_band_counts_from_the_first_price_after_a_halt(
    course: list[bytes | str], kind: str
) -> None:
    """A halted symbol may come back at any price; one that never halted may not jump."""
    feed = new_feed()
    text = ""
    for step in course:
        if isinstance(step, bytes):
            text = feed.on_frame(step, T0 + 1, 0)
        else:
            feed.on_instruments([instrument(status=step)], T0 + 1)

    assert text == kind


@pytest.mark.parametrize(
    "refused",
    [
        quote_frame(12, ask="0.00000000"),
        quote_frame(12, bid="0.00000000"),
        quote_frame(12, ask="130.00000000"),
        quote_frame(12, bid="130.00000000", ask="131.00000000"),
        quote_frame(12, ask="98.00000000"),
        quote_frame(12).replace(b'"u":12', b'"e":"bookTicker","u":"x"'),
    ],
)
def test_trade_after_a_quote_that_was_refused_waits_for_the_next_touch(refused: bytes) -> None:
    """A book without asks, or none near, has no touch; the last one is no price of later ticks."""
    feed = new_feed()
    feed.on_frame(quote_frame(10), T0, 1)
    kind = feed.on_frame(refused, T0 + 1, 2)
    feed.on_frame(trade_frame(1, T0 + 2), T0 + 2, 3)
    feed.on_frame(quote_frame(10), T0 + 3, 4)  # The older of two connections repeats it.
    before = of(feed, "market_tick")
    feed.on_frame(quote_frame(13, bid="99.50000000", ask="102.00000000"), T0 + 4, 5)

    assert kind == INVALID
    assert [(tick.kind, tick.ask) for tick in before] == [("quote", "101.00000000")]
    assert [(tick.kind, tick.ask) for tick in of(feed, "market_tick")] == [
        ("quote", "102.00000000"),
        ("trade", "102.00000000"),
    ]


@pytest.mark.row("F114")
@pytest.mark.parametrize(
    "empty",
    [
        quote_frame(12, ask="0.00000000").replace(b'"A":"5.0"', b'"A":"0.00000000"'),
        quote_frame(12, bid="0.00000000").replace(b'"B":"5.0"', b'"B":"0.00000000"'),
    ],
)
def test_quote_with_an_empty_side_is_no_bad_frame_and_ends_the_touch(empty: bytes) -> None:
    """A symbol whose orders are all cancelled has no touch, and is no reason to end the run."""
    feed = new_feed()
    feed.on_frame(quote_frame(10), T0, 1)
    kind = feed.on_frame(empty, T0 + 1, 2)
    feed.on_frame(trade_frame(1, T0 + 2), T0 + 2, 3)
    before = of(feed, "market_tick")
    feed.on_frame(quote_frame(13, ask="102.00000000"), T0 + 4, 5)

    assert kind == DATA
    assert feed.figures()["frames_invalid"] == 0
    assert [(tick.kind, tick.ask) for tick in before] == [("quote", "101.00000000")]
    assert [tick.kind for tick in of(feed, "market_tick")] == ["quote", "trade"]


@pytest.mark.row("F115")
@pytest.mark.parametrize(
    ("before", "wide", "kind"),
    [
        ([quote_frame(10)], quote_frame(11, bid="82.00000000"), DATA),
        ([quote_frame(10)], quote_frame(11, bid="82.00000000", ask="130.00000000"), INVALID),
        ([], quote_frame(11, bid="0.01000000"), INVALID),
    ],
)
def test_wide_quote_refuses_nothing_that_follows(
    before: list[bytes], wide: bytes, kind: str
) -> None:
    """Both prices of a quote are judged by the one before it, and a refused quote moves no band."""
    feed = new_feed()
    for frame in before:
        feed.on_frame(frame, T0, 0)

    kinds = [
        feed.on_frame(frame, T0 + 1, 0)
        for frame in (
            wide,
            quote_frame(12),
            trade_frame(1, T0, "99.00000000"),
            trade_frame(2, T0, "101.00000000"),
        )
    ]

    assert kinds == [kind, DATA, DATA, DATA]


@pytest.mark.parametrize("ts", [T0 + 61_001, T0 * 3])
def test_trade_of_the_far_future_closes_no_bars(ts: int) -> None:
    """A trade from the far future closes no bars."""
    feed = new_feed()
    feed.on_frame(trade_frame(1, T0), T0, 0)

    assert feed.on_frame(trade_frame(2, ts), T0 + 1_000, 0) == INVALID
    assert of(feed, "bar") == []


@pytest.mark.parametrize("ts", [0, T0 - 3_600_001])
def test_trade_of_long_ago_begins_no_bar_there(ts: int) -> None:
    """A trade from long ago begins no bar."""
    feed = new_feed()

    assert feed.on_frame(trade_frame(1, ts), T0, 0) == INVALID
    assert feed.on_frame(trade_frame(2, T0 - 3_600_000), T0, 0) == DATA


@pytest.mark.parametrize(("qty", "kind"), [("9" * 18, INVALID), ("1000000000.0", DATA)])
def test_trade_of_more_than_there_is_is_refused(qty: str, kind: str) -> None:
    """A trade of an impossible size is refused, as a bar's sum would break the contract."""
    feed = new_feed()
    frame = trade_frame(1, T0).replace(b"1.00000000", qty.encode())

    assert qty.encode() in frame
    assert feed.on_frame(frame, T0, 0) == kind


# --- breaks -------------------------------------------------------------------------------------


def broken(missed: int) -> Feed:
    """Return a feed whose connection was lost for five seconds, with a number of missed trades."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    feed.on_frame(trade_frame(1, T0 + 10), T0 + 10, 0)
    feed.on_disconnected(T0 + 100, "connection lost")
    feed.advance(T0 + 4_000)
    feed.take()
    feed.on_connected(T0 + 5_000)
    feed.on_frame(quote_frame(5), T0 + 5_100, 0)
    feed.on_frame(trade_frame(2 + missed, T0 + 5_150), T0 + 5_150, 0)
    return feed


@pytest.mark.row("F112")
def test_quote_after_an_outage_says_the_bid_until_a_trade_comes() -> None:
    """The last trade from before an outage is not the venue's: stops would be judged by it."""
    feed = broken(missed=7)
    feed.on_frame(quote_frame(6, bid="99.50000000"), T0 + 5_200, 0)

    assert [(tick.kind, tick.price) for tick in of(feed, "market_tick")] == [
        ("quote", "99.00000000"),
        ("trade", "100.00000000"),
        ("quote", "100.00000000"),
    ]


@pytest.mark.row("F112")
def test_trade_that_passes_during_an_outage_makes_no_tick_of_the_next_connection() -> None:
    """A trade that waited for a missing one at the loss never meets the touch after it."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    feed.on_frame(trade_frame(1, T0 + 10), T0 + 10, 0)
    feed.on_frame(trade_frame(3, T0 + 20, "90.00000000"), T0 + 20, 0)
    feed.on_disconnected(T0 + 100, "connection lost")
    feed.advance(T0 + 220)
    feed.take()
    feed.on_connected(T0 + 1_000)
    feed.on_frame(quote_frame(9), T0 + 1_100, 0)

    assert [(tick.kind, tick.price) for tick in of(feed, "market_tick")] == [
        ("quote", "99.00000000")
    ]
    assert feed.figures()["trades_dropped"] == 1


@pytest.mark.row("N-30")
@pytest.mark.parametrize(("late_ms", "kinds"), [(0, ["quote", "trade"]), (1, ["quote"])])
def test_trade_waits_for_its_touch_as_long_as_a_tick_is_fresh(
    late_ms: int, kinds: list[str]
) -> None:
    """A trade that waited for longer than a tick is fresh makes none: its touch is another's."""
    feed = new_feed(tick_stale_ms=5_000)
    feed.on_frame(trade_frame(1, T0, "90.00000000"), T0, 0)
    feed.on_frame(quote_frame(1), T0 + 5_000 + late_ms, 0)

    assert [tick.kind for tick in of(feed, "market_tick")] == kinds
    assert feed.figures()["trades_dropped"] == late_ms


@pytest.mark.row("F112")
def test_outage_without_a_missed_trade_gives_flat_bars() -> None:
    """An outage without a missed trade id gives flat bars, and a gap of quotes."""
    feed = broken(missed=0)
    found = of(feed, "gap", "bar")

    assert [(item.stream, item.from_ts) for item in found if item.TYPE == "gap"] == [
        ("bookTicker", T0)
    ]
    assert [bar.volume for bar in found if isinstance(bar, Bar)] == [
        "1.00000000",
        *["0.00000000"] * 4,
    ]
    assert feed.holes_wanted(T0 + 10_000) == []


@pytest.mark.row("F112")
def test_outage_with_missed_trades_is_a_gap_that_klines_fill() -> None:
    """An outage with missed trades is a gap, and its bars come from klines."""
    feed = broken(missed=7)
    gaps = {item.stream: item.why for item in of(feed, "gap")}
    assert gaps == {"bookTicker": "connection lost", "trade": "trades missing"}

    feed.on_frame(trade_frame(10, T0 + 6_100), T0 + 6_100, 0)
    assert of(feed, "bar") == []
    feed.holes_wanted(T0 + 6_100)
    (wanted,) = feed.holes_wanted(T0 + 6_100 + SETTLE_MS)
    assert (wanted.hole.from_ts, wanted.hole.to_ts) == (T0, T0 + 6_000)

    feed.on_candles(wanted, None, T0 + 7_000)
    assert of(feed, "bar") == []


@pytest.mark.row("F112")
@pytest.mark.parametrize("is_at_start", [True, False])
def test_bars_that_are_too_many_to_be_filled_are_told_as_missing(*, is_at_start: bool) -> None:
    """Bars whose klines are not even requested are told like those whose klines do not come."""
    feed = new_feed()
    if is_at_start:
        feed.on_history("BTCUSDT", "1s", [candle(T0 - 1_000)], T0)
    else:
        feed.on_frame(trade_frame(1, T0 + 10), T0 + 10, 0)
        feed.on_disconnected(T0 + 20, "lost")
    later = T0 + (BARS_MAX + 7) * 1_000
    feed.on_connected(later)
    feed.on_frame(trade_frame(9, later), later, 0)
    feed.holes_wanted(later)
    for wanted in feed.holes_wanted(later + SETTLE_MS):
        opens = range(wanted.hole.from_ts, wanted.hole.to_ts, 1_000)
        feed.on_candles(wanted, [candle(open_ts) for open_ts in opens], later + SETTLE_MS)

    told = [notice.detail for notice in feed.board.take(later) if notice.kind == BARS_MISSING]
    what = f"{BARS_MAX + 7} bars before its first trade" if is_at_start else "7 bars without klines"
    assert told == [f"BTCUSDT 1s: {what}"]


@pytest.mark.row("F112", "F118")
@pytest.mark.parametrize("is_listed", [True, False])
def test_outage_after_a_delisting_asks_for_no_klines(*, is_listed: bool) -> None:
    """The venue has no klines of a delisted symbol: neither bars nor a hole follow, ever."""
    feed = new_feed()
    feed.on_instruments([instrument()], T0)
    feed.on_frame(trade_frame(1, T0), T0, 0)
    feed.advance(T0 + 30_000)
    if not is_listed:
        feed.on_instruments(feed.rules.missing(["BTCUSDT"]), T0 + 30_000)
    of(feed, "bar")
    feed.on_disconnected(T0 + 60_000, "lost")
    feed.on_connected(T0 + 61_000)
    asked: list[HoleWanted] = []
    for now in range(T0 + 62_000, T0 + 300_000, 1_000):
        feed.advance(now)
        asked += feed.holes_wanted(now)

    assert bool(asked) is is_listed
    assert is_listed or not of(feed, "bar")
    assert is_listed or not feed.figures()["bars_unfilled"]


def last_trade_of_the_old_subscription() -> Feed:
    """Return a feed that is subscribing anew, after one more trade of the former streams."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    feed.on_frame(trade_frame(1, T0 + 10), T0 + 10, 0)
    feed.on_disconnected(T0 + 900, "depth stream silent")
    feed.on_frame(trade_frame(2, T0 + 950), T0 + 950, 0)
    return feed


@pytest.mark.row("F112")
def test_trade_of_the_old_subscription_closes_no_bar_until_the_new_one_brings_data() -> None:
    """Trades that neither subscription brought are missing in no bar that is written."""
    feed = last_trade_of_the_old_subscription()
    feed.advance(T0 + 1_600)
    early = of(feed, "bar")
    feed.on_connected(T0 + 1_650)
    feed.on_frame(trade_frame(9, T0 + 1_700), T0 + 1_700, 0)
    feed.advance(T0 + 2_600)

    assert (early, of(feed, "bar")) == ([], [])
    feed.holes_wanted(T0 + 2_600)
    (wanted,) = feed.holes_wanted(T0 + 2_600 + SETTLE_MS)
    assert (wanted.hole.from_ts, wanted.hole.to_ts) == (T0, T0 + 2_000)


@pytest.mark.row("F112")
def test_trades_of_both_subscriptions_without_one_missing_make_whole_bars() -> None:
    """The trade after the last one of the old subscription shows that none is missing."""
    feed = last_trade_of_the_old_subscription()
    feed.advance(T0 + 1_600)
    feed.on_connected(T0 + 1_650)
    feed.on_frame(trade_frame(3, T0 + 1_700), T0 + 1_700, 0)

    assert [(item.TYPE, item.open_ts) for item in of(feed, "gap", "bar")] == [("bar", T0)]


@pytest.mark.parametrize("comes", [True, False])
def test_bar_waits_for_a_missing_trade_and_those_behind_it(*, comes: bool) -> None:
    """A trade known to be missing is in its bar, or the bar comes from klines."""
    feed = new_feed()
    feed.on_frame(trade_frame(1, T0 + 10), T0 + 60, 0)
    feed.on_frame(trade_frame(3, T0 + 990), T0 + 1_400, 0)
    feed.advance(T0 + 1_500)
    early = of(feed, "bar")
    assert feed.next_due_ms == T0 + 1_600
    if comes:
        feed.on_frame(trade_frame(2, T0 + 980), T0 + 1_550, 0)
        assert feed.next_due_ms <= T0 + 1_550
    feed.advance(T0 + 1_600)

    assert early == []
    assert [bar.trades for bar in of(feed, "bar")] == [3] * comes
    feed.holes_wanted(T0 + 1_600)
    holes = [wanted.hole for wanted in feed.holes_wanted(T0 + 1_600 + SETTLE_MS)]
    assert [(hole.from_ts, hole.to_ts) for hole in holes] == [(T0, T0 + 1_000)] * (not comes)


@pytest.mark.row("F112")
def test_trade_that_waited_for_a_missing_one_closes_no_bar_during_an_outage() -> None:
    """A trade that waited passes after the loss, and no flat bar stands for an outage."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    feed.on_frame(trade_frame(1, T0 + 10), T0 + 10, 0)
    feed.on_frame(trade_frame(3, T0 + 20), T0 + 20, 0)
    feed.on_disconnected(T0 + 100, "connection lost")
    feed.advance(T0 + 220)
    feed.advance(T0 + 3_600)
    early = feed.holes_wanted(T0 + 3_600)
    feed.on_connected(T0 + 4_000)
    feed.on_frame(trade_frame(9, T0 + 4_100), T0 + 4_100, 0)
    feed.advance(T0 + 4_300)
    feed.advance(T0 + 5_600)

    found = of(feed, "gap", "bar")
    assert early == []
    assert [(item.stream, item.from_ts - T0, item.to_ts - T0) for item in found] == [
        ("trade", 10, 220),
        ("trade", 220, 4_300),
    ]
    feed.holes_wanted(T0 + 5_600)
    (wanted,) = feed.holes_wanted(T0 + 5_600 + SETTLE_MS)
    assert (wanted.hole.from_ts, wanted.hole.to_ts) == (T0, T0 + 5_000)


@pytest.mark.row("F112")
def test_bar_that_waits_behind_a_hole_is_its_kline_once_a_trade_of_it_may_be_missing() -> None:
    """A trade dropped on a live connection shows late: bars that are not written yet lack none."""
    feed = broken(missed=1)
    feed.on_frame(trade_frame(4, T0 + 6_100), T0 + 6_100, 0)
    feed.on_frame(trade_frame(5, T0 + 7_100), T0 + 7_100, 0)  # Trade 6, still of its bar, is lost.
    feed.advance(T0 + 9_600)
    feed.on_frame(trade_frame(7, T0 + 9_700), T0 + 9_700, 0)
    feed.advance(T0 + 10_500)

    filled: list[int] = []
    for now in (T0 + 10_500, T0 + 10_500 + SETTLE_MS):
        for wanted in feed.holes_wanted(now):
            filled += range(wanted.hole.from_ts, wanted.hole.to_ts, 1_000)
            candles = [candle(ts) for ts in range(T0, T0 + 11_000, 1_000)]
            feed.on_candles(wanted, candles, now)

    bars = of(feed, "bar")
    assert [bar.open_ts - T0 for bar in bars] == list(range(0, 10_000, 1_000))
    assert [bar.open_ts - T0 for bar in bars if not bar.is_history] == [6_000]
    assert "perhaps without" not in "".join(told(feed))


@pytest.mark.row("F117")
def test_missing_trades_name_the_bars_that_the_clock_had_closed_without_them() -> None:
    """A written bar never changes, so the incident says which ones a dropped trade may concern."""
    feed = new_feed()
    for number, after_ms in ((1, 100), (2, 1_100)):
        feed.on_frame(trade_frame(number, T0 + after_ms), T0 + after_ms, 0)
    feed.advance(T0 + 4_000)
    feed.on_frame(trade_frame(4, T0 + 4_100), T0 + 4_100, 0)
    feed.on_frame(trade_frame(6, T0 + 4_200), T0 + 4_200, 0)
    feed.advance(T0 + 4_500)

    assert [bar.open_ts - T0 for bar in of(feed, "bar")] == [0, 1_000, 2_000]
    first, second = told(feed)
    assert first.endswith(f"perhaps without them: 1s {T0 + 1_000} to {T0 + 3_000}")
    assert "perhaps without" not in second  # Trade 4 came before, and its bar is still open.


@pytest.mark.row("F112", "F117")
def test_bars_written_before_a_loss_are_named_by_the_first_trade_that_shows_one_missing() -> None:
    """A symbol that stays quiet after a loss gets klines first, and names all its bars later."""
    feed = new_feed(tick_stale_ms=2_000)
    feed.on_frame(trade_frame(1, T0 + 100), T0 + 100, 0)
    feed.advance(T0 + 2_500)
    feed.on_disconnected(T0 + 2_600, "lost")
    feed.on_connected(T0 + 3_000)
    feed.advance(T0 + 5_000)
    for now in (T0 + 5_000, T0 + 5_000 + SETTLE_MS):
        for wanted in feed.holes_wanted(now):
            feed.on_candles(wanted, [candle(T0 + second * 1_000) for second in range(5)], now)
    feed.advance(T0 + 7_500)
    feed.on_frame(trade_frame(3, T0 + 7_600), T0 + 7_600, 0)
    feed.advance(T0 + 7_900)

    bars = of(feed, "bar")
    assert [(bar.open_ts - T0, bar.is_history) for bar in bars] == [
        (0, False),
        (1_000, False),
        (2_000, True),
        (3_000, True),
        (4_000, True),
    ]
    (detail,) = told(feed)
    assert detail.endswith(f"perhaps without them: 1s {T0} to {T0 + 2_000}")


@pytest.mark.row("F117")
def test_gap_of_missing_trades_begins_at_the_last_trade_before_them() -> None:
    """A gap holds the time of the trades that never came, not the wait of those after them."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    feed.on_frame(trade_frame(1, T0 + 100), T0 + 100, 0)
    feed.on_frame(trade_frame(5, T0 + 2_500), T0 + 2_500, 0)
    feed.on_frame(trade_frame(6, T0 + 2_600), T0 + 2_600, 0)
    feed.advance(T0 + 2_700)

    (gap,) = of(feed, "gap")
    assert (gap.from_ts - T0, gap.to_ts - T0) == (100, 2_700)


@pytest.mark.row("F117")
def test_trade_that_came_late_leaves_no_gap_to_the_next_one_that_is_missing() -> None:
    """A trade that came after its successor ends the wait: the next gap begins after both."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    for number, after_ms in ((1, 100), (3, 200), (2, 250), (4, 1_300), (6, 2_500)):
        feed.on_frame(trade_frame(number, T0 + after_ms), T0 + after_ms, 0)
    feed.advance(T0 + 2_700)

    (gap,) = of(feed, "gap")
    assert (gap.from_ts - T0, gap.to_ts - T0) == (1_300, 2_700)


@pytest.mark.row("F117")
@pytest.mark.parametrize("leaps", [False, True])
def test_trade_ids_that_fall_or_leap_cost_seconds_a_gap_and_a_hole(leaps: bool) -> None:
    """Trade ids that begin anew, or one far too high, leave no bar without its trades."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    age_ms = 0
    for second in range(20):
        ts = T0 + 1_000 * second + 100
        feed.advance(ts)
        age_ms = max(age_ms, feed.data_age_ms(ts))
        trade_id = 1_000 + second if leaps or second < 3 else second
        feed.on_frame(trade_frame(trade_id, ts), ts, 0)
        if leaps and second == 2:
            feed.on_frame(trade_frame(1_000_000, ts), ts, 0)
    feed.advance(T0 + 20_600)

    events = of(feed, "market_tick", "gap", "bar")
    gaps = [item for item in events if item.TYPE == "gap"]
    assert {gap.stream for gap in gaps} == {"trade"}
    assert gaps[0].from_ts == T0 + 2_100
    assert all(before.to_ts >= after.from_ts for before, after in pairwise(gaps))
    assert gaps[-1].to_ts == T0 + 3_100 + ANEW_MS
    assert age_ms <= 2_000 + ANEW_MS
    ticks = [item.trade_id for item in events if item.TYPE == "market_tick" and item.trade_id]
    assert ticks[-12:] == [(1_000 if leaps else 0) + second for second in range(8, 20)]
    assert [bar.open_ts for bar in events if isinstance(bar, Bar)] == [T0, T0 + 1_000]
    feed.holes_wanted(T0 + 20_600)
    (wanted,) = feed.holes_wanted(T0 + 20_600 + SETTLE_MS)
    assert (wanted.hole.from_ts, wanted.hole.to_ts) == (T0 + 2_000, T0 + 9_000)
    anew = f"BTCUSDT: trade ids began anew at {ticks[-12]}; how many are missing is unknown"
    assert told(feed)[-1].startswith(anew)


def test_ids_that_begin_anew_with_a_refused_price_are_no_single_missing_trade() -> None:
    """Ids that restart are told as such, also where the price has jumped as well."""
    feed = new_feed()
    feed.on_frame(trade_frame(1_000, T0), T0, 0)
    later = T0 + 60_001
    feed.on_frame(trade_frame(1, later, "200.00000000"), later, 0)

    detail = "BTCUSDT: trade ids began anew at 1; how many are missing is unknown"
    assert told(feed)[-1].startswith(detail)


@pytest.mark.row("F108")
@pytest.mark.parametrize("trades", [0, 3])
def test_trades_that_came_too_late_for_a_tick_are_a_gap(trades: int) -> None:
    """A core that makes its own bars of ticks learns that it lacks trades which came late."""
    feed = new_feed()
    feed.on_frame(quote_frame(1), T0, 0)
    feed.on_frame(trade_frame(1, T0 + 100), T0 + 100, 0)
    feed.hold_back(["BTCUSDT"], T0 + 1_000, is_late=True)
    for number in range(trades):
        feed.on_frame(trade_frame(2 + number, T0 + 200), T0 + 2_000 + number, 0)
    feed.on_frame(quote_frame(2, "98.00000000"), T0 + 3_000, 0)
    feed.take()
    missing_ms = feed.symbols["BTCUSDT"].missing_since(T0 + 3_500)["trade"]
    feed.hold_back(["BTCUSDT"], T0 + 4_000, is_late=False)
    feed.on_frame(quote_frame(3), T0 + 4_100, 0)
    found = of(feed, "gap", "market_tick")

    *gaps, tick = found
    spans = [(gap.stream, gap.from_ts - T0, gap.to_ts - T0) for gap in gaps]
    assert spans == [("bookTicker", 0, 4_100), ("trade", 100, 4_100)][: 1 + bool(trades)]
    assert missing_ms == (T0 + 100 if trades else T0 + 3_500)
    assert tick.TYPE == "market_tick"
    feed.on_frame(quote_frame(4, "97.00000000"), T0 + 4_200, 0)
    assert of(feed, "gap") == []


@pytest.mark.row("F117")
def test_gap_of_a_book_without_any_update_ends_with_the_next_book() -> None:
    """A book that is lost before its first update has a gap with an end, as any other."""
    feed = new_feed()
    feed.on_snapshot("BTCUSDT", BOOK, T0)
    feed.on_disconnected(T0 + 5_000, "lost")
    feed.on_connected(T0 + 9_000)
    feed.on_snapshot("BTCUSDT", BOOK, T0 + 9_500)
    feed.on_frame(diff_frame(11, 11, []), T0 + 10_000, 0)

    gaps = [(gap.stream, gap.from_ts - T0, gap.to_ts - T0) for gap in of(feed, "gap")]
    assert gaps == [("depth", 5_000, 5_000), ("depth", 5_000, 10_000)]


@pytest.mark.row("F117")
def test_sequence_gap_invalidates_the_book_until_it_is_rebuilt() -> None:
    """A sequence gap is reported at once; no book until the next snapshot, then a resync."""
    feed = new_feed()
    assert feed.snapshots_wanted(T0) == ["BTCUSDT"]
    feed.on_snapshot("BTCUSDT", BOOK, T0)
    feed.on_frame(diff_frame(11, 11, []), T0 + 10, 0)
    feed.advance(T0 + 1_000)
    assert [book.why for book in of(feed, "book")] == ["resync", "interval"]

    feed.on_frame(diff_frame(13, 14, []), T0 + 1_100, 0)
    spans = [(gap.stream, gap.from_ts - T0, gap.to_ts - T0) for gap in of(feed, "gap")]
    assert spans == [("depth", 10, 1_100)]
    feed.advance(T0 + 2_900)
    assert of(feed, "book", "gap") == []
    assert feed.snapshots_wanted(T0 + 2_900) == ["BTCUSDT"]
    assert feed.snapshots_wanted(T0 + 2_900) == []

    feed.on_snapshot("BTCUSDT", BOOK._replace(last_update_id=14), T0 + 2_950)
    found = of(feed, "gap", "book")
    assert [(item.TYPE, item.why) for item in found] == [
        ("gap", "updates missing before 13"),
        ("book", "resync"),
    ]
    assert (found[0].from_ts - T0, found[0].to_ts - T0) == (10, 2_950)
    assert {notice.kind for notice in feed.board.take_all()} == {"book_lost", "book_resync"}


@pytest.mark.row("F117", "N-53")
@pytest.mark.parametrize("loss", ["gap", "disconnected", "restarted"])
def test_strategy_has_no_signal_while_the_book_is_lost(loss: str) -> None:
    """A lost book makes the strategy hold until it is valid again."""
    feed, core = new_feed(), core_from_config(load_config("config/nore-demo.v1.json").raw)
    seqs = itertools.count(1)

    def is_broken() -> bool:
        for payload, ts in feed.take():
            happened = Event(
                ts=ts,
                id=f"{(seq := next(seqs)):08x}-0000-4000-8000-000000000000",
                source="market_role",
                run_id="20231114_221320",
                cmdline_hash="0" * 64,
                payload=payload,
            )
            core.process(happened, seq, ts)
        return b'"is_book_broken":true' in encode(core.state())

    feed.on_snapshot("BTCUSDT", BOOK, T0)
    feed.on_frame(diff_frame(11, 11, []), T0 + 10, 0)
    feed.on_frame(quote_frame(11), T0 + 20, 0)
    assert not is_broken()

    if loss == "gap":
        feed.on_frame(diff_frame(13, 14, []), T0 + 100, 0)
    elif loss == "restarted":
        feed = new_feed(now_ms=T0 + 100)
        for gap in feed.symbols["BTCUSDT"].resume_run(T0 + 20, None, {}, T0 + 100, had_book=True):
            feed.write(gap, T0 + 100)
    else:
        feed.on_disconnected(T0 + 100, "connection lost")
        feed.on_connected(T0 + 110)
    feed.on_frame(quote_frame(14, "99.10000000"), T0 + 200, 0)
    assert is_broken()
    feed.on_frame(diff_frame(15, 15, []), T0 + 300, 0)
    assert is_broken()

    feed.on_snapshot("BTCUSDT", BOOK._replace(last_update_id=15), T0 + 400)
    feed.on_frame(diff_frame(16, 16, []), T0 + 500, 0)
    assert not is_broken()


def test_book_that_gets_no_updates_is_not_written() -> None:
    """A book older than its limit is not written, even while quotes continue."""
    feed = new_feed()
    feed.on_snapshot("BTCUSDT", BOOK, T0)
    feed.on_frame(diff_frame(11, 11, []), T0, 0)
    feed.take()
    for second in range(1, 6):
        feed.on_frame(quote_frame(second), T0 + 1_000 * second, 0)
    feed.advance(T0 + 5_000)

    assert len(of(feed, "book")) == 3


def test_source_without_a_book_runs_on_and_says_so() -> None:
    """A source without a book runs on quotes and trades, with one incident."""
    feed = new_feed()
    assert feed.snapshots_wanted(T0) == ["BTCUSDT"]
    feed.on_snapshot("BTCUSDT", Snapshot(0, [], [], True), T0)
    for second in range(20):
        now = T0 + 1_000 * second
        feed.on_frame(quote_frame(second + 1, f"{90 + second % 9}.00000000"), now, 0)
        assert feed.snapshots_wanted(now) == []
    feed.advance(T0 + 20_000)

    assert len(of(feed, "market_tick")) == 20
    assert [notice.kind for notice in feed.board.take_all()] == ["book_unavailable"]


def test_snapshot_that_fails_is_asked_for_ever_more_seldom() -> None:
    """A failed snapshot is requested again after a quarter of a second, growing to a minute."""
    feed = new_feed()
    feed.on_frame(diff_frame(1, 2, []), T0, 0)
    asked: list[int] = []
    for now in range(T0, T0 + 300_000, 50):
        if feed.snapshots_wanted(now):
            asked.append(now)
            feed.on_snapshot_failed("BTCUSDT", now, "HTTP 503")

    waits = [after - before for before, after in pairwise(asked)]
    assert waits == sorted(waits)
    assert waits[0] <= 300
    assert max(waits) == 60_000


def test_outdated_messages_are_no_sign_of_life() -> None:
    """Quotes and updates older than those before them leave the data as old as they are."""
    feed = new_feed()
    feed.on_snapshot("BTCUSDT", BOOK, T0)
    feed.on_frame(diff_frame(11, 11, []), T0, 0)
    feed.on_frame(quote_frame(11), T0, 0)
    for second in range(1, 5):
        feed.on_frame(diff_frame(5 + second, 5 + second, []), T0 + second * 1_000, 0)
        feed.on_frame(quote_frame(5 + second, bid="98.00000000"), T0 + second * 1_000, 0)

    assert feed.data_age_ms(T0 + 4_000) == 4_000
    books = of(feed, "book")
    assert len(books) == 4  # Of the sync and of three seconds: the last one is no longer fresh.


def test_updates_older_than_the_book_begin_it_anew_after_a_while() -> None:
    """Older updates and nothing else for five seconds lose the book; they begin the next one."""
    depth = SymbolDepth("BTCUSDT", 20, BookKeeper())
    depth.on_connected(0)
    depth.on_diff(Diff("X", 10, 11, [], []), 0)
    depth.on_snapshot(BOOK, 0)
    assert depth.written_resync() is not None

    assert depth.on_diff(Diff("X", 1, 1, [], []), 1_000) == NOTHING
    assert depth.on_diff(Diff("X", 2, 2, [], []), 1_000 + ANEW_MS - 1) == NOTHING
    change = depth.on_diff(Diff("X", 3, 3, [], []), 1_000 + ANEW_MS)

    assert (change.kind, depth.is_valid) == (LOST, False)
    assert depth.wants_snapshot(1_000 + ANEW_MS)
    depth.on_snapshot(BOOK._replace(last_update_id=3), 1_000 + ANEW_MS)
    assert depth.written_resync() is not None


def test_older_updates_between_others_lose_no_book() -> None:
    """Older updates of an overlap, or behind a snapshot that is ahead of its stream, are normal."""
    depth = SymbolDepth("BTCUSDT", 20, BookKeeper())
    depth.on_connected(0)
    depth.on_snapshot(BOOK, 0)
    changes = [depth.on_diff(Diff("X", 1, 1, [], []), second * 1_000) for second in range(20)]
    assert depth.written_resync() is None
    resyncs = []
    for second in range(20, 40):
        for last in (second, second - 1):
            changes.append(depth.on_diff(Diff("X", 5, last, [], []), second * 1_000))
        resyncs.append(depth.written_resync())  # Older updates are judged from then on.

    assert set(changes) == {NOTHING}
    assert resyncs[0] is not None
    assert set(resyncs[1:]) == {None}


# --- the check of the book ----------------------------------------------------------------------


def top(bid: str, qty: str = "5.0") -> tuple[str, str, str, str]:
    return bid, qty, "101.0", "7.0"


def best(update_id: int, bid: str, qty: str = "5.0") -> Quote:
    return Quote("X", update_id, bid, units(bid), qty, "101.0", units("101.0"), "7.0", None)


@pytest.mark.parametrize("quotes_first", [True, False])
def test_check_compares_with_the_latest_quote_that_is_not_newer(quotes_first: bool) -> None:
    """The book check compares the same pairs, whether quotes lead or lag the diffs."""
    check = TopCheck()
    quotes = [best(5, "98.0"), best(9, "99.0"), best(12, "97.0")]
    books = [(4, top("1.0")), (8, top("98.0")), (11, top("99.0")), (11, top("98.5"))]
    for step in (1, 2) if quotes_first else (2, 1):
        for quote in quotes if step == 1 else ():
            check.on_quote(quote)
        for book_id, touch in books if step == 2 else ():
            check.on_book(book_id, touch)

    assert (check.checks, check.mismatches, check.in_row) == (3, 1, 1)


def test_quotes_are_kept_for_a_book_alone() -> None:
    """Quotes are kept only for symbols with a book."""
    depth = SymbolDepth("BTCUSDT", 20, BINANCE.dialect.new_keeper())
    quote = Quote("BTCUSDT", 11, "99", 99, "5.0", "101", 101, "5.0", None)
    for number in range(100):
        depth.on_quote(quote._replace(update_id=number), T0)
    before = len(depth.check)
    depth.on_snapshot(BOOK, T0)
    depth.on_quote(quote, T0)

    assert (before, len(depth.check)) == (0, 1)


def test_book_that_disagrees_with_quotes_again_and_again_is_thrown_away() -> None:
    """Several disagreements in a row drop the book; a single one occurs in real data."""
    depth = SymbolDepth("BTCUSDT", 20, BookKeeper())
    depth.on_connected(0)
    assert depth.wants_snapshot(0)
    depth.on_snapshot(BOOK, 0)
    for number in range(11, 11 + MISMATCHES_MAX):
        assert depth.is_valid
        depth.on_diff(Diff("X", number, number, [], []), number)
        depth.on_quote(best(number, "98.0"), number)
    change = depth.on_quote(best(11 + MISMATCHES_MAX, "98.0"), 20)

    assert "differs" in change.why
    assert not depth.is_valid
    assert depth.wants_snapshot(20)


def test_book_behind_one_that_was_thrown_away_is_judged_afresh() -> None:
    """Disagreements of the book before do not count: a single one loses no new book."""
    depth = SymbolDepth("BTCUSDT", 20, BookKeeper())
    depth.on_snapshot(BOOK, 0)
    for number in range(11, 12 + MISMATCHES_MAX):
        depth.on_diff(Diff("X", number, number, [], []), number)
        depth.on_quote(best(number, "98.0"), number)
    assert not depth.is_valid

    last = 12 + MISMATCHES_MAX
    depth.on_snapshot(BOOK._replace(last_update_id=last), 30)
    depth.on_diff(Diff("X", last + 1, last + 1, [], []), 31)
    for number in (last + 1, last + 2):
        depth.on_quote(best(number, "98.0"), 32)

    assert (depth.is_valid, depth.check.in_row) == (True, 1)


# --- start, restart -----------------------------------------------------------------------------


@pytest.mark.row("F118")
def test_instrument_is_written_at_the_start_and_on_change() -> None:
    """An instrument is written at the start and on a change."""
    feed = new_feed()
    for status in ("TRADING", "TRADING", "BREAK", "BREAK"):
        feed.on_instruments([instrument(status=status)], T0)

    assert [item.status for item in of(feed, "instrument")] == ["TRADING", "BREAK"]
    assert not feed.rules.is_trading("BTCUSDT")
    assert [notice.kind for notice in feed.board.take_all()] == ["symbol_halted"]


@pytest.mark.row("F118")
@pytest.mark.parametrize("status", ["DELISTED", "HALT"])
def test_symbol_that_does_not_trade_makes_no_data_old(status: str) -> None:
    """A halt is no outage: the age told is that of the symbols that trade."""
    feed = Feed(FeedConfig(("BTCUSDT", "ETHUSDT"), ("1s",), T0), T0, BINANCE.dialect)
    feed.on_connected(T0)
    feed.on_frame(quote_frame(1), T0 + 60_000, 1)
    feed.on_instruments([instrument("BTCUSDT"), instrument("ETHUSDT")], T0 + 60_000)
    assert feed.data_age_ms(T0 + 61_000) == 61_000
    feed.on_instruments([instrument("ETHUSDT", status=status)], T0 + 61_000)

    assert feed.data_age_ms(T0 + 61_000) == 1_000


def test_process_that_follows_another_marks_what_it_missed() -> None:
    """After kill -9 bars continue, and the missed time is a gap and a hole."""
    feed = new_feed(now_ms=T0 + 9_000)
    ends = {"1s": T0 + 5_000}
    resumed = feed.symbols["BTCUSDT"].resume_run(T0 + 5_300, 41, ends, T0 + 9_000, had_book=False)
    assert resumed == []
    feed.on_frame(quote_frame(1), T0 + 9_100, 0)
    feed.on_frame(trade_frame(44, T0 + 9_200), T0 + 9_200, 0)
    feed.on_frame(trade_frame(45, T0 + 10_200), T0 + 10_200, 0)
    feed.on_frame(trade_frame(46, T0 + 11_200), T0 + 11_200, 0)

    found = of(feed, "gap", "bar")
    assert [(item.stream, item.from_ts, item.to_ts) for item in found] == [
        ("bookTicker", T0 + 5_300, T0 + 9_100),
        ("trade", T0 + 5_300, T0 + 9_200),
    ]
    feed.holes_wanted(T0 + 11_300)
    (wanted,) = feed.holes_wanted(T0 + 11_300 + SETTLE_MS)
    assert wanted == HoleWanted("BTCUSDT", "1s", wanted.hole)
    assert (wanted.hole.from_ts, wanted.hole.to_ts) == (T0 + 5_000, T0 + 10_000)


@pytest.mark.parametrize("is_lost", [False, True])
def test_process_that_does_not_know_the_last_trade_marks_that_some_may_be_missing(
    *, is_lost: bool
) -> None:
    """A symbol's last trade may be older than all that a restart reads: its id tells nothing."""
    feed = new_feed(now_ms=T0 + 9_000)
    feed.symbols["BTCUSDT"].resume_run(T0 + 5_300, None, {}, T0 + 9_000, had_book=False)
    if is_lost:
        feed.on_disconnected(T0 + 9_010, "connection lost")
        feed.on_connected(T0 + 9_020)
    feed.on_frame(trade_frame(44, T0 + 9_200), T0 + 9_200, 0)
    feed.on_frame(trade_frame(45, T0 + 9_300), T0 + 9_300, 0)
    feed.on_frame(trade_frame(46, T0 + 10_300), T0 + 10_300, 0)
    feed.on_frame(trade_frame(47, T0 + 11_300), T0 + 11_300, 0)

    found = of(feed, "gap", "bar")
    assert [(gap.stream, gap.from_ts, gap.to_ts) for gap in found if gap.TYPE == "gap"] == [
        ("trade", T0 + 5_300, T0 + 9_200)
    ]
    assert [bar.open_ts for bar in found if bar.TYPE == "bar"] == []
    assert feed.figures()["trade_gaps"] == 0


def test_pause_of_the_process_does_not_flood_the_queue() -> None:
    """A pause of an hour does not add an hour of beats."""
    feed = new_feed()
    feed.advance(T0 + 3_600_000)

    assert len(of(feed, "beat")) <= 121


def test_frame_read_before_a_beat_but_taken_after_it_does_not_turn_time_back() -> None:
    """A frame read before a beat and processed after it does not turn time back."""
    feed = new_feed()
    feed.advance(T0 + 1_000)
    feed.on_frame(quote_frame(1), T0 + 990, 0)
    feed.on_frame(quote_frame(2, "98.00000000"), T0 + 1_010, 0)

    assert [(payload.TYPE, ts - T0) for payload, ts in feed.take()] == [
        ("beat", 1_000),
        ("market_tick", 1_000),
        ("market_tick", 1_010),
    ]


def test_first_snapshot_that_does_not_meet_the_stream_is_no_lost_book() -> None:
    """A first snapshot older than the stream is not a lost book and no gap."""
    feed = new_feed()
    assert feed.snapshots_wanted(T0) == ["BTCUSDT"]
    feed.on_snapshot("BTCUSDT", BOOK, T0)
    feed.on_frame(diff_frame(15, 16, []), T0 + 10, 0)
    assert feed.snapshots_wanted(T0 + 10) == ["BTCUSDT"]
    feed.on_snapshot("BTCUSDT", BOOK._replace(last_update_id=15), T0 + 20)

    assert [(item.TYPE, item.why) for item in of(feed, "book", "gap")] == [("book", "resync")]
    assert feed.board.take_all() == []
    assert feed.figures()["book_syncs"] == 1
