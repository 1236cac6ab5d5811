"""Checks and searches of `minibot backtest` and `minibot optimise`: output and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from minibot.backtest.checks import lookahead, warmup_check
from minibot.backtest.checks.lookahead import check_lookahead
from minibot.backtest.checks.warmup_check import Moved, Readings, WarmUp, WarmupCheck
from minibot.backtest.report.documents import document_of
from minibot.backtest.search.backtest_job import Job
from minibot.cli.support.checking import startup_lines
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from tests.backtest.markets import MINUTE_MS, START_MS, walk, write_klines
from tests.backtest.test_lookahead import peeking_cores
from tests.runs import PROJECT, ShortRun, verb
from tests.waiting import DEADLINE_S, wait_until

BARS = (
    *("--set", 'market.bar_intervals=["1m","15m"]', "--set", "strategy.bar_interval=1m"),
    *("--set", "strategy.trend_interval=15m"),
)


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    """Arguments: three hours of bars, and the profile for them."""
    return ("--source", f"klines:{write_klines(tmp_path, walk(180, seed=3))}", *BARS)


@pytest.mark.slow
def test_lookahead_check_says_over_how_much_it_proves(
    words: tuple[str, ...], var_dir: Path
) -> None:
    """A clean look-ahead check exits 0 and says how much it covered."""
    done = verb(var_dir, "backtest", *words, "--lookahead-check", "3", "--jobs", "1", "--json")

    assert done.code == 0, done.err
    assert done.document["clean"]
    assert done.document["decisions"] >= 3
    assert done.document["runs"] >= 12


@pytest.mark.slow
def test_lookahead_that_is_caught_is_told_with_its_time_and_what_changed(
    words: tuple[str, ...], var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caught look-ahead exits 1 with queue, moment and fields."""

    def check(*args: object, **values: object) -> object:
        return check_lookahead(*args, make_cores=peeking_cores, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(lookahead, "check_lookahead", check)

    done = verb(var_dir, "backtest", *words, "--lookahead-check", "12", "--jobs", "1")

    assert done.code == 1
    assert "LOOK-AHEAD" in done.out
    assert "signal at 2025-01-01 0" in done.out or "risk_action at 2025-01-01 0" in done.out


@pytest.mark.parametrize(
    ("does", "module"),
    [
        (("backtest", "--no-keep"), "assumptions.run_band"),
        (("backtest", "--sweep", "risk.order_notional=100,200"), "sweep.run_sweep"),
        (("optimise", "--vary", "risk.order_notional=100:200"), "walk_forward.walk_forward"),
    ],
)
def test_file_that_changes_while_it_is_read_is_refused(
    does: tuple[str, ...],
    module: str,
    words: tuple[str, ...],
    var_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Results of different data are never told under one sha256."""
    file = Path(words[1].partition(":")[2])

    def grow(*_: object, **__: object) -> JsonObject:
        with file.open("a") as rows:
            rows.write("\n")
        return {}

    monkeypatch.setattr(f"minibot.backtest.search.{module}", grow)
    for document in ("report.documents.document_of", "search.sweep.sweep_document"):
        monkeypatch.setattr(f"minibot.backtest.{document}", grow)
    monkeypatch.setattr("minibot.backtest.search.walk_forward.optimise_document", grow)
    done = verb(var_dir, does[0], *words, *does[1:])

    assert done.code == 2
    assert "changed while it was read" in done.err


def test_file_that_changes_before_its_backtest_is_told_is_refused(
    words: tuple[str, ...], var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sha256 of a report is of the data that was walked."""
    file = Path(words[1].partition(":")[2])

    def grow(*given: Any) -> JsonObject:
        with file.open("a") as rows:
            rows.write("\n")
        return document_of(*given)

    monkeypatch.setattr("minibot.backtest.report.documents.document_of", grow)
    done = verb(var_dir, "backtest", *words, "--fills", "touch")

    assert done.code == 2
    assert "changed while it was read" in done.err
    assert not list(var_dir.glob("backtests/*"))


@pytest.mark.slow
def test_startup_check_ends_with_one_when_the_profiles_own_warm_up_is_too_short(
    words: tuple[str, ...], var_dir: Path
) -> None:
    """A startup check exits 1 for too short a warm-up, and refuses a source without history."""
    later = ("--timerange", f"{(START_MS + 120 * MINUTE_MS) // 1000}-", "--startup-check")

    bars = "market.warmup_bars"

    enough, short = (
        verb(var_dir, "backtest", *words, *later, "--jobs", "1", "--set", f"{bars}={count}")
        for count in (100, 2)
    )
    none = verb(var_dir, "backtest", *words, "--startup-check", "--jobs", "1")

    assert (enough.code, short.code, none.code) == (0, 1, 2)
    assert "the profile's own" in enough.out
    assert "TOO SHORT" in short.out
    assert "--timerange" in none.err


def test_startup_check_proves_nothing_for_the_longest_warm_up() -> None:
    """A profile whose own warm-up is the longest is not called enough by its own comparison."""
    decision = Moved("decision", 3, 0, None, None, None, None)
    half = WarmUp(500, 400, False, decision, ())

    *_, verdict = startup_lines(WarmupCheck(Readings(1000, 800, []), (half,)))

    assert "nothing shows whether it is enough" in verdict


def test_sweep_is_kept_and_each_row_is_the_run_with_set(
    words: tuple[str, ...], var_dir: Path
) -> None:
    """A sweep is kept, and each row's digest equals the plain command with `--set`."""
    sweep = ("--sweep", "strategy.rsi_period=7,21", "--jobs", "1", "--json")
    one = ("--set", "strategy.rsi_period=21", "--fills", "touch", "--no-keep", "--json")

    swept = verb(var_dir, "backtest", *words, *sweep)
    plain = verb(var_dir, "backtest", *words, *one)

    assert swept.code == 0, swept.err
    assert [row["sets"] for row in swept.document["rows"]] == [
        ["strategy.rsi_period=7"],
        ["strategy.rsi_period=21"],
    ]
    assert swept.document["rows"][1]["digest"] == plain.document["digest"]
    (kept,) = var_dir.glob("backtests/sweep_*/sweep.json")
    assert json.loads(kept.read_text())["rows"] == swept.document["rows"]
    listed = verb(var_dir, "backtests", "list", "--json")
    assert listed.document["searches"] == [kept.parent.name]


def test_sweep_has_the_fills_that_are_named_and_is_kept_only_where_asked(
    words: tuple[str, ...], var_dir: Path
) -> None:
    """`--fills` is to a sweep as the profile's own assumption; `--no-keep` leaves nothing."""
    sweep = ("--sweep", "strategy.rsi_period=14", "--jobs", "1", "--no-keep", "--json")

    own, named, as_set = (
        verb(var_dir, "backtest", *words, *sweep, *flags)
        for flags in ((), ("--fills", "worse"), ("--set", "execution.fill_model=worse"))
    )

    (digest,) = {row["digest"] for row in as_set.document["rows"]}
    assert [row["digest"] for row in named.document["rows"]] == [digest]
    assert [row["digest"] for row in own.document["rows"]] != [digest]
    assert named.document["rows"][0]["sets"] == ["strategy.rsi_period=14"]
    assert named.document["config"]["execution"]["fill_model"] == "worse"
    assert not list(var_dir.glob("backtests/*"))


@pytest.mark.parametrize("flag", ["--lookahead-check", "--startup-check"])
def test_check_has_the_fills_that_are_named(
    flag: str, words: tuple[str, ...], var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check runs under the assumption that `--fills` names."""
    models = []

    def check(job: Job, *_: object, **__: object) -> object:
        models.append(job.config.execution.fill_model)
        raise Refusal("seen", "")

    monkeypatch.setattr(lookahead, "check_lookahead", check)
    monkeypatch.setattr(warmup_check, "check_warmup", check)

    verb(var_dir, "backtest", *words, flag, "--fills", "queue")
    verb(var_dir, "backtest", *words, flag)

    assert models == ["queue", "touch"]


@pytest.mark.parametrize(
    "flags",
    [
        ("--sweep", "strategy.rsi_period=7,14", "--startup-check"),
        ("--sweep", "strategy.rsi_period=7,14", "--lookahead-check"),
        ("--startup-check", "--lookahead-check", "3"),
        ("--sweep", "execution.fill_model=touch,worse", "--fills", "queue"),
    ],
)
def test_searches_of_which_one_would_be_left_out_are_refused(
    flags: tuple[str, ...], words: tuple[str, ...], var_dir: Path
) -> None:
    """None of two that cannot go together is silently left out."""
    done = verb(var_dir, "backtest", *words, *flags)

    assert done.code == 4
    assert all(flag in done.err for flag in flags if flag.startswith("--"))
    assert not list(var_dir.glob("backtests/*"))


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("backtest", "--sweep", "strategy.nothing=1,2"), 4),
        (("backtest", "--sweep", "nonsense"), 4),
        (("backtest", "--jobs", "0"), 2),
        (("backtest", "--lookahead-check", "some"), 2),
        (("optimise", "--vary", "risk.order_notional=100:501"), 4),
        (("optimise",), 2),
    ],
)
def test_wrong_words_are_refused_before_anything_runs(
    flags: tuple[str, ...], code: int, var_dir: Path
) -> None:
    """Wrong arguments exit before anything runs: 4 for the profile, 2 for the command line."""
    assert verb(var_dir, *flags).code == code
    assert not list(var_dir.glob("backtests/*"))


def test_optimise_says_out_of_sample_first_and_warns(words: tuple[str, ...], var_dir: Path) -> None:
    """Optimise prints the out-of-sample result first, with a warning."""
    argv = ("optimise", *words, "--vary", "strategy.rsi_period=5:30", "--trials", "3")

    done = verb(var_dir, *argv, "--windows", "2", "--train", "1", "--jobs", "1")

    assert done.code in (0, 1), done.err
    assert done.out.splitlines()[0].startswith("result OUT OF SAMPLE: ")
    assert ("WARNING" in done.out) or ("holds" in done.out)
    (kept,) = var_dir.glob("backtests/optimise_*/optimise.json")
    window = json.loads(kept.read_text())["windows"][0]
    assert window["test"][0] == window["train"][1]
    assert len(window["trials"]) == 3


def test_optimise_takes_a_file_with_a_hole_once_told_how(tmp_path: Path, var_dir: Path) -> None:
    """Optimise accepts the option by which its refusal of a file with a hole is settled."""
    bars = walk(180, seed=3)
    path = write_klines(tmp_path, [*bars[:90], *bars[95:]])
    argv = ("optimise", "--source", f"klines:{path}", *BARS, "--vary", "strategy.rsi_period=5:30")
    few = ("--trials", "1", "--windows", "1", "--train", "1", "--jobs", "1")

    refused = verb(var_dir, *argv, *few)
    taken = verb(var_dir, *argv, *few, "--gaps", "keep")

    assert (refused.code, "--gaps keep" in refused.err) == (2, True)
    assert taken.code in (0, 1), taken.err


def test_optimise_takes_a_run_by_its_name(short_run: ShortRun, var_dir: Path) -> None:
    """Optimise accepts a run by name, like a backtest; it still needs something to search."""
    (var_dir / "runs").mkdir()
    (var_dir / "runs" / short_run.run_dir.name).symlink_to(short_run.run_dir)

    done = verb(var_dir, "optimise", "--source", "run:latest", "--vary", "strategy.rsi_period=5:30")

    assert done.code == 2
    assert f"{short_run.run_dir.name}: does not know its end" in done.err


def test_optimise_without_optuna_says_how_to_install_it(
    words: tuple[str, ...], var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimise without optuna is refused with the install command."""
    monkeypatch.setitem(sys.modules, "optuna", None)

    done = verb(var_dir, "optimise", *words, "--vary", "strategy.rsi_period=5:30")

    assert done.code == 2
    assert "with_env.py --dev" in done.err


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals to a group")
@pytest.mark.parametrize("by", ["Ctrl-C", "SIGTERM"])
def test_interrupted_sweep_leaves_no_process_and_no_file(
    words: tuple[str, ...], var_dir: Path, by: str
) -> None:
    """Ctrl-C to the group or SIGTERM to the sweep leaves no process, no file and no warning."""
    values = ",".join(str(period) for period in range(5, 60))
    argv = [sys.executable, "-m", "minibot", "backtest", *words, "--var", str(var_dir)]
    process = subprocess.Popen(
        [*argv, "--sweep", f"strategy.rsi_period={values}", "--jobs", "2"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )

    def workers() -> list[psutil.Process] | None:
        found = psutil.Process(process.pid).children(recursive=True)
        return found if len(found) >= 3 else None

    children = wait_until(workers, "two workers", DEADLINE_S)

    if sys.platform != "win32":
        if by == "SIGTERM":
            process.terminate()
        else:
            os.killpg(process.pid, signal.SIGINT)

    _, data = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2, data
    assert data.splitlines()[-1].startswith(b"interrupted: it did not finish.")
    assert b"Traceback" not in data
    assert b"leaked" not in data
    gone, alive = psutil.wait_procs(children, timeout=DEADLINE_S)
    assert len(gone) >= 3
    assert alive == []
    assert not list(var_dir.glob("backtests/*"))
