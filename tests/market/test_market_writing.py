"""Written events of the market role: equal in batches, one by one, and to older builds."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from minibot.events.codec import Codec
from minibot.events.ids import position_id, position_ids
from minibot.events.model import Beat, Event, MarketTick, Payload
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.binance.messages import parse_candles, parse_snapshot
from minibot.exchanges.binance.venue import BINANCE
from minibot.kernel.errors import ContractError
from minibot.kernel.journal import JournalWriter
from minibot.kernel.position import Position
from minibot.market.feed import Feed
from minibot.market.symbol import FeedConfig
from minibot.runtime.context import Output

PROJECT = Path(__file__).resolve().parents[2]
TAPE = PROJECT / "minibot" / "exchanges" / "tapes" / "shipped" / "btcusdt_20240808.gz"
RUN_ID, ROLE, QUEUE, HASH = "20260101_000000", "market_role", "market_ticks", "a" * 64
# Hash of the lines below, taken before the hot path was rewritten (commit e25bea6).
TAPE_LINES = 38_843
TAPE_SHA256 = "3172966a7bda5498377ea56abde695f79289ce5360ae446b045044f529dd4ca5"

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
prices = st.sampled_from(["1.5", "61837.63000000", "0.00000001", "9" * 18])
bad = st.sampled_from(["", "-1", "1e5", "00.1", "x", 1.5, None, "0." + "9" * 19])
ticks = st.builds(
    MarketTick,
    symbol=st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    price=prices,
    kind=st.sampled_from(["trade", "quote"]),
    bid=prices,
    bid_qty=prices,
    ask=prices,
    ask_qty=prices,
    recv_mono_ns=st.integers(0, 2**63 - 1),
    exchange_ts=st.none() | st.integers(0, 9_999_999_999_999),
    qty=st.none() | prices,
    taker_side=st.none() | st.sampled_from(["BUY", "SELL"]),
    trade_id=st.none() | st.integers(0, 2**53 - 1),
)
beats = st.builds(Beat, n=st.integers(1, 9), data_age_ms=st.just({"BTCUSDT": 5}))
times = st.integers(10**12, 10**13 - 1)


class Kept:
    """Journal that keeps its lines."""

    def __init__(self) -> None:
        self.jsons: list[bytes] = []

    @property
    def position(self) -> Position:
        return Position(len(self.jsons), 0, 0, bytes(32))

    def append_json(self, jsons: list[bytes]) -> int:
        self.jsons += jsons
        return len(self.jsons) - len(jsons) + 1


@pytest.fixture(scope="module")
def codec() -> Codec:
    contracts = Contracts.of_project()
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    return Codec(contracts, roles, RUN_ID, {ROLE: {HASH}})


def new_output(codec: Codec) -> tuple[Output, Kept]:
    kept = Kept()
    return Output(QUEUE, ROLE, RUN_ID, HASH, codec, cast(JournalWriter, kept)), kept


def event_of(seq: int, payload: Payload, ts: int) -> Event:
    return Event(ts, position_id(RUN_ID, ROLE, QUEUE, seq), ROLE, RUN_ID, HASH, payload)


@pytest.mark.slow
@untimed
@given(payloads=st.lists(st.tuples(ticks | ticks | beats, times), min_size=1, max_size=30))
def test_events_written_together_are_those_written_one_by_one(
    codec: Codec, payloads: list[tuple[Payload, int]]
) -> None:
    """Events written in a batch equal the codec's single events."""
    output, kept = new_output(codec)
    output.append_roots(payloads[:7])
    if payloads[7:]:
        output.append_roots(payloads[7:])

    alone = [codec.encode(QUEUE, event_of(n, *each)) for n, each in enumerate(payloads, 1)]
    assert kept.jsons == alone


@pytest.mark.slow
@untimed
@given(
    payloads=st.lists(st.tuples(ticks, times), min_size=2, max_size=5),
    at=st.integers(0, 4),
    field=st.sampled_from(["symbol", "price", "kind", "bid", "bid_qty", "qty", "taker_side"]),
    value=bad,
)
def test_tick_against_its_contract_is_refused_among_others(
    codec: Codec, payloads: list[tuple[Payload, int]], at: int, field: str, value: Any
) -> None:
    """A tick against its contract refuses the whole batch, as it would alone."""
    payload, ts = payloads[at % len(payloads)]
    fields = {name: getattr(payload, name) for name in MarketTick.__struct_fields__}
    changed = MarketTick(**{**fields, field: value})
    payloads[at % len(payloads)] = (changed, ts)
    output, kept = new_output(codec)
    try:
        codec.encode(QUEUE, event_of(1, changed, ts))
    except ContractError:
        with pytest.raises(ContractError):
            output.append_roots(payloads)
        assert kept.jsons == []
    else:
        output.append_roots(payloads)
        assert len(kept.jsons) == len(payloads)


T = 1_700_000_000_000
DECIMALS = (
    *("1.00000000", "100.00000000", "101.00000000", "0.00000000", "-0.00000000", "-0", "00.1"),
    *("0100.00000000", "1.", ".5", "1e5", "", "0.0000000001", "9" * 20, "9" * 21, "9" * 30),
    *("9" * 19 + ".99999999", "1." + "0" * 18, "1." + "0" * 19, "1." + "5" * 18),
)
WHOLES = (0, 9, 10, 11, 12, 2**53 - 1, 2**53, 2**63, T, T * 1000, 10**13 - 1, 10**13, 10**14)
decimals, wholes = st.sampled_from(DECIMALS), st.sampled_from(WHOLES)
levels = st.lists(st.tuples(decimals, decimals), max_size=2)
frames = st.one_of(
    st.fixed_dictionaries(
        {"u": wholes, "s": st.just("BTCUSDT")}
        | dict.fromkeys("bB", st.just("100.00000000") | decimals)
        | dict.fromkeys("aA", st.just("101.00000000") | decimals),
        optional={"T": wholes},
    ),
    st.fixed_dictionaries(
        {"e": st.just("trade"), "s": st.just("BTCUSDT"), "t": wholes, "T": st.just(T) | wholes}
        | dict.fromkeys("pq", st.just("100.00000000") | decimals)
        | {"m": st.booleans()}
    ),
    st.fixed_dictionaries(
        {"e": st.just("depthUpdate"), "s": st.just("BTCUSDT"), "U": st.just(11), "u": wholes}
        | dict.fromkeys("ba", levels)
    ),
)


@pytest.mark.slow
@untimed
@given(found=st.lists(frames, min_size=1, max_size=12))
def test_frame_makes_an_event_by_its_contract_or_none(
    codec: Codec, found: list[dict[str, Any]]
) -> None:
    """A frame that no event may carry is refused as a frame, instead of ending the role."""
    feed = Feed(FeedConfig(("BTCUSDT",), ("1s",), T), T, BINANCE.dialect)
    feed.on_connected(T)
    assert feed.snapshots_wanted(T) == ["BTCUSDT"]
    body = {"lastUpdateId": 10, "bids": [["100.0", "1.0"]], "asks": [["101.0", "1.0"]]}
    feed.on_snapshot("BTCUSDT", parse_snapshot(body, 1000), T)
    for number, frame in enumerate(found):
        feed.on_frame(orjson.dumps(frame), T + 1 + number, number)
    feed.advance(T + 5_000)
    output, kept = new_output(codec)
    payloads = feed.take()
    output.append_roots(payloads)

    assert len(kept.jsons) == len(payloads)


@pytest.mark.parametrize("field", [1, 5, 7, 8, 9])
@pytest.mark.parametrize("value", ["00.1", "-0", "9" * 21, -1, 2**53, None])
def test_kline_that_no_event_may_carry_is_refused(field: int, value: object) -> None:
    """A kline that no event may carry is refused."""
    row = [T, "100.0", "100.0", "100.0", "100.0", "1.0", T + 59_999, "100.0", 3, "1.0", "1.0"]
    assert parse_candles([row])
    row[field] = value

    with pytest.raises(FrameInvalid):
        parse_candles([row])


@given(st.integers(1, 10**12), st.integers(0, 40))
def test_ids_of_many_positions_are_those_of_each(first: int, count: int) -> None:
    """Ids made in a batch equal single ones, with version and variant."""
    expected = [position_id(RUN_ID, ROLE, QUEUE, seq) for seq in range(first, first + count)]
    found = position_ids(RUN_ID, ROLE, QUEUE, first, count)

    assert [each.decode() for each in found] == expected


@pytest.mark.slow
def test_recorded_tape_is_written_as_before(codec: Codec) -> None:
    """The recorded tape gives the same bytes as before."""
    output, kept = new_output(codec)
    with gzip.open(TAPE) as file:
        lines = [line.rstrip(b"\n").partition(b" ") for line in file]
    origin_ms = int(lines[0][0]) // 1_000_000
    feed = Feed(FeedConfig(("BTCUSDT",), ("1s", "1m"), origin_ms), origin_ms, BINANCE.dialect)
    feed.skew_ms = 1_270
    feed.on_connected(origin_ms)
    for number, (at_ns, _, body) in enumerate(lines):
        ts = int(at_ns) // 1_000_000
        if body.startswith(b'{"stream"'):
            feed.on_frame(body, ts, int(at_ns))
        else:
            assert feed.snapshots_wanted(ts) == ["BTCUSDT"]
            feed.on_snapshot("BTCUSDT", parse_snapshot(orjson.loads(body), 1000), ts)
        if number % 97 == 0:
            feed.advance(ts)
            output.append_roots(feed.take() or [(Beat(n=1, data_age_ms={}), ts)])
    output.append_roots(feed.take())

    assert len(kept.jsons) == TAPE_LINES
    assert sha256(b"\n".join(kept.jsons)).hexdigest() == TAPE_SHA256
