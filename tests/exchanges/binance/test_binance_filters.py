"""Symbol rules from exchangeInfo of several years."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from minibot.accounting.order_rules import OrderRules
from minibot.events.model import Instrument
from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.binance.filters import (
    is_spot,
    parse_instrument,
    parse_instruments,
    weight_limit,
)

PRICE = {
    "filterType": "PRICE_FILTER",
    "minPrice": "0.01",
    "maxPrice": "1000000",
    "tickSize": "0.01",
}
LOT = {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"}
MARKET_LOT = {
    "filterType": "MARKET_LOT_SIZE",
    "minQty": "0.00000000",
    "maxQty": "83.76572430",
    "stepSize": "0.00000000",
}
BY_SIDE = {
    "filterType": "PERCENT_PRICE_BY_SIDE",
    "bidMultiplierUp": "5",
    "bidMultiplierDown": "0.2",
    "askMultiplierUp": "4",
    "askMultiplierDown": "0.3",
    "avgPriceMins": 5,
}
NOTIONAL = {
    "filterType": "NOTIONAL",
    "minNotional": "5.00000000",
    "applyMinToMarket": True,
    "maxNotional": "9000000.00000000",
    "applyMaxToMarket": False,
    "avgPriceMins": 5,
}
ICEBERG = {"filterType": "ICEBERG_PARTS", "limit": 100}
MIN_NOTIONAL = {"filterType": "MIN_NOTIONAL", "minNotional": "10.0", "applyToMarket": True}


def info(*filters: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "isSpotTradingAllowed": True,
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "filters": list(filters),
        **changes,
    }


def recorded_infos(shared_data: Path, name: str) -> list[dict[str, Any]]:
    """Return all symbols of a recorded exchangeInfo of 2021."""
    with gzip.open(shared_data / "binance-ws-cryptofeed" / name, "rt") as file:
        for line in file:
            if "exchangeInfo -> " in line:
                body = json.loads(line.partition(": ")[2])
                found: list[dict[str, Any]] = body["symbols"]
                return found
    raise AssertionError(f"no exchangeInfo in {name}")


@pytest.mark.row("B-02")
def test_filters_of_today_give_all_rules() -> None:
    """Today's filters (NOTIONAL, bands by side, market order limit) stand in the instrument."""
    instrument = parse_instrument(info(PRICE, LOT, MARKET_LOT, BY_SIDE, NOTIONAL))

    assert instrument == Instrument(
        symbol="BTCUSDT",
        base_asset="BTC",
        quote_asset="USDT",
        status="TRADING",
        price_increment="0.01",
        qty_increment="0.00001",
        qty_min="0.00001",
        qty_max="9000",
        notional_min="5.00000000",
        origin="exchange",
        market_qty_max="83.76572430",
        notional_max="9000000.00000000",
        bid_percent_up="5",
        bid_percent_down="0.2",
        ask_percent_up="4",
        ask_percent_down="0.3",
        price_min="0.01",
        price_max="1000000",
        market_qty_min="0.00000000",
        market_qty_increment="0.00000000",
        market_notional_min="5.00000000",
        market_notional_max="0",
        percent_minutes=5,
    )


def test_filter_of_an_unknown_type_is_named_and_the_rest_is_read() -> None:
    """An unknown filter is named in bounded length, and the rest is read."""
    made = [{"filterType": f"NEW_RULE_{n:02}"} for n in range(40)]
    odd = {"filterType": "new rule\n"}

    instrument = parse_instrument(info(PRICE, LOT, ICEBERG, odd, *made))

    assert instrument.filters_unknown is not None
    assert len(instrument.filters_unknown) == 16
    assert instrument.filters_unknown[0] == "NEW_RULE_00"
    assert parse_instrument(info(PRICE, LOT, odd)).filters_unknown == ("UNREADABLE",)
    assert parse_instrument(info(PRICE, LOT, ICEBERG)).filters_unknown is None


def test_switches_for_market_orders_are_read_as_they_stand() -> None:
    """A minimum that exempts market orders does not apply to them; an unclear one does."""
    off = parse_instrument(info(PRICE, LOT, {**NOTIONAL, "applyMinToMarket": False}))
    unclear = parse_instrument(info(PRICE, LOT, {**NOTIONAL, "applyMinToMarket": "no"}))
    without = {key: value for key, value in NOTIONAL.items() if key != "applyMinToMarket"}
    silent = parse_instrument(info(PRICE, LOT, without))
    capped = parse_instrument(info(PRICE, LOT, {**NOTIONAL, "applyMaxToMarket": True}))
    old = parse_instrument(info(PRICE, LOT, {**MIN_NOTIONAL, "applyToMarket": False}))

    assert (off.notional_min, off.market_notional_min) == ("5.00000000", "0")
    assert unclear.market_notional_min == "5.00000000"
    assert silent.market_notional_min == "5.00000000"
    assert capped.market_notional_max == "9000000.00000000"
    assert (old.notional_min, old.market_notional_min) == ("10.0", "0")


def test_both_percent_filters_the_narrower_band_counts() -> None:
    """The narrower of two percent bands counts; a multiple of zero is none."""
    both = {"filterType": "PERCENT_PRICE", "multiplierUp": "3", "multiplierDown": "0.25"}
    off = {"filterType": "PERCENT_PRICE", "multiplierUp": "0", "multiplierDown": "0"}

    narrow = parse_instrument(info(PRICE, LOT, BY_SIDE, both))
    wide = parse_instrument(info(PRICE, LOT, BY_SIDE, off))

    assert (narrow.bid_percent_up, narrow.bid_percent_down) == ("3", "0.25")
    assert (narrow.ask_percent_up, narrow.ask_percent_down) == ("3", "0.3")
    assert (wide.bid_percent_up, wide.ask_percent_down) == ("5", "0.3")


def test_largest_position_is_read() -> None:
    """MAX_POSITION stands in the instrument."""
    item = {"filterType": "MAX_POSITION", "maxPosition": "10.00000000"}

    assert parse_instrument(info(PRICE, LOT, item)).position_max == "10.00000000"


def test_filters_of_2021_give_the_same_kind_of_rules(shared_data: Path) -> None:
    """Filters of 2021: MIN_NOTIONAL and one band for both sides are read too."""
    path = shared_data / "message-fixtures/binance/nautilus/http_spot_market_exchange_info.json"
    body = json.loads(path.read_text())

    bitcoin, ether = parse_instruments(body, ["BTCUSDT", "ETHUSDT"])

    assert (bitcoin.notional_min, bitcoin.notional_max) == ("10.00000000", None)
    assert (bitcoin.bid_percent_up, bitcoin.ask_percent_down) == ("5", "0.2")
    assert ether.qty_increment == "0.00010000"
    assert weight_limit(body) == 1200


def test_weight_of_another_span_is_not_that_of_a_minute() -> None:
    """Only the request weight of one minute is the budget's limit."""
    minute = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6}
    others = [
        {**minute, "intervalNum": 5, "limit": 25},
        {**minute, "interval": "SECOND", "limit": 2},
        {**minute, "rateLimitType": "ORDERS", "limit": 3},
    ]

    assert weight_limit({"rateLimits": [*others, minute]}) == 6
    assert weight_limit({"rateLimits": others}) is None


def test_both_notional_filters_the_higher_minimum_counts() -> None:
    """The higher of two notional minimums counts."""
    assert parse_instrument(info(PRICE, LOT, NOTIONAL, MIN_NOTIONAL)).notional_min == "10.0"


@pytest.mark.parametrize(
    "name",
    ["2021-08-14_BINANCE.0.gz", "2021-10-11_BINANCE.0.gz", "2021-10-11_BINANCE_US.0.gz"],
)
def test_every_recorded_spot_symbol_gives_usable_rules(shared_data: Path, name: str) -> None:
    """Every recorded spot symbol's rules are read as exact integers."""
    infos = [item for item in recorded_infos(shared_data, name) if is_spot(item)]

    rules = [OrderRules.of(parse_instrument(item)) for item in infos]

    assert len(rules) > 50
    assert all(rule.price_step > 0 and rule.qty_step > 0 for rule in rules)


@pytest.mark.row("B-02")
@pytest.mark.parametrize(
    "changes",
    [
        {"isSpotTradingAllowed": False},
        {"permissionSets": [["MARGIN", "TRD_GRP_004"]]},
        {"permissionSets": [], "permissions": ["LEVERAGED"]},
        {"permissionSets": [["SPOT"], ["TRD_GRP_004"]]},
    ],
)
def test_symbol_that_is_not_spot_is_refused(changes: dict[str, Any]) -> None:
    """A symbol that is not traded on spot is refused."""
    with pytest.raises(FrameInvalid, match="spot"):
        parse_instrument(info(PRICE, LOT, **changes))


@pytest.mark.parametrize("word", [None, "", "Halt", "HALT-2", "trading", "9" * 99, 5])
def test_status_of_an_unusual_word_can_stand_in_an_event_and_does_not_trade(word: object) -> None:
    """A status that is no word of the venue closes its symbol alone, as an event can say."""
    status = parse_instrument(info(PRICE, LOT, status=word)).status

    assert re.fullmatch(r"[A-Z_]{1,40}", status)
    assert status != "TRADING"


@pytest.mark.parametrize("key", ["baseAsset", "quoteAsset"])
@pytest.mark.parametrize("name", [None, "", "bt c", 5])
def test_asset_that_no_event_can_carry_is_refused(key: str, name: object) -> None:
    """A symbol whose asset has no usable name is refused."""
    with pytest.raises(FrameInvalid, match=key):
        parse_instrument(info(PRICE, LOT, **{key: name}))


@pytest.mark.parametrize("filters", [(), (PRICE,), (LOT,), (PRICE, {**LOT, "stepSize": 0.1})])
def test_symbol_without_the_needed_filters_is_refused(filters: tuple[dict[str, Any], ...]) -> None:
    """A symbol without tick size or lot size is refused."""
    with pytest.raises(FrameInvalid):
        parse_instrument(info(*filters))


def test_symbol_that_is_not_listed_is_named() -> None:
    """An unlisted symbol is named in the refusal."""
    with pytest.raises(FrameInvalid, match="NOPEUSDT"):
        parse_instruments({"symbols": [info(PRICE, LOT)]}, ["BTCUSDT", "NOPEUSDT"])


@pytest.mark.parametrize("body", [None, [], {}, {"symbols": None}, {"symbols": [1]}])
def test_answer_that_is_no_exchange_info_is_refused(body: object) -> None:
    """An answer that is no exchangeInfo is refused."""
    with pytest.raises(FrameInvalid):
        parse_instruments(body, ["BTCUSDT"])


def test_origin_of_the_embedded_exchange_is_kept() -> None:
    """Rules from a table or a tape keep that origin, and never pass for the exchange's own."""
    assert parse_instrument(info(PRICE, LOT, origin="derived")).origin == "derived"
    assert parse_instrument(info(PRICE, LOT, origin="whatever")).origin == "exchange"
