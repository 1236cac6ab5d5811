"""R2: one pair now against a commit before: B1, B2, B4 and B8 by turns, in pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from minibot.compiled import SWITCH, build_folder, stale
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT

NO_COMMIT: Final = "needs --before COMMIT, with which it compares"
NO_BUILD: Final = "not compiled: needs a build of both trees; python -m tools.compile in each"
CASE_S_MAX: Final = 900.0
TICKS: Final = "1000000"
BARS: Final = "400000"
NEAR: Final = Limit(10, 3, is_most=True)
"""Percent by which the present may be slower."""
FAR: Final = Limit(20, 10, is_most=True)


class Case(NamedTuple):
    """One case of the backtest bench, and by how much it may have become slower."""

    name: str
    words: tuple[str, ...]
    is_compiled: bool
    limit: Limit | None


CASES: Final = (
    Case("B1 compiled", ("tools.bench.backtest_pass", "ema", TICKS), True, NEAR),
    Case("B2", ("tools.bench.backtest_pass", "ema", TICKS), False, NEAR),
    Case("B4 compiled", ("tools.bench.backtest_pass", "nore", TICKS), True, FAR),
    Case("B4 interpreted", ("tools.bench.backtest_pass", "nore", TICKS), False, FAR),
    Case("B8 compiled", ("tools.bench.backtest_bars", BARS), True, NEAR),
    Case("B8 interpreted", ("tools.bench.backtest_bars", BARS), False, NEAR),
)


def compared(repeats: int, folder: Path, core: int, before: str | None) -> list[Measure]:
    """Return by how much each case is slower than at a commit before, in percent.

    Args:
        repeats: Pairs of runs; of each the first is now's and before's by turns.
        folder: Where the commit's tree goes, until the end.
        core: Processor core of every run.
        before: The commit; None measures nothing.

    Raises:
        OSError: Git knows no such commit, or a case failed.
    """
    if before is None:
        return [_skipped(case, NO_COMMIT) for case in CASES]
    with tree(folder, before) as other:
        has_builds = all(
            stale(root / build_folder().relative_to(PROJECT)) is None for root in (PROJECT, other)
        )
        return [
            _measure(case, repeats, core, other, before)
            if has_builds or not case.is_compiled
            else _skipped(case, NO_BUILD)
            for case in CASES
        ]


@contextmanager
def tree(folder: Path, commit: str) -> Iterator[Path]:
    """Check a commit out below a folder, and take the tree away at the end.

    Raises:
        OSError: Git knows no such commit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="before-") as made:
        path = Path(made) / "tree"
        _git("worktree", "add", "--detach", str(path), commit)
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


def _git(*words: str) -> None:
    done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"git {' '.join(words)}: {done.stderr.strip()}")


def _skipped(case: Case, why: str) -> Measure:
    return Measure("R2", _name(case, ""), None, "%", case.limit, notes=[why])


def _name(case: Case, before: str) -> str:
    return f"{case.name}: slower than {before or 'before'} by"


def _measure(case: Case, repeats: int, core: int, other: Path, before: str) -> Measure:
    speeds: dict[Path, list[float]] = {PROJECT: [], other: []}
    for number in range(repeats):
        for root in (PROJECT, other) if number % 2 else (other, PROJECT):
            speeds[root].append(float(_run(case, root, core)["per_s"]))
    now, then = speeds[PROJECT], speeds[other]
    ratios = [100 * (old / new - 1) for new, old in zip(now, then, strict=True)]
    samples = {"events/s now": now, "events/s before": then, "% slower, in pairs": ratios}
    return Measure("R2", _name(case, before), median(ratios), "%", case.limit, samples)


def _run(case: Case, root: Path, core: int) -> dict[str, Any]:
    """Return the answer of one case from a tree's own sources."""
    environ = {key: value for key, value in os.environ.items() if key not in (SWITCH, "PYTHONPATH")}
    if case.is_compiled:
        environ[SWITCH] = "1"
    done = subprocess.run(
        [sys.executable, "-m", *case.words, str(core)],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=CASE_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(f"{case.name} in {root}: {done.stderr.strip()[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
