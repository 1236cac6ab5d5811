"""Unread keys: what the refusal of a key that a strategy does not read tells its reader."""

from __future__ import annotations

import pytest

from minibot.strategies.declaration import whole
from minibot.strategies.unread_keys import unread_violations

PARAMETERS = (
    whole("fast", 10, low=2, high=200, what="bars of the fast average"),
    whole("slow", 50, low=2, high=200, what="bars of the slow average"),
)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("fastt", "did you mean its parameter strategy.parameters.fast?"),
        ("rsi_period", "its parameters: fast, slow"),
    ],
)
def test_unread_key_gets_the_parameter_it_resembles_or_all_of_them(key: str, told: str) -> None:
    """A key that resembles no parameter is answered by their names, not by a chance likeness."""
    section = {"name": "own", key: 21}

    (violation,) = unread_violations(section, PARAMETERS, {f"strategy.{key}": "--set"})

    assert violation == f"strategy.{key} = 21 (--set): own does not read it; {told}"
