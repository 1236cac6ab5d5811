"""Universe from the venue's answers: members, exclusions with reasons, ranks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.binance.filters import is_spot
from minibot.exchanges.binance.listings import (
    parse_day_volumes,
    parse_listings,
)
from minibot.exchanges.binance.mini_tickers import parse_mini_tickers
from minibot.exchanges.venue_facts import LastPrice, Listings
from minibot.market.monitor import DISAGREEMENT_MS, PriceMonitor
from minibot.market.notices import NoticeBoard
from minibot.market.universe import (
    Resolution,
    UniverseConfig,
    resolve,
    universe_v1,
)
from tests.exchanges.binance.test_binance_filters import LOT, PRICE, recorded_infos

MILLION = 1_000_000 * 10**8


def config(**changes: Any) -> UniverseConfig:
    """Return a universe of all bases against USDT, with B's volume filter."""
    values: dict[str, Any] = {
        "mode": "dynamic",
        "quote_asset": "USDT",
        "symbols": ("BTCUSDT",),
        "bases": None,
        "exclude": frozenset(),
        "quote_volume_min": MILLION,
        "traded_max": 10,
        "interval_ms": 60_000,
    }
    return UniverseConfig(**(values | changes))


def info(base: str, quote: str = "USDT", **changes: Any) -> dict[str, Any]:
    return {
        "symbol": base + quote,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "isSpotTradingAllowed": True,
        "filters": [PRICE, LOT],
        **changes,
    }


def listings(*infos: Any) -> Listings:
    return parse_listings({"symbols": list(infos)})


def volumes(**by_base: str) -> dict[str, str]:
    return {f"{base}USDT": volume for base, volume in by_base.items()}


@pytest.mark.row("B-03")
def test_volume_at_the_threshold_belongs_and_one_below_does_not() -> None:
    """A volume of exactly a million of the quote is enough."""
    found = resolve(
        config(),
        listings(info("AAA"), info("BBB"), info("CCC")),
        volumes(AAA="1000000", BBB="999999", CCC="999999.99999999"),
    )

    assert found.traded == ("AAAUSDT",)
    assert found.excluded == {"volume": ("BBBUSDT", "CCCUSDT")}


@pytest.mark.row("B-51")
def test_excluded_assets_and_symbols_are_absent_and_named() -> None:
    """Excluded assets and symbols are absent and named, whatever their volume."""
    found = resolve(
        config(exclude=frozenset({"USDC", "BBBUSDT"})),
        listings(info("AAA"), info("BBB"), info("USDC"), info("AAA", "BTC")),
        volumes(AAA="2000000", BBB="3000000", USDC="9000000000"),
    )

    assert found.traded == ("AAAUSDT",)
    assert found.watched == ()
    assert found.excluded == {"excluded": ("BBBUSDT", "USDCUSDT")}


def test_symbol_that_its_coin_ends_too_is_excluded_where_coins_pay_fees() -> None:
    """TUSDT is left out where purchases pay in coins: T would pass for its quote asset."""
    listed, traded = listings(info("T"), info("UT")), volumes(T="2000000", UT="3000000")

    assert resolve(config(), listed, traded).traded == ("UTUSDT", "TUSDT")
    found = resolve(config(is_fee_in_base=True), listed, traded)
    assert found.traded == ("UTUSDT",)
    assert found.excluded == {"excluded": ("TUSDT",)}


@pytest.mark.row("D-57", "X-29")
def test_universe_v1_names_what_the_venue_lacks() -> None:
    """Bases that the venue does not list are reported."""
    listed = [base for base in universe_v1() if base not in ("XMR", "KAS")]
    answers = listings(*map(info, listed), info("XMR", "BTC"), info("PEPE"))

    found = resolve(
        config(bases=universe_v1(), traded_max=400),
        answers,
        {f"{base}USDT": "5000000" for base in [*listed, "PEPE"]},
    )

    assert found.missing_bases == ("XMR", "KAS")
    assert set(found.traded) == {f"{base}USDT" for base in listed}


def test_reasons_for_which_a_listed_symbol_is_left_out_are_told_apart() -> None:
    """Each excluded symbol has exactly one reason."""
    found = resolve(
        config(),
        listings(
            info("AAA"),
            info("BBB", status="BREAK"),
            info("CCC", isSpotTradingAllowed=False),
            info("DDD", filters=[PRICE]),
            info("EEE"),
        ),
        volumes(AAA="2000000", BBB="2000000", CCC="2000000", DDD="2000000"),
    )

    assert found.traded == ("AAAUSDT",)
    assert found.excluded == {
        "no_rules": ("DDDUSDT",),
        "no_volume": ("EEEUSDT",),
        "not_spot": ("CCCUSDT",),
        "not_trading": ("BBBUSDT",),
    }


def test_rank_is_by_volume_then_by_name() -> None:
    """Rank is by volume, then by name."""
    found = resolve(
        config(traded_max=2),
        listings(info("CCC"), info("AAA"), info("BBB")),
        volumes(AAA="2000000", BBB="3000000.5", CCC="2000000.00"),
    )

    assert found.traded == ("BBBUSDT", "AAAUSDT")
    assert found.watched == ("CCCUSDT",)


def test_symbol_at_the_edge_stays_until_it_has_fallen_by_a_tenth() -> None:
    """A universe of ten keeps its tenth symbol at rank eleven, and drops it at rank twelve."""
    bases = [f"A{number:02}" for number in range(14)]
    answers = listings(*map(info, bases))
    by_rank = {f"{base}USDT": str(9_000_000 - number) for number, base in enumerate(bases)}
    before = resolve(config(), answers, by_rank).traded

    eleventh = resolve(config(), answers, by_rank | {"A10USDT": "9000000.5"}, before)
    twelfth = resolve(
        config(), answers, by_rank | {"A10USDT": "9000001", "A11USDT": "9000002"}, before
    )

    assert set(eleventh.traded) == set(before)
    assert "A09USDT" not in twelfth.traded
    assert len(twelfth.traded) == 10


@pytest.mark.row("B-18")
def test_static_universe_is_the_list_exactly() -> None:
    """A static universe is the given list in its order."""
    symbols = ("ETHUSDT", "BTCUSDT", "XMRUSDT")

    found = resolve(config(mode="static", symbols=symbols), listings(info("AAA")), {})

    assert found == Resolution(symbols)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(0, 15))
def test_universe_does_not_depend_on_the_order_of_the_answer(
    seed: int, count: int, held: int
) -> None:
    """A universe does not depend on the order of the answer, and is bounded."""
    random = Random(seed)
    bases = [f"A{number:02}" for number in range(16)]
    infos = [info(base, status=random.choice(["TRADING"] * 4 + ["HALT"])) for base in bases]
    day = {f"{base}USDT": str(random.choice([10**5, 10**6, 2 * 10**6, 10**7])) for base in bases}
    before = tuple(f"{base}USDT" for base in bases[:held])
    wanted = config(traded_max=count)

    one = resolve(wanted, listings(*infos), day, before)
    random.shuffle(infos)
    other = resolve(wanted, listings(*infos), dict(sorted(day.items(), reverse=True)), before)

    assert one == other
    assert len(one.traded) <= count
    named = [*one.traded, *one.watched, *(s for names in one.excluded.values() for s in names)]
    assert sorted(named) == sorted(f"{base}USDT" for base in bases)
    assert not one.watched or len(one.traded) == count


@pytest.mark.parametrize(
    "name", ["2021-08-14_BINANCE.0.gz", "2021-10-11_BINANCE.0.gz"], ids=["august", "october"]
)
def test_recorded_exchange_info_gives_universe_v1(shared_data: Path, name: str) -> None:
    """Universe V1 is found in the listings of 2021, and later symbols are reported missing."""
    infos = recorded_infos(shared_data, name)
    found = parse_listings({"symbols": infos})
    day = {symbol: "1000000" for symbol in found.by_symbol}

    resolution = resolve(config(bases=universe_v1(), traded_max=400), found, day)

    assert found.unreadable == 0
    assert {"BTCUSDT", "ETHUSDT", "XMRUSDT"} <= set(resolution.traded)
    assert {"SUI", "APT", "TAO"} <= set(resolution.missing_bases)
    spot = [item for item in infos if is_spot(item)]
    assert all(found.by_symbol[item["symbol"]].instrument is not None for item in spot)


def test_names_that_no_event_may_carry_are_counted_and_left_out() -> None:
    """A name that no event may carry is counted and left out."""
    found = listings(info("AAA"), info("这是测试币"), info("aaa"), {"symbol": 1}, None)

    assert list(found.by_symbol) == ["AAAUSDT"]
    assert found.unreadable == 4


def test_listings_of_one_quote_asset_hold_nothing_else() -> None:
    """Listings of one quote asset hold no other."""
    body = {"symbols": [info("AAA"), info("BBB", "BTC"), info("CCC")]}

    assert list(parse_listings(body, "USDT").by_symbol) == ["AAAUSDT", "CCCUSDT"]
    assert len(parse_listings(body).by_symbol) == 3


@pytest.mark.parametrize("body", [None, [], {}, {"symbols": {}}, {"symbols": "BTCUSDT"}])
def test_answer_that_lists_nothing_is_refused(body: Any) -> None:
    """An answer that lists nothing is refused."""
    with pytest.raises(FrameInvalid):
        parse_listings(body)


def test_volume_that_cannot_be_read_is_none() -> None:
    """A volume that cannot be read costs its own symbol alone."""
    rows = [
        {"symbol": "AAAUSDT", "quoteVolume": "1.5"},
        {"symbol": "BBBUSDT", "quoteVolume": 1.5},
        {"symbol": "CCCUSDT", "quoteVolume": "-1"},
        {"symbol": "DDDUSDT"},
        {"symbol": "x", "quoteVolume": "1"},
        7,
    ]

    assert parse_day_volumes(rows) == {"AAAUSDT": "1.5"}
    with pytest.raises(FrameInvalid):
        parse_day_volumes({"symbol": "AAAUSDT"})


def mini(symbol: str, close: str) -> LastPrice:
    (found,) = parse_mini_tickers(
        json.dumps([{"e": "24hrMiniTicker", "E": 1, "s": symbol, "c": close}]).encode()
    )
    return found


@pytest.mark.row("B-62")
def test_mini_tickers_are_the_last_prices_of_the_market() -> None:
    """Mini tickers give the newest price of each symbol, wrapped or raw, with its age."""
    raw = b'[{"e":"24hrMiniTicker","E":1,"s":"BTCUSDT","c":"61000.10"}]'
    wrapped = b'{"stream":"!miniTicker@arr","data":' + raw + b"}"
    monitor = PriceMonitor(NoticeBoard())

    monitor.take(parse_mini_tickers(raw), {}, 1000)
    monitor.take([*parse_mini_tickers(wrapped), mini("ETHUSDT", "3300")], {}, 2000)

    assert [ticker.close_units for ticker in parse_mini_tickers(wrapped)] == [6_100_010_000_000]
    assert monitor.heard(["BTCUSDT", "ETHUSDT", "XRPUSDT"], 62_000) == 2
    assert monitor.heard(["BTCUSDT"], 62_001) == 0


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{}", b"[1]", b'[{"e":"trade","E":1,"s":"A","c":"1"}]'),
        *(b'[{"e":"24hrMiniTicker","E":1,"s":"A"}]', b'[{"e":"24hrMiniTicker","s":"A","c":"1"}]'),
        b'[{"e":"24hrMiniTicker","E":-1,"s":"A","c":"1"}]',
    ],
)
def test_array_that_holds_no_mini_tickers_is_refused(data: bytes) -> None:
    """An array without mini tickers is refused as a whole."""
    with pytest.raises(FrameInvalid):
        parse_mini_tickers(data)


@pytest.mark.row("C-89", "B-62")
def test_price_that_stands_still_while_the_market_moves_is_told_once() -> None:
    """A price that stands still while the market moves is reported once."""
    board = NoticeBoard()
    monitor = PriceMonitor(board)
    followed = {"BTCUSDT": 100 * 10**8}

    for second in range(DISAGREEMENT_MS // 1000):
        monitor.take([mini("BTCUSDT", "101.01")], followed, second * 1000)
    early = board.take_all()
    for second in range(DISAGREEMENT_MS // 1000, 40):
        monitor.take([mini("BTCUSDT", "101.01")], followed, second * 1000)
    told = board.take_all()
    monitor.take([mini("BTCUSDT", "101")], followed, 50_000)
    for second in range(60, 60 + DISAGREEMENT_MS // 1000 + 1):
        monitor.take([mini("BTCUSDT", "98.98")], followed, second * 1000)

    assert early == []
    assert [notice.kind for notice in told] == ["price_disagrees"]
    assert [notice.kind for notice in board.take_all()] == ["price_disagrees"]
    assert monitor.disagreements == 2


def test_event_names_what_a_position_keeps() -> None:
    """A universe event names held symbols, which are followed without being traded."""
    resolution = resolve(config(), listings(info("AAA")), volumes(AAA="2000000"))

    event = resolution.event(config(), {"AAAUSDT", "BBBUSDT"}, 3)

    assert event.kept == ("BBBUSDT",)
    assert event.traded == ("AAAUSDT",)
    assert event.quote_volumes == {"AAAUSDT": "2000000"}
    assert event.generation == 3
    assert replace(config(), mode="static").is_dynamic is False
