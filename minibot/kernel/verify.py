"""Verification of a run, a queue or a single file, only from the files on disk.

It is independent of writers and readers: it walks everything, collects every finding with its
place, repairs nothing and needs bounded memory. The seal finds damage outside journals: size and
sha256 of each file, no file missing, and none added below `queues/` but locks and temp files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from minibot.kernel import segments as names
from minibot.kernel.audit import SEALED, Finding, JournalAudit, LineCheck, Mark, wanted_of
from minibot.kernel.codes import (
    CURSOR_CORRUPT,
    CURSOR_FOREIGN_RUN,
    IO_FSYNC,
    PERMISSIONS_UNSAFE,
    QUEUE_CORRUPT,
    QUEUE_MISSING,
)
from minibot.kernel.cursor import position_of
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import (
    CRITICAL_BYTES_MAX,
    FILES,
    HINT_BYTES_MAX,
    Access,
    Files,
    StrPath,
    hash_file,
    io_stop,
    read_hashed,
)
from minibot.kernel.head import head_path, newest, read_head_bytes
from minibot.kernel.line import LineError, decode_line
from minibot.kernel.merge import merge_findings
from minibot.kernel.queue import ACKS, CURSOR_FILE, PARTS, READERS
from minibot.kernel.recovery import QUARANTINE
from minibot.kernel.scan import raw_lines
from minibot.kernel.seal import PINNED, QUEUES, SEAL_FILE, SIGNATURE_FILE
from minibot.kernel.seal_audit import seal_findings, unread
from minibot.kernel.sweep import Job, Sweeper

__all__ = ["Finding", "LineCheck", "verify_quick", "verify_tree"]

OWN_HASHED: Final = ("snapshot.json", "suspect.json")
"""Files beside a reader's acks that carry their own sha256, besides its cursor.

`suspect.json` names a line at which a role crashed; a `.suspect` file marks a failed sync.
"""
_REST: Final = re.compile(r".+\.[0-9]{6}\.[0-9]+\.(?P<sha256>[0-9a-f]{64})\.rest")


def verify_tree(
    run_dir: StrPath,
    on_line: LineCheck | None = None,
    *,
    public_key: str | None = None,
    jobs: int = 1,
    files: Files = FILES,
) -> Iterator[Finding]:
    """Yield every finding in a run's folder, a folder of queues, one queue, or one file.

    Args:
        run_dir: The path to verify. A folder that holds `queues/`, a seal or a file of `PINNED` is
            a finished run, which has to be sealed; other folders may be written meanwhile, unless a
            folder above is sealed.
        on_line: A further check of every whole line: (file, line, offset, json) -> findings.
        public_key: The key that must have signed the seal of a run, if any.
        jobs: How many processes may read at once.
        files: The seam to the system.

    Raises:
        Refusal: The path holds nothing that can be verified.
        RunStop: The disk cannot be read.
        OSError: A folder cannot be listed; further findings are not told.
    """
    root = Path(run_dir)
    status = files.stat(root.resolve())
    if status is None:
        raise Refusal(f"{root} does not exist.", "Name a run, a queue's folder or a file.")
    if status.is_file:
        yield from _single_file(root, on_line, files)
        return
    is_run = _is_run(root, files)
    with Sweeper(jobs, files=files) as sweeper:
        tree = _Tree(root, on_line, is_run or _is_in_sealed(root, files), sweeper, files)
        top = root / QUEUES if is_run else root
        stands = _is_folder(top, files)
        if on_line is None and stands:
            sweeper.plan(tree.jobs(top))
        if is_run:
            yield from seal_findings(root, public_key, sweeper, files)
            yield from _queues_finding(top, files)
        else:
            tree.require_any()
        if stands:
            yield from tree.findings(top)


def verify_quick(
    run_dir: StrPath, *, public_key: str | None = None, files: Files = FILES
) -> Iterator[Finding]:
    """Yield files that differ from the seal, by size and sha256, without reading lines.

    A run is compared with its seal; a queue, or a folder of queues, with its lists of sealed
    segments and its heads: an active segment only by its size, and cursors not at all.

    Args:
        run_dir: A run's folder, a folder of queues, or one queue.
        public_key: The key that must have signed the seal of a run, if any.
        files: The seam to the system.

    Raises:
        Refusal: The path is not a folder, or holds nothing that can be verified.
        RunStop: The disk cannot be read.
        OSError: A folder cannot be listed.
    """
    root = Path(run_dir)
    status = files.stat(root.resolve())
    if status is None or not status.is_folder:
        raise Refusal(f"{root} is not a folder.", "Name a run or a queue's folder.")
    with Sweeper(files=files) as sweeper:
        if _is_run(root, files):
            yield from seal_findings(root, public_key, sweeper, files)
        else:
            tree = _Tree(root, None, _is_in_sealed(root, files), sweeper, files)
            tree.require_any()
            yield from tree.quick_findings(root)


def _is_run(root: Path, files: Files) -> bool:
    return any(files.stat(root / name) for name in (QUEUES, SEAL_FILE, *PINNED))


def _is_folder(path: Path, files: Files) -> bool:
    status = files.stat(path)
    return status is not None and (status.is_folder or path.is_dir())


def _queues_finding(queues: Path, files: Files) -> Iterator[Finding]:
    """Yield a finding if a run's folder has no queues, unless it still waits for its seal."""
    status = files.stat(queues)
    if status is None and files.stat(queues.parent / SEAL_FILE) is not None:
        yield Finding(QUEUES, 0, 0, QUEUE_MISSING, "the run's queues", "nothing")
    elif status is not None and not status.is_folder:
        yield Finding(QUEUES, 0, 0, PERMISSIONS_UNSAFE, "a folder", "no folder of its own")


def _is_in_sealed(path: Path, files: Files) -> bool:
    """Return whether a folder above a path is sealed, so that it has no writer any more."""
    return any(files.stat(folder / SEAL_FILE) for folder in path.resolve().parents)


class _Tree:
    """All journals below a folder."""

    def __init__(
        self,
        root: Path,
        on_line: LineCheck | None,
        is_final: bool,
        sweeper: Sweeper,
        files: Files,
    ) -> None:
        self._root = root
        self._on_line = on_line
        self._is_final = is_final
        self._sweeper = sweeper
        self._files = files

    def require_any(self) -> None:
        """Refuse a folder without any journal; raises Refusal."""
        if not self.has_any(self._root):
            raise Refusal(
                f"{self._root} holds nothing that can be verified.",
                "Name a run or a queue's folder.",
            )

    def has_any(self, folder: Path) -> bool:
        """Return whether a journal, or remains of one, are in a folder or below it."""
        entries = self._files.listdir(folder)
        if folder.name == QUARANTINE or CURSOR_FILE in entries or journal_stems(entries):
            return True
        stats = ((name, self._files.stat(folder / name)) for name in entries)
        return any(
            self.has_any(folder / name)
            for name, status in stats
            if status is not None and status.is_folder
        )

    def jobs(self, folder: Path) -> Iterator[Job]:
        """Yield the files to be swept below a folder, as far as its lists can be read."""
        entries = self._files.listdir(folder)
        stems = journal_stems(entries) if folder.name != QUARANTINE else []
        for stem in stems:
            yield from self._jobs_of(folder, stem, names.MAIN_STEM in stems)
        for name in entries:
            status = self._files.stat(folder / name)
            if status is not None and status.is_folder:
                yield from self.jobs(folder / name)

    def _jobs_of(self, folder: Path, stem: str, is_queue: bool) -> Iterator[Job]:
        marks: list[Mark] = []
        if is_queue and stem == names.MAIN_STEM:
            for path in self._cursor_paths(folder):
                list(self._cursor(path, folder.name, marks))
        wanted = wanted_of(marks)
        try:
            segments = names.load_segments(folder, stem, files=self._files)
        except RunStop:
            return  # The journal's own audit reports it.
        for number, segment in enumerate(segments):
            start = names.end_of(segments[:number])._replace(chain=segment.chain_before)
            yield Job(str(folder / segment.name), start, segment.size, wanted)
        try:
            head = newest(read_head_bytes(head_path(folder, stem), files=self._files))
        except RunStop:
            return
        path = folder / names.active_name(stem)
        if head is not None and self._files.stat(path) is not None:
            yield Job(str(path), names.end_of(segments), head.offset, wanted)

    def quick_findings(self, folder: Path) -> Iterator[Finding]:
        """Yield sealed segments that differ from their list, and active ones below their head."""
        entries = self._files.listdir(folder)
        if folder.name == QUARANTINE:
            return
        yield from self._no_inbox(folder, entries, 0)
        for stem in journal_stems(entries):
            yield from self._whatever(
                folder / names.active_name(stem), self._audit(folder, stem, ()).quick_findings()
            )
        for name in entries:
            status = self._files.stat(folder / name)
            if status is not None and status.is_folder:
                yield from self.quick_findings(folder / name)

    def findings(self, folder: Path) -> Iterator[Finding]:
        """Yield the findings of a folder and of all below it."""
        entries = self._files.listdir(folder)
        if folder.name == QUARANTINE:
            yield from self._quarantine(folder, entries)
            return
        yield from self._journals(folder, entries)
        for name in entries:
            path = folder / name
            status = self._files.stat(path)
            if status is not None and status.is_folder:
                yield from self.findings(path)
            elif status is not None and not status.is_file:
                yield Finding(
                    self._name(path), 0, 0, PERMISSIONS_UNSAFE, "a file", "a link or a device"
                )
            elif name in (READERS, PARTS):
                yield Finding(self._name(path), 0, 0, PERMISSIONS_UNSAFE, "a folder", "a file")
            elif name in OWN_HASHED:
                try:
                    read_hashed(path, files=self._files, size_max=HINT_BYTES_MAX)
                except RunStop as error:
                    yield unread(self._name(path), error)
            elif name.endswith(".suspect"):
                yield Finding(self._name(path), 0, 0, IO_FSYNC, "no failed sync", "its mark")

    def _journals(self, folder: Path, entries: list[str]) -> Iterator[Finding]:
        marks: list[Mark] = []
        stems = journal_stems(entries)
        if folder.parent.name != READERS:  # There a reader's cursor lies, without its queue.
            for path in self._cursor_paths(folder):
                yield from self._cursor(path, folder.name, marks)
        yield from self._no_inbox(folder, entries, max(wanted_of(marks), default=0))
        for stem in stems:
            own = marks if stem == names.MAIN_STEM else ()
            yield from self._whatever(
                folder / names.active_name(stem), self._audit(folder, stem, own).findings()
            )
        parts = folder / PARTS
        if names.MAIN_STEM in stems and _is_folder(parts, self._files):
            merge = merge_findings(
                folder, parts, name=self._name, is_final=self._is_final, files=self._files
            )
            yield from self._whatever(parts, merge)

    def _no_inbox(self, folder: Path, entries: list[str], read: int) -> Iterator[Finding]:
        """Yield a finding if a queue has no inbox, though it has other files or was read.

        Acks and cursor are made after the inbox; a reader's own folder has them without one.
        """
        stems = journal_stems(entries)
        is_queue = folder.parent.name != READERS and (CURSOR_FILE in entries or ACKS in stems)
        if names.MAIN_STEM not in stems and (is_queue or read):
            path, wanted = folder / names.active_name(names.MAIN_STEM), f"{read} lines"
            yield Finding(
                self._name(path), 0, 0, QUEUE_MISSING, wanted if read else "an inbox", "nothing"
            )

    def _whatever(self, path: Path, found: Iterator[Finding]) -> Iterator[Finding]:
        """Yield findings; a path that cannot be read at all, such as a FIFO, is one more."""
        try:
            yield from found
        except RunStop as error:
            yield unread(self._name(path), error)

    def _audit(self, folder: Path, stem: str, marks: Sequence[Mark]) -> JournalAudit:
        return JournalAudit(
            folder,
            stem,
            name=self._name,
            is_final=self._is_final,
            marks=marks,
            on_line=self._on_line,
            sweeper=self._sweeper,
            files=self._files,
        )

    def _cursor_paths(self, folder: Path) -> list[Path]:
        paths = [folder / CURSOR_FILE]
        readers = folder / READERS
        if _is_folder(readers, self._files):
            paths += [readers / name / CURSOR_FILE for name in self._files.listdir(readers)]
        return [path for path in paths if self._files.stat(path) is not None]

    def _cursor(self, path: Path, queue: str, marks: list[Mark]) -> Iterator[Finding]:
        """Judge a cursor by itself, and note its position for the audit of the inbox."""
        try:
            obj = read_hashed(path, files=self._files)
        except RunStop as error:
            yield unread(self._name(path), error)
            return
        if obj.get("queue") != queue:
            yield Finding(self._name(path), 0, 0, CURSOR_FOREIGN_RUN, queue, str(obj.get("queue")))
            return
        reader, owner = str(obj.get("reader")), path.parent
        if owner.parent.name == READERS and reader != owner.name:
            yield Finding(self._name(path), 0, 0, CURSOR_FOREIGN_RUN, owner.name, reader)
            return
        try:
            marks.append(Mark(self._name(path), position_of(obj)))
        except (KeyError, TypeError, ValueError) as error:
            yield Finding(self._name(path), 0, 0, CURSOR_CORRUPT, "a position", repr(error))

    def _quarantine(self, folder: Path, entries: list[str]) -> Iterator[Finding]:
        for name in entries:
            match = _REST.fullmatch(name)
            if match:
                path = folder / name
                yield from self._whatever(path, self._rest(path, match["sha256"]))

    def _rest(self, path: Path, wanted: str) -> Iterator[Finding]:
        _, digest = hash_file(path, files=self._files)
        if digest != wanted:
            yield Finding(self._name(path), 0, 0, QUEUE_CORRUPT, wanted, digest)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def journal_stems(entries: list[str]) -> list[str]:
    """Return the stems of the journals among the names of a folder."""
    stems = set()
    for name in entries:
        match = SEALED.fullmatch(name)
        if match:
            stems.add(match["stem"])
        elif name.endswith((".jsonl", ".head")):
            stems.add(name.rpartition(".")[0])
    return sorted(stems)


# --- one file ---------------------------------------------------------------------------------


def _single_file(path: Path, on_line: LineCheck | None, files: Files) -> Iterator[Finding]:
    name = path.name
    folder = path.parent
    is_final = _is_in_sealed(path, files)
    if name == SEAL_FILE:
        with Sweeper(files=files) as sweeper:
            yield from seal_findings(folder, None, sweeper, files)
    elif name.endswith(".json") or name == SIGNATURE_FILE:
        size_max = HINT_BYTES_MAX if name in OWN_HASHED else CRITICAL_BYTES_MAX
        try:
            read_hashed(path, files=files, size_max=size_max)
        except RunStop as error:
            yield unread(name, error)
    elif name.endswith((".jsonl", ".head")):
        match = SEALED.fullmatch(name)
        stem = match["stem"] if match else name.rpartition(".")[0]
        if files.stat(folder / f"{stem}.head") is None:
            yield from _loose_lines(path, on_line, files)
            return
        audit = JournalAudit(
            folder,
            stem,
            name=lambda part: part.name,
            is_final=is_final,
            on_line=on_line,
            files=files,
        )
        yield from audit.findings()
    else:
        raise Refusal(
            f"{path} cannot be verified.", "Name a .jsonl, .head or .json file of a queue."
        )


def _loose_lines(path: Path, on_line: LineCheck | None, files: Files) -> Iterator[Finding]:
    """Judge each line of a file without a head by itself; its JSON need not be canonical."""
    try:
        fd = files.open(path, Access.READ)
    except OSError as error:
        raise io_stop(error, "open", path) from error
    try:
        size = files.fstat(fd).size
        for number, (offset, raw) in enumerate(raw_lines(files, fd, path, 0, size), 1):
            try:
                _, json = decode_line(raw)
            except LineError as error:
                yield Finding(
                    path.name,
                    number,
                    offset,
                    QUEUE_CORRUPT,
                    error.expected or error.why,
                    error.found,
                )
                continue
            if on_line is not None:
                yield from on_line(path.name, number, offset, json)
    finally:
        files.close(fd)
