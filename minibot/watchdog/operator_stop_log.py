"""Operators' stop journal, `var/stop_journal.jsonl`: every stop and end of every run.

Operators tail this file. It is never rotated, set aside only if it is damaged, and written by the
holder of the run's lock. Its lines are those of the runs' own `stop_journal` parts; an id in it is
not written again. Two kinds belong to no run: the CLEAR of a flag, and a REFUSED start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from operator import itemgetter
from pathlib import Path

from minibot.cores.input_order import LineSource
from minibot.events.codec import Codec
from minibot.events.ids import derive_id
from minibot.events.model import Event, JsonObject, StopJournal
from minibot.events.names import STOP_JOURNAL, WATCHDOG_ROLE
from minibot.events.reasons import CLEARED, REFUSED
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.cut import HEAD_SUFFIX
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import FILES, ensure_folder, io_stop, read_hashed, sync_folder
from minibot.kernel.journal import JournalReader
from minibot.kernel.line import encode_line
from minibot.kernel.queue import PARTS, open_reader, open_side_writer
from minibot.kernel.seal import LOCK_SUFFIX, QUEUES
from minibot.runtime.clock import wall_ms
from minibot.runtime.cmdline import own_cmdline_hash
from minibot.runtime.manifest import run_id_of
from minibot.runtime.paths import Var
from minibot.runtime.stop import (
    CLEAR_KIND,
    OPERATOR,
    REFUSED_KIND,
    STOP_KIND,
    standing_flags,
)

PrintLine = Callable[[str], object]
"""Function that shows a person one sentence."""


def warn(words: str) -> None:
    """Print a warning on standard error."""
    print(f"WARN {words}", file=sys.stderr, flush=True)


def read_stops(var_root: Path) -> list[JsonObject]:
    """Return every envelope of the operators' stop journal, oldest first.

    Raises:
        RunStop: It is damaged, or the disk refuses.
    """
    if not (var_root / f"{STOP_JOURNAL}{HEAD_SUFFIX}").exists():
        return []
    found = []
    with closing(JournalReader(var_root, STOP_JOURNAL)) as reader:
        source = LineSource(reader)
        while (line := source.next()) is not None:
            found.append(canonical.decode(line.json))
    return found


def flagged_run(var: Var) -> str | None:
    """Return the run that `STOP.flag` names; None for a flag made by hand."""
    for flag in standing_flags(var):
        with suppress(RunStop, OSError, KeyError):
            return str(read_hashed(flag)["run_id"])
    return None


def stop_beside(var: Var) -> JsonObject | None:
    """Return the STOP of a run that had lost this `var`, from the note next to it, or None."""
    for flag in standing_flags(var):
        with suppress(RunStop, OSError, KeyError):
            stop = read_hashed(flag)["stop"]
            return stop if isinstance(stop, dict) else None
    return None


def flagged_stop(var: Var) -> JsonObject | None:
    """Return the recorded STOP that `STOP.flag` stands for, usually the last one.

    None if it is not on record yet: earlier stops that were cleared do not explain it. Where the
    flag names its run, its own STOP does all the same: the record of a clear comes before the
    removal, which may fail. If the run's launcher was killed, or a damaged journal was set aside
    since, the first STOP that its roles recorded stands for it.
    """
    beside = stop_beside(var)
    if beside is not None:
        return beside
    flagged = flagged_run(var)
    stops: list[JsonObject] = []
    for envelope in read_stops(var.root):
        if _kind(envelope) == STOP_KIND:
            stops.append(envelope)
        elif _kind(envelope) == CLEAR_KIND and flagged is None:
            stops.clear()
    if not stops or (flagged is not None and str(stops[-1]["run_id"]) < flagged):
        return None if flagged is None else _stop_in_parts(var, flagged)
    return stops[-1]


def _stop_in_parts(var: Var, run_id: str) -> JsonObject | None:
    """Return the first STOP in the parts of a run's `stop_journal`; None without a readable one.

    Those of a sealed run are in its folder.
    """
    found: list[tuple[int, JsonObject]] = []
    for queues in (var.queues, var.run(run_id) / QUEUES):
        for head in (queues / STOP_JOURNAL / PARTS).glob(f"*{HEAD_SUFFIX}"):
            with suppress(RunStop, ValueError, KeyError, TypeError):  # Damage is for `verify`.
                for envelope in map(canonical.decode, _recorded(queues, head.stem)):
                    if _kind(envelope) == STOP_KIND and envelope["run_id"] == run_id:
                        found.append((int(envelope["ts"]), envelope))
    return min(found, key=itemgetter(0))[1] if found else None


def append_stop(var: Var, json: bytes, print_line: PrintLine = warn) -> None:
    """Append one envelope, given as canonical JSON, unless its id is there already.

    A damaged journal may not cost this record: it is set aside, with a warning, and a new one
    begins.

    Raises:
        RunStop: The disk refuses.
    """
    try:
        _append(var, json)
    except IntegrityError as error:
        aside = _set_aside(var)
        print_line(f"{var.stop_journal} is damaged and set aside in {aside.name}: {error.detail}")
        _append(var, json)


def _append(var: Var, json: bytes) -> None:
    wanted = canonical.decode(json)["id"]
    if _has(var, wanted):
        return
    with closing(open_side_writer(var.root, STOP_JOURNAL, sync=True)) as writer:
        # A line of a killed copy stood above the head, and the writer has published it.
        if not _has(var, wanted):
            writer.append([encode_line(json)])


def _has(var: Var, wanted: object) -> bool:
    return any(envelope["id"] == wanted for envelope in read_stops(var.root))


def _set_aside(var: Var) -> Path:
    """Move the files of the operators' journal, as they are, into a folder; return it."""
    aside = var.root / f"{STOP_JOURNAL}_damaged_{wall_ms()}"
    ensure_folder(aside)
    files = [path for path in var.root.glob(f"{STOP_JOURNAL}.*") if path.suffix != LOCK_SUFFIX]
    # The head last: without its lines it is damage too, should this be broken off.
    for path in sorted(files, key=lambda path: path.suffix == HEAD_SUFFIX):
        try:
            FILES.replace(path, aside / path.name)
        except OSError as error:
            raise io_stop(error, "rename", path) from error
    for folder in (aside, var.root):
        sync_folder(FILES, folder)
    return aside


def copy_stops(var: Var, codec: Codec, print_line: PrintLine = warn) -> None:
    """Append the records in all parts of the run's `stop_journal`; see `append_stop`.

    Raises:
        RunStop: The first failure; the other parts are copied all the same.
    """
    failed: RunStop | None = None
    for role in codec.roles.writers(STOP_JOURNAL):
        try:
            for json in _recorded(var.queues, role):
                codec.decode(f"{STOP_JOURNAL}/parts/{role}", json)
                append_stop(var, json, print_line)
        except RunStop as error:
            failed = failed or error
    if failed is not None:
        raise failed


def copy_stops_unproven(
    var: Var, contracts: Contracts, roles: Roles, run_id: str, print_line: PrintLine = warn
) -> None:
    """Append the records of a run without a manifest; see `copy_stops`.

    No manifest tells the roles' command lines, so each record is taken at its word about its own;
    all else is judged as ever.
    """
    known: dict[str, set[str]] = {}
    for role in roles.writers(STOP_JOURNAL):
        for json in _recorded(var.queues, role):
            with suppress(ValueError):  # Refused, with its reason, when it is copied.
                known.setdefault(role, set()).add(str(canonical.decode(json).get("cmdline_hash")))
    copy_stops(var, Codec(contracts, roles, run_id, known), print_line)


def _recorded(queues: Path, role: str) -> Iterator[bytes]:
    """Yield the JSON of each line in a role's part of the `stop_journal` among a run's queues."""
    if not (queues / STOP_JOURNAL / "parts" / f"{role}.head").exists():
        return
    with closing(open_reader(queues, STOP_JOURNAL, part=role)) as reader:
        source = LineSource(reader)
        while (line := source.next()) is not None:
            yield line.json


def clear_flag(var: Var, who: str, why: str, print_line: PrintLine = warn) -> str | None:
    """Remove `STOP.flag` and record who and why; return the run that it had stopped, if known.

    The record comes first: removing a flag without one would continue silently. The STOP of a run
    that had lost this `var` is only in the note next to it, and is put on record too.
    """
    beside = stop_beside(var)
    if beside is not None:
        append_stop(var, canonical.encode(beside), print_line)
    last = None
    with suppress(IntegrityError):  # Of a damaged journal; the flag itself may name the run.
        last = flagged_stop(var)
    stopped = flagged_run(var) if last is None else str(last["run_id"])
    run_id = stopped or "00000000_000000"
    payload = StopJournal(
        component=OPERATOR,
        reason_code=CLEARED,
        detail=why,
        kind=CLEAR_KIND,
        who=who,
        why=why,
        stopped_run=run_id,
    )
    append_stop(var, _own_event(run_id, f"clear {wall_ms()}", payload), print_line)
    for flag in standing_flags(var):
        remove_flag(var, flag)
    return stopped


def remove_flag(var: Var, flag: Path) -> None:
    """Remove a flag, whatever its kind; move a folder with content to `var/stop`.

    Raises:
        OSError: The system refuses.
    """
    if not flag.is_dir() or flag.is_symlink():
        flag.unlink()
        return
    try:
        flag.rmdir()
    except OSError:
        ensure_folder(var.stop)
        flag.rename(var.stop / f"{flag.name}-{wall_ms()}.aside")


def note_refused(var: Var, why: str) -> None:
    """Put a refused start on record; only for the holder of the run's lock.

    It has the id of a run that began now; after a clock was set back an older run may have it too.

    Raises:
        RunStop: The journal cannot be written.
    """
    moment = wall_ms()
    run_id = run_id_of(moment // 1000)
    payload = StopJournal(
        component=WATCHDOG_ROLE,
        reason_code=REFUSED,
        # A file name in it may not be UTF-8; the record is.
        detail=why.encode("utf-8", "backslashreplace").decode()[:2000],
        kind=REFUSED_KIND,
    )
    append_stop(var, _own_event(run_id, f"refused {moment}", payload))


def _own_event(run_id: str, word: str, payload: StopJournal) -> bytes:
    """Return an event of the operators' journal that belongs to no run, as canonical JSON."""
    event = Event(
        ts=wall_ms(),
        id=derive_id(run_id, WATCHDOG_ROLE, word, 0),
        source=WATCHDOG_ROLE,
        run_id=run_id,
        cmdline_hash=own_cmdline_hash(),
        payload=payload,
    )
    return canonical.encode(event.to_json())


def _kind(envelope: JsonObject) -> str:
    return str(envelope["payload"].get("kind", ""))
