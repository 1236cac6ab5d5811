"""Fields in which two JSON values differ."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.engine.field_differences import differing_fields


@pytest.mark.parametrize(
    ("one", "two"), [(1, True), (0, False), ([1, {"x": 0}], [1, {"x": False}]), ([[1]], [[True]])]
)
def test_truth_and_number_differ(one: Any, two: Any) -> None:
    """Python calls 1 and true equal; in JSON they are two values, also within a list."""
    assert differing_fields({"a": {"b": one}}, {"a": {"b": two}}) == {"a.b": (one, two)}


@pytest.mark.parametrize("value", [1, True, None, "1", [1, {"x": [True, None]}], {}])
def test_equal_values_do_not_differ(value: Any) -> None:
    """A value equals itself."""
    assert differing_fields({"a": value}, {"a": value}) == {}
