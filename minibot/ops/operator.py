"""Operator's side of a running night: the running run's id, and who gives an order."""

from __future__ import annotations

import getpass
from contextlib import suppress

from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import read_hashed
from minibot.runtime.paths import Var
from minibot.runtime.running import is_held_unnamed, running_run, shown_run
from minibot.runtime.stop import OPERATOR, armed_path, is_disarmed, is_flagged

NOT_RUNNING = 3
# Longest text that is recorded whole, in characters; a contract accepts up to 4096.
WORDS_MAX = 2000


def require_running(var: Var, patience_s: float | None = None) -> str:
    """Return the id of the running run; see `running_run` for `patience_s`.

    Raises:
        Refusal: No run is running here, or it has already ended (exit 3).
    """
    run_id = running_run(var, patience_s)
    if run_id is None:
        raise Refusal(
            f"no run is running on {var.root}.", "See the last run: minibot status", NOT_RUNNING
        )
    if is_disarmed(var.stop):
        raise ended(run_id)
    return run_id


def require_unstopped(var: Var) -> str:
    """Return the id of the running run, which still takes requests.

    Raises:
        Refusal: No run is running here, it has already ended, or a STOP has ended it (exit 3).
    """
    run_id = require_running(var)
    if is_flagged(var.flag):
        raise Refusal(
            f"{run_id} is STOPPED and will be sealed: nothing can act on it any more.",
            "See why it stopped: minibot status",
            NOT_RUNNING,
        )
    return run_id


def require_killable(var: Var, patience_s: float | None = None) -> str:
    """Return the id of the run that a kill ends; see `running_run` for `patience_s`.

    A run whose note in `current.json` is missing or damaged is named by its armed switch, or by its
    live status: a kill may not depend on what else is still whole.

    Raises:
        Refusal: No run is running here, nothing names it, or it has already ended (exit 3).
    """
    if not is_held_unnamed(var, patience_s):
        return require_running(var, patience_s)
    run_id = _armed_run(var) or shown_run(var)
    if run_id is None:
        raise Refusal(
            f"{var.lock} is held, and nothing names the run: it begins, or has lost its files.",
            f"Try again in a few seconds. To stop it unnamed, create {var.flag} by hand.",
            NOT_RUNNING,
        )
    return run_id


def _armed_run(var: Var) -> str | None:
    """Return the run of the armed switch; None if that is missing or damaged."""
    with suppress(RunStop, OSError, KeyError):
        return str(read_hashed(armed_path(var.stop, OPERATOR))["run_id"])
    return None


def ended(run_id: str) -> Refusal:
    """Return the refusal of a verb for a run whose roles have ended."""
    return Refusal(
        f"{run_id} has ended and is being sealed: nothing can act on it any more.",
        "See how it ended: minibot status",
        NOT_RUNNING,
    )


def who() -> str:
    """Return the name of the user who gives an order, for the record."""
    try:
        return operator_text(getpass.getuser()) or OPERATOR
    except (OSError, KeyError, ImportError):
        return OPERATOR


def operator_text(text: str) -> str:
    """Return a person's text as contracts accept it: printable and of bounded length."""
    letters = (c if c.isprintable() else f"\\u{ord(c):04x}" for c in text.strip()[:WORDS_MAX])
    return "".join(letters)[:WORDS_MAX]
