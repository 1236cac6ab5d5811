"""Backups of real nights, killed at random moments: each restores, verifies and replays clean."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import psutil
import pytest

from minibot.engine.role_replay import Recorded, replay_run
from minibot.kernel.files import read_hashed
from minibot.kernel.verify import verify_tree
from minibot.ops.restore import restore
from minibot.replay.graph.lineage import verify_lineage
from minibot.runtime.backup import Backup, BackupFolder, read_backup
from minibot.runtime.paths import Var
from minibot.watchdog.ops_process import MODULE
from tests.nights.night import Night
from tests.waiting import wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]

PROVEN_MAX = 5
"""Backups of one night that are restored and proven; the first and the last always."""


def start(tmp_path: Path, every_ms: int = 1000) -> Night:
    """Start a night that backs itself up each second."""
    section = {"every_ms": every_ms, "folder": str(tmp_path / "own"), "keep": 500}
    return Night(tmp_path / "var", [f"backup={json.dumps(section)}", "duration_ms=2000000"])


def ops_of(night: Night) -> psutil.Process | None:
    """Return the process `ops` of a night."""
    return night.role(MODULE)


def taken_in(folder: Path) -> list[Backup]:
    """Return the backups in a folder; each has to be whole as its list says."""
    place = BackupFolder(folder)
    found = [read_backup(path) for path in place.taken()]
    for one in found:
        for content in one.files.values():
            assert place.store.has(content)
    return found


def prove(backup: Backup, target: Path) -> int:
    """Restore a backup and prove it; return the inputs that replay recomputed."""
    sealed = restore(backup, target)
    run_dir = Var(target).run(backup.run_id)
    assert sealed is None or sealed.findings == ()
    assert list(verify_tree(run_dir)) == []
    assert list(verify_lineage(Recorded.open(run_dir))) == []
    replay = replay_run(run_dir)
    assert replay.is_identical, replay.difference
    return sum(role.inputs for role in replay.roles)


def prove_some(backups: list[Backup], random: Random, tmp_path: Path) -> None:
    """Prove the first, the last and some more backups of a night, drawn by the seed."""
    inner = backups[1:-1]
    some = [backups[0], *random.sample(inner, min(len(inner), PROVEN_MAX - 2)), backups[-1]]
    inputs = [prove(one, tmp_path / f"restored{number}") for number, one in enumerate(some)]
    assert inputs[-1] > 0


def await_lines(night: Night, count: int) -> None:
    """Wait until more than so many ticks are written."""
    wait_until(lambda: night.lines("market_ticks") > count, "ticks go on")


def await_work(own: Path, count: int) -> None:
    """Wait until a folder of backups has so many contents, or a whole backup."""

    def is_at_work() -> bool:
        content = own / "content"
        if content.exists() and len(list(content.glob("*"))) >= count:
            return True
        return own.exists() and bool(BackupFolder(own).taken())

    wait_until(is_at_work, "ops backs up")


def await_other(night: Night, pid: int) -> None:
    """Wait until `ops` has another process."""
    wait_until(
        lambda: (again := ops_of(night)) is not None and again.pid != pid, "ops is started again"
    )


@pytest.mark.row("B-12", "B-63")
@pytest.mark.parametrize("seed", [1, 2])
def test_backups_of_a_killed_night_restore_verify_and_replay_clean(
    tmp_path: Path, seed: int
) -> None:
    """A launcher killed at a random moment leaves backups that are all whole and all proven."""
    random = Random(seed)
    night = start(tmp_path)
    night.await_trading()
    run_id = str(read_hashed(night.var / "current.json")["run_id"])
    folder, beside = Var(night.var), BackupFolder(tmp_path / "beside")
    # Beside its own, so that a busy machine takes some too.
    taken = []
    for _ in range(random.randrange(4, 9)):
        taken.append(beside.take(folder, run_id))
        await_lines(night, night.lines("market_ticks") + random.randrange(1, 120))
    children = psutil.Process(night.process.pid).children()
    night.process.kill()
    night.end()
    psutil.wait_procs(children, timeout=60)

    assert taken_in(tmp_path / "beside") == taken
    prove_some([*taken_in(tmp_path / "own"), *taken], random, tmp_path)


@pytest.mark.row("B-63")
def test_ops_killed_while_it_backs_up_goes_on_and_the_night_never_notices(tmp_path: Path) -> None:
    """Killed at random moments, `ops` leaves whole backups; the run ends in order and is clean."""
    random = Random(3)
    night = start(tmp_path)
    night.await_trading()
    for _ in range(2):
        ops = wait_until(lambda: ops_of(night), "ops runs")
        content = tmp_path / "own" / "content"
        before = len(list(content.glob("*"))) if content.exists() else 0
        await_work(tmp_path / "own", before + random.randrange(1, 20))
        ops.kill()
        await_other(night, ops.pid)
    own = BackupFolder(tmp_path / "own")
    wait_until(lambda: own.taken() and (night.var / "ops" / "backup.json").exists(), "a backup")
    night.interrupt()
    code, text = night.end()

    assert code == 0, text
    run_dir = night.run_dirs()[-1]
    assert list(verify_tree(run_dir)) == []
    assert replay_run(run_dir).is_identical
    prove_some(taken_in(tmp_path / "own"), random, tmp_path)
