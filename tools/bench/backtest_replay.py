"""B6 and B7: a recorded run replayed with full comparison, and a role restarted late in one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT
from tools.golden.fixture import golden_runs

NIGHT_EVENTS: Final = 25_000_000
SAMPLE: Final = "sample_run"
ROLES: Final = ("strategy_role", "risk_role", "execution_role")
STEP_S_MAX: Final = 600.0
# Reads what a snapshot holds, makes the core of it, and asks it for its state again.
RESTORE: Final = """
import json, sys, time
began = time.perf_counter()
from minibot.replay.engine import CORE_MODULES
import importlib
given = json.load(open(sys.argv[1]))
for role, state in given["states"].items():
    module = importlib.import_module(CORE_MODULES[role])
    assert module.core_from_state(given["config"], state).state() == state, role
print(time.perf_counter() - began)
"""


def replay(repeats: int) -> list[Measure]:
    """Return how long a night of 25 million ticks would take, from the kept recording's replay."""
    run = next(run for run in golden_runs() if run.name == SAMPLE)
    run_dir = run.unpack(PROJECT / "var")
    alone = [_timed(["--role", "strategy_role"], run_dir) for _ in range(repeats)]
    empty = min(_timed(["--help"], None) for _ in range(repeats))
    both = [_side_by_side(run_dir) for _ in range(repeats)]
    ticks = run.inputs / len(ROLES)
    scaled = (median(both) - empty) / ticks * NIGHT_EVENTS
    notes = [
        f"scaled from {ticks:,.0f} ticks of {SAMPLE} ({median(both):.2f} s, {empty:.2f} s of it"
        " start-up); one process for each role, on all cores together"
    ]
    samples = {"three roles side by side, s": both, "strategy alone, s": alone}
    name = "replay with full comparison, 25 million ticks, two cores"
    return [Measure("B6", name, scaled, "s", Limit(300, 60, is_most=True), samples, notes=notes)]


def _side_by_side(run_dir: Path) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(len(ROLES)) as pool:
        list(pool.map(lambda role: _timed(["--role", role], run_dir), ROLES))
    return time.perf_counter() - began


def _timed(words: list[str], run_dir: Path | None) -> float:
    argv = [sys.executable, "-m", "minibot", "replay", *words]
    argv += [] if run_dir is None else [str(run_dir)]
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, timeout=STEP_S_MAX, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(argv[2:])}: {done.stdout.decode()[-500:]}")
    return time.perf_counter() - began


def restore(repeats: int, folder: Path) -> list[Measure]:
    """Return how long all three cores take to come back from what they were after a night."""
    path = folder / "states.json"
    argv = [sys.executable, "-m", "tools.bench.backtest_pass", "nore", "1000000"]
    done = subprocess.run(
        [*argv, "--states", str(path)], cwd=PROJECT, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise OSError(f"backtest_pass: {done.stderr.decode()[-500:]}")
    took, inner = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        said = subprocess.run(
            [sys.executable, "-c", RESTORE, str(path)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )
        took.append(time.perf_counter() - began)
        inner.append(float(said.stdout))
    size = path.stat().st_size
    held = json.loads(path.read_text())["market_s"]
    notes = [f"all three cores in one process, after {held / 3600:.1f} h of market; {size:,} bytes"]
    samples = {"process, wall s": took, "imports and restore, s": inner}
    name = "restart of a role: process, imports, state restored"
    limit = Limit(1, 0.3, is_most=True)
    return [Measure("B7", name, median(took), "s", limit, samples, notes=notes)]
