"""Note of a `var/` on its run, `current.json`: whose queues lie there, and by which process.

`runtime.running` writes it and looks for the process.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final

from minibot.kernel.canonical import CanonicalError, JsonObject, decode
from minibot.kernel.errors import RunStop
from minibot.kernel.files import FILES, read_hashed
from minibot.kernel.queue import open_reader
from minibot.runtime.manifest import is_run_id
from minibot.runtime.paths import Var

CURRENT_FILE: Final = "current.json"
LOST_QUEUES: Final = "lost"
"""Key of the note: queues that were gone when a recovery of the run began."""


def current_note(var: Var) -> JsonObject:
    """Return the note of a `var`, empty if it is missing or damaged: it names no run then."""
    try:
        return read_hashed(var.root / CURRENT_FILE)
    except RunStop:
        return {}


def ended_note(run_id: str, former: JsonObject | None = None) -> JsonObject:
    """Return the note of a run whose queues are here and whose process has ended.

    Args:
        run_id: The run.
        former: Its note until now, whose losses stay.
    """
    kept = {key: lost for key, lost in (former or {}).items() if key == LOST_QUEUES}
    return {"run_id": run_id, "pid": None, "process": None, **kept}


def has_queues_of(var: Var, run_id: str) -> bool:
    """Return whether the queues under a `var` are those of a run, by its note or by their lines."""
    note = current_note(var)
    return (note.get("run_id") if note else run_of_lines(var)) == run_id


def run_of_lines(var: Var) -> str | None:
    """Return the run that the lines in `var/queues` name; None without a line that names one."""
    for queue in FILES.listdir(var.queues) if var.queues.is_dir() else ():
        try:
            with closing(open_reader(var.queues, queue)) as reader:
                named = [decode(line.json).get("run_id") for line in reader.read(1)]
        except (RunStop, CanonicalError):
            continue  # Another queue may say it.
        if named and is_run_id(str(named[0])):
            return str(named[0])
    return None
