"""Pace of this machine, beside the reference machine of `../shared/bench-peers.md`.

That page says how fast the scripts of `../shared/bench` ran there. One of them, over the same
million ticks, runs before and after each bench, so that a figure can be told from its machine.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.bench.backtest_market import save, ticks
from tools.bench.backtest_peers import SCRIPTS, run_script
from tools.bench.frame import figure, median

FLOOR: Final = ("floor_py.py", "objects")
"""Script and variant: a tick, an order and a fill as objects in plain Python."""
REFERENCE_PER_S: Final = 4_360_000
"""Ticks in a second on the reference machine, CPython 3.11.7 (`bench-peers.md`, floors)."""
TICKS: Final = 1_000_000
REPEATS: Final = 3
CORE: Final = 1
RUN_S_MAX: Final = 60.0


@dataclass(slots=True)
class Pace:
    """Pace at several moments of a bench, as shares of the reference machine's.

    Attributes:
        folder: Where the ticks are written.
        shares: Median of each moment; 0.5 is half as fast as the reference machine.
        missing: Why there is none; empty where there is one.
    """

    folder: Path
    shares: list[float] = field(default_factory=list)
    missing: str = ""

    def measure(self) -> None:
        """Run the floor a few times by CPU time, so that other programs count little."""
        script = SCRIPTS / FLOOR[0]
        if not script.is_file():
            self.missing = f"unknown: no {script.name} in ../shared/bench"
            return
        if not self.shares:
            self.folder.mkdir(parents=True, exist_ok=True)
            save(ticks(TICKS), self.folder / "w1.npz")
        words = [sys.executable, str(script), FLOOR[1]]
        try:
            runs = [run_script(words, self.folder, CORE, RUN_S_MAX) for _ in range(REPEATS)]
        except (OSError, subprocess.SubprocessError) as error:
            self.missing = f"unknown: {error}"
            return
        self.shares.append(median([float(run["ev_per_s"]) for run in runs]) / REFERENCE_PER_S)

    @property
    def told(self) -> str:
        """Pace for the head of a report."""
        if not self.shares:
            return self.missing
        shares = ", then ".join(figure(share) for share in self.shares)
        how = f"{' '.join(FLOOR)}, CPU time, Python {platform.python_version()}"
        return f"{shares} of the reference machine's ({how})"
