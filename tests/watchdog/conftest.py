"""Fixtures of several modules of the watchdog's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.watchdog.watchdog_stage import Watched


@pytest.fixture
def watches() -> Iterator[list[Watched]]:
    """Factory of supervisors, whose processes end with the test."""
    made: list[Watched] = []
    yield made
    for watch in made:
        watch.end()
