"""Campaigns whose cases a seed draws: each prints the seed, by which it can be played again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tools import attack, drawn_nights, file_faults
from tools.attacks.frame import Found
from tools.drawn_backtests import __main__ as drawn_backtests
from tools.risk_storm import __main__ as risk_storm


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (drawn_backtests.main, ["--count", "0"]),
        (drawn_nights.main, ["--count", "0"]),
        (risk_storm.main, ["--events", "1"]),
        (file_faults.main, ["--part", "40", "--only", "no such file"]),
        (attack.main, ["--part", "40"]),
    ],
    ids=["backtests", "nights", "risk storm", "file faults", "attacks"],
)
def test_campaign_prints_the_seed_of_its_part(
    main: Callable[[Sequence[str]], int],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The last lines, which CI shows, name the seed."""
    monkeypatch.setattr(attack, "FOLDER", tmp_path)
    monkeypatch.setattr(
        attack,
        "play",
        lambda number, one, *_: attack.Played(number, one, Found("held", None, True), 0.0),
    )

    assert main([*words, "--seed", "90210"]) == 0

    assert " by seed 90210" in "\n".join(capsys.readouterr().out.splitlines()[-3:])
