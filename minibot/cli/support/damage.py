"""Remedy for a run in which a verb met damage: one sentence with the next possible step."""

from __future__ import annotations

from pathlib import Path

from minibot.kernel.errors import IntegrityError, RunStop
from minibot.replay.run_status import called
from minibot.runtime.manifest import MANIFEST_FILE


def remedy(error: RunStop) -> str:
    """Return the sentence, after a full stop; empty if the error concerns no file of a run."""
    if not isinstance(error, IntegrityError) or not error.file:
        return ""
    damaged = Path(error.file)
    run_dir = next((path for path in damaged.parents if (path / MANIFEST_FILE).exists()), None)
    if run_dir is None:
        return ""
    run = called(run_dir)
    hint = f". All damage with its places: minibot verify {run}"
    if damaged.name != MANIFEST_FILE:  # Without it nothing can be replayed.
        hint += f"; up to when it can be proven: minibot replay {run}"
    return hint
