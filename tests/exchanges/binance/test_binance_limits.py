"""Request limits of Binance: allowed paths, weights, and silence after refusals."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from random import Random

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
    minute = budget.begin(MINUTE_MS - 1, 40)

    assert budget.left(MINUTE_MS) == 10
    budget.answered(MINUTE_MS + 1, 40, 40, minute)
    assert budget.left(MINUTE_MS + 1) == 10
    assert budget.left(2 * MINUTE_MS) == 50


@untimed
@given(st.integers(0, 10**9), st.sampled_from([-20_000, 0, 300]))
def test_answers_in_any_order_keep_every_minute_below_the_share(seed: int, skew_ms: int) -> None:
    """Four requests at a time overtake each other; the venue counts each one when it arrives."""
    random, budget = Random(seed), WeightBudget(50, limit_per_minute=600)
    budget.skew_ms = skew_ms
    counted: Counter[int] = Counter()
    # Each event with its time, weight and minute of sending; `used` once the venue has counted it.
    flying: list[tuple[int, int, int, int | None]] = []
    now = 0
    for weight in random.choices([2, 5, 20, 50], k=80):
        while len(flying) == 4 or budget.wait_ms(now, weight):
            now += random.choice([1, 20, 200])
            for event in sorted(flying, key=lambda each: each[0]):
                at_ms, its_weight, minute, used = event
                if at_ms > now:
                    continue
                flying.remove(event)
                if used is not None:
                    budget.answered(now, its_weight, used, minute)
                    continue
                arrived = (at_ms + skew_ms) // MINUTE_MS
                counted[arrived] += its_weight
                back_ms = at_ms + random.choice([5, 80, 400])
                flying.append((back_ms, its_weight, minute, counted[arrived]))
        minute = budget.begin(now, weight)
        flying.append((now + random.choice([5, 80, 400]), weight, minute, None))

    assert all(used <= 300 for used in counted.values())


def test_count_of_a_request_from_the_minute_before_is_not_the_new_minutes() -> None:
    """An answer that comes after the turn may bring the whole count of the minute before."""
    budget = WeightBudget(50, limit_per_minute=6000)
    minute = budget.begin(MINUTE_MS - 1, 5)
    budget.answered(MINUTE_MS + 50, 5, 2_900, minute)

    assert budget.used == 5


def test_minutes_are_counted_apart() -> None:
    """Weight counts from zero in the next minute."""
    budget = WeightBudget(50, limit_per_minute=100)
    for start, end in pairwise(range(0, 4 * MINUTE_MS, MINUTE_MS)):
        assert budget.wait_ms(start, 50) == 0
        budget.sent(start, 50)
        assert budget.wait_ms(start + 1, 1) == end - start - 1
