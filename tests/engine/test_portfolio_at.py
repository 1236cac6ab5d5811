"""Portfolio of a recorded run at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.engine.portfolio_at import portfolio_at
from minibot.engine.recorded_run import Recorded
from minibot.kernel.errors import InvariantError
from tools.golden.fixture import golden_runs


def test_run_without_an_opening_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty control queue is told as such, as one that begins with another event is."""
    run = next(one for one in golden_runs() if one.name == "crash_run")
    recorded = Recorded.open(run.unpack(tmp_path))
    monkeypatch.setattr(Recorded, "events", lambda self, queue: iter(()))

    with pytest.raises(InvariantError, match="control does not begin with run_opening"):
        portfolio_at(recorded, 0)
