"""B9: the whole command `minibot backtest` as installed, over a year of one-minute bars.

    python -m tools.bench.backtest_command FOLDER      write the file of bars, print the commands

Three fill assumptions, page and document included, no compiled build. The file is a CSV as the
venue's archive publishes it. Judged are seconds of wall-clock time of the command with all its
processes; CPU time, which other work on the machine distorts less, and peak memory stand beside.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from minibot.kernel.files import write_atomic
from tools.bench.backtest_market import SYMBOL, bars
from tools.bench.backtest_pass import UNLIMITED
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT

YEAR: Final = 525_600
MINUTE_MS: Final = 60_000
COMMAND_S_MAX: Final = 1800.0
SAMPLE_S: Final = 0.1
NAME: Final = f"{SYMBOL}-1m-year.csv"
# What a user's environment does not set: compiled cores, and sources compiled anew at each start.
NOT_INSTALLED: Final = frozenset({"MINIBOT_COMPILED", "PYTHONDONTWRITEBYTECODE"})


class Case(NamedTuple):
    """One command: its changes of the default profile, and what is asked of it."""

    name: str
    sets: tuple[str, ...]
    limit: Limit


# A narrow band of a quick indicator, so that it trades more than ten thousand times in the year.
BAND: Final = (
    "strategy.name=rsi_band",
    "strategy.parameters.period=7",
    "strategy.parameters.below=35",
    "strategy.parameters.above=65",
    *UNLIMITED,
)
CASES: Final = (
    Case("(a) the shipped strategy", (), Limit(20, 8, is_most=True)),
    Case("(b) rsi_band, limits out of reach", BAND, Limit(45, 15, is_most=True)),
)


class Took(NamedTuple):
    """Cost of one run of the command, its processes together."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    said: str


def bars_file(folder: Path, count: int = YEAR) -> Path:
    """Return the file of bars, made where it is missing: twelve columns, without a header."""
    path = folder / NAME
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(_rows(count)).encode())
    return path


def _rows(count: int) -> Iterator[str]:
    ts, *prices, volume = bars(count)
    columns = [np.rint(column * 100).astype(np.int64).tolist() for column in prices]
    volumes = np.rint(volume * 1000).astype(np.int64).tolist()
    for start, o, h, lo, c, v in zip((ts // 10**6).tolist(), *columns, volumes, strict=True):
        cents = [f"{each // 100}.{each % 100:02d}" for each in (o, h, lo, c)]
        traded, half = f"{v // 1000}.{v % 1000:03d}", f"{v // 2000}.{v // 2 % 1000:03d}"
        quote, half_quote = v * c, v // 2 * c
        yield ",".join(
            (
                *(str(start), *cents, traded, str(start + MINUTE_MS - 1), _quote(quote)),
                *(str(v // 50), half, _quote(half_quote), "0\n"),
            )
        )


def _quote(units: int) -> str:
    return f"{units // 10**5}.{units % 10**5:05d}"


def words(path: Path, case: Case, var: Path) -> list[str]:
    """Return the command line behind `python`."""
    line = ["-m", "minibot", "backtest", "--var", str(var), "--source", f"klines:{path}"]
    for each in case.sets:
        line += ["--set", each]
    return line


def run_command(
    argv: Sequence[str], environ: Mapping[str, str] | None = None, codes: Collection[int] = (0,)
) -> Took:
    """Run a command in the project's folder and return what it took, with all its processes.

    Peak memory is the largest sum of what its processes hold, shared pages counted once (Linux).

    Args:
        argv: The command.
        environ: Its environment; None for this process's own.
        codes: Exit codes of a command that did what was asked.

    Raises:
        OSError: It failed.
    """
    before, began, peak = os.times(), time.perf_counter(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv, cwd=PROJECT, env=environ, stdout=said, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, _memory_kb(process.pid))
            if time.perf_counter() - began > COMMAND_S_MAX:
                process.kill()
            time.sleep(SAMPLE_S)
        wall_s, after = time.perf_counter() - began, os.times()
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    if process.returncode not in codes:
        raise OSError(f"{shlex.join(argv)}: ended with {process.returncode}: {text[-500:]}")
    cpu_s = after.children_user + after.children_system
    cpu_s -= before.children_user + before.children_system
    return Took(wall_s, cpu_s, peak / 1024, text)


def _memory_kb(pid: int) -> int:
    """Return the memory of a process and of all below it; 0 where the system does not tell."""
    found, pids = 0, [pid]
    for each in pids:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
            rows = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # It has just ended.
        found += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return found


def whole_command(plan_repeats: int, folder: Path, case: Case) -> Measure:
    """Return how long the whole command takes as installed, and what it printed at its end.

    Args:
        plan_repeats: Of the command.
        folder: Where the file of bars and what is kept go.
        case: The command.
    """
    path = bars_file(folder)
    environ = {key: value for key, value in os.environ.items() if key not in NOT_INSTALLED}
    runs: list[Took] = []
    for _ in range(plan_repeats):
        with tempfile.TemporaryDirectory(dir=folder) as var:
            runs.append(run_command([sys.executable, *words(path, case, Path(var))], environ))
    samples = {
        "wall s": [run.wall_s for run in runs],
        "CPU s, all processes": [run.cpu_s for run in runs],
        "peak MB, all processes": [run.peak_mb for run in runs],
    }
    shown = shlex.join(["python", *words(path, case, Path("DIR"))])
    told = [line.strip() for line in runs[-1].said.splitlines() if line.startswith("digest")]
    name = f"minibot backtest, a year of minutes, {case.name}, interpreted"
    wall_s = median(samples["wall s"])
    return Measure("B9", name, wall_s, "s", case.limit, samples, notes=[shown, *told])


def main() -> int:
    """Write the file of bars and print the commands."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench.backtest_command",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder = parser.parse_args().folder
    path = bars_file(folder)
    for case in CASES:
        print(shlex.join(["python", *words(path, case, folder / "var")]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
