"""Seal of a run's queues: linked into the run's folder, measured, sealed, then released.

No file moves: each gets a second name below `queues/` of the run, and the names under `var/queues`
are removed only once the seal exists. Each step may be repeated after a crash. The seal holds size
and sha256 of every file. Its root covers them all and the caller's additions (config, contracts,
code), so that one published line pins a whole night.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from minibot.kernel import canonical
from minibot.kernel.canonical import JsonObject
from minibot.kernel.codes import QUEUE_FOREIGN_WRITE, QUEUE_MISSING
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import (
    FILES,
    TEMP_SUFFIX,
    Files,
    StrPath,
    copy_atomic,
    ensure_folder,
    hash_file,
    io_stop,
    is_sharing_violation,
    read_hashed,
    refuse_linked_folder,
    remove_temps,
    sync_folder,
    unsafe,
    write_atomic,
    write_hashed,
)
from minibot.kernel.lock import WriterLock

COMPONENT: Final = "kernel.seal"
SEAL_FILE: Final = "seal.json"
SIGNATURE_FILE: Final = "seal.sig"
SUMS_FILE: Final = "SHA256SUMS"
QUEUES: Final = "queues"
LOCK_SUFFIX: Final = ".lock"
# Five seconds: a virus scanner may take that long over a large file.
UNLINK_TRIES: Final = 50
UNLINK_PAUSE_S: Final = 0.1
PINNED: Final = ("manifest.json", "clock.json", "hourly_state.jsonl", "metrics.json")
"""Files of the run's folder itself that the seal covers as well."""


def seal_run(
    queues_root: StrPath,
    run_dir: StrPath,
    extra: Mapping[str, Any] | None = None,
    *,
    written: Mapping[str, JsonObject] | None = None,
    files: Files = FILES,
) -> str:
    """Seal the queues of a finished run into its folder; return the root, hex.

    A run that is sealed already is left as it is. Every writer has to be closed first, and the
    journals of a killed one recovered: this syncs their lines, which the seal only reads.

    Args:
        queues_root: `var/queues`.
        run_dir: The run's folder.
        extra: Further content under the root: hashes of config, contracts and code, findings.
        written: Size and sha256 of files of `PINNED` as they were written. The seal states these,
            whatever is there now; other files are measured. Names outside `PINNED` are ignored.
        files: The seam to the system.

    Raises:
        LockBusy: A writer is still open.
        RunStop: The disk refuses; call again. PERMISSIONS_UNSAFE: the run's folder is a link.
    """
    root, run = Path(queues_root), Path(run_dir)
    refuse_linked_folder(run, files=files)
    if files.stat(run / SEAL_FILE) is not None:
        return str(read_hashed(run / SEAL_FILE, files=files)["root"])
    with _nobody_writes(root, files):
        target = run / QUEUES
        ensure_folder(target, files=files)
        _remove_temps(target, files)
        for name in (SEAL_FILE, SUMS_FILE):
            remove_temps(run / name, files=files)
        for path in _tree(root, files):
            if not _is_left_out(path):
                _give_name(path, target / path.relative_to(root), files)
        for folder in sorted({path.parent for path in _tree(target, files)} | {target}):
            sync_folder(files, folder)
        obj = _seal_object(run, dict(extra or {}), dict(written or {}), files)
        write_atomic(run / SUMS_FILE, sums_of(obj), files=files)
        write_hashed(run / SEAL_FILE, obj, files=files)
    return str(obj["root"])


def refuse_unsealable(queues_root: StrPath, *, files: Files = FILES) -> None:
    """Refuse a folder of queues that no start could seal.

    Raises:
        RunStop: PERMISSIONS_UNSAFE, a link or a device is in it.
    """
    for _ in _tree(Path(queues_root), files):
        pass


def release(queues_root: StrPath, run_dir: StrPath, *, files: Files = FILES) -> None:
    """Remove the names of a sealed run's files under `var/queues`; lock files stay.

    Raises:
        IntegrityError: A file there is neither the sealed file itself in its sealed size (a second
            name of it is not read) nor of the sealed content; or (QUEUE_MISSING) it alone has that
            content, as the run's copy is gone or damaged. Nothing was removed then. Or the seal is
            missing or damaged.
        Refusal: On Windows, another program holds a file.
        LockBusy: A writer is still open.
        RunStop: The disk refuses; call again. PERMISSIONS_UNSAFE: a link is in its place.
    """
    root = Path(queues_root)
    with _nobody_writes(root, files):
        doomed = releasable(root, run_dir, files=files)
        for path in doomed:
            _unlink(path, files)
        _remove_empty(root, files)
        # The names must not reappear after a power loss, when the run is no longer remembered.
        for folder in sorted({path.parent for path in doomed}):
            if files.stat(folder) is not None:
                sync_folder(files, folder)


def releasable(queues_root: StrPath, run_dir: StrPath, *, files: Files = FILES) -> list[Path]:
    """Return the files under `var/queues` that a release of a sealed run removes; remove nothing.

    Raises:
        IntegrityError: As for `release`.
        RunStop: A file cannot be read. PERMISSIONS_UNSAFE: a link is in its place.
    """
    root, run = Path(queues_root), Path(run_dir)
    sealed = read_hashed(run / SEAL_FILE, files=files)["files"]
    doomed = [path for path in _tree(root, files) if path.suffix != LOCK_SUFFIX]
    for path in doomed:
        if path.suffix != TEMP_SUFFIX:
            _refuse_other(path, path.relative_to(root), run, sealed, files)
    return doomed


def root_of(obj: JsonObject) -> str:
    """Return the root of a seal: sha256 over all that it covers, hex."""
    covered = {key: obj[key] for key in ("files", "run_files", "extra")}
    return sha256(canonical.encode(covered)).hexdigest()


def sums_of(obj: JsonObject) -> bytes:
    """Return the text of `SHA256SUMS`, for `sha256sum -c` in the run's folder."""
    named = {**obj["run_files"], **obj["files"]}
    lines = [f"{named[name]['sha256']}  {name}\n" for name in sorted(named)]
    return "".join(lines).encode()


def measure(path: Path, files: Files) -> JsonObject:
    """Return size and sha256 of a file as the seal holds them."""
    size, digest = hash_file(path, files=files)
    return {"size": size, "sha256": digest}


def _seal_object(
    run: Path, extra: dict[str, Any], written: dict[str, JsonObject], files: Files
) -> JsonObject:
    obj: JsonObject = {
        "schema": "minibot.seal",
        "v": 1,
        "files": {
            path.relative_to(run).as_posix(): measure(path, files)
            for path in _tree(run / QUEUES, files)
            if not _is_left_out(path)
        },
        "run_files": {
            name: written[name] if name in written else measure(run / name, files)
            for name in PINNED
            if name in written or _is_file(run / name, files)
        },
        "extra": extra,
    }
    return {**obj, "root": root_of(obj)}


def _is_file(path: Path, files: Files) -> bool:
    status = files.stat(path)
    return status is not None and status.is_file


def _nobody_writes(root: Path, files: Files) -> ExitStack:
    """Hold every writer's lock, so that no process appends to a file being sealed."""
    stack = ExitStack()
    try:
        for path in _tree(root, files):
            if path.suffix == LOCK_SUFFIX:
                stack.callback(WriterLock(path, files=files).close)
    except BaseException:
        stack.close()
        raise
    return stack


def _tree(root: Path, files: Files) -> Iterator[Path]:
    """Yield every file below a folder in order; refuse links."""
    status = files.stat(root)
    if status is None:
        return
    for name in files.listdir(root):
        path = root / name
        entry = files.stat(path)
        if entry is None:
            continue
        if entry.is_folder:
            yield from _tree(path, files)
        elif entry.is_file:
            yield path
        else:
            raise unsafe(path, "neither a file nor a folder")


def _is_left_out(path: Path) -> bool:
    return path.suffix in (LOCK_SUFFIX, TEMP_SUFFIX)


def _remove_temps(folder: Path, files: Files) -> None:
    """Remove the copies that a killed seal left half done."""
    for path in list(_tree(folder, files)):
        if path.suffix == TEMP_SUFFIX:
            files.unlink(path)


def _give_name(source: Path, target: Path, files: Files) -> None:
    """Link a file into the run's folder; copy it if the file system has no links."""
    ensure_folder(target.parent, files=files)
    standing = files.stat(target)
    if standing is not None:
        ours = files.stat(source)
        if ours is not None and ours.identity == standing.identity:
            return
        if measure(source, files) == measure(target, files):
            return
        copy_atomic(source, target, files=files)
        return
    try:
        files.link(source, target)
    except OSError:
        # No links here, or too many on this file. A copy will do; if the disk refuses, it raises.
        copy_atomic(source, target, files=files)


def _refuse_other(
    path: Path, name: Path, run: Path, sealed: Mapping[str, Any], files: Files
) -> None:
    entry = sealed.get((Path(QUEUES) / name).as_posix())
    ours, theirs = files.stat(path), files.stat(run / QUEUES / name)
    if entry is not None and ours is not None:
        is_one = theirs is not None and ours.identity == theirs.identity
        if is_one and ours.size == entry["size"]:
            return
        if measure(path, files) == entry:
            if theirs is not None and measure(run / QUEUES / name, files) == entry:
                return
            fate = "gone" if theirs is None else "not as it was sealed"
            raise IntegrityError(
                COMPONENT,
                QUEUE_MISSING,
                f"the sealed file is {fate}, and only {path} has its content",
                file=str(run / QUEUES / name),
            )
    raise IntegrityError(
        COMPONENT,
        QUEUE_FOREIGN_WRITE,
        "not what was sealed",
        file=str(path),
        expected="nothing" if entry is None else f"{entry['size']} bytes, {entry['sha256']}",
        found="nothing" if ours is None else f"{ours.size} bytes",
    )


def _unlink(path: Path, files: Files) -> None:
    for left in range(UNLINK_TRIES - 1, -1, -1):
        try:
            return files.unlink(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if not is_sharing_violation(error):
                raise io_stop(error, "remove", path) from error
            if not left:
                raise Refusal(
                    f"{path} is held by another program.", "Close that program and start again."
                ) from error
            files.sleep(UNLINK_PAUSE_S)
    return None


def _remove_empty(root: Path, files: Files) -> None:
    for name in files.listdir(root):
        path = root / name
        status = files.stat(path)
        if status is not None and status.is_folder:
            _remove_empty(path, files)
            with suppress(OSError):
                files.rmdir(path)
