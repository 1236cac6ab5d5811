"""Refusals of the command line: what is missing is called missing, each fault has its line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from minibot.cli.main import guarded, run
from minibot.kernel.codes import IO_EIO, IO_ENOSPC, IO_READONLY
from minibot.kernel.errors import Refusal, RunStop
from minibot.runtime.deployment.deployed import ADOPT
from minibot.runtime.paths import PROJECT
from tests.runs import verb

MISSING = [
    ("backtest", "--fills", "touch", "--source", "klines:gone.csv"),
    ("backtest", "--fills", "touch", "--source", "tape:gone.gz"),
    ("backtest", "--fills", "touch", "--source", "columns:gone"),
    ("backtest", "--config", "gone.json"),
    ("config", "check", "gone.txt"),
    ("data", "check", "gone.txt"),
    ("data", "convert", "gone.txt", "--out", "columns"),
    ("exchange", "serve", "--source", "tape:gone.gz"),
    ("exchange", "serve", "--source", "klines:gone.csv"),
    ("night", "--config", "gone.json"),
    ("replay-manifest", "--check", "gone.txt"),
    ("strategy-check", "gone.txt"),
    ("strategy-check", "gone.py"),
    ("tape", "check", "gone.txt"),
    ("tape", "info", "gone.gz"),
]


@pytest.mark.parametrize("words", MISSING, ids=" ".join)
def test_missing_file_is_called_missing_whatever_its_name(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong path is the usual slip; a judgement of its name would send the user elsewhere."""
    monkeypatch.chdir(tmp_path)

    done = verb(tmp_path / "var", *words)

    assert done.code in (2, 4)
    (line,) = [line for line in done.err.splitlines() if line.startswith(("refused", "gone"))]
    assert "no such file" in line
    assert str(tmp_path) not in line


@pytest.mark.row("N-12")
@pytest.mark.parametrize(
    "words",
    [
        ("doctor", "--config", "mine.json"),
        ("config", "show", "mine.json"),
        ("backtest", "--config", "mine.json"),
        ("night", "--config", "mine.json"),
        ("settings", "--config", "mine.json"),
        ("backtest", "--sweep", "broker.api_key:marker-5c1e"),
        ("new-config", "other", "--set", "broker.api_key:marker-5c1e"),
    ],
    ids=" ".join,
)
def test_configuration_error_shows_no_secret_whatever_verb_meets_it(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret in a profile or setting is refused by every verb without being repeated."""
    monkeypatch.chdir(tmp_path)
    overlay = '{"extends": "nore.v1.json", "broker": {"api_key": "marker-5c1e"}}'
    Path("mine.json").write_text(overlay)

    done = verb(tmp_path / "var", *words)

    assert done.code == 4, done.err
    assert "marker-5c1e" not in done.out + done.err


@pytest.mark.parametrize("name", ["status", "prune", "exchange"])
def test_empty_folder_is_refused_and_not_taken_for_this_one(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--var "$UNSET"` would prune, or start a night, in whatever folder the shell stands."""
    with pytest.raises(SystemExit) as ended:
        run([name, "--var", ""])

    assert ended.value.code == 2
    assert "argument --var: expected a folder, found nothing" in capsys.readouterr().err


IGNORED = [
    (("model", "rollback", "lgbm-1"), "rollback takes no id"),
    (("model", "list", "lgbm-1"), "list takes no id"),
    (("stage", "apply", "limits.py", "minibot/risk/limits.py"), "belong to stage add"),
    (("stage", "status", "--replace"), "belong to stage add"),
    (("stage", "apply", "--reason", "new"), "--reason belongs to stage adopt"),
    (("tape", "merge", "tape:demo", "--from", "+1s", "--out", "m.gz"), "belong to tape cut"),
    (("tape", "check", "tape:demo", "--out", "m.gz"), "--out belongs to"),
    (("tape", "info", "tape:demo", "--depth", "10"), "--depth belongs to"),
    (("backtests", "list", "--keep", "3"), "--keep belongs to backtests prune"),
    (("backtests", "show", "A", "B", "--breakdown", "day"), "--breakdown is of one backtest"),
    (("backtests", "--breakdown", "day"), "--breakdown is of one backtest"),
    (("backtests", "show", "A", "B", "C"), "backtests show takes one ID or two, not 3"),
    (("page", "--port", "8000"), "--port goes with RUN"),
]


@pytest.mark.parametrize(("words", "told"), IGNORED, ids=[" ".join(each) for each, _ in IGNORED])
def test_word_that_its_action_would_ignore_is_refused(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word without effect is taken for one that worked."""
    monkeypatch.chdir(tmp_path)

    done = verb(tmp_path / "var", *words)

    assert done.code == 2
    assert told in done.err


def test_several_faults_of_a_refusal_stand_on_a_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The remedy comes first, as one line; then what is wrong."""

    def run(_: argparse.Namespace) -> int:
        raise Refusal("a; b.", "Mend it.", faults=("a", "b"))

    code = guarded(argparse.Namespace(run=run, var=None, debug=False))

    assert code == 2
    assert capsys.readouterr().err.splitlines() == ["refused: 2 faults. Mend it.", "  a", "  b"]


def test_readme_and_refusal_name_the_same_command_for_adopting_the_code() -> None:
    """Two spellings of one step make a reader look for the difference."""
    command = ADOPT.partition(": ")[2]

    assert command.startswith("minibot stage adopt ")
    for page in ("README.md", "docs/USING.md"):
        assert command in (PROJECT / page).read_text(encoding="utf-8")


def test_what_is_below_the_working_folder_is_named_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message repeats the way to the folder in which the user stands."""
    monkeypatch.chdir(tmp_path)

    done = [verb(tmp_path / "var", *words) for words in (("verify",), ("list-data",), ("status",))]

    assert all(str(tmp_path) not in each.out + each.err for each in done)
    assert "under var/runs" in done[0].err.replace("\\", "/")


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (IO_READONLY, "Mount it writable"),
        (IO_ENOSPC, "Free space"),
        (IO_EIO, "Name another place"),
    ],
)
def test_verb_that_a_disk_broke_off_names_the_next_step(
    code: str, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full or read-only folder has a remedy, which is not that of a stopped run."""

    def run(_: argparse.Namespace) -> int:
        raise RunStop("kernel.files", code, "create report.html: the disk said no")

    assert guarded(argparse.Namespace(run=run, var=None, debug=False)) == 1

    said = capsys.readouterr().err
    assert f"said no. {step}" in said
    assert "repeat the command" in said
