"""Backup of a run, running or finished, in a folder outside of its `var`.

    FOLDER/20261123_213000_125.20261123_203000.json   one backup: path below `var` -> size, sha256
    FOLDER/content/SHA256                             each file once, whatever names it

A backup of an open run holds its queues as if the machine had died at one moment (`kernel.cut`);
the operators' stop journal, the flag and the AI's files are read a little later. A backup of a
finished run is its sealed folder and the AI's files, with its STOP if that is still raised. The
list of files comes last: without it nothing counts. A file whose name some system could not restore
is left out, and the backup says so.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from minibot.events.names import STOP_JOURNAL
from minibot.kernel.canonical import JsonObject
from minibot.kernel.codes import ATOMICITY_VIOLATION
from minibot.kernel.cut import HEAD_SUFFIX, JournalCut, cut_below, cut_of, unsealed_chunks
from minibot.kernel.errors import IntegrityError, LockBusy, Refusal, RunStop
from minibot.kernel.files import (
    FILES,
    TEMP_SUFFIX,
    Files,
    ensure_below,
    hashed_bytes,
    io_stop,
    parse_hashed,
    read_hashed,
    read_whole,
    sync_folder,
    write_hashed,
)
from minibot.kernel.head import head_bytes, head_path
from minibot.kernel.lock import WriterLock
from minibot.kernel.seal import LOCK_SUFFIX, SEAL_FILE
from minibot.kernel.segments import MAIN_STEM, active_name, manifest_json, manifest_name
from minibot.kernel.store import Content, Store
from minibot.runtime.clock import CLOCK_FILE, wall_ms
from minibot.runtime.current_note import CURRENT_FILE, current_note, ended_note
from minibot.runtime.manifest import MANIFEST_FILE, is_run_id, moment_of, run_id_of
from minibot.runtime.pasting import pasted
from minibot.runtime.paths import Var, escape_reason, is_within
from minibot.runtime.stop import FLAG

COMPONENT: Final = "runtime.backup"
CONTENT: Final = "content"
LOCK_FILE: Final = "backup.lock"
SCHEMA: Final = "minibot.backup"
_NAME: Final = re.compile(r"[0-9]{8}_[0-9]{6}_[0-9]{3}\.[0-9]{8}_[0-9]{6}\.json")
_SECOND_CHARS: Final = len("20261123_213000")
_JOURNAL_FILE: Final = re.compile(
    r"(?P<stem>.+?)(\.[0-9]{6,})?\.jsonl|((?P<listed>.+)\.)?segments\.json"
)
_Named = Iterator[tuple[str, Content | None]]
"""Files by path below `var`; None for a file whose name no list may hold."""
_AT_TOP: Final = re.compile(rf"{CURRENT_FILE}|{FLAG}|{STOP_JOURNAL}\.[a-z0-9.]+")


@dataclass(frozen=True, slots=True)
class Backup:
    """Backup, by its list of files.

    Attributes:
        path: The list.
        run_id: The run.
        is_finished: True for a sealed run's folder, False for the `var` of an open run.
        taken_ms: When it was taken, Unix ms of the wall clock.
        files: Content by path below `var`.
        left_out: Paths below `var` that this backup could not take because of their names, escaped
            for people; folders stand for all that is in them. A list that is read has none.
    """

    path: Path
    run_id: str
    is_finished: bool
    taken_ms: int
    files: dict[str, Content]
    left_out: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """Name by which `minibot restore` finds it in its folder."""
        return self.path.stem

    @property
    def bytes(self) -> int:
        """Bytes of all its files, also of those that other backups have too."""
        return sum(content.size for content in self.files.values())


class BackupFolder:
    """Folder of backups.

    Args:
        folder: The folder; it is made, its parent has to exist.
        free_min: Bytes of free space on its disk that a backup leaves to others.
        pace: Called with the size of each piece before it is written; may raise to give up.
        files: The seam to the system.
    """

    def __init__(
        self,
        folder: Path,
        *,
        free_min: int = 0,
        pace: Callable[[int], None] = lambda size: None,
        files: Files = FILES,
    ) -> None:
        self.folder = folder
        self._files = files
        self._free_min = free_min
        self._pace = pace
        self._last: Path | None = None
        self.store = Store(folder / CONTENT, self._before_piece, files=files)

    def take(self, var: Var, run_id: str) -> Backup:
        """Take a backup of a run now.

        Raises:
            Refusal: The run's folder is not named by an id, the backup's is a file or lies in
                `var`, its parent is missing, the disk has too little room, another process backs up
                here, the run has neither seal nor queues, or its seal has a name that no list may
                hold.
            Transient: The run's queues never held still for one moment; try again.
            RunStop: A file of the run is damaged, or the disk refuses.
        """
        if not is_run_id(run_id):  # No list may name it, so nothing could restore it.
            raise Refusal(
                f"{run_id} is no run's id, by which a backup is found and restored.",
                f"Back up the run itself, or pack the copy: minibot bundle {pasted(run_id)}",
            )
        _refuse_inside(self.folder, var)
        _refuse_file(self.folder)
        run_dir = var.run(run_id)
        with self._locked():
            is_finished = self._files.stat(run_dir / SEAL_FILE) is not None
            if not is_finished:
                _require_current(var, run_id)
            named = dict(self._sealed(var, run_dir) if is_finished else self._open(var, run_dir))
            named |= self._flag(var, run_id if is_finished else None)
            named |= self._tree(var, var.ai)
            found = {place: content for place, content in named.items() if content is not None}
            left_out = tuple(_shown(place) for place in named if place not in found)
            taken_ms = wall_ms()
            # A clock that was set back would otherwise hide this backup behind older ones.
            named_ms = max([taken_ms, *(_named_ms(path) + 1 for path in self.taken()[-1:])])
            moment = f"{run_id_of(named_ms // 1000)}_{named_ms % 1000:03d}"
            path = self.folder / f"{moment}.{run_id}.json"
            taken = Backup(path, run_id, is_finished, taken_ms, found, left_out)
            self.store.settle()
            write_hashed(path, _listed(taken), generation=1, files=self._files)
        self._last = path
        return taken

    def try_out(self, var: Var) -> None:
        """Make the folder, and lock it as a backup does, unless one is being taken.

        Raises:
            Refusal: It is a file, lies in `var`, has no parent, or its file system locks nothing.
            RunStop: The disk refuses.
        """
        _refuse_inside(self.folder, var)
        _refuse_file(self.folder)
        with suppress(LockBusy), self._lock():
            pass

    def taken(self) -> list[Path]:
        """Return the lists of all backups here, oldest first."""
        if self._files.stat(self.folder) is None:
            return []
        return [self.folder / name for name in self._files.listdir(self.folder) if _is_list(name)]

    def keep(self, count: int) -> int:
        """Remove all but the newest backups, and content that they do not name; return bytes freed.

        The last one that this object took stays, also if other processes took newer ones.

        Args:
            count: How many backups stay, at least 1.

        Raises:
            IntegrityError: A list that stays is damaged: its content is unknown, so nothing is
                removed until it is among the oldest.
            Refusal: Another process backs up here.
            RunStop: The disk refuses.
        """
        with self._locked():
            standing = self.taken()
            going = [path for path in standing[:-count] if path != self._last]
            kept = [read_backup(path, files=self._files) for path in standing if path not in going]
            for path in going:
                try:
                    self._files.unlink(path)
                except OSError as error:
                    raise io_stop(error, "remove", path) from error
            # A list must not come back after its content has gone.
            sync_folder(self._files, self.folder)
            named = {content.sha256 for one in kept for content in one.files.values()}
            return self.store.sweep(named)

    # --- content ------------------------------------------------------------------------------

    def _open(self, var: Var, run_dir: Path) -> _Named:
        """Yield an open run's files: cursors and snapshots, queues at one moment, then stops."""
        for name in (MANIFEST_FILE, CLOCK_FILE):
            yield from self._file(var, run_dir / name)
        # A cursor or snapshot read before the cut never points beyond it.
        yield from self._tree(var, var.queues, is_left_out=self._is_cut)
        cuts = cut_below(var.queues, files=self._files)
        if self._files.stat(var.root / f"{STOP_JOURNAL}{HEAD_SUFFIX}") is not None:
            cuts += cut_of([(var.root, STOP_JOURNAL)], files=self._files)
        else:
            for name in self._files.listdir(var.root):
                if _stem_of(var.root / name) == STOP_JOURNAL:
                    yield from self._file(var, var.root / name)
        for cut in cuts:
            place = _place(var, cut.folder / active_name(cut.stem))
            if _is_portable(place):
                yield from self._journal(var, cut)
            else:
                yield place, None
        note = ended_note(run_dir.name, current_note(var))
        yield CURRENT_FILE, self.store.put([hashed_bytes(note, 1)])

    def _is_cut(self, path: Path) -> bool:
        """Return whether a file belongs to a journal that the cut takes, up to its head.

        The cut knows no journal whose head is gone: its files are taken as they are.
        """
        stem = _stem_of(path)
        return stem is not None and self._files.stat(head_path(path.parent, stem)) is not None

    def _flag(self, var: Var, run_id: str | None) -> _Named:
        """Yield the flag, if there is one: of whatever kind, it is a STOP.

        Args:
            var: The run's.
            run_id: The run whose STOP it is to be; a flag that names another is left out then.
        """
        if not os.path.lexists(var.flag):
            return
        status = self._files.stat(var.flag)
        is_file = status is not None and status.is_file
        data = read_whole(var.flag, files=self._files) if is_file else b""
        with suppress(IntegrityError):
            if run_id is not None and parse_hashed(data, var.flag).get("run_id") != run_id:
                return
        yield FLAG, self.store.put([data])

    def _journal(self, var: Var, cut: JournalCut) -> Iterator[tuple[str, Content]]:
        """Yield the files of one journal as they would stand had it ended at the cut."""
        place = cut.folder.relative_to(var.root)
        for segment in cut.segments:
            known = Content(segment.size, segment.sha256)
            yield (
                (place / segment.name).as_posix(),
                self.store.put_file(cut.folder / segment.name, known),
            )
        if cut.segments:
            listed = hashed_bytes(manifest_json(cut.stem, cut.segments), 1)
            yield (place / manifest_name(cut.stem)).as_posix(), self.store.put([listed])
        active = self.store.put(unsealed_chunks(cut, files=self._files))
        yield (place / active_name(cut.stem)).as_posix(), active
        head = self.store.put([head_bytes(cut.head.position)])
        yield (place / f"{cut.stem}{HEAD_SUFFIX}").as_posix(), head

    def _sealed(self, var: Var, run_dir: Path) -> _Named:
        """Yield the files of a sealed run's folder; those in its seal have to be as sealed.

        A file whose sealed content is in the store already is not read.
        """
        seal = read_hashed(run_dir / SEAL_FILE, files=self._files)
        known = {
            name: Content(entry["size"], entry["sha256"])
            for name, entry in {**seal["run_files"], **seal["files"]}.items()
        }
        for name, content in known.items():
            place = f"{run_dir.relative_to(var.root).as_posix()}/{name}"
            if not _is_portable(place):
                raise Refusal(
                    f"the seal of {run_dir.name} has {_shown(name)}, a name that some system could "
                    "not restore, and without that file the run would not verify.",
                    f"Keep a copy of {run_dir} by other means.",
                )
            yield place, self.store.put_file(run_dir / name, content)
        yield from self._tree(
            var, run_dir, lambda path: path.relative_to(run_dir).as_posix() in known
        )

    def _tree(
        self, var: Var, folder: Path, is_left_out: Callable[[Path], bool] = lambda path: False
    ) -> _Named:
        """Yield every file in or below a folder, except locks, temps, links and paths left out."""
        if self._files.stat(folder) is None:
            return
        for name in self._files.listdir(folder):
            path = folder / name
            status = self._files.stat(path)
            if status is not None and status.is_folder:
                place = _place(var, path)
                if _is_portable(place):
                    yield from self._tree(var, path, is_left_out)
                else:
                    yield place, None
            elif path.suffix not in (LOCK_SUFFIX, TEMP_SUFFIX) and not is_left_out(path):
                yield from self._file(var, path)

    def _file(self, var: Var, path: Path) -> _Named:
        """Yield a file that is replaced whole, if it is a file and is still there."""
        status = self._files.stat(path)
        if status is None or not status.is_file:
            return
        place = _place(var, path)
        if not _is_portable(place):
            yield place, None
            return
        try:
            content = self.store.put_file(path)
        except RunStop:
            if self._files.stat(path) is not None:
                raise
            return  # Removed meanwhile.
        yield place, content

    # --- room and turns -----------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = self._lock()
        except LockBusy as error:
            raise Refusal(f"another process backs up into {self.folder}.", "Try later.") from error
        with lock:
            yield

    def _lock(self) -> closing[WriterLock]:
        ensure_below(self.folder.parent, self.folder, files=self._files)
        return closing(WriterLock(self.folder / LOCK_FILE, files=self._files))

    def _before_piece(self, size: int) -> None:
        self._pace(size)
        free = shutil.disk_usage(self.folder).free
        if free - size < self._free_min:
            kept = f", and {self._free_min} have to stay free for the run" if self._free_min else ""
            raise Refusal(
                f"{self.folder}: {free} bytes are free; the backup needs at least {size}{kept}.",
                "Make room there, or name another folder.",
            )


def read_backup(path: Path, *, files: Files = FILES) -> Backup:
    """Return a backup by its list of files; content is not read.

    Raises:
        IntegrityError: The list is missing, damaged, or names a path that no backup has.
    """
    obj = read_hashed(path, files=files)
    try:
        if obj["schema"] != SCHEMA or obj["v"] != 1 or not is_run_id(obj["run_id"]):
            raise ValueError("no list of a backup")
        taken = Backup(
            path,
            obj["run_id"],
            bool(obj["is_finished"]),
            int(obj["taken_ms"]),
            {name: Content.of_json(entry) for name, entry in obj["files"].items()},
        )
        for name in taken.files:
            _refuse_place(name, taken.run_id)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(COMPONENT, ATOMICITY_VIOLATION, f"{error}", file=str(path)) from error
    return taken


def _listed(taken: Backup) -> JsonObject:
    return {
        "schema": SCHEMA,
        "v": 1,
        "run_id": taken.run_id,
        "is_finished": taken.is_finished,
        "taken_ms": taken.taken_ms,
        "files": {name: content.to_json() for name, content in taken.files.items()},
    }


def _refuse_place(name: str, run_id: str) -> None:
    """Refuse a path that leads out of the restored folder, or where no backup has files.

    Raises:
        ValueError: It is such a path.
    """
    parts = PurePosixPath(name).parts
    is_known = (
        (parts[0] in ("queues", "ai") and len(parts) > 1)
        or (parts[:2] == ("runs", run_id) and len(parts) > 2)
        or _AT_TOP.fullmatch(name) is not None
        if parts
        else False
    )
    if not _is_portable(name) or not is_known:
        raise ValueError(f"{name!r} is not a path of a backup")


def _is_portable(name: str) -> bool:
    """Return whether a path below `var` is text that names the same file on every system."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False  # Bytes that are no UTF-8 come as lone surrogates.
    is_plain = "/".join(PurePosixPath(name).parts) == name and "\\" not in name
    return is_plain and escape_reason(name) is None


def _place(var: Var, path: Path) -> str:
    return path.relative_to(var.root).as_posix()


def _shown(name: str) -> str:
    """Return a name of any bytes as people read it: what cannot be printed is escaped."""
    return repr(name)[1:-1]


def _is_list(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and is_run_id(name[:_SECOND_CHARS])


def _named_ms(path: Path) -> int:
    """Return the Unix ms in the name of a list; not before it was taken."""
    second, ms = path.name[:_SECOND_CHARS], path.name[_SECOND_CHARS + 1 : _SECOND_CHARS + 4]
    return 1000 * moment_of(second) + int(ms)


def _stem_of(path: Path) -> str | None:
    """Return the stem of the journal to which a file belongs; None for any other file."""
    if path.suffix == HEAD_SUFFIX:
        return path.stem
    match = _JOURNAL_FILE.fullmatch(path.name)
    return None if match is None else match["stem"] or match["listed"] or MAIN_STEM


def _refuse_inside(folder: Path, var: Var) -> None:
    if is_within(folder, var.root) or is_within(var.root, folder):
        raise Refusal(
            f"{folder} and {var.root} lie in each other: what takes the one takes the backup.",
            "Name a folder elsewhere, best on another disk.",
        )


def _refuse_file(folder: Path) -> None:
    remedy = "Mount its disk, or name another folder; only its parent has to exist."
    for path in (folder.parent, folder):
        if os.path.exists(path) and not os.path.isdir(path):
            raise Refusal(f"{path} is not a folder.", remedy)
    if not os.path.exists(folder.parent):
        raise Refusal(f"{folder.parent} does not exist.", remedy)


def _require_current(var: Var, run_id: str) -> None:
    try:
        note = read_hashed(var.root / CURRENT_FILE)
    except RunStop:
        note = {}
    if note.get("run_id") != run_id:
        raise Refusal(f"{run_id} has neither a seal nor queues here.", "See: minibot runs")
