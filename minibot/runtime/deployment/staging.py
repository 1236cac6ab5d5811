"""Staged deployment: the only way for changed files into a working installation.

    staging/pending/files/<path>    files to come, laid out as in the project
    staging/pending/manifest.json   their sha256 and size, created_ts, cmdline_hash (N-109)
    staging/deployed.json           list of deployed files (`runtime.deployment.deployed`)

`add` writes the manifest, `apply` deploys exactly the files in it or none at all (N-108). A file
that is missing, changed, superfluous or leads out of the tree is a refusal that names it; so is an
existing target unless its manifest entry says `replace` with the old sha256 (N-110).
`runtime.deployment.deploy` carries the deployment out, and finishes it after a crash.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock

from minibot.kernel.canonical import JsonObject
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import (
    ensure_folder,
    hashed_bytes,
    read_hashed,
    write_atomic,
    write_hashed,
)
from minibot.runtime.cmdline import own_cmdline_hash
from minibot.runtime.deployment.deploy import (
    DEPLOYED,
    JOURNAL,
    TEMP_SUFFIX,
    WORK,
    DeploymentStuck,
    finish,
)
from minibot.runtime.deployment.deployed import (
    CODE_FILES,
    CODE_FOLDERS,
    adopt,
    code_manifest,
    compare,
    deployed_record,
    read_deployed,
)
from minibot.runtime.paths import Var, escape_reason
from minibot.runtime.running import MOMENT_S, POLL_S, refuse_living

__all__ = [
    "Pending",
    "Staged",
    "adopt",
    "apply",
    "is_deploying",
    "is_under_way",
    "problems",
    "code_manifest",
    "compare",
    "finish",
    "read_pending",
    "stage",
]

FILES_FOLDER: Final = "staging/pending/files"
MANIFEST: Final = "staging/pending/manifest.json"
APPLY_LOCK: Final = "staging/apply.lock"
# Where staged files may go. Nothing that a run writes, no history, no environment.
TARGET_FOLDERS: Final = (*CODE_FOLDERS, "tests", "docs", "deploy", ".ci", ".github")
TARGET_FILES: Final = (*CODE_FILES, "README.md", "CHANGELOG.md", "LICENSE", ".gitignore")
BYTECODE: Final = ("__pycache__", ".pyc", ".pyo")
SHOWN_MAX: Final = 200
FILE_BYTES_MAX: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Staged:
    """One staged file; `replace` is the sha256 of the file it may overwrite."""

    path: str
    sha256: str
    size: int
    replace: str | None


@dataclass(frozen=True, slots=True)
class Pending:
    """Pending manifest: the files, and when and by which command line it was written."""

    files: tuple[Staged, ...]
    created_ts: int
    cmdline_hash: str


def stage(project: Path, copies: Sequence[tuple[Path, str]], *, replace: bool) -> Pending:
    """Copy files into staging and write the manifest of all that is staged.

    Args:
        project: Root of the checkout.
        copies: Pairs of a source file and its path in the project; empty if the files were put into
            `staging/pending/files/` by hand.
        replace: Whether existing targets may be overwritten; their sha256 goes on record.

    Raises:
        Refusal: A source is not a plain file, a path leads out, a target exists and `replace` is
            off, or a deployment or another staging is under way. Nothing is copied then, and files
            staged before stay as they were.
    """
    with ExitStack() as stack:
        _hold_deployment(project, stack)
        return _stage(project, copies, replace)


def _stage(project: Path, copies: Sequence[tuple[Path, str]], replace: bool) -> Pending:
    before = read_pending(project)
    may_replace = {item.path for item in before.files if item.replace} if before else set()
    contents = {}
    described = {}
    for source, path in copies:
        contents[path] = _read_plain(source)
        described[path] = _describe(project, path, contents[path], replace)
    for path in sorted(set(_staged_paths(project)) - set(contents)):
        is_replacing = replace or path in may_replace
        described[path] = _describe(project, path, _read_staged(project, path), is_replacing)
    for source, path in copies:
        target = project / FILES_FOLDER / path
        ensure_folder(target.parent)
        write_atomic(target, contents[path])
        # Windows neither replaces nor removes a read-only file.
        os.chmod(target, stat.S_IMODE(source.stat().st_mode) | stat.S_IWUSR)
    files = [described[path] for path in sorted(described)]
    if not files:
        raise Refusal(
            f"nothing is staged: {FILES_FOLDER} is empty.",
            "minibot stage add SOURCE PATH, for example: "
            "minibot stage add ~/limits.py minibot/risk/limits.py",
        )
    pending = Pending(tuple(files), time.time_ns() // 1_000_000, own_cmdline_hash())
    write_hashed(project / MANIFEST, _record(pending), generation=1)
    return pending


def read_pending(project: Path) -> Pending | None:
    """Return the pending manifest, None without one.

    Raises:
        Refusal: The manifest is damaged or is not a manifest.
    """
    if not (project / MANIFEST).exists():
        return None
    try:
        record = read_hashed(project / MANIFEST)
        files = tuple(
            Staged(item["path"], item["sha256"], item["size"], item.get("replace"))
            for item in record["files"]
        )
        return Pending(files, record["created_ts"], record["cmdline_hash"])
    except IntegrityError as error:
        raise _broken_manifest(error.detail) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise _broken_manifest(f"a field is missing or of a wrong type: {error}") from error


def problems(project: Path, pending: Pending) -> list[str]:
    """Return why the staged files cannot be deployed, each with the file's name; empty if they can.

    Nothing is changed. Every entry is checked, so that one refusal names all faults. Files that a
    finished deployment has put in place already have none.
    """
    if _is_applied(project, pending):
        return []
    found = []
    listed = [item.path for item in pending.files]
    if len(set(listed)) != len(listed):
        found.append("a path is listed twice")
    for path in sorted(set(_staged_paths(project)) - set(listed)):
        found.append(f"{path}: staged, but not in the manifest")
    for item in pending.files:
        why = _problem(project, item)
        if why:
            found.append(f"{item.path}: {why}")
    return found


def apply(project: Path, run_lock: Path) -> tuple[str, ...]:
    """Deploy all staged files or none; return the paths deployed.

    A deployment that was cut off is finished first, even if the staged files are refused then.

    Args:
        project: Root of the checkout.
        run_lock: The lock that a run on the user's `var` holds; code never changes under a run.

    Raises:
        Refusal: Nothing is staged, staged files or targets have faults (all are listed), a run or
            another deployment is under way, or a target changed after the journal was written.
    """
    with _alone(project, run_lock):
        _finish(project)
        pending = read_pending(project)
        if pending is not None and _is_applied(project, pending):
            shutil.rmtree(project / "staging" / "pending")
            return tuple(item.path for item in pending.files)
        if pending is None:
            raise Refusal(f"{MANIFEST} is missing.", "Stage files first: minibot stage add")
        wrong = problems(project, pending)
        if wrong:
            raise Refusal(
                "the staged files do not match their manifest; nothing was deployed:\n  "
                + "\n  ".join(wrong),
                "\nCorrect them, then run `minibot stage add` again.",
            )
        _begin(project, pending)
        outcome = _finish(project)
        if outcome != "completed":
            raise Refusal(
                "a staged file changed while it was deployed; everything was put back.",
                "Stage it again: minibot stage add",
            )
        shutil.rmtree(project / "staging" / "pending")
        return tuple(item.path for item in pending.files)


def _is_applied(project: Path, pending: Pending) -> bool:
    """Return whether all staged files, as they were staged, are in place and on the list already.

    A deployment that was cut off leaves them so once it is finished, here or by an earlier start
    (`tools/with_env.py`).
    """
    paths = {item.path for item in pending.files}
    if set(_staged_paths(project)) != paths or not (project / DEPLOYED).exists():
        return False
    deployed = read_deployed(project)
    return all(
        _has(project / FILES_FOLDER / item.path, item.sha256)
        and _has(project / item.path, item.sha256)
        and (not _is_code(item.path) or deployed.get(item.path) == item.sha256)
        for item in pending.files
    )


def _has(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def is_under_way(project: Path) -> bool:
    """Return whether a deployment was begun and is not finished."""
    return (project / JOURNAL).exists()


def is_deploying(project: Path) -> bool:
    """Return whether a process deploys into this project now."""
    path = project / APPLY_LOCK
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, mode=0o600, timeout=0):
            return False
    except filelock.Timeout:
        return True


def refuse_path(project: Path, path: str) -> None:
    """Refuse a path that a deployment may not write.

    Raises:
        Refusal: It leads out of the project, through a link, or to a place that is not for code.
    """
    why = _path_problem(project, path)
    if why:
        raise Refusal(
            f"{path}: {why}.",
            f"Deployed files lie in {', '.join(TARGET_FOLDERS)}, or are {', '.join(TARGET_FILES)}.",
        )


def _path_problem(project: Path, path: str) -> str | None:
    why = escape_reason(path)
    if why:
        return f"the path {why}"
    plain = Path(path)
    if plain.is_absolute() or plain.as_posix() != path or ".." in plain.parts:
        return "is not a plain relative path"
    if path not in TARGET_FILES and (len(plain.parts) < 2 or plain.parts[0] not in TARGET_FOLDERS):
        return "lies outside of what is deployed"
    if any(part.lower().endswith(BYTECODE) for part in plain.parts):
        return "is bytecode, which nobody can read; its source is deployed"
    if path.endswith(TEMP_SUFFIX):
        return f"ends in {TEMP_SUFFIX}, as only a deployment's own temporary files do"
    try:
        for parent in (plain, *plain.parents[:-1]):
            for place in (project / parent, project / FILES_FOLDER / parent):
                if os.path.islink(place):
                    return f"leads through a link, {place.relative_to(project)}"
                if parent != plain and place.exists() and not place.is_dir():
                    return f"lies below a file, {place.relative_to(project)}"
        if (project / path).is_dir():
            return "is a folder"
    except OSError as error:
        return f"cannot be a file here: {error.strerror}"
    return None


def _problem(project: Path, item: Staged) -> str | None:
    """Return why one file cannot be deployed, or None."""
    why = _path_problem(project, item.path)
    if why:
        return why
    staged = project / FILES_FOLDER / item.path
    if staged.is_symlink() or not staged.is_file():
        return "no plain file is staged under this path"
    if staged.stat().st_size != item.size:
        return f"size: expected {item.size}, found {staged.stat().st_size}"
    found = _sha256(staged)
    if found != item.sha256:
        return f"sha256: expected {item.sha256}, found {found}"
    target = project / item.path
    if target.exists() and item.replace is None:
        return "exists; overwriting needs `replace` in the manifest (minibot stage add --replace)"
    if not target.exists() and item.replace is not None:
        return "is to be replaced, but does not exist"
    if item.replace is not None and _sha256(target) != item.replace:
        return f"is to replace {item.replace}, found {_sha256(target)}"
    return None


def _begin(project: Path, pending: Pending) -> None:
    """Lay new and old contents aside and write the journal, which decides the deployment."""
    name = time.strftime("%Y%m%d_%H%M%S", time.gmtime(pending.created_ts / 1000))
    name = f"{name}_{pending.created_ts % 1000:03d}"
    work = project / WORK / name
    if work.exists():
        shutil.rmtree(work)  # Left by an attempt interrupted before its journal.
    stands = (project / DEPLOYED).exists()
    deployed = read_deployed(project) if stands else code_manifest(project)
    for item in pending.files:
        _keep(project / FILES_FOLDER / item.path, work / "new" / item.path)
        if item.replace is not None:
            _keep(project / item.path, work / "old" / item.path)
        if _is_code(item.path):
            deployed[item.path] = item.sha256
    _keep(project / MANIFEST, work / "manifest.json")
    record = deployed_record(dict(sorted(deployed.items())), "apply", None)
    write_atomic(work / "deployed.json", hashed_bytes(record, 1))
    files = [
        {"path": item.path, "sha256": item.sha256, "old_sha256": item.replace}
        for item in pending.files
    ]
    write_hashed(project / JOURNAL, {"id": name, "files": files}, generation=1)


def _keep(source: Path, target: Path) -> None:
    ensure_folder(target.parent)
    write_atomic(target, source.read_bytes())
    # Whatever the umask while staging: deployed files may be read by all, like a clone's.
    os.chmod(target, 0o755 if source.stat().st_mode & 0o100 else 0o644)


def _finish(project: Path) -> str | None:
    try:
        return finish(project)
    except DeploymentStuck as error:
        raise Refusal(f"a deployment is stuck halfway: {error}", "") from error


@contextmanager
def _alone(project: Path, run_lock: Path) -> Iterator[None]:
    """Hold the deployment lock and the run lock: no deployment and no run meanwhile."""
    refuse_living(Var(run_lock.parent))
    with ExitStack() as stack:
        _hold_deployment(project, stack)
        remedy = "Wait for its end, or end it with `minibot stop`."
        _hold(run_lock, stack, "a run is in progress; code never changes under it.", remedy)
        yield


def _hold_deployment(project: Path, stack: ExitStack) -> None:
    """Hold the deployment lock: what is staged is neither changed nor deployed meanwhile."""
    what = "another deployment, or a staging, is in progress."
    _hold(project / APPLY_LOCK, stack, what, "Wait for its end, a matter of seconds.")


def _hold(path: Path, stack: ExitStack, refusal: str, remedy: str) -> None:
    ensure_folder(path.parent)
    lock = filelock.FileLock(path, mode=0o600, timeout=MOMENT_S, poll_interval=POLL_S)
    try:
        stack.enter_context(lock)
    except filelock.Timeout:
        raise Refusal(refusal, remedy) from None


def _describe(project: Path, path: str, content: bytes, replace: bool) -> Staged:
    refuse_path(project, path)
    target = project / path
    if target.exists() and not replace:
        raise Refusal(
            f"{path} exists already.",
            "If it is to be overwritten, say so: minibot stage add --replace",
        )
    old = _sha256(target) if target.exists() else None
    return Staged(path, hashlib.sha256(content).hexdigest(), len(content), old)


def _read_plain(source: Path) -> bytes:
    """Return the content of a file to be staged, read once.

    Raises:
        Refusal: It is a link, not a plain file, too large, or cannot be read.
    """
    try:
        found = os.lstat(source)
        if stat.S_ISLNK(found.st_mode):
            raise Refusal(
                f"{source} is a link.", "Name the file itself: what a link shows may change."
            )
        if not stat.S_ISREG(found.st_mode):
            raise Refusal(f"{source} is not a file.", "Name the file that is to be deployed.")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(source, flags), "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Refusal(
            f"{str(source)[:SHOWN_MAX]} cannot be read: {why}.",
            "Name the file that is to be deployed.",
        ) from error
    if len(content) > FILE_BYTES_MAX:
        raise Refusal(f"{source} has over {FILE_BYTES_MAX} bytes.", "Stage a smaller file.")
    return content


def _read_staged(project: Path, path: str) -> bytes:
    """Return the content of a staged file.

    Raises:
        Refusal: It may not be deployed; the remedy names the file to remove.
    """
    staged = project / FILES_FOLDER / path
    try:
        refuse_path(project, path)
        return _read_plain(staged)
    except Refusal as error:
        remedy = f"Stage a plain file that may be deployed, or remove {FILES_FOLDER}/{path}."
        raise Refusal(error.message, remedy) from error


def _record(pending: Pending) -> JsonObject:
    files = []
    for item in pending.files:
        entry: JsonObject = {"path": item.path, "sha256": item.sha256, "size": item.size}
        if item.replace is not None:
            entry["replace"] = item.replace
        files.append(entry)
    return {
        "schema": "minibot.staging",
        "v": 1,
        "created_ts": pending.created_ts,
        "cmdline_hash": pending.cmdline_hash,
        "files": files,
    }


def _staged_paths(project: Path) -> Iterator[str]:
    root = project / FILES_FOLDER
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            yield Path(folder, name).relative_to(root).as_posix()


def _is_code(path: str) -> bool:
    return path in CODE_FILES or path.split("/")[0] in CODE_FOLDERS


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _broken_manifest(why: str) -> Refusal:
    return Refusal(f"{MANIFEST} is damaged: {why}.", "Write it again: minibot stage add")
