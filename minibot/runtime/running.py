"""Which run holds a `var/` right now: whoever has its lock."""

from __future__ import annotations

from typing import Final

import filelock

from minibot.kernel.files import read_hashed
from minibot.runtime.paths import Var

# Who only asks holds the lock too, for a moment; `clear-stop` for some syncs. Neither is a run.
MOMENT_S: Final = 0.5
POLL_S: Final = 0.005


def run_lock(var: Var, patience_s: float = MOMENT_S) -> filelock.BaseFileLock:
    """Return the lock of a run, not taken yet; only a run keeps others waiting to `Timeout`."""
    return filelock.FileLock(str(var.lock), timeout=patience_s, poll_interval=POLL_S)


def running_run(var: Var, patience_s: float = MOMENT_S) -> str | None:
    """Return the id of the run that holds this `var/`, or None.

    Args:
        var: The folder.
        patience_s: So long others who ask are waited for; with less, one may pass for a run.
    """
    if not var.lock.exists():
        return None
    lock = run_lock(var, patience_s)
    try:
        lock.acquire()
    except filelock.Timeout:
        marker = var.root / "current.json"
        return str(read_hashed(marker)["run_id"]) if marker.exists() else None
    lock.release()
    return None
