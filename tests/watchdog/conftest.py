"""What several modules of the watchdog's tests start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.watchdog.watchdog_stage import Watched


@pytest.fixture
def watches() -> Iterator[list[Watched]]:
    """Supervisors made by a test; all their processes end with it."""
    made: list[Watched] = []
    yield made
    for watch in made:
        watch.end()
