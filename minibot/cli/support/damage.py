"""Damage of a run or a disk: the remedy of what broke a verb off, and a note of altered files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from minibot.cli.support.output import say
from minibot.kernel.codes import CURSOR_AHEAD, IO_EIO, IO_ENOSPC, IO_READONLY
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.seal import QUEUES
from minibot.replay.run_status import altered_files, called
from minibot.runtime.manifest import MANIFEST_FILE

_OF_DISK: Final = {
    IO_EIO: ". Name another place, or have the disk checked; then repeat the command.",
    IO_ENOSPC: ". Free space there, then repeat the command.",
    IO_READONLY: ". Mount it writable, or give this user access to it; then repeat the command.",
}
"""Remedies of a verb: those of `events.reasons` are for a run, which starts again."""
_OF_LOG: Final = ". All damage of a run with its places: minibot verify RUN"


def remedy(error: RunStop) -> str:
    """Return the sentence, after a full stop; empty if there is no step that may help."""
    if error.reason_code in _OF_DISK:
        return _OF_DISK[error.reason_code]
    if not isinstance(error, IntegrityError):
        return ""
    if not error.file:
        # A log of inputs names lines of a queue, whose file it does not know.
        return _OF_LOG if error.reason_code == CURSOR_AHEAD else ""
    damaged = Path(error.file)
    run_dir = next((path for path in damaged.parents if (path / MANIFEST_FILE).exists()), None)
    if run_dir is None and damaged.name == MANIFEST_FILE and (damaged.parent / QUEUES).is_dir():
        run_dir = damaged.parent
    if run_dir is None:
        return ""
    run = called(run_dir)
    hint = f". All damage with its places: minibot verify {run}"
    if damaged.name != MANIFEST_FILE:  # Without it nothing can be replayed.
        hint += f"; up to when it can be proven: minibot replay {run}"
    return hint


def note_altered(run_dir: Path) -> None:
    """Print a note for each file of a run that is not as its seal has it.

    Figures that are counted from it may lack its lines.
    """
    for name in altered_files(run_dir, sizes=True):
        say(f"note: {name} is not what was sealed; see: minibot verify {called(run_dir)}")
