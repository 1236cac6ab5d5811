"""Writer's lock: exclusive, and held only by the kernel's word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minibot.kernel.errors import LockBusy, Refusal
from minibot.kernel.files import Files, Stat, StrPath
from minibot.kernel.lock import WriterLock, lost_lock
from tests.kernel.kernel_support import FaultFiles

HOLDER = """
import sys
from minibot.kernel.files import Files, Stat, StrPath
from minibot.kernel.lock import WriterLock, lost_lock
lock = WriterLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def start_holder(path: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock until its standard input closes."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.process
@pytest.mark.row("N-06", "F44")
@pytest.mark.fault("F44", by="a second process takes the lock", ends="STOP(QUEUE_LOCKED)")
def test_lock_held_by_another_process_is_busy(var_dir: Path) -> None:
    """A lock held by another process is busy."""
    path = var_dir / "writer.lock"
    holder = start_holder(path)
    try:
        with pytest.raises(LockBusy) as caught:
            WriterLock(path)
    finally:
        holder.communicate()

    assert caught.value.reason_code == "QUEUE_LOCKED"
    WriterLock(path).close()


@pytest.mark.process
@pytest.mark.row("N-06", "F45", "F46")
@pytest.mark.fault("F45", by="SIGKILL of the holder", ends="SURVIVE")
@pytest.mark.fault("F46", by="the lock file of a dead process", ends="SURVIVE")
def test_lock_of_a_killed_process_is_free_and_its_file_means_nothing(var_dir: Path) -> None:
    """A killed process's lock is free, whatever file is left."""
    path = var_dir / "writer.lock"
    holder = start_holder(path)
    holder.kill()
    holder.communicate()

    assert path.exists()
    lock = WriterLock(path)
    assert lock.is_held
    lock.close()


@pytest.mark.process
@pytest.mark.row("F47")
@pytest.mark.fault(
    "F47",
    by="another descriptor of the lock file opened and closed",
    ends="cannot happen: the lock belongs to the open file",
)
def test_lock_survives_closing_another_descriptor_of_its_file(var_dir: Path) -> None:
    """Closing another descriptor of the lock file releases nothing, unlike POSIX record locks."""
    path = var_dir / "writer.lock"
    lock = WriterLock(path)
    os.close(os.open(path, os.O_RDWR))

    probe = "import sys; from minibot.kernel.lock import WriterLock; WriterLock(sys.argv[1])"
    outcome = subprocess.run(
        [sys.executable, "-c", probe, str(path)], capture_output=True, text=True, check=False
    )

    assert "LockBusy" in outcome.stderr
    lock.close()


def test_lock_in_the_same_process_is_busy(var_dir: Path) -> None:
    """A second writer in the same process is excluded as well."""
    path = var_dir / "writer.lock"
    lock = WriterLock(path)
    with pytest.raises(LockBusy):
        WriterLock(path)
    lock.close()


@pytest.mark.row("F48")
@pytest.mark.fault("F48", by="seam: a lock call that always succeeds", ends="REFUSE")
def test_lock_on_a_file_system_without_exclusion_is_refused(var_dir: Path) -> None:
    """A file system that grants a lock twice is refused before any write."""
    files = FaultFiles()
    files.locks = False
    with pytest.raises(Refusal, match="two holders"):
        WriterLock(var_dir / "writer.lock", files=files)


@pytest.mark.row("N-06")
def test_lock_file_is_private_and_empty_whatever_the_umask(var_dir: Path) -> None:
    """A lock file is private and empty under any umask."""
    old = os.umask(0)
    try:
        WriterLock(var_dir / "deep" / "writer.lock").close()
    finally:
        os.umask(old)
    status = (var_dir / "deep" / "writer.lock").stat()

    assert status.st_size == 0
    if sys.platform != "win32":  # On Windows rights belong to the folder, not to a mode.
        assert status.st_mode & 0o777 == 0o600
        assert (var_dir / "deep").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["deleted", "replaced", "folder", "link"])
def test_lock_whose_file_is_no_longer_the_one_of_its_name_is_lost(
    var_dir: Path, damage: str
) -> None:
    """A lock whose file was replaced or removed is lost, and its holder is told."""
    path = var_dir / "queues" / "writer.lock"
    lock = WriterLock(path)
    try:
        assert (lock.lost(), lost_lock(var_dir)) == (None, None)
        path.rename(var_dir / "aside")
        if damage == "replaced":
            path.touch()
        elif damage == "folder":
            path.mkdir()
        elif damage == "link":
            path.symlink_to(var_dir / "aside")
        found = lost_lock(var_dir)
        elsewhere = lost_lock(var_dir / "other")
    finally:
        lock.close()

    word = "is gone" if damage == "deleted" else "is another file"
    assert found is not None
    assert str(path) in found
    assert word in found
    assert elsewhere is None
    assert lost_lock(var_dir) is None  # The lock is not held any more.


def test_lock_without_an_identity_from_the_system_is_lost_only_with_its_name(var_dir: Path) -> None:
    """Without inodes (some file systems give 0) a lock is lost only if its file is gone."""

    class Nameless(Files):
        def stat(self, path: StrPath) -> Stat | None:
            found = super().stat(path)
            return None if found is None else found._replace(inode=0)

        def fstat(self, fd: int) -> Stat:
            return super().fstat(fd)._replace(inode=0)

    lock = WriterLock(var_dir / "writer.lock", files=Nameless())
    try:
        lock.path.unlink()
        gone = lock.lost()
        lock.path.touch()
        again = lock.lost()
    finally:
        lock.close()

    assert gone is not None
    assert again is None
