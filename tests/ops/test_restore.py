"""Restore: onto nothing, from whole content alone; a finished run comes back as sealed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minibot.kernel.errors import IntegrityError, Refusal
from minibot.ops.restore import find_backup, restore
from minibot.runtime.backup import Backup, BackupFolder
from tests.kernel.kernel_support import change
from tests.runs import ShortRun, verb
from tests.runtime.backups import RUN, append, open_var


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    """A backup of an open run."""
    return BackupFolder(tmp_path / "backups").take(open_var(tmp_path / "var"), RUN)


def test_restore_onto_anything_that_stands_is_refused(backup: Backup, tmp_path: Path) -> None:
    """A folder with anything in it, a file, a link and a missing parent are refused untouched."""
    full = tmp_path / "full"
    full.mkdir()
    (full / ".hidden").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")

    for target in (full, tmp_path / "file", tmp_path / "link", tmp_path / "no" / "where"):
        with pytest.raises(Refusal):
            restore(backup, target)

    assert os.listdir(full) == [".hidden"]
    assert os.listdir(tmp_path / "empty") == []


def test_restore_of_damaged_content_writes_nothing(backup: Backup, tmp_path: Path) -> None:
    """A changed, missing or linked content is found before the first file is written."""
    folder = backup.path.parent / "content"
    names = sorted({content.sha256 for content in backup.files.values() if content.size > 10})
    changed, missing, linked = (folder / name for name in names[:3])

    def is_refused() -> bool:
        with pytest.raises(IntegrityError):
            restore(backup, tmp_path / "target")
        return not (tmp_path / "target").exists()

    change(changed, 3)
    assert is_refused()
    change(changed, 3)
    missing.rename(tmp_path / "moved")
    assert is_refused()
    (tmp_path / "moved").rename(missing)
    linked.rename(tmp_path / "moved")
    linked.symlink_to(tmp_path / "moved")
    assert is_refused()


def test_backup_is_found_by_list_name_or_folder(backup: Backup, tmp_path: Path) -> None:
    """A folder stands for its newest backup, a name for its list; nothing else is a backup."""
    var = open_var(tmp_path / "more", lines=3)
    append(var, "fills", 4, 1)
    newer = BackupFolder(backup.path.parent).take(var, RUN)

    assert find_backup(backup.path) == backup
    assert find_backup(backup.path.with_suffix("")) == backup
    assert find_backup(backup.path.parent) == newer
    (tmp_path / "none").mkdir()
    for named in (tmp_path / "none", tmp_path / "nothing"):
        with pytest.raises(Refusal):
            find_backup(named)


@pytest.mark.row("B-63")
def test_finished_run_is_backed_up_and_restored_by_its_verbs_and_is_proven(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A run that `backup` took and `restore` wrote verifies and replays as the run itself does."""
    before = verb(short_run.var, "replay", short_run.run_id, "--json").document["digest"]
    taken = verb(short_run.var, "backup", "latest", "--to", str(tmp_path / "backups"), "--json")
    assert taken.code == 0, taken.err

    target = tmp_path / "target"
    back = verb(short_run.var, "restore", str(tmp_path / "backups"), str(target), "--json")

    assert back.code == 0, back.err
    assert back.document["state"] == "finished"
    assert verb(target, "verify", "latest").code == 0
    assert verb(target, "replay", "latest", "--json").document["digest"] == before
    again = verb(short_run.var, "restore", str(tmp_path / "backups"), str(target))
    assert again.code == 2
