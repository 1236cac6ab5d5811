"""Peers that read a combined stream: one environment below `var/bench/peers`, one run of a client.

All packages are pinned by their hashes in `locks/market.txt`. A client that is not available or
does not end is named with the reason and left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.bench.machine import PROJECT
from tools.bench.market_run import server
from tools.bench.peers import environment

CLIENTS: Final = Path(__file__).resolve().parent / "market_clients.py"
OWN: Final = "minibot"
PEERS: Final = ("cryptofeed", "ccxt", "python-binance", "unicorn")
ABSENT: Final = {
    "hummingbot": "no package of its connector alone; the bot, source alone, was given up after"
    " 100 s, not past its build requirements"
}
RUN_S_MAX: Final = 120.0


@dataclass(slots=True)
class Clients:
    """Runs of each client, in order, and why some are missing."""

    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def per_cpu_s(self, name: str) -> list[float]:
        """Return messages for each second of CPU time, run by run."""
        return [run["messages"] / run["cpu_s"] for run in self.runs.get(name, [])]

    def per_s(self, name: str) -> list[float]:
        """Return messages a second of wall-clock time, run by run."""
        return [run["messages"] / run["wall_s"] for run in self.runs.get(name, [])]

    def cpu_us(self, name: str) -> list[float]:
        """Return microseconds of CPU time for each message, run by run."""
        return [1e6 * run["cpu_s"] / run["messages"] for run in self.runs.get(name, [])]


def compare(repeats: int, core: int, *, has_peers: bool, **command: Any) -> Clients:
    """Give each client the same frames, in turn."""
    found = Clients()
    names = [OWN]
    if has_peers:
        found.missing.update(ABSENT)
        try:
            python = environment("market")
        except (OSError, subprocess.SubprocessError) as error:
            found.missing.update(dict.fromkeys(PEERS, str(error)))
        else:
            names += PEERS
    for _ in range(repeats):
        for name in names:
            if name in found.missing:
                continue
            words = [str(python), str(CLIENTS), name] if name != OWN else own()
            try:
                found.runs.setdefault(name, []).append(_run(words, core, command))
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                found.missing[name] = str(error)[:200]
    return found


def own() -> list[str]:
    """Return the command of minibot's own part."""
    return [sys.executable, "-m", "tools.bench.market_decode"]


def _run(words: list[str], core: int, command: dict[str, Any]) -> dict[str, Any]:
    pinned = ["taskset", "-c", str(core)] if shutil.which("taskset") else []
    with server() as sending:
        counts = json.dumps(dict(sending.recorded))
        client = subprocess.Popen(
            [*pinned, *words, str(sending.port), counts],
            cwd=PROJECT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            sending.begin(clients=1, kinds=3, **command)
            said, complaint = client.communicate(timeout=RUN_S_MAX)
        finally:
            client.kill()
            client.wait()
    lines = [line for line in said.splitlines() if line.startswith("RESULT ")]
    if not lines:
        words_said = (complaint or said).strip().splitlines() or ["no word"]
        raise OSError(f"ended with {client.returncode}: {words_said[-1][:200]}")
    result: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    if not result["cpu_s"] or not result["wall_s"]:
        raise OSError(f"took {result['messages']} messages and then no more")
    return result
