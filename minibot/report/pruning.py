"""Removal of old runs: which may go and why others stay, their bytes, and the removal itself.

A run goes in two steps. Its folder moves from `var/runs` to `var/pruned` at once, so that no half
run is ever found; then all but its report is removed there, and its figures under `var/metrics`.
The next removal ends one that died. Unpacked copies of bundles go in the same way, and their
reports stay as well. The empty folder of a start that was killed before it made a run just goes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.events.model import JsonObject
from minibot.events.unit_sizes import DAY_MS
from minibot.kernel.codes import IO_ENOSPC
from minibot.kernel.errors import LockBusy, Refusal, RunStop
from minibot.kernel.files import FILES, Files, ensure_folder, io_stop, read_hashed, sync_folder
from minibot.kernel.lock import WriterLock
from minibot.kernel.seal import SEAL_FILE
from minibot.report.readiness import rests_on
from minibot.report.records import COPY, UNSEALED, RunRecord, bytes_of, read_records
from minibot.runtime.current_note import CURRENT_FILE
from minibot.runtime.manifest import is_run_id
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import is_unbegun
from minibot.runtime.running import is_held_unnamed

REPORT: Final = "report"
LOCK_FILE: Final = "prune.lock"


@dataclass(frozen=True, slots=True)
class Fate:
    """Fate of one run: why it stays, empty if it goes, and the bytes that its removal frees.

    Its report stays anyway and frees nothing.
    """

    record: RunRecord
    stays: str
    frees: int

    def to_json(self) -> JsonObject:
        """Return it as one JSON object."""
        return {"run_id": self.record.run_id, "stays": self.stays or None, "frees": self.frees}


@contextmanager
def alone(var: Var, files: Files = FILES) -> Iterator[None]:
    """Within it, no other removal works on this `var`; one that is not there has nothing to lock.

    Raises:
        Refusal: Another one does.
        RunStop: The lock cannot be made.
    """
    if not var.root.is_dir():
        yield
        return
    try:
        lock = WriterLock(var.root / LOCK_FILE, files=files)
    except RunStop as error:
        if error.reason_code != IO_ENOSPC:
            raise
        yield  # A full disk has no room for another name, and is what a removal frees.
        return
    except LockBusy as error:
        raise Refusal(
            f"another prune removes runs of {var.root}.", "Wait for its end, then see what is left."
        ) from error
    with closing(lock):
        yield


def fates(var: Var, now_ms: int, *, keep: int | None, days: int | None) -> list[Fate]:
    """Return the fate of every run, oldest first.

    Args:
        var: The folders of the runs.
        now_ms: The time, Unix ms.
        keep: How many of the newest runs are kept anyway; the newest one also with None or 0.
        days: Younger runs are kept anyway; None for no such rule.
    """
    records = read_records(var)
    own = [record for record in records if not record.is_copy]
    newest = {record.run_id for record in own[-max(1, keep or 1) :]}
    current = _current(var)
    # A night carries on from a night, a demo from a demo.
    last_of = {None if each.manifest is None else each.manifest.simulated: each for each in own}
    carried = {record.run_id for record in last_of.values()}
    found = []
    for record in records:
        stays = _held(record, current) or rests_on(record)
        if not stays and record.run_id in carried:
            stays = "the newest run of its kind: the next one may carry on from it"
        if not stays and record.run_id in newest:
            stays = "among the newest"
        if not stays and days is not None and _begun_ms(record) > now_ms - days * DAY_MS:
            stays = "not old enough"
        found.append(Fate(record, stays, _bytes_but_report(record.run_dir)))
    # The last sealed run is all that is left to carry on from where newer ones were lost.
    sealed = [fate for fate in found if not _held(fate.record, None)]
    if sealed and not sealed[-1].stays:
        last = sealed[-1]
        found[found.index(last)] = Fate(last.record, "the newest sealed run", last.frees)
    return found


def left_metrics(var: Var, doomed: Sequence[Fate]) -> list[Path]:
    """Return the timed figures under `var/metrics` whose run is gone once the doomed ones are.

    An existing run keeps its own, under any name, and so does the running one.
    """
    # Before the runs: a run has its folder before its first figures.
    paths = sorted(var.metrics.glob("*.json"))
    going = {fate.record.run_dir for fate in doomed}
    kept = {_current(var)}
    for record in read_records(var):
        if record.run_dir not in going:
            kept |= {record.run_id, record.manifest.run_id if record.manifest else None}
    found = []
    for path in paths:
        run_id, _, moment = path.stem.partition("-")
        if is_run_id(run_id) and moment.isdigit() and run_id not in kept:
            found.append(path)
    return found


def unpacked_bundles(var: Var, files: Files = FILES) -> list[Path]:
    """Return the unpacked copies of bundles; a verb that is given a bundle unpacks it again."""
    if files.stat(var.unpacked) is None:
        return []
    return [var.unpacked / name for name in files.listdir(var.unpacked)]


def unbegun(var: Var, files: Files = FILES) -> list[Path]:
    """Return the empty folders of starts that were killed before they made a run.

    None is returned while something starts: its folder is empty as well.

    Raises:
        Refusal: Whether it does cannot be seen.
    """
    names = files.listdir(var.runs) if files.stat(var.runs) is not None else []
    found = [path for path in (var.runs / name for name in sorted(names)) if is_unbegun(path)]
    if not found or is_held_unnamed(var):
        return []
    current = _current(var)
    return [path for path in found if path.name != current]


def half_removed(var: Var, files: Files = FILES) -> dict[Path, int]:
    """Return the runs of which a removal that died has left more than reports, with its bytes."""
    if files.stat(var.pruned) is None:
        return {}
    found = {}
    for path in (var.pruned / name for name in files.listdir(var.pruned)):
        status = files.stat(path)
        if status is not None and status.is_folder and files.listdir(path) != [REPORT]:
            found[path] = _bytes_but_report(path)
    return found


def remove(var: Var, doomed: Sequence[Fate], *, files: Files = FILES) -> None:
    """Remove runs except their reports and timed figures; finish removals that were interrupted.

    All unpacked copies of bundles go too, and the folders of starts that made no run.

    Raises:
        RunStop: The disk refuses; call again.
    """
    place = var.pruned
    for path in [*(fate.record.run_dir for fate in doomed), *unpacked_bundles(var, files)]:
        ensure_folder(place, files=files)
        try:
            files.replace(path, _free_place(place, path.name, files))
        except OSError as error:
            raise io_stop(error, "move", path) from error
        sync_folder(files, place)
        sync_folder(files, path.parent)
    for path in left_metrics(var, ()):
        _remove(path, files)
    for path in unbegun(var, files):
        try:
            files.rmdir(path)
        except OSError as error:
            raise io_stop(error, "remove", path) from error
    if files.stat(place) is None:
        return
    for name in files.listdir(place):
        _remove_all_but_report(place / name, files)


def _free_place(place: Path, name: str, files: Files) -> Path:
    """Return where a folder moves: the report of a run that was brought back has its name."""
    numbers = (f"-{number}" if number else "" for number in itertools.count())
    return next(p for each in numbers if files.stat(p := place / f"{name}{each}") is None)


def _held(record: RunRecord, current: str | None) -> str:
    """Return why a run is not a finished one, empty if it is."""
    if record.run_id == current:
        return "its queues stand until the next start"
    if record.is_copy:
        return COPY
    if record.manifest is None:
        return f"damaged: {record.trouble}"
    if record.state == UNSEALED:
        return "not sealed"
    try:
        read_hashed(record.run_dir / SEAL_FILE)
    except RunStop:
        return "its seal is damaged"
    return ""


def _current(var: Var) -> str | None:
    """Return the run whose names may still exist under `var/queues`."""
    try:
        return str(read_hashed(var.root / CURRENT_FILE)["run_id"])
    except (RunStop, KeyError):
        return None


def _begun_ms(record: RunRecord) -> int:
    return 0 if record.manifest is None else record.manifest.started_ms


def _bytes_but_report(folder: Path) -> int:
    """Return the bytes of a run's files but for its report's."""
    names = (name for name in FILES.listdir(folder) if name != REPORT)
    return sum(bytes_of(folder / name) for name in names)


def _remove_all_but_report(folder: Path, files: Files) -> None:
    status = files.stat(folder)
    if status is None or not status.is_folder:
        return
    for name in files.listdir(folder):
        if name != REPORT:
            _remove(folder / name, files)
    if not files.listdir(folder):
        files.rmdir(folder)


def _remove(path: Path, files: Files) -> None:
    status = files.stat(path)
    try:
        if status is not None and status.is_folder:
            for name in files.listdir(path):
                _remove(path / name, files)
            files.rmdir(path)
        else:
            files.unlink(path)
    except OSError as error:
        raise io_stop(error, "remove", path) from error
