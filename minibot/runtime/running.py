"""Which run holds a `var/` right now: whoever has its lock."""

from __future__ import annotations

import filelock

from minibot.kernel.files import read_hashed
from minibot.runtime.paths import Var


def running_run(var: Var) -> str | None:
    """Return the id of the run that holds this `var/`, or None."""
    if not var.lock.exists():
        return None
    lock = filelock.FileLock(str(var.lock), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        marker = var.root / "current.json"
        return str(read_hashed(marker)["run_id"]) if marker.exists() else None
    lock.release()
    return None
