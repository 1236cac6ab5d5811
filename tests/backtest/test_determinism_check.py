"""Verb `backtest` from end to end: printed, kept, and the same in two processes (B-76)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from minibot.backtest.checks import determinism_check as twice
from minibot.backtest.report import store
from minibot.backtest.report.documents import document_of
from minibot.backtest.report.review import Review
from minibot.backtest.report.store import kept
from minibot.cli.main import parser
from minibot.kernel.errors import Refusal
from minibot.runtime.paths import Var
from tests.backtest.results import DAY, START, made
from tests.runs import ShortRun, verb

pytestmark = pytest.mark.campaign

SOURCE = ("--source", "generator:1", "--set", "duration_ms=60000")


def test_backtest_is_shown_kept_and_listed(var_dir: Path) -> None:
    """A backtest leaves a page and a document with the digest that it printed."""
    done = verb(var_dir, "backtest", *SOURCE, "--fills", "touch", "--breakdown", "day")
    (found,) = kept(Var(var_dir))

    assert done.code == 0, done.err
    assert "By day" in done.out
    digest = re.search(r"digest  ([0-9a-f]{64})", done.out)
    assert digest is not None
    assert found.document["digest"] == digest[1]
    assert (found.folder / "report.html").stat().st_size > 10_000


def test_backtest_without_keeping_leaves_nothing(var_dir: Path) -> None:
    """`--no-keep` writes no file; `--json` prints one document with every trade."""
    done = verb(var_dir, "backtest", *SOURCE, "--fills", "touch", "--no-keep", "--json")

    document = json.loads(done.out)
    assert len(document["trades"]) == document["figures"]["trades"]
    assert not (var_dir / "backtests").exists()


@pytest.mark.process
@pytest.mark.row("B-76")
def test_twice_gives_the_same_digest_and_the_same_bytes(var_dir: Path) -> None:
    """Two processes with other hash seeds agree on every byte, and the result is kept."""
    done = verb(var_dir, "backtest", *SOURCE, "--fills", "touch", "--twice", "--json")

    assert done.code == 0, done.err
    about = json.loads(done.out)["twice"]
    assert (about["same"], about["six_months"], about["differing"]) == (True, False, [])
    assert about["digests"][0] == about["digests"][1]
    assert sorted(path.name for path in Path(about["folder"]).iterdir()) == [
        "charts.json",
        "report.html",
        "result.json",
        "twice.json",
    ]
    assert not list((var_dir / "lab").iterdir())


@pytest.mark.row("B-76")
def test_twice_finds_one_byte_that_differs(tmp_path: Path) -> None:
    """A page that differs by a byte, and a file that only one process made, are named."""
    for name in ("first", "second"):
        (tmp_path / name / "id").mkdir(parents=True)
        (tmp_path / name / "id" / "result.json").write_text("{}")
        (tmp_path / name / "id" / "report.html").write_text(name)
    (tmp_path / "first" / "id" / "more").write_text("")

    differing = twice._differing(tmp_path / "first" / "id", tmp_path / "second" / "id")
    assert differing == ("more", "report.html")


@pytest.mark.row("B-76")
def test_twice_keeps_nothing_that_differs_and_leaves_both_to_be_looked_at(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that differ by a letter are not kept; both stay for inspection."""

    def run_both(argv: Sequence[str], vars_: Sequence[Var]) -> list[store.Kept]:
        for letter, var in zip("ab", vars_, strict=True):
            document = document_of({"touch": Review.of(made())}, ["generator:1"])
            store.keep(document, f"page {letter}", var)
        return [store.find_kept("latest", var) for var in vars_]

    monkeypatch.setattr(twice, "_run_both", run_both)
    found = twice.run_twice(["backtest", "--twice"], Var(var_dir))

    assert (found.is_same, found.differing) == (False, ("report.html",))
    assert not Var(var_dir).backtests.exists()
    assert len(list(found.folder.rglob("report.html"))) == 2


@pytest.mark.row("B-76")
@pytest.mark.parametrize(("days", "is_enough"), [(180, False), (181, True), (365, True)])
def test_half_a_year_is_the_shortest_half_of_one(days: int, is_enough: bool) -> None:
    """Half a year is at least 181 days, the half from January to June."""
    document = {"from_ts": START, "to_ts": START + days * DAY, "digest": "d"}

    found = twice.DeterminismCheck((document, document), (), Path("kept"))
    assert (found.is_same, found.is_six_months) == (True, is_enough)


@pytest.mark.row("B-76")
@pytest.mark.parametrize("words", [("--source", "run:latest"), ("--source=run:latest",)])
def test_twice_takes_a_run_by_its_name(
    words: tuple[str, ...], short_run: ShortRun, var_dir: Path
) -> None:
    """`--twice` gives each process its own `--var` and still finds a run by its name."""
    (var_dir / "runs").mkdir()
    (var_dir / "runs" / short_run.run_dir.name).symlink_to(short_run.run_dir)

    done = verb(var_dir, "backtest", *words, "--fills", "touch", "--twice", "--json")

    assert done.code == 0, done.err
    assert done.document["twice"]["same"]
    assert not list((var_dir / "lab").iterdir())


@pytest.mark.parametrize("flag", ["--twice", "--twic", "--tw"])
def test_neither_of_two_processes_starts_two_more(flag: str) -> None:
    """A process of `--twice` starts no further two, however the flag was abbreviated."""
    backtest = parser("backtest")

    assert backtest.parse_args(["backtest", flag]).twice
    assert not backtest.parse_args(["backtest", flag, *twice.ONCE]).twice


@pytest.mark.row("B-76")
def test_twice_is_of_one_backtest_that_is_kept(var_dir: Path) -> None:
    """`--twice` refuses sweeps, checks and unkept backtests, which leave nothing to compare."""
    flags = ("--no-keep", "--startup-check", "--sweep", "strategy.rsi_period=7,14")

    done = verb(var_dir, "backtest", *SOURCE, "--twice", *flags)

    assert done.code == 4
    assert [line.strip() for line in done.err.splitlines()[1:]] == [
        "--no-keep: not beside --twice",
        "--sweep: not beside --twice",
        "--startup-check: not beside --twice",
    ]
    assert not (var_dir / "lab").exists()


@pytest.mark.process
def test_twice_of_what_cannot_run_says_why(var_dir: Path) -> None:
    """`--twice` of a failing backtest prints its reason and exit code, and leaves no file."""
    done = verb(var_dir, "backtest", "--source", "tape:nowhere", "--twice")

    assert done.code == 2
    assert "nowhere" in done.err
    assert not (var_dir / "backtests").exists()


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="a script cannot stand for an interpreter")
def test_twice_says_what_broke_off_a_report(
    var_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that fails while it keeps its report is refused in its words, with its code."""
    script = tmp_path / "python"
    # As on a full disk: the folder is there, its result is not.
    script.write_text(
        '#!/bin/sh\nwhile [ "$1" != --var ]; do shift; done\n'
        'mkdir -p "$2/backtests/half"\necho "refused: the disk is full" >&2\nexit 3\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))

    with pytest.raises(Refusal, match="the disk is full") as refused:
        twice.run_twice(["backtest"], Var(var_dir))

    assert refused.value.exit_code == 3
    assert not list((var_dir / "lab").iterdir())
