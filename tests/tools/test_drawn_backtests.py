"""tools.drawn_backtests: all ways give the same, and a way that is broken on purpose is named."""

from __future__ import annotations

import re

import pytest

from minibot.engine.decision_record import DecisionRecord
from minibot.engine.row_run import RowRun
from minibot.engine.walked_bars import WalkedBars
from minibot.engine.walked_portfolio import WalkedPortfolio
from minibot.risk.core import RiskCore
from minibot.risk.plan_reports import PlanReports
from tools.drawn_backtests.__main__ import main

pytestmark = pytest.mark.campaign

SEED = ("--seed", "6")


@pytest.mark.parametrize("market", ["bars", "ticks"])
def test_drawn_backtests_give_the_same_in_all_ways(
    market: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line counts them and their fills, and no difference."""
    assert main(["--count", "8", *SEED, "--market", market]) == 0

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("8 backtests, ")
    assert last.endswith(" fills, 0 differences")
    assert " 0 fills" not in last


@pytest.mark.parametrize(
    ("market", "cls", "method", "differing"),
    [
        ("bars", WalkedPortfolio, "on_mid", "equity(, performance)?"),
        ("bars", WalkedBars, "settle", "(equity, )?performance"),
        ("bars", DecisionRecord, "_log", "review, figures, figures"),
        ("bars", PlanReports, "restore", "restarts, state of risk_role"),
        ("ticks", RowRun, "on_message", "equity, performance"),
        ("ticks", RiskCore, "skip_to", "derived, digest, equity, performance, states"),
    ],
)
def test_way_that_is_broken_is_named(
    market: str,
    cls: type,
    method: str,
    differing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Steps that do nothing change figures or states; a line says which backtest shows it.

    A key that is new in a profile changes what is drawn, so no single number is relied on.
    """
    monkeypatch.setattr(cls, method, lambda *_: None)

    assert main(["--count", "16", *SEED, "--market", market]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert any(re.fullmatch(rf"seed 6, number \d+: {differing}", line) for line in lines)
