"""Activation of models: one small file names the active one, which is never an untested model.

`var/ai/active.json` names the active snapshot and those before it, newest last, and is replaced in
one step. Only a snapshot that is complete and passed the gate can become active; a rollback returns
to the one before. The clerk and an operator's command may want to change it at once, so a file lock
serialises them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from minibot.ai.snapshots import Snapshot, SnapshotRefused, Snapshots
from minibot.kernel.errors import IntegrityError, LockBusy
from minibot.kernel.files import ensure_folder, read_hashed, write_hashed

ACTIVE_FILE: Final = "active.json"
LOCK_FILE: Final = "active.lock"
LOCK_WAIT_S: Final = 5.0
FORMER_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Active:
    """The active model and those before it; `model_id` is empty while the baseline answers."""

    model_id: str = ""
    former: tuple[str, ...] = ()


RequireFit = Callable[[Snapshot], None]
"""Raises SnapshotRefused for a snapshot that answers another question than a run asks."""


def fits_any(snapshot: Snapshot) -> None:
    """Let any snapshot be activated, for no certain run."""


class Activation:
    """The pointer to the active model of one `var/ai`."""

    def __init__(self, ai_root: Path) -> None:
        self._root = ai_root
        self._path = ai_root / ACTIVE_FILE
        self.snapshots = Snapshots(ai_root)

    def read(self) -> Active:
        """Return the active model and its predecessors.

        Raises:
            IntegrityError: ATOMICITY_VIOLATION, the file was changed from outside.
        """
        if not self._path.exists():
            return Active()
        found = read_hashed(self._path)
        return Active(found["model_id"], tuple(found["former"]))

    def load_active(self, require_fit: RequireFit = fits_any) -> Snapshot | None:
        """Return the newest of the active snapshot and those before it that is intact and fits.

        None while there is none: a demo may have left its own model active, behind a night's.

        Raises:
            SnapshotRefused: The pointer is damaged, or no snapshot may be used; then of the active
                one: it is damaged, has not passed the gate, or does not fit.
        """
        now, first = self._known(), None
        for model_id in filter(None, (now.model_id, *reversed(now.former))):
            try:
                snapshot = self.load_passed(model_id)
                require_fit(snapshot)
            except SnapshotRefused as refused:
                first = first or refused
            else:
                return snapshot
        if first is not None:
            raise first
        return None

    def load_passed(self, model_id: str) -> Snapshot:
        """Return a snapshot that has passed the gate and may be active.

        Raises:
            SnapshotRefused: It is damaged, or has not passed the gate.
        """
        snapshot = self.snapshots.load(model_id)
        verdict = self.snapshots.verdict(model_id)
        if verdict is None:
            raise SnapshotRefused(f"{model_id}: the gate has not judged it")
        if verdict.get("passed") is not True:
            reasons = "; ".join(map(str, verdict.get("reasons", ())))
            raise SnapshotRefused(f"{model_id}: the gate refused it: {reasons}")
        if verdict.get("model_sha256") != snapshot.manifest["model"]["sha256"]:
            raise SnapshotRefused(f"{model_id}: the gate judged another text")
        return snapshot

    def activate(
        self,
        model_id: str,
        why: str,
        *,
        require_fit: RequireFit = fits_any,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> Active:
        """Activate a snapshot and return the new state.

        Raises:
            SnapshotRefused: It is damaged, has not passed the gate or does not fit; or the pointer
                is damaged. Nothing changed.
            LockBusy: Another process has held the lock for longer than `lock_wait_s`.
        """

        def choose(now: Active) -> Active:
            require_fit(self.load_passed(model_id))
            if now.model_id == model_id:
                return now
            former = (*now.former, now.model_id) if now.model_id else now.former
            return Active(model_id, former[-FORMER_MAX:])

        return self._change(choose, why, lock_wait_s)

    def rollback(self, why: str, *, require_fit: RequireFit = fits_any) -> Active:
        """Return to the newest former snapshot that is intact and fits, or else to the baseline.

        Raises:
            SnapshotRefused: No snapshot is active, so there is nothing to roll back; or the pointer
                is damaged.
            LockBusy: Another process has held the lock for longer than 5 s.
        """

        def choose(now: Active) -> Active:
            if not now.model_id:
                raise SnapshotRefused("no model is active")
            former = list(now.former)
            while former:
                candidate = former.pop()
                if self.holds(candidate, require_fit):
                    return Active(candidate, tuple(former))
            return Active()

        return self._change(choose, why)

    def holds(self, model_id: str, require_fit: RequireFit = fits_any) -> bool:
        """Return whether a snapshot is intact, has passed the gate and fits."""
        try:
            require_fit(self.load_passed(model_id))
        except SnapshotRefused:
            return False
        return True

    def _change(
        self, choose: Callable[[Active], Active], why: str, lock_wait_s: float = LOCK_WAIT_S
    ) -> Active:
        with self._locked(lock_wait_s):
            now = self._known()
            chosen = choose(now)
            if chosen != now:
                write_hashed(
                    self._path,
                    {
                        "schema": "minibot.model_active_pointer",
                        "v": 1,
                        "model_id": chosen.model_id,
                        "former": list(chosen.former),
                        "why": why[:500],
                    },
                )
            return chosen

    def _known(self) -> Active:
        try:
            return self.read()
        except IntegrityError as error:
            raise SnapshotRefused(
                f"{error}; remove the file, and the baseline answers until a model is activated"
            ) from error

    def _locked(self, wait_s: float) -> AbstractContextManager[object]:
        ensure_folder(self._root)
        lock = FileLock(self._root / LOCK_FILE, timeout=wait_s)
        try:
            return lock.acquire()
        except Timeout as timeout:
            raise LockBusy(str(self._root / LOCK_FILE)) from timeout
