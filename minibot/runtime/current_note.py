"""Note of a `var/` on its run, `current.json`: whose queues lie there, and by which process.

`runtime.running` writes it and looks for the process.
"""

from __future__ import annotations

from typing import Final

from minibot.kernel.canonical import JsonObject
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed
from minibot.runtime.paths import Var

CURRENT_FILE: Final = "current.json"


def current_note(var: Var) -> JsonObject:
    """Return the note of a `var`, empty if it is missing or damaged: it names no run then."""
    try:
        return read_hashed(var.root / CURRENT_FILE)
    except RunStop:
        return {}


def ended_note(run_id: str) -> JsonObject:
    """Return the note of a run whose queues are here and whose process has ended."""
    return {"run_id": run_id, "pid": None, "process": None}


def has_queues_of(var: Var, run_id: str) -> bool:
    """Return whether the queues under a `var` are noted as those of a run."""
    return current_note(var).get("run_id") == run_id
