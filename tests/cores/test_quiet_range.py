"""Quiet range: the one predicate for a tick that changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.cores.scaled_tick import ANY_TOUCH, QuietRange

BID, ASK, TS = 100, 104, 1_000
# Bid, spread and time of ticks, and bounds on which some of them lie.
TOUCHES = st.lists(
    st.tuples(st.integers(3, 6), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=4
)


def quiet(**bounds: int) -> QuietRange:
    """Return a range with these bounds."""
    made = QuietRange()
    for name, value in bounds.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("bounds", "is_inside"),
    [
        ({}, True),
        ({"above": BID - 1}, True),
        ({"above": BID}, False),
        ({"below": BID + 1}, True),
        ({"below": BID}, False),
        ({"least": BID + ASK}, True),
        ({"least": BID + ASK + 1}, False),
        ({"most": BID + ASK}, True),
        ({"most": BID + ASK - 1}, False),
        ({"until": TS + 1}, True),
        ({"until": TS}, False),
    ],
)
def test_range_contains_a_tick_up_to_each_bound(bounds: dict[str, int], is_inside: bool) -> None:
    """A range contains a tick up to each bound: bid between, sum within, time before."""
    assert quiet(**bounds).contains(BID, ASK, TS) is is_inside


def test_range_contains_no_crossed_touch_and_no_bid_of_nothing() -> None:
    """A range contains neither a crossed touch nor a bid of zero."""
    assert not ANY_TOUCH.contains(BID, BID - 1, TS)
    assert ANY_TOUCH.contains(BID, BID, TS)
    assert not ANY_TOUCH.contains(0, ASK, TS)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    touches=TOUCHES,
    above=st.integers(1, 4),
    below=st.integers(5, 8),
    least=st.integers(5, 8),
    most=st.integers(10, 15),
    until=st.integers(2, 5),
)
def test_extremes_of_ticks_lie_within_only_where_each_tick_does(
    touches: list[tuple[int, int, int]], above: int, below: int, least: int, most: int, until: int
) -> None:
    """Extremes of many ticks lie within only if each single tick does."""
    made = quiet(above=above, below=below, least=least, most=most, until=until)
    ticks = [(bid, bid + spread, ts) for bid, spread, ts in touches]
    bids, sums = [bid for bid, _, _ in ticks], [bid + ask for bid, ask, _ in ticks]
    last_ts = max(ts for _, _, ts in ticks)

    is_within = made.contains_all(min(bids), max(bids), min(sums), max(sums), last_ts)

    assert is_within is all(made.contains(*tick) for tick in ticks)
