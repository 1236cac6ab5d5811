"""Market role's session end to end against the embedded exchange, with its faults.

Market time runs twenty times as fast as wall-clock time, so that minutes fit a test.
"""

from __future__ import annotations

import gzip
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from minibot.events.model import Bar
from minibot.events.unit_sizes import NS_PER_S
from minibot.exchanges.base import Stream, StreamLost
from minibot.market import opening
from minibot.market.reader import Frames
from minibot.market.session import Session, SessionConfig
from minibot.runtime.clock import machine_ns
from minibot.simulator.faults.garbage import GARBAGE
from tests.exchanges.binance.loopback import Loopback, accept, answer
from tests.instruments import instrument
from tests.market.exchange_process import ExchangeProcess
from tests.market.market_desk import Desk, link_limits, session_config
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.row("C-25", "B-49"),
    pytest.mark.network_mock,
    pytest.mark.campaign,
    pytest.mark.process,
]

SPEED = "20"
GENERATOR = "generator:1"


@contextmanager
def exchange(
    tmp_path: Path, source: str = GENERATOR, *options: str, speed: str = SPEED
) -> Iterator[ExchangeProcess]:
    """Run the embedded exchange on the clock of `tmp_path`."""
    with ExchangeProcess(tmp_path, source, speed, *options) as running:
        yield running


def started(
    tmp_path: Path, running: ExchangeProcess, *, speed: str = SPEED, **changes: Any
) -> Desk:
    """Return a session that is ready and gets data."""
    rest_timeout_s = changes.pop("rest_timeout_s", 5.0)
    options = {"wrap": changes.pop("wrap")} if "wrap" in changes else {}
    config: SessionConfig = session_config(running.symbols, running.origin_ms, **changes)
    desk = Desk(
        tmp_path, config, running.port, speed=speed, rest_timeout_s=rest_timeout_s, **options
    )
    desk.start()
    desk.start_clock()
    wait_until(lambda: len(desk.world.of("market_tick")) > 50 or desk.has_ended, "ticks")
    return desk


def wait_for_notice(desk: Desk, kind: str) -> None:
    """Wait until the session has written an incident of this kind."""
    wait_until(lambda: kind in desk.world.kinds() or desk.has_ended, f"incident {kind}")
    assert kind in desk.world.kinds()


def has_data(desk: Desk) -> bool:
    return all(line.has_data for line in desk.session.link.lines)


def books_valid(desk: Desk) -> bool:
    """Return whether every symbol has a valid book."""
    return all(feed.depth.is_valid for feed in desk.session.feed.symbols.values())


def wait_for_market_ms(desk: Desk, market_ms: int) -> None:
    """Wait until the given market time has passed since the clock's start."""
    until = desk.origin_ms + market_ms
    wait_until(lambda: desk.clock.now_ms() >= until or desk.has_ended, f"{market_ms} ms")


def states(desk: Desk) -> list[str]:
    """Return the states of all health events, without repetitions."""
    found = [state for state, _ in desk.world.healths]
    return [state for before, state in pairwise(["", *found]) if before != state]


def history_count(desk: Desk, interval: str) -> int:
    """Return the number of bars from klines; sixty of them are the warm-up."""
    return sum(bar.is_history and bar.interval == interval for bar in desk.world.of("bar"))


def assert_whole(desk: Desk) -> None:
    """Assert that times never go back and every bar of a second exists once, in order."""
    times = [ts for _, ts in desk.world.lines]
    assert times == sorted(times)
    for interval, step in (("1s", 1_000), ("1m", 60_000)):
        opens = [b.open_ts for b in desk.world.of("bar") if b.interval == interval]
        assert {after - before for before, after in pairwise(opens)} <= {step}


# --- start and end ------------------------------------------------------------------------------


def test_session_asks_for_as_many_bars_of_each_interval_as_the_profile_names(
    tmp_path: Path,
) -> None:
    """A table by interval gives each its own number of bars, in one request each."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, warmup_bars={"1s": 7, "1m": 90})
        history = [bar for bar in desk.world.of("bar") if isinstance(bar, Bar) and bar.is_history]
        desk.drain()
        requests = running.status()["requests"]

    assert [bar.interval for bar in history] == ["1s"] * 7 + ["1m"] * 90
    assert requests["/api/v3/klines"] == 2


def test_message_of_the_whole_market_that_waits_at_the_end_is_no_bad_frame(tmp_path: Path) -> None:
    """Frames of the whole market are taken to the last, and are none of a symbol's streams."""
    row = b'{"e":"24hrMiniTicker","E":1700000000000,"s":"NOPEUSDT","c":"100"}'
    waiting = Frames(1, 0, [b'{"stream":"!miniTicker@arr","data":[' + row + b"]}"])
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)

        def end() -> None:
            desk.session.inbox.put(waiting)
            desk.world.code = 0

        desk.world.calls.append(end)
        desk.join()

    assert desk.exit_code == 0
    assert "frame_invalid" not in desk.world.kinds()
    assert desk.session.feed.figures()["frames_invalid"] == 0


@pytest.mark.row("F118")
@pytest.mark.parametrize("is_restart", [False, True])
def test_symbol_delisted_before_a_restart_costs_the_others_nothing(
    tmp_path: Path, *, is_restart: bool
) -> None:
    """A restart goes on without a symbol that is listed no longer; a first start refuses it."""
    with exchange(tmp_path, "generator:1:BTCUSDT,ETHUSDT") as running:
        running.fault("delist", symbol="ETHUSDT")
        config = session_config(running.symbols, running.origin_ms)
        desk = Desk(tmp_path, config, running.port, speed=SPEED, is_restart=is_restart)
        desk.start()
        desk.start_clock()
        wait_until(lambda: len(desk.world.of("market_tick")) > 50 or desk.has_ended, "ticks")
        desk.drain()

    if not is_restart:
        assert desk.stopped is not None
        assert desk.stopped.reason_code == "CONFIG_INVALID"
        return
    assert desk.exit_code == 0
    assert {tick.symbol for tick in desk.world.of("market_tick")} == {"BTCUSDT"}
    assert [item.symbol for item in desk.world.of("instrument")] == ["BTCUSDT"]
    lines = [notice.detail for notice in desk.world.notices if notice.kind == "symbol_delisted"]
    assert len(lines) == 1
    assert lines[0].startswith("ETHUSDT")


@pytest.mark.row("F118")
@pytest.mark.parametrize("status", ["TRADING", "DELISTED"])
def test_symbol_delisted_before_a_restart_is_told_by_its_former_rules(
    tmp_path: Path, status: str
) -> None:
    """A symbol gone while no process ran is told as delisted, unless a former process told so."""
    with exchange(tmp_path, "generator:1:BTCUSDT,ETHUSDT") as running:
        running.fault("delist", symbol="ETHUSDT")
        config = session_config(running.symbols, running.origin_ms)
        desk = Desk(tmp_path, config, running.port, speed=SPEED, is_restart=True)
        former = instrument("ETHUSDT", qty_min="0.5", status=status)
        desk.session.upkeep.resume({}, None, {"ETHUSDT": former})
        desk.start()
        desk.start_clock()
        wait_until(lambda: len(desk.world.of("market_tick")) > 50 or desk.has_ended, "ticks")
        desk.drain()

    assert desk.exit_code == 0
    answers = [item for item in desk.world.of("instrument") if item.symbol == "ETHUSDT"]
    details = [notice.detail for notice in desk.world.notices if notice.kind == "symbol_delisted"]
    if status == "TRADING":
        assert answers == [replace(former, status="DELISTED")]
        assert details == ["ETHUSDT: status TRADING -> DELISTED"]
    else:
        assert answers == []
        assert details == []


@pytest.mark.row("N-30", "S-24")
def test_session_begins_with_rules_and_history_and_asks_for_nothing_else(tmp_path: Path) -> None:
    """A session begins with rules and sixty bars of each interval, then data; REST does no more."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        before = [
            payload.TYPE
            for payload, _ in desk.world.lines
            if payload.TYPE in ("instrument", "bar", "market_tick")
        ][:122]
        history = [bar for bar in desk.world.of("bar") if isinstance(bar, Bar) and bar.is_history]
        desk.drain()
        requests = running.status()["requests"]

    assert desk.exit_code == 0
    assert before[:121] == ["instrument", *["bar"] * 120]
    assert [bar.interval for bar in history] == ["1s"] * 60 + ["1m"] * 60
    assert all(bar.close_ts < desk.origin_ms + desk.session.feed.skew_ms for bar in history)
    paths = {path for path in requests if path.startswith("/api")}
    assert paths == {
        "/api/v3/ping",
        "/api/v3/time",
        "/api/v3/exchangeInfo",
        "/api/v3/klines",
        "/api/v3/depth",
    }
    assert requests["/api/v3/exchangeInfo"] == 1
    assert requests["/api/v3/klines"] == 2
    assert_whole(desk)


def test_session_is_ready_while_the_clock_still_stands(tmp_path: Path) -> None:
    """A session becomes ready while its clock still stands, as it starts the clock."""
    with exchange(tmp_path) as running:
        config = session_config(running.symbols, running.origin_ms)
        desk = Desk(tmp_path, config, running.port, speed=SPEED)
        desk.start()
        wait_until(desk.world.is_ready.is_set, "ready")

        assert not desk.clock.is_running
        assert {ts for _, ts in desk.world.lines} == {running.origin_ms}
        assert desk.world.of("beat") == []
        desk.drain()

    assert desk.exit_code == 0


def test_session_that_drains_leaves_no_thread(tmp_path: Path) -> None:
    """A drained session leaves no thread."""
    before = threading.active_count()
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        desk.drain()

        assert states(desk)[-1] == "DRAINING"
    wait_until(lambda: threading.active_count() <= before, "threads gone")


@pytest.mark.row("F118")
@pytest.mark.parametrize("symbols", [("NOPEUSDT",), ("BTCUSDT", "NOPEUSDT")])
def test_symbol_that_the_exchange_does_not_know_is_a_clear_stop(
    tmp_path: Path, symbols: tuple[str, ...]
) -> None:
    """An unknown symbol is a STOP whose message names the symbols."""
    with exchange(tmp_path) as running:
        config = session_config(symbols, running.origin_ms)
        desk = Desk(tmp_path, config, running.port, speed=SPEED)
        desk.start()
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "CONFIG_INVALID"
    assert "NOPEUSDT" in desk.stopped.detail


@pytest.mark.row("F118")
def test_symbol_that_does_not_trade_is_a_clear_stop(tmp_path: Path) -> None:
    """A symbol that does not trade is a STOP."""
    with exchange(tmp_path) as running:
        running.fault("symbol_break")
        config = session_config(running.symbols, running.origin_ms)
        desk = Desk(tmp_path, config, running.port, speed=SPEED)
        desk.start()
        desk.join()

    assert desk.stopped is not None
    assert "BREAK" in desk.stopped.detail


@pytest.mark.row("F118")
def test_stop_names_only_the_symbols_that_do_not_trade(tmp_path: Path) -> None:
    """Symbols that trade are not in the message: an operator takes the named ones out."""
    with exchange(tmp_path, "generator:1:BTCUSDT,ETHUSDT") as running:
        running.fault("symbol_break", symbol="ETHUSDT")
        config = session_config(("BTCUSDT", "ETHUSDT"), running.origin_ms)
        desk = Desk(tmp_path, config, running.port, speed=SPEED)
        desk.start()
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.detail == "not open for trading: ETHUSDT is BREAK"


def test_restricted_place_is_told_as_such(tmp_path: Path) -> None:
    """HTTP 451 is reported as a restricted place, with a remedy."""
    with exchange(tmp_path) as running:
        running.fault("geo451", n=100)
        config = session_config(running.symbols, running.origin_ms)
        desk = Desk(tmp_path, config, running.port, speed=SPEED)
        desk.start()
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_UNREACHABLE"
    assert "restricted" in desk.stopped.detail


# --- measurements -------------------------------------------------------------------------------


@pytest.mark.row("N-51", "N-52", "S-25")
def test_latency_is_measured_every_interval_and_written(tmp_path: Path) -> None:
    """Latency is written every five seconds: eleven to thirteen events in a minute."""
    # An interval is a second of the machine, so that a busy one leaves none out.
    with exchange(tmp_path, speed="5") as running:
        desk = started(tmp_path, running, speed="5", ping_interval_ms=5_000)
        wait_for_market_ms(desk, 60_000)
        found = [fields for _, fields in desk.world.healths if "latency_us" in fields]
        desk.drain()

    assert 11 <= len(found) - 2 <= 13  # Two more belong to the start.
    assert all(item["ok"] and item["latency_us"] > 0 for item in found)
    assert {item["endpoint"] for item in found} == {"/api/v3/ping", "/api/v3/time"}
    assert any(item["weight_used"] > 0 for item in found)


@pytest.mark.row("F77", "F81")
def test_pause_of_the_process_is_a_gap_and_every_stream_is_asked_for_anew(tmp_path: Path) -> None:
    """A pause of the process drops old socket data, and every stream is renewed."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        desk.world.calls.append(lambda: setattr(desk.world, "stood_still_ms", 12_000))
        wait_for_notice(desk, "book_resync")
        before = len(desk.world.of("market_tick"))
        wait_until(lambda: len(desk.world.of("market_tick")) > before or desk.has_ended, "ticks")
        desk.drain()

    assert desk.exit_code == 0
    details = [notice.detail for notice in desk.world.notices if notice.kind == "paused"]
    assert details == ["this process stood still for 12000 ms; every stream is requested again"]
    assert desk.world.kinds().count("connection_lost") == 1
    gaps = desk.world.of("gap")
    assert {gap.stream for gap in gaps} >= {"depth", "bookTicker"}


@pytest.mark.row("F77")
def test_pause_of_the_process_measures_the_clock_of_the_exchange_at_once(tmp_path: Path) -> None:
    """A suspended machine's clock stood still; no ping of an interval is waited for."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, ping_interval_ms=10_000_000)

        def times() -> int:
            said = [fields.get("endpoint") for _, fields in desk.world.healths]
            return said.count("/api/v3/time")

        before = times()
        desk.world.calls.append(lambda: setattr(desk.world, "stood_still_ms", 12_000))
        wait_until(lambda: times() > before or desk.has_ended, "the time of the exchange")
        desk.drain()

    assert desk.exit_code == 0
    assert desk.session.feed.paused_ms == 0


@pytest.mark.row("F77", "F81")
def test_pause_of_the_process_ends_a_successor_too(tmp_path: Path) -> None:
    """Messages in the socket of a successor are as old as those of the active connection."""
    before: list[int] = []
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)

        def pause(session: Session) -> None:
            (shard,) = session.connections.shards
            shard.on_shutdown(shard.numbers[0], session.pace.now_ms())
            session.connections.on_clock(session.pace.now_ms())
            before.extend(shard.numbers)
            desk.world.stood_still_ms = 12_000

        desk.call(pause)
        wait_for_notice(desk, "book_resync")
        (shard,) = desk.session.connections.shards
        after = shard.numbers
        desk.drain()

    assert desk.exit_code == 0
    assert len(before) == 2
    assert not {*before} & {*after}


@pytest.mark.row("B-54", "F107")
def test_two_server_errors_are_survived_and_told(tmp_path: Path) -> None:
    """Two server errors degrade the session for a while, with an incident each and an end."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault("5xx", n=2)
        wait_for_notice(desk, "rest_recovered")
        wait_until(lambda: desk.world.healths[-1][0] == "READY", "ready again")
        desk.drain()

    assert desk.exit_code == 0
    assert states(desk) == ["STARTING", "READY", "DEGRADED", "READY", "DRAINING"]
    assert desk.world.kinds().count("rest_errors") == 2


@pytest.mark.row("B-54")
def test_server_errors_at_the_start_are_tried_again(tmp_path: Path) -> None:
    """Server errors at the start are retried after recorded waits."""
    with exchange(tmp_path) as running:
        running.fault("5xx", n=2)
        desk = started(tmp_path, running)
        desk.drain()

    assert desk.exit_code == 0
    assert len(desk.world.of("instrument")) == 1
    details = [notice.detail for notice in desk.world.notices if notice.kind == "rest_retry"]
    assert [re.findall(r"of (\d+) ms", detail) for detail in details] == [["500"], ["1000"]]


@pytest.mark.row("F104", "N-53")
def test_errors_that_go_on_end_the_run(tmp_path: Path) -> None:
    """Lasting errors end the run, although data still flow."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, ping_interval_ms=2_000)
        running.fault("5xx", ms=10_000_000)
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_ERROR_RATE"


@pytest.mark.row("S-46", "S-47", "F105")
def test_429_silences_all_requests_for_as_long_as_told(tmp_path: Path) -> None:
    """A 429 silences all requests for its time, while data go on."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, ping_interval_ms=2_000)
        running.fault("429", retry_after=30)
        wait_for_notice(desk, "rest_recovered")
        counters = running.status()["counters"]
        desk.drain()

    assert counters["answered_429"] == 1
    assert desk.world.kinds().count("rate_limited") == 1
    assert desk.session.link.reconnects == 0
    assert_whole(desk)


@pytest.mark.row("F105")
def test_429s_that_are_obeyed_are_no_errors_of_the_exchange(tmp_path: Path) -> None:
    """However many a night meets, its stream goes on: no error rate counts them."""
    limits = link_limits(error_samples_min=4)
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, link=limits, ping_interval_ms=2_000)
        requests = desk.session.requests

        def has_met(count: int) -> bool:
            is_over = requests.throttled == count and not requests.errors_in_row
            return is_over or desk.has_ended

        for number in range(1, 6):
            running.fault("429", retry_after=6)
            wait_until(partial(has_met, number), "a 429, and then an answer")
        desk.drain()

    assert desk.stopped is None
    assert desk.exit_code == 0
    assert requests.throttled == 5


@pytest.mark.row("S-47", "F106")
def test_short_ban_is_waited_for_and_long_ban_ends_the_run(tmp_path: Path) -> None:
    """A short ban is waited for without a request; a long one ends the run."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, ping_interval_ms=2_000)
        running.fault("418", ban_ms=20_000)
        wait_for_notice(desk, "rest_recovered")
        assert running.status()["counters"]["answered_418"] == 1
        running.fault("418", ban_ms=600_000)
        desk.join()

    assert desk.world.kinds().count("banned") >= 1
    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_BANNED"


@pytest.mark.row("S-11", "F111")
def test_dead_requests_do_not_delay_the_stream(tmp_path: Path) -> None:
    """Hanging REST requests delay no tick, beat or book."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, ping_interval_ms=2_000, rest_timeout_s=0.5)
        running.fault("slow", ms=60_000, delay_ms=20_000)
        mark = len(desk.world.lines)
        wait_for_notice(desk, "rest_errors")
        wait_for_market_ms(desk, 40_000)
        desk.drain()

    beats = [ts for payload, ts in desk.world.lines[mark:] if payload.TYPE == "beat"]
    assert {after - before for before, after in pairwise(beats)} == {1_000}
    assert len(desk.world.of("market_tick")) > 400
    assert desk.session.link.reconnects == 0


# --- the stream ---------------------------------------------------------------------------------


@pytest.mark.row("F112")
@pytest.mark.parametrize("fault", ["drop", "disconnect_24h", "close_1008"])
def test_lost_connection_is_built_again_and_told(tmp_path: Path, fault: str) -> None:
    """A lost connection is rebuilt: degraded, gap marked, book rebuilt, no bar missing."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault(fault)
        wait_for_notice(desk, "book_resync")
        wait_until(lambda: desk.world.healths[-1][0] == "READY", "ready again")
        desk.drain()

    assert states(desk) == ["STARTING", "READY", "DEGRADED", "READY", "DRAINING"]
    kinds = [kind for kind in desk.world.kinds() if kind != "sequence_gap"]
    assert kinds == ["connection_lost", "connected", "book_resync"]
    assert {gap.stream for gap in desk.world.of("gap")} >= {"bookTicker", "depth"}
    assert [book.why for book in desk.world.of("book")].count("resync") == 2
    assert_whole(desk)


@pytest.mark.row("S-21")
def test_six_drops_wait_ever_longer(tmp_path: Path) -> None:
    """Six disconnects wait for drawn times below doubling ceilings."""
    with exchange(tmp_path) as running:
        desk = started(
            tmp_path, running, link=link_limits(backoff_min_ms=100, outage_stop_ms=300_000)
        )
        for count in range(1, 7):
            wait_until(lambda: has_data(desk) or desk.has_ended, "data")
            running.fault("drop")
            wait_until(
                lambda count=count: desk.world.kinds().count("connection_lost") >= count,  # type: ignore[misc]
                f"loss {count}",
            )
            wait_until(lambda: desk.session.connections.is_open, "connected")
            wait_until(lambda: has_data(desk), "data")
        desk.drain()

    details = [n.detail for n in desk.world.notices if n.kind == "connection_lost"]
    drawn = [tuple(map(int, re.findall(r"drawn (\d+) of (\d+)", text)[0])) for text in details]
    assert [ceiling for _, ceiling in drawn] == [100, 200, 400, 800, 1_600, 3_200]
    assert all(wait <= ceiling for wait, ceiling in drawn)


@pytest.mark.row("F112")
def test_announced_shutdown_is_followed_without_a_break(tmp_path: Path) -> None:
    """An announced shutdown is followed by a second connection without a gap or repeat."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault("shutdown", lead_ms=40_000)
        closes_ms = desk.clock.now_ms() - desk.origin_ms + 40_000
        wait_for_notice(desk, "server_shutdown")
        wait_until(lambda: desk.session.link.reconnects == 1 or desk.has_ended, "taken over")
        wait_for_market_ms(desk, closes_ms + 5_000)
        desk.drain()

    assert states(desk) == ["STARTING", "READY", "DRAINING"]
    assert desk.world.of("gap") == []
    ids = [tick.trade_id for tick in desk.world.of("market_tick") if tick.kind == "trade"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert desk.session.feed.figures()["book_syncs"] == 1
    assert_whole(desk)


@pytest.mark.row("F112")
def test_old_connection_is_renewed_without_a_break(tmp_path: Path) -> None:
    """A connection is renewed before the exchange's 24 hours, again and again."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, link=link_limits(renew_after_ms=10_000))
        wait_until(lambda: desk.session.link.reconnects >= 2 or desk.has_ended, "two renewals")
        desk.drain()

    assert desk.world.kinds().count("renewal") >= 2
    assert desk.world.of("gap") == []
    ids = [tick.trade_id for tick in desk.world.of("market_tick") if tick.kind == "trade"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert states(desk) == ["STARTING", "READY", "DRAINING"]


@pytest.mark.row("S-17")
def test_closed_streams_are_degraded_however_well_requests_are_answered(tmp_path: Path) -> None:
    """Refused streams make the session degraded, although REST answers."""
    patient = link_limits(
        tick_stale_ms=10_000_000, outage_stop_ms=10_000_000, reconnects_max=1000,
        backoff_min_ms=20_000,
    )  # fmt: skip
    is_off = threading.Event()

    def wrap(streams: Sequence[str], stream: Stream) -> Stream:
        return Refused(stream) if is_off.is_set() else stream

    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, link=patient, wrap=wrap)
        is_off.set()
        running.fault("drop")
        wait_for_notice(desk, "connection_lost")
        wait_until(lambda: desk.world.healths[-1][0] == "DEGRADED" or desk.has_ended, "degraded")
        before = len(desk.world.healths)

        def pings() -> int:
            return sum("latency_us" in fields for _, fields in desk.world.healths[before:])

        wait_until(lambda: pings() >= 3 or desk.has_ended, "requests that were answered")
        off = [state for state, _ in desk.world.healths[before:]]
        is_off.clear()
        wait_until(lambda: desk.world.healths[-1][0] == "READY" or desk.has_ended, "ready again")
        desk.drain()

    assert set(off) == {"DEGRADED"}
    # At the first loss, not only when the breaker opens.
    first = next(fields for state, fields in desk.world.healths if state == "DEGRADED")
    assert first["breaker"] == "closed"
    assert states(desk) == ["STARTING", "READY", "DEGRADED", "READY", "DRAINING"]


class Refused:
    """Stream that is always refused."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def open(self) -> None:
        """Fail like a refused connection."""
        raise StreamLost("refused, as the test wants it")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.mark.row("F108", "S-17")
def test_silent_socket_is_given_up_and_what_was_missed_is_filled(tmp_path: Path) -> None:
    """A silent socket is given up, and missed bars come from klines."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault("stall", ms=60_000)
        wait_for_notice(desk, "book_resync")
        wait_until(
            lambda: history_count(desk, "1s") > 60,
            "bars out of klines",
        )
        wait_until(lambda: desk.world.healths[-1][0] == "READY", "ready again")
        desk.drain()

    assert "DEGRADED" in states(desk)
    assert any("no data" in n.detail for n in desk.world.notices)
    assert {gap.stream for gap in desk.world.of("gap")} == {"bookTicker", "trade", "depth"}
    assert desk.session.feed.figures()["bars_unfilled"] == 0
    assert_whole(desk)


@pytest.mark.row("F118")
def test_halt_of_every_symbol_leaves_the_session_ready(tmp_path: Path) -> None:
    """A halt is no outage, however long: nothing that should come is missing."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault("symbol_break", status="HALT")
        wait_for_notice(desk, "symbol_halted")
        wait_until(lambda: desk.world.healths[-1][0] == "READY" or desk.has_ended, "ready")
        before = len(desk.world.healths)
        wait_for_market_ms(desk, desk.clock.now_ms() - desk.origin_ms + 60_000)
        halted = desk.world.healths[before:]
        desk.drain()

    assert {state for state, _ in halted} == {"READY"}
    assert {fields["data_age_ms"] for _, fields in halted} == {0}


@pytest.mark.row("F108")
def test_session_is_not_ready_while_a_symbol_lacks_quotes(tmp_path: Path) -> None:
    """One stream that is silent beside others that flow shows in the state, until it is back."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, link=link_limits(outage_stop_ms=10_000_000))
        symbol = running.symbols[0]
        running.fault("stream_silent", stream="bookTicker", symbol=symbol, ms=10_000_000)
        wait_for_notice(desk, "stream_silent")
        wait_until(lambda: desk.world.healths[-1][0] == "DEGRADED" or desk.has_ended, "degraded")
        running.fault("clear")
        wait_until(lambda: desk.world.healths[-1][0] == "READY" or desk.has_ended, "ready")
        desk.drain()

    assert not desk.world.kinds().count("connection_lost")


@pytest.mark.row("F108")
def test_silence_that_goes_on_ends_the_run(tmp_path: Path) -> None:
    """Lasting silence ends the run, although reconnecting works."""
    with exchange(tmp_path) as running:
        limits = link_limits(outage_stop_ms=60_000, tick_stale_ms=20_000)
        desk = started(tmp_path, running, link=limits)
        running.fault("stall", ms=10_000_000)
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "FEED_STALE"
    assert "READY" not in states(desk)[states(desk).index("DEGRADED") :]


@pytest.mark.row("F108")
def test_outage_is_judged_while_a_message_comes_during_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inbox that is never empty after a write hides no connection that brings nothing."""
    with exchange(tmp_path) as running:
        limits = link_limits(outage_stop_ms=60_000, tick_stale_ms=20_000)
        desk = started(tmp_path, running, link=limits)
        reply = Frames(0, 0, [b'{"result":null,"id":1}'])

        def turn(waiting: int) -> None:
            desk.session.inbox.put(reply)

        monkeypatch.setattr(desk.world, "turn", turn)
        running.fault("stall", ms=10_000_000)
        until_ms = desk.clock.now_ms() + 200_000
        wait_until(lambda: desk.has_ended or desk.clock.now_ms() >= until_ms, "the stop")
        desk.drain()

    assert desk.stopped is not None
    # A busy machine may still be connecting again when the outage has lasted long enough.
    assert desk.stopped.reason_code in ("FEED_STALE", "EXCHANGE_UNREACHABLE")


@pytest.mark.row("F103", "S-22", "S-23")
def test_exchange_out_of_reach_ends_the_run_within_the_cap_of_attempts(tmp_path: Path) -> None:
    """An unreachable exchange ends the run, with attempts under their cap."""
    limits = link_limits(outage_stop_ms=30_000, reconnects_max=12)
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, link=limits)
        running.fault("unreachable", ms=10_000_000)
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "EXCHANGE_UNREACHABLE"
    assert desk.world.kinds().count("connection_lost") <= 12
    assert "open" in {fields["breaker"] for _, fields in desk.world.healths}


@pytest.mark.row("F102")
def test_short_outage_is_survived(tmp_path: Path) -> None:
    """An outage below the limit is survived, whatever pings failed."""
    with exchange(tmp_path) as running:
        limits = link_limits(backoff_max_ms=4_000, reconnects_max=100)
        desk = started(tmp_path, running, link=limits)
        running.fault("unreachable", ms=40_000)
        wait_for_notice(desk, "book_resync")
        wait_until(lambda: desk.world.healths[-1][0] == "READY", "ready again")
        desk.drain()

    assert desk.exit_code == 0
    assert "open" in {fields["breaker"] for _, fields in desk.world.healths}
    assert desk.world.healths[-1][1]["breaker"] == "closed"


@pytest.mark.row("F117")
def test_gap_in_the_updates_rebuilds_the_book(tmp_path: Path) -> None:
    """A gap in the updates is reported and the book rebuilt; quotes and trades go on."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault("gap")
        wait_for_notice(desk, "book_resync")
        desk.drain()

    assert desk.world.kinds() == ["book_lost", "book_resync"]
    answer, whole = desk.world.of("gap")
    assert (answer.stream, whole.stream) == ("depth", "depth")
    assert answer.from_ts == whole.from_ts < answer.to_ts <= whole.to_ts
    assert desk.session.link.reconnects == 0


@pytest.mark.row("F109")
def test_single_garbage_frame_is_refused_and_a_flood_ends_the_run(tmp_path: Path) -> None:
    """One broken frame is counted; a hundred and one end the run."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault("garbage", kind="partial_json")
        wait_for_notice(desk, "frame_invalid")
        assert desk.session.link.reconnects == 0
        running.fault("garbage", kind="text", n=400)
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "FEED_INVALID"


@pytest.mark.row("F109", "F110")
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_of_each_kind_is_told_and_survived(tmp_path: Path, kind: str) -> None:
    """Garbage of each kind is refused, and the market goes on with its book."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, link=link_limits(backoff_max_ms=1_000))
        running.fault("garbage", kind=kind)
        refused = {"frame_invalid", "connection_lost"}
        wait_until(lambda: refused & set(desk.world.kinds()) or desk.has_ended, "an incident")
        mark = len(desk.world.of("market_tick"))
        wait_until(
            lambda: (
                (len(desk.world.of("market_tick")) > mark + 50 and books_valid(desk))
                or desk.has_ended
            ),
            "ticks and book",
        )
        desk.drain()

    assert desk.exit_code == 0
    assert refused & set(desk.world.kinds())
    assert all(float(tick.bid) < float(tick.ask) for tick in desk.world.of("market_tick"))


@pytest.mark.row("F109", "F116")
def test_flood_and_burst_of_true_messages_lose_nothing(tmp_path: Path) -> None:
    """A thousand repeats count once; a late burst is complete."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault("flood", n=6, factor=1000)
        running.fault("burst", ms=2_000)
        figures = desk.session.feed.figures
        wait_until(lambda: figures()["duplicate_trades"] > 0 or desk.has_ended, "duplicates")
        wait_for_market_ms(desk, desk.clock.now_ms() - desk.origin_ms + 4_000)
        desk.drain()

    assert desk.exit_code == 0
    ids = [tick.trade_id for tick in desk.world.of("market_tick") if tick.kind == "trade"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert desk.world.of("gap") == []
    assert figures()["book_mismatches"] == 0


@pytest.mark.row("F109", "F115")
@pytest.mark.parametrize(
    "fault", ["zero_price", "outlier_price", "zero_quote", "outlier_quote", "crossed_book"]
)
def test_senseless_prices_end_the_run_and_reach_nobody(tmp_path: Path, fault: str) -> None:
    """Senseless prices are refused one by one, and too many end the run."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running, link=link_limits(feed_invalid_max=20))
        running.fault(fault, n=1000)
        desk.join()

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "FEED_INVALID"
    prices = [float(tick.price) for tick in desk.world.of("market_tick")]
    assert max(prices) < 1.2 * min(prices)
    assert all(float(tick.bid) < float(tick.ask) for tick in desk.world.of("market_tick"))


@pytest.mark.row("F116")
def test_duplicate_and_missing_trades_are_told_apart(tmp_path: Path) -> None:
    """Duplicate trades are dropped; missing ones are a gap, with bars from klines."""
    with exchange(tmp_path) as running:
        desk = started(tmp_path, running)
        running.fault("duplicate_trades", n=5)
        wait_until(lambda: desk.session.feed.figures()["duplicate_trades"] == 5, "five duplicates")
        assert desk.world.of("gap") == []
        running.fault("missing_trades", n=3)
        wait_for_notice(desk, "sequence_gap")
        wait_until(
            lambda: history_count(desk, "1s") > 60,
            "bars out of klines",
        )
        desk.drain()

    ids = [tick.trade_id for tick in desk.world.of("market_tick") if tick.kind == "trade"]
    assert len(ids) == len(set(ids))
    assert {gap.stream for gap in desk.world.of("gap")} == {"trade"}
    assert_whole(desk)


def test_tape_without_a_book_runs_on_quotes_and_trades(tmp_path: Path, shared_data: Path) -> None:
    """A tape without depth gives ticks, one incident and no book."""
    tape = tmp_path / "quotes.gz"
    with gzip.open(shared_data / "binance-ws-hft" / "btcusdt_20240808.gz") as whole:
        lines = [line for _, line in zip(range(4000), whole, strict=False) if b"@depth" not in line]
    with gzip.open(tape, "wb") as file:
        file.writelines(line for line in lines if b'{"lastUpdateId"' not in line)

    with exchange(tmp_path, f"tape:{tape}") as running:
        assert not running.facts["has_depth"]
        desk = started(tmp_path, running)
        wait_for_notice(desk, "book_unavailable")
        desk.drain()

    assert desk.exit_code == 0
    assert desk.world.of("book") == []
    assert {tick.kind for tick in desk.world.of("market_tick")} == {"quote", "trade"}
    assert len(desk.world.of("bar")) > 3


# --- a quiet market -----------------------------------------------------------------------------

BINANCE_TIME = 1_700_000_000_000


class QuietVenue:
    """Venue whose stream is silent, and whose book stays at `update_id`."""

    def __init__(self) -> None:
        self.update_id = 7
        self.connections = 0
        self._info = orjson.dumps(
            {
                "symbols": [
                    {
                        "symbol": "BTCUSDT",
                        "status": "TRADING",
                        "baseAsset": "BTC",
                        "quoteAsset": "USDT",
                        "filters": [
                            {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
                            {
                                "filterType": "LOT_SIZE",
                                "minQty": "0.00001",
                                "maxQty": "9000",
                                "stepSize": "0.00001",
                            },
                        ],
                    }
                ]
            }
        )

    def talk(self, sock: socket.socket, request: bytes) -> None:
        """Answer like the venue."""
        path = request.split(b" ")[1].partition(b"?")[0]
        if path == b"/stream":
            self.connections += 1
            accept(sock, request)
            sock.recv(1000)
            return
        depth = {"lastUpdateId": self.update_id, "bids": [["99", "1"]], "asks": [["101", "1"]]}
        bodies = {
            b"/api/v3/ping": b"{}",
            b"/api/v3/time": orjson.dumps({"serverTime": BINANCE_TIME}),
            b"/api/v3/exchangeInfo": self._info,
            b"/api/v3/klines": b"[]",
            b"/api/v3/depth": orjson.dumps(depth),
        }
        sock.sendall(answer(bodies[path]))


def test_start_whose_time_ends_while_it_waits_for_books_goes_on_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A book is requested again later, so that none is a reason to fail a start that is late."""
    venue, is_over = QuietVenue(), threading.Event()

    def talk(sock: socket.socket, request: bytes) -> None:
        if b"/depth" in request:
            is_over.wait(20)
        else:
            venue.talk(sock, request)

    with Loopback(talk) as server:
        desk = Desk(tmp_path, session_config(("BTCUSDT",), BINANCE_TIME), server.port)

        def passed_ns() -> int:
            is_asked = any(b"/depth" in request for request in server.requests)
            return machine_ns() + is_asked * int(opening.OPENING_S_MAX * NS_PER_S)

        monkeypatch.setattr(opening, "DEPTH_S_MAX", 2 * opening.OPENING_S_MAX)
        monkeypatch.setattr(desk.world, "machine_ns", passed_ns)
        desk.start()
        wait_until(lambda: desk.world.is_ready.is_set() or desk.has_ended, "ready")
        desk.world.code = 0
        is_over.set()
        desk.join()

    assert desk.stopped is None
    assert desk.world.is_ready.is_set()


def test_start_waits_for_books_that_were_requested_while_it_connected(tmp_path: Path) -> None:
    """A book is requested as soon as its stream is open; the start waits for its answer too."""
    venue, turns = QuietVenue(), [0]

    def talk(sock: socket.socket, request: bytes) -> None:
        if b"/depth" in request or b"/stream" in request:
            later = turns[0] + 3
            wait_until(lambda: turns[0] >= later, "turns of the session while the venue answers")
        venue.talk(sock, request)

    with Loopback(talk) as server:
        desk = Desk(tmp_path, session_config(("BTCUSDT",), BINANCE_TIME), server.port)
        pump = desk.session.pump

        def turn(timeout_s: float) -> None:
            turns[0] += 1
            pump(timeout_s)

        desk.session.pump = turn  # type: ignore[method-assign]
        has_book: list[bool] = []
        depth = desk.session.feed.symbols["BTCUSDT"].depth
        ready = desk.world.ready

        def note() -> None:
            has_book.append(depth.is_valid)
            ready()

        desk.world.ready = note  # type: ignore[method-assign]
        desk.start()
        wait_until(lambda: desk.world.is_ready.is_set() or desk.has_ended, "ready")
        desk.drain()

    assert has_book == [True]


@pytest.mark.row("F108")
def test_quiet_market_is_no_dead_socket(tmp_path: Path) -> None:
    """A silent socket is kept while the venue's own book has not moved."""
    venue = QuietVenue()
    with Loopback(venue.talk) as server:
        config = session_config(("BTCUSDT",), BINANCE_TIME, link=link_limits(tick_stale_ms=200))
        desk = Desk(tmp_path, config, server.port)
        desk.start()
        desk.start_clock()
        asked = len(server.requests)
        (line,) = desk.session.link.lines
        wait_until(
            lambda: (
                (
                    sum(b"limit=5 " in request for request in server.requests[asked:]) >= 2
                    and line.data_ms > line.connected_ms
                )
                or desk.has_ended
            ),
            "asked twice whether the market is quiet, and told so",
        )
        assert venue.connections == 1
        assert not desk.has_ended
        venue.update_id += 1
        wait_until(lambda: venue.connections >= 2, "given up and connected again")
        desk.drain()

    assert desk.exit_code == 0
