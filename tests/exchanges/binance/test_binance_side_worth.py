"""Worth of one side of a book, held against a plain sum over all its levels."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.exchanges.binance import book as book_module
from minibot.exchanges.binance.book import BookSide

UNIT = 10**8
# Few prices, so that levels are set, changed, removed and set again; some far out, and the same
# price in two spellings. Bounds move by less than the line's slack, and by more.
CENTS = [*range(9_900, 10_101, 3), 9_000, 9_700, 10_300, 11_000]
PRICES = [f"{cents // 100}.{cents % 100:02d}{tail}" for cents in CENTS for tail in ("", "000000")]
# Zeros in two lengths; sizes of eight places and of more, also one that rounds down to nothing.
SIZES = [
    *("0", "0.00000000", "0.0000000000", "1"),
    *("0.5", "2.00000001", "0.000000019", "0.000000001"),
]
# One draw of all levels that there are, instead of one for each part of it.
LEVELS = [(price, size) for price in PRICES for size in SIZES]
ROWS = st.lists(st.sampled_from(LEVELS).map(list), max_size=12)
BOUNDS = st.one_of(
    st.integers(9_980, 10_020).map(lambda cents: cents * UNIT // 100),
    st.integers(89 * UNIT, 111 * UNIT),
    st.sampled_from(CENTS).map(lambda cents: cents * UNIT // 100),
)
# Several diffs between two questions, as in a night.
STEPS = st.lists(st.tuples(st.lists(ROWS, max_size=3), BOUNDS), min_size=1, max_size=12)


def plain_sum(side: dict[Decimal, str], bound: int, *, is_bid: bool) -> int:
    """Return the worth of the levels at a bound or better, each reckoned from its texts."""
    total = 0
    for price, qty in side.items():
        key = int(price * UNIT)
        if key >= bound if is_bid else key <= bound:
            total += key * int(Decimal(qty) * UNIT)
    return total


def changed(side: dict[Decimal, str], rows: list[list[str]]) -> None:
    """Apply rows to levels by price."""
    for price, qty in rows:
        if Decimal(qty):
            side[Decimal(price)] = qty
        else:
            side.pop(Decimal(price), None)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(is_bid=st.booleans(), first=ROWS, steps=STEPS)
def test_worth_after_any_diffs_and_bounds_is_the_plain_sum(
    is_bid: bool, first: list[list[str]], steps: list[tuple[list[list[list[str]]], int]]
) -> None:
    """Whatever changed and wherever the bound went since the last question."""
    side = BookSide(is_bid=is_bid)
    plain: dict[Decimal, str] = {}
    for diffs, bound in [([first], 100 * UNIT), *steps]:
        for rows in diffs:
            side.apply(rows)
            changed(plain, rows)

        assert side.worth(bound) == plain_sum(plain, bound, is_bid=is_bid)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(is_bid=st.booleans(), steps=STEPS)
def test_worth_behind_cuts_is_the_plain_sum_of_what_is_kept(
    is_bid: bool, steps: list[tuple[list[list[list[str]]], int]]
) -> None:
    """A side that is cut, and changes that nobody asked for in time, begin anew."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(book_module, "LEVELS_MAX", 4)
        side = BookSide(is_bid=is_bid)
        plain: dict[Decimal, str] = {}
        for diffs, bound in steps:
            for rows in diffs:
                side.apply(rows)
                changed(plain, rows)
                if side.cut() is not None:
                    best = sorted(plain, reverse=is_bid)[:4]
                    plain = {price: plain[price] for price in best}

            assert side.worth(bound) == plain_sum(plain, bound, is_bid=is_bid)
