"""Restore of a backup into an empty folder, as a `var` of its own that verifies and replays.

A finished run comes back as it was sealed. An open run comes back as after the death of its
machine; `restore` then recovers it and seals it as interrupted, as the next start would.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import FILES, ensure_folder, put_atomic
from minibot.kernel.store import Store
from minibot.runtime.backup import CONTENT, Backup, BackupFolder, read_backup
from minibot.runtime.current_note import CURRENT_FILE
from minibot.runtime.paths import Var
from minibot.watchdog.recovery import FormerRun, clear_former_run

_SEE: Final = "Name a backup's list, its name with the folder, or a folder for its newest."


def find_backup(named: Path) -> Backup:
    """Return the backup that a list, its path without `.json`, or a folder of backups names.

    Raises:
        Refusal: There is no such backup.
        IntegrityError: Its list is damaged.
    """
    if named.is_dir():
        found = BackupFolder(named).taken()
        if not found:
            raise Refusal(f"{named} holds no backup.", _SEE)
        return read_backup(found[-1])
    for path in (named, named.with_name(f"{named.name}.json")):
        if path.is_file():
            return read_backup(path)
    raise Refusal(f"there is no backup {named}.", _SEE)


def restore(backup: Backup, target: Path) -> FormerRun | None:
    """Restore a backup; return the open run that was sealed as interrupted, None for a finished.

    Every content is verified before the first is written. The run comes before all that it can do
    without, so that a start on a part of a backup finds a damaged run, and begins no account
    afresh. The note that names an open run is written last.

    Raises:
        Refusal: The folder is not empty, is a link, or its parent does not exist; or the disk
            refused a file, and the folder is incomplete.
        IntegrityError: A content is missing or damaged; nothing was written.
        RunStop: The disk refuses to recover an open run.
    """
    _require_empty(target)
    store = Store(backup.path.parent / CONTENT)
    for content in sorted(set(backup.files.values())):
        for _ in store.chunks(content):
            pass
    try:
        for name in sorted(backup.files, key=_turn):
            path = target / name
            ensure_folder(path.parent)
            put_atomic(path, store.chunks(backup.files[name]))
    except RunStop as error:
        raise Refusal(
            f"{target} is incomplete: {error.detail}.",
            "Free space, or name another disk; remove that folder, and restore again.",
        ) from error
    if backup.is_finished:
        return None
    roles = Roles.of_project()
    contracts = Contracts.of_project()
    return clear_former_run(Var(target), contracts, roles)


def _turn(name: str) -> tuple[bool, bool, str]:
    """Return the turn of a file: a flag is first by its capitals, the run is before the AI."""
    return name == CURRENT_FILE, name.startswith("ai/"), name


def _require_empty(target: Path) -> None:
    remedy = "Name an empty folder, or a new one in a folder that exists."
    if not target.parent.is_dir():
        raise Refusal(f"{target.parent} does not exist.", remedy)
    status = FILES.stat(target)
    if status is None:
        return
    if not status.is_folder:
        raise Refusal(f"{target} is not a folder of its own.", remedy)
    if os.listdir(target):
        raise Refusal(f"{target} is not empty: a backup is restored onto nothing.", remedy)
