"""Rules and universe refreshed in a running session, against the embedded exchange."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minibot.events.model import Gap, Instrument
from minibot.exchanges.venue_facts import Listing, Listings
from minibot.market.feed import Feed
from minibot.market.reference_refresh import DOUBT_MS, HOLDINGS_MS, LINGER_MS, ReferenceRefresh
from minibot.market.requests import Requests
from minibot.market.rest_scheduler import Answer
from minibot.market.resume_point import ResumePoint
from minibot.market.role import resume
from minibot.market.session import SessionConfig
from minibot.market.universe import Resolution, UniverseConfig, static_universe
from minibot.market.watched_bars import WatchedConfig
from tests.instruments import instrument
from tests.market.exchange_process import ExchangeProcess
from tests.market.market_desk import Desk, link_limits, session_config
from tests.market.test_market_requests import Tray, requests_of
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.row("S-24", "S-25"), pytest.mark.campaign, pytest.mark.process]

SPEED = "20"
FIVE = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "XRPUSDT")
MARKET = f"generator:1:{','.join(FIVE)},BTCUSDC"
# These tests do not depend on how fast the exchange makes its history.
REST_TIMEOUT_S = 20.0
# Nor on the outage of a busy machine: at this speed the night's two minutes are six seconds of it.
OUTAGE_MS = int(DEADLINE_S) * 1000 * int(SPEED)


class Held:
    """Symbols held, as the test sets them."""

    def __init__(self, *symbols: str) -> None:
        self.now = frozenset(symbols)

    def symbols(self) -> frozenset[str]:
        return self.now


def universe(**changes: Any) -> UniverseConfig:
    values: dict[str, Any] = {
        "mode": "dynamic",
        "quote_asset": "USDT",
        "symbols": FIVE,
        "bases": None,
        "exclude": frozenset(),
        "quote_volume_min": 1,
        "traded_max": 3,
        "interval_ms": 60_000,
    }
    return UniverseConfig(**(values | changes))


@contextmanager
def running(
    tmp_path: Path,
    config: UniverseConfig | None,
    *,
    source: str = MARKET,
    symbols: tuple[str, ...] = (),
    halted: str = "",
    held: Held | None = None,
    rules_ms: int = 600_000,
    watched: WatchedConfig | None = None,
    outage_ms: int = OUTAGE_MS,
) -> Iterator[tuple[ExchangeProcess, Desk]]:
    """Run a session with a universe, and drain it at the end."""
    with ExchangeProcess(tmp_path, source, SPEED, "--rate", "60") as venue:
        if halted:
            venue.fault("symbol_break", symbol=halted, status="BREAK")
        is_chosen = config is not None and config.is_dynamic
        symbols = () if is_chosen else symbols or venue.symbols
        # Errors here come from slow answers, and no test is about their rate.
        limits = link_limits(error_rate_max_percent=100, outage_stop_ms=outage_ms)
        plain: SessionConfig = session_config(symbols, venue.origin_ms, link=limits)
        whole = replace(plain, universe=config, instrument_interval_ms=rules_ms, watched=watched)
        desk = Desk(
            tmp_path,
            whole,
            venue.port,
            speed=SPEED,
            rest_timeout_s=REST_TIMEOUT_S,
            holder=held,
        )
        desk.start()
        desk.start_clock()
        wait_until(lambda: len(desk.world.of("market_tick")) > 20 or desk.has_ended, "ticks")
        yield venue, desk
        desk.drain()
        assert desk.exit_code == 0, desk.stopped or desk.crashed


def learn_past(venue: ExchangeProcess) -> None:
    """Let the exchange make all history before its clock begins."""
    url = f"http://127.0.0.1:{venue.port}/api/v3/ticker/24hr"
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        assert answer.read()


def await_universe(desk: Desk, generation: int) -> Any:
    """Wait for a universe of this generation or a later one."""

    def newest() -> Any:
        found = desk.world.of("universe")
        return found[-1] if found and found[-1].generation >= generation else None

    wait_until(lambda: newest() or desk.has_ended, f"universe {generation}")
    found = newest()
    assert found is not None, desk.stopped
    return found


def await_kind(desk: Desk, kind: str) -> list[str]:
    wait_until(lambda: kind in desk.world.kinds() or desk.has_ended, f"incident {kind}")
    return [notice.detail for notice in desk.world.notices if notice.kind == kind]


@pytest.mark.row("B-18", "B-62", "S-24")
def test_dynamic_universe_follows_the_first_in_full_and_watches_the_rest(tmp_path: Path) -> None:
    """The first three symbols get ticks, all five mini tickers, and rules come first."""
    with running(tmp_path, universe()) as (venue, desk):
        found = await_universe(desk, 1)
        wait_until(
            lambda: any(
                fields["counters"].get("universe_heard") == 5
                for _, fields in list(desk.world.healths)
            ),
            "mini tickers of all five",
        )
        streams = venue.status()["connections"]

    assert len(found.traded) == 3
    assert {*found.traded, *found.watched} == set(FIVE)
    assert {tick.symbol for tick in desk.world.of("market_tick")} == set(found.traded)
    assert {bar.symbol for bar in desk.world.of("bar")} == set(found.traded)
    kinds = [payload.TYPE for payload, _ in desk.world.lines]
    assert kinds.index("universe") < kinds.index("bar")
    assert kinds[:3] == ["instrument"] * 3
    assert sum(connection["streams"] for connection in streams) == 3 * 3 + 1
    assert found.quote_volumes.keys() == set(found.traded)


def test_watched_symbols_have_closed_bars_and_nothing_else(tmp_path: Path) -> None:
    """Bars of minutes of the watched symbols come by REST without a hole, ticks of none of them."""
    watched = WatchedConfig(("1m",), 60_000, {"1m": 20})
    with running(tmp_path, universe(), watched=watched) as (venue, desk):
        found = await_universe(desk, 1)

        def minutes(symbol: str) -> list[Any]:
            bars = [bar for bar in desk.world.of("bar") if bar.symbol == symbol]
            return [bar for bar in bars if bar.interval == "1m"]

        wait_until(
            lambda: all(len(minutes(name)) > 22 for name in found.watched) or desk.has_ended,
            "bars of watched symbols",
            40,
        )
        status = venue.status()

    assert len(found.watched) == 2
    for name in found.watched:
        opens = [bar.open_ts for bar in minutes(name)]
        assert opens == list(range(opens[0], opens[0] + 60_000 * len(opens), 60_000))
        assert all(bar.is_history for bar in minutes(name))
        assert {bar.interval for bar in desk.world.of("bar") if bar.symbol == name} == {"1m"}
    assert {tick.symbol for tick in desk.world.of("market_tick")} == set(found.traded)
    assert {rules.symbol for rules in desk.world.of("instrument")} == set(found.traded)
    assert status["weight_used"] <= 3_000


@pytest.mark.row("F118")
@pytest.mark.parametrize("errors", [0, 2])
def test_halted_symbol_leaves_the_universe_and_another_takes_its_place(
    tmp_path: Path, errors: int
) -> None:
    """A halted symbol leaves the universe, and another one enters with rules and whole history."""
    with running(tmp_path, universe()) as (venue, desk):
        first = await_universe(desk, 1)
        if errors:
            venue.fault("5xx", endpoint="klines", n=errors)
        gone = first.traded[0]
        venue.fault("symbol_break", symbol=gone, status="HALT")
        second = await_universe(desk, 2)
        (come,) = set(second.traded) - set(first.traded)
        wait_until(
            lambda: any(tick.symbol == come for tick in desk.world.of("market_tick")),
            "ticks of the newcomer",
        )

    assert gone not in second.traded
    assert second.excluded["not_trading"] == [gone]
    assert await_kind(desk, "symbol_halted") == [f"{gone}: status TRADING -> HALT"]
    assert any(come in detail for detail in await_kind(desk, "universe_changed"))
    of_newcomer = [
        payload.TYPE for payload, _ in desk.world.lines if getattr(payload, "symbol", "") == come
    ]
    assert of_newcomer[0] == "instrument"
    assert of_newcomer.index("bar") < of_newcomer.index("market_tick")
    bars = [bar for bar in desk.world.of("bar") if bar.symbol == come and bar.interval == "1m"]
    assert sum(bar.is_history for bar in bars) >= 60


def test_symbol_that_left_is_given_up_after_a_minute_unless_it_is_held(tmp_path: Path) -> None:
    """A symbol that left is given up after a minute, unless it is held."""
    held = Held()
    with running(tmp_path, universe(), held=held) as (venue, desk):
        first = await_universe(desk, 1)
        leaving = first.traded[:2]
        held.now = frozenset([leaving[0]])
        for symbol in leaving:
            venue.fault("symbol_break", symbol=symbol, status="BREAK")
        await_universe(desk, 2)
        wait_until(lambda: leaving[1] not in desk.session.feed.symbols, "given up")
        kept = desk.world.of("universe")[-1].kept
        is_followed = leaving[0] in desk.session.feed.symbols
        held.now = frozenset()
        wait_until(lambda: leaving[0] not in desk.session.feed.symbols, "given up")
        wait_until(lambda: desk.world.of("universe")[-1].kept == (), "nothing kept")

    assert kept == (leaving[0],)
    assert is_followed


def test_symbol_that_comes_back_has_a_gap(tmp_path: Path) -> None:
    """A symbol that comes back has a gap before its bars and ticks."""
    with running(tmp_path, universe(traded_max=5)) as (venue, desk):
        first = await_universe(desk, 1)
        symbol = first.traded[0]
        venue.fault("symbol_break", symbol=symbol, status="BREAK")
        await_universe(desk, 2)
        wait_until(lambda: symbol not in desk.session.feed.symbols, "given up")
        venue.fault("symbol_break", symbol=symbol, status="TRADING")
        await_universe(desk, 3)
        count = len(desk.world.lines)
        wait_until(
            lambda: any(
                payload.TYPE == "market_tick" and getattr(payload, "symbol", "") == symbol
                for payload, _ in desk.world.lines[count:]
            ),
            "ticks again",
            40,
        )

    gaps = [gap for gap in desk.world.of("gap") if gap.symbol == symbol and "universe" in gap.why]
    assert {gap.stream for gap in gaps} == {"trade", "bookTicker", "depth"}
    assert all(gap.to_ts - gap.from_ts > 0 for gap in gaps)


def test_symbols_held_from_a_former_run_are_followed_without_being_traded(tmp_path: Path) -> None:
    """A carried position outside the universe is followed without being traded."""
    with running(tmp_path, universe(exclude=frozenset({"BTC"})), held=Held("BTCUSDT")) as (_, desk):
        found = await_universe(desk, 1)
        wait_until(
            lambda: any(tick.symbol == "BTCUSDT" for tick in desk.world.of("market_tick")), "ticks"
        )

    assert found.kept == ("BTCUSDT",)
    assert "BTCUSDT" not in found.traded


@pytest.mark.row("B-18")
def test_static_universe_is_followed_exactly_and_a_carried_position_besides(
    tmp_path: Path,
) -> None:
    """A static universe is written and followed exactly, and held symbols besides."""
    config = universe(mode="static", symbols=("ETHUSDT", "SOLUSDT"))
    with ExchangeProcess(tmp_path, MARKET, SPEED, "--rate", "60") as venue:
        learn_past(venue)
        limits = link_limits(outage_stop_ms=OUTAGE_MS)
        plain = session_config(config.symbols, venue.origin_ms, link=limits)
        desk = Desk(
            tmp_path,
            replace(plain, universe=config),
            venue.port,
            speed=SPEED,
            rest_timeout_s=REST_TIMEOUT_S,
            holder=Held("XRPUSDT"),
        )
        desk.start()
        desk.start_clock()
        followed = {"ETHUSDT", "SOLUSDT", "XRPUSDT"}
        wait_until(
            lambda: (
                {tick.symbol for tick in desk.world.of("market_tick")} >= followed or desk.has_ended
            ),
            "ticks of all three",
        )
        desk.drain()

    assert desk.stopped is None
    (found,) = desk.world.of("universe")
    assert (found.mode, found.traded, found.kept) == ("static", config.symbols, ("XRPUSDT",))
    assert {tick.symbol for tick in desk.world.of("market_tick")} == followed


def await_ticks(desk: Desk, symbol: str) -> None:
    """Wait for ticks of a symbol."""

    def has_ticks() -> bool:
        return any(tick.symbol == symbol for tick in desk.world.of("market_tick"))

    wait_until(lambda: has_ticks() or desk.has_ended, f"ticks of {symbol}")


def test_carried_position_is_followed_while_its_symbol_is_halted(tmp_path: Path) -> None:
    """A held symbol in BREAK is followed all the same, and has ticks once it trades again."""
    config = universe(mode="static", symbols=("ETHUSDT",))
    held = Held("XRPUSDT")
    with running(
        tmp_path, config, symbols=config.symbols, halted="XRPUSDT", held=held, rules_ms=60_000
    ) as (venue, desk):
        wait_until(lambda: "XRPUSDT" in desk.session.feed.symbols or desk.has_ended, "followed")
        venue.fault("symbol_break", symbol="XRPUSDT", status="TRADING")
        await_kind(desk, "symbol_trading")
        await_ticks(desk, "XRPUSDT")

    statuses = [item.status for item in desk.world.of("instrument") if item.symbol == "XRPUSDT"]
    assert statuses == ["BREAK", "TRADING"]
    assert "follow_refused" not in desk.world.kinds()


def test_carried_position_outside_the_list_of_a_profile_without_universe_is_followed(
    tmp_path: Path,
) -> None:
    """It has ticks for its exits, and a universe of the list lets nobody enter there again."""
    with running(tmp_path, None, symbols=("ETHUSDT",), held=Held("XRPUSDT")) as (_, desk):
        await_ticks(desk, "XRPUSDT")

    (found,) = desk.world.of("universe")
    assert (found.mode, found.traded, found.kept) == ("static", ("ETHUSDT",), ("XRPUSDT",))
    assert found.quote_asset == "USDT"
    ours = [
        payload for payload, _ in desk.world.lines if getattr(payload, "symbol", "") != "ETHUSDT"
    ]
    kinds = [payload.TYPE for payload in ours]
    assert kinds.index("universe") < kinds.index("market_tick")


def test_profile_without_universe_whose_list_holds_every_position_writes_none(
    tmp_path: Path,
) -> None:
    """Positions within the list need no universe."""
    with running(tmp_path, None, symbols=("ETHUSDT",), held=Held("ETHUSDT")) as (_, desk):
        await_ticks(desk, "ETHUSDT")

    assert desk.world.of("universe") == []


def test_position_outside_the_list_is_followed_over_a_restart(tmp_path: Path) -> None:
    """A process that follows another knows a carried symbol, and whose book it has to replace."""
    desk = Desk(tmp_path, session_config(("ETHUSDT",), 0), 1)
    ends = {("XRPUSDT", "1m"): 60_000}
    resume(desk.session, ResumePoint(90_000, {}, ends, ("ETHUSDT", "XRPUSDT"), {"XRPUSDT"}))
    told = gaps(desk.session.feed)
    desk.session.close()

    feeds = desk.session.feed.symbols
    assert list(feeds) == ["ETHUSDT", "XRPUSDT"]
    assert feeds["XRPUSDT"].lanes["1m"].history_end == 60_000
    assert told == [("XRPUSDT", "depth", 90_000)]


def listings(*symbols: str) -> Listings:
    """Return symbols as the venue lists them."""
    return Listings(
        {
            name: Listing(name, name[:-4], "USDT", "TRADING", True, instrument(name))
            for name in symbols
        },
        0,
    )


def gaps(feed: Feed) -> list[tuple[str, str, int]]:
    """Return symbol, stream and beginning of the gaps that wait to be written."""
    payloads = [payload for payload, _ in feed.take()]
    return [(gap.symbol, gap.stream, gap.from_ts) for gap in payloads if isinstance(gap, Gap)]


@pytest.mark.parametrize("read_from", [None, 20_000])
def test_symbol_that_left_before_a_restart_comes_back_with_a_gap(
    tmp_path: Path, read_from: int | None
) -> None:
    """The first universe of a restart tells what was missed of symbols that were given up."""
    desk = Desk(tmp_path, replace(session_config((), 0), universe=universe()), 1)
    heard = {"ETHUSDT": 90_000, "XRPUSDT": 30_000}
    resume(desk.session, ResumePoint(90_000, {}, {}, ("ETHUSDT",), set(), heard, read_from))
    names = ("ETHUSDT", "SOLUSDT", "XRPUSDT")
    desk.session.upkeep.open(Resolution(names), listings(*names))
    told = gaps(desk.session.feed)
    desk.session.close()

    left = {"XRPUSDT": 30_000} if read_from is None else {"SOLUSDT": read_from, "XRPUSDT": 30_000}
    assert told == [
        (name, stream, ts)
        for name, ts in left.items()
        for stream in ("trade", "bookTicker", "depth")
    ]


def test_followed_symbol_that_a_restart_finds_delisted_is_told(tmp_path: Path) -> None:
    """The first universe of a restart tells which followed symbols are listed no longer."""
    desk = Desk(tmp_path, replace(session_config((), 0), universe=universe()), 1)
    rules = {name: instrument(name) for name in ("ETHUSDT", "XRPUSDT")}
    resume(desk.session, ResumePoint(90_000, followed=("ETHUSDT", "XRPUSDT"), rules=rules))
    desk.session.upkeep.open(Resolution(("ETHUSDT",)), listings("ETHUSDT"))
    told = [payload for payload, _ in desk.session.feed.take() if isinstance(payload, Instrument)]
    desk.session.close()

    assert [(item.symbol, item.status) for item in told] == [
        ("ETHUSDT", "TRADING"),
        ("XRPUSDT", "DELISTED"),
    ]


def test_symbol_that_left_before_a_restart_has_a_gap_in_a_later_universe() -> None:
    """Once it is followed, however often the universe names it before: its rules may be refused."""
    tray = Tray()
    requests = requests_of(tray)
    upkeep = refresh(universe(traded_max=2), requests, Followed(), Held())
    upkeep.resume({"XRPUSDT": 30_000}, None, {})
    upkeep.open(Resolution(("ETHUSDT",)), listings("ETHUSDT"))
    upkeep.begin(0)
    names = ("ETHUSDT", "XRPUSDT")
    for now_ms in (60_000, 120_000):
        upkeep.on_clock(now_ms)
        for value in (listings(*names), dict.fromkeys(names, "1000")):
            tray.jobs[-1].done(Answer(tray.jobs[-1], value))
    named = gaps(requests.feed)
    requests.feed.follow("XRPUSDT", 130_000)

    assert named == []
    assert gaps(requests.feed) == [
        ("XRPUSDT", stream, 30_000) for stream in ("trade", "bookTicker", "depth")
    ]


def test_symbol_traded_before_a_restart_keeps_its_place() -> None:
    """A better one that had left, whose streams still went on, does not take it."""
    requests = requests_of(Tray())
    names = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
    for name in names:
        requests.feed.follow(name, 0)
    upkeep = refresh(universe(traded_max=2), requests, Followed(), Held())
    upkeep.resume({}, None, {}, ("ETHUSDT", "XRPUSDT"))

    found = upkeep.resolution(listings(*names), dict(zip(names, ("3", "2", "1"), strict=True)))

    assert found.traded == ("ETHUSDT", "XRPUSDT")


class Followed:
    """Follower that notes which symbols it was asked to follow."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.given_up: list[str] = []

    def follow(self, symbols: Iterable[str]) -> None:
        self.asked.append(list(symbols))

    def unfollow(self, symbols: Iterable[str]) -> None:
        self.given_up += symbols

    def follow_streams(self, name: str, streams: Sequence[str]) -> None:
        pass


def refresh(
    config: UniverseConfig,
    requests: Requests,
    follower: Followed,
    held: Held,
    **options: int,
) -> ReferenceRefresh:
    """Return an upkeep that asks for the rules every ten minutes."""
    return ReferenceRefresh(
        config,
        None,
        requests.feed,
        requests,
        follower,
        requests.clock,
        held,
        rules_interval_ms=600_000,
        **options,
    )


def upkeep_of(follower: Followed, held: Held, traded: int, **options: int) -> ReferenceRefresh:
    """Return the upkeep of a hundred followed symbols, of which the first `traded` are traded."""
    requests = requests_of(Tray())
    config = universe(mode="static", symbols=tuple(requests.feed.symbols)[:traded])
    upkeep = refresh(config, requests, follower, held, **options)
    upkeep.open(static_universe(config), None)
    upkeep.begin(0)
    return upkeep


def test_held_symbol_that_is_not_followed_is_asked_for_again_after_a_minute() -> None:
    """A refusal at the first look is not the last word on a held symbol."""
    follower = Followed()
    upkeep = upkeep_of(follower, Held("XRPUSDT"), 100)
    for now_ms in (0, 1_000, DOUBT_MS - 1, DOUBT_MS, DOUBT_MS + 1_000):
        upkeep.on_clock(now_ms)

    assert follower.asked == [["XRPUSDT"]] * 2


@pytest.mark.parametrize(("outliers", "asked"), [(0, 0), (1, 1)])
def test_rules_are_asked_for_at_once_when_a_price_is_refused(outliers: int, asked: int) -> None:
    """A halt during which quotes came on, so that no silence told it, shows by its prices."""
    upkeep = upkeep_of(Followed(), Held(), 100)
    jobs, symbols = upkeep._requests.courier.jobs, upkeep._feed.symbols  # type: ignore[attr-defined]
    for symbol in symbols.values():
        symbol.data_ms = 2 * DOUBT_MS
    upkeep.on_clock(DOUBT_MS)
    before = len(jobs)
    symbols["C001USDT"].outliers += outliers
    for now_ms in (DOUBT_MS + 1, DOUBT_MS + 2):
        upkeep.on_clock(now_ms)

    assert (before, len(jobs)) == (0, asked)


@pytest.mark.parametrize("ttl_ms", [5_000, 86_400_000])
def test_symbol_that_left_is_followed_for_longer_than_an_order_may_rest(ttl_ms: int) -> None:
    """An order that rests in a symbol that left still meets its market, until it expires."""
    follower = Followed()
    upkeep = upkeep_of(follower, Held(), 99, order_ttl_ms=ttl_ms)
    upkeep.on_clock(ttl_ms + LINGER_MS - 1)
    before = list(follower.given_up)
    upkeep.on_clock(ttl_ms + LINGER_MS + HOLDINGS_MS)

    assert before == []
    assert len(follower.given_up) == 1


@pytest.mark.row("F118")
def test_universe_without_any_symbol_is_refused_at_the_start(tmp_path: Path) -> None:
    """A filter that no symbol passes is refused at the start, with its counts."""
    with ExchangeProcess(tmp_path, MARKET, SPEED) as venue:
        plain = session_config((), venue.origin_ms)
        config = replace(plain, universe=universe(quote_volume_min=10**30))
        desk = Desk(tmp_path, config, venue.port, speed=SPEED, rest_timeout_s=REST_TIMEOUT_S)
        desk.start()
        wait_until(lambda: desk.has_ended, "refused")

    assert desk.stopped is not None
    assert desk.stopped.reason_code == "CONFIG_INVALID"
    assert "5 volume" in desk.stopped.detail


def test_universe_that_would_be_empty_stays_as_it_is(tmp_path: Path) -> None:
    """A universe that would be empty stays as it is, with an incident."""
    with running(tmp_path, universe()) as (venue, desk):
        first = await_universe(desk, 1)
        for symbol in FIVE:
            venue.fault("symbol_break", symbol=symbol, status="HALT")
        details = await_kind(desk, "universe_unresolved")
        kept = len(desk.world.of("universe"))
        for symbol in first.watched:
            venue.fault("symbol_break", symbol=symbol, status="TRADING")
        second = await_universe(desk, 2)

    assert details[0] == "no symbol passes; the universe stays as it is"
    assert kept == 1
    assert set(second.traded) == set(first.watched)


@pytest.mark.row("F118")
def test_filter_that_changes_at_night_is_journaled_part_by_part(tmp_path: Path) -> None:
    """A filter changed at night gives an instrument event and an incident with the change."""
    with running(tmp_path, None, source="generator:1", rules_ms=60_000) as (venue, desk):
        venue.fault("filter", filter="LOT_SIZE", field="stepSize", value="0.01000000")
        venue.fault("filter", filter="MAX_POSITION", field="maxPosition", value="7.00000000")
        venue.fault("filter", filter="BRAND_NEW", field="limit", value="1")
        changed = await_kind(desk, "instrument_changed")
        unknown = await_kind(desk, "filter_unknown")

    newest = desk.world.of("instrument")[-1]
    assert newest.qty_increment == "0.01000000"
    assert newest.position_max == "7.00000000"
    assert newest.filters_unknown == ("BRAND_NEW",)
    assert any("qty_increment 0.00001000 -> 0.01000000" in detail for detail in changed)
    assert unknown == ["BTCUSDT: BRAND_NEW; no order is judged by it"]


@pytest.mark.row("F118")
def test_symbol_that_is_listed_no_longer_is_delisted_and_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    """A delisted symbol fails the venue's whole answer; the others' rules are still read."""
    source = "generator:1:BTCUSDT,ETHUSDT"
    with running(tmp_path, None, source=source, rules_ms=60_000) as (venue, desk):
        venue.fault("delist", symbol="ETHUSDT")
        delisted = await_kind(desk, "symbol_delisted")
        venue.fault("filter", symbol="BTCUSDT", filter="LOT_SIZE", field="minQty", value="0.02")
        await_kind(desk, "instrument_changed")
        before = len(desk.world.of("market_tick"))
        wait_until(lambda: len(desk.world.of("market_tick")) > before + 100, "the other goes on")

    assert delisted == ["ETHUSDT: status TRADING -> DELISTED"]
    last = {item.symbol: item for item in desk.world.of("instrument")}
    assert (last["ETHUSDT"].status, last["BTCUSDT"].status) == ("DELISTED", "TRADING")
    assert last["BTCUSDT"].qty_min == "0.02"


@pytest.mark.row("F118")
@pytest.mark.parametrize("status", ["HALT", "END_OF_DAY", "CANCEL_ONLY"])
def test_halt_longer_than_an_outage_may_last_does_not_end_the_run(
    tmp_path: Path, status: str
) -> None:
    """A symbol's halt longer than the allowed outage does not end the run."""
    with running(tmp_path, None, source="generator:1", outage_ms=120_000) as (venue, desk):
        venue.fault("symbol_break", status=status)
        await_kind(desk, "symbol_halted")
        until_ms = desk.clock.now_ms() + 130_000
        wait_until(lambda: desk.clock.now_ms() >= until_ms or desk.has_ended, "a long halt")
        assert not desk.has_ended, desk.stopped
        venue.fault("symbol_break", status="TRADING")
        await_kind(desk, "symbol_trading")
        before = len(desk.world.of("market_tick"))
        wait_until(lambda: len(desk.world.of("market_tick")) > before + 100, "ticks again")

    assert [item.status for item in desk.world.of("instrument")] == ["TRADING", status, "TRADING"]


def test_slow_endpoints_are_asked_at_their_own_cadence(tmp_path: Path) -> None:
    """Listings and volumes are requested once a minute, and once at the start."""
    with running(tmp_path, universe(interval_ms=60_000)) as (venue, desk):
        until_ms = desk.origin_ms + 130_000
        wait_until(lambda: desk.clock.now_ms() >= until_ms or desk.has_ended, "two minutes")
        requests = venue.status()["requests"]

    assert 2 <= requests["/api/v3/ticker/24hr"] <= 3
    assert requests["/api/v3/exchangeInfo"] <= 3
