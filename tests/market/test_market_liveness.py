"""Streams that are silent, frozen or late while their neighbours deliver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import count, pairwise
from typing import Any

import pytest

from minibot.events.model import Bar, Gap, MarketTick
from minibot.events.reasons import FEED_STALE
from minibot.exchanges.base import QUOTE, TRADE, Candle, Snapshot
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.venue_facts import Reply
from minibot.kernel.errors import FeedLost
from minibot.market.connections import groups_of
from minibot.market.liveness import RENEW_MS, SYMBOLS_OF_A_LINE, TRADE_SILENCE_MS, Liveness
from minibot.market.rest_scheduler import Answer, Job
from tests.instruments import instrument
from tests.market.test_market_connections import Floor

T0 = 1_700_000_000_000


class Clock:
    """Clock of the connections, which the test advances."""

    is_running = True

    def __init__(self, floor: Floor) -> None:
        self._floor = floor

    def now_ms(self) -> int:
        return self._floor.now_ms

    def at_machine_ns(self, moment_ns: int) -> int:
        return self._floor.now_ms

    def machine_s(self, market_ms: int) -> float:
        return market_ms / 1000


class Questions:
    """Requests to the venue, which the test answers."""

    def __init__(self) -> None:
        self.quiet: list[tuple[list[str], Callable[[bool], None]]] = []
        self.trades: list[tuple[str, Callable[[Answer], None]]] = []
        self.rules = 0

    def check_quiet(self, symbols: Sequence[str], done: Callable[[bool], None]) -> None:
        self.quiet.append((list(symbols), done))

    def ask_trades(self, symbol: str, done: Callable[[Answer], None]) -> None:
        self.trades.append((symbol, done))

    def check_rules(self) -> None:
        self.rules += 1


class Market:
    """Connections whose symbols receive the test's messages, second by second."""

    def __init__(self, symbols: Sequence[str], **limits: int) -> None:
        self.floor = Floor(symbols, streams_max=30, begin=False, **limits)
        self.floor.now_ms = T0
        self.questions = Questions()
        self.liveness = Liveness(
            self.floor.link.limits,
            self.floor.feed,
            self.floor.link,
            self.floor.all,
            self.questions,  # type: ignore[arg-type]
            Clock(self.floor),
            lambda: self.floor.now_ms * 1_000_000,
            self.questions.check_rules,
        )
        self.floor.all.follow(groups_of(symbols, BINANCE.streams), T0)
        self.floor.tick()
        self.floor.open(1)
        self._ids = count(100)
        self._bids = dict.fromkeys(symbols, "99")
        self._trade_ids = {name: count(1) for name in symbols}
        self.late_ms = 0
        self.answered = 0
        for name in symbols:
            self.floor.feed.on_snapshot(
                name, Snapshot(99, [["99", "1"]], [["101", "1"]], is_whole=True), T0
            )

    def frame(self, text: str, kind: str = "data") -> None:
        floor = self.floor
        assert floor.feed.on_frame(text.encode(), floor.now_ms, 0) == kind, text
        shard = floor.all.shards[0]
        shard.line.frame_ns = floor.now_ms * 1_000_000
        shard.line.on_data(floor.now_ms)

    def quote(self, name: str, bid: str, ask: str = "101", kind: str = "data") -> None:
        row = f'"u":{next(self._ids)},"s":"{name}","b":"{bid}","B":"1","a":"{ask}","A":"1"'
        self.frame(f"{{{row}}}", kind)

    def diff(self, name: str, bid: str) -> None:
        """Move the best bid; the book below it is the snapshot's."""
        book = self.floor.feed.symbols[name].depth.keeper.book
        last = next(self._ids)
        first = last if book is None else book.book_id + 1
        before, self._bids[name] = self._bids[name], bid
        gone = "" if before == bid else f'["{before}","0"],'
        self.frame(
            f'{{"e":"depthUpdate","E":{self.floor.now_ms},"s":"{name}","U":{first},'
            f'"u":{last},"b":[{gone}["{bid}","1"]],"a":[]}}'
        )

    def trade(self, name: str, price: str = "100") -> None:
        self.frame(
            f'{{"e":"trade","E":{self.floor.now_ms},"s":"{name}","t":{next(self._trade_ids[name])},'
            f'"p":"{price}","q":"1","T":{self.floor.now_ms - self.late_ms},"m":true}}'
        )

    def second(self, say: Callable[[int], None] | None = None) -> None:
        """Advance one second; `say` gets its number."""
        self.floor.tick(1_000)
        if say is not None:
            say((self.floor.now_ms - T0) // 1_000)
        self.liveness.look(self.floor.now_ms)

    def reopen(self) -> None:
        """Open a connection that is being attempted."""
        newest = max(self.floor.readers)
        if not self.floor.all.is_open and self.floor.all.of(newest) is not None:
            self.floor.open(newest)

    def answer(self) -> None:
        """Answer the control messages so far."""
        while len(self.sent()) > self.answered:
            number = self.floor.readers[1].sent[self.answered]["id"]
            assert isinstance(number, int)
            self.answered += 1
            self.floor.shard(1).on_reply(1, Reply(number, ""), self.floor.now_ms)

    def rebook(self) -> None:
        """Give the books that are asked for."""
        for name in self.floor.feed.snapshots_wanted(self.floor.now_ms):
            book = Snapshot(next(self._ids), [["98", "1"]], [["101", "1"]], is_whole=True)
            self.floor.feed.on_snapshot(name, book, self.floor.now_ms)

    def kinds(self) -> list[str]:
        return self.floor.kinds()

    def sent(self) -> list[Any]:
        return [message["method"] for message in self.floor.readers[1].sent]


def bid_of(second: int) -> str:
    """Return a best bid that moves each second."""
    return f"99.{second % 10}{second // 10 % 10}"


# --- one stream ---------------------------------------------------------------------------------


@pytest.mark.row("F108", "S-17")
@pytest.mark.parametrize("seconds", [0, 5])
def test_depth_that_is_silent_while_quotes_move_is_asked_for_anew(seconds: int) -> None:
    """Depth silent from some time or from the start is renewed, and the cores learn of it."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        market.quote("AUSDT", bid_of(second))
        if second <= seconds:
            market.diff("AUSDT", bid_of(second))

    for _ in range(14):
        market.second(say)
    assert market.sent() == []
    for _ in range(8):
        market.second(say)

    assert "stream_silent" in market.kinds()
    assert market.sent() == ["UNSUBSCRIBE"]
    assert market.floor.feed.symbols["AUSDT"].depth.keeper.book is None
    gaps = [payload for payload, _ in market.floor.feed.take() if isinstance(payload, Gap)]
    assert "depth" in {gap.stream for gap in gaps}


@pytest.mark.row("F108", "F115")
def test_quote_that_is_frozen_while_the_book_moves_is_asked_for_anew() -> None:
    """A frozen quote is renewed while the book moves."""
    market = Market(["AUSDT"])
    market.quote("AUSDT", "99.5")

    def say(second: int) -> None:
        market.diff("AUSDT", f"100.{second:02d}" if second > 2 else "99.5")

    for _ in range(11):
        market.second(say)
    assert market.sent() == []
    for _ in range(4):
        market.second(say)

    assert market.kinds().count("stream_silent") == 1
    assert market.sent() == ["UNSUBSCRIBE"]


@pytest.mark.row("F108", "F115")
@pytest.mark.parametrize("has_updates", [False, True])
def test_touch_that_is_frozen_beside_no_book_while_trades_leave_it_is_asked_for_anew(
    *, has_updates: bool
) -> None:
    """A quote beside a silent or a lost book is renewed, as trades print beside the touch."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        market.trade("AUSDT")
        if second <= 5:
            market.quote("AUSDT", bid_of(second))
        if second == 5 and has_updates:
            market.floor.feed.symbols["AUSDT"].depth.keeper.reset()
        if second <= 5 or has_updates:
            market.diff("AUSDT", bid_of(second))

    for _ in range(15):
        market.second(say)
    assert market.sent() == []
    for _ in range(4):
        market.second(say)

    assert market.kinds().count("stream_silent") == 1
    assert market.sent() == ["UNSUBSCRIBE"]
    assert market.floor.feed.symbols["AUSDT"].ticks.quote is None


@pytest.mark.parametrize(
    ("price", "follows"), [("99.5", ""), ("101", ""), ("100", "quote"), ("100", "diff")]
)
def test_trades_that_prove_no_frozen_touch_ask_for_nothing(price: str, follows: str) -> None:
    """Trades at the touch, or with a quote or an update of the book behind each, prove nothing."""
    market = Market(["AUSDT"])
    market.quote("AUSDT", "99.5")
    if follows == "quote":  # Of a source without a book.
        market.floor.feed.symbols["AUSDT"].depth.keeper.reset()

    def say(second: int) -> None:
        if follows == "quote":
            market.quote("AUSDT", bid_of(second))
        elif second <= 15 or follows == "diff":
            market.diff("AUSDT", "99.5")
        if second >= 20:
            market.floor.now_ms += 1
            market.trade("AUSDT", price)

    for _ in range(900):
        market.second(say)

    assert "stream_silent" not in market.kinds()


def test_rare_trades_with_a_quote_behind_each_ask_for_nothing() -> None:
    """A quote that follows a rare trade after the look is no silent one, whatever was before."""
    market = Market(["AUSDT"])
    market.floor.feed.symbols["AUSDT"].depth.keeper.reset()  # A source without a book.

    def say(second: int) -> None:
        if second % 120 == 21 and second > 120:
            market.quote("AUSDT", bid_of(second))
        if second % 120 == 20:
            market.trade("AUSDT")

    for _ in range(900):
        market.second(say)

    assert "stream_silent" not in market.kinds()


@pytest.mark.row("F108")
@pytest.mark.parametrize(
    ("trades", "moves", "is_silent"),
    [(600, 600, True), (600, 0, True), (0, 600, True), (1, 1, False), (0, 0, False)],
)
def test_quotes_that_never_come_are_asked_for_while_the_market_moves(
    trades: int, moves: int, *, is_silent: bool
) -> None:
    """Best quotes that no connection brought are missed once trades or the book's top go on."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        if second <= trades:
            market.trade("AUSDT")
        market.diff("AUSDT", bid_of(min(second, moves)))

    for _ in range(600):
        market.second(say)

    assert ("stream_silent" in market.kinds()) is is_silent


@pytest.mark.row("C-82", "F108")
@pytest.mark.parametrize("has_updates", [True, False])
def test_touch_that_waits_for_the_snapshot_of_its_book_is_no_silent_stream(
    *, has_updates: bool
) -> None:
    """Updates of a book show a stream that lives, where its snapshot alone keeps the touch away."""
    market = Market(["AUSDT"])
    feed = market.floor.feed.symbols["AUSDT"]
    feed._has_quotes = False
    feed.depth.keeper.reset()

    def say(second: int) -> None:
        market.trade("AUSDT")
        if has_updates:
            market.diff("AUSDT", bid_of(second))

    for _ in range(100):
        market.second(say)

    assert ("stream_silent" in market.kinds()) is not has_updates


@pytest.mark.row("F108")
def test_quotes_that_do_not_come_back_are_asked_for_again() -> None:
    """A subscription that brings no quotes back is renewed again, after the wait."""
    market = Market(["AUSDT"], outage_stop_ms=10**9)
    moments = []

    def say(second: int) -> None:
        market.answer()
        market.trade("AUSDT")
        market.diff("AUSDT", bid_of(second))
        if second <= 5:
            market.quote("AUSDT", bid_of(second))

    for second in range(1, 600):
        market.second(say)
        if "stream_silent" in market.kinds():
            moments.append(second)

    assert 3 <= len(moments) <= 5
    gaps = [after - before for before, after in pairwise(moments)]
    assert RENEW_MS // 1_000 <= gaps[0] <= RENEW_MS // 1_000 + 5
    assert gaps == sorted(gaps)


@pytest.mark.row("F81", "F108")
@pytest.mark.parametrize("sign", ["trade", "book"])
@pytest.mark.parametrize("frozen", [False, True])
def test_symbol_that_moves_without_quotes_for_too_long_ends_the_run(
    sign: str, *, frozen: bool
) -> None:
    """Trades, or moves of the book, without a quote end the run as soon as an outage has to."""
    market = Market(["AUSDT", "BUSDT"], outage_stop_ms=120_000)

    def say(second: int) -> None:
        market.answer()
        if sign == "trade":
            market.trade("AUSDT")
        else:
            market.rebook()
            market.diff("AUSDT", bid_of(second))
        if frozen and second <= 5:
            market.quote("AUSDT", bid_of(second))
        market.quote("BUSDT", bid_of(second))
        market.diff("BUSDT", bid_of(second))

    def go_on(seconds: int) -> None:
        for _ in range(seconds):
            market.second(say)

    go_on(120)
    assert "stream_silent" in market.kinds()
    with pytest.raises(FeedLost) as stop:
        go_on(60)

    assert stop.value.reason_code == FEED_STALE
    assert "AUSDT" in stop.value.detail


@pytest.mark.row("F108")
@pytest.mark.parametrize(("quotes", "trades"), [(0, 7), (900, 7), (0, 0)])
def test_symbol_that_trades_by_klines_alone_and_gets_no_quote_ends_the_run(
    quotes: int, trades: int
) -> None:
    """A symbol of which no stream brings anything is missed by its klines, as an outage is."""
    market = Market(["AUSDT", "BUSDT"], outage_stop_ms=120_000)
    answered: list[str] = []

    def say(second: int) -> None:
        market.answer()
        market.rebook()
        for name in ["BUSDT", *["AUSDT"] * (second <= quotes)]:
            market.quote(name, bid_of(second))
            market.diff(name, bid_of(second))
        for symbol, done in market.questions.trades[len(answered) :]:
            answered.append(symbol)
            opened = market.floor.now_ms - 30_000
            count = trades if symbol == "AUSDT" else 0
            candle = Candle(opened, opened + 59_999, "1", "1", "1", "1", "1", "1", count, "1")
            done(Answer(Job("", 2, lambda rest: None, done), value=[candle]))

    def go_on() -> None:
        for _ in range(900):
            market.second(say)

    is_missed = bool(trades) and not quotes
    with pytest.raises(FeedLost) if is_missed else nullcontext() as stop:
        go_on()
    assert market.liveness.lacks_quotes is is_missed
    if stop is not None:
        assert stop.value.reason_code == FEED_STALE
        assert "AUSDT" in stop.value.detail
        assert (market.floor.now_ms - T0) // 1_000 < 480


@pytest.mark.parametrize("case", ["no move", "a quote between", "halted", "left"])
def test_symbol_without_quotes_that_need_not_have_a_touch_ends_nothing(case: str) -> None:
    """No run ends by a symbol that stands still, gets a quote between, is halted, or left."""
    market = Market(["AUSDT", "BUSDT"], outage_stop_ms=120_000)
    floor = market.floor

    def say(second: int) -> None:
        market.answer()
        market.quote("BUSDT", bid_of(second))
        market.diff("BUSDT", bid_of(second))
        if case == "halted" and second in (100, 500):
            status = "BREAK" if second == 100 else "TRADING"
            floor.feed.on_instruments([instrument("AUSDT", status=status)], floor.now_ms)
        if case == "left" and second == 100:
            floor.all.unfollow(["AUSDT"])
            floor.feed.unfollow("AUSDT")
        if case == "left" and second == 500:
            floor.feed.follow("AUSDT", floor.now_ms)
            floor.all.follow(groups_of(["AUSDT"], BINANCE.streams), floor.now_ms)
        if case in ("halted", "left") and 100 <= second < 500:
            return
        market.rebook()
        market.diff("AUSDT", bid_of(min(second, 100) if case == "no move" else second))
        if case != "no move":
            market.trade("AUSDT")
        if case == "a quote between" and second % 100 == 0:
            market.quote("AUSDT", bid_of(second))

    for _ in range(550 if case in ("halted", "left") else 900):
        market.second(say)

    assert "stream_silent" in market.kinds()


@pytest.mark.parametrize(("until", "ends"), [(436, False), (439, True)])
def test_quote_that_stands_still_beside_its_book_ends_the_run_if_trades_bring_none(
    until: int, *, ends: bool
) -> None:
    """A frozen quote ends the run at a trade that no quote follows, even after the look."""
    market = Market(["AUSDT"], outage_stop_ms=120_000)
    answers = []

    def say(second: int) -> None:
        market.answer()
        market.rebook()
        if second <= 300 or second >= until:
            market.quote("AUSDT", bid_of(second))
        if second == 435:
            market.trade("AUSDT")
        # Re-subscriptions for the book come first, so that the one for the quote has to wait; then
        # the book stands as well, and the trade alone is a sign.
        if second <= 5 or 210 <= second < 330:
            market.diff("AUSDT", bid_of(second))

    def go_on() -> None:
        for second in range(1, 440):
            market.second(say)
            answers.extend([second] * market.kinds().count("stream_silent"))

    with pytest.raises(FeedLost) if ends else nullcontext():
        go_on()

    assert len(answers) == 3
    assert answers[-1] < 300


@pytest.mark.parametrize("ask", ["0", "150"])
def test_quotes_that_are_refused_are_not_silent(ask: str) -> None:
    """A quote without an ask, or with one far off, tells no touch, but its stream is alive."""
    market = Market(["AUSDT"])
    market.quote("AUSDT", "99.5")

    def say(second: int) -> None:
        market.trade("AUSDT")
        market.diff("AUSDT", bid_of(second))
        if second % 9 == 0:
            market.quote("AUSDT", "99.5", ask, kind="invalid")

    for _ in range(600):
        market.second(say)

    assert "stream_silent" not in market.kinds()
    assert market.floor.feed.symbols["AUSDT"].ticks.quote is None


def test_refused_quote_of_a_quiet_symbol_asks_for_nothing() -> None:
    """A refused quote has moved nothing that an update of the book should follow."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        if second == 5:
            market.quote("AUSDT", "99.5")
            market.diff("AUSDT", "99.5")
        if second == 60:
            market.quote("AUSDT", "99.5", "150", kind="invalid")

    for _ in range(600):
        market.second(say)

    assert "stream_silent" not in market.kinds()


@pytest.mark.row("F108", "F117")
@pytest.mark.parametrize(
    ("case", "stream"), [("anew", ""), ("one diff", "depth"), ("one quote", "bookTicker")]
)
def test_ids_that_fall_or_leap_freeze_touch_and_book_for_seconds_alone(
    case: str, stream: str
) -> None:
    """Ids that begin anew, or one that is far too high, cost seconds, a gap and an incident."""
    market = Market(["AUSDT"])
    feed, symbol = market.floor.feed, market.floor.feed.symbols["AUSDT"]
    book, bids, fault_at = symbol.depth.keeper, ["99"], 10
    stale = {"bookTicker": 0, "depth": 0}
    update_id = 99

    def diff(first: int, last: int, levels: str) -> None:
        market.frame(
            f'{{"e":"depthUpdate","E":1,"s":"AUSDT","U":{first},"u":{last},"b":[{levels}],"a":[]}}'
        )

    def quote(last: int) -> None:
        market.frame(f'{{"u":{last},"s":"AUSDT","b":"{bids[-1]}","B":"1","a":"101","A":"1"}}')

    def say(second: int) -> None:
        nonlocal update_id
        if second == fault_at and case == "anew":
            update_id = 0
        update_id += 1
        bids.append(bid_of(second))
        diff(update_id, update_id, f'["{bids[-2]}","0"],["{bids[-1]}","1"]')
        quote(update_id)
        market.trade("AUSDT")
        if second == fault_at and case == "one diff":
            diff(update_id + 1, 2**53 - 1, "")
        if second == fault_at and case == "one quote":
            quote(2**53 - 1)
        for name in feed.snapshots_wanted(market.floor.now_ms):
            levels = [[bids[-1], "1"]]
            feed.on_snapshot(
                name, Snapshot(update_id, levels, [["101", "1"]], True), market.floor.now_ms
            )
        touch = None if book.book is None else book.book.touch()
        stale["depth"] += touch is not None and touch[0] != bids[-1]
        best = symbol.ticks.quote
        stale["bookTicker"] += best is not None and best.bid != bids[-1]

    for _ in range(40):
        market.second(say)

    gaps = {payload.stream for payload, _ in feed.take() if isinstance(payload, Gap)}
    assert gaps == ({stream} if stream else set(stale))
    kinds = market.kinds()
    assert ("book_lost" in kinds, "sequence_gap" in kinds) == ("depth" in gaps, stream != "depth")
    assert all(seconds <= 6 for seconds in stale.values())
    assert book.book is not None
    assert symbol.ticks.quote is not None
    assert book.book.touch() == (bids[-1], "1", "101", "1")
    assert symbol.ticks.quote.bid == bids[-1]
    assert market.sent() == []


def test_quiet_touch_is_no_frozen_quote() -> None:
    """A quiet touch is not a frozen quote, as updates repeat the same best prices."""
    market = Market(["AUSDT"])
    market.quote("AUSDT", "99.5")

    def say(second: int) -> None:
        market.diff("AUSDT", "99.5")

    for _ in range(60):
        market.second(say)

    assert market.kinds() == []


def answer_klines(market: Market, opened: int, trades: int) -> str:
    """Move quotes and book until klines are requested, and answer with one; return its symbol."""

    def say(second: int) -> None:
        market.quote("AUSDT", bid_of(second))
        market.diff("AUSDT", bid_of(second))

    for _ in range(TRADE_SILENCE_MS // 1_000 + 2):
        market.second(say)
    ((symbol, done),) = market.questions.trades
    candle = Candle(opened, opened + 59_999, "1", "1", "1", "1", "1", "1", trades, "1")
    done(Answer(Job("", 2, lambda rest: None, done), value=[candle]))
    market.second(say)
    return symbol


@pytest.mark.row("F108")
@pytest.mark.parametrize(("trades", "is_silent"), [(0, False), (7, True)])
def test_trades_that_do_not_come_are_told_by_klines(trades: int, *, is_silent: bool) -> None:
    """Missing trades are detected by the venue's own minute klines."""
    market = Market(["AUSDT"])
    market.trade("AUSDT")
    symbol = answer_klines(market, T0 + TRADE_SILENCE_MS // 2, trades)
    market.second()

    assert symbol == "AUSDT"
    assert (market.sent() == ["UNSUBSCRIBE"]) is is_silent
    assert (market.kinds() == ["stream_silent"]) is is_silent


@pytest.mark.row("F108")
@pytest.mark.parametrize("since", ["connection", "trade", ""])
def test_klines_tell_nothing_of_a_stream_that_came_since_they_were_asked_for(since: str) -> None:
    """A stream that trades again, or a new one, is not ended for what an old one missed."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        market.quote("AUSDT", bid_of(second))
        market.diff("AUSDT", bid_of(second))
        if is_lively:
            market.trade("AUSDT")

    is_lively = False
    for _ in range(TRADE_SILENCE_MS // 1_000 + 2):
        market.second(say)
    ((_, done),) = market.questions.trades
    if since == "connection":
        market.floor.all.shards[0].give_up(market.floor.now_ms, "lost")
        market.floor.tick(1_000)
        market.reopen()
    is_lively = bool(since)
    for _ in range(3):
        market.second(say)
    opened = market.floor.now_ms - 60_000
    candle = Candle(opened, opened + 59_999, "1", "1", "1", "1", "1", "1", 7, "1")
    done(Answer(Job("", 2, lambda rest: None, done), value=[candle]))
    for _ in range(15):
        market.second(say)

    assert ("stream_silent" in market.kinds()) is not is_lively


@pytest.mark.row("F108")
@pytest.mark.parametrize(
    ("has_traded", "skew_ms", "opened_ms", "is_silent"),
    [
        (True, 0, 0, False),  # The kline that begins with the last trade.
        (True, 0, 1, True),
        (False, 90_000, 60_000, False),  # By the venue's clock: before the connection.
        (False, 90_000, 120_000, True),
        (False, -90_000, -120_000, False),
        (False, -90_000, -60_000, True),
    ],
)
def test_only_klines_that_begin_after_all_that_was_heard_tell_of_trades(
    has_traded: bool, skew_ms: int, opened_ms: int, *, is_silent: bool
) -> None:
    """A kline tells of missing trades if it opens, by the venue's clock, after the last one."""
    market = Market(["AUSDT"])
    market.floor.feed.skew_ms = skew_ms
    began_ms = market.floor.now_ms
    if has_traded:
        market.trade("AUSDT")
    answer_klines(market, began_ms + opened_ms, trades=7)

    assert (market.kinds() == ["stream_silent"]) is is_silent


@pytest.mark.row("F108")
def test_klines_of_quiet_symbols_are_asked_for_by_turns() -> None:
    """A symbol that rightly does not trade keeps no other from being checked."""
    names = ["AUSDT", "BUSDT", "CUSDT"]
    market = Market(names)

    def say(second: int) -> None:
        for name in names:
            market.quote(name, bid_of(second))
            market.diff(name, bid_of(second))

    for _ in range(TRADE_SILENCE_MS // 1_000 + 60):
        market.second(say)
        for _, done in market.questions.trades[-1:]:
            done(Answer(Job("", 2, lambda rest: None, done), value=[]))

    asked = [symbol for symbol, _ in market.questions.trades]
    assert asked[:6] == names + names


def test_symbol_that_stays_silent_is_asked_for_ever_more_seldom() -> None:
    """A symbol that stays silent is renewed ever more seldom."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        market.answer()
        market.quote("AUSDT", bid_of(second))
        if second <= 3:
            market.diff("AUSDT", bid_of(second))

    moments = []
    for second in range(1, 600):
        market.second(say)
        if "stream_silent" in market.kinds():
            moments.append(second)

    assert 3 <= len(moments) <= 5
    gaps = [after - before for before, after in pairwise(moments)]
    assert gaps[0] >= RENEW_MS // 1_000
    assert gaps == sorted(gaps)


def test_symbol_that_is_quiet_for_long_is_not_silent() -> None:
    """A symbol quiet on all streams for two minutes is not silent."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        if second % 120 == 5:
            market.quote("AUSDT", bid_of(second // 120))
            market.diff("AUSDT", bid_of(second // 120))
            market.trade("AUSDT")

    for _ in range(900):
        market.second(say)
        market.floor.all.shards[0].line.on_data(market.floor.now_ms)

    assert market.kinds() == []


def test_slow_start_is_no_silence_of_a_line() -> None:
    """A line that brought nothing while its run was still starting is quiet from the start on."""
    market = Market(["AUSDT"])
    line = market.floor.all.shards[0].line
    market.floor.tick(60_000)
    was_quiet = market.liveness.is_quiet(line)

    market.liveness.begin()

    assert was_quiet
    assert not market.liveness.is_quiet(line)
    market.floor.tick(60_000)
    assert market.liveness.is_quiet(line)


# --- bars ---------------------------------------------------------------------------------------

MINUTE_ENDS_MS = 40_000  # After T0.


def bars(market: Market, name: str) -> list[tuple[Bar, int]]:
    """Return the bars of a symbol that are ready, each with its time after T0."""
    out = market.floor.feed.take()
    found = [(payload, ts - T0) for payload, ts in out if isinstance(payload, Bar)]
    return [(bar, ts) for bar, ts in found if bar.symbol == name]


@pytest.mark.parametrize("first", ["trade", "quote"])
def test_bar_waits_for_trades_of_a_line_that_lags_at_its_end(first: str) -> None:
    """A lag over a minute's end leaves no trade out of the bar: the clock alone closes none."""
    market = Market(["AUSDT"])
    feed = market.floor.feed

    def trade_of(second: int) -> None:
        market.late_ms = market.floor.now_ms - (T0 + second * 1_000)
        market.trade("AUSDT")

    def say(second: int) -> None:
        market.quote("AUSDT", bid_of(second))
        market.diff("AUSDT", bid_of(second))
        trade_of(second)

    for _ in range(37):
        market.second(say)
    for _ in range(5):
        market.second()
        feed.advance(market.floor.now_ms)
        assert feed.next_due_ms > market.floor.now_ms
    assert bars(market, "AUSDT") == []
    market.floor.tick(500)
    if first == "quote":
        market.quote("AUSDT", "99.5")
        feed.advance(market.floor.now_ms)
    for second in range(38, 43):
        trade_of(second)
    ((bar, _),) = bars(market, "AUSDT")

    assert bar.trades == 39


def test_bar_waits_for_trades_under_way_when_a_lag_begins_behind_its_end() -> None:
    """A line heard just after a minute's end has not brought the minute's last trades yet."""
    market = Market(["AUSDT"])
    feed = market.floor.feed
    market.late_ms = 200  # The line's usual delay.
    market.floor.tick(39_000)
    market.trade("AUSDT")
    market.floor.tick(1_050)
    market.quote("AUSDT", "99.5")
    for _ in range(5):
        market.floor.tick(500)
        feed.advance(market.floor.now_ms)
    assert bars(market, "AUSDT") == []
    for sent_ms in (MINUTE_ENDS_MS - 100, MINUTE_ENDS_MS + 100):
        market.late_ms = market.floor.now_ms - (T0 + sent_ms)
        market.trade("AUSDT")
    ((bar, _),) = bars(market, "AUSDT")

    assert bar.trades == 2


def test_bar_of_a_symbol_without_trades_closes_in_time_on_a_line_that_lives() -> None:
    """A quiet symbol's bar waits for its grace alone while its line brings anything."""
    market = Market(["AUSDT", "BUSDT"])
    market.trade("BUSDT")

    def say(second: int) -> None:
        for _ in range(4):
            market.quote("AUSDT", bid_of(second))
            market.floor.tick(250)
            market.floor.feed.advance(market.floor.now_ms)

    for second in range(41):
        say(second)
    ((bar, ts),) = bars(market, "BUSDT")

    assert (bar.trades, ts) == (1, MINUTE_ENDS_MS + 500)


def test_bar_that_waits_for_a_silent_line_closes_once_it_is_heard_again() -> None:
    """A line that comes back is waited for as long as a late trade, and a quiet one not at all."""
    market = Market(["AUSDT", "BUSDT"])
    market.trade("BUSDT")
    feed, line = market.floor.feed, market.floor.all.shards[0].line
    market.floor.tick(MINUTE_ENDS_MS + 3_000)
    feed.advance(market.floor.now_ms)
    market.quote("AUSDT", "99.5")
    feed.advance(market.floor.now_ms)
    assert bars(market, "BUSDT") == []
    market.floor.tick(1_000)
    feed.advance(market.floor.now_ms)
    ((bar, _),) = bars(market, "BUSDT")
    assert bar.open_ts == T0 - 20_000
    market.floor.tick(61_000)
    line.on_quiet(market.floor.now_ms)
    feed.advance(market.floor.now_ms)
    ((bar, _),) = bars(market, "BUSDT")

    assert bar.trades == 0


# --- a connection -------------------------------------------------------------------------------


@pytest.mark.row("F108")
def test_stream_class_that_is_silent_on_half_a_connection_gives_it_up() -> None:
    """A stream class silent on half a connection gives the connection up."""
    names = [f"{letter}USDT" for letter in "ABCDEF"]
    market = Market(names)

    def say(second: int) -> None:
        for number, name in enumerate(names):
            market.quote(name, bid_of(second))
            if second <= 3 or number >= SYMBOLS_OF_A_LINE:
                market.diff(name, bid_of(second))

    for _ in range(20):
        market.second(say)

    assert market.floor.readers[1].is_aborted
    assert market.kinds().count("connection_lost") == 1


@pytest.mark.row("F108", "S-46")
def test_stream_class_that_no_connection_brings_gives_up_ever_fewer() -> None:
    """Streams that stay silent cost ever fewer connections, as the other streams are sound."""
    names = [f"{letter}USDT" for letter in "ABCD"]
    market = Market(names, outage_stop_ms=10**9)
    lost = []

    def say(second: int) -> None:
        market.reopen()
        for name in names:
            market.quote(name, bid_of(second))
            market.trade(name)
            if second <= 5:
                market.diff(name, bid_of(second))

    for second in range(1, 1_200):
        market.second(say)
        lost += [second] * market.kinds().count("connection_lost")

    assert 3 <= len(lost) <= 6
    waits = [after - before for before, after in pairwise(lost)]
    assert waits[0] >= RENEW_MS // 1_000
    assert waits == sorted(waits)


@pytest.mark.row("F108")
def test_silent_line_is_given_up_unless_the_venue_has_nothing_new() -> None:
    """A silent connection is kept only if the venue has nothing new either, by five books."""
    names = [f"{letter}USDT" for letter in "ABCDEFG"]
    market = Market(names)
    for name in names:
        market.quote(name, "99.5")
    while not market.questions.quiet:
        market.second()
    (asked, done) = market.questions.quiet.pop()
    assert len(asked) == 5
    done(True)
    assert market.floor.link.data_age_ms(market.floor.now_ms) == 0
    while not market.questions.quiet:
        market.second()
    market.questions.quiet.pop()[1](False)

    assert market.floor.readers[1].is_aborted
    assert market.questions.rules == 2


@pytest.mark.row("F108")
def test_books_asked_for_on_a_silent_line_are_those_heard_last() -> None:
    """Symbols that brought data last would show first that the line is dead."""
    names = [f"{letter}USDT" for letter in "ABCDEFG"]
    market = Market(names)
    for name in names:
        market.quote(name, "99.5")
    market.second()
    for name in names[1:6]:
        market.quote(name, "99.6")
    while not market.questions.quiet:
        market.second()

    ((asked, _),) = market.questions.quiet
    assert sorted(asked) == names[1:6]


@pytest.mark.row("F108", "F116")
def test_data_that_are_late_from_the_first_trade_on_are_as_old_as_they_are_late() -> None:
    """The exchange's clock is known, so that no late start passes for a line's usual delay."""
    market = Market(["AUSDT"])
    market.late_ms = 7_000

    def say(second: int) -> None:
        market.quote("AUSDT", bid_of(second))
        market.trade("AUSDT")

    for _ in range(2):
        market.second(say)

    assert market.kinds() == ["data_late"]
    assert market.floor.all.shards[0].line.late_ms == 7_000


@pytest.mark.row("F108", "F116")
def test_data_that_come_later_and_later_are_as_old_as_they_are_late() -> None:
    """Data that arrive ever later are stale, although every second brings some."""
    market = Market(["AUSDT"])
    line = market.floor.all.shards[0].line

    def say(second: int) -> None:
        market.late_ms = max(0, second - 5) * 1_000
        market.quote("AUSDT", bid_of(second))
        market.diff("AUSDT", bid_of(second))
        market.trade("AUSDT")

    for _ in range(10):
        market.second(say)
    assert line.late_ms == 0
    market.second(say)
    assert line.late_ms == 6_000
    assert line.data_age_ms(market.floor.now_ms) == 6_000
    for _ in range(4):
        market.second(say)

    assert market.kinds() == ["data_late", "connection_lost"]
    assert market.floor.readers[1].is_aborted


@pytest.mark.row("F108")
def test_data_that_come_late_make_no_ticks_until_they_are_on_time() -> None:
    """Late data make no ticks: a gap takes the touch away, and the first quote on time ends it."""
    market = Market(["AUSDT"])
    market.late_ms = 0

    def say(second: int) -> None:
        market.quote("AUSDT", bid_of(second))
        market.diff("AUSDT", bid_of(second))
        market.trade("AUSDT")

    def go_on(seconds: int) -> list[Any]:
        market.floor.feed.take()
        for _ in range(seconds):
            market.second(say)
        return [payload for payload, _ in market.floor.feed.take()]

    assert any(isinstance(payload, MarketTick) for payload in go_on(5))
    market.late_ms = 7_000
    (lost,) = [payload for payload in go_on(7) if isinstance(payload, Gap)]
    assert lost.stream == QUOTE
    assert not [payload for payload in go_on(30) if isinstance(payload, Gap | MarketTick)]
    market.late_ms = 0
    go_on(1)
    gap, trades, tick, *_ = [p for p in go_on(1) if isinstance(p, Gap | MarketTick)]

    assert isinstance(gap, Gap)
    assert (gap.stream, gap.to_ts - gap.from_ts) == (QUOTE, 33_000)
    assert isinstance(trades, Gap)
    assert (trades.stream, trades.to_ts - trades.from_ts) == (TRADE, 33_000)
    assert isinstance(tick, MarketTick)
    assert (tick.bid, tick.kind) == (bid_of(44), "quote")


@pytest.mark.row("F108")
@pytest.mark.parametrize("is_late", [False, True])
def test_connection_after_a_late_one_makes_ticks_once_it_is_on_time(*, is_late: bool) -> None:
    """A new connection of a late line is believed by a trade on time, or once none has come."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        market.reopen()
        market.late_ms = 0 if second < 5 else 40_000
        market.quote("AUSDT", bid_of(second))
        if is_late or second <= 10:
            market.trade("AUSDT")

    def ticks(seconds: int) -> int:
        market.floor.feed.take()
        for _ in range(seconds):
            market.second(say)
        return sum(isinstance(payload, MarketTick) for payload, _ in market.floor.feed.take())

    ticks(10)
    assert "data_late" in market.kinds()
    market.floor.all.shards[0].give_up(market.floor.now_ms, "lost")
    market.floor.tick(1_000)
    market.reopen()
    assert ticks(4) == 0
    assert bool(ticks(10)) is not is_late


@pytest.mark.row("F108")
@pytest.mark.parametrize("on_time", [False, True])
def test_data_that_stay_late_for_too_long_end_the_run(*, on_time: bool) -> None:
    """Late data end the run as soon as an outage has to; data on time in between begin anew."""
    market = Market(["AUSDT"], outage_stop_ms=120_000)

    def say(second: int) -> None:
        market.late_ms = 0 if second < 5 or (on_time and second == 100) else 7_000
        market.quote("AUSDT", bid_of(second))
        market.diff("AUSDT", bid_of(second))
        market.trade("AUSDT")

    def go_on(seconds: int) -> None:
        for _ in range(seconds):
            market.second(say)

    go_on(129)
    with nullcontext() if on_time else pytest.raises(FeedLost) as stop:
        go_on(1)

    assert on_time or (stop is not None and stop.value.reason_code == FEED_STALE)


@pytest.mark.row("F108", "S-46")
def test_venue_that_is_late_on_every_connection_is_not_stormed() -> None:
    """A venue late on every connection is retried ever more seldom and never READY."""
    market = Market(["AUSDT"], outage_stop_ms=10**9)
    lost = []

    def say(second: int) -> None:
        market.late_ms = 0 if second < 5 else 40_000
        market.reopen()
        market.quote("AUSDT", bid_of(second))
        market.trade("AUSDT")

    for second in range(1, 1_200):
        market.second(say)
        lost += [second] * market.kinds().count("connection_lost")

    assert 3 <= len(lost) <= 6
    waits = [after - before for before, after in pairwise(lost)]
    assert waits == sorted(waits)


@pytest.mark.row("F116")
@pytest.mark.parametrize("skew_ms", [-6_000, -1_270, 0, 1_270, 6_000])
def test_clock_of_the_exchange_makes_nothing_late(skew_ms: int) -> None:
    """A constant skew of the exchange's clock makes no data late."""
    market = Market(["AUSDT"])
    market.floor.feed.skew_ms = skew_ms
    market.late_ms = -skew_ms

    def say(second: int) -> None:
        market.quote("AUSDT", bid_of(second))
        market.diff("AUSDT", bid_of(second))
        market.trade("AUSDT")

    for _ in range(30):
        market.second(say)

    assert market.kinds() == []
    assert market.floor.all.shards[0].line.late_ms == 0


@pytest.mark.row("F116")
@pytest.mark.parametrize(
    ("says", "late_ms", "skew_ms"),
    [(range(5, 6), -30_000, 0), (range(5, 6), -59_000, 0), (range(20, 60), 12_000, -12_000)],
)
def test_one_trade_ahead_or_a_clock_set_back_makes_nothing_late(
    says: range, late_ms: int, skew_ms: int
) -> None:
    """A trade of the future, or an exchange's clock set back, makes no later data late."""
    market = Market(["AUSDT"])

    def say(second: int) -> None:
        market.late_ms = late_ms if second in says else 0
        market.floor.feed.skew_ms = skew_ms if second in says else 0
        market.quote("AUSDT", bid_of(second))
        market.diff("AUSDT", bid_of(second))
        market.trade("AUSDT")

    for _ in range(59):
        market.second(say)

    assert market.kinds() == []
    assert market.floor.all.shards[0].line.late_ms == 0
