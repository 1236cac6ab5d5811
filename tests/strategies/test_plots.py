"""Lines that a strategy plots: kept for a page, no part of what is decided, refused when wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.backtest.driver import run_backtest
from minibot.backtest.sources.bars import BarSource
from minibot.engine.run_result import BacktestResult
from minibot.events.model import JsonObject
from minibot.kernel.errors import InvariantError, RunStop
from minibot.runtime.configuration.config import Config
from minibot.strategies.plots import LINES_MAX, NAME_CHARS_MAX, POINTS_MAX, Plots, PlottedLine
from minibot.strategies.trial import Trial, findings
from tests.backtest.markets import bar_profile, series, walk

HEAD = '''"""A strategy for a test."""

from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Mine(Strategy):
    """Buys and sells in turns, and plots."""

    def __init__(self, settings):
        self.n = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), history=5)

    def on_bar(self, bar, view):
        self.n += 1
'''
TRADES = """
        if self.n % 40 == 20:
            return buy("up", ())
        if self.n % 40 == 0 and view.is_long:
            return sell("down", ())
        return None
"""
LINE = 18  # Of the file: the first after `self.n += 1`.


def written(folder: Path, plot: str) -> Path:
    """Write a strategy that plots."""
    path = folder / "mine.py"
    path.write_text(f"{HEAD}        {plot}\n{TRADES}", encoding="utf-8")
    return path


def profile(path: Path) -> Config:
    """Return a profile of bars with the strategy of a file."""
    return bar_profile(f"strategy.name={path.stem}", f"strategy.folder={path.parent}")


def backtest(path: Path, *, draws: bool) -> BacktestResult:
    """Return the result over a random walk."""
    config = profile(path)
    return run_backtest(BarSource(series(walk(300)), config), config, draws=draws)


def test_lines_are_kept_for_a_page_alone_and_change_no_decision(tmp_path: Path) -> None:
    """With a page there is a value for each bar; digest and state are those without plots."""
    path = written(tmp_path, 'view.plot("close", bar.close); view.plot("n", self.n)')
    drawn, bare = backtest(path, draws=True), backtest(path, draws=False)
    path = written(tmp_path, "pass")
    without = backtest(path, draws=True)

    lines = drawn.lines["BTCUSDT"]
    assert list(lines) == ["close", "n"]
    assert [value for _, value in lines["n"]] == list(range(1, 301))
    assert [ts for ts, _ in lines["close"]] == [candle.end_ts for candle in walk(300)]
    assert bare.lines == without.lines == {}
    assert drawn.digest == bare.digest
    fills = [[event.payload for event in each.of("fills")] for each in (drawn, without)]
    assert fills[0] == fills[1] != []


@pytest.mark.parametrize(
    ("plot", "said"),
    [
        ("view.plot(5, 1.0)", "view.plot(5, ...): expected a text of 1 to 40 characters"),
        ('view.plot("", 1.0)', "expected a text of 1 to 40 characters as the name"),
        ('view.plot("x", float("nan"))', "expected a finite number, found nan"),
        ('view.plot("x", 1e308 * 10)', "expected a finite number, found inf"),
        ('view.plot("x", "1")', "expected a number, found str"),
        ('view.plot("x", True)', "expected a number, found bool"),
        ('view.plot("n" + str(self.n), 1.0)', "expected at most 8 lines of a symbol, which are n1"),
    ],
)
def test_wrong_plot_is_refused_with_its_line(tmp_path: Path, plot: str, said: str) -> None:
    """In a backtest with a page, and in the trial of strategy-check; a night draws nothing."""
    path = written(tmp_path, plot)

    with pytest.raises(RunStop) as stop:
        backtest(path, draws=True)
    assert stop.value.reason_code == "STRATEGY_ERROR"
    assert f"mine.py, line {LINE}: " in stop.value.detail
    assert said in stop.value.detail
    trial = Trial.of(profile(path).raw)
    with pytest.raises(RunStop, match=r"view\.plot"):
        trial.bars([100.0] * 20, "1m")
    assert findings(path) == []
    assert backtest(path, draws=False).lines == {}


def test_trial_shows_what_was_plotted_before_and_after_a_restart(tmp_path: Path) -> None:
    """A restart keeps the values: they belong to the page and not to the state."""
    trial = Trial.of(profile(written(tmp_path, 'view.plot("n", self.n)')).raw)
    trial.bars([100.0] * 3, "1m")
    trial.restart()
    trial.bars([100.0] * 2, "1m")

    assert [value for _, value in trial.plotted["n"]] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_value_that_is_not_known_yet_draws_nothing() -> None:
    """An indicator is None while it warms up; the line begins with its first value."""
    plots = Plots()
    plots.add("BTCUSDT", 1, "rsi", None)
    plots.add("BTCUSDT", 2, "rsi", 50)
    plots.add("BTCUSDT", 2, "rsi", 51)

    assert plots.lines() == {"BTCUSDT": {"rsi": [(2, 51.0)]}}


def test_names_and_lines_have_a_bound_on_both_sides() -> None:
    """The longest name and the last line are taken; one more is refused."""
    plots = Plots()
    for number in range(LINES_MAX):
        plots.add("BTCUSDT", 1, str(number).rjust(NAME_CHARS_MAX, "n"), 1.0)
    plots.add("ETHUSDT", 1, "another", 1.0)

    for name in ("one more", "n" * (NAME_CHARS_MAX + 1)):
        with pytest.raises(InvariantError):
            plots.add("BTCUSDT", 1, name, 1.0)


@settings(max_examples=15)
@given(st.integers(1, 10_000), st.integers(1, 100))
def test_line_of_any_length_stays_small_and_keeps_its_ends(step: int, part: int) -> None:
    """Values in order of time, at most so many, the last one as it was."""
    line = PlottedLine()
    count = POINTS_MAX + part * 50
    for number in range(count):
        line.add(number * step, float(number))

    points = line.points()
    assert len(points) <= POINTS_MAX
    assert len(points) > POINTS_MAX // 3
    times = [ts for ts, _ in points]
    assert times == sorted(set(times))
    assert points[0][0] == 0
    assert points[-1][1] == count - 1


def test_state_of_a_snapshot_says_nothing_of_plots(tmp_path: Path) -> None:
    """Else a night and its backtest would differ by a picture."""
    states: list[JsonObject] = []
    for plot in ('view.plot("n", self.n)', "pass"):
        trial = Trial.of(profile(written(tmp_path, plot)).raw)
        trial.bars([100.0] * 3, "1m")
        states.append(trial._core.state())

    assert states[0] == states[1]
