"""B6 and B7: a recorded run replayed with full comparison, and a role restarted late in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from minibot.engine.recorded_run import Recorded
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT

NIGHT_EVENTS: Final = 25_000_000
# Groups of roles: one for each of the two processes of a replay.
GROUPS: Final = (("strategy_role",), ("risk_role", "execution_role"))
# One of them alone, as a replay of a long run starts it beside the other; without a run, its start.
GROUP: Final = """
import sys
from pathlib import Path
from minibot.engine.role_replay import WHOLE
from minibot.engine.grouped_replay import Task, replay_group
if sys.argv[1:]:
    group = replay_group(Task(Path(sys.argv[1]), tuple(sys.argv[2:]), WHOLE, False, False))
    apart = [one.role for one in group.results if one.difference is not None]
    if apart or group.breaks:
        raise SystemExit(f"not identical: {apart} {group.breaks}")
"""
TICKS_MIN: Final = 200_000
# In a shorter run start-up is most of the time, and would be multiplied with the rest.
NO_RUN: Final = (
    f"needs --run DIR, a recorded run of {TICKS_MIN:,} ticks or more; 83 s make one in var/runs: "
    "python -m minibot.nore_run_v1 --config config/nore-demo.v1.json "
    "--set embedded.source=generator:7 --set embedded.speed=5 "
    "--set embedded.rate_per_s=1000 --set duration_ms=400000"
)
STEP_S_MAX: Final = 600.0
# What a role's process does before its first input: all that it imports, the contracts, and of each
# core what a snapshot holds, made again and asked for its state.
RESTORE: Final = """
import json, sys, time
began = time.perf_counter()
import minibot.runtime.role, minibot.runtime.shell, minibot.runtime.context
import minibot.engine.role_replay
from minibot.events.codec import Codec
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.runtime.paths import PROJECT
import importlib
roles = Roles.of_project()
contracts = Contracts.of_project()
Codec(contracts, roles, "20240101_000000", {"market_role": {"0" * 64}}, "bench")
given = json.load(open(sys.argv[1]))
for role, state in given["states"].items():
    module = importlib.import_module(roles.roles[role].core)
    assert module.core_from_state(given["config"], state).state() == state, role
print(time.perf_counter() - began)
"""


def replay(repeats: int, run: Path | None) -> list[Measure]:
    """Return the time of replaying a night of 25 million ticks on two cores, from a run's replay.

    Args:
        repeats: Repetitions of each role's replay.
        run: Recorded run, the larger the better. Nothing is measured without one, or with one that
            is too short.
    """
    name, limit = "replay with full comparison, 25 million ticks, two cores", Limit(300, 60, True)
    if run is None:
        return [Measure("B6", name, None, "s", limit, notes=[NO_RUN])]
    ticks = Recorded.open(run).lines("market_ticks").reader.head().lines
    if ticks < TICKS_MIN:
        notes = [f"{run.name} has {ticks:,} ticks", NO_RUN]
        return [Measure("B6", name, None, "s", limit, notes=notes)]
    start_s = min(_cpu_s([]) for _ in range(repeats))
    samples = {
        f"{' and '.join(roles)}, CPU s": [_cpu_s([str(run), *roles]) for _ in range(repeats)]
        for roles in GROUPS
    }
    longer = max(median(values) - start_s for values in samples.values())
    scaled = longer / ticks * NIGHT_EVENTS
    notes = [
        f"scaled from the CPU time of the longer of two processes over {run.name}'s {ticks:,}"
        f" ticks, less {start_s:.2f} s of start-up; a run of that length goes by two processes"
    ]
    return [Measure("B6", name, scaled, "s", limit, samples, notes=notes)]


def _cpu_s(words: list[str]) -> float:
    """Return the CPU time, user and system, of one group's replay in a separate process."""
    argv = [sys.executable, "-c", GROUP, *words]
    before = os.times()
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, timeout=STEP_S_MAX, check=False)
    after = os.times()
    if done.returncode != 0:
        raise OSError(f"replay of {' '.join(words)}: {done.stderr.decode()[-500:]}")
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def restore(repeats: int, folder: Path) -> list[Measure]:
    """Return the time in which all three cores restore their state after a night."""
    path = folder / "states.json"
    argv = [sys.executable, "-m", "tools.bench.backtest_pass", "nore", "1000000"]
    done = subprocess.run(
        [*argv, "--states", str(path)], cwd=PROJECT, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise OSError(f"backtest_pass: {done.stderr.decode()[-500:]}")
    # A restarting role has been started before, so its bytecode exists.
    environ = {key: word for key, word in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    took, cpu, inner = [], [], []
    for is_restart in (False, *(True for _ in range(repeats))):
        began, before = time.perf_counter(), os.times()
        said = subprocess.run(
            [sys.executable, "-c", RESTORE, str(path)],
            cwd=PROJECT,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        if not is_restart:
            continue
        took.append(time.perf_counter() - began)
        after = os.times()
        used = after.children_user + after.children_system
        cpu.append(used - before.children_user - before.children_system)
        inner.append(float(said.stdout))
    size = path.stat().st_size
    held = json.loads(path.read_text())["market_s"]
    notes = [f"all three cores in one process, after {held / 3600:.1f} h of market; {size:,} bytes"]
    samples = {"CPU s": cpu, "wall s": took, "of it imports and restore, wall s": inner}
    name = "restart of a role: process, imports, state restored"
    limit = Limit(1, 0.3, is_most=True)
    return [Measure("B7", name, median(cpu), "s", limit, samples, notes=notes)]
