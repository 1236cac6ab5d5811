"""Errors between processes: content and type survive."""

from __future__ import annotations

import copy
import pickle

import pytest

from minibot.kernel.errors import (
    ConfigError,
    IntegrityError,
    InvariantError,
    LockBusy,
    MinibotError,
    Refusal,
    RunStop,
)

ERRORS: list[MinibotError] = [
    RunStop("risk", "RISK_LIMIT", "too much"),
    IntegrityError("journal", "HASH_MISMATCH", "wrong", file="a", line=2, expected="x", found="y"),
    InvariantError("portfolio", "INVARIANT_BROKEN", "less than nothing"),
    Refusal("there is no run.", "Start one.", 2),
    ConfigError("1 violation.", ["a: unknown key"]),
    LockBusy("held by 7"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_error_sent_to_another_process_says_and_carries_the_same(error: MinibotError) -> None:
    """A worker's refusal arrives as if raised here."""
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
    assert str(copy.copy(error)) == str(error)
