"""Library of examples: each keeps to the rules, trades, survives a restart; its result is shown."""

from __future__ import annotations

import ast
import re
from decimal import Decimal
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from minibot.backtest.checks.lookahead import check_lookahead
from minibot.backtest.driver import run_backtest
from minibot.backtest.search.backtest_job import Job
from minibot.cli.main import run as cli
from minibot.cli.new_strategy import LIBRARY, NEEDED
from minibot.events.model import JsonObject
from minibot.kernel.errors import RunStop
from minibot.runtime.configuration.config import load_config
from minibot.strategies.selection import SHIPPED
from tests.backtest.markets import bar_profile, walk, write_klines
from tests.strategies.strategy_feed import PRICE, Feed, config, signals
from tools import examples

each_example = pytest.mark.parametrize("example", list(LIBRARY))


def results_of_the_guide(project: Path) -> dict[tuple[str, str], str]:
    """Return the results that the guide shows, by example and source."""
    page = (project / "docs" / "STRATEGIES.md").read_text(encoding="utf-8")
    lines = page.split(examples.BEGIN)[1].split(examples.END)[0].split("\n")
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")][1:]
    return {
        (row[0].split("`")[1], source): found
        for row in rows
        for source, found in zip(examples.SOURCES, row[-2:], strict=True)
    }


@each_example
def test_example_begun_from_passes_the_test_that_is_written_beside_it(
    own_folder: Path, example: str
) -> None:
    """It keeps to the rules, goes in and out on a wave, and decides the same after a restart."""
    assert cli(["new-strategy", "my_idea", "--from", example, "--folder", str(own_folder)]) == 0
    spec = spec_from_file_location("test_my_idea", own_folder / "test_my_idea.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [item for name, item in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 3

    for test in tests:
        test()


@pytest.mark.parametrize("example", [*LIBRARY, "skeleton"])
def test_commands_of_an_example_begun_from_name_the_keys_that_it_needs(
    own_folder: Path, example: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed as printed, each is a backtest and a night in which the example trades."""
    assert cli(["new-strategy", "my_idea", "--from", example, "--folder", str(own_folder)]) == 0

    printed = [line for line in capsys.readouterr().out.splitlines() if "--strategy" in line]
    needed = NEEDED.get(example, ())
    found = [re.findall(r"--set ((?!strategy\.)\S+)", line) for line in printed]
    assert found == [list(needed), list(needed)]
    load_config(project / "config" / "nore-demo.v1.json", list(needed))


@each_example
def test_example_is_shipped_and_says_when_it_loses(project: Path, example: str) -> None:
    """It can be named without a file of one's own; its first lines are honest."""
    assert SHIPPED[example].__name__ == LIBRARY[example]
    idea, loses = examples.told(example)
    path = project / "minibot" / "strategies" / "examples" / f"{example}.py"

    assert idea
    assert "It loses " in (ast.get_docstring(ast.parse(path.read_text())) or "")
    assert loses.startswith(("in ", "where "))


@pytest.mark.slow
@pytest.mark.parametrize("source", examples.SOURCES)
@pytest.mark.parametrize(
    "example",
    # Its resting orders are judged anew at each tick, which takes longer than all the others.
    [
        pytest.param(name, marks=pytest.mark.campaign) if name == "maker_grid" else name
        for name in LIBRARY
    ],
)
def test_result_of_the_guide_is_that_of_the_shipped_bars(
    project: Path, example: str, source: str
) -> None:
    """No figure of the page is older than the code: python -m tools.examples --write."""
    assert examples.result(example, source) == results_of_the_guide(project)[example, source]


@pytest.mark.slow
def test_table_of_the_guide_is_that_of_the_library(project: Path) -> None:
    """Ideas, losses, needed keys and changes of the markets are those of the code."""
    page = (project / "docs" / "STRATEGIES.md").read_text(encoding="utf-8")
    results = results_of_the_guide(project)

    assert examples.written(page, lambda *words: results[words]) == page


@pytest.mark.slow
@pytest.mark.parametrize("example", ["dca", "maker_grid", "trail_pullback"])
def test_example_with_wishes_trades_by_them_and_looks_at_nothing_ahead(
    example: str, tmp_path: Path
) -> None:
    """Parts, limits and trails are filled in a backtest, and no decision is of the future."""
    path = write_klines(tmp_path, walk(200, seed=3))
    small = {
        "dca": ("strategy.parameters.fall=0.05", "strategy.parameters.gain=0.05"),
        "maker_grid": ("strategy.parameters.step=0.03", "strategy.parameters.gain=0.03"),
        "trail_pullback": (
            *("strategy.parameters.slow=30", "strategy.parameters.trail=20"),
            *("strategy.parameters.near=10", "strategy.parameters.gain=10"),
        ),
    }
    config = bar_profile(
        f"strategy.name={example}",
        *(*small[example], *examples.OWN_EXITS, *NEEDED.get(example, ())),
        *("risk.order_notional=100", "risk.signal_exit=true"),
    )
    job = Job((f"klines:{path}",), config.raw)
    result = run_backtest(job.open(), config)
    answers = [event.to_json()["payload"] for event in result.of("signals")]
    actions = [event.to_json()["payload"] for event in result.of("risk_actions")]
    fills = [event.to_json()["payload"] for event in result.of("fills")]

    assert {fill["side"] for fill in fills} == {"BUY", "SELL"}
    reasons = {action.get("reason_code") for action in actions}
    if example == "dca":
        halves = [one for one in answers if one["side"] == "SELL" and one.get("share_bps") == 5_000]
        assert halves
    elif example == "maker_grid":
        assert {fill["liquidity"] for fill in fills if fill["side"] == "BUY"} == {"MAKER"}
        assert "limit_price" in {name for one in answers for name in one}
    else:
        assert {"adjusted", "signal_stop"} <= reasons
    assert check_lookahead(job, 1, decisions=12, random_moments=3).is_clean


@pytest.mark.parametrize(
    ("example", "parameters", "held", "history", "live", "sides"),
    [
        ("rsi_band", {"period": 2, "warm": 0}, False, (9, 8, 7, 6), (5, 4), ["BUY"]),
        ("atr_trend", {"trend": 2, "period": 1}, True, (9, 9, 6, 6), (6, 6), []),
        (
            *("trail_pullback", {"fast": 2, "slow": 4}, True),
            *((100, 101, 102, 103), (104, 104), ["ADJUST"]),
        ),
    ],
)
def test_bars_of_history_leave_an_example_as_if_it_had_answered_nothing(
    example: str,
    parameters: JsonObject,
    held: bool,
    history: tuple[int, ...],
    live: tuple[int, ...],
    sides: list[str],
) -> None:
    """An example notes as said only answers that were told, and no top before its position."""
    feed = Feed(config(name=example, parameters=parameters))
    feed.last = float(history[0])
    if held:
        feed.fill("BUY", "1")
    for close in history:
        feed.ts += 1_000
        feed.bare_bar(float(close), is_history=True)
    said = signals(feed.bars([float(close) for close in live]))

    assert [signal.side for signal in said] == sides


@pytest.mark.parametrize(("stream", "length_ms"), [("bookTicker", 200), ("trade", 300)])
@pytest.mark.parametrize("example", ["rsi_band", *LIBRARY])
def test_gap_that_tears_no_bar_changes_no_answer_of_an_example_that_is_long(
    example: str, stream: str, length_ms: int
) -> None:
    """A socket is lost between two bars, all of which are there: the sale comes when it is due."""
    parameters = {"rsi_band": {"warm": 0}, "rsi_reversion": {"back": 60}}.get(example, {})
    feeds = [Feed(config(name=example, parameters=parameters)) for _ in range(2)]
    rise = [PRICE * (1.0 + (n + 3 * (n % 3)) / 1_000) for n in range(80)]
    after = [rise[-1] * (1.0 - n / 1_000) for n in range(30)] + [
        PRICE + 40.0 * n for n in range(99)
    ]
    gathered = []
    for n, feed in enumerate(feeds):
        feed.bars(rise)
        feed.fill("BUY", "0.1")
        if n:
            feed.gap(stream, length_ms)
        answers = [signals(feed.bar(close)) for close in after]
        gathered.append([[(one.side, one.reason) for one in signal] for signal in answers])

    assert any(gathered[0])
    assert gathered[1] == gathered[0]


def test_maker_grid_leaves_out_a_rung_that_has_no_price() -> None:
    """Ten rungs of ten percent, as its bounds allow: the tenth is at nothing, and is none."""
    feed = Feed(config(name="maker_grid", parameters={"period": 2, "rungs": 10, "step": "10"}))
    feed.last = 100.0
    said = signals(feed.bars([100.0] * 13))

    limits = [int(Decimal(signal.limit_price or 0)) for signal in said]
    assert limits == [90, 80, 70, 60, 50, 40, 30, 20, 10, 90, 80]


def test_trail_pullback_tells_trails_of_as_many_places_as_risk_takes() -> None:
    """Parameters may have any number of places; the rest is cut, so that a trail is no wider."""
    parameters = {"fast": 2, "slow": 4, "trail": "33.33333", "near": "20.00009"}
    feed = Feed(config(name="trail_pullback", parameters=parameters))
    said = signals(feed.bars([100.0, 101.0, 102.0, 103.0, 102.0]))
    feed.fill("BUY", "1")
    said += signals(feed.bars([104.0]))

    assert [(signal.side, Decimal(signal.trail_bps or 0)) for signal in said] == [
        ("BUY", Decimal("33.3333")),
        ("ADJUST", Decimal("20")),
    ]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ('buy("flood", limit="1e11")', "limit_crosses"),
        ('buy("flood", notional="0.00000001")', "size_wish"),
        ('adjust("loosen", stop="0.01")', "no_position"),
        ('adjust("loosen", trail_bps="5000")', "no_position"),
        ('sell("nothing", qty="0.00000001")', "no_position"),
    ],
)
def test_hostile_wish_with_each_bar_is_refused_by_its_reason(
    tmp_path: Path, answer: str, code: str
) -> None:
    """A strategy that floods risk with impossible wishes trades nothing, and the run goes on."""
    text = (
        '"""Asks for too much."""\n\nfrom minibot.strategies.protocol import *\n\n\n'
        "class Hostile(Strategy):\n    @staticmethod\n    def needs(settings):\n"
        '        return Needs(intervals=("1m",), trades=False)\n\n'
        f"    def on_bar(self, bar, view):\n        return {answer}\n"
    ).replace("import *", "import Needs, Strategy, adjust, buy, sell")
    (tmp_path / "hostile.py").write_text(text, encoding="utf-8")
    config = bar_profile(
        "strategy.name=hostile", f"strategy.folder={tmp_path}", "risk.hard_stop_bps=900"
    )
    path = write_klines(tmp_path, walk(200, seed=3))
    result = run_backtest(Job((f"klines:{path}",), config.raw).open(), config)
    actions = [event.to_json()["payload"] for event in result.of("risk_actions")]

    refused = [one["reason_code"] for one in actions if one.get("action") == "BLOCK"]
    assert refused.count(code) > 100
    assert {one.get("action") for one in actions} <= {"BLOCK", None}
    assert not result.stop


def test_strategy_that_wants_a_price_that_is_no_number_stops_its_run(tmp_path: Path) -> None:
    """NaN reaches no order: the run ends with the strategy's own code, file and line."""
    text = (
        '"""Wants NaN."""\n\nfrom decimal import Decimal\n\n'
        "from minibot.strategies.protocol import Needs, Strategy, adjust\n\n\n"
        "class Nan(Strategy):\n    @staticmethod\n    def needs(settings):\n"
        '        return Needs(intervals=("1m",), trades=False)\n\n'
        '    def on_bar(self, bar, view):\n        return adjust("x", stop=Decimal("NaN"))\n'
    )
    (tmp_path / "nan.py").write_text(text, encoding="utf-8")
    config = bar_profile("strategy.name=nan", f"strategy.folder={tmp_path}")
    path = write_klines(tmp_path, walk(30, seed=3))

    with pytest.raises(RunStop, match=r"nan.py, line 14: ValueError: stop: expected") as caught:
        run_backtest(Job((f"klines:{path}",), config.raw).open(), config)
    assert caught.value.reason_code == "STRATEGY_ERROR"
