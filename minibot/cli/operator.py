"""Shared by the verbs that speak to a running night: is one running, and which?"""

from __future__ import annotations

import getpass

import filelock

from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed
from minibot.runtime.paths import Var

NOT_RUNNING = 3


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


def require_running(var: Var) -> str:
    """Return the id of the running run.

    Raises:
        Refusal: No run is running here (exit 3).
    """
    run_id = running_run(var)
    if run_id is None:
        raise Refusal(
            f"no run is running on {var.root}.", "See what stands: minibot status", NOT_RUNNING
        )
    return run_id


def who() -> str:
    """Return who gives an order, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"
