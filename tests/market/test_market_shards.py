"""Sessions over several connections, against the embedded exchange."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minibot.events.intervals import align
from minibot.events.model import Bar
from minibot.exchanges.base import Stream
from minibot.exchanges.binance.limits import CONNECTION_LIMITS
from minibot.exchanges.binance.rest import BinanceRest
from minibot.market.address import AddressFile
from minibot.market.history import history_bar
from minibot.market.notices import OVERLOAD_ENDED, OVERLOADED
from minibot.market.overload import OVERLOAD_FROM
from minibot.runtime.clock import machine_ns, write_clock
from tests.market.exchange_process import ExchangeProcess
from tests.market.market_desk import Desk, link_limits, session_config
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.row("C-25"),
    pytest.mark.network_mock,
    pytest.mark.campaign,
    pytest.mark.process,
]

SPEED = "10"


@contextmanager
def many(tmp_path: Path, count: int, *, rate: int, speed: str = SPEED) -> Iterator[ExchangeProcess]:
    """Run the embedded exchange over hundreds of synthetic symbols."""
    options = ("--symbols", str(count), "--rate", str(rate))
    module = "tools.bench.market_exchange"
    with ExchangeProcess(tmp_path, "", speed, *options, module=module) as running:
        yield running


@contextmanager
def six(tmp_path: Path, *, speed: str = SPEED) -> Iterator[ExchangeProcess]:
    """Run it over six symbols with six messages a second each."""
    with many(tmp_path, 6, rate=60, speed=speed) as running:
        yield running


def started(
    tmp_path: Path,
    running: ExchangeProcess,
    *,
    symbols: Sequence[str] = (),
    streams_max: int = 6,
    speed: str = SPEED,
    **options: Any,
) -> Desk:
    """Return a session over as many connections as needed, with valid books."""
    config = session_config(
        tuple(symbols) or running.symbols,
        running.origin_ms,
        intervals=("1m",),
        streams_max=streams_max,
        link=options.pop("link", None),
    )
    desk = Desk(tmp_path, config, running.port, speed=speed, requests_at_once=4, **options)
    desk.start()
    desk.start_clock()
    wait_until(lambda: valid_books(desk) == len(config.feed.symbols) or desk.has_ended, "books")
    return desk


def valid_books(desk: Desk) -> int:
    """Return the number of valid books."""
    return sum(feed.depth.is_valid for feed in list(desk.session.feed.symbols.values()))


def ticks_of(desk: Desk, symbols: Sequence[str]) -> int:
    """Return the number of ticks of these symbols."""
    return sum(tick.symbol in symbols for tick in desk.world.of("market_tick"))


# --- limits of connections ----------------------------------------------------------------------


@pytest.mark.row("S-18", "S-19", "S-20", "N-30")
def test_1700_streams_are_three_connections_below_every_limit(tmp_path: Path) -> None:
    """567 symbols are 1,701 streams on three connections below 800, without a control storm."""
    with many(tmp_path, 567, rate=300, speed="1") as running:
        config = session_config(running.symbols, running.origin_ms, intervals=())
        desk = Desk(tmp_path, config, running.port, requests_at_once=4)
        desk.start()
        desk.start_clock()
        wait_until(lambda: len(desk.world.of("market_tick")) > 100 or desk.has_ended, "ticks")
        status = running.status()
        desk.drain()

    assert desk.exit_code == 0
    assert [item["streams"] for item in status["connections"]] == [567, 567, 567]
    assert all(item["messages"] <= 4 for item in status["connections"])
    assert status["counters"].get("closed_1008", 0) == 0
    assert status["weight_used"] <= 3_000


@pytest.mark.row("S-20", "S-18")
def test_symbols_come_and_go_while_the_others_go_on(tmp_path: Path) -> None:
    """A new symbol gets rules, history, streams and book; one that leaves falls silent."""
    with six(tmp_path) as running:
        first, late = running.symbols[:3], running.symbols[3:]
        desk = started(tmp_path, running, symbols=first, streams_max=9)
        desk.call(lambda session: session.follow([*late, "NOPEUSDT"]))
        wait_until(lambda: valid_books(desk) == 6 or desk.has_ended, "six books")
        wait_until(lambda: ticks_of(desk, late) > 30 or desk.has_ended, "ticks of newcomers")
        desk.call(lambda session: session.unfollow(first[:2]))
        wait_until(
            lambda: sum(item["streams"] for item in running.status()["connections"]) == 12,
            "twelve streams",
        )
        before = ticks_of(desk, first[:2])
        mark = ticks_of(desk, late)
        wait_until(lambda: ticks_of(desk, late) > mark + 60 or desk.has_ended, "the others")
        after = ticks_of(desk, first[:2])
        counters = running.status()["counters"]
        desk.drain()

    assert desk.exit_code == 0
    assert after == before
    assert {i.symbol for i in desk.world.of("instrument")} == {*first, *late}
    assert desk.world.kinds().count("follow_refused") == 1
    assert "frame_invalid" not in desk.world.kinds()
    assert counters.get("closed_1008", 0) == 0


def values(bar: Bar) -> tuple[object, ...]:
    """Return the values of a bar, without where they come from."""
    return (bar.open_ts, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades)


def kline(running: ExchangeProcess, symbol: str, open_ts: int) -> Bar:
    """Return the exchange's own kline of a minute."""
    url = f"http://127.0.0.1:{running.port}"
    rest = BinanceRest(url, connect_timeout_s=5.0, total_timeout_s=5.0, machine_ns=machine_ns)
    end = open_ts + 59_999
    (candle,) = rest.candles(symbol, "1m", start=open_ts, end=end, limit=1)
    return history_bar(symbol, "1m", candle)


def minutes_of(desk: Desk, symbol: str) -> dict[int, Bar]:
    """Return the bars of a symbol by their beginning."""
    return {bar.open_ts: bar for bar in desk.world.of("bar") if bar.symbol == symbol}


def test_symbol_that_joins_within_a_minute_has_the_whole_bar_of_it(tmp_path: Path) -> None:
    """The first bar of a newcomer holds the trades before it joined too: it is the kline."""
    with six(tmp_path) as running:
        late = running.symbols[3]
        desk = started(tmp_path, running, symbols=running.symbols[:3], streams_max=12)
        wait_until(lambda: 15_000 < desk.clock.now_ms() % 60_000 < 30_000, "a minute's middle")
        joined = align(desk.clock.now_ms(), 60_000)
        desk.call(lambda session: session.follow([late]))
        wait_until(
            lambda: max(minutes_of(desk, late), default=0) > joined or desk.has_ended, "bars"
        )
        whole = kline(running, late, joined)
        desk.drain()

    assert desk.exit_code == 0
    assert values(minutes_of(desk, late)[joined]) == values(whole)


def test_start_within_a_minute_has_the_whole_bar_of_it(tmp_path: Path) -> None:
    """A market that runs before the streams begin gives the first bar from its kline."""
    with six(tmp_path) as running:
        symbols = running.symbols[:2]
        config = session_config(symbols, running.origin_ms, intervals=("1m",))
        desk = Desk(tmp_path, config, running.port, speed=SPEED, requests_at_once=4)
        write_clock(tmp_path, running.origin_ms, SPEED)
        wait_until(lambda: 15_000 < desk.clock.now_ms() % 60_000 < 30_000, "a minute's middle")
        began = align(desk.clock.now_ms(), 60_000)
        desk.start()
        wait_until(
            lambda: (
                all(max(minutes_of(desk, name), default=0) > began for name in symbols)
                or desk.has_ended
            ),
            "bars",
        )
        whole = [values(kline(running, name, began)) for name in symbols]
        desk.drain()

    assert desk.exit_code == 0
    assert [values(minutes_of(desk, name)[began]) for name in symbols] == whole


def test_streams_of_the_whole_market_go_to_who_asked(tmp_path: Path) -> None:
    """Whole-market streams go to their requester alone."""
    frames: list[bytes] = []
    with six(tmp_path) as running:
        desk = started(tmp_path, running)
        desk.session.on_market_wide = lambda data, ts: frames.append(data)
        desk.call(lambda session: session.follow_streams("all", ["!miniTicker@arr"]))
        wait_until(lambda: len(frames) > 2 or desk.has_ended, "mini tickers")
        desk.drain()

    assert desk.exit_code == 0
    assert all(frame.startswith(b'{"stream":"!miniTicker@arr"') for frame in frames)
    assert "frame_invalid" not in desk.world.kinds()


@pytest.mark.row("F108")
def test_connection_of_the_whole_market_alone_is_alive_while_it_delivers(tmp_path: Path) -> None:
    """Three full connections leave the mini tickers one of their own, which lives by them."""
    frames: list[bytes] = []
    with six(tmp_path) as running:
        desk = started(tmp_path, running)
        desk.session.on_market_wide = lambda data, ts: frames.append(data)
        desk.call(lambda session: session.follow_streams("all", ["!miniTicker@arr"]))
        wait_until(lambda: len(frames) > 40 or desk.has_ended, "forty seconds of mini tickers")
        shard = desk.session.connections.shard_of("all")
        desk.drain()

    assert desk.exit_code == 0
    assert shard is not None
    assert list(shard.groups) == ["all"]
    assert "connection_lost" not in desk.world.kinds()


# --- one connection of several ------------------------------------------------------------------


class SlowToConnect:
    """Stream whose handshake takes as long as the test wants."""

    def __init__(self, stream: Stream, gate: threading.Event) -> None:
        self._stream = stream
        self._gate = gate

    def open(self) -> None:
        self._gate.wait(30)
        self._stream.open()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.mark.row("S-11", "F112")
def test_slow_shard_delays_no_other(tmp_path: Path) -> None:
    """A slow handshake of one connection delays no tick of the others."""
    gate = threading.Event()
    gate.set()
    with six(tmp_path) as running:
        slow = running.symbols[:1]

        def wrap(streams: Sequence[str], stream: Stream) -> Stream:
            is_slow = any(name.startswith(slow[0].lower()) for name in streams)
            return SlowToConnect(stream, gate) if is_slow else stream

        desk = started(tmp_path, running, wrap=wrap, link=link_limits(backoff_max_ms=2_000))
        gate.clear()
        running.fault("drop")
        shard = desk.session.connections.shard_of(slow[0])
        assert shard is not None
        others = [name for name in running.symbols if name not in shard.groups]
        books = desk.session.feed.symbols
        wait_until(
            lambda: (
                (
                    desk.session.state == "DEGRADED"
                    and not any(books[name].depth.is_valid for name in shard.groups)
                )
                or desk.has_ended
            ),
            "the end of the slow connection",
        )
        wait_until(
            lambda: all(books[name].depth.is_valid for name in others) or desk.has_ended,
            "books of the other shards",
        )
        mark = ticks_of(desk, others)
        wait_until(lambda: ticks_of(desk, others) > mark + 100 or desk.has_ended, "their ticks")
        stuck = [books[name].depth.is_valid for name in shard.groups]
        state = desk.session.state
        gate.set()
        wait_until(lambda: valid_books(desk) == 6 or desk.has_ended, "all books again")
        desk.drain()

    assert desk.exit_code == 0
    assert not any(stuck)
    assert state == "DEGRADED"


class Behind:
    """Stream with an unread backlog set by the test."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.count = 0

    def unread(self) -> int:
        return self.count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.mark.row("N-30")
def test_backlog_that_nobody_has_read_begins_and_ends_the_overload_rule(tmp_path: Path) -> None:
    """Unread bytes of all sockets together begin and end the overload rule."""
    behind: list[Behind] = []

    def wrap(streams: Sequence[str], stream: Stream) -> Stream:
        behind.append(Behind(stream))
        return behind[-1]

    with six(tmp_path) as running:
        desk = started(tmp_path, running, wrap=wrap)
        for stream in behind:
            stream.count = -(-OVERLOAD_FROM // len(behind))
        wait_until(lambda: OVERLOADED in desk.world.kinds() or desk.has_ended, "the rule")
        waiting = desk.session.waiting
        for stream in behind:
            stream.count = 0
        wait_until(lambda: OVERLOAD_ENDED in desk.world.kinds() or desk.has_ended, "its end")
        desk.drain()

    assert desk.exit_code == 0
    assert len(behind) > 1
    assert waiting >= OVERLOAD_FROM


@pytest.mark.row("F112", "S-21")
@pytest.mark.parametrize("fault", ["drop", "shutdown"])
def test_all_shards_fall_and_come_again_within_their_limits(tmp_path: Path, fault: str) -> None:
    """Three lost connections return within one budget; a shutdown costs no trade."""
    with six(tmp_path) as running:
        desk = started(tmp_path, running)
        # The announced end leaves the successors six seconds of the machine.
        fields = {"lead_ms": 60_000} if fault == "shutdown" else {}
        running.fault(fault, **fields)
        wait_until(lambda: desk.session.link.reconnects >= 3 or desk.has_ended, "three of three")
        wait_until(lambda: valid_books(desk) == 6 or desk.has_ended, "six books")
        mark = len(desk.world.lines)
        wait_until(lambda: len(desk.world.lines) > mark + 300 or desk.has_ended, "lines")
        status = running.status()
        desk.drain()

    assert desk.exit_code == 0
    assert status["counters"].get("closed_1008", 0) == 0
    assert desk.session.feed.figures()["book_mismatches"] == 0
    if fault == "shutdown":
        assert desk.world.of("gap") == []
        for symbol in desk.session.config.feed.symbols:
            ids = [
                tick.trade_id
                for tick in desk.world.of("market_tick")
                if tick.kind == "trade" and tick.symbol == symbol
            ]
            assert ids == list(range(ids[0], ids[0] + len(ids)))


# --- over restarts ------------------------------------------------------------------------------


@pytest.mark.row("F106", "S-46")
def test_ban_is_remembered_by_the_next_run_and_not_one_request_is_made(tmp_path: Path) -> None:
    """A ban stops the next run too, without a request."""
    memory = AddressFile(tmp_path / "address.json", "unix")
    with six(tmp_path) as running:
        desk = started(tmp_path, running, memory=memory)
        running.fault("418", ban_ms=3_600_000)
        desk.join()
        assert desk.stopped is not None
        assert desk.stopped.reason_code == "EXCHANGE_BANNED"
        before = running.status()["counters"]["rest_calls"]

        config = session_config(running.symbols, running.origin_ms, intervals=("1m",))
        again = Desk(tmp_path, config, running.port, speed=SPEED, memory=memory)
        again.start()
        again.join()
        counters = running.status()["counters"]

    assert again.stopped is not None
    assert again.stopped.reason_code == "EXCHANGE_BANNED"
    assert "banned until" in again.stopped.detail
    assert counters["rest_calls"] == before
    assert counters["connections"] == 3
    assert "banned" in again.world.kinds()


@pytest.mark.row("F105", "S-46")
def test_silence_that_ends_soon_is_waited_for_at_the_start(tmp_path: Path) -> None:
    """A silence that ends soon delays the first request of the next process."""
    memory = AddressFile(tmp_path / "address.json", "unix")
    with six(tmp_path) as running:
        until_ms = running.origin_ms + 2_000
        memory.save({"attempts_ms": [], "silent_until_ms": until_ms, "is_banned": False})
        config = session_config(running.symbols, running.origin_ms, intervals=("1m",))
        desk = Desk(tmp_path, config, running.port, speed=SPEED, memory=memory)
        desk.start()
        calls: list[tuple[int, int]] = []
        while desk.session.pace.now_ms() < until_ms - 200:
            called = running.status()["counters"].get("rest_calls", 0)
            calls.append((desk.session.pace.now_ms(), called))
        desk.start_clock()
        desk.drain()

    assert desk.exit_code == 0
    assert desk.world.is_ready.is_set()
    assert "rate_limited" in desk.world.kinds()
    assert [count for at, count in calls if at < until_ms and count] == []


@pytest.mark.row("S-22")
def test_attempts_of_former_runs_leave_fewer_to_the_next(tmp_path: Path) -> None:
    """Attempts of former runs count in the next one's budget."""
    memory = AddressFile(tmp_path / "address.json", "unix")
    with six(tmp_path) as running:
        now_ms = running.origin_ms
        stamps = [now_ms - 299_000 + number for number in range(CONNECTION_LIMITS.attempts_max)]
        memory.save({"attempts_ms": stamps, "silent_until_ms": 0, "is_banned": False})
        desk = started(tmp_path, running, memory=memory)
        saved = memory.load()["attempts_ms"]
        desk.drain()

    assert desk.exit_code == 0
    assert len([stamp for stamp in saved if stamp >= now_ms]) == 3
    assert min(stamp for stamp in saved if stamp >= now_ms) >= stamps[0] + 300_000
