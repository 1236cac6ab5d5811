"""Run files: those that the launcher wrote into a run's folder, guarded against changes.

The launcher writes each of them exactly once and through `RunFiles`, which keeps size and sha256 of
its content. Supervision compares the folder with these once a second, by stat and, if a stamp has
changed, by hash. The seal states the files as written, not as they are later. So any change of a
file is a STOP while the run lives and a finding of every judge afterwards.
"""

from __future__ import annotations

import itertools
import os
import stat as modes
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from minibot.events.reasons import QUEUE_MISSING, RUN_FILE_CHANGED
from minibot.kernel.canonical import JsonObject
from minibot.kernel.errors import IntegrityError, MinibotError, Refusal, RunStop
from minibot.kernel.files import (
    ensure_folder,
    hash_file,
    hashed_bytes,
    read_hashed,
    read_whole,
    write_atomic,
)
from minibot.kernel.seal import PINNED, QUEUES, SEAL_FILE, SIGNATURE_FILE, SUMS_FILE
from minibot.runtime.manifest import Manifest, is_copy, is_run_id

COMPONENT: Final = "runtime.runfiles"
METRICS_FILE: Final = "metrics.json"
LATEST: Final = "latest"
"""The name of the newest run, wherever a run is named."""
LATER: Final = (*PINNED, QUEUES, SEAL_FILE, SUMS_FILE, SIGNATURE_FILE)
"""Names that the launcher writes, each at its time; before that none of them may exist."""
MARKS: Final = (*PINNED, QUEUES, SEAL_FILE)
"""Names that mark a folder as a run's; one of them is enough."""

FOREIGN: Final = ".foreign"
RUN_FILES: Final = "MINIBOT_RUN_FILES"
"""Environment variable by which the launcher passes `RunFiles.text` to a role, see `require`."""

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (modes.S_ISLNK, "a link"),
    (modes.S_ISDIR, "a folder"),
    (modes.S_ISREG, "a file"),
    (modes.S_ISFIFO, "a FIFO"),
)

Stamp = tuple[int, int, int, int]


class RunFiles:
    """Files written into one run's folder.

    Args:
        run_dir: The folder; it has to exist.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._folder = _identity(os.lstat(run_dir))
        self._written: dict[str, JsonObject] = {}
        self._stamps: dict[str, Stamp] = {}

    @property
    def written(self) -> dict[str, JsonObject]:
        """Size and sha256 of each written file, by name, as a seal holds them."""
        return dict(self._written)

    @property
    def text(self) -> str:
        """Names and sha256 of the files that a starting role has to find; see `require`."""
        return " ".join(f"{name}={entry['sha256']}" for name, entry in self._written.items())

    def put_hashed(self, name: str, obj: JsonObject) -> None:
        """Write a critical file that carries its own sha256; see `put`."""
        self.put(name, hashed_bytes(obj, 1))

    def put(self, name: str, data: bytes) -> None:
        """Write a file, once.

        Raises:
            IntegrityError: RUN_FILE_CHANGED, the name exists already, or the folder is no longer
                the run's.
            RunStop: The disk refuses.
        """
        why = self._folder_changed()
        if why is None and os.path.lexists(self.run_dir / name):
            why = f"{name} exists, and no process of this run has written it"
        if why is not None:
            raise IntegrityError(COMPONENT, RUN_FILE_CHANGED, why)
        write_atomic(self.run_dir / name, data)
        self._written[name] = {"size": len(data), "sha256": sha256(data).hexdigest()}

    def changed(self) -> str | None:
        """Return the first difference from the files as written, as one sentence, or None."""
        return next(iter(self.differences()), None)

    def differences(self) -> list[str]:
        """Return each difference from the files as written, one sentence each, file names first."""
        why = self._folder_changed()
        if why is not None:
            return [why]
        found = [self._file_changed(name, entry) for name, entry in self._written.items()]
        found += [
            f"{name} exists, and no process of this run has written it"
            for name in LATER
            if name not in self._written and os.path.lexists(self.run_dir / name)
        ]
        return [why for why in found if why is not None]

    def set_aside(self) -> list[str]:
        """Rename files that are in the seal's way, and recreate a folder that is gone.

        Returns:
            The changes, one sentence each; usually empty.
        """
        done = make_room(self.run_dir)
        for name in LATER:
            path = self.run_dir / name
            if name not in self._written and os.path.lexists(path):
                os.replace(path, foreign := _foreign_name(path))
                done.append(f"{name}, which no process of this run wrote, is now {foreign.name}")
        return done

    def _folder_changed(self) -> str | None:
        name = f"{self.run_dir.name} (the run's folder)"
        try:
            status = os.lstat(self.run_dir)
        except OSError as error:
            return f"{name} is gone: {error.strerror}"
        if not modes.S_ISDIR(status.st_mode):
            return f"{name} is not a folder any more but {kind_of(status.st_mode)}"
        if _identity(status) != self._folder:
            return f"{name} was replaced by another folder"
        return None

    def _file_changed(self, name: str, entry: JsonObject) -> str | None:
        path = self.run_dir / name
        try:
            status = os.lstat(path)
        except OSError as error:
            return f"{name} is gone: {error.strerror}"
        if not modes.S_ISREG(status.st_mode):
            return f"{name} is not a file any more but {kind_of(status.st_mode)}"
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._stamps.get(name) == stamp:
            return None
        # A different size is enough: no foreign gigabytes are hashed during a night.
        if status.st_size != entry["size"]:
            return f"{name} changed: {entry['size']} bytes were written, {status.st_size} found"
        try:
            _, found = hash_file(path)
        except RunStop as error:
            return f"{name} cannot be read: {error.detail}"
        if found != entry["sha256"]:
            return f"{name} changed: sha256 {entry['sha256'][:12]} was written, {found[:12]} found"
        self._stamps[name] = stamp
        return None


def require(run_dir: Path, text: str) -> None:
    """Refuse a run's folder in which a file differs from when this role was started.

    A restarted role must not wait for a clock that is gone, nor take another profile from a changed
    manifest.

    Args:
        run_dir: The folder.
        text: Text of `RunFiles.text`; empty requires nothing.

    Raises:
        IntegrityError: RUN_FILE_CHANGED.
    """
    for word in text.split():
        name, _, wanted = word.partition("=")
        try:
            found = sha256(read_whole(run_dir / name)).hexdigest()
        except FileNotFoundError:
            found = "nothing"
        except RunStop as error:
            found = error.detail
        if found != wanted:
            detail = f"{name} is not as the launcher wrote it: expected {wanted}, found {found}"
            raise IntegrityError(COMPONENT, RUN_FILE_CHANGED, detail)


def make_room(run_dir: Path) -> list[str]:
    """Recreate a run's folder if it is gone, for its queues and its seal; return the changes.

    Anything else in its place, such as a link, is renamed and never followed.
    """
    done = []
    if os.path.lexists(run_dir) and not modes.S_ISDIR(os.lstat(run_dir).st_mode):
        os.replace(run_dir, foreign := _foreign_name(run_dir))
        done.append(f"what was in place of the run's folder is now {foreign.name}")
    if not os.path.lexists(run_dir):
        ensure_folder(run_dir)
        done.append("the run's folder was gone; it was made again for queues and seal alone")
    return done


def is_run_folder(path: Path) -> bool:
    """Return whether a folder is a run's, even if it has lost its manifest."""
    return path.suffix != FOREIGN and any(os.path.lexists(path / name) for name in MARKS)


def is_unbegun(path: Path) -> bool:
    """Return whether a folder is of a start that made no run: it bears an id and is empty."""
    try:
        return is_run_id(path.name) and not os.listdir(path)
    except OSError:
        return False


def run_folders(runs: Path) -> list[Path]:
    """Return the folders of all runs below `var/runs`, oldest first, damaged ones too."""
    try:
        names = sorted(os.listdir(runs))
    except OSError:
        return []
    return [runs / name for name in names if is_run_folder(runs / name)]


def refuse_closed(folder: Path) -> None:
    """Refuse a folder into which this user may not look: it would seem to be empty.

    Raises:
        Refusal: Only another user may look into it.
    """
    try:
        os.stat(os.path.join(folder, os.curdir))
    except PermissionError as error:
        raise Refusal(
            f"{folder} is closed to this user: what lies there cannot be seen.",
            "Give the command as the user of that folder, or name another one: --var DIR",
        ) from error
    except OSError:
        pass  # It is not there yet, or no folder: verbs say what that means.


def own_runs(runs: Path) -> Iterator[tuple[Path, Manifest | None]]:
    """Yield the runs whose folders have their own ids as names, newest first; no renamed copies.

    Each is its folder and its manifest, None where that cannot be read.
    """
    for folder in reversed(run_folders(runs)):
        try:
            manifest = Manifest.load(folder)
        except (MinibotError, OSError):
            manifest = None
        if not is_copy(folder, manifest):
            yield folder, manifest


def missing_of(run_dir: Path, needed: Sequence[str]) -> list[str]:
    """Return in words the names that are missing in a folder."""
    found = []
    for name in needed:
        try:
            mode = os.lstat(run_dir / name).st_mode
        except OSError:
            found.append(f"{name} is missing")
            continue
        is_right = modes.S_ISDIR(mode) if name == QUEUES else modes.S_ISREG(mode)
        if not is_right:
            found.append(f"{name} is {kind_of(mode)}")
    return found


def queues_lost(run_dir: Path) -> list[str]:
    """Return the losses of a sealed run's queues before their recovery, by its seal.

    Recovery makes lost files again, so that nothing else shows them.
    """
    try:
        told = read_hashed(run_dir / SEAL_FILE)["extra"].get("findings", [])
    except (OSError, RunStop, KeyError, TypeError, AttributeError):
        return []  # No sealed run, or a damaged seal, which is reported.
    parted = (str(text).partition(": ") for text in told)
    return [found for code, _, found in parted if code == QUEUE_MISSING]


def kind_of(mode: int) -> str:
    """Return in words the kind of file at a path, by its mode."""
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "a device")


def _foreign_name(path: Path) -> Path:
    numbers = (f"-{number}" if number else "" for number in itertools.count())
    names = (path.with_name(f"{path.name}{number}{FOREIGN}") for number in numbers)
    return next(name for name in names if not os.path.lexists(name))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
