"""Tables of a run for notebooks, as pandas gets them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minibot.read import Run, run
from minibot.report.trades import RoundTrip
from tests.report.made_run import made_run, read_fixture


class Frame:
    """Table with as much of a pandas DataFrame as it needs: rows and names of columns."""

    def __init__(self, rows: list[dict[str, Any]], columns: Sequence[str] | None = None) -> None:
        """Take the names of the rows where none are given."""
        self.columns = columns or list(dict.fromkeys(name for row in rows for name in row))


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run with trades, whose tables are frames of these tests."""
    pandas = ModuleType("pandas")
    vars(pandas)["DataFrame"] = Frame
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    return run(made_run(tmp_path / "var"))


def test_tables_of_a_night_without_a_trade_have_their_columns(whole: Run, tmp_path: Path) -> None:
    """A script over many nights sums the column `net` of each, also of a quiet one."""
    data = read_fixture()
    events = [event for event in data["events"] if event["type"] != "fill"]
    quiet = run(made_run(tmp_path / "quiet", {**data, "events": events}))

    assert (quiet.rows.trades, quiet.rows.fills) == ([], [])
    assert list(quiet.trades.columns) == list(whole.trades.columns)
    assert {*RoundTrip("", 0).to_json()} - {"opened_ts", "closed_ts"} < {*quiet.trades.columns}
    assert set(quiet.fills.columns) >= set(whole.fills.columns)
    assert {"time", "close", "volume", "is_history"} <= set(quiet.bars("DOGEUSDT").columns)
