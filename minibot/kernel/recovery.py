"""Recovery before a writer's first append: find the end, keep whole lines, refuse damage.

Every whole valid line above the head is kept, up to the first damaged one; the chain is compared
at the head and at the caller's `floor` alone. The tail from the damaged line on, at most one batch
long, is copied to `quarantine/` and cut. Damage below head or `floor`, or any damage without a good
head, is a STOP, and no line is touched: QUEUE_TRUNCATED where the file ends below the head,
CURSOR_AHEAD where it ends below `floor` alone, QUEUE_CHAIN where whole lines are not those of head
or `floor`, else QUEUE_CORRUPT. A sealed segment of another size than its manifest entry is a STOP
too. After a reboot the last recorded sync of a lazily synced journal takes the place of head and
`floor`, since lines above it may be gone. Each step may be repeated after a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from minibot.kernel import segments as names
from minibot.kernel.codes import (
    CURSOR_AHEAD,
    IO_EIO,
    IO_FSYNC,
    QUEUE_CHAIN,
    QUEUE_CORRUPT,
    QUEUE_MANIFEST,
    QUEUE_MISSING,
    QUEUE_TAIL_TOO_LONG,
    QUEUE_TRUNCATED,
)
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import (
    FILES,
    Access,
    Files,
    ensure_folder,
    io_stop,
    read_range,
    refuse_linked_folder,
    remove_temps,
    sync,
    sync_folder,
    write_atomic,
)
from minibot.kernel.head import Head, boot_number, head_path, newest, read_head_bytes, synced
from minibot.kernel.line import NO_END
from minibot.kernel.position import ZERO, Position
from minibot.kernel.scan import CHUNK_BYTES, Step, walk
from minibot.kernel.segments import Segment

COMPONENT: Final = "kernel.recovery"
QUARANTINE: Final = "quarantine"


class Recovery(NamedTuple):
    """Recovery of a journal at its writer's start.

    Attributes:
        kept_lines: Whole lines found above the head, which the writer publishes when it opens.
        cut_bytes: Length of the damaged tail that was cut; usually 0.
        quarantined: Path of its copy.
    """

    kept_lines: int
    cut_bytes: int
    quarantined: Path | None


class Recovered(NamedTuple):
    """Recovered journal, as the writer takes it over.

    Attributes:
        fd: The active segment, open for writing.
        position: Its end, and the chain up to there.
        segments: The sealed segments.
        recovery: Lines kept and bytes cut.
    """

    fd: int
    position: Position
    segments: list[Segment]
    recovery: Recovery


class Bounds(NamedTuple):
    """Lower bounds of a journal's length, by head and floor.

    Attributes:
        head: The newest good slot; None without one.
        is_head_binding: Every line below the head has to be there; False where a reboot may have
            taken lines that were never synced.
        floor: The caller's floor, or the last recorded sync where the head does not bind.
    """

    head: Head | None
    is_head_binding: bool
    floor: Position


def suspect_path(folder: Path, stem: str) -> Path:
    """Return the path of the mark left by a writer whose sync failed."""
    return folder / f"{stem}.suspect"


def recover(
    folder: Path,
    stem: str,
    *,
    floor: Position | None = None,
    batch_bytes_max: int,
    files: Files = FILES,
) -> Recovered:
    """Return the journal ready for appending; create it if it never existed.

    Raises:
        IntegrityError: QUEUE_CORRUPT, QUEUE_CHAIN, QUEUE_TRUNCATED, QUEUE_MISSING,
            QUEUE_MANIFEST, QUEUE_TAIL_TOO_LONG or CURSOR_AHEAD.
        RunStop: IO_FSYNC for a journal whose last sync failed; PERMISSIONS_UNSAFE; the disk.
    """
    refuse_linked_folder(folder, files=files)
    ensure_folder(folder, files=files)
    _refuse_suspect(folder, stem, files)
    for name in (names.manifest_name(stem), head_path(folder, stem).name):
        remove_temps(folder / name, files=files)
    bounds = _bounds(folder, stem, floor or ZERO, files)
    segments = _sealed(folder, stem, bounds, files)
    start = names.end_of(segments)
    if bounds.head is not None and bounds.head.segment > start.segment:
        raise _error(
            QUEUE_MANIFEST,
            folder / names.manifest_name(stem),
            "segments are missing from the manifest",
            f"{bounds.head.segment - 1} sealed segments",
            str(len(segments)),
        )
    fd = _open_active(folder, stem, start, bounds, files)
    try:
        # File names may not be synced yet; a published line must not depend on that.
        sync_folder(files, folder)
        position, recovery = _judge(
            folder, stem, fd, start, bounds, batch_bytes_max=batch_bytes_max, files=files
        )
    except BaseException:
        files.close(fd)
        raise
    return Recovered(fd, position, segments, recovery)


def create_file(path: Path, files: Files) -> int:
    """Return a new empty file whose name is durable."""
    try:
        fd = files.open(path, Access.CREATE)
    except OSError as error:
        raise io_stop(error, "create", path) from error
    try:
        sync(lambda: files.sync(fd), path)
        sync_folder(files, path.parent)
    except BaseException:
        files.close(fd)
        raise
    return fd


def hash_segment(files: Files, fd: int, path: Path, size: int) -> str:
    """Return the sha256 of the first `size` bytes of a file, hex."""
    digest = sha256()
    at = 0
    while at < size:
        try:
            chunk = files.pread(fd, min(CHUNK_BYTES, size - at), at)
        except OSError as error:
            raise io_stop(error, "read", path) from error
        if not chunk:
            raise _error(QUEUE_TRUNCATED, path, "file ends too early", str(size), str(at))
        digest.update(chunk)
        at += len(chunk)
    return digest.hexdigest()


def _refuse_suspect(folder: Path, stem: str, files: Files) -> None:
    if files.stat(suspect_path(folder, stem)) is not None:
        raise RunStop(
            COMPONENT,
            IO_FSYNC,
            f"{folder / names.active_name(stem)}: a sync of this file failed before, so what it "
            "holds may not be on the disk; it is not appended to again",
        )


def _bounds(folder: Path, stem: str, floor: Position, files: Files) -> Bounds:
    raw = read_head_bytes(head_path(folder, stem), files=files)
    mark = synced(raw)
    if mark is None:
        return Bounds(newest(raw), True, floor)
    boot = boot_number(files)
    if boot and mark.sequence == boot:
        # The machine has not rebooted since the last publication: no published line can be gone.
        return Bounds(newest(raw), True, floor)
    # Lines published but not synced may be gone, and the floor may stand beyond the end.
    return Bounds(newest(raw), False, mark.position)


def _sealed(folder: Path, stem: str, bounds: Bounds, files: Files) -> list[Segment]:
    """Return the sealed segments; finish a rotation that a crash interrupted."""
    segments = names.load_segments(folder, stem, files=files)
    for segment in segments:
        status = files.stat(folder / segment.name)
        if status is None or status.size != segment.size:
            found = "nothing" if status is None else f"{status.size} bytes"
            raise _error(
                QUEUE_MANIFEST,
                folder / segment.name,
                "sealed segment changed",
                f"{segment.size} bytes",
                found,
            )
    start = names.end_of(segments)
    path = folder / names.sealed_name(stem, start.segment)
    if files.stat(path) is None:
        return segments
    if files.stat(folder / names.active_name(stem)) is not None:
        raise _error(QUEUE_MANIFEST, path, "a sealed segment that the manifest does not list")
    segments.append(_read_segment(path, start, bounds, files))
    # The writer died before it synced its rename; a manifest must not outlive what it lists.
    sync_folder(files, folder)
    names.write_segments(folder, stem, segments, files=files)
    return segments


def _read_segment(path: Path, start: Position, bounds: Bounds, files: Files) -> Segment:
    """Return the manifest entry of a renamed segment; all of it was synced before its rename.

    Raises:
        IntegrityError: QUEUE_CORRUPT, QUEUE_CHAIN or QUEUE_TRUNCATED, it is damaged, leads
            elsewhere than head or floor, or ends below the head.
    """
    try:
        fd = files.open(path, Access.READ)
    except OSError as error:
        raise io_stop(error, "open", path) from error
    try:
        size = files.fstat(fd).size
        after = start
        for step in walk(files, fd, path, start, size):
            if step.error is not None:
                raise _damage(QUEUE_CORRUPT, path, step)
            after = step.after
            _compare(path, after, bounds)
        head = bounds.head
        if head is not None and head.segment == after.segment and after.seq < head.lines:
            _refuse_loss(path, after, None, head.position)  # A manifest would make the loss true.
        digest = hash_segment(files, fd, path, size)
        lines = after.seq - start.seq
        return Segment(path.name, size, lines, digest, start.chain, after.chain)
    finally:
        files.close(fd)


def _open_active(folder: Path, stem: str, start: Position, bounds: Bounds, files: Files) -> int:
    path = folder / names.active_name(stem)
    try:
        return files.open(path, Access.WRITE)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise io_stop(error, "open", path) from error
    wanted = max(bounds.floor.seq, bounds.head.lines if bounds.head else 0)
    if wanted > start.seq:
        raise _error(
            QUEUE_MISSING, path, "the file is missing", f"{wanted - start.seq} lines", "nothing"
        )
    # A writer that died in a rotation left names unsynced; the new file must not outlive those.
    sync_folder(files, folder)
    return create_file(path, files)


def _judge(
    folder: Path,
    stem: str,
    fd: int,
    start: Position,
    bounds: Bounds,
    *,
    batch_bytes_max: int,
    files: Files,
) -> tuple[Position, Recovery]:
    """Walk the active segment, refuse damage below the bound, cut a damaged tail."""
    path = folder / names.active_name(stem)
    size = files.fstat(fd).size
    end, damage = start, None
    _compare(path, start, bounds)
    for step in walk(files, fd, path, start, size):
        if step.error is not None:
            damage = step
            break
        end = step.after
        _compare(path, end, bounds)
    _refuse_below_bound(path, end, damage, bounds)
    head_lines = bounds.head.lines if bounds.head else bounds.floor.seq
    kept = max(0, end.seq - max(head_lines, start.seq))
    if damage is None:
        # Whole lines above the head may never have been synced; from now on they are published.
        _sync_or_mark(folder, stem, lambda: files.datasync(fd), files)
        return end, Recovery(kept, 0, None)
    rest = size - end.offset
    if rest > batch_bytes_max:
        raise _damage(QUEUE_TAIL_TOO_LONG, path, damage, f"{rest} damaged bytes at the end")
    copy = _quarantine(folder, stem, fd, end, rest, files)
    try:
        files.truncate(fd, end.offset)
    except OSError as error:
        raise io_stop(error, "cut", path) from error
    _sync_or_mark(folder, stem, lambda: files.sync(fd), files)
    return end, Recovery(kept, rest, copy)


def _sync_or_mark(folder: Path, stem: str, act: Callable[[], None], files: Files) -> None:
    """Sync recovered data; a failed sync may have lost it, whatever the next one reports."""
    try:
        sync(act, folder / names.active_name(stem))
    except RunStop:
        mark_suspect(folder, stem, files)
        raise


def _compare(path: Path, at: Position, bounds: Bounds) -> None:
    """Refuse lines whose chain differs from the one in head or floor at the same place."""
    for known in (bounds.head and bounds.head.position, bounds.floor):
        if known is None or known.seq == 0 or known.segment != at.segment:
            continue
        if known != at and (known.seq == at.seq or known.offset == at.offset):
            raise _error(
                QUEUE_CHAIN,
                path,
                "the lines lead elsewhere than head or floor say",
                _place(known),
                _place(at),
            )


def _refuse_below_bound(path: Path, end: Position, damage: Step | None, bounds: Bounds) -> None:
    head = bounds.head
    if head is None and damage is not None:
        raise _damage(QUEUE_CORRUPT, path, damage, "no good head says whether this was published")
    if head is not None and bounds.is_head_binding:
        is_short = (end.segment, end.offset) < (head.segment, head.offset)
        if is_short or end.seq < head.lines:
            _refuse_loss(path, end, damage, head.position)
    if end.seq < bounds.floor.seq:
        if damage is not None:
            raise _damage(QUEUE_CORRUPT, path, damage)
        code = CURSOR_AHEAD if bounds.is_head_binding else QUEUE_TRUNCATED
        raise _error(
            code,
            path,
            "a reader or the disk was further",
            f"{bounds.floor.seq} lines",
            f"{end.seq}",
        )


def _refuse_loss(path: Path, end: Position, damage: Step | None, head: Position) -> None:
    is_cut = damage is None or (damage.error is not None and damage.error.why == NO_END)
    if damage is not None and not (is_cut and damage.end < head.offset):
        raise _damage(QUEUE_CORRUPT, path, damage)
    raise _error(
        QUEUE_TRUNCATED,
        path,
        "lines below the head are gone",
        f"{head.seq} lines, {head.offset} bytes",
        f"{end.seq} lines, {end.offset if damage is None else damage.end} bytes",
    )


def _quarantine(folder: Path, stem: str, fd: int, end: Position, size: int, files: Files) -> Path:
    """Copy a damaged tail next to the journal, named by place and sha256; durable on return."""
    path = folder / names.active_name(stem)
    rest = read_range(files, fd, size, end.offset, path)
    if len(rest) != size:
        raise _error(IO_EIO, path, "the rest could not be read", str(size), str(len(rest)))
    place = folder / QUARANTINE
    ensure_folder(place, files=files)
    refuse_linked_folder(place, files=files)
    name = f"{stem}.{end.segment:06d}.{end.offset}.{sha256(rest).hexdigest()}.rest"
    write_atomic(place / name, rest, files=files)
    return place / name


def mark_suspect(folder: Path, stem: str, files: Files) -> None:
    """Leave a mark next to a journal whose sync failed; ignore a disk that refuses even that."""
    with suppress(OSError, RunStop):
        files.close(files.open(suspect_path(folder, stem), Access.CREATE))


def _place(at: Position) -> str:
    return f"line {at.seq}, offset {at.offset}, chain {at.chain.hex()}"


def _damage(code: str, path: Path, step: Step, why: str = "") -> IntegrityError:
    error = step.error
    text = error.why if error else ""
    return IntegrityError(
        COMPONENT,
        code,
        f"{why}; {text}" if why else text,
        file=str(path),
        line=step.line,
        offset=step.offset,
        expected=error.expected if error else "",
        found=error.found if error else "",
    )


def _error(code: str, path: Path, why: str, expected: str = "", found: str = "") -> IntegrityError:
    return IntegrityError(COMPONENT, code, why, file=str(path), expected=expected, found=found)
