"""Counts of orders in the rules of a symbol: told where the profile asks, else as before."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.field_types import WHOLE_MAX
from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.binance.venue import BINANCE
from minibot.market.feed import Feed
from minibot.market.symbol import FeedConfig
from tests.instruments import of_filters

SYMBOL = "BTCUSDT"
FREE: list[dict[str, Any]] = [
    {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "0", "tickSize": "0.01"},
    {"filterType": "LOT_SIZE", "minQty": "0", "maxQty": "0", "stepSize": "0.001"},
]
COUNTS = {
    "orders_max": 200,
    "algo_orders_max": 5,
    "order_lists_max": 20,
    "trailing_sell_min": 10,
    "trailing_sell_max": 2000,
}


@pytest.mark.parametrize(("is_on", "told"), [(True, COUNTS), (False, {})])
def test_counts_are_told_only_where_the_profile_asks(is_on: bool, told: dict[str, int]) -> None:
    """A feed whose profile lacks `execution.order_counts` tells rules as it did before."""
    config = FeedConfig((SYMBOL,), ("1m",), 0, writes_order_counts=is_on)
    feed = Feed(config, 0, BINANCE.dialect)
    rules = of_filters(
        SYMBOL,
        *FREE,
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingBelowDelta": 10,
            "maxTrailingBelowDelta": 2000,
        },
    )
    feed.on_instruments([rules], 0)

    ((payload, _),) = feed.take()
    assert {name: value for name, value in payload.to_json().items() if name in COUNTS} == told


def test_count_that_no_event_carries_is_told_as_the_largest_one() -> None:
    """A venue may write a bound that nothing reaches as 2**63 - 1; an event has no such number."""
    counts = {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 2**63 - 1}

    rules = of_filters(SYMBOL, *FREE, counts)

    assert rules.orders_max == WHOLE_MAX


def test_count_that_is_no_whole_number_is_refused() -> None:
    """A filter with a count that is no whole number, or negative, is not a rule."""
    for count in ("200", -1, True):
        with pytest.raises(FrameInvalid, match="maxNumOrders"):
            of_filters(SYMBOL, *FREE, {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": count})
