"""R8: twelve months of five real pairs at 15 minutes as one portfolio, by the whole command.

Three fill assumptions come from one command, `book` from a second one: a band has it only as the
profile's own. Bars bring no levels, so it fills at the touch and no deeper. Judged is the sum. The
notes repeat the result beside buy-and-hold, and name the gates of risk that never fired.
"""

from __future__ import annotations

import json
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
from tools.risk_storm.__main__ import gates

DATA: Final = PROJECT.parent / "shared" / "data"
FOLDER: Final = "binance-klines-rest"
PAIRS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
TIMERANGE: Final = "20250101-20260101"
PROFILE: Final = "config/portfolio.v1.json"
SHOWN: Final = ("  result ", "  buy and hold", "digest")
"""Beginnings of the lines that the notes repeat of what a command printed."""
STOPPED: Final = 1
"""Exit code of a backtest that risk stopped: its table stands all the same."""


def files(data: Path) -> list[Path]:
    """Return each pair's file of bars in a folder of real data, whether it is there or not."""
    return [data / FOLDER / f"{pair}-15m-to-2025-12-31.jsonl.gz" for pair in PAIRS]


def commands(found: list[Path], var: Path) -> list[list[str]]:
    """Return the command lines behind `python` that show all fill assumptions together."""
    line = ["-m", "minibot", "backtest", "--var", str(var), "--config", PROFILE]
    for path in found:
        line += ["--source", f"klines:{path}"]
    band = [*line, "--timerange", TIMERANGE]
    others = [model for model in BY_NAME if model not in FILL_MODELS]
    return [band, *([*band, "--fills", model] for model in others)]


def year(repeats: int, folder: Path, data: Path) -> list[Measure]:
    """Return how long the commands take to their tables, and the memory of all processes.

    Args:
        repeats: Of the commands.
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
    runs: list[list[Took]] = []
    silent: list[str] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=folder) as var:
            lines = [[sys.executable, *words] for words in commands(found, Path(var))]
            runs.append([run_command(argv, environ, (0, STOPPED)) for argv in lines])
            silent = silent_gates(Path(var))
    samples = {
        "wall s": [sum(took.wall_s for took in run) for run in runs],
        "CPU s, all processes": [sum(took.cpu_s for took in run) for run in runs],
    }
    notes = []
    for words, took in zip(commands(found, Path("DIR")), runs[-1], strict=True):
        notes.append(shlex.join(["python", *words]))
        said = took.said.splitlines()
        notes += [line.strip() for line in said if line.startswith(SHOWN)]
    notes.append(f"never fired: {', '.join(silent)}")
    peaks = [max(took.peak_mb for took in run) for run in runs]
    return [
        Measure("R8", name, median(samples["wall s"]), "s", limits[0], samples, notes=notes),
        Measure("R8", "peak memory, all processes", median(peaks), "MB", limits[1], {"MB": peaks}),
    ]


def silent_gates(var: Path) -> list[str]:
    """Return risk's gates that fired in no kept backtest, those that the profile leaves off too."""
    fired: set[str] = set()
    for path in var.glob("backtests/*/result.json"):
        kept = json.loads(path.read_bytes())
        fired.update(row["name"] for row in kept["by_exit_reason"])
        for reasons in kept["refusals"].values():
            fired.update(reasons)
    return sorted(gates() - fired)
