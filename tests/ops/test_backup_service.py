"""Pace of the backups: a backup that stands is none that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from minibot.kernel.files import read_hashed
from minibot.ops.backup_service import BackupService
from minibot.runtime.backup import BackupFolder
from minibot.runtime.configuration.config_sections import BackupSection
from minibot.runtime.paths import Var
from tests.runtime.backups import RUN, append, open_var


class Turns:
    """Event that ends the service after so many turns; it notes for how long it was waited."""

    def __init__(self, count: int) -> None:
        self.waited_s: list[float] = []
        self._count = count

    def wait(self, seconds: float) -> bool:
        """Return at once whether the turns are over."""
        self.waited_s.append(seconds)
        return len(self.waited_s) > self._count


@pytest.fixture
def var(tmp_path: Path) -> Var:
    """Folder of an open run."""
    return open_var(tmp_path / "var")


def served(var: Var, folder: BackupFolder, keep: int, turns: int) -> list[float]:
    """Take the backups of so many turns and the last one; return the waits between them."""
    service = object.__new__(BackupService)
    service._section = BackupSection(every_ms=3_600_000, folder=str(folder.folder), keep=keep)
    service._var, service._run_id, service._folder = var, RUN, folder
    ended = Turns(turns)
    service._ended = cast(Any, ended)
    service._work()
    return ended.waited_s


def test_damaged_list_neither_speeds_the_backups_up_nor_costs_older_ones(
    var: Var, tmp_path: Path
) -> None:
    """A damaged list names nobody knows what: all stand until it is the oldest, which is told."""
    folder = BackupFolder(tmp_path / "backups")
    hours = []
    for first in (61, 71, 81):
        append(var, "fills", first, 10)
        hours.append(folder.take(var, RUN).path)
    hours[-1].write_bytes(b"{}\n")

    waited_s = served(var, folder, keep=3, turns=1)

    assert waited_s == [3600.0, 3600.0]
    assert folder.taken()[:3] == hours
    assert len(folder.taken()) == 5
    status = read_hashed(var.backup_status)
    assert status["failed"] is None
    assert hours[-1].name in status["keep_failed"]

    served(var, folder, keep=3, turns=0)
    assert len(folder.taken()) == 3
    assert read_hashed(var.backup_status)["keep_failed"] is None


def test_backup_that_cannot_be_taken_is_tried_again_soon(var: Var, tmp_path: Path) -> None:
    """A backup that stands is the one of its hour; one that does not is missing."""
    folder = BackupFolder(tmp_path / "backups", free_min=1 << 62)

    waited_s = served(var, folder, keep=3, turns=2)

    assert waited_s == [3600.0, 60.0, 60.0]
    assert folder.taken() == []
    assert "free" in read_hashed(var.backup_status)["failed"]
