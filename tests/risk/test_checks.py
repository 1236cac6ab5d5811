"""Checks: a judged row as it is written in an action."""

from __future__ import annotations

import pytest

from minibot.risk.checks import Gate


@pytest.mark.parametrize("first", [True, False])
def test_same_numbers_are_written_with_their_own_verdict(*, first: bool) -> None:
    """A quote whose notional passes fails by another bound of the venue, or the reverse."""
    gate = Gate("quote_notional", "min_notional")

    found = [gate.written(5, 4, passed).passed for passed in (first, not first, not first)]

    assert found == [first, not first, not first]


def test_each_value_is_written_beside_the_limit_it_was_judged_by() -> None:
    """A value that changes under an unchanged limit, and a limit under an unchanged value."""
    gate = Gate("orders", "order_rate")

    found = [gate.written(value, limit, True) for value, limit in ((5, 9), (6, 9), (6, 8))]

    assert [(check.value, check.threshold) for check in found] == [
        ("5", "9"),
        ("6", "9"),
        ("6", "8"),
    ]
