"""Presence of a run: by its lock and its process, beside runs that start and end."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest

from minibot.kernel.canonical import JsonObject, encode
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed, write_hashed
from minibot.runtime import running
from minibot.runtime.current_note import CURRENT_FILE, ended_note
from minibot.runtime.paths import Var
from minibot.runtime.running import (
    STALE_MS,
    RunLock,
    is_held_unnamed,
    living_run,
    note_current,
    note_ended,
    process_mark,
    refuse_living,
    running_run,
)
from tests.waiting import DEADLINE_S

RUN_ID = "20251120_000000"
ASKED = 500
ASKER = """
import sys
from pathlib import Path
from minibot.runtime.paths import Var
from minibot.runtime.running import running_run
print("asking", flush=True)
while True:
    running_run(Var(Path(sys.argv[1])))
"""
HOLDER = """
import sys
from pathlib import Path
from minibot.runtime.paths import Var
from minibot.runtime.running import note_current, note_ended, RunLock
var = Var(Path(sys.argv[1]))
with RunLock(var):
    note_current(var, sys.argv[2])
    print("held", flush=True)
    sys.stdin.readline()
    note_ended(var, sys.argv[2])
print("ended", flush=True)
sys.stdin.readline()
"""


@contextmanager
def process(program: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that speaks and listens line by line, and end it."""
    child = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def heard(child: subprocess.Popen[str]) -> str:
    """Return a process's next line."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def told(child: subprocess.Popen[str]) -> None:
    """Let a waiting process continue."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


@pytest.fixture
def var(tmp_path: Path) -> Var:
    """Folder whose last run has ended, with its lock file and note."""
    var = Var(tmp_path)
    with RunLock(var):
        note_current(var, RUN_ID)
    return var


@pytest.mark.process
def test_another_who_asks_is_not_taken_for_a_run(var: Var) -> None:
    """Processes that ask for the lock at the same moment are not taken for a run."""
    with process(ASKER, str(var.root)) as asker:
        assert heard(asker) == "asking"
        # Whoever asks holds the lock for a moment, which a busy machine may stretch.
        answers = {running_run(var, DEADLINE_S) for _ in range(ASKED)}

    assert answers == {None}


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not unlink an open file")
def test_living_run_is_named_without_a_wait_for_its_lock(tmp_path: Path) -> None:
    """A question beside a run takes no lock, so `status` does not wait half a second for it."""
    var = Var(tmp_path)
    with process(HOLDER, str(tmp_path), RUN_ID) as holder:
        assert heard(holder) == "held"
        var.lock.unlink()
        var.lock.mkdir()  # Refused by whoever tries to lock it.

        assert running_run(var) == RUN_ID


@pytest.mark.usefixtures("run_goes_on")
def test_run_that_holds_the_lock_is_named(var: Var) -> None:
    """A run that holds the lock is named by its note."""
    with RunLock(var):
        assert running_run(Var(var.root)) == RUN_ID


@pytest.mark.process
@pytest.mark.row("N-06")
def test_run_is_known_by_its_process_though_all_lock_files_are_gone(tmp_path: Path) -> None:
    """A run without lock files is known by its process, and writers are refused."""
    var = Var(tmp_path)
    with process(HOLDER, str(tmp_path), RUN_ID) as holder:
        assert heard(holder) == "held"
        var.lock.unlink()
        asked = running_run(var)
        with pytest.raises(Refusal, match=f"the process of {RUN_ID} is alive") as refused:
            refuse_living(var)
        is_made_again = var.lock.exists()
        told(holder)
        assert heard(holder) == "ended"
        after = living_run(var)
        refuse_living(var)  # The process still exists, but writes nothing any more.

    assert (asked, is_made_again, after) == (RUN_ID, False, None)
    assert "minibot status" in refused.value.remedy


@pytest.mark.process
def test_process_that_has_the_id_of_a_former_launcher_is_not_taken_for_it(tmp_path: Path) -> None:
    """A process with a former launcher's id is not taken for it."""
    var = Var(tmp_path)
    with process(HOLDER, str(tmp_path), RUN_ID) as holder:
        assert heard(holder) == "held"
        note = read_hashed(var.root / CURRENT_FILE)
        write_hashed(var.root / CURRENT_FILE, {**note, "process": "another start"})

        assert living_run(var) is None
        assert process_mark(holder.pid) == note["process"]
    assert process_mark(holder.pid) is None


@pytest.mark.parametrize("is_its_own", [True, False])
def test_process_that_has_the_id_of_a_launcher_is_none_without_its_mark(
    tmp_path: Path, *, is_its_own: bool
) -> None:
    """A number that the system gave to another process keeps no run alive."""
    pid = os.getppid()
    mark = process_mark(pid) if is_its_own else "of another start"
    write_hashed(tmp_path / CURRENT_FILE, {"run_id": "R", "pid": pid, "process": mark})

    assert living_run(Var(tmp_path)) == ("R" if is_its_own else None)


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b"not json"])
def test_note_that_is_missing_or_damaged_names_no_process(tmp_path: Path, content: bytes) -> None:
    """A missing or damaged note names no process and stops no question."""
    if content is not None:
        (tmp_path / CURRENT_FILE).write_bytes(content)

    assert living_run(Var(tmp_path)) is None
    assert running_run(Var(tmp_path)) is None


@pytest.mark.usefixtures("run_goes_on")
def test_note_of_an_older_minibot_is_read(tmp_path: Path) -> None:
    """A note of an older minibot names its run while the lock is held."""
    var = Var(tmp_path)
    write_hashed(var.root / CURRENT_FILE, {"run_id": RUN_ID})

    assert running_run(var) is None
    with RunLock(var):
        assert running_run(Var(var.root)) == RUN_ID


@pytest.mark.usefixtures("run_goes_on")
@pytest.mark.parametrize("note", [None, b"half a no"])
def test_run_whose_note_is_lost_is_named_by_its_live_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: bytes | None
) -> None:
    """It goes on, as its lock shows; a status that is old, or of an end, may be another run's."""
    monkeypatch.setattr(running, "wall_ms", lambda: 1_000_000)
    var = Var(tmp_path)
    var.ops.mkdir()
    if note is not None:
        (tmp_path / CURRENT_FILE).write_bytes(note)

    def found(ended: JsonObject | None = None, age_ms: int = STALE_MS) -> str | None:
        status = {"run_id": RUN_ID, "ended": ended, "written_ms": 1_000_000 - age_ms}
        var.status.write_bytes(encode(status) + b"\n")
        return running_run(Var(var.root))

    assert found() is None  # Nobody holds the lock.
    with RunLock(var):
        assert found() == RUN_ID
        var.status.write_bytes(encode({"run_id": RUN_ID, "written_ms": "now"}))
        assert running_run(Var(var.root)) is None  # Written by no launcher.
        assert found(age_ms=STALE_MS + 1) is found(ended={"kind": "END"}) is None
        (tmp_path / CURRENT_FILE).unlink(missing_ok=True)
        write_hashed(tmp_path / CURRENT_FILE, ended_note(RUN_ID))
        assert found() is None


@pytest.mark.usefixtures("run_goes_on")
def test_start_that_has_not_come_to_its_run_is_not_taken_for_the_former_one(var: Var) -> None:
    """A start that holds the lock before its run is not taken for the former run."""
    note_ended(var, RUN_ID)
    with RunLock(var):
        assert running_run(Var(var.root)) is None


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has namespaces of processes")
def test_run_of_another_container_is_named_by_its_lock_and_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question, an end and a kill need not see the launcher's process."""
    var = Var(tmp_path)
    with process(HOLDER, str(tmp_path), RUN_ID) as holder:
        assert heard(holder) == "held"
        monkeypatch.setattr(running, "process_mark", lambda pid: None)
        assert running_run(var) is None  # In its own container it would have died.

        monkeypatch.setattr(running, "process_space", lambda: "pid:[1]")
        assert running_run(var) == RUN_ID
        told(holder)
        assert heard(holder) == "ended"
        assert running_run(var) is None


def test_end_of_a_run_leaves_the_note_of_another_alone(var: Var) -> None:
    """The end of a run leaves another run's note alone."""
    note_ended(var, "20251121_000000")

    assert read_hashed(var.root / CURRENT_FILE)["pid"] == os.getpid()


@pytest.mark.row("F145")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_lock_of_a_run_is_private_whatever_the_umask_and_whoever_made_it(tmp_path: Path) -> None:
    """A run lock is made private, whoever made it."""
    new, old = Var(tmp_path / "new"), Var(tmp_path / "old")
    for var in (new, old):
        var.root.mkdir()
    old.lock.touch()
    old.lock.chmod(0o644)
    former = os.umask(0)
    try:
        for var in (new, old):
            with RunLock(var):
                pass
    finally:
        os.umask(former)

    assert [stat.S_IMODE(var.lock.stat().st_mode) for var in (new, old)] == [0o600, 0o600]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege on Windows")
@pytest.mark.parametrize("what", ["folder", "link"])
def test_what_cannot_be_locked_is_a_refusal_that_names_it(tmp_path: Path, what: str) -> None:
    """A path that cannot be locked is refused by name without traceback."""
    var = Var(tmp_path / "var")
    var.root.mkdir()
    if what == "folder":
        var.lock.mkdir()
    else:
        var.lock.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Refusal, match=r"run\.lock cannot be locked"):
        running_run(var)
    assert not (tmp_path / "elsewhere").exists()


def test_lock_of_another_user_is_not_to_be_removed(tmp_path: Path) -> None:
    """Whoever removed it as told would end that user's night by LOCK_LOST."""
    if sys.platform == "win32":
        pytest.skip("Windows has no file that its mode closes to other users")
    var = Var(tmp_path / "var")
    var.root.mkdir(mode=0o755)
    var.lock.touch(mode=0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # Root may open everything.
    try:
        with pytest.raises(Refusal, match="another user") as refused:
            RunLock(var).acquire()
    finally:
        os.seteuid(user)

    assert "remove" not in refused.value.remedy


def test_second_who_wants_the_lock_is_told_of_the_first(tmp_path: Path) -> None:
    """A second holder is told about the first."""
    var = Var(tmp_path)
    with RunLock(var), pytest.raises(filelock.Timeout):
        RunLock(Var(tmp_path), 0.05).acquire()
    shutil.rmtree(tmp_path)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disk that became read-only, as after an error: files open to be read alone."""
    opened = os.open

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no file open to be read alone")
def test_question_on_a_read_only_disk_is_answered(var: Var, request: pytest.FixtureRequest) -> None:
    """`status` tells what happened although the disk of the run became read-only."""
    request.getfixturevalue("read_only")

    assert running_run(var) is None
    assert not is_held_unnamed(var)
    with pytest.raises(Refusal, match="Read-only") as refused:
        RunLock(var).acquire()
    assert "remove" not in refused.value.remedy


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no file open to be read alone")
def test_run_is_found_through_a_read_only_mount(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A run whose folder is mounted read-only here, and elsewhere writable, holds its lock."""
    var = Var(tmp_path)
    with process(HOLDER, str(tmp_path), RUN_ID) as holder:
        assert heard(holder) == "held"
        (var.root / CURRENT_FILE).unlink()
        request.getfixturevalue("read_only")

        assert is_held_unnamed(var)
