"""The peers of the backtest bench: one environment each below `var/bench/peers`, and how each runs.

The scripts stand in `../shared/bench`: the same ticks, the same cross, one unit, fee 0.1 %. Their
clock is the CPU's, like that of minibot's own cases (`peer_clock`). A peer that cannot be had is
named with the reason and left out. Versions are pinned here.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.bench.machine import PROJECT
from tools.bench.peers import HOME
from tools.golden.pythons import base_of

SCRIPTS: Final = PROJECT.parent / "shared" / "bench"
CLOCK: Final = Path(__file__).resolve().parent / "peer_clock"
SETUP_S_MAX: Final = 900.0
RUN_S_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class Peer:
    """One case of one peer.

    Attributes:
        name: As the report shows it.
        home: Its environment's folder; cases of one peer share it.
        minor: Of Python 3.
        packages: Pinned, as pip takes them.
        words: Script and arguments.
        decides: How it comes to a decision, in three words.
    """

    name: str
    home: str
    minor: int
    packages: tuple[str, ...]
    words: tuple[str, ...]
    decides: str


_NAUTILUS_2: Final = ("naut2", 13, ("nautilus_trader==2.0.0rc7", "numpy"))
_NAUTILUS_1: Final = ("nautilus", 11, ("nautilus_trader==1.221.0",))
_VECTORBT: Final = ("vbt", 11, ("vectorbt==1.2.0",))
_HFT: Final = ("hft", 11, ("hftbacktest==2.4.4",))
_BACKTESTING: Final = ("bt", 11, ("backtesting==0.6.6",))
_FREQTRADE: Final = ("freqtrade", 11, ("freqtrade==2026.9",))

TICKS: Final = (
    Peer("nautilus 2.0.0rc7", *_NAUTILUS_2, ("peer_nautilus2.py", "w1"), "Rust, Python strategy"),
    Peer("nautilus 1.221.0", *_NAUTILUS_1, ("peer_nautilus.py", "w1"), "Cython, Python strategy"),
    Peer("vectorbt 1.2.0", *_VECTORBT, ("peer_vectorbt.py", "w1"), "vectorised, no events"),
    Peer("hftbacktest 2.4.4", *_HFT, ("peer_hft.py", "feed"), "Rust, compiled strategy"),
)
BARS: Final = (
    Peer("nautilus 2.0.0rc7", *_NAUTILUS_2, ("peer_nautilus2.py", "w2"), "Rust, Python strategy"),
    Peer("nautilus 1.221.0", *_NAUTILUS_1, ("peer_nautilus.py", "w2"), "Cython, Python strategy"),
    Peer("backtesting.py 0.6.6", *_BACKTESTING, ("peer_backtesting.py", "w2"), "Python by bar"),
    Peer("vectorbt 1.2.0", *_VECTORBT, ("peer_vectorbt.py", "w2"), "vectorised, no events"),
    Peer("freqtrade 2026.9", *_FREQTRADE, ("peer_freqtrade.py", "w2"), "signals, then Python"),
)


@dataclass(slots=True)
class Outcome:
    """What the cases of all peers gave: by name their figures, or why there are none."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def compare(peers: tuple[Peer, ...], data: Path, repeats: int, core: int) -> Outcome:
    """Run each peer on the same data, one core, best of nothing: the median of `repeats`."""
    outcome = Outcome()
    for peer in peers:
        try:
            python = _environment(peer)
            runs = sorted(
                (_run(peer, python, data, core) for _ in range(repeats)),
                key=lambda run: float(run["ev_per_s"]),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            outcome.missing[peer.name] = str(error)
            continue
        outcome.figures[peer.name] = {**runs[len(runs) // 2], "decides": peer.decides}
    return outcome


def _environment(peer: Peer) -> Path:
    home = HOME / peer.home
    python, stamp = home / "bin" / "python", home / "stamp"
    wanted = " ".join(peer.packages)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    base = base_of(peer.minor)
    if base is None:
        raise OSError(f"no Python 3.{peer.minor} here")
    subprocess.run([str(base), "-m", "venv", "--clear", str(home)], check=True, timeout=SETUP_S_MAX)
    words = [str(python), "-m", "pip", "install", "--quiet", "--pre", *peer.packages]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SETUP_S_MAX, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no word"]
        raise OSError(f"pip cannot install {wanted}: {said[-1][:200]}")
    stamp.write_text(wanted)
    return python


def _run(peer: Peer, python: Path, data: Path, core: int) -> dict[str, Any]:
    script = SCRIPTS / peer.words[0]
    if not script.is_file():
        raise OSError(f"its script is not here ({script})")
    words = [str(python), str(script), *peer.words[1:]]
    if os.name != "nt":
        words = ["taskset", "-c", str(core), *words]
    done = subprocess.run(
        words,
        cwd=SCRIPTS,
        env={
            **os.environ,
            "BENCH_DATA": str(data),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(CLOCK),
        },
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise OSError(f"ended with {done.returncode}: {said[-1][:200]}")
    result: dict[str, Any] = json.loads(found[-1].removeprefix("RESULT "))
    return result
