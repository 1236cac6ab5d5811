"""`minibot profit`: earnings of all runs of one `var`."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from minibot.kernel.files import read_hashed, write_hashed
from tests.runs import ShortRun, verb


@pytest.mark.row("N-78")
def test_profit_of_two_runs_is_the_sum_of_what_each_wrote(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Profit of two runs is the exact sum; simulated runs are marked, missing figures explained."""
    run = short_run.run_dir
    runs = tmp_path / "var" / "runs"
    names = ("20251120_000000", "20251121_000000", "20251122_000000")
    for name in names:
        (runs / name).mkdir(parents=True)
        shutil.copy2(run / "manifest.json", runs / name)
        shutil.copy2(run / "metrics.json", runs / name)
    figures = read_hashed(run / "metrics.json")
    lost = {"round_trips": 2, "wins": 0, "fees": "0.20000000", "pnl": "-1.10000001"}
    changed = {**figures, "performance": {**figures["performance"], **lost}}
    del changed["sha256"]
    write_hashed(runs / names[1] / "metrics.json", changed)
    (runs / names[2] / "metrics.json").unlink()

    said = verb(tmp_path / "var", "profit", "--json")
    shown = verb(tmp_path / "var", "profit")

    assert said.code == shown.code == 0
    (both,) = said.document["together"]
    assert (both["data"], both["quote_asset"]) == ("simulated", "USDT")
    first = figures["performance"]
    assert Decimal(both["result"]) == Decimal(first["pnl"]) + Decimal("-1.10000001")
    assert int(both["trades"]) == first["round_trips"] + 2
    assert [row["result"] is None for row in said.document["runs"]] == [False, False, True]
    assert f"{names[2]}: no figures" in shown.out
    assert "together, simulated: " in shown.out
    assert names[1] in shown.out


def test_profit_without_runs_says_so(tmp_path: Path) -> None:
    """An empty `var` is no error of profit."""
    (tmp_path / "var").mkdir(mode=0o700)

    said = verb(tmp_path / "var", "profit")

    assert said.code == 0
    assert "no result" in said.out
