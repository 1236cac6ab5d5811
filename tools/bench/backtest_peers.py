"""Peers of the backtest bench: one environment each below `var/bench/peers`, and their runs.

The scripts stand in `../shared/bench`: the same ticks, the same cross, one unit, fee 0.1 %. They
are timed by CPU time, like minibot's own cases (`peer_clock`). A peer that is not available, or
does not end in time, is named with the reason and left out. Every package of each environment is
pinned in `locks`. Figures of a peer are kept beside the data, so that an interrupted bench
continues; other data, scripts, locks or repetitions are measured anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np

from minibot.kernel.files import write_atomic
from tools.bench.backtest_command import Took, bars_file, run_command
from tools.bench.frame import Measure, median
from tools.bench.machine import PROJECT
from tools.bench.peers import HOME
from tools.bench.risk_market import columns, symbols
from tools.golden.pythons import base_of

SCRIPTS: Final = PROJECT.parent / "shared" / "bench"
CLOCK: Final = Path(__file__).resolve().parent / "peer_clock"
LOCKS: Final = Path(__file__).resolve().parent / "locks"
COLUMNS: Final = ("open_ts", "open", "high", "low", "close", "volume")
"""Columns of a bar that freqtrade takes."""
KEPT: Final = "peers.json"
SETUP_S_MAX: Final = 900.0
RUN_S_MAX: Final = 600.0
# The peer's compiler alone takes minutes on an idle machine.
NUMBA_S_MAX: Final = 2400.0


@dataclass(frozen=True, slots=True)
class Peer:
    """One case of one peer.

    Attributes:
        name: Name in the report.
        home: Name of its environment's folder and lock; cases of one peer share it.
        minor: Minor version of Python 3.
        words: Script and arguments.
        decides: Way of its decisions, in three words.
        run_s_max: How long one run may take.
    """

    name: str
    home: str
    minor: int
    words: tuple[str, ...]
    decides: str
    run_s_max: float = RUN_S_MAX

    @property
    def lock(self) -> Path:
        """Lock file that pins every package of its environment."""
        return LOCKS / f"{self.home}.txt"

    @property
    def script(self) -> Path:
        """Path of its script."""
        return SCRIPTS / self.words[0]


_NAUTILUS_2: Final = ("nautilus 2.0.0rc7", "naut2", 13)
_NAUTILUS_1: Final = ("nautilus 1.221.0", "nautilus", 11)
_VECTORBT: Final = ("vectorbt 1.2.0", "vbt", 11)
_HFT: Final = ("hftbacktest 2.4.4", "hft", 11)
_BACKTESTING: Final = ("backtesting.py 0.6.6", "bt", 11)
_FREQTRADE: Final = ("freqtrade 2026.9", "freqtrade", 11)

TICKS: Final = (
    Peer(*_NAUTILUS_2, ("peer_nautilus2.py", "w1"), "Rust, Python strategy"),
    Peer(*_NAUTILUS_1, ("peer_nautilus.py", "w1"), "Cython, Python strategy"),
    Peer(*_VECTORBT, ("peer_vectorbt.py", "w1"), "vectorised, no events"),
    Peer(*_HFT, ("peer_hft.py", "feed"), "Rust, compiled strategy", NUMBA_S_MAX),
)
BARS: Final = (
    Peer(*_NAUTILUS_2, ("peer_nautilus2.py", "w2"), "Rust, Python strategy"),
    Peer(*_NAUTILUS_1, ("peer_nautilus.py", "w2"), "Cython, Python strategy"),
    Peer(*_BACKTESTING, ("peer_backtesting.py", "w2"), "Python by bar"),
    Peer(*_VECTORBT, ("peer_vectorbt.py", "w2"), "vectorised, no events"),
    Peer(*_FREQTRADE, ("peer_freqtrade.py", "w2"), "signals, then Python"),
)
# Peers whose bars go one by one through an engine: the comparison of B8.
BY_EVENTS: Final = ("nautilus 2.0.0rc7", "nautilus 1.221.0", "backtesting.py 0.6.6")


@dataclass(slots=True)
class Outcome:
    """Outcome of all peers: by case name their figures, or why there are none."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def compare(
    peers: tuple[Peer, ...], data: Path, repeats: int, core: int, run_s_max: float | None = None
) -> Outcome:
    """Run each peer on the same data on one core: the median of `repeats`.

    Figures that an earlier call measured for the same case are reused.

    Args:
        peers: Which.
        data: The folder of their market.
        repeats: Of each.
        core: That they are pinned to.
        run_s_max: How long one run may take; by default each peer's own limit.
    """
    outcome = Outcome()
    for peer in peers:
        kept = _kept(data)
        name = f"{peer.name} {peer.words[-1]}"
        known = kept.get(name, {})
        try:
            told = _told(peer, data, repeats)
            if known.get("of") != told:
                print(f"  {name} ...", file=sys.stderr, flush=True)
                python = _environment(peer)
                most = run_s_max or peer.run_s_max
                words = [str(python), str(peer.script), *peer.words[1:]]
                runs = [run_script(words, data, core, most) for _ in range(repeats)]
                # Read again, because another bench may have written meanwhile.
                kept = _kept(data)
                known = kept[name] = {"of": told, "runs": runs}
                write_atomic(data / KEPT, json.dumps(kept, indent=1).encode())
        except subprocess.TimeoutExpired as error:
            outcome.missing[peer.name] = f"did not end within {error.timeout:.0f} s"
            continue
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            outcome.missing[peer.name] = str(error)
            continue
        runs = sorted(known["runs"], key=lambda run: float(run["ev_per_s"]))
        outcome.figures[peer.name] = {**runs[len(runs) // 2], "decides": peer.decides}
    return outcome


def _kept(data: Path) -> dict[str, Any]:
    """Return earlier figures; empty where they cannot be read."""
    try:
        found: dict[str, Any] = json.loads((data / KEPT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _told(peer: Peer, data: Path, repeats: int) -> str:
    """Return one sha256 over everything that a figure depends on, except the machine."""
    total = sha256(f"{peer.words} {repeats}".encode())
    inputs = sorted(data.glob("*.npz"))
    for path in (peer.lock, peer.script, peer.script.parent / "common.py", *inputs):
        if not path.is_file():
            raise OSError(f"what it needs is not here ({path})")
        total.update(path.read_bytes())
    return total.hexdigest()


def _environment(peer: Peer) -> Path:
    home = HOME / peer.home
    python, stamp = home / "bin" / "python", home / "stamp"
    wanted = sha256(peer.lock.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    base = base_of(peer.minor)
    if base is None:
        raise OSError(f"no Python 3.{peer.minor} here")
    subprocess.run([str(base), "-m", "venv", "--clear", str(home)], check=True, timeout=SETUP_S_MAX)
    words = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(peer.lock)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SETUP_S_MAX, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no word"]
        raise OSError(f"pip cannot install {peer.lock.name}: {said[-1][:200]}")
    stamp.write_text(wanted)
    return python


def run_script(words: list[str], data: Path, core: int, run_s_max: float) -> dict[str, Any]:
    """Run a script of `SCRIPTS` over a folder of data, by CPU time, and return its figures.

    Args:
        words: Python, path of the script, arguments.
        data: The folder of its market.
        core: That it is pinned to, where the system can.
        run_s_max: How long it may take.

    Raises:
        OSError: It printed no figures.
        subprocess.TimeoutExpired: It took longer.
    """
    pinned = ["taskset", "-c", str(core)] if shutil.which("taskset") else []
    done = subprocess.run(
        [*pinned, *words],
        cwd=SCRIPTS,
        env={
            **os.environ,
            "BENCH_DATA": str(data),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(CLOCK),
        },
        capture_output=True,
        text=True,
        timeout=run_s_max,
        check=False,
    )
    return _result(done.stdout, done.stderr)


def whole_freqtrade(repeats: int, folder: Path) -> Measure:
    """Return how long freqtrade takes for the bars and rules of B9 (b), start included."""
    name = f"{_FREQTRADE[0]}, bars and rules of (b), one fill assumption, no page"
    try:
        runs = [_freqtrade("freqtrade_year", bars_file(folder)) for _ in range(repeats)]
    except (OSError, subprocess.SubprocessError) as error:
        return Measure("B9", name, None, "s", notes=[f"not here: {error}"])
    samples = {
        "wall s": [run.wall_s for run in runs],
        "CPU s, all processes": [run.cpu_s for run in runs],
        "peak MB, all processes": [run.peak_mb for run in runs],
    }
    told = [json.dumps(_result(runs[-1].said))]
    return Measure("B9", name, median(samples["wall s"]), "s", None, samples, notes=told)


def freqtrade_pairs(repeats: int, count: int, bars: int) -> Measure:
    """Return how many bars of R1's pairs freqtrade decides on in a second of CPU time.

    Args:
        repeats: How often it runs.
        count: Number of pairs.
        bars: Of each.
    """
    name = f"{_FREQTRADE[0]}, the same bars, RSI, fixed and trailing stop, two protections"
    unit = "bars/s"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npz"
        made: dict[str, Any] = {}
        for symbol in symbols(count):
            found = columns(symbol, bars)
            made[symbol] = np.array([found[name] for name in COLUMNS])
        np.savez(path, **made)
        try:
            runs = [_result(_freqtrade("freqtrade_pairs", path).said) for _ in range(repeats)]
        except (OSError, subprocess.SubprocessError) as error:
            return Measure("R1", name, None, unit, notes=[f"not here: {error}"])
    samples = {"bars/s, CPU": [float(run["per_s"]) for run in runs]}
    last = runs[-1]
    told = [f"{last['traded']} pairs traded, {last['trades']:,} trades; no ladder, no other gate"]
    return Measure("R1", name, median(samples["bars/s, CPU"]), unit, None, samples, notes=told)


def _freqtrade(module: str, path: Path) -> Took:
    """Run a module of this folder over a file, in freqtrade's environment."""
    peer = next(each for each in BARS if each.home == "freqtrade")
    return run_command([str(_environment(peer)), "-m", f"{__package__}.{module}", str(path)])


def _result(said: str, errors: str = "") -> dict[str, Any]:
    """Return the figures that a peer printed as one line of JSON.

    Raises:
        OSError: It printed none; the last line of its errors says why.
    """
    found = [line for line in said.splitlines() if line.startswith("RESULT ")]
    if not found:
        last = ((errors or said).strip().splitlines() or ["no word"])[-1]
        raise OSError(f"ended without a result: {last[:200]}")
    result: dict[str, Any] = json.loads(found[-1].removeprefix("RESULT "))
    return result
