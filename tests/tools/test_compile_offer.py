"""The offer of compiled cores: only where it saves more than ten seconds, with its cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot import compiled
from minibot.cli.backtest import is_compilable
from tests.backtest.markets import bar_profile


@pytest.fixture(autouse=True)
def without_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests may have built the cores."""
    monkeypatch.delenv(compiled.SWITCH, raising=False)
    monkeypatch.setattr(compiled, "PROJECT", tmp_path)


def test_offer_names_gain_cost_and_command_above_ten_seconds() -> None:
    """At ten seconds saved there is none yet."""
    text = compiled.offer(60.0)

    assert compiled.offer(20.0) == ""
    assert "30 s" in text
    assert "python -m tools.compile" in text
    assert "ten minutes of CPU" in text


def test_offer_of_a_build_that_stands_names_its_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to build; and nothing is offered once it is used."""
    monkeypatch.setattr(compiled, "stale", lambda folder: None)
    text = compiled.offer(60.0)
    monkeypatch.setenv(compiled.SWITCH, "1")

    assert "MINIBOT_COMPILED=1" in text
    assert "tools.compile" not in text
    assert compiled.offer(60.0) == ""


@pytest.mark.parametrize(
    ("words", "is_most"),
    [
        (["klines:a.csv"], True),
        (["klines:a.csv", "columns:b"], True),
        (["tape:demo"], False),
        (["klines:a.csv", "run:c"], False),
    ],
)
def test_only_rows_gain_from_compiled_cores(words: list[str], is_most: bool) -> None:
    """Tapes and nights are bound by JSON."""
    assert is_compilable(words, bar_profile()) is is_most


def test_readme_offers_compiled_cores_with_what_they_cost(project: Path) -> None:
    """The readme says from when compiled cores pay, and names the cost that `backtest` names."""
    text = " ".join((project / "README.md").read_text(encoding="utf-8").split())
    offered = text.partition("[Compiled cores]")[2].partition("**")[0]

    assert compiled.OFFERED_S_MIN / compiled.SHARE_SAVED == 20
    assert "over twenty seconds" in offered
    assert "ten minutes of CPU" in offered
    assert "ten minutes of CPU" in compiled.offer(60.0)
