"""Guard against changed code: before each start of a process, is the run's code still on disk?

A role that crashes in hour five is restarted from the code on disk at that time, and a trainer is
started every hour. A `git pull`, an edit or a deployment would give them other code than the
manifest names. So all loadable files are checked before each start: if a stamp differs from that at
the run's beginning, all are hashed again as for the manifest.
"""

from __future__ import annotations

import os
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Final

from minibot.events.reasons import CODE_CHANGED
from minibot.kernel.errors import RunStop
from minibot.runtime.deployment.deployed import CACHE, CONFIG, code_sha256, digests_below

# Folders from which a run's process loads. Profiles have their own pins, and each process checks a
# compiled build itself (`minibot.compiled`).
FOLDERS: Final = ("minibot", "contracts")
DATA_SUFFIX: Final = ".json"
NAMED_MAX: Final = 3

Stamp = tuple[int, int, int, int]


class CodeStand:
    """Code on disk as it was when a run, or a process of it, began.

    Args:
        project: Root of the checkout.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self._stamps = _stamps(project)
        self._config = digests_below(project, CONFIG)

    def changed(self, code_sha256_then: str) -> str | None:
        """Return the changed files, each with its change, or None if the code is the same.

        A source or a contract that was only touched is the same: its content is hashed again. The
        hash in the manifest covers `config` too. Processes load config only by its own pins, so it
        enters as it was at the beginning. A compiled library counts as changed as soon as its stamp
        differs.

        Args:
            code_sha256_then: The hash in the run's manifest.
        """
        now = _stamps(self._project)
        if now == self._stamps:
            return None
        found = sorted(
            path for path in {*now, *self._stamps} if now.get(path) != self._stamps.get(path)
        )
        # The hash covers `.py` and `.json` files only; a library has nothing but its stamp.
        is_hashed = all(path.endswith((".py", DATA_SUFFIX)) for path in found)
        if is_hashed and code_sha256(self._project, self._config) == code_sha256_then:
            self._stamps = now  # Touched, with the same content.
            return None
        named = [f"{path}: {self._how(path, now)}" for path in found[:NAMED_MAX]]
        more = len(found) - NAMED_MAX
        return ", ".join(named) + (f" and {more} more" if more > 0 else "")

    def _how(self, path: str, now: dict[str, Stamp]) -> str:
        if path not in now:
            return "missing"
        return "changed" if path in self._stamps else "new"


def refuse_changed(stand: CodeStand, code_sha256_then: str, component: str, what: str) -> None:
    """Stop the run when the code has changed.

    Raises:
        RunStop: CODE_CHANGED, with the files in its detail.
    """
    changed = stand.changed(code_sha256_then)
    if changed is not None:
        raise RunStop(component, CODE_CHANGED, detail_of(what, changed))


def detail_of(what: str, changed: str) -> str:
    """Return the sentence of a STOP for changed code."""
    return f"{what} is not started: since this run began, on disk: {changed}"


def _stamps(project: Path) -> dict[str, Stamp]:
    """Return path -> stamp, which shows changes, for each file that Python or a role could load."""
    suffixes = (*all_suffixes(), DATA_SUFFIX)
    found: dict[str, Stamp] = {}
    folders = [str(project / name) for name in FOLDERS]
    start = len(str(project)) + 1
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue  # Its files are missing too.
        for entry in entries:
            if entry.is_dir():
                if entry.name != CACHE:
                    folders.append(entry.path)
            elif entry.name.endswith(suffixes):
                try:
                    seen = os.stat(entry.path) if entry.is_symlink() else entry.stat()
                except FileNotFoundError:
                    continue  # An editor's lock, which is a link to nothing; or gone just now.
                stamp = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino)
                found[entry.path[start:].replace(os.sep, "/")] = stamp
    return found
