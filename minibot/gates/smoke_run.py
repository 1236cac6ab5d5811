"""Short real run in a lab folder, for gates and tricks: a fresh process by the launch command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.runtime.configuration.config_layers import ENV_PREFIX
from minibot.runtime.paths import PROJECT

PROFILE = "config/nore-smoke.v1.json"
TIMEOUT_S = 300.0
# Thresholds at which a short run trades repeatedly, whatever the machine's timing.
EAGER: Final[Mapping[str, object]] = {
    "strategy.cooldown_ms": 1000,
    "strategy.score_min": 20,
    "strategy.confidence_min": 10,
    "strategy.momentum_bps_min": "0.2",
    "strategy.reversion_bps_min": "0.2",
    # Ages are market time, which runs many times as fast as the machine; the machine may be busy.
    "strategy.tick_age_ms_max": 60_000,
    "risk.signal_age_ms_max": 60_000,
    "risk.tick_age_ms_max": 60_000,
    "risk.intent_ttl_ms": 60_000,
    "execution.tick_age_ms_max": 60_000,
    "execution.order_ttl_market_ms": 60_000,
}


@dataclass(frozen=True, slots=True)
class SmokeRun:
    """Finished short run: its exit code, its output, its record's folder (None without one)."""

    exit_code: int
    output: str  # Standard output, then standard error; after a kill only that it did not end.
    run_dir: Path | None


def environ_of_gates() -> dict[str, str]:
    """Return this process's environment without the variables that change a profile."""
    return {name: value for name, value in os.environ.items() if not _steers(name)}


def _steers(name: str) -> bool:
    return name.upper().startswith(ENV_PREFIX)  # Windows knows no lower case.


def run_smoke(lab: Path, sets: Sequence[str]) -> SmokeRun:
    """Run the smoke profile, eager to trade, in an emptied lab folder and wait for its end.

    A launcher that has not ended after `TIMEOUT_S` is killed; the exit code is then given as 5.

    Args:
        lab: The run's own `var`; emptied first.
        sets: Further `--set` texts, which override `EAGER`.

    Raises:
        FileExistsError: The lab could not be emptied.
    """
    shutil.rmtree(lab, ignore_errors=True)
    lab.mkdir(parents=True, mode=0o700)
    argv = [sys.executable, "-m", "minibot.nore_run_v1", "--config", PROFILE, "--var", str(lab)]
    argv += ["--quiet", "--no-proof"]
    for text in (*(f"{name}={value}" for name, value in EAGER.items()), *sets):
        argv += ["--set", text]
    try:
        done = subprocess.run(
            argv,
            cwd=PROJECT,
            env=environ_of_gates(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        exit_code, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        exit_code, output = 5, f"did not end within {TIMEOUT_S:.0f} s"
    found = sorted((lab / "runs").glob("*/manifest.json"))
    return SmokeRun(exit_code, output, found[-1].parent if found else None)
