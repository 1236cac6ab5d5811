"""Memory slope of each role over a synthetic market of an hour and more, after its first minutes.

    python3 tools/with_env.py -m tools.memory_slope                    70 minutes, 20 times as fast
    python3 tools/with_env.py -m tools.memory_slope --minutes 130 --speed 30

The market is the embedded exchange's generator. Memory follows events in market time, so an hour of
market time counts as one at any speed. The figures are the `rss_bytes` of the sealed `health`
events; exit code 1 when one role grows faster than allowed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.attacks.frame import PROJECT, Lab, Shelf, events_of, only_run

FOLDER: Final = PROJECT / "var" / "lab" / "memory_slope"
WARM_MS: Final = 600_000
HOUR_MS: Final = 3_600_000
MB: Final = 1024 * 1024
SLOPE_MB_MAX: Final = 1.0
LOOKS_MIN: Final = 30
NIGHT_S_MAX: Final = 7_200.0

Points = list[tuple[int, int]]


def memory_of(run_dir: Path) -> dict[str, Points]:
    """Return (market ms since the run's first event, resident bytes) by role, oldest first."""
    found: dict[str, Points] = {}
    for path in sorted((run_dir / "queues" / "health" / "parts").glob("*.jsonl")):
        for event in events_of(path):
            payload = event["payload"]
            if payload.get("rss_bytes") is not None:
                found.setdefault(payload["role"], []).append((event["ts"], payload["rss_bytes"]))
    first = min(points[0][0] for points in found.values())
    return {role: [(ts - first, rss) for ts, rss in points] for role, points in found.items()}


def slope_mb(points: Sequence[tuple[int, int]]) -> float:
    """Return the growth of memory in MB per hour of market time, by least squares."""
    count = len(points)
    hours = [ts / HOUR_MS for ts, _ in points]
    sizes = [rss / MB for _, rss in points]
    hour, size = sum(hours) / count, sum(sizes) / count
    scatter = sum((each - hour) ** 2 for each in hours)
    apart = sum((h - hour) * (s - size) for h, s in zip(hours, sizes, strict=True))
    return apart / scatter if scatter else 0.0


def report(memory: Mapping[str, Points]) -> int:
    """Print one line for each role; return the number of roles that grow too fast."""
    too_fast = 0
    for role, points in sorted(memory.items()):
        warm = [point for point in points if point[0] >= WARM_MS]
        if len(warm) < LOOKS_MIN:
            print(f"{role:15} was looked at only {len(warm)} times after its first ten minutes")
            too_fast += 1
            continue
        slope = slope_mb(warm)
        too_fast += slope > SLOPE_MB_MAX
        first, last = warm[0][1] / MB, warm[-1][1] / MB
        print(
            f"{role:15} {slope:+7.2f} MB an hour over {(warm[-1][0] - warm[0][0]) / HOUR_MS:.2f} h"
            f" ({first:.1f} to {last:.1f} MB, {len(warm)} looks)"
        )
    return too_fast


def main(argv: Sequence[str] | None = None) -> int:
    """Run the night and judge its memory; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.memory_slope", description="Measure how a night's memory grows."
    )
    parser.add_argument("--minutes", type=int, default=70, help="of market time (default: 70)")
    parser.add_argument("--speed", type=int, default=20, help="times the clock (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the market (default: 1)")
    parser.add_argument("--run", type=Path, help="judge this run's folder instead")
    parser.add_argument("--set", nargs="*", default=[], help="further section.key=value")
    arguments = parser.parse_args(argv)
    if arguments.run is not None:
        return 1 if report(memory_of(arguments.run)) else 0
    shutil.rmtree(FOLDER, ignore_errors=True)
    lab = Lab(FOLDER, Shelf(FOLDER.with_name("shelf")))
    sets = {
        "embedded.source": f"generator:{arguments.seed}",
        "embedded.speed": str(arguments.speed),
        "duration_ms": str(arguments.minutes * 60_000),
        # Scaled, so that snapshots come as often in market time as in a real night: every minute.
        "watchdog.snapshot_interval_ms": str(max(1_000, 60_000 // arguments.speed)),
    }
    sets |= dict(pair.split("=", 1) for pair in arguments.set)
    try:
        done = lab.start_night(sets).wait(NIGHT_S_MAX)
    finally:
        lab.end()
    if done.code != 0:
        print(f"the night did not end in order: {json.dumps(done.last_words())}", file=sys.stderr)
        return 1
    return 1 if report(memory_of(only_run(lab.var))) else 0


if __name__ == "__main__":
    sys.exit(main())
