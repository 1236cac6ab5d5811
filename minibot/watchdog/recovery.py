"""Recovery of the former run: if unsealed it is recovered and sealed; then its queues are released.

After a power loss or a killed launcher a run is not resumed. The next start completes its queues
(each writer's own recovery), its merge and its seal, and reports that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minibot.events.codec import Codec
from minibot.events.names import WATCHDOG_ROLE
from minibot.events.reasons import FD_EXHAUSTED, IO_ENOSPC, QUEUE_MISSING
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.audit import SEALED
from minibot.kernel.errors import IntegrityError, LockBusy, MinibotError, Refusal, RunStop
from minibot.kernel.files import read_hashed, write_atomic, write_hashed
from minibot.kernel.head import head_path, newest, read_head_bytes
from minibot.kernel.journal import JournalWriter
from minibot.kernel.queue import (
    ACKS,
    INBOX,
    open_side_writer,
    open_writer,
    queue_folder,
    reader_folder,
)
from minibot.kernel.seal import (
    QUEUES,
    SEAL_FILE,
    refuse_unsealable,
    releasable,
    release,
    seal_run,
)
from minibot.runtime.clock import CLOCK_FILE, RunClock
from minibot.runtime.current_note import CURRENT_FILE, ended_note, run_of_lines
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import is_run_folder, make_room
from minibot.runtime.running import note_lost
from minibot.runtime.signing import sign_if_pinned
from minibot.watchdog.closing_accounts import write_closing_accounts
from minibot.watchdog.merge import Merger, restore_parts
from minibot.watchdog.operator_stop_log import copy_stops, copy_stops_unproven


@dataclass(frozen=True, slots=True)
class FormerRun:
    """Recovered former run.

    Attributes:
        run_id: Its id.
        root: Its seal's root.
        findings: The damage that could not be repaired, as the seal names it.
        unsigned: Why its seal is not signed; empty if it is, or no key is pinned.
    """

    run_id: str
    root: str
    findings: tuple[str, ...]
    unsigned: str = ""

    @property
    def fate(self) -> str:
        """Fate of the run, without a full stop; an operator may have deleted its folder."""
        if self.findings:
            return f"{self.run_id} had no seal; this start has sealed what is left of it"
        return f"{self.run_id} was interrupted; this start has recovered and sealed it"

    @property
    def faults(self) -> tuple[str, ...]:
        """Findings, and the lack of a signature, which `verify` reports too."""
        unsigned = f"its seal stays unsigned: {self.unsigned}"
        return (*self.findings, *([unsigned] if self.unsigned else []))

    @property
    def note(self) -> str:
        """Sentences for the start: the run's fate, with the first fault."""
        faults = self.faults
        if not faults:
            return f"Run {self.fate}."
        more = f" ({len(faults) - 1} more)" if faults[1:] else ""
        first = faults[0].rstrip(".")
        return f"Run {self.fate}: {first}{more}. See: minibot verify {self.run_id}"


def clear_former_run(var: Var, contracts: Contracts, roles: Roles) -> FormerRun | None:
    """Clear `var/queues` for a new run; return the recovered run, if any.

    Raises:
        RunStop: The former run's own files cannot be read at all, or the system lacks space or
            descriptors to recover them.
        LockBusy: A process of it is still there.
        Refusal: Lines stand in `var/queues`, and nothing says of which run; or its note, its seal
            or what was sealed is damaged.
    """
    run_dir = _former_run_dir(var)
    if run_dir is None:
        return None
    marker = var.root / CURRENT_FILE
    if not marker.exists():  # A start after one killed in the release finds no such lines.
        write_hashed(marker, ended_note(run_dir.name))
    recovered = None
    if _waits_for_recovery(var, run_dir):
        recovered = _recover(var, run_dir, contracts, roles)
    if recovered is not None or _is_sealed(run_dir):
        with _remedy_of_release(var, run_dir):
            release(var.queues, run_dir)
    marker.unlink(missing_ok=True)
    return recovered


def refuse_uncleared(var: Var) -> None:
    """Refuse a `var` whose queues no start can clear; change nothing.

    Raises:
        Refusal: As for `clear_former_run`.
        RunStop: A link stands among the queues, or a file of the former run cannot be read.
    """
    run_dir = _former_run_dir(var)
    if run_dir is None:
        return
    if _is_sealed(run_dir):
        with _remedy_of_release(var, run_dir):
            releasable(var.queues, run_dir)
    elif _waits_for_recovery(var, run_dir):
        refuse_unsealable(var.queues)


def _former_run_dir(var: Var) -> Path | None:
    """Return the folder of the run whose queues stand in a `var`, by its note or by their lines."""
    marker = var.root / CURRENT_FILE
    try:
        noted = read_hashed(marker) if marker.exists() else None
    except IntegrityError as error:
        raise Refusal(
            f"the note of the former run is damaged: {error}.",
            f"Move {marker} to another place, and keep it: the next start finds the run by its "
            "lines.",
        ) from error
    run_id = _run_of_lines(var) if noted is None else str(noted["run_id"])
    return None if run_id is None else var.runs / run_id


def _is_sealed(run_dir: Path) -> bool:
    return os.path.lexists(run_dir / SEAL_FILE)


def _waits_for_recovery(var: Var, run_dir: Path) -> bool:
    return not _is_sealed(run_dir) and (is_run_folder(run_dir) or _has_lines(var.queues))


@contextmanager
def _remedy_of_release(var: Var, run_dir: Path) -> Iterator[None]:
    """Within it, queues that differ from their seal are a refusal that says what to do."""
    try:
        yield
    except IntegrityError as error:
        stands = [str(path) for path in (var.queues, var.root / CURRENT_FILE) if path.exists()]
        remedy = (
            f"Find out who wrote there. Then move {' and '.join(stands)} to another place, and "
            f"keep what you move; the record of the run is {run_dir}."
        )
        if error.reason_code == QUEUE_MISSING:
            remedy = (
                f"Copy what is gone or damaged in {run_dir / QUEUES} from {var.queues}, and start "
                "again."
            )
        text = f"the queues of {run_dir.name} are not released: {error}."
        raise Refusal(text, remedy) from error


def recover_queues(var: Var, roles: Roles) -> tuple[list[str], list[str]]:
    """Recover every journal of the run: keep whole lines, set torn tails aside.

    There may be no writer any more. A killed role or a full disk leaves a half-written batch above
    the head.

    Returns:
        The tails set aside, and the failures to recover; one sentence each.

    Raises:
        LockBusy: A process of the run is still there.
        RunStop: The system lacks space or descriptors.
    """
    repaired: list[str] = []
    findings: list[str] = []
    for name, opened in _journals(var, roles):
        try:
            writer = opened()
            cut = writer.recovered.cut_bytes
            writer.close()
        except RunStop as error:
            findings.append(_finding(error))
            continue
        if cut:
            repaired.append(f"{name}: {cut} bytes above the head set aside in quarantine")
    return repaired, findings


def lost_queues(var: Var, queues: Collection[str], run_dir: Path) -> list[str]:
    """Return a finding for each queue of a run that is gone, and each head gone over its lines.

    Recovery makes both again, the queue empty; so they are noted first, see `note_lost`. Those that
    an earlier start noted before it was killed are among the findings.

    Args:
        var: The folder of the queues.
        queues: The queues that the run had.
        run_dir: The run's folder.

    Raises:
        RunStop: The note cannot be written.
    """
    gone = (f"{journal}: its files are gone" for journal in _gone(var, queues, run_dir))
    behind = "lines behind its last one may be gone"
    headless = (f"{head}: no good head; {behind}" for head in _headless(var.queues))
    found = [f"{QUEUE_MISSING}: {text}" for text in (*gone, *headless)]
    return note_lost(var, run_dir.name, found)


def _gone(var: Var, queues: Collection[str], run_dir: Path) -> list[Path]:
    """Return the journals of queues without any file.

    The launcher makes all queues before the first line and before the clock: a run that has
    neither may have died among them.
    """
    if not os.path.lexists(run_dir / CLOCK_FILE) and not _has_lines(var.queues):
        return []
    folders = [queue_folder(var.queues, queue) for queue in queues]
    journals = [folder / stem for folder in folders for stem in (INBOX, ACKS)]
    return [
        journal
        for journal in journals
        if not any(journal.with_name(journal.name + end).exists() for end in (".head", ".jsonl"))
    ]


def _headless(queues: Path) -> list[Path]:
    """Return the heads that are missing or bad while their journals have lines.

    A writer makes its head durable before the first line.
    """
    heads = set()
    for path in queues.rglob("*.jsonl"):
        if path.lstat().st_size:
            match = SEALED.fullmatch(path.name)
            heads.add(head_path(path.parent, match["stem"] if match else path.stem))
    return [head for head in sorted(heads) if _is_bad(head)]


def _is_bad(head: Path) -> bool:
    try:
        return newest(read_head_bytes(head)) is None
    except RunStop:
        return False  # The journal's recovery says why it cannot be read.


def _journals(var: Var, roles: Roles) -> Iterator[tuple[str, Callable[[], JournalWriter]]]:
    """Yield the name of every journal under the queues, and how its writer is opened."""
    for queue, entry in roles.queues.items():
        yield queue, partial(open_writer, var.queues, queue)
        for part in roles.writers(queue) if entry.parts else ():
            yield f"{queue}/parts/{part}", partial(open_writer, var.queues, queue, part)
        folders = {queue_folder(var.queues, queue)}
        for reader in roles.readers(queue):
            is_primary = roles.is_primary(queue, reader)
            folders.add(reader_folder(var.queues, queue, reader, is_primary))
        for folder in sorted(folders):
            for stem in ("acks", "deadletter"):
                # An interrupted start may have left the one without the other.
                if any((folder / f"{stem}{end}").exists() for end in (".head", ".jsonl")):
                    name = f"{folder.relative_to(var.queues).as_posix()}/{stem}"
                    yield name, partial(open_side_writer, folder, stem, sync=True)


def complete_merge(var: Var, manifest: Manifest, codec: Codec, clock: RunClock) -> list[str]:
    """Merge the rest of the parts into the inboxes, and copy stops to the operators' journal.

    The queues must be recovered and have no writer. Return the failures, usually none.

    Raises:
        LockBusy: A process of the run is still there.
        RunStop: The system lacks space or descriptors.
    """
    findings: list[str] = []
    try:
        merger = Merger(
            root=var.queues,
            roles=codec.roles,
            codec=codec,
            clock=clock,
            run_id=manifest.run_id,
            cmdline_hash=manifest.processes[WATCHDOG_ROLE].cmdline_hash,
            segment_bytes=manifest.config["queues"]["segment_bytes"],
            line_bytes_max=manifest.config["queues"]["line_bytes_max"],
        )
        merger.close()
    except RunStop as error:
        findings.append(_finding(error))
    try:
        copy_stops(var, codec, findings.append)  # Stops of the parts, even if the merge failed.
    except RunStop as error:
        findings.append(_finding(error))
    return findings


def _finding(error: RunStop) -> str:
    """Return a failure to recover in one sentence, for the seal.

    Raises:
        LockBusy: It is no damage: a process of the run still holds a queue. Lines that it leaves as
            it ends would be sealed unrepaired.
        RunStop: It is no damage either: the system lacks space or descriptors. The next start
            recovers all of the run.
    """
    if isinstance(error.__cause__, LockBusy):
        raise error.__cause__
    if error.reason_code in (IO_ENOSPC, FD_EXHAUSTED):
        raise error
    return f"{error.reason_code}: {error.detail}"


def _seal_without_manifest(
    var: Var, run_dir: Path, contracts: Contracts, roles: Roles, whys: Sequence[str]
) -> FormerRun:
    """Seal the queues of a run whose manifest is gone or damaged.

    Its parts are not merged; its stops are copied to the operators' journal all the same.
    """
    missing = lost_queues(var, roles.queues, run_dir)
    repaired, findings = recover_queues(var, roles)
    findings += missing
    try:
        copy_stops_unproven(var, contracts, roles, run_dir.name, findings.append)
    except RunStop as error:
        findings.append(_finding(error))
    findings += [f"RUN_FILE_CHANGED: {why}" for why in whys]
    extra = {"state": "interrupted", "findings": findings, "repaired": repaired}
    root = seal_run(var.queues, run_dir, extra=extra)
    return FormerRun(run_dir.name, root, tuple(findings))


def _run_of_lines(var: Var) -> str | None:
    """Return the run that the lines in `var/queues` name; None without lines.

    The lines of a sealed run are in its folder too, as one file with two names: a run that appended
    to them would change that run's record.
    """
    if not _has_lines(var.queues):
        return None
    named = run_of_lines(var)
    if named is not None:
        return named
    raise Refusal(
        f"{var.queues} holds lines, and no note names their run.",
        f"Move {var.queues} to another place, and keep it.",
    )


def _has_lines(queues: Path) -> bool:
    """Return whether any journal below the queues has a line, so that a run wrote here."""
    return any(path.lstat().st_size for path in queues.rglob("*.jsonl"))


def _recover(var: Var, run_dir: Path, contracts: Contracts, roles: Roles) -> FormerRun:
    room = make_room(run_dir)
    try:
        manifest = Manifest.load(run_dir)
    except RunStop as error:
        # The run is unknown, but its queues are kept, and verify names the losses.
        return _seal_without_manifest(var, run_dir, contracts, roles, [*room, error.detail])
    codec = Codec(contracts, roles, manifest.run_id, manifest.cmdline_hashes())
    missing = lost_queues(var, manifest.queues or roles.queues, run_dir)
    repaired, findings = recover_queues(var, roles)
    findings += [*missing, *room]
    try:
        repaired += restore_parts(var.queues, codec)
    except RunStop as error:
        findings.append(_finding(error))
    clock = RunClock(run_dir, manifest.clock_origin_ms, manifest.clock_speed)
    try:
        clock.now_ms()
    except RunStop as error:
        findings.append(f"{error.reason_code}: {error.detail}")
        clock.never_read()
    findings += complete_merge(var, manifest, codec, clock)
    # The launcher died between two of its figures: its last ones are seconds old.
    findings += write_closing_accounts(
        var,
        manifest,
        codec,
        lambda name, data: write_atomic(run_dir / name, data),
        is_counted=False,
    )
    root = seal_run(
        var.queues,
        run_dir,
        extra={
            "state": "interrupted",
            "findings": findings,
            "repaired": repaired,
            "config_sha256": manifest.config_sha256,
            "contracts_sha256": manifest.contracts_sha256,
            "code_sha256": manifest.code_sha256,
        },
    )
    unsigned = ""
    try:
        sign_if_pinned(run_dir, manifest.config, os.environ)
    except (MinibotError, OSError) as error:
        unsigned = str(error)  # Nothing of the record is lost.
    return FormerRun(manifest.run_id, root, tuple(findings), unsigned)
