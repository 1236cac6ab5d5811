"""Seal of a run: every file linked, measured, and only then released."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from minibot.kernel.codes import QUEUE_MISSING
from minibot.kernel.errors import IntegrityError, LockBusy, Refusal, RunStop
from minibot.kernel.files import read_hashed
from minibot.kernel.queue import make_queue, open_writer
from minibot.kernel.seal import release, root_of, seal_run
from minibot.kernel.verify import verify_tree
from tests.kernel.kernel_run import EXTRA, copy_run, make_run, sealed_run
from tests.kernel.kernel_support import Crash, FaultFiles, lines_of
from tests.kernel.kernel_support import change as damage_byte

pytestmark = pytest.mark.campaign


def names_below(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder except locks, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.mark.row("N-08")
def test_seal_links_every_file_and_says_what_each_is(var_dir: Path) -> None:
    """The run's folder has the same files; the seal lists size and sha256 of each."""
    run = make_run(var_dir)
    before = names_below(var_dir / "queues")
    root = seal_run(var_dir / "queues", run, EXTRA)
    seal = read_hashed(run / "seal.json")

    assert names_below(run / "queues") == before
    assert set(seal["files"]) == {f"queues/{name}" for name in before}
    assert seal["root"] == root == root_of(seal)
    assert set(seal["run_files"]) == {"manifest.json", "clock.json"}
    for name, data in before.items():
        assert seal["files"][f"queues/{name}"]["size"] == len(data)
        ours, theirs = var_dir / "queues" / name, run / "queues" / name
        assert ours.stat().st_ino == theirs.stat().st_ino


@pytest.mark.process
@pytest.mark.row("N-08")
def test_seal_is_confirmed_by_sha256sum(var_dir: Path) -> None:
    """`sha256sum` confirms the seal."""
    run = sealed_run(var_dir)
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=run, capture_output=True, check=False).returncode == 0
    with (run / "queues" / "fills" / "inbox.jsonl").open("ab") as file:
        file.write(b" ")

    assert subprocess.run(command, cwd=run, capture_output=True, check=False).returncode == 1


def test_release_removes_the_names_under_var_and_keeps_the_run(var_dir: Path) -> None:
    """Release removes the names under var; the run's remain, and locks stay."""
    run = sealed_run(var_dir)
    before = names_below(run)
    release(var_dir / "queues", run)

    assert names_below(var_dir / "queues") == {}
    assert (var_dir / "queues" / "fills" / "writer.lock").exists()
    assert names_below(run) == before
    assert list(verify_tree(run)) == []
    release(var_dir / "queues", run)


def test_last_copy_of_a_sealed_file_is_kept_and_called_so(var_dir: Path) -> None:
    """A file that the run's folder has lost is not removed under var too, nor called foreign."""
    run = sealed_run(var_dir)
    before = names_below(var_dir / "queues")
    lost = run / "queues" / "fills" / "inbox.jsonl"
    lost.unlink()

    with pytest.raises(IntegrityError, match=re.escape(str(lost))) as refused:
        release(var_dir / "queues", run)

    assert refused.value.reason_code == QUEUE_MISSING
    assert names_below(var_dir / "queues") == before
    shutil.copyfile(var_dir / "queues" / "fills" / "inbox.jsonl", lost)
    release(var_dir / "queues", run)
    assert list(verify_tree(run)) == []


def test_last_whole_copy_of_a_sealed_file_is_kept_where_links_do_not_exist(var_dir: Path) -> None:
    """A file of which the run's own copy is damaged is not removed under var."""
    run = make_run(var_dir)
    files = FaultFiles()
    files.fault = _no_links
    seal_run(var_dir / "queues", run, EXTRA, files=files)
    before = names_below(var_dir / "queues")
    damaged = run / "queues" / "fills" / "inbox.jsonl"
    damage_byte(damaged, 100)

    with pytest.raises(IntegrityError, match=re.escape(str(damaged))) as refused:
        release(var_dir / "queues", run)

    assert refused.value.reason_code == QUEUE_MISSING
    assert "is not as it was sealed" in refused.value.detail
    assert names_below(var_dir / "queues") == before
    shutil.copyfile(var_dir / "queues" / "fills" / "inbox.jsonl", damaged)
    release(var_dir / "queues", run)
    assert list(verify_tree(run)) == []


def test_next_run_starts_on_empty_queues_and_leaves_the_sealed_ones(var_dir: Path) -> None:
    """The next run starts on empty queues, and the sealed run does not change."""
    run = sealed_run(var_dir)
    root = read_hashed(run / "seal.json")["root"]
    release(var_dir / "queues", run)
    make_queue(var_dir / "queues", "fills", "risk_role")
    writer = open_writer(var_dir / "queues", "fills")
    assert writer.position.seq == 0
    writer.append(lines_of(900, 3))
    writer.close()

    assert seal_run(var_dir / "queues", run, EXTRA) == root
    assert list(verify_tree(run)) == []
    with pytest.raises(IntegrityError):
        release(var_dir / "queues", run)
    assert (var_dir / "queues" / "fills" / "inbox.jsonl").stat().st_size > 0


def test_seal_where_links_do_not_exist_copies(var_dir: Path) -> None:
    """Without hard links the seal copies."""
    run = make_run(var_dir)
    files = FaultFiles()
    files.fault = lambda call, _name: OSError(errno.EPERM, "no links") if call == "link" else None
    seal_run(var_dir / "queues", run, EXTRA, files=files)

    assert names_below(run / "queues") == names_below(var_dir / "queues")
    assert list(verify_tree(run)) == []
    release(var_dir / "queues", run)
    assert names_below(var_dir / "queues") == {}


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("has_links", [True, False])
def test_seal_and_release_crashing_at_any_step_are_resumed(
    var_dir: Path, is_after: bool, has_links: bool
) -> None:
    """A crash at any step is resumed by the next call, with the same seal."""
    make_run(var_dir / "reference")
    content = names_below(var_dir / "reference" / "queues")
    roots = set()
    step = 0
    while True:
        var = var_dir / str(step)
        run = copy_run(var_dir / "reference", var)
        files = FaultFiles()
        if not has_links:
            files.fault = _no_links
        files.crash_at, files.crash_after = step, is_after
        try:
            seal_run(var / "queues", run, EXTRA, files=files)
            release(var / "queues", run, files=files)
            is_done = True
        except Crash:
            is_done = False
            files.kill()
        roots.add(seal_run(var / "queues", run, EXTRA, files=FaultFiles()))
        release(var / "queues", run, files=FaultFiles())
        assert names_below(run / "queues") == content
        assert list(verify_tree(run)) == []
        assert names_below(var / "queues") == {}
        if is_done:
            break
        step += 1 + step // 12  # Every early step, then a sample of the many similar ones.

    assert step > 40
    assert len(roots) == 1


def _no_links(call: str, _name: str) -> OSError | None:
    return OSError(errno.EPERM, "no links") if call == "link" else None


def test_seal_while_a_writer_is_open_is_refused(var_dir: Path) -> None:
    """Sealing is refused while a writer is open."""
    run = make_run(var_dir)
    writer = open_writer(var_dir / "queues", "fills")
    with pytest.raises(LockBusy):
        seal_run(var_dir / "queues", run, EXTRA)
    assert not (run / "seal.json").exists()
    writer.close()
    seal_run(var_dir / "queues", run, EXTRA)


def test_release_of_queues_that_are_not_the_sealed_ones_removes_nothing(var_dir: Path) -> None:
    """A line written after the seal is foreign, so release removes nothing."""
    run = make_run(var_dir)
    files = FaultFiles()
    files.fault = _no_links
    seal_run(var_dir / "queues", run, EXTRA, files=files)
    writer = open_writer(var_dir / "queues", "fills")
    writer.append(lines_of(50, 1))
    writer.close()
    before = names_below(var_dir / "queues")
    with pytest.raises(IntegrityError) as caught:
        release(var_dir / "queues", run)

    assert caught.value.reason_code == "QUEUE_FOREIGN_WRITE"
    assert names_below(var_dir / "queues") == before


def test_release_with_a_file_held_by_a_foreign_program_is_refused_by_name(var_dir: Path) -> None:
    """A file held by another program (Windows) refuses the next start by name."""
    run = sealed_run(var_dir)
    files = FaultFiles()

    def fault(call: str, name: str) -> OSError | None:
        if call == "unlink" and name == "inbox.head":
            error = PermissionError(errno.EACCES, "held by another program")
            error.winerror = 32  # type: ignore[attr-defined,unused-ignore]
            return error
        return None

    files.fault = fault
    with pytest.raises(Refusal, match=r"inbox\.head"):
        release(var_dir / "queues", run, files=files)
    files.fault = lambda _call, _name: None
    release(var_dir / "queues", run, files=files)
    assert names_below(var_dir / "queues") == {}


def test_seal_of_a_tree_with_a_planted_link_is_refused(var_dir: Path) -> None:
    """A planted link refuses the seal (F143)."""
    run = make_run(var_dir)
    (var_dir / "queues" / "fills" / "extra.jsonl").symlink_to("/etc/hostname")
    with pytest.raises(RunStop) as caught:
        seal_run(var_dir / "queues", run, EXTRA)

    assert caught.value.reason_code == "PERMISSIONS_UNSAFE"


def test_root_depends_on_every_file_and_on_what_else_it_covers(var_dir: Path) -> None:
    """The root changes with config, manifest and any line."""
    make_run(var_dir / "reference")
    roots = set()
    for name, change in (
        ("same", ""),
        ("again", ""),
        ("config", "config"),
        ("line", "line"),
        ("manifest", "manifest"),
    ):
        var = var_dir / name
        run = copy_run(var_dir / "reference", var)
        if change == "line":
            writer = open_writer(var / "queues", "risk_actions")
            writer.append(lines_of(1, 1))
            writer.close()
        if change == "manifest":
            os.truncate(run / "manifest.json", 10)
        extra = {**EXTRA, "config": "dd" * 32} if change == "config" else EXTRA
        roots.add(seal_run(var / "queues", run, extra))

    assert len(roots) == 4


@pytest.mark.process
def test_seal_says_what_was_written_whatever_stands_there_now(var_dir: Path) -> None:
    """The seal keeps the clock's hash as written, so later changes are found."""
    make_run(var_dir)
    for number, damage in enumerate((b"changed", None)):
        run = copy_run(var_dir, var_dir.parent / f"copy{number}")
        clock = run / "clock.json"
        data = clock.read_bytes()
        written = {"clock.json": {"size": len(data), "sha256": sha256(data).hexdigest()}}
        clock.unlink() if damage is None else clock.write_bytes(damage)
        seal_run(run.parents[1] / "queues", run, EXTRA, written=written)

        assert read_hashed(run / "seal.json")["run_files"]["clock.json"] == written["clock.json"]
        found = {(finding.file, finding.code) for finding in verify_tree(run)}
        assert ("clock.json", "SEAL_MISMATCH") in found
        command = ["sha256sum", "--check", "--status", "SHA256SUMS"]
        assert subprocess.run(command, cwd=run, capture_output=True, check=False).returncode == 1


def test_seal_is_not_written_through_a_link(var_dir: Path) -> None:
    """A run folder that is a link is refused before any write."""
    run = make_run(var_dir)
    moved = run.with_name("moved")
    run.rename(moved)
    before = names_below(moved)
    run.symlink_to(moved)
    with pytest.raises(RunStop, match="PERMISSIONS_UNSAFE"):
        seal_run(var_dir / "queues", run, EXTRA)

    assert names_below(moved) == before
