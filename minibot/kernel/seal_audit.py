"""Audit of a run against its seal: sizes, sha256, sums, signature, no file missing.

Nor may one be added below `queues/`, but for locks and temp files, which no seal covers. Further
files in the run's folder itself are no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Final

from minibot.kernel.audit import Finding
from minibot.kernel.canonical import JsonObject
from minibot.kernel.codes import ATOMICITY_VIOLATION, QUEUE_MISSING
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import FILES, TEMP_SUFFIX, Files, Stat, hash_file, read_hashed, read_whole
from minibot.kernel.seal import (
    LOCK_SUFFIX,
    PINNED,
    QUEUES,
    SEAL_FILE,
    SUMS_FILE,
    root_of,
    sums_of,
)
from minibot.kernel.signature import signature_findings
from minibot.kernel.sweep import Sweeper

MANIFEST_FILE: Final = "manifest.json"
OWN_HASHED: Final = tuple(name for name in PINNED if name.endswith(".json"))
"""Files of a run's folder that carry their own sha256."""
HASHERS: Final = 2
# Smaller amounts are hashed before threads could start.
THREADED_BYTES_MIN: Final = 4 << 20

Sizes = Mapping[str, tuple[int, str]]
"""Size and sha256 of each file by its name below the run's folder."""
Measured = Iterable[tuple[str, tuple[int, str] | RunStop | None]]
"""Each file with its size and sha256, None if it is missing, or its read error."""


def seal_findings(
    root: Path, public_key: str | None, sweeper: Sweeper, files: Files
) -> Iterator[Finding]:
    """Yield the differences between a run's files and its seal."""

    def measured(sizes: Sizes) -> Measured:
        return _all_measured(root, sizes, sweeper, files)

    present = (path.relative_to(root).as_posix() for path in _present(root / QUEUES, files))
    yield from _seal_findings(root, public_key, measured, present, files)


def streamed_findings(
    root: Path, public_key: str | None, found: Sizes, files: Files = FILES
) -> Iterator[Finding]:
    """Yield the differences between a run that was read as a stream and its seal.

    Args:
        root: A folder with the run's files besides its queues, such as manifest and seal.
        public_key: The key that must have signed the seal, if any.
        found: Size and sha256 of every file in the stream, by its name below the run's folder.
        files: The seam to the system.
    """

    def measured(sizes: Sizes) -> Measured:
        return ((name, found.get(name)) for name in sorted(sizes))

    queued = [name for name in found if name.startswith(f"{QUEUES}/")]
    yield from _seal_findings(root, public_key, measured, queued, files)


def _seal_findings(
    root: Path,
    public_key: str | None,
    measured: Callable[[Sizes], Measured],
    present: Iterable[str],
    files: Files,
) -> Iterator[Finding]:
    if files.stat(root / SEAL_FILE) is None:
        yield Finding(SEAL_FILE, 0, 0, "SEAL_MISSING", "a sealed run", "no seal")
        yield from _own_hashes(root, files)
        return
    try:
        seal = read_hashed(root / SEAL_FILE, files=files)
        wanted = root_of(seal)
        listed = {**seal["run_files"], **seal["files"]}
        sizes = {name: (entry["size"], entry["sha256"]) for name, entry in listed.items()}
    except RunStop as error:
        yield unread(SEAL_FILE, error)
        return
    except (KeyError, TypeError, AttributeError) as error:
        yield Finding(SEAL_FILE, 0, 0, ATOMICITY_VIOLATION, "a seal", repr(error))
        return
    if seal.get("root") != wanted:
        yield Finding(SEAL_FILE, 0, 0, "SEAL_MISMATCH", wanted, str(seal.get("root")))
    yield from signature_findings(root, wanted, public_key, files=files)
    yield from _sums(root, seal, files)
    for name, found in measured(sizes):
        if isinstance(found, RunStop):
            yield unread(name, found)
        else:
            yield from _sealed_file(name, *sizes[name], found)
    for name in present:
        if name not in sizes:
            yield Finding(name, 0, 0, "SEAL_EXTRA_FILE", "no such file", "a file")
    yield from _own_hashes(root, files)


def _all_measured(
    root: Path, sizes: Sizes, sweeper: Sweeper, files: Files
) -> Iterator[tuple[str, tuple[int, str] | RunStop | None]]:
    """Yield (name, size and sha256) of files, in order; hash large runs in several threads."""
    names = sorted(sizes)
    stats = (_stat(root / name, files) for name in names)
    if sum(status.size for status in stats if status is not None) < THREADED_BYTES_MIN:
        for name in names:
            yield name, _measured(root / name, sizes[name][0], sweeper, files)
        return
    with ThreadPoolExecutor(HASHERS) as pool:  # Hashing releases the interpreter's lock.
        futures = [
            pool.submit(_measured, root / name, sizes[name][0], sweeper, files) for name in names
        ]
        for name, future in zip(names, futures, strict=True):
            yield name, future.result()


def _stat(path: Path, files: Files) -> Stat | None:
    try:
        return files.stat(path)
    except (OSError, ValueError):
        return None  # A forged seal may hold impossible file names.


def _measured(
    path: Path, size: int, sweeper: Sweeper, files: Files
) -> tuple[int, str] | RunStop | None:
    """Return size and sha256 of a file, None if it is missing, or its read error.

    A file of another size than the sealed one is not hashed: it may be as large as the disk.
    """
    status = _stat(path, files)
    if status is None or not status.is_file:
        return None
    try:
        known = sweeper.digest(path)
        if status.size != size:
            return status.size, ""
        # A sweep goes up to the head; bytes above it belong to the file as well.
        if known is not None and known[0] == status.size:
            return known
        return hash_file(path, files=files)
    except RunStop as error:
        return error


def _sealed_file(
    name: str, size: int, digest: str, found: tuple[int, str] | None
) -> Iterator[Finding]:
    if found is None:
        yield Finding(name, 0, 0, "SEAL_MISMATCH", f"{size} bytes", "no file")
    elif found[0] != size:
        yield Finding(name, 0, 0, "SEAL_MISMATCH", f"{size} bytes", f"{found[0]} bytes")
    elif found[1] != digest:
        yield Finding(name, 0, 0, "SEAL_MISMATCH", digest, found[1])


def _sums(root: Path, seal: JsonObject, files: Files) -> Iterator[Finding]:
    try:
        found = read_whole(root / SUMS_FILE, files=files)
    except FileNotFoundError:
        yield Finding(SUMS_FILE, 0, 0, "SEAL_MISMATCH", "the sums of the seal", "nothing")
        return
    except RunStop as error:
        yield unread(SUMS_FILE, error)
        return
    if found != sums_of(seal):
        digests = sha256(sums_of(seal)).hexdigest(), sha256(found).hexdigest()
        yield Finding(SUMS_FILE, 0, 0, "SEAL_MISMATCH", *digests)


def _own_hashes(root: Path, files: Files) -> Iterator[Finding]:
    """Yield a missing manifest, and files of a run's folder that fail their own hash."""
    if files.stat(root / MANIFEST_FILE) is None:
        yield Finding(MANIFEST_FILE, 0, 0, QUEUE_MISSING, "the run's manifest", "nothing")
    for name in OWN_HASHED:
        if files.stat(root / name) is not None:
            try:
                read_hashed(root / name, files=files)
            except RunStop as error:
                yield unread(name, error)


def unread(name: str, error: RunStop) -> Finding:
    """Return the finding of a file that cannot be read or fails its own hash."""
    expected = error.expected if isinstance(error, IntegrityError) else ""
    return Finding(name, 0, 0, error.reason_code, expected or "a whole file", error.detail)


def _present(folder: Path, files: Files) -> Iterator[Path]:
    status = files.stat(folder)
    if status is None or not status.is_folder:
        return
    for name in files.listdir(folder):
        path = folder / name
        entry = files.stat(path)
        if entry is not None and entry.is_folder:
            yield from _present(path, files)
        elif path.suffix not in (LOCK_SUFFIX, TEMP_SUFFIX):
            yield path
