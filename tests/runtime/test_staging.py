"""Staged deployment: exactly the manifest's files or none; old or new, never mixed."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

from minibot.kernel.errors import Refusal
from minibot.kernel.files import hashed_bytes, read_hashed
from minibot.runtime.deployment import deploy, deployed, staging
from minibot.runtime.deployment.deployed import libraries
from tests.runtime.cut_off_deployment import CUT_OFF, cut_off
from tests.waiting import DEADLINE_S

OLD, NEW = b"LIMIT = 1\n", b"LIMIT = 2\n"
LIMITS, FRESH = "minibot/risk/limits.py", "minibot/risk/fresh.py"
CONFIG = "config/nore.v1.json"


def sha256(data: bytes) -> str:
    """Return the hash as manifests write it."""
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Small project with three code files, a document and a run's remains."""
    project = tmp_path / "project"
    for path, content in {
        LIMITS: OLD,
        "minibot/__init__.py": b"",
        CONFIG: b"{}\n",
        "docs/STATE.md": b"# State\n",
        "var/queues/signals/inbox.jsonl": b"",
        "minibot/__pycache__/x.pyc": b"cache",
    }.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(content)
    return project


def put_pending(tree: Path, path: str, content: bytes) -> Path:
    """Put a file into staging by hand."""
    target = tree / "staging/pending/files" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def apply(tree: Path) -> tuple[str, ...]:
    """Deploy what is staged."""
    return staging.apply(tree, tree / "var/run.lock")


def content(tree: Path) -> dict[str, bytes]:
    """Return every file of the tree outside staging and var."""
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_file() and path.relative_to(tree).parts[0] not in ("staging", "var")
    }


@pytest.mark.row("N-108")
def test_stage_apply_moves_exactly_the_files_of_the_manifest(tree: Path) -> None:
    """`apply` moves exactly the manifest's files and empties staging."""
    before = content(tree)
    source = tree.parent / "limits.py"
    source.write_bytes(NEW)
    put_pending(tree, FRESH, b"x\n")
    put_pending(tree, "docs/NOTES.md", b"# Notes\n")
    staging.stage(tree, [(source, LIMITS)], replace=True)

    deployed = apply(tree)

    assert set(deployed) == {LIMITS, FRESH, "docs/NOTES.md"}
    assert content(tree) == before | {LIMITS: NEW, FRESH: b"x\n", "docs/NOTES.md": b"# Notes\n"}
    assert not (tree / "staging/pending").exists()
    assert not staging.is_under_way(tree)


@pytest.mark.row("N-109")
def test_stage_manifest_carries_what_the_row_asks_for(tree: Path) -> None:
    """The manifest has each file's sha256 and size, created_ts, cmdline_hash, its own hash."""
    put_pending(tree, FRESH, b"abc")
    staging.stage(tree, [], replace=False)

    manifest = read_hashed(tree / "staging/pending/manifest.json")

    assert manifest["files"] == [{"path": FRESH, "sha256": sha256(b"abc"), "size": 3}]
    assert isinstance(manifest["created_ts"], int)
    assert len(manifest["cmdline_hash"]) == 64


@pytest.mark.row("N-109", "F155")
@pytest.mark.parametrize("change", ["byte", "longer", "shorter", "removed", "link", "folder"])
def test_stage_apply_of_a_file_changed_after_staging_deploys_nothing(
    tree: Path, change: str
) -> None:
    """A staged file changed by a byte or replaced is refused, and the tree stays."""
    staged = put_pending(tree, FRESH, b"abc")
    put_pending(tree, "minibot/risk/other.py", b"def")
    staging.stage(tree, [], replace=False)
    before = content(tree)
    if change in ("byte", "longer", "shorter"):
        staged.write_bytes({"byte": b"abd", "longer": b"abcd", "shorter": b"ab"}[change])
    else:
        staged.unlink()
        if change == "link":
            staged.symlink_to(tree / LIMITS)
        elif change == "folder":
            staged.mkdir()

    with pytest.raises(Refusal, match=FRESH):
        apply(tree)

    assert content(tree) == before


@pytest.mark.row("N-108", "F155")
def test_stage_apply_of_a_file_that_the_manifest_does_not_list_deploys_nothing(tree: Path) -> None:
    """A staged file outside the manifest is named and blocks the deployment."""
    put_pending(tree, FRESH, b"abc")
    staging.stage(tree, [], replace=False)
    put_pending(tree, "minibot/risk/extra.py", b"x")
    before = content(tree)

    with pytest.raises(Refusal, match=r"extra\.py"):
        apply(tree)

    assert content(tree) == before


@pytest.mark.row("N-110")
def test_stage_add_of_an_existing_target_without_replace_is_refused(tree: Path) -> None:
    """`add` of an existing target needs --replace."""
    put_pending(tree, LIMITS, NEW)

    with pytest.raises(Refusal, match="--replace"):
        staging.stage(tree, [], replace=False)

    assert (tree / LIMITS).read_bytes() == OLD


def rewrite_manifest(tree: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit a staged manifest and recompute its hash."""
    path = tree / "staging/pending/manifest.json"
    manifest = read_hashed(path)
    change(manifest)
    path.write_bytes(hashed_bytes(manifest, 1))


@pytest.mark.row("N-110")
@pytest.mark.parametrize("old", [None, "0" * 64])
def test_stage_apply_on_an_existing_target_needs_the_old_sha256(
    tree: Path, old: str | None
) -> None:
    """A replacement needs `replace` and the old target's sha256."""
    put_pending(tree, LIMITS, NEW)
    staging.stage(tree, [], replace=True)

    def forge(manifest: dict[str, Any]) -> None:
        manifest["files"][0].pop("replace")
        if old is not None:
            manifest["files"][0]["replace"] = old

    rewrite_manifest(tree, forge)

    with pytest.raises(Refusal, match=LIMITS):
        apply(tree)

    assert (tree / LIMITS).read_bytes() == OLD
    assert not staging.is_under_way(tree)


@pytest.mark.row("N-110")
def test_stage_apply_when_the_target_has_changed_since_is_refused(tree: Path) -> None:
    """A target that changed after staging is not overwritten."""
    put_pending(tree, LIMITS, NEW)
    staging.stage(tree, [], replace=True)
    (tree / LIMITS).write_bytes(b"LIMIT = 3\n")

    with pytest.raises(Refusal, match=LIMITS):
        apply(tree)

    assert (tree / LIMITS).read_bytes() == b"LIMIT = 3\n"


ESCAPES = [
    "../evil.py",
    "minibot/../../evil.py",
    "/tmp/evil.py",
    "var/queues/signals/inbox.jsonl",
    "staging/deployed.json",
    ".git/hooks/pre-commit",
    ".venv/bin/python",
    "evil.py",
    "minibot",
    "minibot/con.py",
    "minibot/x.py:stream",
    "C:/evil.py",
    "\\\\host\\share\\evil.py",
    "minibot\\risk\\evil.py",
    "minibot//risk/evil.py",
    "./minibot/evil.py",
    "",
    "minibot/a\nb.py",
    f"{LIMITS}/below_a_file.py",
    f"{LIMITS}{deploy.TEMP_SUFFIX}",
]


@pytest.mark.row("N-108", "F155")
@pytest.mark.parametrize("path", ESCAPES)
def test_stage_add_of_a_path_that_leads_elsewhere_is_refused(tree: Path, path: str) -> None:
    """`add` refuses paths out of the tree, into runs, history or other spellings."""
    source = tree.parent / "source.py"
    source.write_bytes(b"x")

    with pytest.raises(Refusal):
        staging.stage(tree, [(source, path)], replace=True)

    assert not (tree / "staging/pending/manifest.json").exists()
    assert not (tree.parent / "evil.py").exists()


@pytest.mark.row("N-108", "F155")
@pytest.mark.parametrize("path", ESCAPES)
def test_stage_apply_of_a_forged_path_that_leads_elsewhere_is_refused(
    tree: Path, path: str
) -> None:
    """`apply` refuses a forged manifest's paths just as strictly."""
    put_pending(tree, FRESH, b"abc")
    staging.stage(tree, [], replace=False)
    rewrite_manifest(tree, lambda manifest: manifest["files"][0].update(path=path))
    before = content(tree)

    with pytest.raises(Refusal):
        apply(tree)

    assert content(tree) == before
    assert not (tree.parent / "evil.py").exists()


def test_stage_through_a_linked_folder_is_refused(tree: Path) -> None:
    """A folder that is a link is refused."""
    elsewhere = tree.parent / "elsewhere"
    elsewhere.mkdir()
    (tree / "minibot/linked").symlink_to(elsewhere)
    put_pending(tree, "minibot/linked/x.py", b"x")

    with pytest.raises(Refusal, match="link"):
        staging.stage(tree, [], replace=False)

    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json", b'{"files": 1}\n'])
def test_stage_apply_of_a_damaged_manifest_is_refused(tree: Path, damage: bytes) -> None:
    """A manifest that fails its own sha256 deploys nothing."""
    put_pending(tree, FRESH, b"abc")
    staging.stage(tree, [], replace=False)
    (tree / "staging/pending/manifest.json").write_bytes(damage)

    with pytest.raises(Refusal, match=r"manifest\.json is damaged"):
        apply(tree)

    assert not (tree / FRESH).exists()


def test_stage_apply_without_anything_staged_is_refused(tree: Path) -> None:
    """`apply` without staged files says so, with the command that stages."""
    assert staging.read_pending(tree) is None
    with pytest.raises(Refusal, match=r"is missing\. Stage files first: minibot stage add"):
        apply(tree)
    with pytest.raises(Refusal, match="nothing is staged"):
        staging.stage(tree, [], replace=False)


@pytest.mark.row("N-23")
@pytest.mark.parametrize(
    ("lock", "holder", "remedy"),
    [
        ("var/run.lock", "a run", "Wait for its end, or end it with `minibot stop`."),
        (
            "staging/apply.lock",
            "another deployment, or a staging,",
            "Wait for its end, a matter of seconds.",
        ),
    ],
)
def test_stage_apply_during_a_run_or_another_is_refused(
    tree: Path, monkeypatch: pytest.MonkeyPatch, lock: str, holder: str, remedy: str
) -> None:
    """`apply` during a run is refused, as a restarted role would load new code."""
    monkeypatch.setattr(staging, "MOMENT_S", 0.0)
    put_pending(tree, FRESH, b"abc")
    staging.stage(tree, [], replace=False)

    with (
        filelock.FileLock(tree / lock),
        pytest.raises(Refusal, match=f"{holder} is in progress") as refused,
    ):
        apply(tree)

    assert refused.value.remedy == remedy
    assert not (tree / FRESH).exists()


def test_file_is_not_staged_beside_a_deployment(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment removes what was staged at its end: a file that came meanwhile would be lost."""
    monkeypatch.setattr(staging, "MOMENT_S", 0.0)
    put_pending(tree, FRESH, b"abc")

    with (
        filelock.FileLock(tree / "staging/apply.lock"),
        pytest.raises(Refusal, match="another deployment, or a staging, is in progress"),
    ):
        staging.stage(tree, [], replace=False)

    assert staging.read_pending(tree) is None


def test_deployment_waits_for_a_query_that_holds_the_lock_for_a_moment(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question such as that of `minibot status` takes the lock, and is not a run."""
    put_pending(tree, FRESH, b"abc")
    staging.stage(tree, [], replace=False)
    monkeypatch.setattr(staging, "MOMENT_S", DEADLINE_S, raising=False)
    query = filelock.FileLock(tree / "var/run.lock")
    attempt = filelock.FileLock._acquire

    def release_after(lock: Any) -> None:
        attempt(lock)
        if lock is not query and Path(lock.lock_file) == Path(query.lock_file):
            query.release()

    query.acquire()
    monkeypatch.setattr(filelock.FileLock, "_acquire", release_after)

    assert apply(tree) == (FRESH,)


def stage_two(tree: Path) -> None:
    """Stage a replacement and a new file over a deployed list."""
    staging.adopt(tree, None)
    put_pending(tree, LIMITS, NEW)
    put_pending(tree, FRESH, b"abc")
    put_pending(tree, CONFIG, b'{"a": 1}\n')
    staging.stage(tree, [], replace=True)


@pytest.mark.process
@pytest.mark.row("F156", "N-108")
def test_stage_apply_cut_off_at_any_step_ends_all_old_or_all_new(tmp_path: Path) -> None:
    """A deployment cut off at any step ends all old or all new at the next start."""
    outcomes = []
    for limit in range(200):
        tree = tmp_path / str(limit) / "project"
        for path, data in {LIMITS: OLD, CONFIG: b"{}\n", "minibot/a.py": b""}.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(data)
        stage_two(tree)
        before = content(tree)
        after = before | {LIMITS: NEW, FRESH: b"abc", CONFIG: b'{"a": 1}\n'}

        code = cut_off(tree, limit)
        outcome = deploy.finish(tree)

        found = content(tree)
        assert found in (before, after), f"mixed after step {limit}"
        assert not staging.is_under_way(tree)
        assert staging.compare(tree) == []
        outcomes.append((outcome, found == after))
        if code == 0:
            break
        assert code == CUT_OFF

    assert outcomes[0] == (None, False)  # Cut off before its journal: nothing changed.
    # Cut off after its journal: completed by the next start.
    assert ("completed", True) in outcomes
    assert outcomes[-1] == (None, True)


def test_stage_apply_of_what_another_start_has_finished_clears_the_staging(tree: Path) -> None:
    """Each start finishes a deployment that was cut off; its staged files are no fault then."""
    stage_two(tree)
    pending = staging.read_pending(tree)
    assert pending is not None
    staging._begin(tree, pending)
    assert deploy.finish(tree) == "completed"

    assert staging.problems(tree, pending) == []
    assert set(apply(tree)) == {LIMITS, FRESH, CONFIG}
    assert not (tree / "staging/pending").exists()
    assert staging.compare(tree) == []


@pytest.mark.parametrize("path", [LIMITS, "minibot/other.py"])
def test_stage_apply_of_files_staged_behind_a_finished_deployment_is_refused(
    tree: Path, path: str
) -> None:
    """A file that was staged by hand since is named, and stays."""
    stage_two(tree)
    pending = staging.read_pending(tree)
    assert pending is not None
    staging._begin(tree, pending)
    assert deploy.finish(tree) == "completed"
    staged = put_pending(tree, path, b"LIMIT = 3\n")

    with pytest.raises(Refusal, match=path):
        apply(tree)

    assert staged.read_bytes() == b"LIMIT = 3\n"


def cut_at_limits(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cut a deployment off before `LIMITS` is put in place; return its working folder."""
    real = os.replace

    def cut(source: Any, target: Any) -> None:
        if Path(target) == tree / LIMITS:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut)
        with pytest.raises(KeyboardInterrupt):
            apply(tree)
    (work,) = (tree / "staging/work").iterdir()
    return work


@pytest.mark.row("F156")
def test_stage_finish_with_a_damaged_new_file_puts_everything_back(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment with a damaged new file is taken back completely."""
    stage_two(tree)
    before = content(tree)
    work = cut_at_limits(tree, monkeypatch)
    (work / "new" / FRESH).write_bytes(b"rotten")

    outcome = deploy.finish(tree)

    assert outcome == "rolled back"
    assert content(tree) == before


@pytest.mark.row("F156")
def test_stage_finish_never_puts_a_damaged_old_file_back(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback whose old file is damaged, too, changes nothing until that file is there."""
    stage_two(tree)
    before = content(tree)
    work = cut_at_limits(tree, monkeypatch)
    (work / "new" / LIMITS).write_bytes(b"rotten")
    (work / "old" / CONFIG).write_bytes(b"rotten")
    between = content(tree)

    with pytest.raises(deploy.DeploymentStuck, match=f"{CONFIG}.* is damaged"):
        deploy.finish(tree)

    assert content(tree) == between
    (tree / CONFIG).write_bytes(before[CONFIG])
    assert deploy.finish(tree) == "rolled back"
    assert content(tree) == before


def test_stage_apply_after_a_cut_off_one_brings_it_to_its_end(tree: Path) -> None:
    """A repeated `apply` completes one that was cut off."""
    stage_two(tree)
    pending = staging.read_pending(tree)
    assert pending is not None
    staging._begin(tree, pending)
    with pytest.raises(Refusal, match="cut off"):
        staging.compare(tree)

    deployed = apply(tree)

    assert set(deployed) == {LIMITS, FRESH, CONFIG}
    assert (tree / LIMITS).read_bytes() == NEW
    assert not (tree / "staging/pending").exists()
    assert staging.compare(tree) == []


def test_stage_finish_never_overwrites_what_somebody_edited_meanwhile(tree: Path) -> None:
    """A target that is neither old nor new stops the deployment by name."""
    stage_two(tree)
    pending = staging.read_pending(tree)
    assert pending is not None
    staging._begin(tree, pending)
    (tree / LIMITS).write_bytes(b"mine\n")

    with pytest.raises(deploy.DeploymentStuck, match=LIMITS):
        deploy.finish(tree)

    assert (tree / LIMITS).read_bytes() == b"mine\n"
    (tree / LIMITS).write_bytes(OLD)
    assert deploy.finish(tree) == "completed"


@pytest.mark.row("N-124")
@pytest.mark.parametrize("mode", [0o444, 0o555])
def test_stage_of_a_read_only_file_may_be_cleared_away_on_windows(
    tree: Path, tmp_path: Path, mode: int
) -> None:
    """Windows neither replaces nor removes a read-only file; who may run it stays as it was."""
    source = tmp_path / "fresh.py"
    source.write_bytes(NEW)
    source.chmod(mode)

    staging.stage(tree, [(source, FRESH)], replace=False)

    staged = (tree / "staging/pending/files" / FRESH).stat().st_mode
    assert staged & 0o777 == mode | 0o200


def test_stage_finish_that_cannot_put_a_file_in_place_names_it_and_can_be_repeated(
    tree: Path,
) -> None:
    """A file in the place of a folder to come stops the deployment by name, until it is gone."""
    put_pending(tree, "minibot/risk/later/x.py", NEW)
    pending = staging.stage(tree, [], replace=False)
    staging._begin(tree, pending)
    (tree / "minibot/risk/later").write_bytes(b"a note\n")

    with pytest.raises(deploy.DeploymentStuck, match=r"risk/later/x\.py cannot be put"):
        deploy.finish(tree)

    (tree / "minibot/risk/later").unlink()
    assert deploy.finish(tree) == "completed"
    assert (tree / "minibot/risk/later/x.py").read_bytes() == NEW


@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", os.mkdir)])
def test_stage_apply_with_a_folder_or_fifo_in_a_targets_place_is_refused(
    tree: Path, make: Callable[[Path], None]
) -> None:
    """A target that is no regular file is a refusal by name, and it is neither read nor moved."""
    stage_two(tree)
    pending = staging.read_pending(tree)
    assert pending is not None
    staging._begin(tree, pending)
    (tree / LIMITS).unlink()
    make(tree / LIMITS)

    with pytest.raises(Refusal, match=LIMITS):
        apply(tree)

    assert not (tree / LIMITS).is_file()


@pytest.mark.row("N-23")
def test_deployed_list_of_an_untouched_tree_differs_in_nothing(tree: Path) -> None:
    """The list of an untouched tree names every code file and no cache, run or document."""
    staging.adopt(tree, None)

    listed = read_hashed(tree / "staging/deployed.json")["files"]

    assert listed == {
        CONFIG: sha256(b"{}\n"),
        "minibot/__init__.py": sha256(b""),
        LIMITS: sha256(OLD),
    }
    assert staging.compare(tree) == []


@pytest.mark.row("N-23")
@pytest.mark.parametrize(
    ("path", "data", "how"),
    [(LIMITS, NEW, "changed"), (LIMITS, None, "missing"), (FRESH, b"x", "not deployed")],
)
def test_deployed_list_names_each_file_that_differs(
    tree: Path, path: str, data: bytes | None, how: str
) -> None:
    """The list names changed, missing and added files."""
    staging.adopt(tree, None)
    if data is None:
        (tree / path).unlink()
    else:
        (tree / path).write_bytes(data)

    assert staging.compare(tree) == [f"{path}: {how}"]


def test_deployed_list_names_what_is_no_file_without_opening_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket cannot be opened, and the opening of a FIFO would wait for its writer for ever."""
    if sys.platform == "win32":
        pytest.skip("Windows has neither in a folder")
    staging.adopt(tree, None)
    monkeypatch.chdir(tree / "minibot")  # A socket's path is short.
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("a_socket.py")
    differs = ["minibot/a_socket.py: not deployed"]
    assert staging.compare(tree) == differs
    os.mkfifo("fifo.py")

    assert staging.compare(tree) == [*differs, "minibot/fifo.py: not deployed"]


@pytest.mark.row("N-23")
def test_deployed_list_after_apply_still_shows_what_was_edited_by_hand(tree: Path) -> None:
    """A deployment leaves a hand edit visible in the list."""
    staging.adopt(tree, None)
    (tree / CONFIG).write_bytes(b'{"by": "hand"}\n')
    put_pending(tree, FRESH, b"abc")
    staging.stage(tree, [], replace=False)

    apply(tree)

    assert staging.compare(tree) == [f"{CONFIG}: changed"]


@pytest.mark.row("N-23")
def test_deployed_list_that_does_not_stand_is_refused_with_its_command(tree: Path) -> None:
    """A missing list is refused with the command that makes it."""
    with pytest.raises(Refusal, match="stage adopt"):
        staging.compare(tree)


@pytest.mark.row("N-23")
def test_deployed_list_is_passed_over_only_with_a_reason_on_record(tree: Path) -> None:
    """A second `adopt` needs a reason, keeps the former list, and records the reason."""
    staging.adopt(tree, None)
    with pytest.raises(Refusal, match="--reason"):
        staging.adopt(tree, None)

    staging.adopt(tree, "pulled release 0.2")

    assert read_hashed(tree / "staging/deployed.json")["reason"] == "pulled release 0.2"
    (kept,) = (tree / "staging/applied").iterdir()
    assert json.loads(kept.read_bytes())["how"] == "adopt"


def test_adopt_that_fails_leaves_the_former_list(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a list the next `adopt` would need no reason."""
    staging.adopt(tree, None)
    former = (tree / "staging/deployed.json").read_bytes()
    monkeypatch.setattr(deployed, "_digest", lambda path: os.stat(path / "gone"))

    with pytest.raises(NotADirectoryError):
        staging.adopt(tree, "pulled release 0.2")

    assert (tree / "staging/deployed.json").read_bytes() == former


def test_deployed_list_that_was_edited_is_refused(tree: Path) -> None:
    """An edited list fails its own sha256."""
    staging.adopt(tree, None)
    path = tree / "staging/deployed.json"
    path.write_bytes(path.read_bytes().replace(sha256(OLD).encode(), sha256(NEW).encode()))

    with pytest.raises(Refusal, match="damaged"):
        staging.compare(tree)


@pytest.mark.row("N-108", "N-110")
@pytest.mark.parametrize("kind", ["exists", "link", "linked folder", "fifo", "bytecode", "outside"])
def test_stage_add_that_is_refused_leaves_nothing_and_blocks_nobody(
    tree: Path, tmp_path: Path, kind: str
) -> None:
    """A refused `add` leaves nothing, and the next file is accepted."""
    source, path = tmp_path / "source.py", FRESH
    source.write_bytes(NEW)
    good = tmp_path / "good.py"
    good.write_bytes(NEW)
    staging.stage(tree, [(good, "minibot/good.py")], replace=False)
    before = {path: path.read_bytes() for path in (tree / "staging").rglob("*") if path.is_file()}
    if kind == "exists":
        path = LIMITS
    elif kind == "link":
        source.rename(tmp_path / "elsewhere.py")
        source.symlink_to(tmp_path / "elsewhere.py")
    elif kind == "linked folder":
        (tree / "staging/pending/files/docs").symlink_to(tmp_path)
        path = "docs/NOTES.md"
    elif kind == "fifo":
        if not hasattr(os, "mkfifo"):
            pytest.skip("needs FIFOs")
        source.unlink()
        os.mkfifo(source)
    elif kind == "bytecode":
        path = "minibot/risk/__pycache__/limits.cpython-311.pyc"
    else:
        path = "var/x.py"

    with pytest.raises(Refusal):
        staging.stage(tree, [(good, "docs/a.md"), (source, path)], replace=False)
    if kind == "linked folder":
        (tree / "staging/pending/files/docs").unlink()
    after = {path: path.read_bytes() for path in (tree / "staging").rglob("*") if path.is_file()}
    next_one = staging.stage(tree, [(good, "docs/b.md")], replace=False)

    assert after == before
    assert [item.path for item in next_one.files] == ["docs/b.md", "minibot/good.py"]


@pytest.mark.row("N-110")
def test_stage_add_keeps_what_was_said_of_files_staged_before(tree: Path) -> None:
    """`add` keeps the flags of files staged before."""
    source = tree.parent / "limits.py"
    source.write_bytes(NEW)
    staging.stage(tree, [(source, LIMITS)], replace=True)

    pending = staging.stage(tree, [(source, FRESH)], replace=False)

    assert {item.path: item.replace for item in pending.files} == {
        FRESH: None,
        LIMITS: sha256(OLD),
    }


@pytest.mark.row("N-108")
@pytest.mark.parametrize("path", ["minibot/risk/x.pyc", "minibot/__pycache__/x.py", "docs/X.PYC"])
def test_stage_of_bytecode_laid_by_hand_is_refused_by_name(tree: Path, path: str) -> None:
    """Bytecode staged by hand is refused by name."""
    put_pending(tree, path, b"code")

    with pytest.raises(Refusal, match="is bytecode") as refused:
        staging.stage(tree, [], replace=False)

    assert f"remove staging/pending/files/{path}" in refused.value.remedy


@pytest.mark.row("N-23", "F162")
def test_deployed_list_counts_bytecode_that_is_a_module_of_its_own(tree: Path) -> None:
    """The list includes sourceless modules and a build's list, and no cache folders."""
    staging.adopt(tree, None)
    (tree / "minibot/risk/limits").mkdir()
    (tree / "minibot/risk/limits/__init__.pyc").write_bytes(b"code")
    (tree / "minibot/risk/__pycache__").mkdir()
    (tree / "minibot/risk/__pycache__/limits.cpython-311.pyc").write_bytes(b"code")

    assert staging.compare(tree) == ["minibot/risk/limits/__init__.pyc: not deployed"]


@pytest.mark.row("N-23")
def test_deployed_list_has_the_libraries_of_a_compiled_build(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries of a compiled build are listed by sha256."""
    library = tree / "build/compiled/cpython-311/minibot/risk/core.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"library")
    staging.adopt(tree, None)
    listed = libraries(tree)
    library.write_bytes(b"another")
    quiet = staging.compare(tree)
    monkeypatch.setenv("MINIBOT_COMPILED", "1")

    path = "build/compiled/cpython-311/minibot/risk/core.so"
    assert listed == {path: sha256(b"library")}
    assert quiet == []
    assert staging.compare(tree) == [f"{path}: changed"]
