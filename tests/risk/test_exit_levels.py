"""Levels of a position: the bids at which it is left, as a walk through a bar asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.money import UNIT
from minibot.risk.exits import ExitRules, Exits
from tests.risk.desk import SYMBOL, Desk, config
from tests.risk.test_campaign import CAMPAIGN
from tests.risk.test_risk_ladder import LADDER

ROWS: dict[str, Any] = {"risk__recovery": [["300", "hold"], ["700", "exit"]]}


def holder(**changes: Any) -> Desk:
    """Return a desk that holds ten coins bought at 100."""
    one = Desk(config(**changes)).ready()
    one.tick("100", "100", trade="100")
    one.buy()
    one.tick("100", "100", trade="100")
    return one


def levels(one: Desk) -> list[int]:
    """Return the levels of the position in whole units of quote."""
    state = one.risk._state
    market = state.positions.of(SYMBOL)
    assert market.holding is not None
    assert market.rules is not None
    found = state.exits.levels(state.exits.of(SYMBOL), market.holding, market.rules)
    assert all(level % UNIT == 0 for level in found)
    return [level // UNIT for level in found]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"risk__stop_bps": "100", "risk__take_profit_bps": "200"}, [99, 102]),
        ({"risk__stop_bps": "100"}, [99]),
        ({"risk__take_profit_bps": "200"}, [102]),
        ({"risk__time_exit_ms": 60_000}, []),
        ({"risk__hard_stop_bps": "1000", "risk__take_profit_bps": "500"}, [90, 105]),
        (LADDER, [90, 102, 104]),
        (CAMPAIGN | ROWS, [90, 97]),
        (CAMPAIGN, [90]),
    ],
)
def test_levels_are_stop_target_rungs_and_the_next_row_as_far_as_they_are_set(
    changes: dict[str, Any], found: list[int]
) -> None:
    """A key that the profile lacks gives no level; a time is none either."""
    assert levels(holder(**changes)) == found


def test_levels_lose_a_rung_that_is_sold_and_a_row_that_is_told() -> None:
    """A level that has done its work is none any more."""
    ladder, campaign = holder(**LADDER), holder(**CAMPAIGN | ROWS)
    for _ in range(2):
        ladder.tick("102", "102", trade="102")
        campaign.tick("97", "97", trade="97")

    assert levels(ladder) == [90, 104]
    assert levels(campaign) == [90, 93]


def test_older_news_of_a_symbol_does_not_lengthen_its_silence() -> None:
    """News that comes late is older: the newest time counts."""
    exits, found = Exits(ExitRules(config())), []
    for ts in (5, 10, 7, 10, 11):
        exits.on_data(SYMBOL, ts)
        found.append(exits.heard_ts(exits.of(SYMBOL), 0))

    assert found == [5, 10, 10, 10, 11]
    assert exits.heard_ts(exits.of(SYMBOL), 20) == 20


def test_purchase_keeps_each_level_that_it_does_not_name() -> None:
    """A stop, a target or a trail replaces its own kind alone; a trail counts from its peak."""
    exits = Exits(ExitRules(config())).of(SYMBOL)
    found = []
    for bought in ((90, 110, 5, 0, 104), (0, 0, 0, 0, 0), (91, 0, 0, 0, 0), (0, 109, 0, 7, 106)):
        exits.on_bought(bought)
        found.append(exits.wished)

    assert found == [
        *[(90, 110, 5, 0, 104)] * 2,
        (91, 110, 5, 0, 104),
        (91, 109, 0, 7, 106),
    ]


def test_refused_order_that_was_to_rest_is_sent_again_at_once_and_then_later() -> None:
    """The first refusal waits for the next tick alone, the second a second, the third two."""
    exits, waits = Exits(ExitRules(config())).of(SYMBOL), []
    for was_refused in (True, True, True, False, True):
        exits.on_rest_ended(was_refused, 10_000)
        waits.append(exits.rest_retry_ts)

    assert waits == [10_000, 11_000, 12_000, 0, 10_000]
