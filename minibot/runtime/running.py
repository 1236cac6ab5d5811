"""Run in progress in a `var/`: the holder of its lock, or the process that its note names.

A lock excludes only processes that find its file. `current.json` therefore also names the
launcher's process, by its id and a mark that no other process with that id has: a start that
finds that process alive is refused, even if every lock file has been deleted. Where the note is
lost and the lock is held, a fresh live status names the run.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import filelock

from minibot.kernel.canonical import JsonObject, decode
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import FILES, Access, read_hashed, read_whole, write_hashed
from minibot.runtime.clock import wall_ms
from minibot.runtime.current_note import CURRENT_FILE, LOST_QUEUES, current_note, ended_note
from minibot.runtime.paths import Var

LOCK_MODE: Final = 0o600
# A mere query holds the lock too, for a moment; `clear-stop` for some syncs. Neither is a run.
MOMENT_S: Final = 0.5
POLL_S: Final = 0.005
STALE_MS: Final = 5_000
"""A running run with an older live status has a launcher that stands still or is gone."""
# In /proc/PID/stat, after the name in brackets: the state, and the start in ticks since boot.
_STATE, _START_TICKS = 0, 19


class RunLock:
    """Lock of a run on its `var`, not taken yet, private to its owner.

    Args:
        var: The folder.
        patience_s: Longest wait for the lock, `MOMENT_S` for None; only a run or a deployment
            usually holds it longer.
    """

    def __init__(self, var: Var, patience_s: float | None = None) -> None:
        self.path = var.lock
        self.fd = -1
        self._lock = filelock.FileLock(
            str(var.lock),
            timeout=MOMENT_S if patience_s is None else patience_s,
            mode=LOCK_MODE,
            poll_interval=POLL_S,
            on_acquired=self._note,
        )

    def _note(self, fd: int) -> None:
        self.fd = fd
        if sys.platform != "win32":
            with suppress(PermissionError):  # Another user's file still locks.
                os.fchmod(fd, LOCK_MODE)  # Older builds let others read it.

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            filelock.Timeout: It is held, as a rule by a run or a deployment.
            Refusal: The path cannot be locked, such as a link or a folder.
        """
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise
        except OSError as error:
            remedy = "It should be an empty file: see what is there, and remove it."
            if error.errno == errno.EACCES and not os.path.isdir(self.path):
                # Its removal would be the LOCK_LOST of that user's run.
                remedy = "It is another user's: give the command as that user, or choose --var DIR."
            elif error.errno == errno.EROFS:
                remedy = "Check the disk and mount it writable, or choose --var DIR."
            text = f"{self.path} cannot be locked: {error.strerror or error}."
            raise Refusal(text, remedy) from error

    def release(self) -> None:
        """Release the lock; its file stays."""
        self.fd = -1
        self._lock.release()

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def running_run(var: Var, patience_s: float | None = None) -> str | None:
    """Return the id of the run that holds this `var/`, or None.

    A run whose process `current.json` names is found without the lock, so without a wait for it.
    While the lock is held, the run of the note counts too, unless its process has ended or died;
    without a note, the run of a fresh live status. With None the lock may still be held, by a run
    that starts or by a deployment.

    Args:
        var: The folder.
        patience_s: How long to wait for other queries, `MOMENT_S` for None; too short, and a query
            is taken for a run.
    """
    living = living_run(var)
    if living is None and os.path.lexists(var.lock):
        if _is_held(var, patience_s):
            return _noted_run(var) if current_note(var) else shown_run(var, STALE_MS)
        # A run may have begun meanwhile.
        living = living_run(var)
    return living


def last_status(var: Var) -> JsonObject | None:
    """Return the last live status of a `var`, of a running run or an ended one; None for none."""
    try:
        return decode(read_whole(var.status).rstrip(b"\r\n"))
    except (OSError, RunStop, ValueError):
        return None


def shown_run(var: Var, age_ms_max: int | None = None) -> str | None:
    """Return the run that the live status shows as going on; None for none.

    Args:
        var: The folder.
        age_ms_max: Age beyond which a status shows none, wall-clock milliseconds; None for no age.
    """
    status = last_status(var)
    if status is None or status.get("ended") is not None or "run_id" not in status:
        return None
    written_ms = status.get("written_ms")
    if age_ms_max is not None and (
        type(written_ms) is not int or wall_ms() - written_ms > age_ms_max
    ):
        return None
    return str(status["run_id"])


def is_held_unnamed(var: Var, patience_s: float | None = None) -> bool:
    """Return whether the lock is held while its holder's note is missing or damaged.

    Args:
        var: The folder.
        patience_s: As for `running_run`.
    """
    return not current_note(var) and os.path.lexists(var.lock) and _is_held(var, patience_s)


def _is_held(var: Var, patience_s: float | None) -> bool:
    """Return whether another process holds the lock; a read-only disk is tried by reading."""
    try:
        with RunLock(var, patience_s):
            return False
    except filelock.Timeout:
        return True
    except Refusal as refusal:
        if getattr(refusal.__cause__, "errno", None) != errno.EROFS:
            raise
    fd = FILES.open(var.lock, Access.READ)
    try:
        return not FILES.try_lock(fd)
    finally:
        FILES.close(fd)


def living_run(var: Var) -> str | None:
    """Return the run whose launcher, as `current.json` names it, is alive; None for none.

    It uses no lock, and never returns the calling process's own run.
    """
    note = current_note(var)
    pid = note.get("pid")
    if type(pid) is not int or pid == os.getpid():
        return None
    mark = process_mark(pid)
    return str(note["run_id"]) if mark is not None and mark == note.get("process") else None


def refuse_living(var: Var) -> None:
    """Refuse to write where a run is going on, even if its lock files are gone.

    Raises:
        Refusal: The launcher that `current.json` names is alive.
    """
    run_id = living_run(var)
    if run_id is not None:
        raise Refusal(
            f"another run uses {var.root}: the process of {run_id} is alive.",
            "Wait for its end, stop it, or choose --var DIR. See: minibot status",
        )


def note_current(var: Var, run_id: str) -> None:
    """Note the run whose queues are under `var/queues`, and the process that writes them."""
    pid = os.getpid()
    note = {"run_id": run_id, "pid": pid, "process": process_mark(pid), "space": process_space()}
    write_hashed(var.root / CURRENT_FILE, note)


def note_ended(var: Var, run_id: str) -> None:
    """Note that the run's process writes nothing any more, though it may still live.

    A note of another run is left as it is.

    Raises:
        IntegrityError: The note is missing or damaged.
        RunStop: The disk refuses.
    """
    path = var.root / CURRENT_FILE
    note = read_hashed(path)
    if note["run_id"] == run_id:
        write_hashed(path, ended_note(run_id, note))


def note_lost(var: Var, run_id: str, found: list[str]) -> list[str]:
    """Return the losses of a run's queues, those noted before among them; note new ones durably.

    A recovery makes again what is gone; should it be killed before the seal names the losses, only
    this note knows of them.
    """
    note = current_note(var)
    if note.get("run_id") != run_id:
        note = ended_note(run_id)
    noted = [str(each) for each in note.get(LOST_QUEUES, ())]
    lost = list(dict.fromkeys([*noted, *found]))
    if lost != noted:
        write_hashed(var.root / CURRENT_FILE, {**note, LOST_QUEUES: lost})
    return lost


def _noted_run(var: Var) -> str | None:
    """Return the run that `current.json` names; None if its process has ended or died.

    With None, the lock is held by a run that starts, by one whose note is gone, or by a deployment.
    An older minibot names no process; one of another container cannot be seen here.
    """
    note = current_note(var)
    is_ended = "pid" in note and (
        note["pid"] is None or (_is_local(note) and process_mark(note["pid"]) != note["process"])
    )
    return None if not note or is_ended else str(note["run_id"])


def _is_local(note: JsonObject) -> bool:
    """Return whether the process ids of a note belong to this process's container."""
    here = process_space()
    return bool(note.get("space", here) == here)


if sys.platform == "linux":

    def process_space() -> str:
        """Return a text that names the space of process ids, one for each container; or ''."""
        with suppress(OSError):
            return os.readlink("/proc/self/ns/pid")
        return ""

    def process_mark(pid: int) -> str | None:
        """Return a mark that no other process with its id has; None once it has ended."""
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        if fields[_STATE] in "ZX":
            return None
        return f"{FILES.boot_id()} {fields[_START_TICKS]}"

else:
    import psutil

    def process_space() -> str:
        """Return the empty text: there is only one space of process ids."""
        return ""

    def process_mark(pid: int) -> str | None:
        """Return a mark that no other process with its id has; None once it has ended."""
        try:
            return str(round(psutil.Process(pid).create_time() * 1000))
        except psutil.Error:
            return None
