"""Reserves of a STOP: made and released, even where other files stand in their place."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from minibot.events.names import WATCHDOG_ROLE
from minibot.runtime.stop import (
    OPERATOR,
    arm,
    armed_path,
    disarm_operator,
    is_disarmed,
    raise_operators_flag,
    release_all_reserves,
    release_reserve,
)

RUN_ID = "20251120_000000"


@pytest.mark.row("N-01")
def test_folder_in_the_place_of_a_reserve_keeps_no_stop_from_its_end(tmp_path: Path) -> None:
    """A folder in a reserve's place stays, and all other reserves are released."""
    for role in ("risk_role", "strategy_role", "market_role"):
        arm(tmp_path, RUN_ID, role)
    planted = tmp_path / "risk_role.reserve"
    planted.unlink()
    planted.mkdir()

    release_reserve(tmp_path, "risk_role")
    release_all_reserves(tmp_path)

    assert [path.name for path in tmp_path.glob("*.reserve")] == ["risk_role.reserve"]
    assert planted.is_dir()


def test_role_arms_itself_again_where_the_folder_was_removed(tmp_path: Path) -> None:
    """A role that is restarted after a tidying hand prepares its STOP all the same."""
    arm(tmp_path / "stop", RUN_ID, "risk_role")

    assert armed_path(tmp_path / "stop", "risk_role").is_file()


def test_folder_in_the_place_of_the_operators_file_keeps_no_run_from_its_end(
    tmp_path: Path,
) -> None:
    """A folder in the place of the operator's file does not hold up the end of a run."""
    armed_path(tmp_path, OPERATOR).mkdir()

    disarm_operator(tmp_path)

    assert is_disarmed(tmp_path)


def test_operators_file_that_somebody_removed_is_no_end_of_the_run(tmp_path: Path) -> None:
    """Only the launcher's own mark says that a run has ended, and the next run takes it away."""
    arm(tmp_path, RUN_ID, OPERATOR)
    arm(tmp_path, RUN_ID, WATCHDOG_ROLE)
    disarm_operator(tmp_path)
    was_ended = is_disarmed(tmp_path)
    arm(tmp_path, RUN_ID, OPERATOR)

    armed_path(tmp_path, OPERATOR).unlink()

    assert was_ended
    assert not is_disarmed(tmp_path)
    assert raise_operators_flag(tmp_path, tmp_path / "STOP.flag")
    assert (tmp_path / "STOP.flag").is_file()


def test_disk_that_became_read_only_keeps_no_stop_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reserves that cannot be removed stay: there is nothing left to write with their space."""
    arm(tmp_path, RUN_ID, "risk_role")

    def refuse(path: Path, **words: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", refuse)

    release_all_reserves(tmp_path)

    assert (tmp_path / "risk_role.reserve").exists()
