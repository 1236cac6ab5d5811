"""Restore: onto nothing, from whole content alone; a finished run comes back as sealed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.codes import IO_ENOSPC
from minibot.kernel.errors import IntegrityError, Refusal, RunStop
from minibot.kernel.files import put_atomic, read_hashed, write_hashed
from minibot.ops import restore as restore_module
from minibot.ops.restore import find_backup, restore
from minibot.report.bundle import write_bundle
from minibot.runtime.backup import Backup, BackupFolder, read_backup
from minibot.runtime.paths import Var
from minibot.watchdog.recovery import clear_former_run
from tests.kernel.kernel_support import change
from tests.runs import ShortRun, verb
from tests.runtime.backups import RUN, append, open_var

# Names of one file as POSIX has them, without those of locks and half-written files.
NOTES = st.one_of(
    st.binary(min_size=1, max_size=30),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).map(str.encode),
).filter(
    lambda name: (
        name not in (b".", b"..", b"packs")
        and not set(name) & set(b"/\0")
        and not name.endswith((b".lock", b".tmp"))
    )
)


@pytest.fixture
def backup(tmp_path: Path) -> Backup:
    """A backup of an open run."""
    return BackupFolder(tmp_path / "backups").take(open_var(tmp_path / "var"), RUN)


def test_restore_onto_anything_that_stands_is_refused(backup: Backup, tmp_path: Path) -> None:
    """A folder with anything in it, a file, a link and a missing parent are refused untouched."""
    full = tmp_path / "full"
    full.mkdir()
    (full / ".hidden").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")

    for target in (full, tmp_path / "file", tmp_path / "link", tmp_path / "no" / "where"):
        with pytest.raises(Refusal):
            restore(backup, target)

    assert os.listdir(full) == [".hidden"]
    assert os.listdir(tmp_path / "empty") == []


NAMES_OF_NO_LIST = (
    b"seen at 06:30.txt", b"why?", b"a*", b"note.", b"note ", b"aux", b"a\\b", b"a\nb",
    b"r\xe9sum\xe9", b"\x1b[2J", b"seen: 6/note",
)  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="names of bytes are POSIX")
def test_note_whose_name_no_list_may_hold_is_left_out_and_told(tmp_path: Path) -> None:
    """A note of any name in a run's folder costs no backup: all else is there, and it is named."""
    var = open_var(tmp_path / "var")
    for name in NAMES_OF_NO_LIST:
        note = Path(os.fsdecode(os.fsencode(var.ai) + b"/" + name))
        note.parent.mkdir(exist_ok=True)
        note.write_text("mine")
    (var.ai / "plain note").write_text("mine too")
    folder = BackupFolder(tmp_path / "backups")

    taken = folder.take(var, RUN)
    done = verb(var.root, "backup", RUN, "--to", str(tmp_path / "backups"), "--json")

    assert done.code == 0, done.err
    assert done.document["left_out"] == list(taken.left_out)
    assert len(set(taken.left_out)) == len(NAMES_OF_NO_LIST)
    for left_out in taken.left_out:
        assert left_out.isprintable()
        assert left_out.startswith("ai/")
    folder.keep(1)
    restore(find_backup(folder.folder), tmp_path / "target")
    assert (tmp_path / "target" / "ai" / "plain note").read_text() == "mine too"


@pytest.mark.skipif(sys.platform == "win32", reason="no folder of Windows has this name")
def test_queue_in_a_folder_whose_name_no_list_may_hold_is_left_out(tmp_path: Path) -> None:
    """A copy that somebody made beside the queues costs no backup of an open run."""
    var = open_var(tmp_path / "var")
    plain = BackupFolder(tmp_path / "plain").take(var, RUN)
    shutil.copytree(var.queues / "fills", var.queues / "fills: old")

    taken = BackupFolder(tmp_path / "backups").take(var, RUN)

    assert read_backup(taken.path).files == plain.files
    assert all(each.startswith("queues/fills: old") for each in taken.left_out)
    assert taken.left_out


@pytest.mark.skipif(sys.platform == "win32", reason="names of bytes are POSIX")
@settings(max_examples=15)
@given(st.lists(NOTES, min_size=1, max_size=12))
@example([b"plain", "J\xfcrgen 1.txt".encode(), b"r\xe9sum\xe9", b"a:b"])
def test_what_is_taken_can_be_read(names: list[bytes]) -> None:
    """A list that was written is one that is read: it names each note, or the note is left out."""
    with TemporaryDirectory() as folder_name:
        var = open_var(Path(folder_name) / "var", lines=1)
        for name in names:
            Path(os.fsdecode(os.fsencode(var.ai) + b"/" + name)).write_bytes(b"mine")
        files_count = sum(path.is_file() for path in var.ai.rglob("*"))

        taken = BackupFolder(Path(folder_name) / "backups").take(var, RUN)

        assert read_backup(taken.path).files == taken.files
        named = [each for each in (*taken.files, *taken.left_out) if each.startswith("ai/")]
        assert len(named) == files_count


def test_restore_of_damaged_content_writes_nothing(backup: Backup, tmp_path: Path) -> None:
    """A changed, missing or linked content is found before the first file is written."""
    folder = backup.path.parent / "content"
    names = sorted({content.sha256 for content in backup.files.values() if content.size > 10})
    changed, missing, linked = (folder / name for name in names[:3])

    def is_refused() -> bool:
        with pytest.raises(IntegrityError):
            restore(backup, tmp_path / "target")
        return not (tmp_path / "target").exists()

    change(changed, 3)
    assert is_refused()
    change(changed, 3)
    missing.rename(tmp_path / "moved")
    assert is_refused()
    (tmp_path / "moved").rename(missing)
    linked.rename(tmp_path / "moved")
    linked.symlink_to(tmp_path / "moved")
    assert is_refused()


def test_backup_is_found_by_list_name_or_folder(backup: Backup, tmp_path: Path) -> None:
    """A folder stands for its newest backup, a name for its list; nothing else is a backup."""
    var = open_var(tmp_path / "more", lines=3)
    append(var, "fills", 4, 1)
    newer = BackupFolder(backup.path.parent).take(var, RUN)

    assert find_backup(backup.path) == backup
    assert find_backup(backup.path.with_suffix("")) == backup
    assert find_backup(backup.path.parent) == newer
    (tmp_path / "none").mkdir()
    for named in (tmp_path / "none", tmp_path / "nothing"):
        with pytest.raises(Refusal):
            find_backup(named)


@pytest.mark.row("B-63")
def test_finished_run_is_backed_up_and_restored_by_its_verbs_and_is_proven(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A run that `backup` took and `restore` wrote verifies and replays as the run itself does."""
    before = verb(short_run.var, "replay", short_run.run_id, "--json").document["digest"]
    taken = verb(short_run.var, "backup", "latest", "--to", str(tmp_path / "backups"), "--json")
    assert taken.code == 0, taken.err

    target = tmp_path / "target"
    back = verb(short_run.var, "restore", str(tmp_path / "backups"), str(target), "--json")

    assert back.code == 0, back.err
    assert back.document["state"] == "finished"
    assert verb(target, "verify", "latest").code == 0
    assert verb(target, "replay", "latest", "--json").document["digest"] == before
    again = verb(short_run.var, "restore", str(tmp_path / "backups"), str(target))
    assert again.code == 2


def test_restore_that_the_disk_breaks_off_says_that_its_folder_is_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a finished run has a manifest, and a second try is refused for what stands there."""
    backup = BackupFolder(tmp_path / "backups").take(open_var(tmp_path / "var"), RUN)
    put = put_atomic

    def full(path: Path, chunks: Iterable[bytes]) -> None:
        if path.name == "manifest.json":
            raise RunStop("kernel.files", IO_ENOSPC, "No space left on device")
        put(path, chunks)

    monkeypatch.setattr(restore_module, "put_atomic", full)

    with pytest.raises(Refusal, match="is incomplete: No space left"):
        restore(backup, tmp_path / "target")


def test_restore_of_what_is_no_backup_names_the_next_step(tmp_path: Path) -> None:
    """A file that somebody takes for a list is a failed check, told with what to do."""
    named = tmp_path / "notes.json"
    named.write_text("no list")

    done = verb(tmp_path / "var", "restore", str(named), str(tmp_path / "back"))

    assert done.code == 1
    assert done.err.startswith("refused: not a whole backup: ")
    assert "Name another list" in done.err
    assert not (tmp_path / "back").exists()


def test_printed_commands_restore_and_verify_by_paths_with_blanks(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Commands that `backup` and `restore` print work as they are, wherever the folders lie."""
    target = tmp_path / "back again"
    taken = verb(short_run.var, "backup", "latest", "--to", str(tmp_path / "my backups"))
    command = taken.out.partition("back    minibot ")[2].replace("FOLDER", shlex.quote(str(target)))

    back = verb(short_run.var, *shlex.split(command))
    check = back.out.partition("check   minibot ")[2].partition("\n")[0]

    assert back.code == 0, back.err
    assert verb(short_run.var, *shlex.split(check)).code == 0


@pytest.mark.row("N-124")
def test_printed_command_has_the_quotes_of_the_prompt_of_windows(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There single quotes would be taken for a part of the path."""
    monkeypatch.setattr("minibot.runtime.pasting.sys", SimpleNamespace(platform="win32"))

    taken = verb(short_run.var, "backup", "latest", "--to", str(tmp_path / "my backups"))

    assert f'minibot restore "{tmp_path / "my backups"}' in taken.out


def test_backup_into_a_file_is_refused_and_leaves_it(short_run: ShortRun, tmp_path: Path) -> None:
    """A mistyped folder is no fault of the disk, and the file that stands there is somebody's."""
    file = tmp_path / "notes.txt"
    file.write_text("mine")

    done = verb(short_run.var, "backup", "latest", "--to", str(file))
    below = verb(short_run.var, "backup", "latest", "--to", str(file / "backups"))

    assert (done.code, below.code) == (2, 2)
    assert "notes.txt is not a folder" in " ".join(done.err.split())
    assert "notes.txt is not a folder" in " ".join(below.err.split())
    assert file.read_text() == "mine"


def test_bundle_is_refused_by_backup_before_it_is_unpacked(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A bundle is no run of `var`: nothing of it is written, and the refusal says what it is."""
    bundle = tmp_path / "night.tar.gz"
    write_bundle(short_run.run_dir, bundle)

    done = verb(tmp_path / "var", "backup", str(bundle), "--to", str(tmp_path / "backups"))

    assert done.code == 2
    assert "night.tar.gz is a packed run" in " ".join(done.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["night.tar.gz"]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege on Windows")
def test_latest_run_is_backed_up_whatever_way_var_is_named(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A link, or a path with `..`, leads to the run that `latest` names."""
    link = tmp_path / "link"
    link.symlink_to(short_run.var)
    folder = tmp_path / "backups"

    for var in (link, short_run.var / ".." / short_run.var.name):
        done = verb(var, "backup", "latest", "--to", str(folder), "--json")

        assert done.code == 0, done.err
        assert done.document["run_id"] == short_run.run_id


@pytest.mark.skipif(sys.platform == "win32", reason="no file of Windows has this name")
def test_sealed_file_that_could_not_come_back_is_refused_beforehand(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A run without a sealed file would not verify: no list is written, earlier backups stay."""
    var = Path(shutil.copytree(short_run.var, tmp_path / "var"))
    run_dir = var / "runs" / short_run.run_id
    folder = BackupFolder(tmp_path / "backups")
    (run_dir / "report").mkdir(exist_ok=True)
    (run_dir / "report" / "seen at 06:30.txt").write_text("mine")
    earlier = folder.take(Var(var), short_run.run_id)
    seal = read_hashed(run_dir / "seal.json")
    seal["files"]["queues/fills/a:b"] = {"size": 1, "sha256": sha256(b"x").hexdigest()}
    (run_dir / "queues" / "fills" / "a:b").write_bytes(b"x")
    write_hashed(run_dir / "seal.json", seal)

    with pytest.raises(Refusal, match="a:b"):
        folder.take(Var(var), short_run.run_id)

    assert folder.taken() == [earlier.path]
    assert earlier.left_out == (f"runs/{short_run.run_id}/report/seen at 06:30.txt",)
    folder.keep(1)
    assert find_backup(folder.folder) == earlier


class Killed(BaseException):
    """End of a process in the middle of a restore."""


def broken_off(backup: Backup, target: Path, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore a backup up to the first file whose path has a given beginning."""

    def put(path: Path, chunks: Iterable[bytes]) -> None:
        if path.relative_to(target).as_posix().startswith(before):
            raise Killed
        put_atomic(path, chunks)

    with monkeypatch.context() as patch:
        patch.setattr(restore_module, "put_atomic", put)
        with pytest.raises(Killed):
            restore(backup, target)


def test_restore_that_was_killed_before_the_ai_has_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start finds the lines of the run, and begins no account afresh in their place."""
    var = open_var(tmp_path / "var")
    var.ai.mkdir(exist_ok=True)
    (var.ai / "note").write_text("mine")
    backup = BackupFolder(tmp_path / "backups").take(var, RUN)
    target = tmp_path / "target"

    broken_off(backup, target, "ai/", monkeypatch)

    with pytest.raises(Refusal, match="holds lines"):
        clear_former_run(Var(target), Contracts.of_project(), Roles.of_project())


def test_part_of_a_finished_run_is_not_called_one_that_the_next_start_seals(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No verb promises a seal to a run whose restore was killed: no start gives it one."""
    backup = BackupFolder(tmp_path / "backups").take(Var(short_run.var), short_run.run_id)
    target = tmp_path / "target"
    broken_off(backup, target, f"runs/{short_run.run_id}/queues/fills", monkeypatch)
    for folder in ("stop", "ops"):
        (target / folder).mkdir(mode=0o700)

    status = verb(target, "status", "--json").out + verb(target, "status").out
    following = verb(target, "next").out

    assert clear_former_run(Var(target), Contracts.of_project(), Roles.of_project()) is None
    for said in (status, following):
        assert "restore it again" in said
        assert "seals it" not in said
