"""Attacks on the locks that keep a second writer out: lock files deleted or replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import psutil

from tools.attacks.frame import Found, Lab, Night, attack, stops_of

LOST = "STOP(LOCK_LOST) names the file; sealed, or told why not; exit 10"


def _ended_by_loss(lab: Lab, name: str, damage: Callable[[Path], object]) -> Found:
    """Damage a lock of a night that trades; return how the night ended."""
    night = lab.start_night()
    run = night.wait_for_fills()
    damage(lab.var / name)
    done = night.wait()
    codes = [stop["reason_code"] for stop in stops_of(lab.var) if stop["kind"] == "STOP"]
    details = " ".join(stop["detail"] for stop in stops_of(lab.var))
    is_sealed = (run / "seal.json").exists()
    is_told = is_sealed or done.says("not sealed")
    held = codes == ["LOCK_LOST"] and name in details and done.code == 10 and is_told
    sealed = "sealed" if is_sealed else "not sealed"
    return Found(f"{', '.join(codes) or 'no STOP'}: {details[-90:]}; {sealed}", done.code, held)


@attack("A6", "run.lock is deleted under a night", LOST)
def run_lock_deleted(lab: Lab) -> Found:
    """Delete the lock of the run."""
    return _ended_by_loss(lab, "run.lock", Path.unlink)


@attack("A6", "run.lock is replaced by another file", LOST)
def run_lock_replaced(lab: Lab) -> Found:
    """Replace the run's lock with another file, as an editor or a restore does."""

    def replace(path: Path) -> None:
        path.with_name("other").touch(0o600)
        path.with_name("other").replace(path)

    return _ended_by_loss(lab, "run.lock", replace)


@attack("A6", "the lock of a role's queue is deleted", LOST)
def queue_lock_deleted(lab: Lab) -> Found:
    """Delete the writer's lock of `signals`, which the strategy's process holds."""
    return _ended_by_loss(lab, "queues/signals/writer.lock", Path.unlink)


@attack("A6", "the lock of a role's part is replaced by a link", LOST)
def part_lock_linked(lab: Lab) -> Found:
    """Put a link in the place of the lock of the risk role's part of `health`."""

    def link(path: Path) -> None:
        path.rename(path.with_name("aside"))
        path.symlink_to("aside")

    return _ended_by_loss(lab, "queues/health/parts/risk_role.lock", link)


@attack("A6", "all locks deleted, then a second start at once", "refused, first run verifies clean")
def second_start_without_locks(lab: Lab) -> Found:
    """Delete every lock file and start again before the first night has noticed."""
    night = lab.start_night()
    run = night.wait_for_fills()
    frozen = _frozen(night)
    for path in lab.var.rglob("*.lock"):
        path.unlink()
    second = lab.start_night().wait()
    for process in frozen:
        process.resume()
    first = night.wait()
    verified = lab.minibot("verify", run.name)
    held = (second.code, first.code, verified.code) == (2, 10, 0)
    said = f"{second.last_words()}; first ended {first.code}, verify {verified.code}"
    return Found(said, second.code, held and second.says("is alive"))


@attack("A9", "a second start beside a night", "refused, and not one entry of var has changed")
def second_start_writes_nothing(lab: Lab) -> Found:
    """Freeze a night, start again, and compare every byte and time below `var`."""
    return _second_beside(lab, lambda var: None)


@attack("A6", "a second start beside a night without locks", "refused, nothing of var has changed")
def second_start_without_locks_writes_nothing(lab: Lab) -> Found:
    """Freeze, delete every lock file, start again: the living process alone causes the refusal."""

    def delete_locks(var: Path) -> None:
        for path in var.rglob("*.lock"):
            path.unlink()

    return _second_beside(lab, delete_locks)


def _frozen(night: Night) -> list[psutil.Process]:
    """Suspend all processes of a night; return them."""
    launcher = psutil.Process(night.process.pid)
    processes = [launcher, *launcher.children(recursive=True)]
    for process in processes:
        process.suspend()
    return processes


def _second_beside(lab: Lab, damage: Callable[[Path], None]) -> Found:
    night = lab.start_night()
    night.wait_for_fills()
    _frozen(night)
    damage(lab.var)
    before = _state_of(lab.var)
    second = lab.start_night().wait()
    after = _state_of(lab.var)
    changed = sorted({name for name, _ in before.items() ^ after.items()})
    said = f"{second.last_words()}; {len(changed)} entries differ {changed[:2]}"
    return Found(said, second.code, second.code == 2 and not changed)


def _state_of(var: Path) -> dict[str, str]:
    """Return each name below a folder with a hash of its bytes, and its times."""
    found = {}
    for path in sorted(var.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        digest = hashlib.sha256(data).hexdigest()
        found[str(path.relative_to(var))] = f"{digest} {status.st_mtime_ns} {status.st_mode}"
    return found
