"""Attacks from inside the AI's sandbox: what its worker could still do to the machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tools.attacks.frame import DEADLINE_S, Found, Lab, Night, NotPlayable, attack

DEMO = "config/nore-demo.v1.json"
WORKER = "minibot.ai.nore_ai_worker_v1"


@attack("C20", "the jailed worker tries every way out that is known", "each is denied, exit 0")
def worker_breaks_out(lab: Lab) -> Found:
    """Run the gate's probes on network, files, processes, limits, processors and memory advice."""
    done = lab.minibot("gate", "ai_isolation", "--json")
    probes = [
        item
        for item in _findings(done.document["ai_isolation"])
        if item["name"].startswith("probe")
    ]
    open_ones = [item["name"] for item in probes if not item["passed"]]
    said = f"{len(probes)} ways tried, open: {', '.join(open_ones) or 'none'}"
    return Found(said, done.code, done.code == 0 and len(probes) > 80 and not open_ones)


@attack(
    "C20", "a night is started by root with its AI", "its worker has no capability and no way back"
)
def root_lends_the_worker_its_rights(lab: Lab) -> Found:
    """Read the kernel's status of the worker of a running night."""
    if sys.platform != "linux":
        raise NotPlayable("needs Linux: /proc")
    night = lab.start_night({"embedded.speed": "6"}, profile=DEMO)
    sets = night.wait_until(lambda: _jailed_worker(night), "the AI's jailed worker", DEADLINE_S)
    held = {name for name in ("CapEff", "CapPrm", "CapAmb", "CapInh") if int(sets[name], 16)}
    said = f"held: {', '.join(sorted(held)) or 'none'}; NoNewPrivs {sets['NoNewPrivs']}"
    return Found(said, None, not held and sets["NoNewPrivs"] == "1")


def _findings(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(document["findings"])


def _jailed_worker(night: Night) -> dict[str, str] | None:
    """Return the kernel's status of the worker once its system call filter is on (mode 2).

    Processes come and go while a night starts, so a worker that has ended is searched for again.
    """
    for process in psutil.Process(night.process.pid).children(recursive=True):
        try:
            if WORKER not in process.cmdline():
                continue
            lines = Path(f"/proc/{process.pid}/status").read_text("ascii", "replace").splitlines()
        except (psutil.Error, FileNotFoundError, ProcessLookupError):
            continue
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if status.get("Seccomp") == "2":
            return status
    return None
