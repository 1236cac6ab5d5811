"""Failing system calls of a real writer: by strace in the kernel, by a shim before it.

A sweep forks a process for every single call of a scenario and lets that call fail. Each must end
as the fault list says; after the next start no acknowledged line is missing and no false one
exists. `docs/TESTING.md` says how.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed, write_hashed
from tests.kernel.independent import assert_evidence, assert_kept, everything, published
from tests.kernel.injection import Completed, run_victim, shim, strace
from tests.kernel.kernel_support import json_of, line_of, lines_of, open_journal

# Invariants checked after each fault, as far as they apply.
pytestmark = [pytest.mark.row("I1", "I2", "I3", "I10"), pytest.mark.campaign]
ALL = [json_of(number) for number in range(1, 101)]
SEGMENT = 700  # Some ten lines: five batches of three rotate once.


def recovered(folder: Path, said: Completed, **options: Any) -> list[bytes]:
    """Let the next writer start and append; assert I1 to I3; return the published lines."""
    torn = (folder / "inbox.jsonl").read_bytes() if (folder / "inbox.jsonl").exists() else b""
    writer = open_journal(folder, **options)
    writer.append([line_of(writer.position.seq + 1)])
    writer.close()
    found = assert_kept(folder, ALL[: said.last("ack")], ALL)
    if torn and not list(folder.glob("segments.json")):
        assert_evidence(folder, torn)
    return found


def refused_again(folder: Path) -> str:
    """Return the code with which the next writer is refused; the refusal changes nothing."""
    before = everything(folder)
    with pytest.raises(RunStop) as caught:
        open_journal(folder)
    assert everything(folder) == before
    return caught.value.reason_code


# --- one call, by strace ------------------------------------------------------------------------


@pytest.mark.real_injection("strace")
@pytest.mark.row("F03")
@pytest.mark.fault("F03", by="strace: every third pwrite64 gives EINTR or EAGAIN", ends="SURVIVE")
@pytest.mark.parametrize("error", ["EINTR", "EAGAIN"])
def test_interrupted_writes_of_a_real_process_double_no_byte(var_dir: Path, error: str) -> None:
    """Interrupted writes give exactly the intended journal, byte for byte."""
    how = f"error={error}:when=1+3"
    done = run_victim("append", var_dir, wrap=strace("pwrite64", how))

    assert (done.code, done.last("closed")) == (0, 15)
    assert (var_dir / "inbox.jsonl").read_bytes() == b"".join(lines_of(1, 15))
    assert published(var_dir) == ALL[:15]


@pytest.mark.real_injection("strace")
@pytest.mark.row("F04", "F05")
@pytest.mark.fault("F04", by="strace: pwrite64 gives ENOSPC", ends="STOP(IO_ENOSPC)")
@pytest.mark.fault("F05", by="strace: pwrite64 gives EIO", ends="STOP(IO_EIO)")
@pytest.mark.parametrize(("error", "code"), [("ENOSPC", "IO_ENOSPC"), ("EIO", "IO_EIO")])
@pytest.mark.parametrize("when", [3, 5, 6])
def test_failed_write_of_a_real_process_stops_it(
    var_dir: Path, error: str, code: str, when: int
) -> None:
    """A failed write of data or head stops the process without retry; recovery finds all lines."""
    done = run_victim("append", var_dir, wrap=strace("pwrite64", f"error={error}:when={when}"))

    assert (done.code, done.reason) == (10, code)
    assert done.last("ack") < 15
    assert len(recovered(var_dir, done)) >= done.last("ack") + 1


@pytest.mark.real_injection("strace")
@pytest.mark.row("F06", "F07")
@pytest.mark.fault(
    "F06", by="strace: fdatasync gives EIO once", ends="STOP(IO_FSYNC) at the first error"
)
@pytest.mark.fault("F07", by="strace: fdatasync gives ENOSPC once", ends="STOP(IO_FSYNC)")
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("is_eager", [True, False])
def test_sync_of_a_real_process_that_fails_once_ends_the_file(
    var_dir: Path, error: str, is_eager: bool
) -> None:
    """A failed sync leaves the head at the synced lines, and no later writer uses that file."""
    how = f"error={error}:when={3 if is_eager else 2}"
    done = run_victim("append", var_dir, wrap=strace("fdatasync", how), sync=is_eager)

    assert (done.code, done.reason) == (10, "IO_FSYNC")
    assert published(var_dir) == ALL[: done.last("ack")]
    assert done.last("ack") == (3 if is_eager else 15)
    assert refused_again(var_dir) == "IO_FSYNC"


@pytest.mark.real_injection("strace")
@pytest.mark.row("F41", "F42")
@pytest.mark.fault("F41", by="strace: rename gives EIO", ends="STOP(IO_RENAME)")
@pytest.mark.fault("F42", by="strace: the fsync of the folder gives EIO", ends="STOP(IO_FSYNC)")
@pytest.mark.parametrize(
    ("call", "when", "code", "stands"), [("rename", 2, "IO_RENAME", 1), ("fsync", 4, "IO_FSYNC", 2)]
)
def test_replacement_of_a_real_process_that_fails_leaves_old_or_new(
    var_dir: Path, call: str, when: int, code: str, stands: int
) -> None:
    """A failed rename leaves the old content, and a failed folder sync is no success."""
    done = run_victim("replace", var_dir, wrap=strace(call, f"error=EIO:when={when}"))

    assert (done.code, done.reason, done.last("ack")) == (10, code, 1)
    assert read_hashed(var_dir / "cursor.json")["generation"] == stands
    assert [path.name for path in var_dir.iterdir()] == ["cursor.json"]


@pytest.mark.real_injection("strace")
@pytest.mark.row("F40")
@pytest.mark.fault("F40", by="strace: SIGKILL at rename and at each fsync", ends="SURVIVE")
@pytest.mark.parametrize(("call", "when"), [("rename", 2), ("fsync", 3), ("fsync", 4)])
def test_replacement_killed_in_the_kernel_leaves_old_or_new(
    var_dir: Path, call: str, when: int
) -> None:
    """A replacement killed in the kernel leaves a valid file; the next process cleans up."""
    done = run_victim("replace", var_dir, wrap=strace(call, f"signal=KILL:when={when}"))

    assert done.code in (-9, 137)
    assert read_hashed(var_dir / "cursor.json")["generation"] in (1, 2)
    assert write_hashed(var_dir / "cursor.json", {}) in (2, 3)


@pytest.mark.real_injection("strace")
@pytest.mark.row("F59")
@pytest.mark.fault("F59", by="strace: fdatasync enters 100 ms late", ends="SURVIVE")
def test_slow_disk_loses_nothing(var_dir: Path) -> None:
    """A slow sync delays the acknowledgement and loses nothing."""
    done = run_victim("append", var_dir, wrap=strace("fdatasync", "delay_enter=100000"), batches=3)

    assert (done.code, done.last("closed")) == (0, 9)
    assert published(var_dir) == ALL[:9]


# --- the shim -----------------------------------------------------------------------------------


@pytest.mark.real_injection("cc")
@pytest.mark.row("F02")
@pytest.mark.fault("F02", by="shim: each write takes at most 1 or 50 bytes", ends="SURVIVE")
@pytest.mark.parametrize("size", [1, 50])
def test_short_writes_of_a_real_process_are_gone_on_from(var_dir: Path, size: int) -> None:
    """Short writes are continued, also for a head's slot."""
    done = run_victim("append", var_dir, environ={**shim(), "SHIM_HOW": f"short:{size}"})

    assert (done.code, done.last("closed")) == (0, 15)
    assert (var_dir / "inbox.jsonl").read_bytes() == b"".join(lines_of(1, 15))
    assert published(var_dir) == ALL[:15]


@pytest.mark.real_injection("cc")
@pytest.mark.row("F01")
@pytest.mark.fault("F01", by="shim: a write stops half-way and SIGKILL follows", ends="SURVIVE")
@pytest.mark.parametrize("write", [1, 3, 5])
def test_writer_killed_within_a_write_leaves_a_tail_that_is_repaired_once(
    var_dir: Path, write: int
) -> None:
    """A torn batch goes to quarantine once; a second start changes nothing."""
    done = run_victim("append", var_dir, environ={**shim(), "SHIM_HOW": f"half:{write}"})
    assert done.code == -9
    before = published(var_dir)
    writer = open_journal(var_dir)
    writer.close()
    again = open_journal(var_dir)
    again.close()

    assert writer.recovered.cut_bytes > 0
    assert again.recovered == (0, 0, None)
    assert assert_kept(var_dir, before, ALL) == ALL[: writer.position.seq]
    recovered(var_dir, done)


@pytest.mark.real_injection("cc")
@pytest.mark.row("F23")
@pytest.mark.fault(
    "F23", by="shim: half a slot is written, then SIGKILL", ends="SURVIVE with the other slot"
)
@pytest.mark.parametrize("write", [2, 4, 6])
def test_writer_killed_within_the_write_of_a_head_slot_leaves_the_other(
    var_dir: Path, write: int
) -> None:
    """A half-written slot leaves the other one; the next start publishes the synced batch."""
    done = run_victim("append", var_dir, environ={**shim(), "SHIM_HOW": f"half:{write}"})

    assert done.code == -9
    assert published(var_dir) == ALL[: done.last("ack")]
    assert len(recovered(var_dir, done)) == done.last("ack") + 3 + 1


@pytest.mark.real_injection("cc")
@pytest.mark.row("F48")
@pytest.mark.fault("F48", by="shim: flock grants everybody", ends="REFUSE")
def test_file_system_whose_locks_exclude_nobody_is_refused(var_dir: Path) -> None:
    """A file system whose locks exclude nobody is refused with a remedy before any write."""
    done = run_victim("append", var_dir, environ={**shim(), "SHIM_HOW": "nolock"})

    assert done.code == 2
    assert "REFUSE" in done.err
    assert "local disk" in done.err
    assert not (var_dir / "inbox.jsonl").exists()


# --- every call of a scenario -------------------------------------------------------------------


@pytest.fixture
def ram_dir(tmp_path: Path) -> Iterator[Path]:
    """Return a private folder in memory, where syncs cost nothing; else the usual one.

    Kills of processes do not affect files in memory.
    """
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="minibot-faults-", dir=shared))
    yield folder
    shutil.rmtree(folder)


class Swept(NamedTuple):
    """One child of a sweep: its folder and its outcome."""

    folder: Path
    said: Completed


def sweep(folder: Path, how: str, inner: dict[str, Any], **task: Any) -> list[Swept]:
    """Return the children of a sweep whose call existed, one for each call."""
    done = run_victim("sweep", folder, environ=shim(), how=how, inner=inner, **task)
    assert done.code == 0, done.err
    found = []
    for line in done.out:
        _, number, code, is_hit = line.split()
        if is_hit == "1":
            out, err = ((folder / f"{number}.{kind}").read_text() for kind in ("out", "err"))
            found.append(Swept(folder / number, Completed(int(code), out.splitlines(), err)))
    assert done.out[-1].endswith(" 0 0"), "the sweep ended before the scenario did"
    return found


@pytest.mark.real_injection("cc")
@pytest.mark.row("F28", "F01", "F45", "F46")
@pytest.mark.fault(
    "F28", "F01", "F45", "F46", by="shim: SIGKILL after and within each call", ends="SURVIVE"
)
@pytest.mark.parametrize("how", ["killed", "half"])
@pytest.mark.parametrize("is_eager", [True, False])
def test_writer_killed_at_any_call_of_appends_and_a_rotation_loses_nothing(
    ram_dir: Path, how: str, is_eager: bool
) -> None:
    """A kill at any call keeps every acknowledged line once, in order."""
    inner = {"do": "append", "segment_bytes": SEGMENT, "sync": is_eager}
    swept = sweep(ram_dir, how, inner)

    assert len(swept) > 50
    for folder, done in swept:
        assert done.code == -9
        recovered(folder, done, segment_bytes=SEGMENT)


@pytest.mark.real_injection("cc")
@pytest.mark.row("F04", "F05", "F06", "F07", "F41", "F42", "F56")
@pytest.mark.fault("F04", by="shim: each call gives ENOSPC", ends="STOP(IO_ENOSPC)")
@pytest.mark.fault("F05", by="shim: each call gives EIO", ends="STOP(IO_EIO)")
@pytest.mark.fault("F06", "F07", "F42", by="shim: each sync fails", ends="STOP(IO_FSYNC)")
@pytest.mark.fault("F41", by="shim: each rename fails", ends="STOP(IO_RENAME)")
@pytest.mark.fault("F56", by="shim: each call gives EMFILE", ends="STOP(FD_EXHAUSTED)")
@pytest.mark.parametrize(
    ("number", "codes"),
    [
        (errno.EIO, {"IO_EIO", "IO_FSYNC", "IO_RENAME"}),
        (errno.ENOSPC, {"IO_ENOSPC", "IO_FSYNC", "IO_RENAME"}),
        (errno.EROFS, {"IO_READONLY", "IO_FSYNC", "IO_RENAME"}),
        (errno.EMFILE, {"FD_EXHAUSTED", "IO_FSYNC", "IO_RENAME"}),
    ],
)
def test_any_call_of_appends_and_a_rotation_that_fails_is_a_stop_with_its_code(
    ram_dir: Path, number: int, codes: set[str]
) -> None:
    """A failure of any call is a STOP with a code, never a crash or a silent loss."""
    inner = {"do": "append", "segment_bytes": SEGMENT}
    swept = sweep(ram_dir, "errno", inner, value=number)
    reasons = set()
    for folder, done in swept:
        assert done.code == 10, done
        reasons.add(done.reason)
        if (folder / "inbox.suspect").exists():
            assert done.reason == "IO_FSYNC"
            assert refused_again(folder) == "IO_FSYNC"
            assert_kept(folder, ALL[: done.last("ack")], ALL)
        else:
            recovered(folder, done, segment_bytes=SEGMENT)

    # A lock that cannot be acquired is IO_EIO, whatever the error.
    assert reasons == codes | {"IO_EIO"}


@pytest.mark.real_injection("cc")
@pytest.mark.row("F40")
@pytest.mark.fault("F40", by="shim: SIGKILL after and within each call", ends="SURVIVE")
@pytest.mark.parametrize("how", ["killed", "half"])
def test_replacement_killed_at_any_call_leaves_old_or_new(ram_dir: Path, how: str) -> None:
    """A kill at any call leaves a whole file, no older than the last acknowledged one."""
    for folder, done in sweep(ram_dir, how, {"do": "replace"}):
        assert done.code == -9
        path = folder / "cursor.json"
        before = read_hashed(path)["generation"] if path.exists() else 0
        assert done.last("ack") <= before <= done.last("ack") + 1
        assert write_hashed(path, {}) == before + 1


@pytest.mark.real_injection("cc")
@pytest.mark.row("F160", "F01")
@pytest.mark.fault("F160", by="shim: SIGKILL at each call of a tail repair", ends="SURVIVE")
@pytest.mark.parametrize("how", ["killed", "half"])
def test_repair_killed_at_any_call_is_finished_by_the_next_start(ram_dir: Path, how: str) -> None:
    """A kill at any call of a repair leaves the torn bytes in quarantine before they are cut."""
    task = {"do": "append", "batches": 2}
    for folder, done in sweep(ram_dir, how, {**task, "batches": 0}, before=task):
        assert done.code == -9
        torn = b"".join(lines_of(1, 6)) + b"torn" * 9
        recovered(folder, Completed(0, ["ack 6"], ""))
        assert_evidence(folder, torn)
