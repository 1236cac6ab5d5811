"""Samples of a soak's processes: memory, processor time, backlog, and the growth of memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import psutil

from minibot.gates.drill_run import DrillRun

MB: Final = 1024 * 1024
# A young process still loads and warms up, so its slope means nothing.
WARM_S: Final = 120.0
NAMES: Final = (
    "market_role",
    "strategy_role",
    "risk_role",
    "execution_role",
    "ai_role",
    "nore_ai_worker",
    "simulator",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Sample of one process.

    Attributes:
        at_s: Seconds since the beginning of the soak.
        pid: The process.
        age_s: Seconds since the process was started.
        rss_mb: Resident memory.
        cpu_s: Processor time used so far.
    """

    at_s: float
    pid: int
    age_s: float
    rss_mb: float
    cpu_s: float


@dataclass(slots=True)
class Samples:
    """All samples of all processes of a run, by name."""

    started: float = field(default_factory=time.monotonic)
    by_name: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))

    def take(self, night: DrillRun) -> None:
        """Sample every process of the run once."""
        at_s, wall = time.monotonic() - self.started, time.time()
        for process in night.crew.members():
            try:
                name = _name(process, night.launcher_pid)
                if not name:
                    continue
                with process.oneshot():
                    cpu = process.cpu_times()
                    sample = Sample(
                        at_s,
                        process.pid,
                        wall - process.create_time(),
                        process.memory_info().rss / MB,
                        cpu.user + cpu.system,
                    )
            except psutil.Error:
                continue  # The process ended while it was sampled.
            self.by_name[name].append(sample)

    def cpu_s(self, name: str) -> float:
        """Return the processor time of all processes that bore a name."""
        last = {sample.pid: sample.cpu_s for sample in self.by_name[name]}
        return sum(last.values())

    def warm(self, name: str) -> list[Sample]:
        """Return the samples of a process after its warm-up."""
        return [sample for sample in self.by_name[name] if sample.age_s >= WARM_S]

    def longest_life(self, name: str) -> list[Sample]:
        """Return the samples of the longest-lived process of a name, after its warm-up."""
        lives: dict[int, list[Sample]] = defaultdict(list)
        for sample in self.warm(name):
            lives[sample.pid].append(sample)
        return max(lives.values(), key=len, default=[])


def slope_mb_per_h(samples: Sequence[Sample]) -> float:
    """Return the growth of memory in an hour, by least squares; 0 for fewer than three samples."""
    if len(samples) < 3:
        return 0.0
    hours = [sample.at_s / 3600 for sample in samples]
    sizes = [sample.rss_mb for sample in samples]
    hour, size = sum(hours) / len(hours), sum(sizes) / len(sizes)
    scatter = sum((value - hour) ** 2 for value in hours)
    if not scatter:
        return 0.0
    return sum((h - hour) * (s - size) for h, s in zip(hours, sizes, strict=True)) / scatter


def _name(process: psutil.Process, launcher_pid: int) -> str:
    if process.pid == launcher_pid:
        return "launcher"
    words = " ".join(process.cmdline())
    return next((name for name in NAMES if name in words), "")
