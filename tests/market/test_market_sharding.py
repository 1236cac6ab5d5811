"""Sharding: streams spread over connections, and the control messages of each."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.venue_facts import SUBSCRIBE, UNSUBSCRIBE, Reply
from minibot.market.connections import groups_of
from minibot.market.sharding import STREAMS_PER_CONNECTION_MAX, count_of, roomiest, spread
from minibot.market.subscriptions import (
    ANSWER_MS_MAX,
    Subscriptions,
)

untimed = settings(deadline=None)
STREAMS = BINANCE.streams


def lone_streams(count: int) -> dict[str, tuple[str, ...]]:
    """Return groups of one stream each."""
    return {f"c{number:04d}": (f"c{number:04d}usdt@trade",) for number in range(count)}


# --- shards -------------------------------------------------------------------------------------


@pytest.mark.row("S-18", "S-19")
def test_streams_1700_are_three_connections_of_at_most_800() -> None:
    """1,700 streams need three connections of at most 800."""
    shards = spread(lone_streams(1_700))

    assert len(shards) == 3
    assert all(count_of(shard) <= STREAMS_PER_CONNECTION_MAX for shard in shards)


@pytest.mark.row("S-18", "S-19")
def test_four_hundred_symbols_are_two_even_connections() -> None:
    """Four hundred symbols are 1,200 streams on two connections, three per symbol together."""
    shards = spread(groups_of((f"C{number:03d}USDT" for number in range(400)), STREAMS))

    assert [count_of(shard) for shard in shards] == [600, 600]
    assert all(len(streams) == 3 for shard in shards for streams in shard.values())


@pytest.mark.row("S-19")
@untimed
@given(st.lists(st.integers(1, 7), max_size=120), st.integers(7, 40))
@example([1, 1, 1, 1, 1, 7], 7)
def test_spread_holds_every_group_once_and_no_shard_too_full(
    sizes: list[int], streams_max: int
) -> None:
    """A spread holds every group once and no shard above its limit."""
    groups = {str(n): tuple(f"{n}@{k}" for k in range(size)) for n, size in enumerate(sizes)}

    shards = spread(groups, streams_max)

    assert sorted(name for shard in shards for name in shard) == sorted(groups)
    assert all(count_of(shard) <= streams_max for shard in shards)
    assert all(shard for shard in shards)
    assert len(shards) <= 2 * (-(-sum(sizes) // streams_max)) + 1


def test_group_larger_than_a_connection_is_refused() -> None:
    """A group larger than a connection is refused at the start."""
    with pytest.raises(ValueError, match="a group of 4"):
        spread({"a": ("1", "2", "3", "4")}, 3)


def test_newcomer_goes_where_there_is_most_room() -> None:
    """A new group joins the shard with most room, and none without room."""
    shards: list[dict[str, tuple[str, ...]]] = [{"a": ("1", "2")}, {"b": ("3",)}]

    assert roomiest(shards, 2, 3) == 1
    assert roomiest(shards, 3, 3) == -1
    assert roomiest([], 1, 3) == -1


# --- control messages ---------------------------------------------------------------------------


class Wire:
    """Connection that answers its subscriptions at once."""

    def __init__(self, carries: Subscriptions) -> None:
        self.carries = carries
        self.now_ms = 0
        self.held: set[str] = set()
        self.sent_ms: list[int] = []
        self.methods: list[str] = []

    def run(self, *, until_ms: int) -> None:
        """Let time pass in steps of 10 ms."""
        while self.now_ms < until_ms:
            text = self.carries.message(self.now_ms)
            if text is not None:
                self.take(json.loads(text))
            self.now_ms += 10

    def take(self, message: dict[str, object]) -> None:
        """Act as the venue."""
        params = message["params"]
        assert isinstance(params, list)
        assert len(params) <= STREAMS.limits.batch_streams_max
        self.sent_ms.append(self.now_ms)
        self.methods.append(str(message["method"]))
        if message["method"] == SUBSCRIBE:
            self.held.update(params)
        else:
            self.held.difference_update(params)
        identity = message["id"]
        assert isinstance(identity, int)
        self.carries.on_reply(Reply(identity, ""))


@pytest.mark.row("S-20")
def test_storm_of_subscriptions_stays_below_the_cap_of_control_messages() -> None:
    """A storm over 800 streams never exceeds 3 control messages in a second."""
    groups = lone_streams(800)
    carries = Subscriptions(groups, list(groups)[:100], STREAMS)
    wire = Wire(carries)
    wire.run(until_ms=5_000)
    assert carries.is_complete
    carries.drop(list(groups)[:400])
    wire.run(until_ms=10_000)
    carries.want(groups)
    wire.run(until_ms=20_000)

    assert carries.is_complete
    assert wire.held | {stream for name in list(groups)[:100] for stream in groups[name]} == {
        stream for streams in groups.values() for stream in streams
    }
    for start in wire.sent_ms:
        assert sum(start <= at < start + 1_000 for at in wire.sent_ms) <= 2
    assert len(wire.sent_ms) == 4 + 2 + 2


def test_renewed_group_is_ended_first_and_then_asked_for_again() -> None:
    """A renewed group is unsubscribed first, then subscribed again."""
    groups = groups_of(["BTCUSDT", "ETHUSDT"], STREAMS)
    carries = Subscriptions(groups, groups, STREAMS)
    wire = Wire(carries)
    assert carries.message(0) is None
    carries.renew(["BTCUSDT", "NOPE"])
    wire.run(until_ms=2_000)

    assert wire.methods == [UNSUBSCRIBE, SUBSCRIBE]
    assert carries.is_complete
    assert set(carries.held) == set(groups)


def test_group_dropped_before_the_answer_is_unsubscribed_next() -> None:
    """A subscription that the venue grants late sends data until it is ended."""
    carries = Subscriptions(lone_streams(1), [], STREAMS)
    assert carries.message(0) is not None
    carries.drop(lone_streams(1))

    assert carries.on_reply(Reply(1, ""))[0] == SUBSCRIBE
    assert not carries.is_complete
    text = carries.message(STREAMS.limits.message_interval_ms)
    assert text is not None
    assert json.loads(text)["method"] == UNSUBSCRIBE
    assert carries.on_reply(Reply(2, "")) == (UNSUBSCRIBE, tuple(lone_streams(1)))
    assert carries.is_complete


def test_next_message_waits_for_the_answer_and_the_answer_only_so_long() -> None:
    """The next message waits for the answer, up to a limit."""
    carries = Subscriptions(lone_streams(2), [], STREAMS)
    assert carries.message(0) is not None
    assert carries.message(STREAMS.limits.message_interval_ms * 5) is None
    assert not carries.is_overdue(ANSWER_MS_MAX - 1)
    assert carries.is_overdue(ANSWER_MS_MAX)


def test_refused_message_settles_nothing_and_is_counted() -> None:
    """A refused message leaves its groups unheld, and they are requested again."""
    carries = Subscriptions(lone_streams(2), [], STREAMS)
    assert carries.message(0) is not None

    assert carries.on_reply(Reply(1, "2: Invalid request")) == ("", ())
    assert carries.errors == 1
    assert not carries.is_complete
    assert carries.message(STREAMS.limits.message_interval_ms) is not None
    assert carries.on_reply(Reply(1, "")) == ("", ())  # An old answer.
    assert carries.on_reply(Reply(2, ""))[0] == SUBSCRIBE
    assert carries.is_complete


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (b'{"result":null,"id":3}', Reply(3, "")),
        (b'{"result":["a@trade"],"id":4}', Reply(4, "")),
        (b'{"code":2,"msg":"Invalid request","id":5}', Reply(5, "2: Invalid request")),
        (b'{"error":{"code":2,"msg":"invalid stream"},"id":6}', Reply(6, "2: invalid stream")),
        (b'{"id":null,"error":{"code":3,"msg":"Invalid json"}}', Reply(None, "3: Invalid json")),
        (b'{"stream":"a","id":1,"data":{}}', None),
        (b'{"e":"somethingNew","s":"BTCUSDT"}', None),
        (b"[1]", None),
        (b"{", None),
    ],
)
def test_answers_are_read_in_both_shapes(data: bytes, reply: Reply | None) -> None:
    """Errors are read in flat and nested form; nothing else is an answer."""
    assert STREAMS.reply_of(data) == reply
