"""Backups of a run while it goes on: a service of `ops` with its own thread.

A backup that fails is noted in the log of `ops` and in `var/ops/backup.json`, and tried again at
the next turn; the run never notices. The run is backed up once more at its end,
as its launcher left it: sealed, unless the launcher died.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import MinibotError, Transient
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.kernel.threads import DaemonThread
from minibot.runtime.backup import BackupFolder
from minibot.runtime.clock import wall_ms
from minibot.runtime.configuration.config_sections import BackupSection
from minibot.runtime.manifest import Manifest
from minibot.runtime.memory import MIB
from minibot.runtime.paths import Var, resolve

AGAIN_S: Final = 60.0
"""Longest wait before a backup that failed is tried again."""
LAST_S: Final = 8.0
"""Longest time at the end, for a backup under way and the last one together."""
PIECE_PAUSE_S: Final = 0.01
"""Pause before each large piece, in which the run has the disk to itself."""
LARGE_BYTES: Final = 256 * 1024


def free_min_of(config: JsonObject) -> int:
    """Return the bytes that a backup leaves free: twice those under which a run stops."""
    return 2 * int(config["watchdog"]["disk_free_min_mb"]) * MIB


class BackupService:
    """Backups of one run, one each `every_ms` of wall-clock time.

    Args:
        section: The profile's section.
        var: The folders of the run.
        manifest: The run.
    """

    def __init__(self, section: BackupSection, var: Var, manifest: Manifest) -> None:
        self._section = section
        self._var = var
        self._run_id = manifest.run_id
        self._end_s: float | None = None
        self._ended = threading.Event()
        self._folder = BackupFolder(
            resolve(section.folder), free_min=free_min_of(manifest.config), pace=self._pace
        )
        self._thread = DaemonThread(self._work, "backup")
        self._thread.start()

    def take(self, status: JsonObject) -> None:
        """Do nothing: a backup's turn comes by the clock."""

    def close(self) -> None:
        """Back up the run as it ended; work beyond `LAST_S` is given up."""
        self._end_s = time.monotonic() + LAST_S
        self._ended.set()
        self._thread.join(LAST_S)

    def _work(self) -> None:
        every_s = self._section.every_ms / 1000
        wait_s = every_s
        while not self._ended.wait(wait_s):
            wait_s = every_s if self._back_up() else min(AGAIN_S, every_s)
        self._back_up()

    def _back_up(self) -> bool:
        """Take one backup, then remove all but the newest `keep`; return whether one was taken."""
        began_s = time.monotonic()
        status: JsonObject = {"run_id": self._run_id, "written_ms": wall_ms(), "failed": None}
        status["keep_failed"] = None
        try:
            taken = self._folder.take(self._var, self._run_id)
            status |= {"name": taken.name, "bytes": taken.bytes, "files": len(taken.files)}
            status["left_out"] = list(taken.left_out)
            for name in taken.left_out:
                why = "is left out: some system could not restore this name"
                print(f"backup: {name} {why}", file=sys.stderr, flush=True)
        except (MinibotError, OSError) as error:
            status["failed"] = str(error)
            print(f"backup: {error}", file=sys.stderr, flush=True)
        else:
            status["keep_failed"] = self._keep()
        status["took_ms"] = round((time.monotonic() - began_s) * 1000)
        self._write_status(status)
        return status["failed"] is None

    def _keep(self) -> str | None:
        """Remove all but the newest backups; return why not, which is no failure of this backup."""
        try:
            self._folder.keep(self._section.keep)
        except (MinibotError, OSError) as error:
            print(f"backup: older backups stay: {error}", file=sys.stderr, flush=True)
            return str(error)
        return None

    def _write_status(self, status: JsonObject) -> None:
        path = self._var.backup_status
        try:
            ensure_folder(path.parent)
            write_hashed(path, status, generation=1)
        except (MinibotError, OSError) as error:
            print(f"backup: {path} was not written: {error}", file=sys.stderr, flush=True)

    def _pace(self, size: int) -> None:
        end_s = self._end_s
        if end_s is None:
            if size >= LARGE_BYTES:
                self._ended.wait(PIECE_PAUSE_S)
        elif time.monotonic() > end_s:
            raise Transient("abandoned at the end of the run; it does not count")
