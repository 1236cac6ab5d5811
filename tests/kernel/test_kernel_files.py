"""Whole files: old or new, never partial; private; never through a link."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import (
    DISK_CALLS,
    ensure_folder,
    read_hashed,
    remove_temps,
    write_atomic,
    write_hashed,
)
from tests.kernel.kernel_support import Crash, FaultFiles, change, failing, line_of, open_journal
from tests.waiting import DEADLINE_S

OLD, NEW = b"old " * 50, b"new content " * 40

WRITER = """
import sys
from minibot.kernel.files import write_hashed
print("ready", flush=True)
n = 0
while True:
    n += 1
    write_hashed(sys.argv[1], {"n": n, "text": str(n) * 2000})
"""


@pytest.mark.row("N-05", "N-102", "F40")
@pytest.mark.fault("F40", by="seam: crash before and after every call", ends="SURVIVE")
@pytest.mark.parametrize("is_after", [False, True])
def test_write_atomic_crashing_at_any_call_leaves_old_or_new(var_dir: Path, is_after: bool) -> None:
    """A crash at any call leaves a whole file, and the next write succeeds."""
    path = var_dir / "state.json"
    probe = FaultFiles()
    write_atomic(path, OLD, files=probe)
    steps = probe.count("open") + sum(probe.count(c) for c in ("pwrite", "sync", "replace"))
    assert steps >= 4
    seen = set()
    for step in range(steps + 1):
        write_atomic(path, OLD)
        files = FaultFiles()
        files.crash_at, files.crash_after = step, is_after
        try:
            write_atomic(path, NEW, files=files)
        except Crash:
            files.kill()
        seen.add(path.read_bytes())
        remove_temps(path)
        assert os.listdir(var_dir) == ["state.json"]

    assert seen == {OLD, NEW}


@pytest.mark.process
@pytest.mark.row("N-05", "N-102", "F40")
@pytest.mark.fault("F40", by="30 SIGKILLs of a process that replaces one file", ends="SURVIVE")
def test_write_hashed_by_a_process_killed_at_random_is_always_whole(var_dir: Path) -> None:
    """Thirty SIGKILLs into a busy writer: the file always verifies and never goes back."""
    path = var_dir / "cursor.json"
    last = 0
    for round_ in range(30):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        until = time.monotonic() + DEADLINE_S
        while not path.exists() or read_hashed(path)["generation"] < last + 2 + round_ % 3:
            assert time.monotonic() < until, f"round {round_}: no write within {DEADLINE_S} s"
            time.sleep(0.002)  # Windows replaces no file that another process keeps open.
        writer.kill()
        writer.communicate()
        obj = read_hashed(path)
        assert obj["text"] == str(obj["n"]) * 2000
        assert obj["generation"] > last
        last = obj["generation"]


@pytest.mark.parametrize(
    ("call", "code", "reason"),
    [
        ("open", errno.ENOSPC, "IO_ENOSPC"),
        ("open", errno.EROFS, "IO_READONLY"),
        ("open", errno.EMFILE, "FD_EXHAUSTED"),
        ("open", errno.ENFILE, "FD_EXHAUSTED"),
        ("pwrite", errno.ENOSPC, "IO_ENOSPC"),
        ("pwrite", errno.EIO, "IO_EIO"),
        ("pwrite", errno.EFBIG, "IO_EIO"),
        ("sync", errno.EIO, "IO_FSYNC"),
        ("sync", errno.ENOSPC, "IO_FSYNC"),
        ("replace", errno.EIO, "IO_RENAME"),
        ("replace", errno.EACCES, "IO_RENAME"),
    ],
)
def test_write_atomic_on_a_failing_disk_keeps_the_old_content(
    var_dir: Path, call: str, code: int, reason: str
) -> None:
    """A failing disk is a STOP with its reason; old content stays and no temp file is left."""
    path = var_dir / "state.json"
    write_atomic(path, OLD)
    files = FaultFiles()
    files.fault = failing(call, "state.json", code)
    with pytest.raises(RunStop) as caught:
        write_atomic(path, NEW, files=files)

    assert caught.value.reason_code == reason
    assert path.read_bytes() == OLD
    assert os.listdir(var_dir) == ["state.json"]


@pytest.mark.row("F42")
@pytest.mark.fault("F42", by="seam: fsync of the folder gives EIO", ends="STOP(IO_FSYNC)")
def test_write_atomic_with_a_failing_folder_sync_stops(var_dir: Path) -> None:
    """A failed folder sync is an error, because the name may not be durable."""
    files = FaultFiles()
    files.fault = failing("sync_folder", "var", errno.EIO)
    with pytest.raises(RunStop) as caught:
        write_atomic(var_dir / "state.json", NEW, files=files)

    assert caught.value.reason_code == "IO_FSYNC"


@pytest.mark.row("F41")
@pytest.mark.fault(
    "F41", by="seam: a sharing violation, three times and for ever", ends="STOP(IO_RENAME)"
)
@pytest.mark.fault(
    "F41", by="seam: a sharing violation that passes", ends="tried again within bounds"
)
@pytest.mark.parametrize(("times", "is_written"), [(3, True), (10_000, False)])
def test_write_atomic_on_a_sharing_violation_tries_again_within_bounds(
    var_dir: Path, times: int, is_written: bool
) -> None:
    """A sharing violation on Windows is retried within bounds, then a STOP."""
    path = var_dir / "state.json"
    write_atomic(path, OLD)
    files = FaultFiles()
    left = [times]

    def fault(call: str, _name: str) -> OSError | None:
        if call == "replace" and left[0]:
            left[0] -= 1
            error = PermissionError(errno.EACCES, "sharing violation")
            error.winerror = 32  # type: ignore[attr-defined,unused-ignore]
            return error
        return None

    files.fault = fault
    if is_written:
        write_atomic(path, NEW, files=files)
        assert path.read_bytes() == NEW
        assert files.count("sleep") == times
        return
    with pytest.raises(RunStop) as caught:
        write_atomic(path, NEW, files=files)
    assert caught.value.reason_code == "IO_RENAME"
    assert "close the program that has it open" in caught.value.detail
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("size_max", [1, 7, 100])
def test_write_atomic_with_short_writes_writes_all(var_dir: Path, size_max: int) -> None:
    """Short writes are continued until the file is whole."""
    files = FaultFiles()
    files.write_bytes_max = size_max
    write_atomic(var_dir / "state.json", NEW, files=files)

    assert (var_dir / "state.json").read_bytes() == NEW


@pytest.mark.parametrize("error", [InterruptedError(errno.EINTR, ""), BlockingIOError(11, "")])
def test_write_atomic_interrupted_goes_on(var_dir: Path, error: OSError) -> None:
    """A signal during a write neither loses nor repeats a byte."""
    files = FaultFiles()
    files.write_bytes_max = 50
    seen = [0]

    def fault(call: str, _name: str) -> OSError | None:
        seen[0] += call == "pwrite"
        return error if call == "pwrite" and seen[0] % 2 else None

    files.fault = fault
    write_atomic(var_dir / "state.json", NEW, files=files)

    assert (var_dir / "state.json").read_bytes() == NEW


@pytest.mark.skipif(sys.platform == "win32", reason="there rights belong to the folder, not a mode")
@pytest.mark.row("F145")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_files_and_folders_are_private_whatever_the_umask(var_dir: Path, umask: int) -> None:
    """Files are 0600 and folders 0700 under any umask."""
    old = os.umask(umask)
    try:
        ensure_folder(var_dir / "a" / "b")
        write_atomic(var_dir / "a" / "b" / "state.json", NEW)
    finally:
        os.umask(old)

    assert (var_dir / "a").stat().st_mode & 0o777 == 0o700
    assert (var_dir / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (var_dir / "a" / "b" / "state.json").stat().st_mode & 0o777 == 0o600


def test_read_hashed_through_a_planted_link_is_refused(var_dir: Path) -> None:
    """A link in the place of a file is refused."""
    target = var_dir / "elsewhere.json"
    write_hashed(target, {"a": 1})
    (var_dir / "cursor.json").symlink_to(target)
    with pytest.raises(RunStop) as caught:
        read_hashed(var_dir / "cursor.json")

    assert caught.value.reason_code == "PERMISSIONS_UNSAFE"


def test_write_atomic_in_the_place_of_a_link_leaves_its_target(var_dir: Path) -> None:
    """A write in the place of a link replaces the link; its target is untouched."""
    target = var_dir / "elsewhere"
    target.write_bytes(OLD)
    (var_dir / "state.json").symlink_to(target)
    write_atomic(var_dir / "state.json", NEW)

    assert target.read_bytes() == OLD
    assert not (var_dir / "state.json").is_symlink()


def test_write_atomic_replaces_no_pipe_and_no_device(var_dir: Path) -> None:
    """A FIFO, a link to a device and a link as `/dev/stdout` is stay what they are."""
    if sys.platform == "win32":
        pytest.skip("FIFOs and /proc are missing on Windows")
    os.mkfifo(var_dir / "pipe")
    (var_dir / "null").symlink_to("/dev/null")
    (var_dir / "stdout").symlink_to("/proc/self/fd/1")
    before = _identities(var_dir)
    for name in before:
        with pytest.raises(RunStop, match="PERMISSIONS_UNSAFE"):
            write_atomic(var_dir / name, NEW)

    assert _identities(var_dir) == before


def _identities(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return inode, mode and time of the last change of all in a folder; reading is no change."""
    found = {path.name: path.lstat() for path in folder.iterdir()}
    return {name: (each.st_ino, each.st_mode, each.st_ctime_ns) for name, each in found.items()}


def test_write_atomic_in_a_linked_folder_is_refused(var_dir: Path) -> None:
    """A folder that is a link is refused."""
    (var_dir / "real").mkdir()
    (var_dir / "linked").symlink_to(var_dir / "real")
    with pytest.raises(RunStop) as caught:
        write_atomic(var_dir / "linked" / "state.json", NEW)

    assert caught.value.reason_code == "PERMISSIONS_UNSAFE"
    assert os.listdir(var_dir / "real") == []


def test_read_hashed_of_a_fifo_is_refused_at_once(var_dir: Path) -> None:
    """A FIFO in the place of a file is refused at once, neither read nor waited for."""
    if sys.platform == "win32":
        pytest.skip("Windows has no FIFO among its files")
    os.mkfifo(var_dir / "cursor.json")
    with pytest.raises(RunStop) as caught:
        read_hashed(var_dir / "cursor.json")

    assert caught.value.reason_code == "PERMISSIONS_UNSAFE"


@pytest.mark.row("U-18", "N-83")
def test_hashed_file_counts_generations_and_returns_what_was_written(var_dir: Path) -> None:
    """Each write raises the generation by one; object and generation are read back."""
    path = var_dir / "cursor.json"

    assert write_hashed(path, {"b": [1, None], "a": "ü"}) == 1
    assert write_hashed(path, read_hashed(path)) == 2
    obj = read_hashed(path)
    assert (obj.pop("generation"), len(obj.pop("sha256"))) == (2, 64)
    assert obj == {"b": [1, None], "a": "ü"}


@pytest.mark.row("U-18", "N-83", "N-123")
def test_hashed_file_with_any_bit_flipped_is_a_violation(var_dir: Path) -> None:
    """A flipped bit anywhere is found by the file's own hash."""
    path = var_dir / "cursor.json"
    write_hashed(path, {"seq": 12, "queue": "fills"})
    size = path.stat().st_size
    for bit in range(8 * size):
        change(path, bit // 8, 1 << bit % 8)
        with pytest.raises(IntegrityError) as caught:
            read_hashed(path)
        assert caught.value.reason_code == "ATOMICITY_VIOLATION"
        change(path, bit // 8, 1 << bit % 8)
    read_hashed(path)


@pytest.mark.row("U-18", "N-83", "F43")
@pytest.mark.fault("F43", by="a critical file cut at every byte", ends="STOP(ATOMICITY_VIOLATION)")
def test_hashed_file_cut_at_any_byte_is_a_violation(var_dir: Path) -> None:
    """A file cut at any byte, empty or missing, is a violation."""
    path = var_dir / "cursor.json"
    write_hashed(path, {"seq": 12})
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(IntegrityError) as caught:
            read_hashed(path)
        assert caught.value.reason_code == "ATOMICITY_VIOLATION"
    path.unlink()
    with pytest.raises(IntegrityError) as caught:
        read_hashed(path)
    assert caught.value.reason_code == "ATOMICITY_VIOLATION"


def test_temp_file_of_a_dead_process_with_the_same_pid_is_in_nobodys_way(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container a dead process had the same pid and numbers; its temp file is passed over."""
    path = var_dir / "cursor.json"
    monkeypatch.setattr("minibot.kernel.files._temp_numbers", itertools.count())
    left = [f"{path.name}.{os.getpid()}-{number}.tmp" for number in range(3)]
    for name in left:
        (var_dir / name).write_bytes(b"half")

    write_atomic(path, NEW)

    assert path.read_bytes() == NEW
    assert sorted(os.listdir(var_dir)) == sorted([path.name, *left])


def test_write_atomic_gives_up_where_every_temp_name_is_taken(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that says of each name that it exists is a STOP, not an endless search."""
    path = var_dir / "cursor.json"
    write_atomic(path, OLD)
    monkeypatch.setattr("minibot.kernel.files._temp_numbers", itertools.repeat(7))
    (var_dir / f"{path.name}.{os.getpid()}-7.tmp").write_bytes(b"half")

    with pytest.raises(RunStop) as caught:
        write_atomic(path, NEW)
    assert (caught.value.reason_code, path.read_bytes()) == ("IO_EIO", OLD)


def test_remove_temps_takes_leftovers_of_its_own_file_alone(var_dir: Path) -> None:
    """Only temp files of the file itself are removed; others stay."""
    write_atomic(var_dir / "cursor.json", OLD)
    (var_dir / "cursor.json.123-0.tmp").write_bytes(b"half")
    (var_dir / "cursor.jsonx.123-0.tmp").write_bytes(b"half")
    remove_temps(var_dir / "cursor.json")

    assert sorted(os.listdir(var_dir)) == ["cursor.json", "cursor.jsonx.123-0.tmp"]


@pytest.mark.row("F59")
@pytest.mark.fault("F59", by="disk calls of every kind, seen while they run", ends="SURVIVE")
def test_disk_call_in_flight_is_seen_until_it_returns(var_dir: Path) -> None:
    """Each call that can wait for the disk is visible meanwhile, also one that fails."""
    files = FaultFiles()
    seen: dict[str, int] = {}

    def look(call: str, _name: str) -> OSError | None:
        seen[call] = DISK_CALLS.since_ns()
        return OSError(errno.EIO, "planted") if call == "replace" else None

    writer = open_journal(var_dir, files=files)
    files.fault = look
    before = files.monotonic_ns()
    writer.append([line_of(1)])
    with pytest.raises(RunStop, match="planted"):
        write_atomic(var_dir / "cursor.json", NEW, files=files)

    for call in ("pwrite", "datasync", "open", "sync", "replace"):
        assert before <= seen[call] <= files.monotonic_ns(), call
    assert DISK_CALLS.since_ns() == 0
    writer.close()


def test_hashed_file_with_more_behind_its_end_is_not_called_cut_off_alone(tmp_path: Path) -> None:
    """A blank that an editor appended is no lost end; the message allows for both."""
    path = tmp_path / "manifest.json"
    write_hashed(path, {"a": 1}, generation=1)
    with path.open("a") as file:
        file.write(" ")

    with pytest.raises(IntegrityError, match="or more stands behind its end"):
        read_hashed(path)
