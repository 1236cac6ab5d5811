"""Which run holds a `var/` right now: whoever has its lock."""

from __future__ import annotations

from typing import Final

import filelock

from minibot.kernel.files import read_hashed
from minibot.runtime.paths import Var

# Who only asks holds the lock too, for a moment; `clear-stop` for some syncs. Neither is a run.
MOMENT_S: Final = 0.5
# `minibot kill` asks first: it may not wait as long for a `clear-stop` that nobody gives beside it.
ASKED_S: Final = 0.1
POLL_S: Final = 0.005


def run_lock(var: Var, timeout_s: float = MOMENT_S) -> filelock.BaseFileLock:
    """Return the lock of a run, not taken yet; only a run keeps others waiting to `Timeout`."""
    return filelock.FileLock(str(var.lock), timeout=timeout_s, poll_interval=POLL_S)


def running_run(var: Var) -> str | None:
    """Return the id of the run that holds this `var/`, or None."""
    if not var.lock.exists():
        return None
    lock = run_lock(var, ASKED_S)
    try:
        lock.acquire()
    except filelock.Timeout:
        marker = var.root / "current.json"
        return str(read_hashed(marker)["run_id"]) if marker.exists() else None
    lock.release()
    return None
