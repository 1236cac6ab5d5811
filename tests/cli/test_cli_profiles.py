"""Profiles of every verb: loaded from file, environment and `--set`, with no key unread."""

from __future__ import annotations

import argparse
import json
from copy import deepcopy
from pathlib import Path

import pytest

from minibot.cli.main import parser, verbs
from minibot.cli.support.profile import own_var, profile_of
from minibot.runtime.configuration.config import load_config
from minibot.runtime.configuration.config_schema import config_schema
from minibot.strategies.unread_keys import READ_BY_RUN
from tests.backtest.markets import walk, write_klines
from tests.runs import PROJECT, Completed, ShortRun, verb

DEMO = "config/nore-demo.v1.json"
OWN = """
from minibot.strategies.protocol import Needs, Settings, Strategy, whole


class Own(Strategy):
    PARAMETERS = (whole("rsi_length", 14, low=2, high=50, what="bars"),)

    def __init__(self, settings: Settings) -> None:
        self.length = settings.whole("rsi_length"){more}

    @staticmethod
    def needs(settings: Settings) -> Needs:
        return Needs(intervals=("1s",), history=5)

    def on_bar(self, bar, view):
        return None
"""


def flags_of(name: str) -> set[str]:
    """Return the flags of a verb from its parser."""
    subparsers = parser(name)._subparsers
    assert subparsers is not None
    choices = subparsers._group_actions[0].choices
    assert isinstance(choices, dict)
    command = choices[name]
    assert isinstance(command, argparse.ArgumentParser)
    return {flag for action in command._actions for flag in action.option_strings}


# Found through the parsers, so that a new verb is not forgotten.
TAKING_A_PROFILE = sorted(name for name in verbs() if {"--config", "--set"} <= flags_of(name))
# Required arguments of some verbs; all others have defaults.
WORDS = {
    "config": ("check",),
    "data": ("check", "no-such-file.csv"),
    "download-data": ("--pairs", "BTC/USDT", "--from", "2025-01-01", "--to", "2025-01-02"),
    "optimise": ("--vary", "strategy.score_min=50:60"),
    "service": ("install", "night", "--dry-run"),
    "scan": ("--source", "klines:btcusdt-1m"),
    "size": ("BTCUSDT", "--price", "60000"),
}


def started(name: str, var: Path, *words: str) -> Completed:
    return verb(var, name, *WORDS.get(name, ()), "--config", DEMO, *words)


def test_verbs_that_take_a_profile_are_found() -> None:
    """The list of verbs with a profile is not empty, so the tests below test something."""
    assert {"backtest", "config", "doctor", "night", "optimise"} <= set(TAKING_A_PROFILE)


@pytest.mark.row("N-92")
@pytest.mark.parametrize("name", TAKING_A_PROFILE)
def test_verb_takes_a_variable_of_the_environment(
    name: str, var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of the environment counts: its value breaks a rule together with the file's."""
    monkeypatch.setenv("MINIBOT__RISK__ORDER_NOTIONAL", "1500")

    done = started(name, var_dir)

    assert done.code == 4, done.err
    assert "risk.order_notional = " in done.err
    assert "(MINIBOT__RISK__ORDER_NOTIONAL)" in done.err
    assert "risk.position_notional_max (1000)" in done.err


@pytest.mark.row("N-92")
@pytest.mark.parametrize("name", TAKING_A_PROFILE)
def test_verb_refuses_a_misspelt_variable_with_the_nearest_key(
    name: str, var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt variable is refused with the nearest key, never ignored."""
    monkeypatch.setenv("MINIBOT__RISK__ORDER_NOTIONL", "300")

    done = started(name, var_dir)

    assert done.code == 4, done.err
    assert "MINIBOT__RISK__ORDER_NOTIONL" in done.err
    assert "did you mean risk.order_notional?" in done.err


def test_variable_with_one_line_after_its_first_word_is_refused(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable with one underscore after its first word is refused, as it would set nothing."""
    monkeypatch.setenv("MINIBOT_RISK__ORDER_NOTIONAL", "300")

    done = started("config", var_dir)

    assert done.code == 4
    assert "MINIBOT_RISK__ORDER_NOTIONAL: expected MINIBOT__SECTION__KEY" in done.err


def test_var_beside_the_working_folder_is_taken_by_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typed `--var ../var` is meant; in a profile's own file it would lead out of the project."""
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    words = ["--config", str(PROJECT / DEMO), "--var", "../var"]
    arguments = parser("doctor").parse_args(["doctor", *words])

    config = profile_of(arguments, *own_var(arguments))

    assert config.var.root == tmp_path / "var"


@pytest.mark.parametrize("source", ["klines", "run"])
def test_backtest_reckons_with_the_environment(
    source: str,
    short_run: ShortRun,
    tmp_path: Path,
    var_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backtest uses the environment's keys; `--set` overrides them."""
    word = f"run:{short_run.run_dir}"
    bars = ["--set", 'market.bar_intervals=["1m","15m"]', "--set", "strategy.bar_interval=1m"]
    words = [*bars, "--set", "strategy.trend_interval=15m", "--set", "portfolio.cash=30000"]
    if source == "klines":
        word = f"klines:{write_klines(tmp_path, walk(30))}"
    else:
        words = []
    monkeypatch.setenv("MINIBOT__PORTFOLIO__CASH", "20000")
    monkeypatch.setenv("MINIBOT__RISK__ORDER_NOTIONAL", "300")

    done = verb(var_dir, "backtest", "--source", word, *words, "--fills", "touch", "--json")

    assert done.code == 0, done.err
    folder = next((var_dir / "backtests").iterdir())
    config = json.loads((folder / "result.json").read_bytes())["config"]
    assert config["risk"]["order_notional"] == "300"
    assert config["portfolio"]["cash"] == ("30000" if source == "klines" else "20000")


# --- keys unread by the chosen strategy ----------------------------------------------------


def own(folder: Path, more: str = "") -> tuple[str, ...]:
    (folder / "own.py").write_text(OWN.format(more=more), encoding="utf-8")
    return ("--set", "strategy.name=own", "--set", f"strategy.folder={folder}")


def unread(name: str, origin: str, strategy: str, nearest: str) -> str:
    return (
        f"({origin}): {strategy} does not read it; did you mean its parameter strategy.{nearest}?"
    )


@pytest.mark.process
def test_key_that_an_own_strategy_does_not_read_is_refused_with_its_nearest_parameter(
    tmp_path: Path, var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that a user's strategy does not read is refused with its nearest parameter."""
    monkeypatch.setenv("MINIBOT__STRATEGY__SCORE_MIN", "70")

    done = started("config", var_dir, *own(tmp_path), "--set", "strategy.rsi_period=21")
    monkeypatch.delenv("MINIBOT__STRATEGY__SCORE_MIN")
    fine = started("config", var_dir, *own(tmp_path), "--set", "strategy.parameters.rsi_length=21")

    nearest = "parameters.rsi_length"
    assert done.code == 4
    assert f"strategy.rsi_period = 21 {unread('', '--set', 'own', nearest)}" in done.err
    assert "strategy.score_min = 70 (MINIBOT__STRATEGY__SCORE_MIN): own does not read" in done.err
    assert fine.code == 0, fine.err


@pytest.mark.parametrize("name", ["backtest", "config", "doctor", "night", "size"])
def test_verb_refuses_an_amount_that_the_sizing_does_not_read(name: str, var_dir: Path) -> None:
    """An order of 100 that would be one of 800 is refused, not bought."""
    words = ("--set", "risk.sizing=share", "--set", "risk.order_notional=100")

    done = started(name, var_dir, *words)

    assert done.code == 4
    assert 'risk.order_notional = "100" (--set): of no effect, as risk.sizing is' in done.err


@pytest.mark.parametrize("name", ["backtest", "config", "doctor", "night", "optimise"])
def test_verb_that_runs_a_strategy_refuses_a_key_that_it_does_not_read(
    name: str, var_dir: Path
) -> None:
    """Every verb that runs a strategy refuses keys that the strategy does not read."""
    words = ("--set", "strategy.name=rsi_band", "--set", "strategy.rsi_period=21")
    vary = ("--vary", "strategy.parameters.period=10:20") if name == "optimise" else ()

    done = started(name, var_dir, *words, *vary)

    assert done.code == 4
    assert f"strategy.rsi_period = 21 {unread('', '--set', 'rsi_band', 'parameters.period')}" in (
        done.err
    )


@pytest.mark.parametrize(
    "words",
    [
        ("backtest", "--sweep", "strategy.rsi_period=7,14"),
        ("optimise", "--vary", "strategy.rsi_period=7:14"),
    ],
    ids=["sweep", "vary"],
)
def test_search_over_a_key_that_is_not_read_is_refused(
    words: tuple[str, ...], var_dir: Path
) -> None:
    """A search over an unread key is refused, because all its rows would be equal."""
    done = verb(var_dir, *words, "--config", DEMO, "--set", "strategy.name=rsi_band")

    assert done.code == 4
    assert "strategy.rsi_period = 7 (--set): rsi_band does not read it" in done.err


def test_replay_under_another_key_that_is_not_read_is_refused(short_run: ShortRun) -> None:
    """A replay with another value of an unread key is refused."""
    done = verb(
        short_run.var,
        *("replay", "latest", "--set", "strategy.name=ema_cross"),
        *("--set", "strategy.rsi_period=9"),
    )

    assert done.code == 4
    assert "ema_cross does not read it" in done.err


def test_key_in_a_file_of_ones_own_counts_where_no_shipped_profile_has_its_value(
    tmp_path: Path, var_dir: Path
) -> None:
    """A user's file may repeat unread keys of a shipped profile; other values are refused."""
    raw = deepcopy(load_config(PROJECT / DEMO).raw)
    raw["strategy"]["name"] = "rsi_band"
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    copied = verb(var_dir, "config", "check", "--config", str(path))
    raw["strategy"]["rsi_period"] = 22
    path.write_text(json.dumps(raw), encoding="utf-8")

    altered = verb(var_dir, "config", "check", "--config", str(path))

    assert copied.code == 0, copied.err
    assert altered.code == 4
    assert "strategy.rsi_period = 22 (mine.json): rsi_band does not read it" in altered.err


@pytest.mark.process
def test_key_that_an_own_strategy_takes_from_the_profile_is_read(
    tmp_path: Path, var_dir: Path
) -> None:
    """A key that a user's strategy reads through `settings.profile` is accepted."""
    more = '\n        self.other = settings.profile["strategy"]["rsi_period"]'

    done = started("config", var_dir, *own(tmp_path, more), "--set", "strategy.rsi_period=21")

    assert done.code == 0, done.err


def test_what_a_run_reads_of_its_strategy_are_keys_of_the_section() -> None:
    """The list of keys that a run reads of its strategy names existing keys alone."""
    known = set(config_schema()["properties"]["strategy"]["properties"])

    assert known >= READ_BY_RUN - {"source"}
    assert known - READ_BY_RUN >= {"rsi_period", "cooldown_ms", "cost_gate"}


@pytest.mark.parametrize(
    "sweep",
    [
        ("strategy.cost_gate_atr_mult=3,5",),
        ("strategy.rsi_period=5,30", "strategy.cost_gate_atr_mult=3,5"),
    ],
    ids=["alone", "beside another"],
)
def test_sweep_says_which_key_changes_no_decision(
    sweep: tuple[str, ...], tmp_path: Path, var_dir: Path
) -> None:
    """A sweep says which key changes no decision: with the cost gate off, its factor."""
    bars = ["--set", 'market.bar_intervals=["1m","15m"]', "--set", "strategy.bar_interval=1m"]
    words = ["--source", f"klines:{write_klines(tmp_path, walk(180, seed=5))}", *bars]
    words += ["--set", "strategy.trend_interval=15m", "--set", "strategy.cost_gate=false"]
    for axis in sweep:
        words += ["--sweep", axis]

    done = verb(var_dir, "backtest", *words, "--jobs", "1")

    assert done.code == 0, done.err
    lines = [line.split()[1] for line in done.out.splitlines() if line.startswith("WARNING")]
    assert lines == ["strategy.cost_gate_atr_mult"]
