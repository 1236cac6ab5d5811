"""STOP: fail closed, on record, even on a full disk.

At its start each role prepares `var/stop/<role>.armed`, which names the role, the run and the id
of its STOP event, and a reserve file. Stopping links the prepared file to `var/STOP.flag`, which
needs no free space (the first one wins), releases the reserve, and appends the STOP event to the
role's own part of `stop_journal`. The launcher, or the next start, copies stops and ends
into `var/stop_journal.jsonl`, the file that operators tail (`watchdog.operator_stop_log`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from minibot.events.ids import derive_id
from minibot.events.model import Event, RiskAction, StopJournal
from minibot.kernel.errors import RunStop
from minibot.kernel.files import (
    FILES,
    StrPath,
    ensure_below,
    read_whole,
    write_atomic,
    write_hashed,
)
from minibot.runtime.paths import Var

FLAG = "STOP.flag"
RESERVE_BYTES = 64 * 1024
WORD_BYTES_MAX = 100
STOP_KIND = "STOP"
END_KIND = "END"
CLEAR_KIND = "CLEAR"
REFUSED_KIND = "REFUSED"
OPERATOR = "operator"

JsonPosition = dict[str, str]
"""An open position as {symbol, qty, entry_price_avg}."""


@dataclass(frozen=True, slots=True)
class StopRecord:
    """Record of a STOP or END: the component, the reason code, and the detail for a person."""

    component: str
    reason_code: str
    detail: str
    kind: str = STOP_KIND
    open_positions: Sequence[JsonPosition] = ()

    @property
    def text(self) -> str:
        """The detail as an event holds it: bounded, half a letter of a file's name escaped."""
        return self.detail.encode("utf-8", "backslashreplace").decode()[:2000]

    def payload(self) -> StopJournal:
        """Return the payload of the `stop_journal` event."""
        return StopJournal(
            component=self.component,
            reason_code=self.reason_code,
            detail=self.text,
            kind=self.kind,
            open_positions=tuple(self.open_positions),
        )


def stop_action(events: Iterable[tuple[str, Event]]) -> RiskAction | None:
    """Return the `risk_action` among a core's events that stops the run, if there is one."""
    for _, event in events:
        if isinstance(event.payload, RiskAction) and event.payload.action == STOP_KIND:
            return event.payload
    return None


def stop_id(run_id: str, role: str) -> str:
    """Return the id of a role's STOP event, known before it is needed."""
    return derive_id(run_id, role, "stop", 0)


def is_flagged(flag: StrPath) -> bool:
    """Return whether there is a flag: anything of that name, even a folder or a dangling link."""
    return os.path.lexists(flag)


def standing_flags(var: Var) -> list[Path]:
    """Return the flags that keep a run from starting here: in `var`, or left by a lost run.

    If `var` is a link, flags may be next to the link and next to its folder.
    """
    beside = [var.flag_beside, Var(var.root.resolve()).flag_beside]
    return [flag for flag in dict.fromkeys((var.flag, *beside)) if is_flagged(flag)]


def armed_path(stop_folder: Path, role: str) -> Path:
    """Return the file that a role's STOP links to the flag."""
    return stop_folder / f"{role}.armed"


def ended_path(stop_folder: Path) -> Path:
    """Return the file that says that the roles of the run have ended."""
    return stop_folder / f"{OPERATOR}.ended"


def arm(stop_folder: Path, run_id: str, role: str) -> None:
    """Prepare the flag file and the reserve of a role while there is still space."""
    ensure_below(stop_folder.parent, stop_folder)
    if role == OPERATOR:
        _remove(ended_path(stop_folder))  # Of the run before.
    write_hashed(
        armed_path(stop_folder, role),
        {"role": role, "run_id": run_id, "stop_id": stop_id(run_id, role)},
    )
    write_atomic(stop_folder / f"{role}.reserve", bytes(RESERVE_BYTES))


def disarm_operator(stop_folder: Path) -> None:
    """Rename the file that `minibot kill` links to the flag: the run has ended.

    A later link fails, so that no flag is raised for a run that ended in order.
    """
    with suppress(OSError):
        FILES.replace(armed_path(stop_folder, OPERATOR), ended_path(stop_folder))


def is_disarmed(stop_folder: Path) -> bool:
    """Return whether the launcher has renamed the file that `minibot kill` links to the flag.

    A file that is only gone was removed by somebody: the run goes on, and a kill has to end it.
    """
    return ended_path(stop_folder).exists() and not armed_path(stop_folder, OPERATOR).exists()


def raise_operators_flag(stop_folder: Path, flag: Path) -> bool:
    """Raise the flag for an operator; False if no run is left to be killed."""
    try:
        FILES.link(armed_path(stop_folder, OPERATOR), flag)
    except FileExistsError:
        return True
    except OSError:
        if is_disarmed(stop_folder):
            return False
        # No hard links here, no prepared file, or no space for a name: the reserve provides it.
        release_reserve(stop_folder, OPERATOR)
        raise_flag(stop_folder, flag, OPERATOR)
    return True


def raise_flag(stop_folder: Path, flag: Path, role: str) -> None:
    """Link the role's prepared file to `STOP.flag`; an existing flag wins."""
    try:
        FILES.link(armed_path(stop_folder, role), flag)
    except FileExistsError:
        pass
    except OSError:
        # No hard links here, or the prepared file is gone: a plain flag is better than none.
        if not is_flagged(flag):
            write_atomic(flag, f"{role}\n".encode())


def read_word(flag: Path) -> str:
    """Return the word in a flag raised without its prepared file, or ''."""
    try:
        return read_whole(flag, size_max=WORD_BYTES_MAX).decode("ascii", "replace").strip()
    except (OSError, RunStop):
        return ""


def release_all_reserves(stop_folder: Path) -> None:
    """Release every role's reserve: all have ended, and the merge and the seal need space."""
    for path in stop_folder.glob("*.reserve"):
        _remove(path)


def release_reserve(stop_folder: Path, role: str) -> None:
    """Release the reserved space, so that the STOP event fits on a full disk."""
    _remove(stop_folder / f"{role}.reserve")


def _remove(path: Path) -> None:
    """Remove one of our files, if the disk lets it go: a STOP is never interrupted for it."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
