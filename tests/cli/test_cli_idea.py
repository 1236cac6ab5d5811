"""Idea of a command line: which keys the flags become, what is shown, and what is refused."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from minibot.cli.main import parser
from minibot.cli.support.idea import fed, take_idea
from minibot.cli.support.profile import profile_of
from minibot.runtime.configuration.config import load_config
from tests.data.data_files import row, write_rows
from tests.runs import PROJECT, Completed, ShortRun, verb

DEMO = "config/nore-demo.v1.json"
SHIPPED = "klines:btcusdt-1m"
# Decides on the timeframe, and looks at hours beside it.
TWO_BARS = '''"""Two lengths of bars."""

from minibot.strategies.protocol import ClosedBar, Decision, Needs, Settings, Strategy, View


class Two(Strategy):
    """Says nothing."""

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the deciding bars and hours."""
        return Needs(intervals=(settings.interval, "1h"), history=70)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Say nothing."""
        return None
'''


def test_flags_of_an_idea_become_keys_and_are_shown_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever repeats the shown words without the flags gets the same profile."""
    flags = ("--strategy", "rsi_band", "--timeframe", "15m", "--fee", "0.075%")
    span = ("--pairs", "ETH/USDT, btcusdt", "--from", "2025-06-05", "--to", "2025-06-08 12:30")
    arguments = parser("backtest").parse_args(["backtest", *flags, *span])
    take_idea(arguments)
    config = profile_of(arguments)
    text = capsys.readouterr().err

    assert text.startswith("means: ")
    assert text.count("\n") == 1
    assert text.endswith("  # the trend keeps its number of bars\n")
    assert arguments.timerange == "20250605-20250608123000"
    assert arguments.source == ["klines:ethusdt-1m", SHIPPED]
    assert config.strategy.name == "rsi_band"
    assert config.strategy.bar_interval == "15m"
    assert "15m" in config.market.bar_intervals
    assert config.execution.taker_fee_bps == config.execution.maker_fee_bps == "7.5"
    assert config.exchange.symbols == ("ETHUSDT", "BTCUSDT")
    words = shlex.split(text.removeprefix("means: "), comments=True)
    repeated = parser("backtest").parse_args(["backtest", *words])
    assert profile_of(repeated).raw == config.raw
    assert (repeated.source, repeated.timerange) == (arguments.source, arguments.timerange)


def test_command_line_without_an_idea_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """No flag, no line, no key, and the demo tape as ever."""
    arguments = parser("backtest").parse_args(["backtest"])
    take_idea(arguments)

    assert (arguments.set, arguments.source, arguments.timerange) == ([], None, "")
    assert capsys.readouterr().err == ""


def test_set_beside_an_idea_is_stronger() -> None:
    """The precise word wins over the short one."""
    words = ("--fee", "10bps", "--set", "execution.maker_fee_bps=2")
    arguments = parser("backtest").parse_args(["backtest", *words])
    take_idea(arguments)
    execution = profile_of(arguments).execution

    assert (execution.maker_fee_bps, execution.taker_fee_bps) == ("2", "10")


def test_set_that_fits_the_timeframe_alone_is_taken() -> None:
    """Its bars need not be those of the profile's own timeframe, which the idea replaces."""
    sets = ("--set", 'market.bar_intervals=["5m","15m"]', "--set", "strategy.trend_interval=15m")
    arguments = parser("backtest").parse_args(["backtest", "--timeframe", "5m", *sets])
    take_idea(arguments)
    config = profile_of(arguments)

    assert config.market.bar_intervals == ("5m", "15m")
    assert (config.strategy.bar_interval, config.strategy.trend_interval) == ("5m", "15m")


def test_source_of_several_words_keeps_those_of_the_pairs() -> None:
    """Two files were named, one pair is wanted."""
    words = ("--source", SHIPPED, "--source", "klines:ethusdt-1m", "--pairs", "ETH/USDT")
    arguments = parser("backtest").parse_args(["backtest", *words])
    take_idea(arguments)

    assert arguments.source == ["klines:ethusdt-1m"]


@pytest.mark.parametrize("words", [("backtest",), ("optimise", "--vary", "risk.x=1:2")])
def test_source_of_the_pairs_is_treated_as_the_options_say(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """A gap that an option settles is settled where the pairs are looked for too."""
    path = write_rows(tmp_path / "BTCUSDT-1m.csv", [row(n) for n in range(30) if n != 9])
    flags = ("--source", f"klines:{path}", "--pairs", "BTC/USDT", "--gaps", "keep")
    arguments = parser(words[0]).parse_args([*words, *flags])
    take_idea(arguments)

    assert arguments.source == [f"klines:{path}"]


def test_strategy_is_fed_the_bars_that_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second length of bars and a longer history need no key by hand."""
    (tmp_path / "two.py").write_text(TWO_BARS, encoding="utf-8")
    words = ["--config", DEMO, "--set", f"strategy.folder={tmp_path}"]
    arguments = parser("night").parse_args(
        ["night", *words, "--strategy", "two", "--timeframe", "5m"]
    )
    take_idea(arguments)
    config = fed(arguments, profile_of(arguments))

    assert {"5m", "1h"} <= set(config.market.bar_intervals)
    assert config.market.warmup_bars == 70
    assert "(the strategy needs it)" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["two.py", "./two.py", "{}/two.py"])
def test_strategy_is_also_named_by_its_file(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path that new-strategy and strategy-check print chooses that strategy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.py").write_text(TWO_BARS, encoding="utf-8")
    words = ["--set", f"strategy.folder={tmp_path}", "--strategy", word.format(tmp_path)]
    arguments = parser("night").parse_args(["night", "--config", DEMO, *words])

    take_idea(arguments)

    config = profile_of(arguments)
    assert config.strategy.name == "two"
    assert config.raw["strategy"]["source"]["text"] == TWO_BARS


def test_warm_up_by_interval_is_raised_for_what_the_strategy_reads(tmp_path: Path) -> None:
    """A table keeps its other numbers, and gets those that the strategy needs."""
    (tmp_path / "two.py").write_text(TWO_BARS, encoding="utf-8")
    table = 'market.warmup_bars={"1s": 300, "5m": 20}'
    words = ["--config", DEMO, "--set", f"strategy.folder={tmp_path}", "--set", table]
    arguments = parser("night").parse_args(
        ["night", *words, "--strategy", "two", "--timeframe", "5m"]
    )
    take_idea(arguments)

    assert fed(arguments, profile_of(arguments)).market.warmup_bars == {"1s": 300, "5m": 70}


BAD = [
    ("--pairs: SOLUSDT is not in what minibot ships", ("--pairs", "SOL/USDT")),
    (
        "--pairs: SOLUSDT is not in klines:btcusdt-1m, which has BTCUSDT",
        ("--pairs", "SOL/USDT", "--source", SHIPPED),
    ),
    (
        "--pairs: generator:1:BTCUSDT,ETHUSDT plays ETHUSDT too",
        ("--pairs", "BTC/USDT", "--source", "generator:1:BTCUSDT,ETHUSDT"),
    ),
    ("--pairs: 'BTC-' is not a pair", ("--pairs", "BTC-")),
    ("--timeframe 7m: known are 1s, 1m", ("--timeframe", "7m")),
    ("--timeframe 1M: known are 1s, 1m", ("--timeframe", "1M")),
    ("--timeframe 5m\\x0a: known are 1s, 1m", ("--timeframe", "5m\n")),
    ("--timeframe 1s: the source has bars of 1m", ("--timeframe", "1s")),
    (
        "--timeframe 1h: the source lasts 5 min 46 s",
        ("--timeframe", "1h", "--source", "tape:demo"),
    ),
    (
        "--timeframe 1w: the source lasts 5 d 0 h",
        ("--timeframe=1w", "--strategy=rsi_band", "--from=2025-06-03", "--to=2025-06-08"),
    ),
    ("--from 2025-06-08 is not before --to 2025", ("--from=2025-06-08", "--to=2025-06-05")),
    ("--to soon: expected a date", ("--to", "soon")),
    ("--to 0001-01-01T00:00+14:00: expected a date", ("--to", "0001-01-01T00:00+14:00")),
    ("--from 0999-01-01: expected a date", ("--from", "0999-01-01")),
    ("--timerange says what --from", ("--from", "2025-06-08", "--timerange", "20250601-")),
    ("--fee 100%: expected at most 10%", ("--fee", "100%")),
    ("--fee 0.1: expected a share with its unit", ("--fee", "0.1")),
    ("--fee -1%: expected a share with its unit", ("--fee=-1%",)),
    ("--strategy rsi_bnd: no file strategies/rsi_bnd.py; did you mean", ("--strategy", "rsi_bnd")),
    ("--strategy rsi_bnd: no file strategies/rsi", ("--strategy", "strategies/rsi_bnd.py")),
    (
        "--strategy /x/mine.py: no file in strategies; give --strategy mine, and",
        ("--strategy", "/x/mine.py"),
    ),
    (
        "--strategy mine.py: no file in strategies; give --strategy mine, and",
        ("--strategy", "mine.py"),
    ),
]


@pytest.mark.parametrize(("words", "flags"), BAD, ids=[" ".join(flags) for _, flags in BAD])
def test_idea_that_cannot_be_is_refused_in_one_line(
    var_dir: Path, words: str, flags: tuple[str, ...]
) -> None:
    """Bad input is refused with its remedy and the exit code of configuration; nothing is run."""
    done = verb(var_dir, "backtest", *flags)

    assert done.code == 4, done.err
    refusal = [line for line in done.err.splitlines() if not line.startswith("means: ")]
    assert len(refusal) == 1
    assert refusal[0].startswith(words)
    assert not var_dir.joinpath("backtests").exists()


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("--pairs: ETHUSDT is not in tape:demo", ("--pairs", "ETH/USDT")),
        ("--timeframe 1h: the source lasts 5 min", ("--timeframe", "1h")),
    ],
)
def test_night_refuses_what_its_played_market_does_not_have(
    var_dir: Path, words: str, flags: tuple[str, ...]
) -> None:
    """A night that could not trade is not a night."""
    done = verb(var_dir, "night", "--config", DEMO, *flags)

    assert done.code == 4, done.err
    assert words in done.err
    assert not var_dir.joinpath("runs").exists()


UNSOUND = [
    ("imports time", TWO_BARS.replace("class Two", "import time\n\n\nclass Two")),
    ("history = '70': expected a whole number", TWO_BARS.replace("70", "'70'")),
    ("needs() returns None", TWO_BARS.replace("return Needs", "return None and Needs")),
]


@pytest.mark.parametrize(("told", "text"), UNSOUND, ids=[told for told, _ in UNSOUND])
def test_unsound_strategy_of_an_idea_is_a_configuration_error(
    tmp_path: Path, var_dir: Path, told: str, text: str
) -> None:
    """A wrong file has the exit code of configuration, as without --strategy."""
    (tmp_path / "two.py").write_text(text, encoding="utf-8")
    done = verb(var_dir, "backtest", "--set", f"strategy.folder={tmp_path}", "--strategy", "two")

    assert done.code == 4, done.err
    assert told in done.err


@pytest.mark.parametrize("words", [("night", "--config", DEMO), ("backtest",)], ids=" ".join)
@pytest.mark.parametrize(
    "chosen", [("--strategy", "rsi_band"), ("--set", "strategy.name=rsi_band")]
)
def test_unknown_parameter_is_a_configuration_error_with_and_without_the_flag(
    var_dir: Path, words: tuple[str, ...], chosen: tuple[str, ...]
) -> None:
    """The way in which a strategy is chosen changes neither refusal nor exit code."""
    done = verb(var_dir, *words, *chosen, "--set", "strategy.parameters.nosuch=1")

    assert done.code == 4, done.err
    assert "strategy.parameters.nosuch = 1: unknown parameter" in done.err
    assert not var_dir.joinpath("runs").exists()


def test_strategy_name_that_exists_twice_is_refused_everywhere(
    tmp_path: Path, var_dir: Path
) -> None:
    """A file beside a shipped strategy of its name would be passed over in silence."""
    (tmp_path / "rsi_band.py").write_text(TWO_BARS, encoding="utf-8")
    folder = ("--set", f"strategy.folder={tmp_path}")

    short = verb(var_dir, "backtest", *folder, "--strategy", "rsi_band")
    long = verb(var_dir, "config", "check", "-c", DEMO, *folder, "--set", "strategy.name=rsi_band")

    for done in (short, long):
        assert done.code == 4
        assert "exists twice: minibot ships it, and there is" in done.err


def test_recorded_profile_of_a_shipped_strategy_loads_beside_a_file_of_its_name(
    tmp_path: Path,
) -> None:
    """A finished run keeps the strategy that decided; a later file changes nothing in it."""
    from minibot.runtime.configuration.config import config_with

    sets = [f"strategy.folder={tmp_path}", "strategy.name=rsi_band"]
    raw = load_config(PROJECT / DEMO, sets).raw
    (tmp_path / "rsi_band.py").write_text(TWO_BARS, encoding="utf-8")

    assert config_with(raw, []).strategy.name == "rsi_band"


def test_timeframe_of_a_run_keeps_the_bars_of_the_runs_own_trend() -> None:
    """The run's profile is changed, so its trend says how many bars are kept."""
    built = 'market.bar_intervals=["1s", "5m"]'
    raw = load_config(PROJECT / DEMO, [built, "strategy.trend_interval=5m"]).raw
    arguments = parser("backtest").parse_args(["backtest", "--timeframe", "1m"])
    take_idea(arguments, recorded=raw)

    assert "strategy.trend_interval=6h" in arguments.set


@pytest.mark.parametrize("timeframe", ["4h", "6h", "8h", "12h", "1d"])
@pytest.mark.parametrize("verb_word", ["backtest", "night"])
def test_timeframe_of_hours_has_a_trend_whose_bars_can_be_built(
    verb_word: str, timeframe: str
) -> None:
    """No bar of a calendar month is built, although sixty bars of the timeframe last longer."""
    words = (verb_word, "--config", DEMO, "--timeframe", timeframe)
    arguments = parser(verb_word).parse_args(words)
    take_idea(arguments)
    config = profile_of(arguments)

    assert config.strategy.trend_interval == "1w"
    assert config.market.bar_intervals == (timeframe, "1w")


@pytest.mark.parametrize("verb_words", [("backtest",), ("optimise", "--vary", "risk.x=1:2")])
@pytest.mark.parametrize(
    ("lacking", "flags"),
    [
        ("1h", ("--timeframe", "1m")),
        ("5m, 6h", ("--timeframe", "5m")),
        ("1h", ("--strategy", "two")),
        (
            "5m",
            ('--set=market.bar_intervals=["1s", "5m"]', "--set=strategy.trend_interval=5m"),
        ),
    ],
)
def test_strategy_of_other_bars_than_a_run_recorded_is_refused(
    short_run: ShortRun,
    tmp_path: Path,
    lacking: str,
    flags: tuple[str, ...],
    verb_words: tuple[str, ...],
) -> None:
    """A run builds no bars: without its trend the strategy would be another one."""
    (tmp_path / "two.py").write_text(TWO_BARS, encoding="utf-8")
    words = (*verb_words, "--source", f"run:{short_run.run_id}")

    done = verb(short_run.var, *words, f"--set=strategy.folder={tmp_path}", *flags)

    assert done.code == 4, done.err
    assert f"needs bars of {lacking}: the run recorded bars of 1s, 1m" in done.err


def test_pairs_of_the_latest_run_are_tried_on_it(short_run: ShortRun) -> None:
    """The run is found by name before its symbols are asked for."""
    words = ("--source", "run:latest", "--pairs", "BTC/USDT", "--fills", "touch", "--json")

    done = verb(short_run.var, "backtest", *words)

    assert done.code == 0, done.err
    assert done.document["sources"] == [f"run:{short_run.run_dir}"]


def test_backtest_of_an_idea_runs_on_the_shipped_minutes(var_dir: Path) -> None:
    """A strategy, a timeframe and two days are a command line."""
    flags = ("--strategy", "rsi_band", "--timeframe", "5m", "--from", "2025-06-04")
    done: Completed = verb(
        var_dir, "backtest", *flags, "--to", "2025-06-06", "--fills", "touch", "--json"
    )

    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["sources"] == [SHIPPED]
    assert document["config"]["strategy"]["bar_interval"] == "5m"
    assert document["to_ts"] - document["from_ts"] == 2 * 86_400_000
