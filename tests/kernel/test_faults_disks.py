"""Real file systems that fill up, lose unsynced data, or refuse.

Each is mounted in a namespace that ends with the test (tests/kernel/injection.py). Power is cut by
the file system's own shutdown call, which drops unsynced data.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.system import Files
from minibot.watchdog.checks import DiskCheck
from tests.kernel.independent import assert_kept, everything, published
from tests.kernel.injection import (
    Completed,
    Space,
    cut_power,
    image,
    restore_power,
    run_victim,
    shim,
    tmpfs,
    victim_argv,
)
from tests.kernel.kernel_support import json_of, line_of, open_journal

# Invariants checked after each fault, as far as they apply.
pytestmark = [pytest.mark.row("I1", "I2", "I3"), pytest.mark.campaign]
SIZE = 200
MakeSpace = Callable[[str], Space]


@pytest.fixture
def spaces(tmp_path: Path) -> Iterator[MakeSpace]:
    """Factory of file systems that end with the test."""
    made: list[Space] = []

    def make(script: str) -> Space:
        made.append(Space(tmp_path / f"disk{len(made)}", script))
        return made[-1]

    yield make
    for space in made:
        space.close()


class AfterPowerLoss(Files):
    """Real files after a restart of the machine."""

    def boot_id(self) -> str:
        """Return another boot id than the writer's."""
        return "the next one"


def recovered(folder: Path, acknowledged: int, **options: Any) -> list[bytes]:
    """Let the next writer append a line; assert I1 to I3; return the published lines."""
    writer = open_journal(folder, **options)
    writer.append([line_of(writer.position.seq + 1, SIZE)])
    writer.close()
    tried = [json_of(number, SIZE) for number in range(1, writer.position.seq + 1)]
    return assert_kept(folder, tried[:acknowledged], tried)


# --- full ---------------------------------------------------------------------------------------


@pytest.mark.real_injection("tmpfs")
@pytest.mark.row("F04")
@pytest.mark.fault(
    "F04", by="a tmpfs of 64 KiB: a short write, then ENOSPC", ends="STOP(IO_ENOSPC)"
)
@pytest.mark.parametrize("is_eager", [True, False])
def test_disk_that_fills_up_stops_and_loses_nothing_acknowledged(
    spaces: MakeSpace, is_eager: bool
) -> None:
    """A full disk keeps whole lines of the refused batch; the next start cuts the torn one."""
    space = spaces(tmpfs("size=64k"))
    done = run_victim(
        "append", space.folder, wrap=space.wrap, size=SIZE, batches=500, sync=is_eager
    )
    assert (done.code, done.reason) == (10, "IO_ENOSPC")
    head_lines = len(published(space.seen))
    assert head_lines == done.last("ack") > 50
    space.sh('mount -o remount,size=1m "$1"')

    assert len(recovered(space.seen, done.last("ack"))) > head_lines


@pytest.mark.real_injection("ext4")
@pytest.mark.row("F06", "F07")
@pytest.mark.fault(
    "F06",
    "F07",
    by="ext4 on a thin device that fills up: delayed allocation",
    ends="STOP(IO_FSYNC)",
)
def test_sync_on_a_thin_device_that_is_full_ends_the_file(spaces: MakeSpace) -> None:
    """A full thin device fails the sync once; the head never passes the synced lines."""
    space = spaces(image("ext4", 64).replace("size=512m", "size=3m"))
    done = run_victim("append", space.folder, wrap=space.wrap, size=20_000, lines=8, batches=200)

    assert (done.code, done.reason) == (10, "IO_FSYNC")
    assert len(published(space.seen)) == done.last("ack")
    space.sh('mount -o remount,size=512m "$1.image"')
    with pytest.raises(RunStop) as caught:
        open_journal(space.seen)
    assert caught.value.reason_code in ("IO_FSYNC", "IO_READONLY")


@pytest.mark.real_injection("prlimit")
@pytest.mark.row("F55")
@pytest.mark.fault("F55", by="prlimit --fsize of 20,000 bytes", ends="STOP(IO_EIO)")
def test_file_over_its_limit_is_an_error_and_no_signal(var_dir: Path) -> None:
    """A file over its limit is an error after a short write, with SIGXFSZ ignored."""
    done = run_victim("append", var_dir, wrap=["prlimit", "--fsize=20000"], size=SIZE, batches=500)

    assert (done.code, done.reason) == (10, "IO_EIO")
    assert (var_dir / "inbox.jsonl").stat().st_size == 20_000
    assert len(published(var_dir)) == done.last("ack")
    recovered(var_dir, done.last("ack"))


@pytest.mark.real_injection("prlimit")
@pytest.mark.row("F56")
@pytest.mark.fault("F56", by="prlimit --nofile of 5", ends="STOP(FD_EXHAUSTED)")
def test_process_without_descriptors_stops_by_that_name(var_dir: Path) -> None:
    """A process without descriptors stops with that reason, whichever file was affected."""
    run_victim("append", var_dir, size=SIZE)
    before = (var_dir / "inbox.jsonl").read_bytes()
    done = run_victim("append", var_dir, wrap=["prlimit", "--nofile=5"], size=SIZE)

    assert (done.code, done.reason) == (10, "FD_EXHAUSTED"), done
    assert (var_dir / "inbox.jsonl").read_bytes()[: len(before)] == before
    recovered(var_dir, 15)


@pytest.mark.real_injection("ext4")
@pytest.mark.row("F53")
@pytest.mark.fault("F53", by="ext4 without a free inode", ends="STOP(IO_ENOSPC)")
def test_disk_without_inodes_is_a_full_disk(spaces: MakeSpace) -> None:
    """A disk without inodes counts as full: a rotation stops, every line keeps a name."""
    space = spaces(image("ext4", make="-N 32"))
    first = run_victim("append", space.folder, wrap=space.wrap, size=SIZE)
    space.sh('i=0; while touch "$1/fill.$i" 2>/dev/null; do i=$((i+1)); done')
    done = run_victim(
        "append", space.folder, wrap=space.wrap, size=SIZE, segment_bytes=5000, batches=50
    )

    assert first.last("closed") == 15
    assert (done.code, done.reason) == (10, "IO_ENOSPC")
    space.sh('rm "$1"/fill.*')
    recovered(space.seen, done.last("ack"), segment_bytes=5000)


@pytest.mark.real_injection("tmpfs")
@pytest.mark.row("F51")
@pytest.mark.fault("F51", by="a tmpfs of 16 MiB under a floor of 17", ends="STOP(DISK_LOW)")
def test_floor_of_free_space_is_measured_where_the_run_writes(spaces: MakeSpace) -> None:
    """The floor of free space is measured on the run's disk, not the project's."""
    space = spaces(tmpfs("size=16m"))

    assert DiskCheck(space.seen, 15, None).check() is None
    record = DiskCheck(space.seen, 17, None).check()
    assert record is not None
    assert record.reason_code == "DISK_LOW"


# --- read-only ----------------------------------------------------------------------------------


@pytest.mark.real_injection("ext4")
@pytest.mark.row("F54")
@pytest.mark.fault("F54", by="ext4 that aborts and turns read-only", ends="STOP(IO_READONLY)")
def test_disk_that_turns_read_only_under_a_writer_stops_it(spaces: MakeSpace) -> None:
    """A disk that turns read-only is reported by exit code and standard error."""
    space = spaces(image("ext4"))
    victim = Victim(space, size=SIZE, batches=100_000)
    victim.await_acks(30)
    space.sh('mount -o remount,abort "$1"')
    done = victim.end()

    assert done.code == 10
    assert done.reason in ("IO_READONLY", "IO_FSYNC")
    again = run_victim("append", space.folder, wrap=space.wrap, size=SIZE)
    assert (again.code, again.reason) == (10, "IO_READONLY")
    restore_power(space)
    recovered(space.seen, done.last("ack"), files=AfterPowerLoss())


@pytest.mark.real_injection("tmpfs")
@pytest.mark.row("F54")
@pytest.mark.fault("F54", by="a tmpfs remounted read-only", ends="STOP(IO_READONLY)")
def test_start_on_a_read_only_disk_stops_and_changes_nothing(spaces: MakeSpace) -> None:
    """A start on a read-only disk changes nothing, and a later start succeeds."""
    space = spaces(tmpfs("size=1m"))
    run_victim("append", space.folder, wrap=space.wrap, size=SIZE)
    before = everything(space.seen)
    space.sh('mount -o remount,ro "$1"')
    done = run_victim("append", space.folder, wrap=space.wrap, size=SIZE)

    assert (done.code, done.reason) == (10, "IO_READONLY")
    assert everything(space.seen) == before
    space.sh('mount -o remount,rw "$1"')
    assert len(recovered(space.seen, 15)) == 16


@pytest.mark.real_injection("chattr", "ext4")
@pytest.mark.row("F54")
@pytest.mark.fault("F54", by="chattr +i and +a on the journal", ends="STOP(IO_READONLY)")
@pytest.mark.parametrize("flag", ["i", "a"])
def test_journal_made_immutable_stops_its_writer(spaces: MakeSpace, flag: str) -> None:
    """A journal made immutable by the machine's owner stops its writer."""
    space = spaces(image("ext4"))
    run_victim("append", space.folder, wrap=space.wrap, size=SIZE)
    before = everything(space.seen)
    space.sh(f'chattr +{flag} "$1/inbox.jsonl"')
    done = run_victim("append", space.folder, wrap=space.wrap, size=SIZE)

    assert (done.code, done.reason) == (10, "IO_READONLY")
    assert everything(space.seen) == before
    space.sh(f'chattr -{flag} "$1/inbox.jsonl"')
    assert len(recovered(space.seen, 15)) == 16


# --- power --------------------------------------------------------------------------------------


class Victim:
    """Writer in a space, running until the disk is taken away."""

    def __init__(self, space: Space, do: str = "append", **task: Any) -> None:
        self._out: list[str] = []
        self._process = subprocess.Popen(
            [*space.wrap, *victim_argv(do, space.folder, **task)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def await_acks(self, lines: int) -> None:
        """Return once the given number of lines is acknowledged."""
        while Completed(0, self._out, "").last("ack") < lines:
            assert self._read(), "the victim ended early"

    def end(self) -> Completed:
        """Wait for its end; return all its output."""
        while self._read():
            pass
        assert self._process.stderr is not None
        with self._process:
            err = self._process.stderr.read()
        return Completed(self._process.returncode, self._out, err)

    def _read(self) -> bool:
        # Never call `communicate` after this: it skips the buffered output.
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._out += [line.strip()] if line else []
        return bool(line)


@pytest.mark.real_injection("ext4")
@pytest.mark.row("F09")
@pytest.mark.fault("F09", by="ext4: the power is cut under a writer, three times", ends="SURVIVE")
@pytest.mark.parametrize("is_eager", [True, False])
def test_power_cut_on_ext4_takes_nothing_that_was_synced(spaces: MakeSpace, is_eager: bool) -> None:
    """A power cut on ext4 takes no synced line, and no later line is false."""
    cut_again_and_again(spaces(image("ext4")), is_eager=is_eager)


@pytest.mark.real_injection("xfs")
@pytest.mark.row("F09")
@pytest.mark.fault("F09", by="xfs: the power is cut under a writer, three times", ends="SURVIVE")
@pytest.mark.parametrize("is_eager", [True, False])
def test_power_cut_on_xfs_takes_nothing_that_was_synced(spaces: MakeSpace, is_eager: bool) -> None:
    """A power cut on xfs, which fills lost pages with NUL bytes, takes no synced line."""
    cut_again_and_again(spaces(image("xfs")), is_eager=is_eager)


@pytest.mark.real_injection("ext4", "xfs")
@pytest.mark.row("F28")
@pytest.mark.fault("F28", by="ext4, xfs: the power is cut under a rotating writer", ends="SURVIVE")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_under_a_rotating_writer_leaves_one_layout(spaces: MakeSpace, kind: str) -> None:
    """A power cut under a writer that rotates every four lines leaves one layout."""
    cut_again_and_again(spaces(image(kind)), rounds=5, segment_bytes=1200)


def cut_again_and_again(
    space: Space, *, is_eager: bool = True, rounds: int = 3, segment_bytes: int = 1 << 20
) -> None:
    """Cut the power at several moments of one journal's life."""
    for round_ in range(rounds):
        victim = Victim(
            space,
            size=SIZE,
            batches=100_000,
            lines=1 + round_ % 5,
            sync=is_eager,
            segment_bytes=segment_bytes,
        )
        victim.await_acks(1 + 7 * round_)
        cut_power(space)
        done = victim.end()
        restore_power(space)
        assert done.code == 10
        options: dict[str, Any] = {"files": AfterPowerLoss(), "sync": is_eager}
        acknowledged = done.last("ack") if is_eager else 0
        recovered(space.seen, acknowledged, segment_bytes=segment_bytes, **options)


@pytest.mark.real_injection("ext4", "xfs")
@pytest.mark.row("F40")
@pytest.mark.fault("F40", by="ext4, xfs: the power is cut under replacements", ends="SURVIVE")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_under_replacements_leaves_old_or_new(spaces: MakeSpace, kind: str) -> None:
    """A power cut under replacements leaves a whole file, no older than acknowledged.

    The victim outlives the disk, so acknowledgements during the power cut count as well.
    """
    space = spaces(image(kind))
    path = space.seen / "cursor.json"
    for round_ in range(4):
        victim = Victim(space, do="replace", times=100_000)
        victim.await_acks(1 + round_)
        cut_power(space)
        done = victim.end()
        restore_power(space)
        assert done.code == 10
        assert done.last("ack") <= read_hashed(path)["generation"] <= done.last("ack") + 1


class CutUnderFolderSync(Files):
    """Real files in a space whose power is cut when a folder is about to be synced."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    def sync(self, fd: int) -> None:
        """Sync; too late where it is a folder."""
        if self.fstat(fd).is_folder:
            cut_power(self.space)
        super().sync(fd)


@pytest.mark.real_injection("ext4", "xfs")
@pytest.mark.row("F06", "F40")
@pytest.mark.fault(
    "F06", by="ext4, xfs: shuts itself down before a folder is synced", ends="STOP(IO_FSYNC)"
)
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_replacement_on_a_disk_that_shut_itself_down_is_not_acknowledged(
    spaces: MakeSpace, kind: str
) -> None:
    """A replacement on an XFS that shut down is not acknowledged, although its sync returns 0."""
    space = spaces(image(kind))
    path = space.seen / "cursor.json"
    write_hashed(path, {"text": "old"})

    with pytest.raises(RunStop) as caught:
        write_hashed(path, {"text": "new"}, files=CutUnderFolderSync(space))

    assert caught.value.reason_code == "IO_FSYNC"
    restore_power(space)
    assert read_hashed(path)["text"] == "old"


@pytest.mark.real_injection("ext4", "cc")
@pytest.mark.row("F08")
@pytest.mark.fault(
    "F08", by="ext4 and a shim whose syncs lie; then the power is cut", ends="STOP(QUEUE_TRUNCATED)"
)
def test_disk_that_lies_about_syncs_is_found_out_after_the_power_loss(spaces: MakeSpace) -> None:
    """A disk that lies about syncs loses lines, and the next start reports it."""
    space = spaces(image("ext4"))
    honest = run_victim("append", space.folder, wrap=space.wrap, size=SIZE)
    lying = {**shim(), "SHIM_HOW": "lie"}
    done = run_victim("append", space.folder, wrap=space.wrap, environ=lying, size=SIZE, batches=9)
    assert (honest.last("closed"), done.last("closed")) == (15, 42)
    space.sh(
        'python3 -c "import os, sys; os.fsync(os.open(sys.argv[1], os.O_RDWR))" "$1/inbox.head"'
    )
    cut_power(space)
    restore_power(space)
    before = everything(space.seen)

    with pytest.raises(RunStop) as caught:
        open_journal(space.seen, files=AfterPowerLoss())
    assert caught.value.reason_code == "QUEUE_TRUNCATED"
    assert everything(space.seen) == before
