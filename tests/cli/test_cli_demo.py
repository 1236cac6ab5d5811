"""`minibot demo`: real bars, the profile of real nights, its page, and what the figures mean."""

from __future__ import annotations

import shlex
import webbrowser
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minibot.backtest.report.edge import Edge, edge_of, edge_text
from minibot.backtest.search.backtest_job import Job
from minibot.backtest.search.ranges import parse_range
from minibot.backtest.search.walk_forward import judge
from minibot.cli import demo
from minibot.cli.main import parser
from minibot.cli.support.outcome import demo_rows
from minibot.report.night import Night
from minibot.runtime.configuration.config import load_config
from minibot.runtime.context import STOPPED
from tests.runs import ShortRun, verb


def trades(*nets: str | None) -> list[dict[str, Any]]:
    """Trades of a document with these results; one that is open has none."""
    return [{"net": net} for net in nets]


@pytest.mark.process
def test_demo_runs_the_nights_own_profile_over_the_shipped_bars_and_keeps_its_page(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal no browser opens, whatever is asked for."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    done = verb(var_dir, "demo")

    (page,) = var_dir.glob("backtests/*/report.html")
    lines = done.out.splitlines()
    assert done.code == 0, done.err
    assert "klines:btcusdt-1m" in done.out
    assert "note:" not in done.err
    assert page.name in done.out
    assert [line.split(" ")[0] for line in lines[-7:]] == [
        "result",
        "market",
        "nights",
        "tuned",
        "edge",
        "test",
        "next",
    ]
    assert opened == []


@pytest.mark.parametrize(
    ("is_terminal", "ci", "is_watched"),
    [(True, "", True), (True, "true", False), (False, "", False)],
)
def test_browser_opens_for_a_person_at_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, ci: str, is_watched: bool
) -> None:
    """A pipe and a CI have nobody who looks."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)

    assert demo.is_watched() is is_watched


def test_demo_tunes_nothing() -> None:
    """Its profile is the file of real nights as it stands, on bars of a minute at least."""
    config = load_config(demo.PROFILE, [], {})

    assert config.profile == "nore"
    assert config.strategy.bar_interval == "1m"
    assert config.strategy.cost_gate is True


def test_command_that_tells_an_edge_is_one_that_searches() -> None:
    """Its words are the parser's, and its range is one that a search may take."""
    arguments = parser("optimise").parse_args(shlex.split(demo.HOW)[1:])
    config = load_config(arguments.config, [], {})

    ranges = [parse_range(text, config.raw) for text in arguments.vary]

    judge(Job(tuple(arguments.source), config.raw), ranges)
    assert config.raw == load_config(demo.PROFILE, [], {}).raw


def test_edge_is_the_mean_of_closed_trades_with_its_standard_error() -> None:
    """1, 2, 3 and 6: a mean of 3, a deviation of the square root of 14/3, over the root of 4."""
    edge = edge_of(trades("1", "2", None, "3", "6"))

    assert (edge.trades, edge.mean) == (4, Decimal(3))
    assert edge.error == pytest.approx(Decimal("1.0801234497"))
    assert edge_of(trades()) == Edge(0, Decimal(0), Decimal(0))


@pytest.mark.parametrize(
    ("count", "mean", "words"),
    [
        (29, "9", "not shown by 29 trades"),
        (30, "2.00", "none: the mean trade made +2.00 USDT after fees"),
        (30, "2.01", "perhaps: the mean trade made +2.01 USDT after fees"),
        (99, "-1", "none: the mean trade made -1.00 USDT after fees"),
    ],
)
def test_edge_is_claimed_beyond_two_standard_errors_of_enough_trades(
    count: int, mean: str, words: str
) -> None:
    """At twice its error a mean is still what chance makes."""
    assert edge_text(Edge(count, Decimal(mean), Decimal(1)), "USDT").startswith(words)


def test_edge_in_a_dear_asset_shows_its_error() -> None:
    """An edge counted in BTC keeps the digits that two places would round to nothing."""
    nets = [{"net": f"{net}E-8"} for net in (1234, -520, 77, 310, -90, 55) * 6]

    assert edge_text(edge_of(nets), "BTC") == (
        "none: the mean trade made +0.00000178 BTC after fees, with a standard error of "
        "0.0000009; an edge would be above +0.00000181"
    )


def test_end_of_the_shipped_demo_says_what_it_shows_and_what_is_next(short_run: ShortRun) -> None:
    """The recording of a few minutes shows the machine; an own strategy on it is no demo."""
    night = Night.open(short_run.run_dir)
    elsewhere = demo_rows(night, 0)
    night.manifest.config["embedded"]["source"] = "tape:demo"
    rows, stopped, unproven = (demo_rows(night, code) for code in (0, STOPPED, 1))
    night.manifest.config["strategy"]["source"] = {"file": "strategies/mine.py"}

    assert elsewhere == demo_rows(None, 0) == demo_rows(night, 0) == []
    assert rows[0].text.startswith("shows the machine, not a strategy")
    assert rows[-1].text.endswith("minibot demo")
    assert stopped[-1].text.endswith("minibot explain --stop")
    assert unproven == stopped[:-1] == rows[:-1]
