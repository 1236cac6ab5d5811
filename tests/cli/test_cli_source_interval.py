"""`minibot backtest` on a file of bars that are longer than the profile's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from minibot.backtest.sources.source_interval import fitted_sets, interval_sets
from minibot.events.intervals import INTERVAL_MS
from minibot.runtime.configuration.config import load_config
from tests.backtest.markets import PROFILE, START_MS, walk, write_klines
from tests.runs import Completed, verb

PORTFOLIO = "config/portfolio.v1.json"
OWN = """
from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Turns(Strategy):
    @staticmethod
    def needs(settings):
        return Needs(intervals=(str(settings.profile["strategy"]["bar_interval"]),), history=0)

    def on_bar(self, bar, view):
        return buy("up") if bar.close > bar.open else sell("down")
"""
FINER = "the profile's bars of 1s (trend 1m) are finer than the source"


def backtest(var: Path, path: Path, *words: str) -> Completed:
    """Run the verb on a file of bars, once."""
    flags = ("--fills", "touch", "--json")
    return verb(var, "backtest", "--source", f"klines:{path}", *flags, *words)


def test_minute_bars_need_no_option(var_dir: Path, tmp_path: Path) -> None:
    """Minute bars need no option: the result equals explicit intervals, with one line about it."""
    path = write_klines(tmp_path, walk(300))
    by_hand = ('market.bar_intervals=["1m","1h"]', "strategy.bar_interval=1m")
    sets = [part for text in (*by_hand, "strategy.trend_interval=1h") for part in ("--set", text)]

    done, named = backtest(var_dir, path), backtest(var_dir, path, *sets)

    assert (done.code, named.code) == (0, 0), done.err + named.err
    assert done.document["digest"] == named.document["digest"]
    assert [line for line in done.err.splitlines() if FINER in line] == done.err.splitlines()
    assert done.document["assumptions"][0].startswith(FINER)
    assert done.document["assumptions"][1:] == named.document["assumptions"]
    assert FINER not in named.err


@pytest.mark.parametrize(
    ("name", "words", "remedy"),
    [
        ("BTCUSDT-1m.csv", ("--timeframe", "1w"), "decide on shorter ones"),
        ("FOO-1m.csv", (), "Name a pair, such as BTCUSDT"),
    ],
)
def test_bars_that_cannot_be_traded_are_refused_with_what_to_name(
    name: str, words: tuple[str, ...], remedy: str, var_dir: Path, tmp_path: Path
) -> None:
    """No bars are longer than a week's, and a file's symbol has to tell what pays for it."""
    done = backtest(var_dir, write_klines(tmp_path, walk(300), name), *words)

    assert done.code != 0
    assert remedy in done.err


@pytest.mark.parametrize("interval", ["4h", "6h", "8h", "12h", "1d"])
def test_trend_of_long_bars_has_a_fixed_length(
    interval: str, var_dir: Path, tmp_path: Path
) -> None:
    """A trend as long as the profile's would be a month, of which no bar has a known length."""
    length_ms = INTERVAL_MS[interval]
    bars = [
        bar._replace(open_ts=START_MS + n * length_ms, end_ts=START_MS + (n + 1) * length_ms)
        for n, bar in enumerate(walk(60))
    ]
    path = write_klines(tmp_path, bars, f"BTCUSDT-{interval}.csv")

    done = backtest(var_dir, path)

    assert done.code == 0, done.err
    assert f"bars of {interval} (trend 1w)" in done.err


def test_own_strategy_decides_on_the_files_bars(var_dir: Path, tmp_path: Path) -> None:
    """A user's strategy decides on the file's bars, like a shipped one."""
    path = write_klines(tmp_path, walk(300))
    (tmp_path / "turns.py").write_text(OWN)
    own = ("--set", f"strategy.folder={tmp_path}", "--set", "strategy.name=turns")

    done = backtest(var_dir, path, *own)

    assert done.code == 0, done.err
    assert FINER in done.err
    assert done.document["digest"]
    assert len(done.document["trades"]) > 1


def test_interval_that_was_given_is_refused_as_before(var_dir: Path, tmp_path: Path) -> None:
    """An interval given by the user is never replaced."""
    path = write_klines(tmp_path, walk(300))

    done = backtest(var_dir, path, "--set", "strategy.bar_interval=1s")

    assert done.code == 4
    assert "bars of 1m cannot be combined into 1s" in done.err
    assert FINER not in done.err


@pytest.mark.parametrize(
    ("interval", "chosen", "ranks"),
    [
        ("1m", [], []),
        ("1h", [], ["scanner.bar_interval=1h"]),
        ("1h", ["scanner.bar_interval=4h"], []),
    ],
)
def test_scanner_ranks_by_bars_that_the_source_has(
    interval: str, chosen: list[str], ranks: list[str]
) -> None:
    """A scanner of minutes ranks by the bars of a coarser source, unless a person chose others."""
    sets = interval_sets(interval, load_config(PORTFOLIO, chosen))

    assert [each for each in sets if each.startswith("scanner")] == ranks


def test_coarser_profile_and_other_sources_stay_as_they_are(tmp_path: Path) -> None:
    """A coarser profile, a tape and a missing file are treated as before."""
    word = f"klines:{write_klines(tmp_path, walk(300))}"
    config = load_config(PROFILE)
    on_minutes = replace(config.strategy, bar_interval="1m")
    fitting = replace(config, strategy=on_minutes)

    assert fitted_sets([word], config)
    assert not fitted_sets([word], fitting)
    assert not fitted_sets(["tape:demo"], config)
    assert not fitted_sets([word, "tape:demo"], config)
    assert not fitted_sets([f"klines:{tmp_path}/ETHUSDT-1m.csv"], config)
