"""Orders of the operator's page: a kill holds also where the run's folder takes no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.kernel.files import read_hashed
from minibot.ops.actions import act
from minibot.runtime.paths import Var
from minibot.runtime.running import RunLock, note_current
from minibot.runtime.stop import OPERATOR, arm
from minibot.watchdog.requests import KILL


@pytest.mark.usefixtures("run_goes_on")
def test_kill_raises_the_flag_also_where_its_reason_cannot_be_written(tmp_path: Path) -> None:
    """A kill from the page needs no space for its reason, as `minibot kill` needs none."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop):
        folder.mkdir(mode=0o700)
    var.requests.write_bytes(b"no folder")
    arm(var.stop, "20251120_000000", OPERATOR)
    with RunLock(var):
        note_current(var, "20251120_000000")

        text = act(var, "20251120_000000", KILL)

    assert text.startswith("kill was sent to 20251120_000000; the reason could not be written (")
    assert read_hashed(var.flag)["role"] == OPERATOR


def test_kill_from_the_page_needs_no_note_of_the_run(tmp_path: Path) -> None:
    """A run whose `current.json` is gone is killed from the page, too."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop, var.requests):
        folder.mkdir(mode=0o700)
    arm(var.stop, "20251120_000000", OPERATOR)
    with RunLock(var):
        act(Var(var.root), "20251120_000000", KILL)

    assert read_hashed(var.flag)["run_id"] == "20251120_000000"
