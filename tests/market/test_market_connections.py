"""Shards that open, fall, get successors and change their streams, without a socket."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from minibot.exchanges.binance.streams import named_in_address
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.venue_facts import Reply
from minibot.market.address import Address, NoMemory
from minibot.market.connections import Connections, groups_of
from minibot.market.feed import DATA, Feed
from minibot.market.feed_health import FeedHealth
from minibot.market.reader import Reader
from minibot.market.sharding import Groups
from minibot.market.subscriptions import ANSWER_MS_MAX, Subscriptions
from minibot.market.succession import OVERLAP_MS, REFUSALS_MAX, Succession
from minibot.market.symbol import FeedConfig
from tests.market.market_desk import link_limits


class FakeReader:
    """Connection that does nothing by itself."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent: list[dict[str, object]] = []
        self.is_aborted = False

    def start(self) -> None:
        pass

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def abort(self) -> None:
        self.is_aborted = True

    def join(self, timeout_s: float) -> None:
        pass


class Readerless(Connections):
    """Connections with the test's own readers."""

    readers: dict[int, FakeReader]

    def _connect(self, groups: Groups, now_ms: int) -> tuple[Reader, Subscriptions]:
        self._address.on_attempt(now_ms)
        self._connections += 1
        reader = self.readers[self._connections] = FakeReader(self._connections)
        return reader, Subscriptions(groups, named_in_address(groups), BINANCE.streams)  # type: ignore[return-value]


class Floor:
    """Connections with their surroundings, and a clock that the test moves."""

    def __init__(
        self, symbols: Sequence[str], *, streams_max: int = 6, begin: bool = True, **limits: int
    ) -> None:
        self.symbols = tuple(symbols)
        self.now_ms = 0
        config = FeedConfig(symbols=self.symbols, intervals=("1m",), origin_ms=0)
        self.feed = Feed(config, 0, BINANCE.dialect)
        self.address = Address(NoMemory(), 0, BINANCE.streams.limits)
        self.link = FeedHealth(link_limits(**limits), 0, self.address.free_at_ms)
        self.all = Readerless(
            self.feed,
            self.link,
            self.address,
            BINANCE.streams,
            lambda streams: (_ for _ in ()).throw(AssertionError("no socket in this test")),
            lambda item, messages=1: None,
            lambda: self.now_ms,
            streams_max,
        )
        self.readers = self.all.readers = {}
        if begin:
            self.all.follow(groups_of(self.symbols, BINANCE.streams), 0)
            self.tick()
            for number in list(self.readers):
                self.open(number)

    def tick(self, ms: int = 0) -> None:
        self.now_ms += ms
        self.all.on_clock(self.now_ms)

    def shard(self, number: int) -> Succession:
        shard = self.all.of(number)
        assert shard is not None
        return shard

    def renew(self, name: str) -> None:
        (shard,) = (shard for shard in self.all.shards if name in shard.groups)
        shard.renew([name], "depth stream silent", self.now_ms)

    def open(self, number: int) -> None:
        self.shard(number).on_opened(number, self.now_ms)

    def lose(self, number: int) -> None:
        self.shard(number).on_lost(number, "gone", self.now_ms)

    def data(self, number: int) -> None:
        self.shard(number).on_frame(number, DATA, self.now_ms)

    def answer(self, number: int, error: str = "") -> None:
        identity = self.readers[number].sent[-1]["id"]
        assert isinstance(identity, int)
        self.shard(number).on_reply(number, Reply(identity, error), self.now_ms)

    def connected(self) -> set[str]:
        feeds = self.feed.symbols
        return {name for name, feed in feeds.items() if feed.connected_ms is not None}

    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.feed.board.take_all()]


FOUR = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")


def test_symbol_that_is_back_before_its_streams_were_ended_is_connected_at_once() -> None:
    """Streams that the venue still sends need no message, but their symbol has them again."""
    floor = Floor(("AUSDT", "BUSDT"))
    floor.tick(1_000)
    floor.renew("AUSDT")
    floor.tick(1_000)  # Its message waits for an answer, and every other for its turn.
    floor.all.unfollow(["BUSDT"])
    floor.feed.unfollow("BUSDT")
    floor.feed.follow("BUSDT", floor.now_ms)
    floor.all.follow_symbols(["BUSDT"], floor.now_ms)

    assert floor.connected() == {"BUSDT"}
    assert floor.feed.snapshots_wanted(floor.now_ms) == ["BUSDT"]


def test_symbol_that_is_back_while_its_streams_end_is_connected_by_the_next_answer() -> None:
    """Streams whose end is requested are no streams, until they are subscribed again."""
    floor = Floor(("AUSDT", "BUSDT"))
    floor.all.unfollow(["BUSDT"])
    floor.feed.unfollow("BUSDT")
    floor.tick(1_000)
    floor.feed.follow("BUSDT", floor.now_ms)
    floor.all.follow_symbols(["BUSDT"], floor.now_ms)
    assert floor.connected() == {"AUSDT"}
    floor.answer(1)
    floor.tick(1_000)
    floor.answer(1)

    assert [message["method"] for message in floor.readers[1].sent] == ["UNSUBSCRIBE", "SUBSCRIBE"]
    assert floor.connected() == {"AUSDT", "BUSDT"}


@pytest.mark.row("S-18", "F112")
def test_lost_shard_marks_its_own_symbols_alone() -> None:
    """A lost shard marks its own symbols alone."""
    floor = Floor(FOUR)
    assert len(floor.all.shards) == 2
    assert floor.connected() == set(FOUR)

    lost = set(floor.shard(1).groups)
    floor.lose(1)

    assert floor.connected() == set(FOUR) - lost
    assert not floor.all.is_open
    assert floor.shard(2).line.is_connected
    assert floor.link.reconnects == 1

    due = floor.shard(2).due_ms
    assert due is None
    floor.tick(1_000)
    floor.open(3)
    assert floor.connected() == set(FOUR)
    assert floor.all.is_open


@pytest.mark.row("S-21", "S-22")
def test_shards_draw_different_waits_and_share_one_budget() -> None:
    """Shards that fall together draw different waits and share one budget of attempts."""
    floor = Floor(FOUR, reconnects_max=300, outage_stop_ms=10**9, backoff_max_ms=100)
    attempts = [0, 0]
    waits: set[int] = set()
    for _ in range(500):
        for number in sorted(floor.readers)[-2:]:
            if floor.all.of(number) is not None:
                floor.lose(number)
        dues = [shard.due_ms for shard in floor.all.shards if shard.due_ms is not None]
        waits.add(dues[0] - dues[-1])
        before = len(floor.readers)
        while len(floor.readers) == before:
            floor.tick(10)
        attempts += [floor.now_ms] * (len(floor.readers) - before)

    assert len(waits) > 5
    limits = BINANCE.streams.limits
    assert len(attempts) > 2 * limits.attempts_max
    for start in attempts:
        assert (
            sum(start <= at < start + BINANCE.streams.limits.attempts_ms for at in attempts)
            <= BINANCE.streams.limits.attempts_max
        )


@pytest.mark.row("F112")
def test_renewals_take_turns_and_overlap() -> None:
    """One connection at a time is renewed; the old one counts until the new one is stable."""
    floor = Floor(FOUR, renew_after_ms=100_000)
    floor.tick(99_500)
    floor.tick(500)
    assert len(floor.readers) == 3  # The second one waits, although its day is over too.
    assert floor.kinds().count("renewal") == 1

    floor.tick(100)
    floor.open(3)
    floor.data(3)
    first = floor.shard(3)
    assert list(first.numbers) == [3, 2]
    floor.tick(OVERLAP_MS)
    assert list(first.numbers) == [3]
    floor.tick(10)
    floor.tick(10)
    assert len(floor.readers) == 4
    floor.open(4)
    floor.data(4)
    floor.tick(OVERLAP_MS)
    assert floor.connected() == set(FOUR)
    assert floor.link.reconnects == 2


@pytest.mark.row("F112")
def test_successor_takes_over_only_when_it_carries_every_stream() -> None:
    """A successor takes over only when every group of its streams has delivered."""
    symbols = [f"C{number:03d}USDT" for number in range(200)]
    floor = Floor(symbols, streams_max=800)
    named = floor.connected()
    assert 100 < len(named) < 200
    floor.tick()
    floor.answer(1)
    assert floor.connected() == set(symbols)

    floor.shard(1).on_shutdown(1, floor.now_ms)
    floor.tick()
    floor.open(2)
    floor.data(2)
    assert set(floor.shard(1).numbers) == {1, 2}
    assert floor.link.reconnects == 0
    floor.tick(1_000)
    floor.answer(2)
    floor.data(2)
    assert floor.link.reconnects == 1
    floor.tick(OVERLAP_MS)
    assert floor.shard(2).numbers == (2,)
    assert floor.connected() == set(symbols)


@pytest.mark.row("F112")
def test_shutdown_is_followed_on_the_connection_that_it_names() -> None:
    """An announced shutdown is followed on its own connection alone."""
    floor = Floor(FOUR)
    floor.shard(2).on_shutdown(2, floor.now_ms)
    floor.tick()

    assert len(floor.readers) == 3
    assert floor.shard(3) is floor.shard(2)
    assert floor.kinds() == ["server_shutdown"]


@pytest.mark.row("F112")
@pytest.mark.parametrize("is_before_its_first_frame", [False, True])
def test_shutdown_of_a_successor_brings_another_without_a_gap(
    *, is_before_its_first_frame: bool
) -> None:
    """A successor whose own end is announced at once is replaced as soon as it has taken over."""
    floor = Floor(FOUR)
    floor.shard(1).on_shutdown(1, floor.now_ms)
    floor.tick()
    floor.open(3)
    if is_before_its_first_frame:
        floor.shard(3).on_shutdown(3, floor.now_ms)
    floor.data(3)
    if not is_before_its_first_frame:
        floor.shard(3).on_shutdown(3, floor.now_ms)
    floor.tick(OVERLAP_MS)
    floor.tick()
    assert list(floor.readers) == [1, 2, 3, 4]
    floor.open(4)
    floor.data(4)
    floor.lose(3)

    assert floor.shard(4).numbers == (4,)
    assert floor.connected() == set(FOUR)
    floor.tick(60_000)
    assert len(floor.readers) == 4
    assert floor.kinds() == ["server_shutdown"] * 2


def test_newcomers_join_the_roomiest_shard_or_open_a_new_one() -> None:
    """New symbols join the shard with most room, by one message, or open a new one."""
    floor = Floor(FOUR[:3], streams_max=6)
    floor.feed.follow("DUSDT", 0)
    floor.feed.follow("EUSDT", 0)
    floor.all.follow(groups_of(["DUSDT", "EUSDT"], BINANCE.streams), 0)
    floor.tick(1_000)

    assert len(floor.all.shards) == 3
    sent = [message for reader in floor.readers.values() for message in reader.sent]
    assert [message["method"] for message in sent] == ["SUBSCRIBE"]
    assert "DUSDT" not in floor.connected()
    roomy = next(number for number, reader in floor.readers.items() if reader.sent)
    floor.answer(roomy)
    floor.open(3)
    assert floor.connected() == {*FOUR, "EUSDT"}


def test_shard_without_symbols_is_closed() -> None:
    """A shard without symbols is closed."""
    floor = Floor(FOUR)
    gone = list(floor.shard(1).groups)
    floor.all.unfollow(gone)

    assert floor.readers[1].is_aborted
    assert len(floor.all.shards) == len(floor.link.lines) == 1
    assert floor.all.is_open
    floor.link.judge(100_000)


def test_unfollowed_symbol_is_unsubscribed_and_the_others_stay() -> None:
    """An unfollowed symbol is unsubscribed; the rest of its shard is untouched."""
    floor = Floor(FOUR)
    leaving, staying = list(floor.shard(1).groups)
    floor.all.unfollow([leaving])
    floor.tick(1_000)

    (message,) = floor.readers[1].sent
    assert message["method"] == "UNSUBSCRIBE"
    assert message["params"] == list(groups_of([leaving], BINANCE.streams)[leaving])
    floor.answer(1)
    assert floor.shard(1).is_complete
    assert list(floor.shard(1).groups) == [staying]


def test_only_a_shard_without_a_connection_of_its_own_is_not_counted_as_open() -> None:
    """A successor that fails costs nothing; one that stands replaces a lost connection at once."""
    floor = Floor(FOUR)
    one, other = floor.all.shards
    counts = [floor.all.open_count]
    floor.shard(1).on_shutdown(1, floor.now_ms)
    floor.tick()
    successor = max(floor.readers)
    floor.lose(successor)
    counts.append(floor.all.open_count)
    floor.tick(60_000)
    floor.open(max(floor.readers))
    floor.lose(1)
    counts.append(floor.all.open_count)
    floor.lose(2)
    counts.append(floor.all.open_count)

    assert successor == 3
    assert counts == [2, 2, 2, 1]
    assert (one.is_open, other.is_open) == (True, False)


@pytest.mark.parametrize("has_successor", [True, False])
def test_loss_tells_of_an_attempt_only_where_one_follows(*, has_successor: bool) -> None:
    """A successor that is there already goes on; the notice names no wait that nothing has."""
    floor = Floor(("AUSDT",))
    if has_successor:
        floor.shard(1).on_shutdown(1, floor.now_ms)
        floor.tick()
    floor.kinds()
    floor.lose(1)
    (notice,) = floor.feed.board.take_all()
    before = len(floor.readers)
    if has_successor:
        floor.open(before)
    floor.tick(60_000)

    assert ("attempt 1 after" in notice.detail) is not has_successor
    assert ("its successor goes on" in notice.detail) is has_successor
    assert len(floor.readers) == before + (not has_successor)


def test_connection_that_does_not_answer_is_given_up() -> None:
    """A connection that does not answer control messages is given up."""
    floor = Floor(FOUR)
    floor.all.unfollow([next(iter(floor.shard(1).groups))])
    floor.tick(1_000)
    floor.tick(ANSWER_MS_MAX)

    assert floor.readers[1].is_aborted
    assert "connection_lost" in floor.kinds()


def test_connection_that_refuses_control_messages_is_given_up() -> None:
    """A connection that refuses control messages is given up after the third time."""
    floor = Floor(FOUR)
    floor.all.unfollow([next(iter(floor.shard(1).groups))])
    for _ in range(REFUSALS_MAX):
        assert not floor.readers[1].is_aborted
        floor.tick(1_000)
        floor.answer(1, "2: Invalid request")

    assert floor.readers[1].is_aborted
    assert floor.kinds().count("control_refused") == REFUSALS_MAX


def test_renewed_symbol_is_a_gap_until_the_venue_answers() -> None:
    """A renewed symbol loses its book at once, and gets it again after the venue's answer."""
    floor = Floor(FOUR)
    name = next(iter(floor.shard(1).groups))
    floor.renew(name)
    assert name not in floor.connected()
    for _ in range(2):
        floor.tick(1_000)
        floor.answer(1)

    assert [message["method"] for message in floor.readers[1].sent] == ["UNSUBSCRIBE", "SUBSCRIBE"]
    assert floor.connected() == set(FOUR)


@pytest.mark.row("F112")
def test_successor_that_takes_over_amid_a_renewal_connects_its_symbols() -> None:
    """A symbol whose renewal was unanswered on the old connection has the successor's streams."""
    floor = Floor(FOUR)
    name = next(iter(floor.shard(1).groups))
    floor.shard(1).on_shutdown(1, floor.now_ms)
    floor.tick()
    floor.open(3)
    floor.renew(name)
    assert name not in floor.connected()
    floor.tick(1_000)
    floor.data(3)
    floor.answer(1)
    floor.tick(OVERLAP_MS)

    assert floor.shard(3).numbers == (3,)
    assert floor.connected() == set(FOUR)


@pytest.mark.row("F103", "F108")
def test_one_dark_line_is_enough_to_end_the_run() -> None:
    """One dead connection of two ends the run, because its symbols may be held."""
    floor = Floor(FOUR)
    floor.data(1)
    floor.lose(2)
    floor.now_ms = 119_000
    floor.data(1)
    floor.link.judge(119_000)
    floor.data(1)

    with pytest.raises(Exception, match="one of 2 connections") as stop:
        floor.link.judge(120_000)
    assert stop.value.reason_code == "EXCHANGE_UNREACHABLE"  # type: ignore[attr-defined]


def test_names_of_an_address_fit_into_it() -> None:
    """Names of an address are whole groups, in order, below the venue's bound."""
    groups = groups_of((f"LONGNAME{number:03d}USDT" for number in range(300)), BINANCE.streams)
    named = named_in_address(groups)

    assert list(named) == list(groups)[: len(named)]
    assert 6_000 < sum(len(stream) + 1 for name in named for stream in groups[name]) < 7_900
