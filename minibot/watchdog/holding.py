"""Hold on `var`: its lock and folder, which the launcher keeps open while a run goes on.

Either can be lost, and either loss ends the run. A lock whose file was removed or replaced excludes
no other process any more. A folder that was moved, removed or replaced is not where the next start
looks. The launcher still has the folder open, and so knows where it is now: there the run is
stopped, merged and sealed. A note for the next start is left next to its former place.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from minibot.cores.input_order import LineSource
from minibot.events.model import Event, JsonObject
from minibot.events.names import STOP_JOURNAL, WATCHDOG_ROLE
from minibot.events.reasons import LOCK_LOST, VAR_LOST
from minibot.kernel.errors import RunStop
from minibot.kernel.files import write_hashed
from minibot.kernel.lock import lost_lock, lost_name
from minibot.kernel.queue import open_reader, open_writer
from minibot.runtime.context import RoleContext
from minibot.runtime.paths import Var
from minibot.runtime.running import RunLock
from minibot.runtime.stop import StopRecord, raise_flag
from minibot.watchdog.background import Background
from minibot.watchdog.operator_stop_log import append_stop

if sys.platform == "darwin":
    import fcntl

# A macOS path with its final zero byte.
PATH_BYTES_MAX = 1024


class HeldVar:
    """Held `var`, whose lock and folder are open from the start of a run to its end.

    `check` judges the lock, `lost` the folder.

    Args:
        var: The folder; it exists.
        lock: The run's lock, held.
    """

    def __init__(self, var: Var, lock: RunLock) -> None:
        self.var = var
        self._lock = lock
        self._is_link = var.root.is_symlink()
        # The place next to the folder itself, if `var` is a link to it.
        self._beside = (var.flag_beside, Var(var.root.resolve()).flag_beside)
        self._folder = _open_folder(var.root)
        self._queues = _open_folder(var.queues)
        self._identity = _identity(var.root, self._folder)
        self._queues_identity = _identity(var.queues, self._queues)

    def close(self) -> None:
        """Close the folders; the lock belongs to its maker."""
        folders, self._folder, self._queues = (self._folder, self._queues), None, None
        for folder in folders:
            if folder is not None:
                os.close(folder)

    # --- while the run goes on ----------------------------------------------------------------

    def check(self) -> StopRecord | None:
        """Return STOP(LOCK_LOST) for a lock of this process that has lost its file."""
        lost = lost_lock(self.var.root)
        if self._lock.fd >= 0:
            lost = lost_name(self._lock.fd, self._lock.path) or lost
        return None if lost is None else StopRecord(WATCHDOG_ROLE, LOCK_LOST, lost)

    def lost(self, former: StopRecord | None = None) -> StopRecord | None:
        """Return STOP(VAR_LOST) if the folder is no longer where the run writes.

        Args:
            former: The STOP that the run would have otherwise, usually a consequence of this.
        """
        why = self._why_lost()
        if why is None:
            return None
        where = self.where()
        now = "it no longer exists" if where is None else f"the folder is {where} now"
        detail = why if where == self.var.root else f"{why}; {now}"
        if former is not None and former.reason_code != VAR_LOST:
            detail += f"; found with it: {former.reason_code} by {former.component}"
        return StopRecord(WATCHDOG_ROLE, VAR_LOST, detail)

    def _why_lost(self) -> str | None:
        root, queues = self.var.root, self.var.queues
        why = _why_other(root, self._identity)
        if why is None and root.is_symlink() and not self._is_link:
            return f"{root} was replaced by a link"
        return why or _why_other(queues, self._queues_identity)

    # --- once the folder is lost --------------------------------------------------------------

    def where(self) -> Path | None:
        """Return the present path of the folder; None if it is gone or the system cannot tell."""
        with suppress(OSError):
            path = None if self._folder is None else _path_of(self._folder)
            if path is not None:
                status = os.stat(path)
                if (status.st_dev, status.st_ino) == self._identity:
                    return path
        return None

    def leave_beside(self, record: StopRecord, stop: Event) -> tuple[list[Path], list[str]]:
        """Leave the STOP next to the former place of `var`: flag and journal for the next start.

        Returns:
            Paths of the notes, and failures to write, one sentence each.
        """
        where = self.where()
        note: JsonObject = {
            "role": record.component,
            "run_id": stop.run_id,
            "stop_id": stop.id,
            "reason_code": record.reason_code,
            "var": str(self.var.root),
            "moved_to": None if where is None else str(where),
            "stop": stop.to_json(),
        }
        left: list[Path] = []
        failed: list[str] = []
        for path in dict.fromkeys(self._beside):
            try:
                write_hashed(path, note, generation=1)
                left.append(path)
            except (RunStop, OSError) as error:
                failed.append(f"{path} could not be written ({error})")
        return left, failed


@dataclass(frozen=True, slots=True)
class Settled:
    """Settled run whose `var` was taken away.

    Attributes:
        var: The folder where it is now, ready to be sealed; None if there is nothing to seal.
        notes: Paths of its STOP, and failures to write, one sentence each.
        unsealed: Why there is nothing to seal.
    """

    var: Var | None
    notes: tuple[str, ...]
    unsealed: str = ""


def settle_lost(
    held: HeldVar, context: RoleContext, background: Background, record: StopRecord
) -> Settled:
    """Close all and put the STOP on record: where `var` is now, and next to its former place.

    Every role must have ended.
    """
    for close in (background.abandon, context.close_outputs):
        with suppress(RunStop, OSError):
            close()
    stop = context.stop_event(record)
    left, notes = held.leave_beside(record, stop)
    if left:
        places = " and ".join(map(str, left))
        notes.insert(0, f"the STOP is recorded beside it, in {places}")
    where = held.where()
    if where is None:
        return Settled(None, tuple(notes), f"{held.var.root} no longer exists, nor does the run")
    var = Var(where)
    is_empty = not var.queues.is_dir()
    try:
        raise_flag(var.stop, var.flag, WATCHDOG_ROLE)
        if is_empty:
            append_stop(var, context.codec.encode(STOP_JOURNAL, stop), notes.append)
        else:
            _journal(var, context, stop)
    except (RunStop, OSError) as error:
        notes.append(f"the STOP could not be written below {where} ({error})")
    if is_empty:
        return Settled(None, tuple(notes), f"{var.queues} no longer exists")
    return Settled(var, tuple(notes))


def leave_refused_stop(held: HeldVar, context: RoleContext, record: StopRecord) -> tuple[str, ...]:
    """Leave a STOP next to `var` if `var` refused its flag, as on a disk that became read-only.

    Returns:
        Paths of the notes, and failures to write, one sentence each; empty if the flag is there.
    """
    if not context.is_flag_refused:
        return ()
    left, failed = held.leave_beside(record, context.stop_event(record))
    return (*(f"the STOP is recorded beside var, in {path}" for path in left), *failed)


def _journal(var: Var, context: RoleContext, stop: Event) -> None:
    """Append the STOP to the launcher's part of `stop_journal`, unless it is there already."""
    source = LineSource(open_reader(var.queues, STOP_JOURNAL, part=WATCHDOG_ROLE))
    while (line := source.next()) is not None:
        if context.codec.decode(STOP_JOURNAL, line.json).id == stop.id:
            return
    with closing(open_writer(var.queues, STOP_JOURNAL, part=WATCHDOG_ROLE)) as writer:
        writer.append_json([context.codec.encode(STOP_JOURNAL, stop)])


def _why_other(path: Path, identity: tuple[int, int]) -> str | None:
    """Return why a path no longer leads to the folder of an identity, or None.

    Where the system gives no inode, it is enough that the path exists.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is gone"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or error})"
    if identity[1] and (status.st_dev, status.st_ino) != identity:
        return f"{path} is not the one that the run began with"
    return None


def _identity(path: Path, folder: int | None) -> tuple[int, int]:
    status = os.stat(path) if folder is None else os.fstat(folder)
    return status.st_dev, status.st_ino


if sys.platform == "win32":

    def _open_folder(path: Path) -> int | None:
        return None  # There a folder with open files cannot be moved.

    def _path_of(folder: int) -> Path | None:
        return None

else:

    def _open_folder(path: Path) -> int | None:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _path_of(folder: int) -> Path | None:
        """Return the present path of an open folder, as the system knows it."""
        if sys.platform == "darwin":
            found = fcntl.fcntl(folder, fcntl.F_GETPATH, bytes(PATH_BYTES_MAX))
            return Path(os.fsdecode(found.rstrip(b"\0")))
        return Path(os.readlink(f"/proc/self/fd/{folder}"))
