"""Words of `minibot parity`: costs add up as they are shown, and each event has a name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from minibot.backtest.parity import summary_of
from minibot.cli.diff import _event_words, effect
from minibot.cli.support.parity_words import cost_words
from minibot.events.model import Event, RiskStanding
from minibot.replay.rule_order import DerivedEvent
from minibot.report.figures import NONE

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


@pytest.mark.parametrize(
    ("one", "other", "line"),
    [
        ("-7.68700000", "-7.68700000", "pnl -7.69 -7.69"),
        ("-7.68700000", "8", "pnl -7.69 8.00 *"),
        ("-7.68700000", "-7.69100000", "pnl -7.68700000 -7.69100000 *"),
        (None, "1", f"pnl {NONE} 1.00 *"),
    ],
)
def test_amounts_that_differ_are_marked_and_never_look_alike(
    one: str | None, other: str, line: str
) -> None:
    """To the cent both would be the same, in the table of `diff` and of `parity`."""
    sides = [SimpleNamespace(figures=lambda pnl=pnl: {"pnl": pnl}) for pnl in (one, other)]

    assert " ".join(effect(*sides)[-1].split()) == line  # type: ignore[arg-type]


def test_event_that_decides_nothing_is_named_by_its_type() -> None:
    """A standing of the account has no decision to tell, but `parity` and `diff` name it."""
    standing = RiskStanding(state="ACTIVE", tier=0, equity="100")
    event = Event(0, "id", "risk_role", "run", "", standing)

    assert summary_of(event) == "risk_state"
    assert _event_words(DerivedEvent("risk_actions", 7, event, 0, 0)).endswith(" risk_state")
