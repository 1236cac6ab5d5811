"""Filters of `minibot runs`: each leaves in exactly the runs that it names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from minibot.kernel.files import read_hashed, write_hashed
from minibot.report.records import ACCEPTANCE_FILE, ACCEPTANCE_V
from tests.runs import ShortRun, verb


@pytest.mark.row("N-78")
@pytest.mark.parametrize(
    ("flags", "is_in"),
    [
        (("--state", "sealed"), True),
        (("--state", "stopped"), False),
        (("--data", "simulated"), True),
        (("--data", "real"), False),
        (("--profile", "nore-smoke"), True),
        (("--profile", "nore"), False),
        (("--verdict", "none"), True),
        (("--verdict", "pass"), False),
        (("--since", "2000-01-01"), True),
        (("--since", "2100-01-01"), False),
    ],
)
def test_filter_leaves_in_the_runs_that_it_names(
    flags: tuple[str, ...], is_in: bool, short_run: ShortRun, tmp_path: Path
) -> None:
    """A sealed simulated smoke run that nobody judged is found by what it is, and not by else."""
    # Other tests may have had it judged.
    var = Path(shutil.copytree(short_run.var, tmp_path / "var"))
    (var / "runs" / short_run.run_id / "report" / ACCEPTANCE_FILE).unlink(missing_ok=True)

    done = verb(var, "runs", *flags, "--json")

    assert done.code == 0
    assert [row["run_id"] for row in done.document["runs"]] == [short_run.run_id] * is_in


@pytest.mark.parametrize(
    ("verdict", "value"),
    [
        ("PASS", "pass"),
        ("PASS (drill, does not count)", "pass"),
        ("FAIL", "fail"),
        ("NOT A NIGHT", "not-a-night"),
    ],
)
def test_every_verdict_is_found_by_one_value_of_its_flag(
    verdict: str, value: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A demo that was judged is neither unjudged nor failed, and none of the values left it in."""
    var = Path(shutil.copytree(short_run.var, tmp_path / "var"))
    run_dir = var / "runs" / short_run.run_id
    (run_dir / "report").mkdir(exist_ok=True)
    root = read_hashed(run_dir / "seal.json")["root"]
    judged = {"v": ACCEPTANCE_V, "root": root, "verdict": verdict, "counts_as_night": False}
    write_hashed(run_dir / "report" / ACCEPTANCE_FILE, judged, generation=1)

    found = [
        each
        for each in ("pass", "fail", "not-a-night", "none")
        if verb(var, "runs", "--verdict", each, "--json").document["runs"]
    ]

    assert found == [value]


def test_size_of_a_run_is_that_of_its_files(short_run: ShortRun) -> None:
    """Sizes are bytes of the run's own files, those of its queues included."""
    files = [path for path in short_run.run_dir.rglob("*") if path.is_file()]

    done = verb(short_run.var, "runs", "--size", "--json")
    shown = verb(short_run.var, "runs", "--size")

    (row,) = done.document["runs"]
    assert row["bytes"] == sum(path.stat().st_size for path in files)
    assert any((path.parent.parent.name, path.suffix) == ("queues", ".jsonl") for path in files)
    assert "together" in shown.out


def test_damaged_run_is_listed_and_found_by_its_state(tmp_path: Path) -> None:
    """A run whose manifest cannot be read has no profile and no start, but stays in the list."""
    folder = tmp_path / "var" / "runs" / "20251120_000000"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"v": 1}), encoding="utf-8")

    every = verb(tmp_path / "var", "runs", "--json")
    damaged = verb(tmp_path / "var", "runs", "--state", "damaged", "--json")
    since = verb(tmp_path / "var", "runs", "--since", "2000-01-01", "--json")

    assert [row["run_id"] for row in every.document["runs"]] == [folder.name]
    assert [row["run_id"] for row in damaged.document["runs"]] == [folder.name]
    assert since.document["runs"] == []


def test_damaged_run_is_not_left_out_by_its_kind_of_data(tmp_path: Path) -> None:
    """A run without a readable manifest may have been of any kind: no list lacks it silently."""
    folder = tmp_path / "var" / "runs" / "20251120_000000"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"v": 1}), encoding="utf-8")

    listed = {
        kind: [row["run_id"] for row in done.document["runs"]]
        for kind in ("real", "drill", "simulated")
        for done in [verb(tmp_path / "var", "runs", "--data", kind, "--json")]
    }
    profit = verb(tmp_path / "var", "profit", "--data", "real")

    assert listed == {kind: [folder.name] for kind in ("real", "drill", "simulated")}
    assert f"{folder.name}: " in profit.out
