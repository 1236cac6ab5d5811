"""R8: twelve months of five real pairs at 15 minutes as one portfolio, by the whole command."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Final

from minibot.compiled import SWITCH
from minibot.execution.fill_models import BY_NAME, FILL_MODELS
from tools.bench.backtest_command import Took, run_command
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT

DATA: Final = PROJECT.parent / "shared" / "data"
FOLDER: Final = "binance-klines-rest"
PAIRS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
TIMERANGE: Final = "20250101-20260101"
PROFILE: Final = "config/portfolio.v1.json"
STOPPED: Final = 1
"""Exit code of a backtest that risk stopped: its table stands all the same."""


def files(data: Path) -> list[Path]:
    """Return each pair's file of bars in a folder of real data, whether it is there or not."""
    return [data / FOLDER / f"{pair}-15m-to-2025-12-31.jsonl.gz" for pair in PAIRS]


def words(found: list[Path], var: Path) -> list[str]:
    """Return the command line behind `python`."""
    line = ["-m", "minibot", "backtest", "--var", str(var), "--config", PROFILE]
    for path in found:
        line += ["--source", f"klines:{path}"]
    return [*line, "--timerange", TIMERANGE]


def year(repeats: int, folder: Path, data: Path) -> list[Measure]:
    """Return how long the command takes to its table, and the memory of all its processes.

    Args:
        repeats: Of the command.
        folder: Where what it keeps goes.
        data: Folder of real data; nothing is measured where a file is missing.
    """
    name = f"twelve months, {len(PAIRS)} pairs at 15m, command to table"
    limits = Limit(90, 30, is_most=True), Limit(600, 300, is_most=True)
    found = files(data)
    missing = [str(path) for path in found if not path.is_file()]
    if missing:
        note = [f"not here: {missing[0]}; --data DIR names another folder"]
        return [
            Measure("R8", name, None, "s", limits[0], notes=note),
            Measure("R8", "peak memory, all processes", None, "MB", limits[1], notes=note),
        ]
    folder.mkdir(parents=True, exist_ok=True)
    environ = {key: value for key, value in os.environ.items() if key != SWITCH}
    runs: list[Took] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=folder) as var:
            argv = [sys.executable, *words(found, Path(var))]
            runs.append(run_command(argv, environ, (0, STOPPED)))
    samples = {
        "wall s": [run.wall_s for run in runs],
        "CPU s, all processes": [run.cpu_s for run in runs],
    }
    left_out = [model for model in BY_NAME if model not in FILL_MODELS]
    told = [line.strip() for line in runs[-1].said.splitlines() if line.startswith("digest")]
    notes = [
        shlex.join(["python", *words(found, Path("DIR"))]),
        f"fills: {', '.join(FILL_MODELS)}; {', '.join(left_out)} needs recorded levels, "
        "which bars have not",
        *told,
    ]
    peaks = [run.peak_mb for run in runs]
    return [
        Measure("R8", name, median(samples["wall s"]), "s", limits[0], samples, notes=notes),
        Measure("R8", "peak memory, all processes", median(peaks), "MB", limits[1], {"MB": peaks}),
    ]
