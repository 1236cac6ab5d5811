"""Shared by the verbs that speak to a running night: is one running, and which?"""

from __future__ import annotations

import getpass

from minibot.kernel.errors import Refusal
from minibot.runtime.paths import Var
from minibot.runtime.running import MOMENT_S, running_run
from minibot.runtime.stop import OPERATOR, armed_path

NOT_RUNNING = 3


def require_running(var: Var, patience_s: float = MOMENT_S) -> str:
    """Return the id of the running run; see `running_run` for `patience_s`.

    Raises:
        Refusal: No run is running here, or it has ended already (exit 3).
    """
    run_id = running_run(var, patience_s)
    if run_id is None:
        raise Refusal(
            f"no run is running on {var.root}.", "See what stands: minibot status", NOT_RUNNING
        )
    if not armed_path(var.stop, OPERATOR).exists():
        raise ended(run_id)
    return run_id


def ended(run_id: str) -> Refusal:
    """Return the refusal of a verb for a run whose roles have ended."""
    return Refusal(
        f"{run_id} has ended and is being sealed: nothing is left to act.",
        "See how it ended: minibot status",
        NOT_RUNNING,
    )


def who() -> str:
    """Return who gives an order, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"
