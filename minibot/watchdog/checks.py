"""Checks of the watchdog apart from its children: pauses, disk, clocks, cursors, files.

Each check returns a STOP or None. `PauseCheck` runs at every turn, each other one once a second.
The checks of this module have no thread and change nothing.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import psutil

from minibot.events.names import WATCHDOG_ROLE
from minibot.events.reasons import (
    CLOCK_JUMP,
    CONFIG_INVALID,
    CURSOR_AHEAD,
    DISK_LOW,
    RUN_FILE_CHANGED,
)
from minibot.events.roles import Roles
from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import RunStop
from minibot.kernel.queue import open_reader, reader_folder
from minibot.runtime.channels import STILL_MS_MIN
from minibot.runtime.clock import awake_ns, suspend_ns, wall_ms
from minibot.runtime.fault_injection import PlantedFaults
from minibot.runtime.paths import PROJECT
from minibot.runtime.runfiles import RunFiles, kind_of
from minibot.runtime.stop import StopRecord


class Check(Protocol):
    """Check that runs each second."""

    def check(self) -> StopRecord | None:
        """Return a STOP, or None while all is well."""
        ...


class DiskCheck:
    """Free disk space, at least the floor: below it STOP comes before the disk is full."""

    def __init__(self, folder: Path, free_min_mb: int, planted: PlantedFaults | None) -> None:
        self._folder = folder
        self._planted = planted
        self._free_min = free_min_mb * 1024 * 1024

    def check(self) -> StopRecord | None:
        """Return STOP(DISK_LOW) below the floor."""
        free = psutil.disk_usage(str(self._folder)).free
        if self._planted is not None:
            free = max(0, self._planted.reading("disk_low", free))
        if free >= self._free_min:
            return None
        detail = f"{free // 1024 // 1024} MB free, at least {self._free_min // 1024 // 1024} needed"
        return StopRecord(WATCHDOG_ROLE, DISK_LOW, detail)


class PauseCheck:
    """Pause of the run: if the launcher's own turn takes seconds, everything was suspended.

    The first turn counts from the making of this check, so that the start of the roles is in it.
    """

    def __init__(self, pause_ms_max: int) -> None:
        self.pause_ms = 0
        self._pause_ms_max = pause_ms_max
        self._turned_ns = suspend_ns()

    def check(self) -> StopRecord | None:
        """Note the length of the last turn; return STOP(CLOCK_JUMP) beyond the limit.

        Returns:
            None also after a pause within the limit, whose length is then in `pause_ms` (else 0).
        """
        moment = suspend_ns()
        took_ms, self._turned_ns = (moment - self._turned_ns) // 1_000_000, moment
        self.pause_ms = took_ms if took_ms > STILL_MS_MIN else 0
        if took_ms <= self._pause_ms_max:
            return None
        detail = f"everything stood still for {took_ms} ms, {self._pause_ms_max} allowed"
        return StopRecord(WATCHDOG_ROLE, CLOCK_JUMP, detail)


class ClockCheck:
    """Clock steps: `wall_ms` and `awake_ns`, each against `suspend_ns`, which runs through suspend.

    A suspend up to the longest pause is no step.
    """

    def __init__(self, jump_ms_max: int, pause_ms_max: int, planted: PlantedFaults | None) -> None:
        self._jump_ms_max = jump_ms_max
        self._pause_ms_max = max(jump_ms_max, pause_ms_max)
        self._planted = planted
        self._at = self._read()

    def _read(self) -> tuple[int, int, int]:
        wall, suspend = wall_ms(), suspend_ns() // 1_000_000
        if self._planted is not None:
            wall = self._planted.reading("clock_jump", wall)
            suspend = self._planted.reading("suspend", suspend)
        return wall, awake_ns() // 1_000_000, suspend

    def check(self) -> StopRecord | None:
        """Return STOP(CLOCK_JUMP) if a clock stepped by more than the limit since last time."""
        before, self._at = self._at, self._read()
        wall, awake, suspend = (now - then for now, then in zip(self._at, before, strict=True))
        for name, step, allowed in (
            ("machine, suspended", suspend - awake, self._pause_ms_max),
            ("wall clock", wall - suspend, self._jump_ms_max),
        ):
            if abs(step) > allowed:
                detail = f"{name} stepped by {step} ms, {allowed} allowed"
                return StopRecord(WATCHDOG_ROLE, CLOCK_JUMP, detail)
        return None


class CursorCheck:
    """Cursors, each against its own hash, its queue and its queue's head."""

    def __init__(self, root: Path, roles: Roles, run_id: str) -> None:
        self._root = root
        self._heads = {queue: open_reader(root, queue) for queue in roles.queues}
        self._cursors = [
            (queue, Cursor(self._path(roles, queue, role), run_id, queue, role))
            for queue in roles.queues
            for role in roles.readers(queue)
        ]

    def _path(self, roles: Roles, queue: str, role: str) -> Path:
        is_primary = roles.queues[queue].primary_reader == role
        return reader_folder(self._root, queue, role, is_primary) / "cursor.json"

    def close(self) -> None:
        """Close the readers: merge and seal need the descriptors."""
        for reader in self._heads.values():
            reader.close()

    def check(self) -> StopRecord | None:
        """Return the STOP of the first cursor that is torn, foreign or ahead of its queue."""
        for queue, cursor in self._cursors:
            try:
                position = cursor.load()
            except RunStop as error:
                return StopRecord(WATCHDOG_ROLE, error.reason_code, error.detail)
            if position is None:
                continue
            ends_at = self._heads[queue].head().lines
            if position.seq > ends_at:
                detail = f"{queue}: cursor at line {position.seq}, the queue ends at {ends_at}"
                return StopRecord(WATCHDOG_ROLE, CURSOR_AHEAD, detail)
        return None


class RunFilesCheck:
    """Run files, compared with what the launcher wrote."""

    def __init__(self, run_files: RunFiles) -> None:
        self._run_files = run_files

    def check(self) -> StopRecord | None:
        """Return STOP(RUN_FILE_CHANGED) with the name of a file that changed or disappeared."""
        why = self._run_files.changed()
        return None if why is None else StopRecord(WATCHDOG_ROLE, RUN_FILE_CHANGED, why)


class PinnedCheck:
    """Pinned files: their hashes are in the manifest, and they may not change during the run."""

    def __init__(self, pinned: Mapping[str, str]) -> None:
        self._pinned = dict(pinned)
        self._stamps: dict[str, tuple[int, int]] = {}

    def check(self) -> StopRecord | None:
        """Return STOP(CONFIG_INVALID) for a pinned file that is gone or shows a change.

        A file is read and compared only if its size or modification time is new: a change that
        keeps both is not noticed.
        """
        for name, sha256 in self._pinned.items():
            path = PROJECT / name
            try:
                status = path.stat()
                if not stat.S_ISREG(status.st_mode):  # Reading a FIFO would hang supervision.
                    detail = f"{name} is {kind_of(status.st_mode)}, expected a file"
                    return StopRecord(WATCHDOG_ROLE, CONFIG_INVALID, detail)
                stamp = (status.st_mtime_ns, status.st_size)
                if self._stamps.get(name) == stamp:
                    continue
                found = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                return StopRecord(WATCHDOG_ROLE, CONFIG_INVALID, f"{name}: {error}")
            if found != sha256:
                detail = (
                    f"{name} changed during the run: expected {sha256[:12]}, found {found[:12]}"
                )
                return StopRecord(WATCHDOG_ROLE, CONFIG_INVALID, detail)
            self._stamps[name] = stamp
        return None
