"""Request limits of Binance: allowed paths, weights, and silence after refusals."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.events.unit_sizes import MINUTE_MS
from minibot.exchanges.binance.limits import (
    DAY_TICKERS,
    DEPTH,
    EXCHANGE_INFO,
    KLINES,
    PING,
    TIME,
    depth_weight,
    weight_of,
)
from minibot.exchanges.weight_budget import WeightBudget
from minibot.kernel.errors import RunStop

# The time of an example depends on the machine, not on the product.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("limit", "weight"),
    [(1, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (1001, 250), (5000, 250)],
)
def test_depth_weight_changes_at_the_documented_sizes(limit: int, weight: int) -> None:
    """Both sides of every step of the venue's table."""
    assert depth_weight(limit) == weight
    assert weight_of(DEPTH, {"limit": limit}) == weight


@pytest.mark.parametrize(
    ("names", "weight"), [(1, 2), (20, 2), (21, 40), (100, 40), (101, 80), (0, 80)]
)
def test_tickers_of_a_day_weigh_by_the_number_of_symbols(names: int, weight: int) -> None:
    """A list of symbols weighs 2 up to twenty, 40 up to a hundred, and as all beyond that."""
    listed = json.dumps([f"A{number}USDT" for number in range(names)])

    assert weight_of(DAY_TICKERS, {"symbols": listed}) == weight
    assert weight_of(DAY_TICKERS, {"symbol": "AUSDT"}) == 2


def test_weights_of_the_other_requests() -> None:
    """Weights as the venue documents them."""
    assert [weight_of(path, {}) for path in (PING, TIME, EXCHANGE_INFO, KLINES)] == [1, 1, 20, 2]


@pytest.mark.row("F119")
@pytest.mark.parametrize(
    "path",
    [
        "/api/v3/order",
        "/api/v3/order/test",
        "/api/v3/account",
        "/api/v3/openOrders",
        "/api/v3/userDataStream",
        "/sapi/v1/capital/withdraw/apply",
        "/api/v3/ping/../order",
        "/api/v3/ping?x=/order",
        "//api/v3/ping",
        "",
    ],
)
def test_path_off_the_list_stops_the_run(path: str) -> None:
    """A request for orders, accounts or withdrawals ends the run."""
    with pytest.raises(RunStop) as stop:
        weight_of(path, {})

    assert stop.value.reason_code == "REAL_ORDER_ATTEMPT"


@pytest.mark.row("S-46")
@untimed
@given(
    st.lists(
        st.tuples(st.integers(0, 20_000), st.sampled_from([1, 2, 5, 20, 50, 250])), max_size=60
    )
)
def test_weight_in_any_minute_stays_below_the_share(requests: list[tuple[int, int]]) -> None:
    """A caller that waits as told stays below its share of any minute's weight."""
    budget = WeightBudget(50, limit_per_minute=600)
    now = 0
    by_minute: dict[int, int] = {}
    for pause, weight in requests:
        now += pause
        now += budget.wait_ms(now, weight)
        assert budget.wait_ms(now, weight) == 0
        budget.sent(now, weight)
        by_minute[now // MINUTE_MS] = by_minute.get(now // MINUTE_MS, 0) + weight

    assert all(used <= 300 for used in by_minute.values())


def test_count_of_the_venue_wins_over_the_own() -> None:
    """The venue's count overrides ours, because other programs at the address share the budget."""
    budget = WeightBudget(50, limit_per_minute=6000)
    budget.sent(1000, 1)
    budget.reported(1000, 2999)

    assert budget.wait_ms(2000, 1) == 0
    assert budget.wait_ms(2000, 2) == 58_000


@pytest.mark.row("S-46", "F105")
def test_silence_lasts_to_the_millisecond() -> None:
    """After 429 a request is refused up to the venue's time, and allowed from then on."""
    budget = WeightBudget(50, limit_per_minute=6000)
    budget.silence(10_000, 2_000)

    assert budget.silent_until_ms == 12_000
    assert budget.wait_ms(11_999, 1) == 1
    assert budget.wait_ms(12_000, 1) == 0


@pytest.mark.row("F106")
def test_later_shorter_silence_does_not_end_a_ban() -> None:
    """A ban is not shortened by later answers."""
    budget = WeightBudget(50, limit_per_minute=6000)
    budget.silence(0, 120_000)
    budget.silence(1_000, 1_000)

    assert budget.wait_ms(60_000, 1) == 60_000
    assert budget.wait_ms(120_000, 1) == 0


def test_requests_under_way_at_the_turn_of_a_minute_count_in_the_next_one() -> None:
    """The venue may count a request when it arrives, so it has a place in both minutes."""
    budget = WeightBudget(50, limit_per_minute=100)
    budget.begin(MINUTE_MS - 1, 40)

    assert budget.left(MINUTE_MS) == 10
    budget.answered(MINUTE_MS + 1, 40, used=40)
    assert budget.left(MINUTE_MS + 1) == 10
    assert budget.left(2 * MINUTE_MS) == 50


def test_minutes_are_counted_apart() -> None:
    """Weight counts from zero in the next minute."""
    budget = WeightBudget(50, limit_per_minute=100)
    for start, end in pairwise(range(0, 4 * MINUTE_MS, MINUTE_MS)):
        assert budget.wait_ms(start, 50) == 0
        budget.sent(start, 50)
        assert budget.wait_ms(start + 1, 1) == end - start - 1
