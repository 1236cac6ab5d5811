"""Words of `minibot parity`: the cost and the two results add up as they are shown."""

from __future__ import annotations

import pytest

from minibot.cli.support.parity_words import cost_words

CENT = 1_000_000


@pytest.mark.parametrize(
    ("night", "rule", "words"),
    [
        (-22 * CENT, -22 * CENT, "which changed nothing in the result (-0.22 USDT)"),
        (-31 * CENT, -22 * CENT, "which cost 0.09 USDT (night -0.31, rule order -0.22)"),
        (5 * CENT, -CENT, "which gained 0.06 USDT (night +0.05, rule order -0.01)"),
        # To the cent, both results would be -0.22 beside a gain of 0.01.
        (
            -21_600_000,
            -22_400_000,
            "which gained 0.008 USDT (night -0.216, rule order -0.224)",
        ),
        (3, -1, "which gained 0.00000004 USDT (night +0.00000003, rule order -0.00000001)"),
    ],
)
def test_cost_is_the_difference_of_the_results_as_shown(night: int, rule: int, words: str) -> None:
    assert cost_words(night, rule, "USDT") == words
