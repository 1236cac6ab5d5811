"""Outbox: alerts and what became of them, in a queue of the kernel below `var/ops`.

Each line notes one step: an alert came; a target is tried, has the alert or failed; an alert was
left out. The line of a try is durable before anything is sent. If the process dies between delivery
and its note, the repeat is marked as one. If the disk refuses a line, at the start too, alerts go
on in memory; after a restart some may be sent again unmarked, and others may be lost.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.kernel.codes import IO_EIO, IO_ENOSPC, IO_FSYNC, IO_READONLY, IO_RENAME, QUEUE_CORRUPT
from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import FILES, ensure_folder
from minibot.kernel.journal import JournalReader, JournalWriter, Position
from minibot.kernel.position import ZERO
from minibot.kernel.queue import CURSOR_FILE, INBOX, open_writer, queue_folder
from minibot.ops.alerts.alert import Alert
from minibot.report.figures import counted
from minibot.runtime.clock import wall_ms

COMPONENT: Final = "ops.alerts"
OUTBOX: Final = "outbox"
"""The queue of a run's alerts, below `var/ops`; the guard has its own."""
GUARD_OUTBOX: Final = "guard_outbox"
HELD_MAX: Final = 1000
"""Most alerts that wait for a target; of further ones only urgent or always sent ones are taken."""
KNOWN_MAX: Final = 20_000
"""Ids that are remembered; an alert whose id is forgotten may be sent twice."""
_REFUSALS: Final = frozenset({IO_ENOSPC, IO_READONLY, IO_FSYNC, IO_RENAME, IO_EIO})
"""Errors of a disk that refuses lines, but may still be read."""
_OWNER: Final = "ops"
_READER: Final = "alerts"

CAME, TRY, DONE, FAILED, LEFT_OUT = "alert", "try", "done", "failed", "left_out"


@dataclass(slots=True)
class Waiting:
    """Alert that not every target has.

    Attributes:
        alert: The alert.
        left: Targets that do not have it yet.
        in_doubt: Targets in `left` that may have it: tried, with an unknown outcome.
    """

    alert: Alert
    left: set[str]
    in_doubt: set[str] = field(default_factory=set)


class Outbox:
    """Outbox of one process, its only writer; every method may be called by any thread.

    Args:
        root: Folder of the queue's folder, `var/ops`.
        name: Name of the queue.
        run_id: The run whose ids are remembered after a restart; an id of another run may be
            forgotten then, once every target has its alert. Empty for no run.

    Attributes:
        left_out: Alerts that were not taken as too many were waiting, by target.
        is_mute: Whether the disk takes no more lines, so that alerts are kept only in memory.

    Raises:
        RunStop: QUEUE_LOCKED, another process delivers from here; or the lines that stand there
            cannot be read.
    """

    def __init__(self, root: Path, name: str, run_id: str = "") -> None:
        self.left_out: Counter[str] = Counter()
        self._full: set[str] = set()
        self._lock = threading.Lock()
        self._folder = queue_folder(root, name)
        self._waiting: dict[str, Waiting] = {}
        self._known: dict[str, None] = {}
        self.is_mute = False
        try:
            self._writer = self._opened(root, name, run_id)
        except IntegrityError as error:
            # A damaged outbox may not cost the next alert; it is kept for an examination.
            aside = self._folder.with_name(f"{name}.damaged_{wall_ms()}")
            _warn(f"{self._folder} is damaged and set aside as {aside.name}: {error.detail}")
            FILES.replace(self._folder, aside)
            self._waiting.clear()
            self._known.clear()
            self._writer = self._opened(root, name, run_id)

    def close(self) -> None:
        """Close the files; what waits stays for the next process."""
        with self._lock, suppress(RunStop):
            if self._writer is not None:
                self._writer.close()

    # --- alerts -------------------------------------------------------------------------------

    def put(self, alert: Alert, targets: Iterable[str]) -> bool:
        """Take an alert for some targets; return whether it is a new one.

        For a target for which too many wait, an alert that is neither urgent nor always sent is
        left out: counted, and never sent there, also if it is put again. Returns False if it is
        left out for every target.
        """
        named = set(targets)
        with self._lock:
            if alert.id in self._known:
                return False
            self._know(alert.id)
            full = named & self._full_targets()
            left_out = set() if alert.is_urgent or alert.is_always else full
            kept = named - left_out
            is_taken = bool(kept) or not named
            if is_taken:
                # Before the note of targets left out, which alone would make the alert a known one.
                self._write({"what": CAME, "alert": alert.to_json(), "targets": sorted(kept)})
            for target in sorted(left_out):
                self.left_out[target] += 1
                self._write({"what": LEFT_OUT, "ids": [alert.id], "target": target})
            if kept:
                self._waiting[alert.id] = Waiting(alert, kept)
            return is_taken

    def waiting(self, target: str) -> list[tuple[Alert, bool]]:
        """Return the alerts that a target lacks, urgent ones first, then oldest first.

        Each with True if the target may have it already.
        """
        with self._lock:
            found = [
                (each.alert, target in each.in_doubt)
                for each in self._waiting.values()
                if target in each.left
            ]
        return sorted(found, key=lambda pair: not pair[0].is_urgent)

    def knows(self, alert_id: str) -> bool:
        """Return whether an alert of this id was put, be it sent, waiting or left out."""
        with self._lock:
            return alert_id in self._known

    def last_of(self, run_id: str) -> dict[str, str]:
        """Return the event id of a run's last alert by kind, also of alerts that were sent."""
        with self._lock:
            parts = [known.split("/", 2) for known in self._known]
        return {kind: event_id for run, kind, event_id in parts if run == run_id}

    def targets(self) -> set[str]:
        """Return the targets for which something waits."""
        with self._lock:
            return {target for each in self._waiting.values() for target in each.left}

    def begin(self, target: str, alerts: Sequence[Alert]) -> None:
        """Note durably that alerts are about to be sent."""
        self._note(TRY, target, alerts)

    def done(self, target: str, alerts: Sequence[Alert]) -> None:
        """Note that a target has alerts."""
        self._note(DONE, target, alerts)

    def failed(self, target: str, alerts: Sequence[Alert], why: str, *, in_doubt: bool) -> None:
        """Note that a target did not get alerts, or, in doubt, that the outcome is unknown."""
        self._note(FAILED, target, alerts, why=why[:500], in_doubt=in_doubt)

    def leave_out(self, target: str, alerts: Sequence[Alert]) -> None:
        """Note that alerts are dropped for a target that the profile no longer has."""
        self._note(LEFT_OUT, target, alerts)

    # --- lines --------------------------------------------------------------------------------

    def _note(self, what: str, target: str, alerts: Sequence[Alert], **more: object) -> None:
        record: JsonObject = {"what": what, "target": target, "ids": [each.id for each in alerts]}
        with self._lock:
            self._write({**record, **more})
            self._apply({**record, **more})

    def _write(self, record: JsonObject) -> None:
        if self.is_mute or self._writer is None:
            return
        try:
            self._writer.append_json([canonical.encode({**record, "at_ms": wall_ms()})])
        except RunStop as error:
            self._mute(error)

    def _mute(self, error: RunStop) -> None:
        """Go on in memory, with one warning: a failing disk is often the very cause of an alert."""
        if not self.is_mute:
            _warn(
                f"{self._folder} takes no more lines: {error.detail}; alerts go on, and after a "
                "restart some may be sent again"
            )
        self.is_mute = True

    def _apply(self, record: JsonObject) -> None:
        what, target = record["what"], record["target"]
        for event_id in record["ids"]:
            entry = self._waiting.get(event_id)
            if entry is None or target not in entry.left:
                continue
            if what == TRY:
                entry.in_doubt.add(target)
            elif what == FAILED:
                if not record["in_doubt"]:
                    entry.in_doubt.discard(target)
            else:
                entry.left.discard(target)
                if not entry.left:
                    del self._waiting[event_id]

    def _take(self, record: JsonObject) -> Alert | None:
        """Take a line that was read; return the alert if the line brings one.

        Raises:
            KeyError or TypeError: The line is none of an outbox.
        """
        if record["what"] != CAME:
            for event_id in record["ids"]:
                self._know(event_id)
            self._apply(record)
            return None
        alert = Alert.from_json(record["alert"])
        self._know(alert.id)
        if record["targets"]:
            self._waiting[alert.id] = Waiting(alert, set(record["targets"]))
        return alert

    def _full_targets(self) -> set[str]:
        """Return the targets for which too many alerts wait; warn of each that was not full."""
        held: Counter[str] = Counter()
        if len(self._waiting) >= HELD_MAX:
            held.update(target for each in self._waiting.values() for target in each.left)
        full = {target for target, number in held.items() if number >= HELD_MAX}
        for target in sorted(full - self._full):
            number = counted(held[target], "alert")
            _warn(f"{target}: {number} wait; but for STOP and end, further ones are left out")
        self._full = full
        return full

    def _know(self, event_id: str) -> None:
        self._known[event_id] = None
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def _opened(self, root: Path, name: str, run_id: str) -> JournalWriter | None:
        """Open the queue, take the lines after the cursor and move it; return the writer.

        On a disk that refuses lines the outbox is mute, and without a writer no lock is held.
        """
        writer: JournalWriter | None = None
        try:
            with self._refused_by_disk():
                ensure_folder(root.parent)
                ensure_folder(root)
                writer = open_writer(root, name)
            cursor = Cursor(self._folder / CURSOR_FILE, _OWNER, name, _READER)
            settled = self._read(cursor.load() or ZERO, run_id)
            if not self.is_mute:
                with self._refused_by_disk():
                    cursor.save(settled)
        except BaseException:
            if writer is not None:
                writer.close()
            raise
        return writer

    @contextmanager
    def _refused_by_disk(self) -> Iterator[None]:
        try:
            yield
        except RunStop as error:
            if error.reason_code not in _REFUSALS:
                raise
            self._mute(error)

    def _read(self, start: Position, run_id: str) -> Position:
        """Take the lines after a position; return the position of the first still needed."""
        reader = JournalReader(self._folder, INBOX, start)
        came_at: dict[str, Position] = {}
        name = str(self._folder)
        try:
            before = reader.position
            while lines := reader.read(1):
                try:
                    came = self._take(canonical.decode(lines[0].json))
                except (KeyError, TypeError, ValueError) as error:
                    # Another version or another program wrote it.
                    why = f"a line holds no alert: {error!r}"
                    raise IntegrityError(COMPONENT, QUEUE_CORRUPT, why, file=name) from error
                if came is not None:
                    came_at[came.id] = before
                before = reader.position
        finally:
            reader.close()
        needed = [
            place
            for event_id, place in came_at.items()
            if event_id in self._waiting or event_id.partition("/")[0] == run_id
        ]
        return min(needed, key=lambda place: place.seq, default=before)


def _warn(words: str) -> None:
    print(f"WARN alerts: {words}", file=sys.stderr, flush=True)
