"""Deployment itself: from a journal of whole files to a tree that is all new or all old.

`staging` checks the staged files, lays new and old contents aside and writes the journal. From then
on the deployment is decided: `finish` completes it or rolls it back, however often it is
interrupted (F155, F156). `tools/with_env.py` calls it before anything else is imported, since a
half-deployed product might not even start: so this module uses only the standard library and
imports nothing of minibot.

    staging/deploying.json          the journal; exists only while a deployment is under way
    staging/work/<id>/new/<path>    contents to come
    staging/work/<id>/old/<path>    former contents, if there were any
    staging/work/<id>/deployed.json new content of staging/deployed.json

Journal: {"id": str, "files": [{"path", "sha256", "old_sha256": str or null}]}
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

JOURNAL: Final = "staging/deploying.json"
WORK: Final = "staging/work"
APPLIED: Final = "staging/applied"
DEPLOYED: Final = "staging/deployed.json"
TEMP_SUFFIX: Final = ".deploying"


class DeploymentStuck(Exception):
    """Deployment that can go neither forward nor back, because of the named file."""


class Entry(NamedTuple):
    """One file of a deployment: its path in the tree, its new and its old content."""

    path: str
    sha256: str
    old_sha256: str | None


def finish(project: Path) -> str | None:
    """Finish a deployment that was begun; return its outcome, None without one.

    Every file is put in place by one rename. If a new content is damaged, all files get their old
    contents back. A call after an interruption continues where it stopped.

    Returns:
        "completed" or "rolled back", or None when no deployment was under way.

    Raises:
        DeploymentStuck: A file was changed meanwhile by someone else, and is not overwritten; one
            cannot be put in place; or an old content that has to come back is damaged.
    """
    journal = project / JOURNAL
    try:
        content = json.loads(journal.read_bytes())
    except FileNotFoundError:
        return None
    work = project / WORK / str(content["id"])
    entries = [_entry(item) for item in content["files"]]
    _refuse_foreign(project, entries)
    if all(_sha256(work / "new" / entry.path) == entry.sha256 for entry in entries):
        for entry in entries:
            _put(project, entry, work / "new", entry.sha256)
        _replace(work / "deployed.json", project / DEPLOYED)
        outcome = "completed"
    else:
        _refuse_damaged(project, entries, work / "old")
        for entry in entries:
            _take_back(project, entry, work / "old")
        outcome = "rolled back"
    for entry in entries:
        _temp(project / entry.path).unlink(missing_ok=True)  # Left by an interrupted copy.
    os.unlink(journal)
    _sync_folder(journal.parent)
    _put_away(project, work)
    return outcome


def _entry(item: Mapping[str, Any]) -> Entry:
    return Entry(item["path"], item["sha256"], item["old_sha256"])


def _refuse_foreign(project: Path, entries: list[Entry]) -> None:
    """Raise when a target holds neither its old nor its new content."""
    for entry in entries:
        found = _sha256(project / entry.path)
        if found not in (entry.sha256, entry.old_sha256):
            raise DeploymentStuck(
                f"{entry.path}: expected {entry.old_sha256 or 'no file'} or {entry.sha256}, "
                f"found {found or 'no file'}; put one of them there (copies are in {WORK}), "
                f"then repeat"
            )


def _refuse_damaged(project: Path, entries: list[Entry], old: Path) -> None:
    """Raise when an old content that is not in its place any more is damaged, too."""
    for entry in entries:
        is_gone = entry.old_sha256 not in (None, _sha256(project / entry.path))
        if is_gone and _sha256(old / entry.path) != entry.old_sha256:
            raise DeploymentStuck(
                f"{entry.path}: its old content, kept in {WORK}, is damaged; put a file with "
                f"sha256 {entry.old_sha256} in place, then repeat"
            )


def _put(project: Path, entry: Entry, source: Path, sha256: str) -> None:
    target = project / entry.path
    if _sha256(target) != sha256:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace(source / entry.path, target)
        except OSError as error:
            raise DeploymentStuck(
                f"{entry.path} cannot be put in place: {error}; correct that, then repeat"
            ) from error


def _take_back(project: Path, entry: Entry, source: Path) -> None:
    if entry.old_sha256 is not None:
        _put(project, entry, source, entry.old_sha256)
        return
    target = project / entry.path
    target.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _replace(source: Path, target: Path) -> None:
    """Give `target` the content and mode of `source` in one step, durable on return."""
    temp = _temp(target)
    shutil.copyfile(source, temp)
    shutil.copymode(source, temp)
    descriptor = os.open(temp, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temp, target)
    _sync_folder(target.parent)


def _temp(target: Path) -> Path:
    return target.with_name(target.name + TEMP_SUFFIX)


def _put_away(project: Path, work: Path) -> None:
    """Keep the deployed and the replaced contents, as evidence and for a rollback."""
    kept = project / APPLIED / work.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    if work.exists() and not kept.exists():
        os.replace(work, kept)


def _sha256(path: Path) -> str | None:
    """Return the sha256 of a file, None where there is none, words for anything else."""
    if path.exists() and not path.is_file():
        return "no regular file"  # A folder cannot be read, and a FIFO may never end.
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable if the system offers it."""
    if os.name == "nt" or not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
