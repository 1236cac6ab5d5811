"""Check of the backups' folder before a start: one that cannot be used is told, not refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minibot.kernel.errors import Refusal
from minibot.kernel.lock import WriterLock
from minibot.runtime.backup import LOCK_FILE
from minibot.runtime.configuration.config import Config, load_config
from minibot.watchdog import launcher
from minibot.watchdog.launcher import launch
from minibot.watchdog.preflight import BACKUP, OK, WARN, CheckResult, preflight

PROFILE = Path("config/nore-smoke.v1.json")


def profile(tmp_path: Path, folder: Path) -> Config:
    """Return a profile that is backed up into a folder."""
    backup = json.dumps({"every_ms": 3_600_000, "folder": str(folder), "keep": 3})
    sets = [f"backup={backup}", f"paths.var={tmp_path / 'var'}", "ai.enabled=false"]
    return load_config(PROFILE, sets)


def check(config: Config) -> CheckResult:
    """Return the check of the backups."""
    return next(each for each in preflight(config, config.var) if each.name == BACKUP)


def test_folder_that_can_be_written_passes_while_a_backup_is_taken(tmp_path: Path) -> None:
    """A backup under way, as of the night beside which the check is made, is no trouble."""
    config = profile(tmp_path, tmp_path / "backups")
    assert check(config).level == OK

    lock = WriterLock(tmp_path / "backups" / LOCK_FILE)
    assert check(config).level == OK
    lock.close()


def test_folder_whose_disk_is_not_there_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator who relies on backups hears in the evening that there will be none."""
    config = profile(tmp_path, tmp_path / "not mounted" / "backups")
    lines: list[str] = []

    def end_here(*_: object) -> None:
        raise OSError("the test ends here")

    monkeypatch.setattr(launcher, "HeldVar", end_here)
    with pytest.raises(Refusal, match="the test ends here"):
        launch(config, PROFILE, (), lines.append, lambda config: 0)

    found = check(config)
    assert found.level == WARN
    assert "not mounted does not exist" in found.found
    assert [line for line in lines if line.startswith(f"WARN {BACKUP}: {found.found}")]
