"""B5: `minibot backtest` over a file of columns, from a process that has just been started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Final

import numpy as np

from minibot.data.columns import Column, write_columns
from minibot.data.ticks import AMOUNTS, TICK_COLUMNS, TICKS
from minibot.data.treatment import Treatment
from minibot.events.money import PLACES
from tools.bench.backtest_market import SYMBOL, columns, ticks
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT

MILLION: Final = 1_000_000
COLD_S_MAX: Final = 600.0
PROFILE: Final = "config/nore-demo.v1.json"


def cold(repeats: int, folder: Path, word: str, is_compiled: bool, limit: Limit | None) -> Measure:
    """Return the time of the command to its table: one fill assumption, nothing kept.

    Args:
        repeats: Repetitions of the command.
        folder: Folder for the file of columns.
        word: `compiled` or `interpreted`, for the report.
        is_compiled: True to use the compiled cores.
        limit: Limit by which the time is judged.
    """
    path = columns_file(folder / "backtest" / "columns")
    environ = {key: value for key, value in os.environ.items() if key != "MINIBOT_COMPILED"}
    if is_compiled:
        environ["MINIBOT_COMPILED"] = "1"
    words = ["backtest", "--source", f"columns:{path.parent}", "--config", PROFILE]
    words += ["--fills", "touch", "--no-keep"]
    wall, cpu = [], []
    for _ in range(repeats):
        began, before = time.perf_counter(), os.times()
        done = subprocess.run(
            [sys.executable, "-m", "minibot", *words],
            cwd=PROJECT,
            env=environ,
            capture_output=True,
            timeout=COLD_S_MAX,
            check=False,
        )
        if done.returncode != 0:
            raise OSError(f"minibot {' '.join(words)}: {done.stderr.decode()[-500:]}")
        after = os.times()
        wall.append(time.perf_counter() - began)
        used = after.children_user + after.children_system
        cpu.append(used - before.children_user - before.children_system)
    name = f"cold process to the table of a million ticks, nore_strategy_v1, {word}"
    samples = {"CPU s": cpu, "wall s": wall}
    notes = ["CPU time of the whole command, so that a shared machine tells the truth"]
    return Measure("B5", name, median(cpu), "s", limit, samples, notes=notes)


def columns_file(folder: Path) -> Path:
    """Return the workload W1 in the form of `minibot data convert`; make it where it is missing."""
    path = folder / f"{SYMBOL}-ticks.columns"
    if path.is_file():
        return path
    table = columns(ticks(MILLION))
    made = []
    for name in TICK_COLUMNS:
        code, kind = ("B", np.uint8) if name == "flags" else ("q", np.int64)
        values = array(code, table[name].astype(kind).tobytes())
        made.append(Column(name, values, PLACES if name in AMOUNTS else 0))
    about = {
        "kind": TICKS,
        "symbol": SYMBOL,
        "interval": "",
        "first_ts": int(table["ts"][0]),
        "end_ts": int(table["ts"][-1]) + 1,
        "price_increment": "0.01",
        "qty_increment": "0.001",
        "sources": [],
        "treatment": Treatment().to_json(),
        "skew_ms": 0,
    }
    write_columns(path, about, made)
    return path
