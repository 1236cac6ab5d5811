"""Backups: what is in one, what two share, and what a crash or a full disk leaves."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minibot.events.names import STOP_JOURNAL
from minibot.kernel.codes import IO_ENOSPC
from minibot.kernel.errors import IntegrityError, Refusal, RunStop
from minibot.kernel.files import parse_hashed, read_hashed, write_hashed
from minibot.kernel.lock import WriterLock
from minibot.kernel.seal import seal_run
from minibot.kernel.segments import load_segments
from minibot.runtime import backup as backup_module
from minibot.runtime.backup import LOCK_FILE, Backup, BackupFolder, read_backup
from minibot.runtime.current_note import CURRENT_FILE, LOST_QUEUES
from minibot.runtime.paths import Var
from minibot.runtime.running import note_lost
from tests.kernel.kernel_support import Crash, FaultFiles, failing, line_of
from tests.runtime.backups import RUN, append, open_var, read_back


@pytest.fixture
def var(tmp_path: Path) -> Var:
    """A `var` with an open run."""
    return open_var(tmp_path / "var")


def test_backup_holds_queues_up_to_their_heads_hints_models_and_no_lock(
    var: Var, tmp_path: Path
) -> None:
    """All that the run needs is inside, byte for byte; lines above a head are not."""
    inbox = var.queues / "signals" / "inbox.jsonl"
    whole = inbox.read_bytes()
    inbox.write_bytes(whole + b"sha256:half a li")
    folder = BackupFolder(tmp_path / "backups")

    taken = folder.take(var, RUN)

    found = read_back(folder, taken)
    assert found["queues/signals/inbox.jsonl"] == whole
    assert found["queues/signals/inbox.000001.jsonl"].endswith(b"\n")
    for name in ("manifest.json", "clock.json"):
        assert found[f"runs/{RUN}/{name}"] == (var.run(RUN) / name).read_bytes()
    assert found["ai/packs/model"] == b"model" * 100
    assert "queues/signals/cursor.json" in found
    assert not any(name.endswith((".lock", ".tmp")) for name in found)
    assert read_backup(taken.path) == taken


def test_backup_holds_a_journal_whose_head_is_gone(var: Var, tmp_path: Path) -> None:
    """Without a head no place of the cut is known: its files are taken whole, for the recovery."""
    journal = var.queues / "fills"
    (journal / "inbox.head").unlink()
    whole = {path.name: path.read_bytes() for path in journal.glob("inbox.*")}
    whole["segments.json"] = (journal / "segments.json").read_bytes()
    stops = var.root / f"{STOP_JOURNAL}.jsonl"
    stops.write_bytes(line_of(1))
    folder = BackupFolder(tmp_path / "backups")

    found = read_back(folder, folder.take(var, RUN))

    assert len(whole) == 3
    assert {name: found.get(f"queues/fills/{name}") for name in whole} == whole
    assert found.get(stops.name) == line_of(1)
    assert "queues/fills/inbox.head" not in found
    assert "queues/signals/inbox.head" in found


def test_backup_keeps_the_losses_of_a_recovery_that_was_killed(var: Var, tmp_path: Path) -> None:
    """Losses from before a recovery stand in the note of the backup, as nowhere else."""
    lost = note_lost(var, RUN, ["QUEUE_MISSING: fills/inbox: its files are gone"])
    folder = BackupFolder(tmp_path / "copies")

    note = read_back(folder, folder.take(var, RUN))[CURRENT_FILE]

    assert parse_hashed(note, tmp_path)[LOST_QUEUES] == lost


def test_second_backup_shares_sealed_segments_and_what_did_not_change(
    var: Var, tmp_path: Path
) -> None:
    """A sealed segment is copied once: a later backup reads and writes only what is new."""
    folder = BackupFolder(tmp_path / "backups")
    first = folder.take(var, RUN)
    sealed = load_segments(var.queues / "signals", "inbox")[0]
    append(var, "signals", 61, 30)
    files = FaultFiles()

    second = BackupFolder(tmp_path / "backups", files=files).take(var, RUN)

    name = f"queues/signals/{sealed.name}"
    assert second.files[name] == first.files[name]
    assert f"look {sealed.name}" not in files.calls
    assert len(second.files) > len(first.files)
    assert read_back(folder, first).keys() == first.files.keys()


@pytest.mark.slow
def test_crash_at_any_change_leaves_only_whole_backups(var: Var, tmp_path: Path) -> None:
    """Whatever call kills the process, every backup that counts reads back whole."""
    crashes = 0
    while True:
        place = tmp_path / str(crashes) / "backups"
        place.parent.mkdir()
        files = FaultFiles()
        files.crash_at = crashes
        try:
            taken = BackupFolder(place, files=files).take(var, RUN)
        except Crash:
            files.kill()
        else:
            break
        folder = BackupFolder(place)
        for path in folder.taken():
            read_back(folder, read_backup(path))
        again = folder.take(var, RUN)
        assert read_back(folder, again)
        crashes += 1
    assert crashes > 50
    assert taken.path in BackupFolder(place).taken()


def test_list_and_content_are_durable_in_the_order_in_which_one_needs_the_other(
    var: Var, tmp_path: Path
) -> None:
    """After a power loss too no list names a content that is not there.

    Content has its durable name before a list names it, and a list that goes is gone for good
    before its content is removed.
    """
    files = FaultFiles()
    folder = BackupFolder(tmp_path / "backups", files=files)
    first = folder.take(var, RUN)
    taking = files.calls.copy()
    for at in (61, 71, 81):
        append(var, "signals", at, 10)
        folder.take(var, RUN)
    files.calls.clear()
    folder.keep(1)

    stored = max(at for at, call in enumerate(taking) if call == "sync_folder content")
    assert stored < taking.index(f"replace {first.path.name}")
    assert not any(call.startswith("pwrite incoming") for call in taking[stored:])
    removed = [call for call in files.calls if call.startswith("unlink ")]
    lists = [call for call in removed if call.endswith(".json")]
    assert removed[: len(lists)] == lists
    between = files.calls[files.calls.index(lists[-1]) : files.calls.index(removed[len(lists)])]
    assert "sync_folder backups" in between


def test_keep_removes_the_oldest_and_only_what_no_other_names(var: Var, tmp_path: Path) -> None:
    """The newest stay whole; content that none of them names is freed."""
    folder = BackupFolder(tmp_path / "backups")
    taken = [folder.take(var, RUN)]
    for first in (61, 71, 81):
        append(var, "signals", first, 10)
        taken.append(folder.take(var, RUN))

    freed = folder.keep(2)

    assert freed > 0
    assert folder.taken() == [one.path for one in taken[-2:]]
    for one in taken[-2:]:
        read_back(folder, one)
    named = {content.sha256 for one in taken[-2:] for content in one.files.values()}
    assert {path.name for path in folder.store.folder.iterdir()} == named


@pytest.mark.parametrize("back_ms", [0, 1, 86_400_000])
def test_newest_backup_is_the_one_taken_last_whatever_the_clock_shows(
    var: Var, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back_ms: int
) -> None:
    """A clock that was set back neither hides the newest backup nor has it removed."""
    folder, now_ms = BackupFolder(tmp_path / "backups"), 1_767_225_600_000
    monkeypatch.setattr(backup_module, "wall_ms", lambda: now_ms)
    folder.take(var, RUN)
    now_ms -= back_ms
    append(var, "fills", 61, 1)
    last = folder.take(var, RUN)

    assert [path for path in folder.taken() if path != last.path] == folder.taken()[:1]
    assert last.taken_ms == now_ms
    folder.keep(1)
    assert folder.taken() == [last.path]
    assert read_backup(last.path) == last


def test_backup_just_taken_stays_although_another_process_takes_one(
    var: Var, tmp_path: Path
) -> None:
    """The turn to remove never costs the process its own backup."""
    folder = BackupFolder(tmp_path / "backups")
    folder.take(var, RUN)
    own, other = folder.take(var, RUN), BackupFolder(folder.folder).take(var, RUN)

    folder.keep(1)

    assert folder.taken() == [own.path, other.path]


def test_crash_while_the_oldest_go_leaves_the_others_whole(var: Var, tmp_path: Path) -> None:
    """A list goes before its content, so no list that stands lacks a content."""
    crashes = 0
    while True:
        place = tmp_path / str(crashes) / "backups"
        place.parent.mkdir()
        folder = BackupFolder(place)
        folder.take(var, RUN)
        append(var, "fills", 61 + crashes, 1)
        folder.take(var, RUN)
        files = FaultFiles()
        files.crash_at = crashes
        try:
            BackupFolder(place, files=files).keep(1)
        except Crash:
            files.kill()
        else:
            break
        standing = folder.taken()
        assert standing
        for path in standing:
            read_back(folder, read_backup(path))
        crashes += 1
    assert crashes > 2


def test_damaged_list_keeps_all_content(var: Var, tmp_path: Path) -> None:
    """A backup that cannot be read keeps every file: nobody knows which ones it names."""
    folder = BackupFolder(tmp_path / "backups")
    first = folder.take(var, RUN)
    append(var, "fills", 61, 1)
    last = folder.take(var, RUN)
    last.path.write_bytes(b"{}\n")
    before = set(folder.store.folder.iterdir())

    with pytest.raises(IntegrityError):
        folder.keep(1)

    assert set(folder.store.folder.iterdir()) == before
    assert folder.taken() == [first.path, last.path]


def test_full_disk_and_too_little_room_leave_no_backup_and_the_run_as_it_was(
    var: Var, tmp_path: Path
) -> None:
    """A backup never takes the room that the run needs, and a full disk leaves no list."""
    files = FaultFiles()
    files.fault = failing("pwrite", "", errno.ENOSPC, times=10**6)
    before = {path: path.read_bytes() for path in var.root.rglob("*") if path.is_file()}

    with pytest.raises(RunStop) as raised:
        BackupFolder(tmp_path / "backups", files=files).take(var, RUN)
    with pytest.raises(Refusal, match="free"):
        BackupFolder(tmp_path / "backups", free_min=1 << 62).take(var, RUN)

    assert raised.value.reason_code == IO_ENOSPC
    assert BackupFolder(tmp_path / "backups").taken() == []
    assert {path: path.read_bytes() for path in before} == before


def test_backup_onto_a_full_disk_names_the_free_bytes_and_no_debt(
    var: Var, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with three bytes free is told as such, never as one that would hold less than none."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3))
    folder = BackupFolder(tmp_path / "backups")

    with pytest.raises(Refusal) as refused:
        folder.take(var, RUN)

    said = refused.value.message.removeprefix(str(folder.folder))
    assert " 3 bytes" in said
    assert "-" not in said
    assert folder.taken() == []


def test_backup_inside_the_var_of_no_run_or_beside_another_is_refused(
    var: Var, tmp_path: Path
) -> None:
    """A folder in `var`, a run without queues, a missing disk and a second process are refused."""
    with pytest.raises(Refusal):
        BackupFolder(var.root / "backups").take(var, RUN)
    with pytest.raises(Refusal):
        BackupFolder(tmp_path).take(var, RUN)
    with pytest.raises(Refusal):
        BackupFolder(tmp_path / "backups").take(var, "20260106_200000")
    with pytest.raises(Refusal, match="not mounted does not exist"):
        BackupFolder(tmp_path / "not mounted" / "backups").take(var, RUN)
    lock = WriterLock(tmp_path / "backups" / LOCK_FILE)
    with pytest.raises(Refusal):
        BackupFolder(tmp_path / "backups").take(var, RUN)
    lock.close()

    assert BackupFolder(tmp_path / "backups").take(var, RUN).run_id == RUN


def test_copy_of_a_run_under_a_name_of_its_own_is_refused(var: Var, tmp_path: Path) -> None:
    """Backups of it could neither be found nor restored, and the next `keep` would empty them."""
    seal_run(var.queues, var.run(RUN))
    shutil.copytree(var.run(RUN), var.run("copy of a night"))

    with pytest.raises(Refusal, match="minibot bundle 'copy of a night'"):
        BackupFolder(tmp_path / "backups").take(var, "copy of a night")

    assert not (tmp_path / "backups").exists()


def test_standing_flag_is_backed_up_whatever_it_is(var: Var, tmp_path: Path) -> None:
    """A STOP stands in the restored `var` too: a file as it is, anything else as an empty one."""
    folder = BackupFolder(tmp_path / "backups")
    var.flag.symlink_to(tmp_path / "nowhere")
    assert read_back(folder, folder.take(var, RUN))["STOP.flag"] == b""
    var.flag.unlink()
    var.flag.write_bytes(b"stopped")

    assert read_back(folder, folder.take(var, RUN))["STOP.flag"] == b"stopped"


def test_stop_of_a_sealed_run_stands_in_the_restored_var_too(var: Var, tmp_path: Path) -> None:
    """No night carries on from a stopped one before a person cleared it; another's is not its."""
    folder = BackupFolder(tmp_path / "backups")
    seal_run(var.queues, var.run(RUN))
    assert "STOP.flag" not in folder.take(var, RUN).files

    for run_id, is_inside in ((RUN, True), ("20260106_200000", False)):
        var.flag.unlink(missing_ok=True)
        write_hashed(var.flag, {"run_id": run_id, "role": "risk_role"})
        assert ("STOP.flag" in folder.take(var, RUN).files) is is_inside
    var.flag.write_bytes(b"by hand")
    assert read_back(folder, folder.take(var, RUN))["STOP.flag"] == b"by hand"


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc/passwd",
        "queues/../../outside",
        "queues\\..\\outside",
        "queues//inbox.jsonl",
        "queues",
        "runs/20250101_000000/manifest.json",
        f"runs/{RUN}",
        "run.lock",
        "logs/ops.err.log",
        "ai/con",
        "C:/x",
        "",
    ],
)
def test_list_that_names_a_path_outside_is_damaged(var: Var, tmp_path: Path, name: str) -> None:
    """No list leads a restore out of its folder, whoever wrote it with a right sha256."""
    taken = BackupFolder(tmp_path / "backups").take(var, RUN)
    forge(taken, name)

    with pytest.raises(IntegrityError):
        read_backup(taken.path)


def forge(taken: Backup, name: str, **changes: Any) -> None:
    """Write a backup's list anew with one more path."""
    fields = read_hashed(taken.path)
    fields["files"][name] = next(iter(fields["files"].values()))
    write_hashed(taken.path, fields | changes)
