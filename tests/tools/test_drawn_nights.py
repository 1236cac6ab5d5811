"""tools.drawn_nights: a drawn night is proven, and a record that was edited is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backtest.test_backtest_night import dearer
from tests.replay.forged import edited
from tests.runs import ShortRun
from tools.drawn_nights import main, proven

pytestmark = [pytest.mark.campaign, pytest.mark.process]


def test_drawn_night_trades_and_is_proven(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line counts nights, fills and no difference."""
    assert main(["--seed", "3", "--number", "0"]) == 0

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("1 nights, ")
    assert last.endswith(" fills, 0 differences")
    assert " 0 fills" not in last


def test_edited_fill_is_told(short_run: ShortRun, tmp_path: Path) -> None:
    """A run in which a fee was changed is not proven."""
    edited(short_run, tmp_path / "runs", "fills", 2, dearer)

    (text,) = proven(tmp_path)

    assert text.startswith("parity: exit code 1")
